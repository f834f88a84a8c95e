"""Lessons as data: read a notebook file, its cells' text, and the exercises in it.

An exercise is three cells in a row, and the markers are nbgrader's:

    markdown   ### Exercise 02-1-a · Count the merges (build, 2 points)
    answer     code with ### BEGIN SOLUTION ... ### END SOLUTION
    test       check("02-1-a", answer), then ### BEGIN HIDDEN TESTS ... ### END HIDDEN TESTS
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_json
from minillm.course.lessons.ids import check_lesson_id, lesson_of_file

KINDS = ("build", "break", "predict", "measure")
HEADING = re.compile(
    rf"### Exercise (?P<id>\S+) · (?P<title>.+) \(((?P<kind>{'|'.join(KINDS)}), )?(?P<points>\d+) points?\)"
)
SOLUTION = ("### BEGIN SOLUTION", "### END SOLUTION")
HIDDEN_TESTS = ("### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS")
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # what nbgrader puts in place of a solution

IGNORE = "nbval-ignore-output"
EXERCISE_SETUP = "exercise-setup"
PROVE = "prove"  # asserts, folded on the page
PREDICT = "predict"  # a question to the reader
HIDE = "hide-input"  # how Jupyter Book folds a cell; written beside PROVE, never by hand


def read_notebook(path: str | Path) -> dict[str, Any]:
    """The notebook as a dict in the nbformat 4 layout; BadFileError when it is cut, damaged or not one."""
    notebook = read_json(path, "notebook")
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BadFileError(f"notebook {str(path)!r} has no list of cells")
    for number, cell in enumerate(notebook["cells"], 1):
        if not _is_cell(cell):
            raise BadFileError(f"notebook {str(path)!r}: cell {number} is not a cell")
    return notebook


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return False
    text, metadata, outputs = cell.get("source"), cell.get("metadata", {}), cell.get("outputs", [])
    lines = isinstance(text, list) and all(isinstance(line, str) for line in text)
    kinds = {"tags": list, "nbgrader": dict}
    return (
        (lines or isinstance(text, str))
        and isinstance(cell.get("id", ""), str)
        and isinstance(metadata, dict)
        and all(isinstance(metadata.get(name, kind()), kind) for name, kind in kinds.items())
        and isinstance(outputs, list)
        and all(isinstance(output, dict) and "output_type" in output for output in outputs)
    )


def lesson_path(lesson: str, folder: str | Path) -> Path:
    """The file of lesson "02_1" in a folder; ValueError when there is none or more than one."""
    check_lesson_id(lesson)
    found = sorted(Path(folder).glob(f"{lesson}_*.ipynb"))
    if len(found) != 1:
        there = sorted(filter(None, (lesson_of_file(path.name) for path in Path(folder).glob("*.ipynb"))))
        raise ValueError(
            f"{len(found)} notebooks of lesson {lesson} in {folder}; lessons there: {', '.join(there) or 'none'}"
        )
    return found[0]


def source(cell: dict[str, Any]) -> str:
    """The cell's text, which a notebook file keeps as one string or as a list of lines."""
    return joined(cell["source"])


def joined(text: str | list[str]) -> str:
    """Text of a notebook file as one string."""
    return text if isinstance(text, str) else "".join(text)


def tags(cell: dict[str, Any]) -> list[str]:
    """The cell's tags."""
    return cell.get("metadata", {}).get("tags", [])


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The code cells that have code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and source(cell).strip()]


def numbered(notebook: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """(number in the file, cell) of the cells with code, counted from 1 over all cells as an editor does."""
    return [
        (number, cell)
        for number, cell in enumerate(notebook["cells"], 1)
        if cell["cell_type"] == "code" and source(cell).strip()
    ]


def tree(cell: dict[str, Any]) -> ast.Module:
    """The cell's code, parsed; nothing when it does not parse (the rule one_run says so)."""
    with suppress(SyntaxError):
        return ast.parse(source(cell))
    return ast.Module([], [])


def metadata_of(cell_tags: list[str]) -> dict[str, Any]:
    """A cell's metadata for its tags: a proof is folded in JupyterLab, Jupyter Book and Colab."""
    names = [tag for tag in cell_tags if tag != HIDE]
    if PROVE in names:
        return {"tags": [*names, HIDE], "jupyter": {"source_hidden": True}, "cellView": "form"}
    return {"tags": names} if names else {}


def output_texts(cell: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, text) of everything readable in a cell's outputs: stdout, stderr, error, or a mime type."""
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            yield output["name"], joined(output["text"])
        elif output["output_type"] == "error":
            yield "error", f"{output['ename']}: {output['evalue']}"
        else:
            for kind, data in output.get("data", {}).items():
                if not kind.startswith("image/") and isinstance(data, (str, list)):
                    yield kind, joined(data)


def glossary_of(markdown: str) -> str:
    """What stands under `## Glossary`, up to the next heading; "" when there is none."""
    found = re.search(r"^## Glossary[^\n]*\n(.*?)(?=^#|\Z)", markdown, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@dataclass(frozen=True)
class ExerciseCells:
    """Where an exercise is in a notebook: its id, title, points, the index of its first (markdown) cell, its kind."""

    id: str
    title: str
    points: int
    task: int
    kind: str = ""

    @property
    def answer(self) -> int:
        return self.task + 1

    @property
    def test(self) -> int:
        return self.task + 2


def find_exercises(notebook: dict[str, Any]) -> list[ExerciseCells]:
    """The exercises in order. Raises ValueError naming the first one that is not three cells in the agreed form."""
    found = []
    cells = notebook["cells"]
    for index, cell in enumerate(cells):
        first = source(cell).split("\n", 1)[0]
        if cell["cell_type"] != "markdown" or not first.startswith("### Exercise"):
            continue
        heading = HEADING.fullmatch(first.strip())
        if heading is None:
            raise ValueError(
                f"write '### Exercise 02-1-a · Title (build, 2 points)', a kind of {', '.join(KINDS)}, got {first!r}"
            )
        one = ExerciseCells(
            heading["id"], heading["title"], int(heading["points"]), index, heading["kind"] or ""
        )
        after = cells[index + 1 : index + 3]
        if [cell["cell_type"] for cell in after] != ["code", "code"]:
            raise ValueError(
                f"exercise {one.id}: an answer cell and a test cell must follow its heading at once"
            )
        answer, test = map(source, after)
        for name, text, markers in (("answer", answer, SOLUTION), ("test", test, HIDDEN_TESTS)):
            if any(text.count(marker) != 1 for marker in markers) or text.find(markers[0]) > text.find(
                markers[1]
            ):
                raise ValueError(
                    f"exercise {one.id}: the {name} cell needs one {markers[0]} ... {markers[1]}"
                )
        if not re.search(rf"^check\(\s*[\"']{re.escape(one.id)}[\"']\s*,", test, re.MULTILINE):
            raise ValueError(f'exercise {one.id}: its test cell must call check("{one.id}", answer)')
        found.append(one)
    return found


def grading_metadata(one: ExerciseCells) -> tuple[dict[str, Any], dict[str, Any]]:
    """nbgrader's metadata (schema 3) of the answer cell and of the test cell."""
    shared = {"locked": False, "schema_version": 3, "task": False}
    answer = shared | {"grade": False, "grade_id": one.id, "solution": True}
    test = shared | {"grade": True, "grade_id": f"{one.id}-test", "locked": True, "points": one.points}
    return answer, test | {"solution": False}


def student_source(cell: dict[str, Any]) -> str:
    """The cell as a student gets it: the solution replaced by nbgrader's stub, hidden tests removed."""
    lines: list[str] = []
    skipping = None
    for line in source(cell).split("\n"):
        mark = line.strip()
        if skipping is None and mark in (SOLUTION[0], HIDDEN_TESTS[0]):
            skipping = SOLUTION[1] if mark == SOLUTION[0] else HIDDEN_TESTS[1]
            if mark == SOLUTION[0]:
                indent = line[: len(line) - len(line.lstrip())]
                lines += [indent + stub for stub in STUB.split("\n")]
        elif mark == skipping:
            skipping = None
        elif skipping is None:
            lines.append(line)
    return "\n".join(lines)
