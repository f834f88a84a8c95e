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
from contextlib import suppress
from pathlib import Path
from typing import Any

from minillm._checks import check_int, describe
from minillm._files import BadFileError, write_json, write_whole
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import lesson_of_exercise, lesson_of_file
from minillm.course.paths import checkout

CONFIG = """c = get_config()
c.CourseDirectory.course_id = "minillm"
c.CourseDirectory.submitted_directory = "build/submitted"  # what `minillm assignment grade` makes of submitted/
"""
STUDENT = re.compile(r"[^\s./\\+][^/\\+]*")  # nbgrader puts the name into paths and patterns


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
    staged, notes = _stage(folder, lessons)
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


def _stage(folder: Path, lessons: dict[str, Path]) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    """Copy what was submitted to build/submitted in the names nbgrader expects; (student, lesson) pairs and notes."""
    stage = folder / "build" / "submitted"
    shutil.rmtree(stage, ignore_errors=True)
    staged: list[tuple[str, str]] = []
    notes: dict[str, list[str]] = {}
    submitted = folder / "submitted"
    for path in sorted(submitted.glob("**/*.ipynb")):
        parts = path.relative_to(submitted).parts
        if any(part.startswith(".") for part in parts):  # Jupyter's checkpoints
            continue
        student = parts[0] if len(parts) > 1 else path.stem
        if not STUDENT.fullmatch(student):
            notes.setdefault(student, []).append(
                "not graded: a student's name holds no '+' and no leading dot"
            )
            continue
        try:
            notebook = notebooks.read_notebook(path)
            lesson = _lesson_of(notebook, parts, lessons)
        except BadFileError as error:
            notes.setdefault(student, []).append(f"{path.name} cannot be read: {str(error).split(': ')[-1]}")
            continue
        if lesson is None:
            notes.setdefault(student, []).append(f"{path.name} belongs to no lesson that was handed out")
        elif (student, lesson) in staged:
            notes.setdefault(student, []).append(
                f"more than one notebook of {lesson}: {path.name} was left out"
            )
        else:
            released = _released(folder, lesson)
            notebook = _clean(notebook, released)
            lost = _restore(notebook, released)
            write_json(stage / student / lesson / lessons[lesson].name, notebook)
            staged.append((student, lesson))
            notes.setdefault(student, []).extend([f"put back lost cells {', '.join(lost)}"] if lost else [])
    return staged, notes


def _lesson_of(notebook: dict[str, Any], parts: tuple[str, ...], lessons: dict[str, Path]) -> str | None:
    """The lesson a notebook answers: by its folder, else by its exercises' ids, else by its name."""
    if len(parts) > 2 and parts[1] in lessons:
        return parts[1]
    for cell in notebook["cells"]:
        with suppress(ValueError):
            if (lesson := lesson_of_exercise(_grade_id(cell).removesuffix("-test"))) in lessons:
                return lesson
    named = lesson_of_file(parts[-1])
    return named if named in lessons else None


def _clean(notebook: dict[str, Any], released: dict[str, Any]) -> dict[str, Any]:
    """The student's text in a notebook nbgrader can open: no outputs, our kernel, grading metadata as handed out."""
    handed_out = {name: cell["metadata"] for cell in released["cells"] if (name := _grade_id(cell))}
    cells = []
    for index, cell in enumerate(notebook["cells"]):
        metadata = handed_out.get(_grade_id(cell), {})
        clean = {
            "id": f"cell-{index}",
            "cell_type": cell["cell_type"],
            "metadata": metadata,
            "source": cell["source"],
        }
        cells.append(
            clean | ({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {})
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _released(folder: Path, lesson: str) -> dict[str, Any]:
    return notebooks.read_notebook(next((folder / "release" / lesson).glob("*.ipynb")))


def _grade_id(cell: dict[str, Any]) -> str:
    return str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""))


def _restore(notebook: dict[str, Any], released: dict[str, Any]) -> list[str]:
    """Put answer and test cells that a student deleted back where they were; the ids of those cells."""
    lost = []
    place = len(notebook["cells"])
    for cell in released["cells"]:
        if not (name := _grade_id(cell)):
            continue
        there = [index for index, other in enumerate(notebook["cells"]) if _grade_id(other) == name]
        if not there:
            lost.append(name)
            notebook["cells"].insert(place, cell)
        place = (there[-1] if there else place) + 1
    return lost


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
    answers = {_grade_id(cell): cell["source"] for cell in notebooks.read_notebook(path)["cells"]}
    released = _released(folder, lesson)
    released["cells"] = [
        cell | {"source": answers.get(_grade_id(cell) or "none", cell["source"])}
        for index, cell in enumerate(notebooks.code_cells(released))
        if index == 0 or _grade_id(cell) or notebooks.EXERCISE_SETUP in notebooks.tags(cell)
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
