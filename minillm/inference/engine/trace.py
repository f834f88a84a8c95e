"""A trace of requests, and what an engine makes of it: who had which slot at every step, who waited how long.

    arrivals    a Poisson process: the gaps between requests are exponential, `rate` requests a step on average
    lengths     of prompts and texts: uniform between two bounds, so that short and long ones meet

Time is counted in steps of the engine, so a replay is the same on every machine. `Replay.slots` is the Gantt picture:
a row a step, a column a slot, in it the number of the request or -1. Book 8.1 배치 전략.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from minillm._checks import check_int, check_number, describe, is_listing
from minillm.inference.engine.engine import Engine
from minillm.inference.params import SamplingParams

LAST = 1_000_000  # no arrival after this step: a replay goes through every step, those without anybody, too


@dataclass(frozen=True)
class Arrival:
    """One request of a trace. step: when it comes; new_tokens: how many it will be given, no fewer and no more."""

    step: int
    prompt: list[int]
    new_tokens: int


@dataclass
class Replay:
    """What an engine made of a trace.

    arrived: the step at which each request came. slots: int (steps, max_batch_size), the request's number in the trace
    at its slot, -1 for an empty one. token_steps: for each request the step of each of its tokens. texts: those tokens.
    tokens: for each step how many the model computed, prompts and those of finished texts that keep their slot
    included. seconds: what each step took here. stats: of the engine.
    """

    arrived: list[int]
    slots: np.ndarray
    token_steps: list[list[int]]
    texts: list[list[int]]
    tokens: list[int]
    seconds: list[float]
    stats: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps until the last token."""
        return len(self.slots)

    @property
    def in_line(self) -> list[int]:
        """For each request the steps from its arrival until it had a slot."""
        seated = (int((self.slots == number).any(axis=1).argmax()) for number in range(len(self.arrived)))
        return [step - arrived for step, arrived in zip(seated, self.arrived)]

    @property
    def waited(self) -> list[int]:
        """For each request the steps from its arrival to its first token, that step included."""
        return [steps[0] + 1 - arrived for steps, arrived in zip(self.token_steps, self.arrived)]

    @property
    def latency(self) -> list[int]:
        """For each request the steps from its arrival to its last token, that step included."""
        return [end + 1 - arrived for end, arrived in zip(self.ended, self.arrived)]

    @property
    def ended(self) -> list[int]:
        """For each request the step of its last token."""
        return [steps[-1] for steps in self.token_steps]


def poisson_trace(
    requests: int,
    rate: float,
    prompt_tokens: tuple[int, int] = (16, 64),
    new_tokens: tuple[int, int] = (16, 256),
    vocabulary: int = 1000,
    seed: int = 0,
) -> list[Arrival]:
    """`requests` arrivals, `rate` a step on average; lengths from the two ranges, ends included.

    rate: 0 for all at once. The same seed gives the same trace. ValueError for counts and ranges that are none, and
    for a rate so low that requests come after step LAST.
    """
    check_int("requests", requests, 0), check_int("vocabulary", vocabulary, 1)
    check_number("rate", rate, 0.0)
    _check_range("prompt_tokens", prompt_tokens), _check_range("new_tokens", new_tokens)
    rng = np.random.default_rng(check_int("seed", seed, 0))
    gaps = rng.exponential(1 / rate, requests) if rate else np.zeros(requests)
    if gaps.sum() > LAST:
        raise ValueError(f"rate must let {requests} requests come within {LAST:,} steps, got {rate:g}")
    lengths = rng.integers(
        (prompt_tokens[0], new_tokens[0]), (prompt_tokens[1] + 1, new_tokens[1] + 1), (requests, 2)
    )
    return [
        Arrival(int(step), rng.integers(0, vocabulary, length).tolist(), int(new))
        for step, (length, new) in zip(gaps.cumsum(), lengths)
    ]


def replay(engine: Engine, trace: Sequence[Arrival]) -> Replay:
    """Hand a trace to an engine that has nothing else to do, step by step, greedily, until the last token.

    ValueError, before the first step, for an engine that is at work, a trace that is no list of arrivals between steps
    0 and LAST, and for what `Engine.add_request` refuses.
    """
    _check_replay(engine, trace)
    arrived = [one.step for one in trace]
    coming = deque(sorted(range(len(trace)), key=lambda number: arrived[number]))
    found = Replay(arrived, np.empty(0), [[] for _ in trace], [[] for _ in trace], [], [])
    rows, numbers, step = [], {}, 0
    while coming or engine.unfinished:
        while coming and arrived[coming[0]] <= step:
            one = trace[coming[0]]
            params = SamplingParams(max_tokens=one.new_tokens, temperature=0, ignore_eos=True)
            numbers[engine.add_request(one.prompt, params)] = coming.popleft()
        before, begun = _computed(engine), time.perf_counter()
        for out in engine.step():
            found.texts[numbers[out.request_id]] += out.token_ids
            found.token_steps[numbers[out.request_id]] += [step] * len(out.token_ids)
        found.seconds.append(time.perf_counter() - begun)
        found.tokens.append(_computed(engine) - before)
        rows.append([numbers.get(name, -1) if found.tokens[-1] else -1 for name in engine.slots])
        step += 1
    found.slots = np.array(rows, dtype=int).reshape(step, len(engine.slots))
    found.stats = engine.stats()
    return found


def _check_range(name: str, bounds: tuple[int, int]) -> None:
    """ValueError for anything but two integers from 1 on, the second no smaller than the first."""
    if not is_listing(bounds) or len(tuple(bounds)) != 2:
        raise ValueError(f"{name} must be two numbers, the least and the most, got {describe(bounds)}")
    low, high = bounds
    check_int(name, low, 1), check_int(name, high, low)


def _check_replay(engine: Engine, trace: Sequence[Arrival]) -> None:
    """ValueError where `replay` would fail, or not end, on the way."""
    if not isinstance(engine, Engine):
        raise ValueError(f"engine must be an Engine, got {describe(engine)}")
    if engine.unfinished:
        raise ValueError(f"the engine must have nothing to do, it has {engine.unfinished} requests")
    if not isinstance(trace, Sequence) or not all(isinstance(one, Arrival) for one in trace):
        raise ValueError(f"trace must be a list of Arrival, got {describe(trace)}")
    for one in trace:
        check_int("an arrival's step", one.step, 0, LAST)
        check_int("an arrival's new_tokens", one.new_tokens, 1)
        engine.check_request(one.prompt, SamplingParams(max_tokens=one.new_tokens, temperature=0))


def _computed(engine: Engine) -> int:
    """Tokens through the model so far."""
    return engine.waste.computed_tokens + engine.waste.kept_slots
