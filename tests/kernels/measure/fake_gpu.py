"""A stop watch that runs nothing, for the tests of kernels/measure/bench.py."""

import dataclasses

import torch

from kernels.measure.bench_works import Pair, Trial


class FakeGpu:
    """A stop watch that runs nothing: ours takes 1 ms, each further peer half a millisecond more."""

    device = "cpu"

    def describe(self):
        return dict.fromkeys(("date", "device", "capability", "torch", "triton", "cuda"), "-")

    def floors(self):
        return {"copy": 4.3e12, "matmul": 7.9e14}

    def seconds(self, calls):
        return {name: 1e-3 + 5e-4 * i for i, name in enumerate(calls)}, {}

    host_seconds = seconds

    def peak_bytes(self, call):
        return 10**9

    def forget(self):
        pass


def hollow(work):
    """A work whose trial computes nothing, for the code around it."""
    one = torch.ones(1)
    return dataclasses.replace(
        work,
        build=lambda device: Trial(lambda: one, {"sdpa flash": lambda: one}, lambda: [Pair("x", one, one)]),
    )
