"""A submission as nbgrader can open it, for an instructor who runs nbgrader's own autograde or formgrader.

build/submitted/<student>/<lesson>/<name>.ipynb: the student's text with the grading metadata of the copy that was
handed out, cells put back that were lost, our kernel's name and no outputs. Our own grading does not read it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from minillm._files import write_json
from minillm.course.classroom.submissions import Submission, grade_id
from minillm.course.lessons import notebooks


def stage(folder: Path, one: Submission, name: str) -> None:
    """Write the submission as build/submitted/<student>/<lesson>/`name`; nothing for one that could not be read."""
    place = folder / "build" / "submitted" / one.student / one.lesson
    shutil.rmtree(place, ignore_errors=True)
    if one.notebook is None:
        return
    released = notebooks.read_notebook(next((folder / "release" / one.lesson).glob("*.ipynb")))
    write_json(place / name, gradable(one.notebook, released))


def gradable(notebook: dict[str, Any], released: dict[str, Any]) -> dict[str, Any]:
    """The student's text in a notebook that nbgrader can open."""
    handed_out = {name: cell for cell in released["cells"] if (name := grade_id(cell))}
    cells, seen = [], set()
    for index, cell in enumerate(notebook["cells"]):
        name = grade_id(cell)
        known = handed_out.get(name) if name not in seen else None  # a copied cell has its original's name
        seen.add(name)
        clean = {
            "id": f"cell-{index}",
            "cell_type": known["cell_type"] if known else cell["cell_type"],
            "metadata": known["metadata"] if known else {},
            "source": cell["source"],
        }
        code = {"outputs": [], "execution_count": None} if clean["cell_type"] == "code" else {}
        cells.append(clean | code)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    _restore(whole, released)
    return whole


def _restore(notebook: dict[str, Any], released: dict[str, Any]) -> None:
    """Put answer and test cells that a student deleted back where they were."""
    place = len(notebook["cells"])
    for cell in released["cells"]:
        if not (name := grade_id(cell)):
            continue
        there = [index for index, other in enumerate(notebook["cells"]) if grade_id(other) == name]
        if not there:
            notebook["cells"].insert(place, cell)
        place = (there[-1] if there else place) + 1
