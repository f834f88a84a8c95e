"""Who is computed in the next step: at most `max_batch_tokens` tokens of at most `max_batch_size` texts.

    1  decode     one token of every running text whose prompt is read            (they never wait for a long prompt)
    2  prefill    pieces of the prompts that are not read yet, first come first served   (chunked prefill, 청크 프리필)
    3  admit      who waits, in the order of arrival, while slots, blocks and tokens are left
    4  drafts     room behind the newest token of each text, of the blocks and tokens that nobody else asks for

Where blocks run out, the newest running request gives up all of its blocks and waits again at the head of the line;
later its text so far is read like a prompt (preemption by recompute, 선점). The oldest can always take what it needs
from the others, and a request that could not fit alone is refused before it comes here: so all end, and none is
passed by.

Book 8.1.3 연속 배칭, 8.3.2 페이지어텐션. Papers: Yu et al. 2022 (Orca), Agrawal et al. 2023 (Sarathi), Kwon et al.
2023. The model: nano-vllm's scheduler. Leaves out: priorities, swapping to other memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from minillm.inference.engine.batching import Continuous
from minillm.inference.engine.block_manager import BlockManager
from minillm.inference.engine.paged_cache import Chunk
from minillm.inference.engine.request import Request, Sequence


@dataclass
class Piece:
    """New tokens of one sequence in a step."""

    sequence: Sequence
    chunk: Chunk
    adapter: str | None = None


@dataclass
class Plan:
    """One step. pieces: of each request. scored: requests whose next token is chosen at its end. idle: pieces whose
    results nobody reads, of finished texts that keep their place. copies: blocks to be copied before. ahead: how many
    drafts a sequence has room for. drafts: those that it gets, which the step's pass looks at behind its piece."""

    pieces: dict[Request, list[Piece]] = field(default_factory=dict)
    scored: list[Request] = field(default_factory=list)
    idle: list[Piece] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)
    ahead: dict[Sequence, int] = field(default_factory=dict)
    drafts: dict[Sequence, list[int]] = field(default_factory=dict)
    preempted: int = 0

    @property
    def tokens(self) -> int:
        """How many are computed, drafts and idle ones left out."""
        return sum(piece.chunk.count for pieces in self.pieces.values() for piece in pieces)


class Scheduler:
    """The line of those that wait, the list of those that run (both in the order of arrival), and the slots."""

    def __init__(
        self,
        blocks: BlockManager,
        policy: Continuous,
        max_batch_size: int,
        max_batch_tokens: int,
        drafts: int = 0,
    ) -> None:
        self.blocks, self.policy, self.drafts = blocks, policy, drafts  # drafts: of a text in a step at most
        self.max_batch_size, self.max_batch_tokens = max_batch_size, max_batch_tokens
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.clock = 0  # steps so far
        self.no_more_come = False  # a static batch need not wait for others
        self.seats: dict[Request, list[int]] = {}  # the slots of each running request

    def add(self, request: Request) -> None:
        """To the end of the line."""
        request.arrived = self.clock
        self.waiting.append(request)

    def schedule(self) -> Plan:
        """The next step; what it computes counts as in the cache from now on (`rollback` takes it back)."""
        self.clock += 1
        plan = Plan()
        for request in list(self.running):
            if request in self.seats and request.sequences and request.decodes:
                self._decode(plan, request)
        for request in list(self.running):
            if request in self.seats and request.sequences and request not in plan.pieces:
                self._prefill(plan, request)
        for request, pieces in plan.pieces.items():
            self._seal(request, pieces)
        if not plan.preempted and self.waiting and self.policy.opens(self):
            self._admit(plan)
        plan.idle = list(self._idle())
        if self.drafts:
            self._look_ahead(plan)
        return plan

    # 1, 2: those that run

    def _decode(self, plan: Plan, request: Request) -> None:
        pieces = [self._piece(plan, request, sequence, 1) for sequence in request.sequences]
        if request in self.seats:
            plan.pieces[request] = pieces
            plan.scored.append(request)

    def _prefill(self, plan: Plan, request: Request) -> None:
        """As many tokens as the budget has left; with several sequences up to the last token of each."""
        pieces, several = [], len(request.sequences) > 1
        budget = self.max_batch_tokens - plan.tokens
        for sequence in request.sequences:
            if sequence.table is None and not self._share(request, sequence):
                break
            many = min(sequence.length - several - sequence.table.length, budget)
            if many > 0:
                pieces.append(self._piece(plan, request, sequence, many))
                budget -= many
            if request not in self.seats:
                return
        if pieces:
            plan.pieces[request] = pieces
            first = request.sequences[0]
            if not several and first.table.length == first.length:
                plan.scored.append(request)

    def _share(self, request: Request, sequence: Sequence) -> bool:
        """Give a sequence the blocks that it has in common with the first one; False while those are not read."""
        first, ids = request.sequences[0], sequence.ids
        same = next((i for i, (a, b) in enumerate(zip(first.ids, ids)) if a != b), len(ids))
        size = self.blocks.block_size
        length = min(same, len(ids) - 1) // size * size
        if first.table is None or first.table.length < length:
            return False
        sequence.table = self.blocks.fork(first.table, length)
        return True

    def _piece(self, plan: Plan, request: Request, sequence: Sequence, count: int) -> Piece | None:
        """`count` more tokens of a sequence, room made for them; None if the request had to give up its own blocks."""
        while request in self.seats:
            start = sequence.table.length
            if self.blocks.needed(sequence.table, start + count) > self.blocks.free_blocks:
                self._preempt(plan, self.running[-1])
                continue
            plan.copies += self.blocks.reserve(sequence.table, start + count)
            sequence.table.length += count
            return Piece(sequence, Chunk(sequence.table.blocks, start, count), request.adapter)
        return None

    def _preempt(self, plan: Plan, request: Request) -> None:
        """Back to the head of the line, without blocks."""
        plan.preempted += 1
        plan.pieces.pop(request, None)
        if request in plan.scored:
            plan.scored.remove(request)
        self._leave(request)
        self.waiting.appendleft(request)

    def _seal(self, request: Request, pieces: list[Piece]) -> None:
        size = self.blocks.block_size
        for piece in pieces:
            table = piece.sequence.table
            if len(table.digests) < table.length // size:
                self.blocks.seal(table, piece.sequence.ids)

    # 3: those that wait

    def _admit(self, plan: Plan) -> None:
        waves = self.policy.in_waves
        while self.waiting and (waves or plan.tokens < self.max_batch_tokens):
            request = self.waiting[0]
            if request.slots > self.max_batch_size - sum(map(len, self.seats.values())):
                return
            first = request.sequences[0]
            first.table = self.blocks.open(first.ids, not request.reads_prompt, request.salt)
            if not self._fits(request):
                request.release(self.blocks)
                return
            self.waiting.popleft()
            if request.cached is None:  # what it finds again after losing its place is its own
                request.cached = first.table.length
            self.running.append(request)
            taken = {seat for seats in self.seats.values() for seat in seats}
            free = (seat for seat in range(self.max_batch_size) if seat not in taken)
            self.seats[request] = [next(free) for _ in range(request.slots)]
            self._prefill(plan, request)
            self._seal(request, plan.pieces.get(request, []))

    def _fits(self, request: Request) -> bool:
        if not self.running:
            return True
        if self.policy.in_waves:  # room for the longest text of each is set aside
            asked = sum(one.most_blocks(self.blocks) for one in (*self.running, request))
            return asked <= self.blocks.num_blocks
        first = request.sequences[0]
        more = max(
            self.blocks.needed(first.table, first.length),
            request.blocks_now(self.blocks) - len(first.table.blocks),
        )
        growing = sum(one.may_want(self.blocks) for one in self.running)
        return more + growing <= self.blocks.free_blocks

    # 4: drafts

    def _look_ahead(self, plan: Plan) -> None:
        left = self.max_batch_tokens - plan.tokens
        for request in plan.scored:
            if request.params.beams > 1 or (request.width > 1 and not request.split):
                continue
            for sequence in request.sequences:
                table = sequence.table
                new = request.params.max_tokens - len(
                    sequence.row.stop.new
                )  # the pass gives one more than drafts
                room = min(self.drafts, new - 1, left)
                while room > 0 and self.blocks.needed(table, table.length + room) > self.blocks.free_blocks:
                    room -= 1
                if room > 0:
                    self.blocks.reserve(table, table.length + room)
                    plan.ahead[sequence] = room
                    left -= room

    # The end of a step, and of a request

    def _idle(self) -> Iterator[Piece]:
        for request in self.running:
            for sequence in request.kept:
                yield Piece(
                    sequence, Chunk(sequence.table.blocks, sequence.table.length - 1), request.adapter
                )

    def finish(self, request: Request, sequence: Sequence) -> None:
        """A sequence has its last token: its blocks and its slot are free, at once or when the whole batch is done."""
        request.sequences.remove(sequence)
        if self.policy.in_waves:
            request.kept.append(sequence)
        else:
            self.blocks.release(sequence.table)
            sequence.table = None
        self.settle(request)

    def settle(self, request: Request) -> None:
        """After sequences of a request have ended."""
        if self.policy.in_waves:
            if not any(one.sequences for one in self.running):
                for one in list(self.running):
                    self._leave(one)
        elif not request.sequences:
            self._leave(request)
        elif request.params.beams == 1:
            del self.seats[request][len(request.sequences) :]

    def abort(self, request: Request) -> None:
        """Out of the line or the batch, its blocks free."""
        if request in self.seats:
            self._leave(request)
        else:
            self.waiting.remove(request)
        request.sequences.clear()
        self.settle(request) if self.policy.in_waves else None

    def rollback(self) -> None:
        """The step failed: all that run wait again, in their order, and read their texts anew."""
        self.blocks.rollback()
        for request in reversed(list(self.running)):
            self._leave(request)
            if request.sequences:
                self.waiting.appendleft(request)

    def _leave(self, request: Request) -> None:
        self.running.remove(request)
        del self.seats[request]
        request.release(self.blocks)
