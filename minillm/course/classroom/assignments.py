"""Hand a lesson out and grade what comes back; nbgrader is the engine, run as the command line it is.

    course folder/source/02_1/      the lesson, with solutions and hidden tests: stays with the teacher
                  release/02_1/     what students get
                  submitted/        <student>/02_1/*.ipynb, or <student>/*.ipynb, or <student>.ipynb
                  autograded/       each student's notebook after the run; grades.csv; nbgrader's gradebook.db

An exercise gives all its points or none. A student's notebook that crashes, loops for ever, lost cells, has changed
tests, another name or another kernel is graded like any other; one that cannot be read gets zero and a note.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from minillm._checks import check_int, describe
from minillm._files import write_json, write_whole
from minillm.course.classroom.submissions import grade_id, release_of, stage_submissions
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import lesson_of_file
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
    _need_nbgrader()
    folder = _folder(out)
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


def grade_assignment(folder: str | Path, timeout: int = 120) -> dict[str, Any]:
    """Grade every notebook in `folder`/submitted; `timeout` is the seconds one cell may take.

    Returns rows (one a student: student, points by exercise id, total, of, note), csv (the path of grades.csv) and
    message (the table). Raises ValueError when `folder` was not made by make_assignment or nothing was submitted,
    ImportError when nbgrader is not installed. Can be run again; it then grades again.
    """
    timeout = check_int("timeout", timeout, 1)
    folder = _folder(folder)
    handed_out = sorted(
        path for path in folder.glob("source/*/*.ipynb") if path.parent.name == lesson_of_file(path.name)
    )
    if not handed_out:
        raise ValueError(
            f"{str(folder)!r} is no course folder: `minillm assignment make 02_1 --out {folder}` first"
        )
    _need_nbgrader()
    lessons = {path.parent.name: path for path in handed_out}
    points = {
        one.id: one.points
        for path in handed_out
        for one in notebooks.find_exercises(notebooks.read_notebook(path))
    }
    staged, notes = stage_submissions(folder, lessons)
    if not staged and not notes:
        raise ValueError(
            f"nothing to grade in {folder / 'submitted'}: put <student>/<lesson>/<name>.ipynb there"
        )
    shutil.rmtree(folder / "autograded", ignore_errors=True)
    for lesson in sorted({lesson for _, lesson in staged}):
        _autograde(folder, lesson, "*", timeout)  # one failure stops neither nbgrader's loop nor ours
    for student, lesson in staged:
        if not (folder / "autograded" / student / lesson).exists():
            notes[student].append(_second_try(folder, student, lesson, timeout))
    rows = _rows(folder, staged, notes, points)
    path = folder / "grades.csv"
    write_whole(path, _csv(rows, list(points)).encode("utf-8-sig"))  # the mark lets Excel read Korean names
    return {"rows": rows, "csv": str(path), "message": f"{_table(rows, list(points))}\n\nwritten to {path}"}


def _autograde(folder: Path, lesson: str, student: str, timeout: int) -> str:
    """Run nbgrader on the staged notebooks of a lesson; why it failed, or "" when it did not."""
    options = [f"--student={student}", "--create", "--force", f"--Execute.timeout={timeout}"]
    staged = list((folder / "build" / "submitted").glob(f"{student}/{lesson}/*.ipynb"))
    cells = sum(len(notebooks.read_notebook(path)["cells"]) for path in staged)
    try:
        _nbgrader(folder, "autograde", lesson, *options, seconds=60 * (1 + len(staged)) + timeout * cells)
    except GradingError as error:
        return str(error)
    return ""


def _second_try(folder: Path, student: str, lesson: str, timeout: int) -> str:
    """Grade the answers alone, in the lesson as it was handed out; the note on how that went.

    A cell that ends the kernel ends nbgrader's run of the notebook; the answers beside it should not be lost.
    """
    path = next((folder / "build" / "submitted" / student / lesson).glob("*.ipynb"))
    answers = {grade_id(cell): cell["source"] for cell in notebooks.read_notebook(path)["cells"]}
    released = release_of(folder, lesson)
    released["cells"] = [
        cell | {"source": answers.get(grade_id(cell) or "none", cell["source"])}
        for index, cell in enumerate(notebooks.code_cells(released))
        if index == 0 or grade_id(cell) or notebooks.EXERCISE_SETUP in notebooks.tags(cell)
    ]
    write_json(path, released)
    if failed := _autograde(folder, lesson, student, timeout):
        return f"{lesson} could not be graded ({failed})"
    return f"{lesson} could not be run as a whole and was graded from its answers alone"


def _rows(
    folder: Path, staged: list[tuple[str, str]], notes: dict[str, list[str]], points: dict[str, int]
) -> list[dict[str, Any]]:
    """One row a student, from nbgrader's gradebook."""
    from nbgrader.api import Gradebook, MissingEntry

    rows = []
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        for student in sorted(notes):
            scores = dict.fromkeys(points, 0)
            for lesson in sorted(lesson for name, lesson in staged if name == student):
                if not (folder / "autograded" / student / lesson).exists():
                    continue
                try:
                    submission = gradebook.find_submission(lesson, student)
                except MissingEntry:
                    continue
                for notebook in submission.notebooks:
                    for grade in notebook.grades:
                        name = grade.name.removesuffix("-test")
                        if name in scores:
                            scores[name] = points[name] if grade.score >= points[name] else 0
            total = {"total": sum(scores.values()), "of": sum(points.values())}
            rows.append({"student": student, **scores, **total, "note": "; ".join(notes[student])})
    return rows


def _csv(rows: list[dict[str, Any]], exercises: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["student", *exercises, "total", "of", "note"])
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _table(rows: list[dict[str, Any]], exercises: list[str]) -> str:
    columns = ["student", *exercises, "total", "of"]
    cells = [columns] + [[str(row[column]) for column in columns] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    remarks = ["", *(row["note"] for row in rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))])
        + (f"  {remark}" if remark else "")
        for row, remark in zip(cells, remarks)
    )


def _folder(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"the course folder must be a path, got {describe(value)}")
    return Path(value).resolve()


def _need_nbgrader() -> None:
    if importlib.util.find_spec("nbgrader") is None:
        raise ImportError("nbgrader is not installed: pip install 'minillm[classroom]'")


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
