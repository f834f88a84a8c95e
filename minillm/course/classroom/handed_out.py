"""A lesson as the instructor has it: what an answer may build on, and the tests that it must pass.

Set-up, tests and points are always read from here, the course folder's source/; nothing of a student's notebook but
the answers counts.
"""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm.course.classroom.submissions import names_used_and_bound
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import lesson_of_file


@dataclass(frozen=True)
class GradedExercise:
    """One exercise: its points, the stored solution and the names that binds, the student's stub, the two tests."""

    id: str
    title: str
    points: int
    solution: str
    stub: str
    provided: list[str]
    check: str
    hidden: str


@dataclass(frozen=True)
class HandedOut:
    """A lesson that was handed out."""

    id: str
    path: Path
    setup: list[str]
    exercises: list[GradedExercise]
    checker: str  # a fingerprint of the file with its checkers
    cells: frozenset[str] = frozenset()  # the texts of its code cells, as students got them
    names: frozenset[str] = frozenset()  # what the set-up binds

    def key(self, one: GradedExercise, cells: Any, seconds: float | None) -> str:
        """A fingerprint of everything a verdict depends on."""
        parts = [self.setup, one.check, one.hidden, one.provided, self.checker, cells, seconds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_handed_out(folder: Path) -> dict[str, HandedOut]:
    """The lessons of a course folder by id. Raises ValueError when there is none: it is no course folder."""
    paths = sorted(
        path for path in folder.glob("source/*/*.ipynb") if path.parent.name == lesson_of_file(path.name)
    )
    if not paths:
        raise ValueError(
            f"{str(folder)!r} is no course folder: `minillm assignment make 02_1 --out {folder}` first"
        )
    return {path.parent.name: _read(path) for path in paths}


def _read(path: Path) -> HandedOut:
    notebook = notebooks.read_notebook(path)
    cells = notebook["cells"]
    setup = [
        notebooks.source(cell)
        for index, cell in enumerate(notebooks.code_cells(notebook))
        if index == 0 or notebooks.EXERCISE_SETUP in notebooks.tags(cell)
    ]
    exercises = []
    for one in notebooks.find_exercises(notebook):
        solution, test = cells[one.answer], cells[one.test]
        hidden = notebooks.source(test).partition(notebooks.HIDDEN_TESTS[0])[2]
        exercises.append(
            GradedExercise(
                one.id,
                one.title,
                one.points,
                notebooks.source(solution),
                notebooks.student_source(solution),
                names_bound(notebooks.source(solution)),
                notebooks.student_source(test),
                hidden.partition(notebooks.HIDDEN_TESTS[1])[0],
            )
        )
    checkers = Path(__file__).parent / "exercises" / f"lesson_{path.parent.name}.py"
    checker = hashlib.sha256(checkers.read_bytes() if checkers.is_file() else b"").hexdigest()
    texts = frozenset(notebooks.student_source(cell).strip() for cell in notebooks.code_cells(notebook))
    names = frozenset(name for text in setup for name in names_used_and_bound([text])[1])
    return HandedOut(path.parent.name, path, setup, exercises, checker, texts, names)


def names_bound(code: str) -> list[str]:
    """The functions, classes and variables that a cell defines at its top level, in order."""
    names: dict[str, None] = {}
    for statement in ast.parse(code).body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[statement.name] = None
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names[node.id] = None
    return list(names)
