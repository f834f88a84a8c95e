"""The driver of `make portable`: what a leg sets and unsets, what counts as green, and the table."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests import portable
from tests.helpers import soak_count
from tests.soak import run

OUTPUT = """
FAILED tests/search/test_exact.py::test_a[l2-3] - AssertionError: no
ERROR tests/nn/test_b.py
2 failed, 1 error, 30 passed, 4 skipped in 3.21s
"""


@pytest.fixture
def answers(monkeypatch):
    """Stands for the two processes of a leg: the probe, then pytest with this output and exit status."""
    seen = SimpleNamespace(calls=[], output="30 passed in 1s", status=0, slow=False)

    def run(command, env, **_):
        seen.calls.append((command, env))
        if "-c" in command:
            return subprocess.CompletedProcess(command, 0, "Python 3.99, torch AVX2\n", "")
        if seen.slow:
            raise subprocess.TimeoutExpired(command, 60)
        return subprocess.CompletedProcess(command, seen.status, seen.output, "")

    monkeypatch.setattr(portable.subprocess, "run", run)
    return seen


def test_a_leg_sets_its_own_path_and_unsets_every_other(answers, monkeypatch):
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "NUMBA_CPU_NAME", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "preset")
    leg = portable.run_leg("aten-default", ["tests/search"], 1, 60)
    assert leg.green
    for command, variables in answers.calls:
        assert command[0] == sys.executable
        assert variables["ATEN_CPU_CAPABILITY"] == "default"
        assert "preset" not in variables.values()
    assert answers.calls[1][0][-1] == "tests/search"


def test_a_leg_of_two_parts_is_that_machine_with_that_python(answers, monkeypatch):
    monkeypatch.setattr(portable, "pythons", lambda: {"python3.99": "other"})
    monkeypatch.setattr(portable, "environment", lambda name, interpreter: f"{name} {interpreter}")
    assert portable.run_leg("python3.99+old-machine", ["tests/search"], 1, 60).green
    for command, variables in answers.calls:
        assert command[0] == "python3.99 other"
        assert variables.items() >= portable.PATHS["old-machine"].items()


def test_the_legs_without_a_name_are_whole_machines_on_every_python(monkeypatch):
    monkeypatch.setattr(portable, "pythons", dict)
    assert portable.machines() == ["native", *portable.MACHINES]
    monkeypatch.setattr(portable, "pythons", lambda: dict.fromkeys(("python3.10", "python3.12")))
    legs = portable.machines()
    assert legs[:4] == ["native", "python3.10+old-machine", "python3.12+avx2-machine", "last-bits-4"]
    many = [f"python3.{minor}" for minor in range(10, 20)]
    monkeypatch.setattr(portable, "pythons", lambda: dict.fromkeys(many))
    legs = portable.machines()
    assert [part for leg in legs for part in leg.split("+") if part in many] == many
    assert {part for leg in legs for part in leg.split("+")} >= set(portable.MACHINES)


def test_every_library_is_set_on_a_whole_machine():
    single = set().union(*(one for leg, one in portable.PATHS.items() if leg.count("-") and len(one) == 1))
    for machine in ("old-machine", "avx2-machine"):
        assert set(portable.PATHS[machine]) == single - {"MINILLM_JITTER"}


def test_the_models_of_the_lessons_are_made_before_the_lessons_run(answers):
    assert portable.run_leg("native", ["notebooks"], 2, 60, ["--nbval"]).green
    assert answers.calls[1][0][1:] == ["-m", "minillm.course.small", "--all"]
    assert answers.calls[2][0][-1] == "notebooks"
    answers.status = 1
    leg = portable.run_leg("native", ["notebooks"], 2, 60, ["--nbval"])
    assert leg.trouble == ["the course's models: failed"]
    assert len(answers.calls) == 5


def test_failures_are_counted_and_named(answers):
    answers.output, answers.status = OUTPUT, 1
    leg = portable.run_leg("native", ["tests/search"], 2, 60)
    assert not leg.green
    assert leg.counts == {"failed": 2, "error": 1, "passed": 30, "skipped": 4}
    assert leg.trouble == ["tests/search/test_exact.py::test_a[l2-3]", "tests/nn/test_b.py"]
    assert "| native | Python 3.99, torch AVX2 | 30 | 3 | 4 |" in portable.table([leg])
    assert "native: tests/nn/test_b.py" in portable.table([leg])


@pytest.mark.parametrize("output", ["", "no tests ran in 0.01s"])
def test_a_leg_that_ran_nothing_is_not_green(answers, output):
    answers.output, answers.status = output, 5
    leg = portable.run_leg("native", ["tests/search"], 1, 60)
    assert not leg.green
    assert "ended with code 5" in leg.trouble[0]
    answers.slow = True
    assert "not done after 1 minutes" in portable.run_leg("native", ["tests/search"], 1, 60).trouble[0]


def test_a_python_whose_environment_cannot_be_made_is_a_row_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(portable, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(portable, "pythons", lambda: {"python3.99": sys.executable})
    monkeypatch.setattr(
        portable.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "a\nno room"),
    )
    leg = portable.run_leg("python3.99", ["tests/search"], 1, 60)
    assert leg.trouble == ["python3.99: no environment: no room"]
    assert not leg.green


def test_the_share_of_a_long_run(monkeypatch):
    monkeypatch.delenv("MINILLM_SOAK_SHARE", raising=False)
    assert soak_count(10_000) == 500
    assert soak_count(20) == 5
    assert soak_count(3) == 3
    monkeypatch.setenv("MINILLM_SOAK_SHARE", "1")
    assert soak_count(10_000) == 10_000


def test_a_leg_that_changes_one_library_leaves_out_the_rooms_that_compute_nothing():
    for leg in ("native", "old-machine", "python3.12", "python3.13+last-bits-4"):
        assert {"tests/nn", "tests/course", "tests/test_cli.py"} <= set(portable.default_rooms(leg))
    for leg in portable.PATHS.keys() - portable.WHOLE:
        rooms = portable.default_rooms(leg)
        assert "tests/nn" in rooms
        assert "tests/course" not in rooms
        assert all((portable.ROOT / room).is_dir() for room in rooms)


def test_each_leg_is_recorded_in_the_place_of_its_last_row(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "# a\n<!-- bench:portable -->\nnot run yet\n<!-- /bench:portable -->\nb\n", encoding="utf-8"
    )
    monkeypatch.setattr(portable.record, "PAGE", page)
    leg = portable.Leg("python3.12", "Python 3.12.1", {"passed": 3}, 60.0, [])
    red = portable.Leg("native", "Python 3.11.7", {"passed": 3, "failed": 1}, 60.0, ["tests/a.py::b"])
    for one, tree in (
        (leg, "abc"),
        (red, "abc"),
        (portable.Leg("native", "x", {"passed": 4}, 60.0, []), "def"),
    ):
        portable.record_leg(one, tree)
    rows = page.read_text(encoding="utf-8").splitlines()[2:-2]
    assert [row.split(" | ")[0] for row in rows] == [
        "| leg",
        "| ---",
        "| native",
        "| python3.12",
    ]
    assert " | 4 | 0 | 0 | 1.0 | " in rows[2]
    assert rows[2].endswith(" | def |")
    assert "tests/a.py" not in "".join(rows)


def test_a_part_of_the_long_runs_is_recorded_in_the_place_of_its_last_row(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:soak -->\nnot run yet\n<!-- /bench:soak -->\n", encoding="utf-8")
    monkeypatch.setattr(run.record, "PAGE", page)
    for name, status in (("long nn", 1), ("long data", 0), ("long nn", 0)):
        monkeypatch.setattr(
            run.subprocess,
            "run",
            lambda command, status=status, **_: SimpleNamespace(returncode=status, stdout=""),
        )
        run.record.put_rows("soak", run.HEAD, [run.run_part(name)], list(run.PARTS))
    rows = page.read_text(encoding="utf-8").splitlines()[3:-1]
    assert [row.split(" | ")[0] for row in rows] == ["| long data", "| long nn"]
    assert all("MINILLM_SOAK_SHARE=1" in row and " | green | " in row for row in rows)


def test_long_stands_for_every_room():
    rooms = {path.name for path in (run.ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    asked = run.parts_of(["compile", "long"])
    assert {f"long {room}" for room in rooms - portable.NOT_BY_DEFAULT} <= set(asked)
    assert asked[-1] == "compile"
    with pytest.raises(ValueError, match="no part \\['nowhere'\\]"):
        run.parts_of(["nowhere"])
