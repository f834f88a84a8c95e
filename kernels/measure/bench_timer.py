"""How long a call takes on the GPU, without what does not belong to it; and the two floors of this very GPU.

- The cache is flushed before each run, or a run would find its inputs where the last one left them. Reading flushes;
  writing would leave the cache full of lines that the timed run must first send to memory.
- The GPU sleeps for a moment before each run, so that the host has enqueued all of it when the clock starts: what is
  measured is the GPU's work. What a launch costs the host is a line of its own (`host_seconds`).
- The calls take turns, so that a change of clocks or a busy neighbour meets them all; the median counts.
"""

from __future__ import annotations

import datetime
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import triton

CACHE = 2**28  # bytes read to flush the cache; an H200's level 2 holds 60 MB
COPY, MATRIX = 2**29, 8192  # the floors: float32 numbers copied (2 GB), rows and columns of a bf16 product
CLOCK = 2e9  # cycles a second, at most about what a GPU sleeps by
LONGEST = 0.15  # seconds of timed work a call gets, warm-up and flushing apart

Calls = dict[str, Callable[[], Any]]


class Gpu:
    """The GPU of this process as a stop watch. The tests put another object with these methods in its place."""

    device = "cuda"

    def __init__(self) -> None:
        self.flushed = torch.ones(CACHE // 4, dtype=torch.int32, device=self.device)

    def describe(self) -> dict[str, str]:
        """Date, device and versions, for the record."""
        major, minor = torch.cuda.get_device_capability()
        return {
            "date": datetime.date.today().isoformat(),
            "device": torch.cuda.get_device_name(),
            "capability": f"sm_{major}{minor}",
            "torch": torch.__version__,
            "triton": triton.__version__,
            "cuda": str(torch.version.cuda),
        }

    def seconds(self, calls: Calls) -> tuple[dict[str, float], dict[str, str]]:
        """(median seconds of each call, what went wrong with the others)."""
        host, errors = {}, {}
        for name, call in calls.items():
            try:
                host[name] = self._warm(call)
            except Exception as error:  # a peer that cannot do the work is a word in the table, not its end
                errors[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                torch.cuda.empty_cache()
        pause = {name: 1.5 * seconds for name, seconds in host.items()}
        once = {name: self._timed(calls[name], pause[name]) for name in host}
        turns = {name: min(60, max(8, round(LONGEST / max(once[name], 1e-6)))) for name in host}
        times: dict[str, list[float]] = {name: [] for name in host}
        for turn in range(max(turns.values(), default=0)):
            for name in host:
                if turn < turns[name]:
                    times[name].append(self._timed(calls[name], pause[name]))
        return {name: statistics.median(found) for name, found in times.items()}, errors

    def _warm(self, call: Callable[[], Any]) -> float:
        """Compile and settle; the seconds that the host needs to enqueue the call."""
        for _ in range(2):
            call()
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        host = time.perf_counter() - start
        torch.cuda.synchronize()
        return min(host, 0.02)

    def _timed(self, call: Callable[[], Any], pause: float) -> float:
        """Seconds of one run by the GPU's own clock, with a cold cache."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.flushed.amax()
        torch.cuda._sleep(int(pause * CLOCK) + 10_000)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3

    def host_seconds(self, calls: Calls) -> tuple[dict[str, float], dict[str, str]]:
        """Seconds of the host's time a call, while the GPU keeps up: what an eager launch costs."""
        found = {}
        for name, call in calls.items():
            rounds = []
            for _ in range(7):
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(200):
                    call()
                rounds.append((time.perf_counter() - start) / 200)
            torch.cuda.synchronize()
            found[name] = statistics.median(rounds)
        return found, {}

    def peak_bytes(self, call: Callable[[], Any]) -> int:
        """Device memory a call takes at its highest, beyond what was taken before it."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def floors(self) -> dict[str, float]:
        """What this GPU can do: {"copy": bytes/s read plus written, "matmul": FLOP/s of an 8192^3 bf16 product}."""
        source = torch.randn(COPY, device=self.device)
        target = torch.empty_like(source)
        copy = self.seconds({"copy": lambda: target.copy_(source)})[0]["copy"]
        moved = 2 * source.nbytes
        a, b = (torch.randn(MATRIX, MATRIX, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        product = self.seconds({"matmul": lambda: a @ b})[0]["matmul"]
        return {"copy": moved / copy, "matmul": 2 * MATRIX**3 / product}

    def forget(self) -> None:
        """Between two works: free memory, and drop compiled programs (torch keeps only a few a function)."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch._dynamo.reset()
