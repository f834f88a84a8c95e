"""Chosen tokens become text: one sequence becomes several, beams take each other's places, who is done leaves.

Book 7.1.1 언어 모델이 언어를 생성하는 방법, 8.3.2 페이지어텐션 (copies share blocks). Held against `generate_batch`.
"""

from __future__ import annotations

from minillm.inference.beams import _settled
from minillm.inference.engine.choosing import Choice
from minillm.inference.engine.request import Request, Sequence, StepOutput, reason
from minillm.inference.engine.scheduler import Scheduler
from minillm.inference.loop import Row


def apply(
    scheduler: Scheduler, request: Request, choice: Choice, said: list[list[dict[int, float]]] | None
) -> list[StepOutput]:
    """The chosen tokens are the request's; what its reader gets to see of them.

    said: for each sequence and token the log probabilities to report, or None. Finished sequences leave the scheduler.
    """
    first = not request.split
    outputs = (
        _beams(scheduler, request, choice)
        if request.params.beams > 1
        else _sampled(scheduler, request, choice, said)
    )
    if request.at_end and not request.sequences:
        outputs = [_whole(request, i, row) for i, row in enumerate(request.best())]
    if outputs and request.params.prompt_logprobs is not None and (first or request.at_end):
        outputs[0].prompt_logprobs = request.prompt_scores
    for output in outputs:
        output.cached_tokens = request.cached or 0
    return outputs


def _sampled(
    scheduler: Scheduler,
    request: Request,
    choice: list[list[int]],
    said: list[list[dict[int, float]]] | None,
) -> list[StepOutput]:
    if not request.split:
        _split(scheduler, request)
    outputs = []
    for i, (sequence, tokens) in enumerate(zip(list(request.sequences), choice)):
        row, table = sequence.row, sequence.table
        for token in tokens:
            row.stop(token)
        if said is not None:
            row.logprobs += said[i]
            row.score += sum(of_place[token] for token, of_place in zip(tokens, said[i]))
        table.length += len(tokens) - 1  # drafts that were right are in the blocks
        scheduler.blocks.crop(table, table.length)  # and the others' room is given back
        done = row.stop.done or len(row.stop.new) == request.params.max_tokens
        if not request.at_end:
            text = None if sequence.reader is None else sequence.reader.next_piece(done)
            some = None if request.params.logprobs is None else row.logprobs[-len(tokens) :]
            why = reason(row) if done else None
            outputs.append(StepOutput(request.id, tokens, text, done, why, sequence.index, some))
        if done:
            scheduler.finish(request, sequence)
    return outputs


def _split(scheduler: Scheduler, request: Request) -> None:
    """The prompt is read: one sequence becomes as many as were asked for, which share its blocks."""
    [first] = request.sequences
    for i, row in enumerate(request.rows[1:], start=1):
        reader = None if first.reader is None else type(first.reader)(row.stop)
        request.sequences.append(Sequence(row, i, scheduler.blocks.fork(first.table), reader))
    request.split = True


def _beams(scheduler: Scheduler, request: Request, choice: Choice) -> list[StepOutput]:
    """As beam_search: the best texts of one token more take the places of those they come from."""
    ended, going, origins = choice
    params, old = request.params, list(request.sequences)
    length = len((ended or going)[0].stop.new)
    for row in ended:
        row.score /= length**params.length_penalty
    request.rows = sorted(request.rows + ended, key=lambda row: -row.score)[: params.beams]
    request.split = True
    if not going or _settled(request.rows, going[0], params, length):
        for sequence in old:
            scheduler.finish(request, sequence)
        return []
    tables = [scheduler.blocks.fork(old[origin].table) for origin in origins]
    for sequence in old:
        scheduler.blocks.release(sequence.table)
    request.sequences = [Sequence(row, i, table) for i, (row, table) in enumerate(zip(going, tables))]
    return []


def _whole(request: Request, index: int, row: Row) -> StepOutput:
    text = None if request.tokenizer is None else row.stop.text()
    said = None if request.params.logprobs is None else row.logprobs
    return StepOutput(request.id, list(row.stop.new), text, True, reason(row), index, said)
