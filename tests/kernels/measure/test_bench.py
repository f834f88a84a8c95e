"""bench.py without a GPU: a stop watch that makes times up takes every row through report, JSON and plot."""

import json
import sys

import pytest
import torch

from kernels.measure import bench, bench_check, bench_plot, bench_timer, bench_works
from kernels.measure.bench_works import Pair, Trial, Work
from tests.kernels.measure.fake_gpu import FakeGpu, hollow

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
    assert bench_check.wrong(Pair("y", right.bfloat16() * 1.005, right)) == ""
    assert bench_check.wrong(Pair("y", torch.zeros(3), torch.zeros(3))) == ""
    assert bench_check.wrong(Pair("y", torch.ones(3), torch.zeros(3))) != ""
    assert bench_check.check(Trial(lambda: 1, {}, list)) == "nothing was compared"
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
    assert capsys.readouterr().err.strip() == "kernels.measure.bench needs a GPU: there is none here"
    assert not list(tmp_path.iterdir())


@pytest.fixture
def fake_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench_timer, "Gpu", FakeGpu)
    plan = bench_works.plan
    monkeypatch.setattr(bench, "plan", lambda *args: [hollow(work) for work in plan(*args)])


def test_the_command_with_a_gpu(fake_gpu, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    record = tmp_path / "recorded"  # a folder that is made
    files = ["--json", str(record / "a.json"), "--plot", str(record / "a.png")]
    assert bench.main(["--quick", *files]) == 0
    assert sorted(path.name for path in record.iterdir()) == ["a.json", "a.png"]
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
