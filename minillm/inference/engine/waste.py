"""What serving wastes, counted in every step: places in the batch, memory, waiting.

    slots     max_batch_size a step: at work, kept by a text that is done, or empty
    memory    tokens that lie in the cache, against the blocks that hold them, against the longest text of each request
              set aside beforehand (the book's argument for pages)
    waiting   steps that requests stood in line

Book 8.1 배치 전략, 8.3.2 페이지어텐션 (그림: KV 캐시의 메모리 낭비). Paper: Kwon et al. 2023, figure 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minillm.inference.engine.choosing import Choice
from minillm.inference.engine.request import Request
from minillm.inference.engine.scheduler import Plan, Scheduler


@dataclass
class Waste:
    """Sums over all steps in which something was computed. Slots, tokens and requests, each times steps."""

    steps: int = 0
    computed_tokens: int = 0  # prompts and drafts included
    new_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # drafts that were right
    preemptions: int = 0
    slots: int = 0  # places there were
    working_slots: int = 0  # with a sequence at work
    kept_slots: int = 0  # with one that is done and computed on
    waited_steps: int = 0  # requests in line
    cached_tokens: int = 0  # tokens in the cache, once for each text
    block_tokens: int = 0  # room in the blocks in use, once for each block
    reserved_tokens: int = 0  # room that the longest text of each running request would take beforehand

    def count(self, plan: Plan, scheduler: Scheduler, choices: Mapping[Request, Choice]) -> None:
        """One step, before its finished requests leave."""
        blocks, drafted = scheduler.blocks, sum(map(len, plan.drafts.values()))
        self.steps += 1
        self.computed_tokens += plan.tokens + drafted
        self.drafted_tokens += drafted
        for request, choice in choices.items():
            if request.params.beams > 1:
                self.new_tokens += len(request.sequences)
            else:
                self.new_tokens += sum(map(len, choice))
                pairs = zip(choice, (plan.drafts.get(sequence, ()) for sequence in request.sequences))
                self.accepted_tokens += sum(a == b for both in pairs for a, b in zip(*both))
        self.preemptions += plan.preempted
        self.slots += scheduler.max_batch_size
        self.kept_slots += len(plan.idle)
        self.waited_steps += len(scheduler.waiting)
        for request in scheduler.running:
            for sequence in (*request.sequences, *request.kept):
                if sequence.table is not None:
                    self.cached_tokens += sequence.table.length
            self.working_slots += len(request.sequences)
            self.reserved_tokens += request.slots * (len(request.prompt) + request.params.max_tokens)
        self.block_tokens += (blocks.num_blocks - blocks.free_blocks) * blocks.block_size
