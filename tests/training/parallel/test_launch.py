"""run_ranks: results by rank, and nothing that goes wrong leaves a process or hides its reason."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minillm.training.parallel import RankFailed, gpipe, one_forward_one_backward, run_ranks
from tests.training.parallel import ranks as work

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="gloo on Windows needs a build of torch with libuv"),
    pytest.mark.timeout(200),
]


def test_results_copies_and_prints(capsys):
    tensor, table = torch.arange(3.0), {"고양이": [1, 2]}
    found = run_ranks(work.add, 2, tensor, table, 1, seconds=60)
    assert [one["sum"].tolist() for one in found] == [[1, 2, 3]] * 2
    assert [one["same"] for one in found] == [table] * 2
    assert [one["threads"] for one in found] == [1, 1]
    assert tensor.tolist() == [0, 1, 2]  # ranks have copies
    assert capsys.readouterr().out.splitlines() == ["rank 0: rank 0 of 2", "rank 1: rank 1 of 2"]


TROUBLE = {
    "raises": r"rank 1 of 2 failed: KeyError: 'a word of rank 1'",
    "killed": r"rank 1 of 2 was ended by signal 9 \(SIGKILL\)",
    "exits": r"rank 1 of 2 failed: SystemExit: 3",
    "dies": r"rank 1 of 2 ended by itself with exit code 7",
    "gives what cannot travel": r"rank 1 of 2 failed: .*lambda",
}


@pytest.mark.parametrize(
    "kind", ["raises", "killed", *(pytest.param(one, marks=pytest.mark.soak) for one in list(TROUBLE)[2:])]
)
def test_trouble_of_a_rank_is_named_and_ends_all(kind):
    run_ranks(work.add, 2, torch.zeros(1), 0, 1)  # the fork server's own start may take long
    begin = time.monotonic()
    with pytest.raises(RankFailed, match=TROUBLE[kind]) as caught:
        run_ranks(work.trouble, 2, kind, seconds=100)
    assert time.monotonic() - begin < 30  # what is asked of a rank that is killed
    assert caught.value.rank == 1
    if kind == "raises":
        assert "in trouble" in str(caught.value)  # the traceback, too
        assert "in trouble" not in caught.value.summary


def test_time_that_is_up():
    with pytest.raises(RankFailed, match="no result after 4 seconds from rank"):
        run_ranks(work.trouble, 2, "sleeps", seconds=4)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    "kind",
    [
        "killed",
        *(pytest.param(one, marks=pytest.mark.soak) for one in ("raises", "sleeps", "well", "caller")),
    ],
)
def test_no_process_is_left(kind, tmp_path):
    """Of a script that calls run_ranks; "caller": it is killed itself while its ranks wait for each other."""
    mark = f"MINILLM_TEST_{os.getpid()}_{kind}"
    script = (
        "from minillm.training.parallel import RankFailed, run_ranks\n"
        "from tests.training.parallel import ranks\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        f"        run_ranks(ranks.trouble, 2, {'sleeps' if kind == 'caller' else kind!r}, "
        f"seconds={8 if kind == 'sleeps' else 60})\n"
        "    except RankFailed as error:\n"
        "        print(error.summary)\n"
    )
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), mark: "1"}
    caller = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], env=environment, stdout=subprocess.PIPE, text=True
    )
    if kind == "caller":
        assert waited(lambda: len(marked(mark)) >= 4, 60)  # caller, fork server, two ranks
        time.sleep(1)
        caller.send_signal(signal.SIGKILL)
    said, _ = caller.communicate(timeout=100)
    assert ("of 2" in said) == (kind not in ("well", "caller"))
    assert waited(lambda: not marked(mark), 30)


def marked(mark):
    """The processes that have a variable in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                mark.encode() in (folder / "environ").read_bytes()
                and b"State:\tZ" not in (folder / "status").read_bytes()
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def waited(is_so, seconds):
    """Whether it becomes so in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: run_ranks(work.add, 0), "ranks must be between 1 and 64, got 0"),
        (lambda: run_ranks(work.add, 2.5), "ranks must be an integer"),
        (lambda: run_ranks("add", 2), "function must be a function, got 'add'"),
        (lambda: run_ranks(lambda: 0, 2), "must be importable or plain data"),
        (lambda: run_ranks(work.add, 2, (x for x in "ab")), "must be importable or plain data"),
        (lambda: run_ranks(work.add, 2, seconds=0), "seconds must be above 0"),
        (lambda: run_ranks(work.add, 2, seconds=1e30), "seconds must be between 0 and"),
        (lambda: gpipe(2, 2, 4), "rank must be between 0 and 1, got 2"),
        (lambda: one_forward_one_backward(5, 2, 4), "rank must be between 0 and 1, got 5"),
        (lambda: one_forward_one_backward(0, 0, 4), "ranks must be at least 1, got 0"),
        (lambda: gpipe(0, 2, 1.5), "microbatches must be an integer, got 1.5"),
    ],
)
def test_bad_calls(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_a_function_of_a_notebook_is_refused(monkeypatch):
    import types

    cell = types.ModuleType("__main__")
    exec("def work():\n    return 1\n", cell.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", cell)
    with pytest.raises(ValueError, match=r"work is defined in a notebook .* write it into a module"):
        run_ranks(cell.work, 2)
