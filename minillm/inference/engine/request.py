"""A request on its way through the engine: one prompt, the texts it becomes, and where each of them lies.

    n = 1         one sequence
    n, best_of    one sequence until its prompt is read, then several that draw by themselves
    beams         the same, and after every token the best continuations of all take the places

The sequences of a request go through the same steps, so that each of them is what `generate_batch` makes of it.
Book 8.1 배치 전략, 8.3.2 페이지어텐션.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from torch import nn

from minillm.inference.engine.block_manager import BlockManager, BlockTable
from minillm.inference.generate import Completion
from minillm.inference.loop import Row
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator
from minillm.inference.stopping import Stopper
from minillm.inference.streaming import PieceReader
from minillm.nn.lora import BASE


@dataclass
class StepOutput:
    """What a step added to one completion of a request.

    token_ids: the new ones. text: what can be shown of it by now (never half a character or half a stop string), all
    pieces together are the completion's text; None without a tokenizer. finished: this completion is; finish_reason is
    then "stop" or "length". index: which of the n completions. logprobs: one dict a new token, as in Completion.
    prompt_logprobs: with the first output of a request that asked for them. cached_tokens: of the prompt, those whose
    keys an earlier text had left when the request was first admitted. With best_of or beams everything comes at
    the end, in one output a completion.
    """

    request_id: str
    token_ids: list[int]
    text: str | None
    finished: bool
    finish_reason: str | None
    index: int = 0
    logprobs: list[dict[int, float]] | None = None
    prompt_logprobs: list[dict[int, float] | None] | None = None
    cached_tokens: int = 0


@dataclass(eq=False)
class Sequence:
    """One text at work. table: its blocks; None while it waits."""

    row: Row
    index: int = 0
    table: BlockTable | None = None
    reader: PieceReader | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and text so far; the newest has no keys in the cache yet."""
        return len(self.row.prompt) + len(self.row.stop.new)

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return self.row.prompt + self.row.stop.new

    def tokens(self, start: int, count: int) -> list[int]:
        """Those from position `start` on."""
        prompt, new = self.row.prompt, self.row.stop.new
        if start >= len(prompt):
            return new[start - len(prompt) : start - len(prompt) + count]
        return prompt[start : start + count] + new[: max(0, start + count - len(prompt))]


@dataclass(eq=False)
class Request:
    """One call of `add_request`. Made by `new_request`.

    sequences: those at work, in the order of their index. rows: all texts of n or best_of in order; of beams those that
    are finished. alike: requests with the same object there may draw their tokens in one call.
    """

    id: str
    prompt: list[int]
    params: SamplingParams
    tokenizer: Any
    sequences: list[Sequence]
    rows: list[Row]
    width: int  # sequences at most
    alike: SamplingParams
    adapter: str = BASE  # what its tokens go through beside the model's weights
    salt: bytes = b""  # of its blocks
    arrived: int = 0  # the step
    cached: int | None = None  # tokens of the prompt that were there already; None: it still waits
    split: bool = False  # whether it has become `width` sequences
    kept: list[Sequence] = field(default_factory=list)  # finished, and in the batch until all of it is
    prompt_scores: list[dict[int, float] | None] = field(default_factory=lambda: [None])

    @property
    def at_end(self) -> bool:
        """Whether its texts are known at its end only."""
        return self.params.beams > 1 or self.params.best_of is not None

    @property
    def slots(self) -> int:
        """Places in the batch that it takes."""
        return self.width if not self.split or self.params.beams > 1 else len(self.sequences)

    @property
    def decodes(self) -> bool:
        """Whether of each of its sequences only the newest token is not in the cache."""
        return all(s.table is not None and s.length - s.table.length == 1 for s in self.sequences)

    @property
    def reads_prompt(self) -> bool:
        """Whether every token of the prompt must be computed, because its scores are asked for."""
        return self.params.prompt_logprobs is not None and len(self.prompt_scores) < len(self.prompt)

    def most_blocks(self, blocks: BlockManager) -> int:
        """Blocks that it takes at its longest: its sequences share those that the prompt fills."""
        shared = len(self.prompt) // blocks.block_size
        longest = blocks.blocks_for(len(self.prompt) + self.params.max_tokens)
        return shared + self.width * (longest - shared)

    def blocks_now(self, blocks: BlockManager) -> int:
        """Blocks that its texts so far take, the prompt's shared."""
        shared = len(self.prompt) // blocks.block_size
        return shared + sum(blocks.blocks_for(s.length) - shared for s in self.sequences)

    def may_want(self, blocks: BlockManager) -> int:
        """Free blocks that its texts may take until each of them has begun a new block."""
        longest, size = len(self.prompt) + self.params.max_tokens, blocks.block_size
        tables = [s.table for s in self.sequences if s.table is not None]
        return sum(blocks.needed(table, min(table.length + size, longest)) for table in tables)

    def release(self, blocks: BlockManager) -> None:
        """Give all blocks back; the texts stay."""
        for sequence in (*self.sequences, *self.kept):
            if sequence.table is not None:
                blocks.release(sequence.table)
                sequence.table = None
        self.kept.clear()

    def best(self) -> list[Row]:
        """The n rows that were asked for; all are finished."""
        if self.params.best_of is not None:
            return sorted(self.rows, key=lambda row: -row.score)[: self.params.n]
        return self.rows[: self.params.n]

    def completions(self) -> list[Completion]:
        """The n completions; all are finished."""
        said = self.prompt_scores if self.params.prompt_logprobs is not None else None
        return [
            Completion(
                None if self.tokenizer is None else row.stop.text(),
                row.stop.new,
                reason(row),
                None if self.params.logprobs is None else row.logprobs,
                said,
            )
            for row in self.best()
        ]


def reason(row: Row) -> str:
    """Why a finished row is finished."""
    return "stop" if row.stop.done else "length"


def new_request(
    model: nn.Module, tokenizer: Any, name: str, prompt: list[int], params: SamplingParams
) -> Request:
    """A request of a checked prompt. ValueError for stop strings without a tokenizer."""
    beams = params.beams > 1
    width = params.width
    first = Row(
        prompt,
        Stopper(model, params, tokenizer, prompt),
        None if beams else new_generator(params.seed, model.device),
    )
    rows = [first]
    for i in range(1, 1 if beams else width):
        rows.append(replace(first.fork(), generator=new_generator(params.seed, model.device, offset=i)))
    asked = {
        "n": 1,
        "best_of": None,
        "stop": (),
        "stop_token_ids": (),
        "logprobs": None,
        "prompt_logprobs": None,
    }
    alike = _one_of_its_like(replace(params, max_tokens=max(1, params.min_tokens), seed=None, **asked))
    sequence = Sequence(first, reader=None if tokenizer is None else PieceReader(first.stop))
    return Request(name, prompt, params, tokenizer, [sequence], [] if beams else rows, width, alike)


@lru_cache(maxsize=256)
def _one_of_its_like(params: SamplingParams) -> SamplingParams:
    """The same object for equal settings: in every step they are compared by what they are, not field by field."""
    return params
