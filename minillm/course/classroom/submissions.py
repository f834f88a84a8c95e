"""What students handed in, made into what nbgrader can grade: found, named, cleaned, and with lost cells put back.

Students rename files and kernels, delete cells, and change tests. Nothing in a file may stop the grading of the
others: a notebook that cannot be read, or belongs to no lesson, becomes a note beside its student's name.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, write_json
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import lesson_of_exercise, lesson_of_file

STUDENT = re.compile(r"[^\s./\\+][^/\\+]*")  # nbgrader puts the name into paths and patterns


def stage_submissions(
    folder: Path, lessons: dict[str, Path]
) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
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
        said = notes.setdefault(student, [])
        if not STUDENT.fullmatch(student):
            said.append("not graded: a student's name holds no '+' and no leading dot")
            continue
        try:
            notebook = notebooks.read_notebook(path)
            lesson = _lesson_of(notebook, parts, lessons)
        except BadFileError as error:
            said.append(f"{path.name} cannot be read: {str(error).split(': ')[-1]}")
            continue
        if lesson is None:
            said.append(f"{path.name} belongs to no lesson that was handed out")
        elif (student, lesson) in staged:
            said.append(f"more than one notebook of {lesson}: {path.name} was left out")
        else:
            released = release_of(folder, lesson)
            notebook = _clean(notebook, released)
            lost = _restore(notebook, released)
            write_json(stage / student / lesson / lessons[lesson].name, notebook)
            staged.append((student, lesson))
            said.extend([f"put back lost cells {', '.join(lost)}"] if lost else [])
    return staged, notes


def _lesson_of(notebook: dict[str, Any], parts: tuple[str, ...], lessons: dict[str, Path]) -> str | None:
    """The lesson a notebook answers: by its folder, else by its exercises' ids, else by its name."""
    if len(parts) > 2 and parts[1] in lessons:
        return parts[1]
    for cell in notebook["cells"]:
        with suppress(ValueError):
            if (lesson := lesson_of_exercise(grade_id(cell).removesuffix("-test"))) in lessons:
                return lesson
    named = lesson_of_file(parts[-1])
    return named if named in lessons else None


def _clean(notebook: dict[str, Any], released: dict[str, Any]) -> dict[str, Any]:
    """The student's text in a notebook nbgrader can open: no outputs, our kernel, grading metadata as handed out."""
    handed_out = {name: cell["metadata"] for cell in released["cells"] if (name := grade_id(cell))}
    cells = []
    for index, cell in enumerate(notebook["cells"]):
        metadata = handed_out.get(grade_id(cell), {})
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


def release_of(folder: Path, lesson: str) -> dict[str, Any]:
    """The student version of a lesson, as it was handed out."""
    return notebooks.read_notebook(next((folder / "release" / lesson).glob("*.ipynb")))


def grade_id(cell: dict[str, Any]) -> str:
    """The name nbgrader knows an exercise's cell by, such as 02-1-a or 02-1-a-test; "" for other cells."""
    return str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""))


def _restore(notebook: dict[str, Any], released: dict[str, Any]) -> list[str]:
    """Put answer and test cells that a student deleted back where they were; the ids of those cells."""
    lost = []
    place = len(notebook["cells"])
    for cell in released["cells"]:
        if not (name := grade_id(cell)):
            continue
        there = [index for index, other in enumerate(notebook["cells"]) if grade_id(other) == name]
        if not there:
            lost.append(name)
            notebook["cells"].insert(place, cell)
        place = (there[-1] if there else place) + 1
    return lost
