"""bench_timer.py on the GPU, or on a mock of torch.cuda; bench_tune.py on made-up settings."""

import collections
import sys
import time
import types

import pytest
import torch

from kernels.measure import bench, bench_timer, bench_tune, bench_works
from kernels.measure.bench_works import Pair, Trial, Work
from tests.kernels.measure.fake_gpu import FakeGpu

# the stop watch


class FakeEvent:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def elapsed_time(self, end):
        return (end.at - self.at) * 1e3


@pytest.fixture
def watch(monkeypatch):
    """The real stop watch, on the GPU if there is one and else on a mock of torch.cuda."""
    if not torch.cuda.is_available():
        fakes = {
            "Event": FakeEvent,
            "synchronize": lambda: None,
            "_sleep": lambda cycles: time.sleep(cycles / 2e9),
        }
        fakes |= {"empty_cache": lambda: None, "reset_peak_memory_stats": lambda: None}
        fakes |= {"memory_allocated": lambda: 100, "max_memory_allocated": lambda: 350}
        fakes |= {"get_device_capability": lambda: (9, 0), "get_device_name": lambda: "mock"}
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        monkeypatch.setattr(bench_timer.Gpu, "device", "cpu")
        for name, number in {"CACHE": 64, "COPY": 1024, "MATRIX": 64, "LONGEST": 0.01}.items():
            monkeypatch.setattr(bench_timer, name, number)
    return bench_timer.Gpu()


def test_the_stop_watch_ranks_calls_and_names_those_that_fail(watch):
    x = torch.randn(512, 512, device=watch.device)

    def broken():
        raise RuntimeError("this peer cannot")

    calls = {"once": lambda: x @ x, "eight times": lambda: [x @ x for _ in range(8)], "broken": broken}
    times, errors = watch.seconds(calls)
    assert errors == {"broken": "RuntimeError: this peer cannot"}
    assert set(times) == {"once", "eight times"}
    assert times["eight times"] > 2 * times["once"] > 0
    assert 0 < watch.host_seconds({"tiny": lambda: None})[0]["tiny"] < 1e-3


def test_a_work_is_measured_from_its_tensors_to_its_row(watch):
    (work,) = bench_works.plan("tiny", "store_kv")
    (row,) = bench.run([work], watch)["rows"]
    assert row["rate"] > 0
    assert row["peers"]["index_put"]["ratio"] > 0
    assert "% of copy" in bench.line(row)


def test_the_stop_watch_measures_floors_and_memory(watch):
    floors = watch.floors()
    assert floors["copy"] > 0
    assert floors["matmul"] > 0
    assert watch.peak_bytes(lambda: torch.empty(100, device=watch.device)) > 0
    assert set(watch.describe()) == set(FakeGpu().describe())
    watch.forget()


# tuning


def test_neighbours_differ_in_one_number():
    answer = {"BLOCK_M": 64, "num_warps": 32, "num_stages": 3, "CAUSAL": True, "odd": 48, "name": "x"}
    assert list(bench_tune.neighbours(answer)) == [
        (("BLOCK_M",), 32), (("BLOCK_M",), 128), (("num_warps",), 16), (("num_stages",), 2), (("num_stages",), 4),
    ]  # fmt: skip
    Tile = collections.namedtuple("Tile", "rows columns")
    nested = (Tile(1, 64), True, 8)
    found = list(bench_tune.neighbours(nested))
    assert found == [((0, "rows"), 2), ((0, "columns"), 32), ((0, "columns"), 128), ((2,), 4), ((2,), 16)]
    assert bench_tune.changed(nested, *found[1]) == (Tile(1, 32), True, 8)
    assert bench_tune.changed(answer, ("num_warps",), 16) == answer | {"num_warps": 16}


def test_tuning_walks_to_the_fastest_right_settings(capsys, monkeypatch):
    module = types.ModuleType("kernels.made_up")

    def settings(width):
        return {"BLOCK": 32, "num_warps": 4}

    settings.__module__ = module.__name__
    module.settings = settings
    monkeypatch.setitem(sys.modules, module.__name__, module)
    used = {}

    def ours():
        used.update(module.settings(7))
        return torch.tensor(float(used["num_warps"] <= 8))  # sixteen warps are fast and wrong

    class Watch(FakeGpu):
        def seconds(self, calls):
            calls["ours"]()
            return {"ours": (abs(used["BLOCK"] - 128) + 1) / used["num_warps"] * 1e-5}, {}

    work = Work(
        "k", "w", lambda device: Trial(ours, {}, lambda: [Pair("y", ours(), torch.ones(()))]), bytes=1
    )
    assert bench_tune.tune([work], Watch()) == 0
    said = capsys.readouterr().out
    assert "best: 1.2 us with" in said
    settled = ("kernels.made_up.settings(7) BLOCK 128", "kernels.made_up.settings(7) num_warps 8")
    assert all(part in said.splitlines()[-1] for part in settled)
    assert "num_warps 16: does not run, or is wrong" in said
    assert module.settings is settings  # as it was
