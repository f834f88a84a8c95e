"""The suite's own time-out works where Ctrl-C is ignored: a test that hangs fails, and the next one runs."""

import signal
import subprocess
import sys

import pytest

from tests.helpers import ROOT, pyproject

pytest.importorskip("pytest_timeout", reason="pytest-timeout is in the test extra")

HANGING = """
import itertools, time

def test_loop():
    while True:
        pass

def test_sleep():
    time.sleep(1000)

def test_catches_everything():
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass

def test_compiled_call():
    sum(itertools.repeat(0))

def test_after():
    pass
"""


def ignore_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(folder, *options):
    (folder / "test_hanging.py").write_text(HANGING, encoding="utf-8")
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *settings, *options, str(folder)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=200, preexec_fn=ignore_interrupts
    ).stdout


def test_the_limits_are_set_and_the_last_resort_comes_later():
    options = pyproject()["tool"]["pytest"]["ini_options"]
    assert 0 < options["timeout"] < options["faulthandler_timeout"]
    assert options["faulthandler_exit_on_timeout"] is True


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="a thread ends the whole process on this system")
def test_a_hanging_test_fails_and_the_next_one_runs(tmp_path):
    pytest.importorskip("xdist", reason="pytest-xdist runs the suite; it is in the test extra")
    limits = ("--timeout=1", "-o", "faulthandler_timeout=3")
    out = run(tmp_path, "-n", "1", *limits)
    assert "test_loop - Failed: Timeout (>1.0s)" in out, out
    assert out.count("crashed while running") >= 2, (
        "one that cannot be stopped ends its worker, and no other test"
    )
    assert "4 failed, 1 passed" in out
