"""Hand a lesson out, in nbgrader's format: `make_assignment`. nbgrader is run as the command line it is.

course folder/source/02_1/      the lesson, with solutions and hidden tests: stays with the teacher
              release/02_1/     what students get
              submitted/        what came back: grading.py reads it
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from minillm._checks import describe
from minillm._files import write_whole
from minillm.course.lessons import notebooks
from minillm.course.paths import checkout

CONFIG = """c = get_config()
c.CourseDirectory.course_id = "minillm"
c.CourseDirectory.submitted_directory = "build/submitted"  # what `minillm assignment grade` makes of submitted/
"""


class GradingError(ValueError):
    """nbgrader refused a course folder or a notebook; the message is its reason."""


def make_assignment(lesson: str, out: str | Path) -> dict[str, Any]:
    """Write the student version of a lesson ("02_1") into the course folder `out`, which may exist already.

    Returns lesson, release (the folder to hand out), exercises (id -> points) and message. Raises ValueError for an
    unknown lesson or an `out` that is no folder, ImportError when nbgrader is not installed.
    """
    path = notebooks.lesson_path(lesson, checkout() / "notebooks")
    return make_from(path, lesson, out)


def make_from(path: Path, lesson: str, out: str | Path) -> dict[str, Any]:
    """As make_assignment, for a notebook file anywhere."""
    need_nbgrader()
    folder = course_folder(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder, {str(out)!r} is a file")
    exercises = {one.id: one.points for one in notebooks.find_exercises(notebooks.read_notebook(path))}
    if not exercises:
        raise ValueError(f"{path.name} has no exercises to hand out")
    if not (folder / "nbgrader_config.py").exists():
        write_whole(folder / "nbgrader_config.py", CONFIG)
    write_whole(folder / "source" / lesson / path.name, path.read_bytes())
    (folder / "submitted").mkdir(exist_ok=True)
    _nbgrader(folder, "generate_assignment", lesson, "--force", seconds=300)
    release = folder / "release" / lesson
    return {
        "lesson": lesson,
        "release": str(release),
        "exercises": exercises,
        "message": f"{release / path.name}: {len(exercises)} exercises, {sum(exercises.values())} points. Collect "
        f"notebooks in {folder / 'submitted'}, then: minillm assignment grade {folder}",
    }


def course_folder(value: Any) -> Path:
    """The folder of a class as a whole path; ValueError for what is no path."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"the course folder must be a path, got {describe(value)}")
    return Path(value).resolve()


def need_nbgrader() -> None:
    """ImportError with the command that installs nbgrader, when it is missing."""
    if importlib.util.find_spec("nbgrader") is None:
        raise ImportError("nbgrader is not installed: pip install -e '.[classroom]'")


def _nbgrader(folder: Path, command: str, *arguments: str, seconds: float) -> None:
    """Run one nbgrader command in the course folder; GradingError with the line that says why it failed."""
    root = str(checkout())
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    for name, first in (
        ("PYTHONPATH", root),
        ("PATH", str(Path(sys.executable).parent)),
    ):  # nbgrader calls alembic
        environment[name] = os.pathsep.join(filter(None, [first, os.environ.get(name, "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", command, *arguments], stdin=subprocess.DEVNULL, timeout=seconds,
            cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise GradingError(f"nbgrader {command}: stopped after {seconds:.0f} seconds") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        named = [line for line in lines if re.match(r"\s*[\w.]*(Error|Exception)\b", line)]
        raise GradingError(f"nbgrader {command}: {(named or lines)[-1].strip()[:300]}")
