"""Runs the suite as other machines would: each leg is one code path of the libraries below us, or another Python.

    python -m tests.portable [ROOM ...] [--legs LEG ...] [--workers N] [--minutes M] [--list] [--write] [-- OPTION ...]

The libraries choose their machine code by the processor they find, and round differently on each path; variables of
the environment make them take the path of another processor. A test that fails in one leg alone asserts the order of a
near-tie, a last bit, or something only one Python does. A leg is named by its parts, joined by +: a code path (PATHS)
and a Python. By default the legs are whole machines, as users have them: every library on its oldest path at once, or
on its AVX2 one, and each with another Python where there is one (`machines`). When such a leg fails,
`--legs aten-default` and the like say which library it was.

Rooms are folders or files below tests/; what stands after -- goes to pytest, and with --nbval there (`make portable`)
the lessons are a room, too. By default a leg with a Python of its own, and each of WHOLE, runs all but the kernels and
the benchmarks; the others, which only change how libraries compute, run what computes (COMPUTES) and the lessons. Every
Python 3.10 or newer that pyenv or PATH has is a part; its environment is made in build/portable/ the first time, which
downloads torch (`--legs native` and the like leave that out).

--write records each leg as it ends, in BENCHMARKS.md, in the place of what that leg had: the legs together take hours,
and may be run on several days. A row says when it ran and of which commit.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import record
from tests.code_paths import as_the_machine_is

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / "build" / "portable"
NOT_BY_DEFAULT = {"kernels", "benchmarks", "__pycache__"}

# leg -> what it sets. Before a leg starts, CODE_PATHS and OTHERS are unset.
PATHS = {
    "native": {},
    "aten-default": {"ATEN_CPU_CAPABILITY": "default"},
    "aten-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "onednn-sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "onednn-avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "mkl-compatible": {"MKL_CBWR": "COMPATIBLE"},
    "openblas-prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "openblas-haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "numba-generic": {"NUMBA_CPU_NAME": "generic"},
    "plain": {"ATEN_CPU_CAPABILITY": "default", "NUMBA_CPU_NAME": "generic"},  # `make paths`
    "old-machine": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Prescott",
        "NUMBA_CPU_NAME": "generic",
    },
    "avx2-machine": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NUMBA_CPU_NAME": "haswell",
    },
    "last-bits-4": {"MINILLM_JITTER": "4"},  # tests/jitter.py: no library's path, but any processor's
    "last-bits-5": {"MINILLM_JITTER": "5"},
    "last-bits-6": {"MINILLM_JITTER": "6"},
    "two-threads": {"MINILLM_TEST_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
}
OTHERS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MINILLM_TEST_THREADS",
    "MINILLM_JITTER",
)
WHOLE = {"native", "old-machine"}  # they run the rooms that compute nothing, too
# What `make portable` runs: the first three take the Pythons that are installed besides this one.
MACHINES = ("old-machine", "avx2-machine", "last-bits-4", "last-bits-5", "last-bits-6", "two-threads")
COMPUTES = (
    "data",
    "evaluation",
    "inference",
    "models",
    "nn",
    "parity",
    "quantization",
    "search",
    "tokenizer",
    "training",
)
# What a leg really got, said by the libraries themselves.
PROBE = """
import platform, torch, numba, numpy
from threadpoolctl import threadpool_info
numpy.ones((2, 2)) @ numpy.ones((2, 2))
blas = {one.get("architecture") for one in threadpool_info() if one["internal_api"] == "openblas"}
cpu = numba.config.CPU_NAME or "host"
print(f"Python {platform.python_version()}, torch {torch.backends.cpu.get_cpu_capability()}, "
      f"openblas {'/'.join(map(str, sorted(blas, key=str)))}, numba {cpu}")
"""


@dataclass
class Leg:
    """One row of the table."""

    name: str
    path: str  # what the libraries say they run
    counts: dict[str, int]  # "passed", "failed", "error", "skipped"
    seconds: float
    trouble: list[str]  # the tests that failed, or why the leg did not run

    @property
    def green(self) -> bool:
        return not self.trouble and self.counts.get("passed", 0) > 0


def pythons() -> dict[str, str]:
    """ "python3.12" -> interpreter, for every Python 3.10 or newer but the one that runs this, newest patch last."""
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    found: dict[str, str] = {}
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    by_patch = sorted(
        versions.glob("3.*"), key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.name)]
    )
    for minor in range(10, 20):
        name = f"python3.{minor}"
        if on_path := shutil.which(name):
            found[name] = on_path
        for folder in by_patch:
            if (folder / "bin" / name).exists():
                found[name] = str(folder / "bin" / name)
    found.pop(own, None)
    return found


def machines() -> list[str]:
    """The legs of `make portable`: native, then each of MACHINES, with the other Pythons while there are any."""
    others = list(pythons())
    legs = ["native", *("+".join(pair) for pair in zip(others, MACHINES, strict=False))]
    return [*legs, *MACHINES[len(others) :], *others[len(MACHINES) :]]


def environment(name: str, interpreter: str) -> str:
    """The Python of build/portable/<name>, made if it is not there; RuntimeError with pip's last words."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    ready = folder / "minillm-is-installed"
    asked = ROOT / "pyproject.toml"
    if not ready.exists() or ready.stat().st_mtime < asked.stat().st_mtime:
        make = [[interpreter, "-m", "venv", str(folder)]] if not python.exists() else []
        for command in (*make, [str(python), "-m", "pip", "install", "-q", "-e", f"{ROOT}[test,parity]"]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(
                    f"{name}: no environment: {(done.stderr.strip() or 'failed').splitlines()[-1]}"
                )
        ready.touch()
    return str(python)


def run_leg(name: str, rooms: list[str], workers: int, seconds: float, options: Sequence[str] = ()) -> Leg:
    """Run the rooms once, in a process of its own with its own environment variables; options go to pytest."""
    variables = {key: value for key, value in as_the_machine_is().items() if key not in OTHERS}
    parts = name.split("+")
    for part in parts:
        variables |= PATHS.get(part, {})
    variables |= {"PYTHONPATH": str(ROOT)}
    own = [part for part in parts if part not in PATHS]
    start = time.perf_counter()
    try:
        python = environment(own[0], pythons()[own[0]]) if own else sys.executable
    except RuntimeError as error:
        return Leg(name, "", {}, 0.0, [str(error)])
    probe = subprocess.run([python, "-c", PROBE], env=variables, cwd=ROOT, capture_output=True, text=True)
    path = probe.stdout.strip() or f"unknown: {(probe.stderr.strip() or 'no word').splitlines()[-1]}"
    if "--nbval" in options:  # before two workers ask for them: a Python has a corpus, and models, of its own
        make = [python, "-m", "minillm.course.small", "--all"]
        made = subprocess.run(make, env=variables, cwd=ROOT, capture_output=True, text=True)
        if made.returncode:
            last = (made.stderr.strip() or "failed").splitlines()[-1]
            return Leg(name, path, {}, time.perf_counter() - start, [f"the course's models: {last}"])
    parallel = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=line",
        *parallel,
        *options,
        *rooms,
    ]
    try:
        done = subprocess.run(
            command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=seconds,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Leg(
            name, path, {}, time.perf_counter() - start, [f"not done after {seconds / 60:.0f} minutes"]
        )
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    counts = {
        word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)
    }
    trouble = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.M)
    if done.returncode:
        print("\n".join(done.stdout.splitlines()[-60:]), flush=True)
    if done.returncode and not trouble:
        trouble = [f"pytest ended with code {done.returncode}: {(last or done.stderr.strip())[-200:]}"]
    return Leg(name, path, counts, time.perf_counter() - start, trouble)


HEAD = ["leg", "code path", "passed", "failed", "skipped", "minutes"]


def row_of(leg: Leg) -> list[str]:
    """The cells of the leg's row."""
    failed = leg.counts.get("failed", 0) + leg.counts.get("error", 0) or (0 if leg.green else "not run")
    counts = leg.counts.get("passed", 0), failed, leg.counts.get("skipped", 0)
    return [leg.name, leg.path, *map(str, counts), f"{leg.seconds / 60:.1f}"]


def table(legs: list[Leg]) -> str:
    """The legs as a markdown table, and under it what failed where."""
    trouble = [f"{leg.name}: {one}" for leg in legs for one in leg.trouble]
    rows = record.markdown(HEAD, [row_of(leg) for leg in legs])
    return "\n".join([rows, *([""] if trouble else []), *trouble])


def default_rooms(leg: str) -> list[str]:
    """What a leg runs where no room is named (the head of this file says it). Never the kernels: they are slow."""
    parts = set(leg.split("+"))
    if parts <= set(PATHS) and not parts & WHOLE:
        return [f"tests/{room}" for room in COMPUTES]
    rooms = [
        folder
        for folder in (ROOT / "tests").iterdir()
        if folder.is_dir() and folder.name not in NOT_BY_DEFAULT
    ]
    return sorted(str(one.relative_to(ROOT)) for one in [*rooms, *(ROOT / "tests").glob("test_*.py")])


def commit() -> str:
    """The commit of the tree, with a + where files have been changed since."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=7", "--dirty=+"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


def record_leg(leg: Leg, tree: str) -> None:
    """Put the leg's row into the table of BENCHMARKS.md."""
    row = [*row_of(leg), datetime.date.today().isoformat(), tree]
    record.put_rows("portable", [*HEAD, "day", "tree"], [row], ["native", *MACHINES])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.portable", description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help="for example search or nn/test_attention.py")
    parser.add_argument("--legs", nargs="+", metavar="LEG", help="only these; parts joined by +")
    parser.add_argument("--workers", type=int, default=2, help="test files at a time (default 2)")
    parser.add_argument(
        "--minutes", type=float, default=60, help="the most that one leg may take (default 60)"
    )
    parser.add_argument("--list", action="store_true", help="print the legs there are")
    parser.add_argument("--write", action="store_true", help="record each leg in BENCHMARKS.md")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, for_pytest = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    every, others = [*PATHS, *pythons()], pythons()
    if options.list:
        print("\n".join([*machines(), "", "parts:", *every]))
        return 0
    for leg in options.legs or ():
        if unknown := set(leg.split("+")) - set(every):
            parser.error(f"no leg {sorted(unknown)}; there are: {', '.join(every)}")
        if len(set(leg.split("+")) & set(others)) > 1:
            parser.error(f"leg {leg!r} has two Pythons")
    rooms = [
        room if room.startswith("notebooks") else f"tests/{room.removeprefix('tests/')}"
        for room in options.rooms
    ]
    if options.write and rooms:
        parser.error("--write records whole legs: name no room")
    if missing := [room for room in rooms if not (ROOT / room).exists()]:
        parser.error(f"no such room: {', '.join(missing)}")
    lessons = ["notebooks"] if "--nbval" in for_pytest else []
    legs, tree = [], commit()
    for name in options.legs or machines():
        what = rooms or [*default_rooms(name), *lessons]
        legs.append(run_leg(name, what, options.workers, 60 * options.minutes, for_pytest))
        if options.write:
            record_leg(legs[-1], tree)
        print(f"{name}: {'green' if legs[-1].green else 'not green'} [{legs[-1].seconds:.0f} s]", flush=True)
    print(f"\n{table(legs)}")
    return 0 if all(leg.green for leg in legs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
