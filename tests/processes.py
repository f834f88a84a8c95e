"""Processes of tests that kill: a Python process of the same environment, and a forked child. Imports no torch."""

import os
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments, seconds=250):
    """A Python process of the same environment; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def forked(work):
    """A child that does the work and ends, with 0 if nothing was raised; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child
