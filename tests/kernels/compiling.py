"""A process that compiles kernels, beside the tests, which interpret them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SET_HERE = ("TRITON_INTERPRET", "TRITON_DEFAULT_FP_FUSION")  # by the tests, and by kernels/_checks.py


def python(*arguments):
    """A finished child process that compiles instead of interpreting."""
    environment = {name: value for name, value in os.environ.items() if name not in SET_HERE}
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
