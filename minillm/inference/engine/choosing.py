"""The next tokens of many requests at once: the sampler, rules and beams of `generate`, request by request.

Requests with the same settings draw in one call, each row by a generator of its own. Nothing here changes a request:
what is chosen is applied when everything of the step has been chosen (engine.py).
Book 7.1.1 언어 모델이 언어를 생성하는 방법. Held against `generate_batch`, request by request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minillm.inference.beams import _candidates
from minillm.inference.engine.request import Request
from minillm.inference.loop import Row, held_back, texts_so_far
from minillm.inference.sampling import sample_rows

Choice = Any  # a list of tokens, one a sequence; of beams: what `_candidates` gives


def choose(logits: Mapping[Request, Tensor]) -> dict[Request, Choice]:
    """For each request what comes next, from the logits (sequences, V) of its newest tokens.

    ValueError where the scores hold NaN or infinity; the generators are then as they were.
    """
    groups: dict[Any, list[Request]] = {}
    chosen: dict[Request, Choice] = {}
    for request in logits:
        groups.setdefault(_alike(request), []).append(request)
    rows = {request: rows_at_work(request) for request in logits}
    drawn = [row.generator for request in logits for row in rows[request] if request.params.temperature]
    before = [(generator, generator.get_state()) for generator in drawn if generator is not None]
    try:
        for requests in groups.values():
            first = requests[0]
            if first.params.beams > 1:
                at_work = rows[first]
                step = len(at_work[0].stop.new) + 1
                chosen[first] = _candidates(logits[first], at_work, first.params, step)
                continue
            tokens = _sampled([row for one in requests for row in rows[one]], requests, logits)
            for request in requests:
                chosen[request] = [tokens.pop(0) for _ in rows[request]]
    except BaseException:
        for generator, state in before:
            generator.set_state(state)
        raise
    return chosen


def rows_at_work(request: Request) -> list[Row]:
    """The rows that take a token now: of n or best_of all of them as soon as the prompt is read."""
    if request.split or request.params.beams > 1:
        return [sequence.row for sequence in request.sequences]
    return request.rows


def _alike(request: Request) -> Any:
    """Requests of which this is equal can be drawn together."""
    params, step = request.alike, len(request.sequences[0].row.stop.new)
    if params.beams > 1:
        return request
    # end tokens of a request are held back together with those of its like: none in `alike` but the ids
    counted = step if params.frequency_penalty or params.presence_penalty else 0
    ends = request.rows[0].stop.end_ids if step < params.min_tokens else None
    return params, counted, step < params.min_tokens, ends


def _sampled(rows: list[Row], requests: list[Request], logits: Mapping[Request, Tensor]) -> list[int]:
    many = [len(rows_at_work(request)) for request in requests]
    scores = torch.cat([logits[one].expand(n, -1) for one, n in zip(requests, many)])
    params, step = requests[0].alike, len(rows[0].stop.new)
    scores = held_back(scores, params, rows, step)
    seen, new = texts_so_far(params, rows, scores.device)
    return sample_rows(scores, params, [row.generator for row in rows], seen, new).tolist()
