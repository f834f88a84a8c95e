"""kernels/bench.py without a GPU: its counts, its works (at a tiny size, in the interpreter) and its record.

A session on a GPU is short: no line of the benchmark may run there for the first time. So a stop watch that makes
times up takes every row through the report, the JSON and the plot, and the real one runs on a mock of torch.cuda.
"""

import collections
import dataclasses
import itertools
import json
import sys
import time
import types

import pytest
import torch

from kernels import bench, bench_plot, bench_timer, bench_tune, bench_works
from kernels.bench_works import Pair, Trial, Work

# peers that need a GPU: they may refuse the CPU, ours may not
GPU_PEERS = {"sdpa cudnn", "torch flash varlen"}


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


TINY = bench_works.plan("tiny")


# the counts


def test_attention_flops_count_the_two_products():
    B, H, T, S, D = 2, 3, 4, 5, 6
    pairs = sum(1 for _ in itertools.product(range(B), range(H), range(T), range(S)))
    assert bench_works.attention_flops(B, H, T, S, D) == pairs * 2 * D + pairs * 2 * D  # q.k and p.v
    assert bench_works.attention_flops(1, 1, 1024, 1024, 64, causal=True) == 2 * 1024 * 1024 * 64
    # the forward's 2 products, and the backward's 5: scores again, dP, dV, dQ, dK
    assert bench_works.attention_flops(1, 1, 8, 8, 4, backward=True) == 7 * 2 * 8 * 8 * 4


def test_bytes_count_each_input_and_output_once():
    bf16 = torch.bfloat16
    assert bench_works.matmul_flops(2, 3, 5) == sum(
        2 for _ in itertools.product(range(2), range(3), range(5))
    )
    assert bench_works.nbytes(10, bf16, 3) == 60
    keys = torch.empty(3, 7, 2, 8, dtype=bf16)  # three sequences of seven tokens, two key heads of width 8
    q = torch.empty(3, 4, 8, dtype=bf16)
    assert bench_works.decode_bytes([7] * 3, 4, 2, 8, bf16) == 2 * keys.nbytes + 2 * q.nbytes
    packed, scales = torch.empty(6, 32, dtype=torch.uint8), torch.empty(6, 4)
    rows = torch.empty(5, 64, dtype=bf16).nbytes + torch.empty(5, 6, dtype=bf16).nbytes
    assert bench_works.w4_bytes(5, 6, 64, 16, bf16) == packed.nbytes + scales.nbytes + rows


# the plan


def test_the_plan_makes_no_tensor_and_names_every_work_once(monkeypatch):
    monkeypatch.setattr(torch, "randn", None)
    monkeypatch.setattr(torch, "empty", None)
    for size in bench_works.SIZES:
        names = [f"{work.kernel}, {work.name}" for work in bench_works.plan(size)]
        assert len(names) == len(set(names)) > 5
    assert {work.kernel for work in bench_works.plan("tiny")} == {w.kernel for w in bench_works.plan("full")}
    assert [work.kernel for work in bench_works.plan("full", "rotary, fwd B")] == ["rotary"]
    with pytest.raises(ValueError, match="size must be one of full, quick, tiny, got 'huge'"):
        bench_works.plan("huge")


def test_the_plan_holds_the_targets():
    works = bench_works.plan("full")

    def targets(start):
        return [work.targets for work in works if f"{work.kernel}, {work.name}".startswith(start)]

    for T in (8192, 16384):
        for D, mask, least in (
            (128, "full", 450),
            (128, "causal", 400),
            (64, "full", 390),
            (64, "causal", 350),
        ):
            found = targets(f"flash_attention, fwd {mask} D{D} T{T} B{16384 // T} H{2048 // D} bf16")
            assert found == [{"sdpa flash": 1.2, "TFLOP/s": least}]
        assert {"sdpa flash": 1.2, "TFLOP/s": 300} in targets(f"flash_attention, fwd+bwd causal D128 T{T}")
    assert all(found["sdpa flash"] == 1.2 for found in targets("flash_attention,"))
    assert targets("paged_attention, decode B64 x 4096 tokens, H32 K8 D128, blocks of 16") == [{"floor": 0.8}]
    for kernel in ("rms_norm", "layer_norm", "rotary", "cross_entropy"):
        assert all(found == {"floor": 0.85} for found in targets(f"{kernel},"))
    assert all(found == {"floor": 0.6} for found in targets("w4a16_linear, 1 x"))


@pytest.mark.parametrize("work", TINY, ids=lambda work: f"{work.kernel}, {work.name}")
def test_every_work_and_its_peers_run_and_agree_with_float64(work, device):
    trial = work.build(device)
    with bench_tune.Overridden() as overridden:
        assert bench.check(trial) == ""
    steps = [step for answer in overridden.asked.values() for step in bench_tune.neighbours(answer)]
    assert len(steps) > 1  # --tune finds the function that chooses this kernel's settings
    for name, peer in trial.peers.items():
        try:
            peer()
        except (RuntimeError, NotImplementedError):
            assert device == "cpu"
            assert name in GPU_PEERS
    if not work.host:
        assert bool(work.flops) != bool(work.bytes)


# right and wrong


def test_a_wrong_result_gets_no_number(capsys):
    right = torch.ones(100)
    spoiled = right.clone()
    spoiled[3] = torch.nan
    for got, said in ((spoiled, "off by nan"), (right * 1.01, "off by 0.01"), (right[:99], "shape (99,)")):
        work = Work(
            "k", "w", lambda device, got=got: Trial(lambda: 1, {}, lambda: [Pair("y", got, right)]), bytes=8
        )
        row = bench.run([work], FakeGpu())["rows"][0]
        assert said in row["error"]
        assert "seconds" not in row
        assert row["targets"] == []
    assert bench.wrong(Pair("y", right.bfloat16() * 1.005, right)) == ""
    assert bench.wrong(Pair("y", torch.zeros(3), torch.zeros(3))) == ""
    assert bench.wrong(Pair("y", torch.ones(3), torch.zeros(3))) != ""
    assert bench.check(Trial(lambda: 1, {}, list)) == "nothing was compared"
    assert "FAILED y: off by" in capsys.readouterr().out


def test_one_failure_does_not_end_the_run_but_a_lost_context_does(capsys):
    def fails(message):
        def build(device):
            raise RuntimeError(message)

        return Work("k", message, build)

    class Lost(FakeGpu):
        def forget(self):
            if failed:
                raise RuntimeError("CUDA error: an illegal memory access")

    failed = []
    good = hollow(Work("k", "good", None, bytes=10**9))
    bad = Work("k", "bad", lambda device: failed.append(1) or 1 / 0)
    record = bench.run([fails("no such shape"), good, bad, good], Lost())
    assert [row.get("error") for row in record["rows"]] == [
        "RuntimeError: no such shape", None, "ZeroDivisionError: division by zero",
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "the GPU is lost to this process, stopping here: RuntimeError: CUDA error" in said
    assert said.splitlines()[-4:-1] == [
        "failed or missed:",
        "k, no such shape: FAILED RuntimeError: no such shape",
        "k, bad: FAILED ZeroDivisionError: division by zero",
    ]
    assert bench.run([good, good], FakeGpu(), minutes=-1)["skipped"] == ["k, good"] * 2


# the record


def test_a_row_says_rate_floor_ratio_and_targets():
    targets = {"TFLOP/s": 450, "sdpa flash": 1.6, "floor": 0.6, "absent": 2}
    work = hollow(Work("flash_attention", "a", None, flops=5 * 10**11, targets=targets, memory=True))
    row = bench.run([work], FakeGpu())["rows"][0]
    assert row["rate"] == pytest.approx(500)
    assert row["floor"] == pytest.approx(500 / 790)
    assert row["peers"] == {"sdpa flash": {"seconds": 1.5e-3, "ratio": pytest.approx(1.5)}}
    assert [target["met"] for target in row["targets"]] == [True, False, True, None]
    said = bench.line(row)
    assert "1.000 ms; 500 TFLOP/s = 63% of matmul; 1.50x sdpa flash; peak ours 1.00 GB" in said
    assert said.endswith(
        "[TFLOP/s >= 450: met]; [sdpa flash >= 1.6: MISSED]; [floor >= 60%: met]; [absent >= 2: open]"
    )
    memory = hollow(Work("rms_norm", "b", None, bytes=4 * 10**9))
    assert "4,000 GB/s = 93% of copy" in bench.line(bench.run([memory], FakeGpu())["rows"][0])


def test_the_whole_plan_goes_through_the_report_and_the_json(tmp_path, capsys):
    works = [hollow(work) for work in bench_works.plan("full")]
    record = bench.run(works, FakeGpu(), tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()) == record
    assert len(record["rows"]) == len(works)
    assert f"{len(works)} lines, 0 failed" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.parametrize("size", ["full", "quick"])
def test_the_whole_plan_is_drawn(size, tmp_path):
    pytest.importorskip("matplotlib")
    record = bench.run([hollow(work) for work in bench_works.plan(size)], FakeGpu())
    record["rows"].append({"kernel": "k", "work": "w", "peers": {}, "targets": [], "error": "failed"})
    assert ("fwd causal D128" in bench_plot.lines_of(record)) == (size == "full")
    drawn = [row for rows in bench_plot.lines_of(record).values() for row in rows] + bench_plot.bars_of(
        record
    )
    assert len(drawn) == sum("rate" in row for row in record["rows"]) > 4
    bench_plot.plot(record, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="nothing to draw"):
        bench_plot.plot(record | {"rows": record["rows"][-1:]}, tmp_path / "none.png")
    assert [path.name for path in tmp_path.iterdir()] == ["bench.png"]


# the command


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_the_command_says_so_and_writes_nothing(no_gpu, tmp_path, capsys):
    assert bench.main(["--quick", "--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]) == 2
    assert capsys.readouterr().err.strip() == "kernels.bench needs a GPU: there is none here"
    assert not list(tmp_path.iterdir())


@pytest.fixture
def fake_gpu(monkeypatch):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # the command sets it: here it is put back
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench_timer, "Gpu", FakeGpu)
    plan = bench_works.plan
    monkeypatch.setattr(bench, "plan", lambda *args: [hollow(work) for work in plan(*args)])


def test_the_command_with_a_gpu(fake_gpu, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    files = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]
    assert bench.main(["--quick", *files]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png"]
    assert bench.main(["--floor"]) == 0
    assert "floors: copy 4,300 GB/s, bf16 product 790 TFLOP/s" in capsys.readouterr().out
    assert bench.main(["--only", "no such kernel"]) == 2
    monkeypatch.setattr(
        bench, "check_all", lambda works, device, check_all=bench.check_all: check_all(works, "cpu")
    )
    assert bench.main(["--check", "--only", "rms_norm"]) == 0
    assert ": right" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    assert bench.main(["--quick", "--plot", str(tmp_path / "b.png")]) == 0
    assert "no plot will be drawn" in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_a_kernel_that_fails_fails_the_command(fake_gpu, monkeypatch):
    def seconds(self, calls):
        return {}, dict.fromkeys(calls, "RuntimeError: no")

    monkeypatch.setattr(FakeGpu, "seconds", seconds)
    assert bench.main(["--only", "softmax"]) == 1


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
