"""The one harness of every benchmark: ours and the peer in turn, medians, spread, threads stated, absent peers named.

A benchmark file `bench_<name>.py` has a function `run(quick: bool) -> list[Row]`; `minillm bench [name]` runs
it in a process of its own whose thread counts are set before numpy, torch or a Rust library start.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Row:
    """One line of BENCHMARKS.md. `ratio` is how many times faster ours is than the peer (None: peer absent).

    ours, theirs: medians in `unit`; target: the ratio we ask for; spread: `Times.spread` of the same rounds, how far
    the ratio moves from round to round.
    """

    work: str
    peer: str
    unit: str
    ours: float
    theirs: float | None
    target: float | None = None
    threads: int = 1
    note: str = ""
    higher_is_better: bool = True
    spread: float | None = None

    @property
    def ratio(self) -> float | None:
        if not self.theirs or not self.ours:
            return None
        return self.ours / self.theirs if self.higher_is_better else self.theirs / self.ours

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def seconds(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Times(dict):
    """Median seconds of each call by its name; `rounds` keeps every round's."""

    def __init__(self, rounds: dict[str, list[float]]) -> None:
        super().__init__({name: statistics.median(values) for name, values in rounds.items()})
        self.rounds = rounds

    def spread(self, theirs: str, ours: str = "ours") -> float | None:
        """The interquartile range of theirs / ours over the rounds; None where a call or a second round is missing.

        Half of the rounds lie inside it, so a ratio that is lower than before by more than this is news.
        """
        if theirs not in self.rounds or len(self.rounds[ours]) < 2:
            return None
        ratios = [t / o for t, o in zip(self.rounds[theirs], self.rounds[ours], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return high - low


def in_turn(
    calls: dict[str, Callable[[], Any]],
    rounds: int = 5,
    warmup: int = 1,
    measure: Callable[[Callable[[], Any]], float] = seconds,
) -> Times:
    """Median seconds of each call. The calls take turns, so that a noisy moment of the machine hits them all.

    measure: what times a call, where a part of it alone counts.
    """
    for _ in range(warmup):
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        order = list(calls.items())
        for name, call in order if turn % 2 == 0 else reversed(order):
            times[name].append(measure(call))
    return Times(times)


def peer_or_none(module: str) -> Any | None:
    """The peer library, or None with a word on standard output when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        print(f"  skipped: {module} is not installed (pip install -e '.[parity]')")
        return None
