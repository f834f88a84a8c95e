"""A trace of requests, and what an engine makes of it: who had which slot at every step, who waited how long.

    arrivals    a Poisson process: the gaps between requests are exponential, `rate` requests a step on average
    lengths     of prompts and texts: uniform between two bounds, so that short and long ones meet

Time is counted in steps of the engine, so a replay is the same on every machine. `Replay.slots` is the Gantt picture:
a row a step, a column a slot, in it the number of the request or -1. Book 8.1 배치 전략.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from minillm._checks import check_int, check_number
from minillm.inference.engine.engine import Engine
from minillm.inference.params import SamplingParams


@dataclass(frozen=True)
class Arrival:
    """One request of a trace. step: when it comes; new_tokens: how many it will be given, no fewer and no more."""

    step: int
    prompt: list[int]
    new_tokens: int


@dataclass
class Replay:
    """slots: int (steps, max_batch_size), the request's number in the trace at its slot, -1 for an empty one.

    waited: for each request steps from its arrival to its first token; ended: the step of its last. stats: of the
    engine.
    """

    slots: np.ndarray
    waited: list[int]
    ended: list[int]
    stats: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps until the last token."""
        return len(self.slots)


def poisson_trace(
    requests: int,
    rate: float,
    prompt_tokens: tuple[int, int] = (16, 64),
    new_tokens: tuple[int, int] = (16, 256),
    vocabulary: int = 1000,
    seed: int = 0,
) -> list[Arrival]:
    """`requests` arrivals, `rate` a step on average; lengths from the two ranges, ends included.

    rate: 0 for all at once. The same seed gives the same trace. ValueError for counts and ranges that are none.
    """
    (
        check_int("requests", requests, 0),
        check_number("rate", rate, 0.0),
        check_int("vocabulary", vocabulary, 1),
    )
    for name, (low, high) in (("prompt_tokens", prompt_tokens), ("new_tokens", new_tokens)):
        check_int(name, low, 1), check_int(name, high, low)
    rng = np.random.default_rng(check_int("seed", seed, 0))
    gaps = rng.exponential(1 / rate, requests) if rate else np.zeros(requests)
    lengths = rng.integers(
        (prompt_tokens[0], new_tokens[0]), (prompt_tokens[1] + 1, new_tokens[1] + 1), (requests, 2)
    )
    return [
        Arrival(int(step), rng.integers(0, vocabulary, length).tolist(), int(new))
        for step, (length, new) in zip(gaps.cumsum(), lengths)
    ]


def replay(engine: Engine, trace: Sequence[Arrival]) -> Replay:
    """Hand a trace to an engine that has nothing else to do, step by step, greedily, until the last token."""
    numbers: dict[str, int] = {}
    waited, ended, slots = [0] * len(trace), [0] * len(trace), []
    arrivals, step = sorted(enumerate(trace), key=lambda one: one[1].step), 0
    while arrivals or engine.unfinished:
        while arrivals and arrivals[0][1].step <= step:
            number, one = arrivals.pop(0)
            params = SamplingParams(max_tokens=one.new_tokens, temperature=0, ignore_eos=True)
            numbers[engine.add_request(one.prompt, params)] = number
        before, firsts = engine.waste.steps, []
        for out in engine.step():
            number = numbers[out.request_id]
            firsts.append(number)
            if out.finished:
                ended[number] = step
        computed = engine.waste.steps > before
        slots.append([numbers[name] if computed and name is not None else -1 for name in engine.slots])
        for number in firsts:
            waited[number] = waited[number] or step + 1 - trace[number].step
        step += 1
    return Replay(np.array(slots, dtype=int).reshape(step, -1), waited, ended, engine.stats())
