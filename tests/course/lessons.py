"""What the course's tests share: a tiny lesson, cells of a notebook by hand, and running one exercise in process."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import importlib
import linecache
import os
from pathlib import Path
from unittest import mock

import matplotlib
import sklearn.metrics  # noqa: F401  # these take a second each, and each forked child would import them again
import torch._dynamo  # noqa: F401

with contextlib.suppress(ImportError):  # on Linux alone
    import triton  # noqa: F401

matplotlib.use("Agg")  # not by environment variable: lessons under nbval would inherit it

import matplotlib.pyplot as plt

from minillm.course import setup
from minillm.course.lessons import notebooks
from minillm.course.lessons.terms import glossary
from minillm.course.paths import checkout

# a lesson's kernels are interpreted on the CPU, also where there is a GPU; what a cell sets is undone at the end
INTERPRETED = mock.patch.dict(os.environ, TRITON_INTERPRET="1")
LESSONS = sorted((checkout() / "notebooks").glob("*.ipynb"))


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "id": _id(text), "metadata": {}, "source": text}


def code(text: str, *outputs: dict, tags: tuple[str, ...] = ()) -> dict:
    return {
        "cell_type": "code",
        "id": _id(text),
        "metadata": notebooks.metadata_of(list(tags)),
        "source": text,
        "outputs": list(outputs),
        "execution_count": None,
    }


def stdout(text: str, name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": text}


def card(text: str) -> dict:
    return {"output_type": "display_data", "data": {"text/markdown": text}, "metadata": {}}


def question(name: str) -> list[dict]:
    """A question, the cell that finds out, and the answer."""
    ask = f'{name} = ...\npredict("How many?", {name})'
    return [
        code(ask, card("> How many?"), tags=(notebooks.PREDICT,)),
        code(f"{name}_found = 3"),
        code(f'reveal({name}, 3, "Three.")', card("> It is **3**. Three.")),
    ]


def tiny_lesson() -> dict:
    """A lesson 99_9 that keeps every rule, with two exercises worth 2 and 1 points."""
    cells = [
        markdown("# A tiny lesson\n\n**1장 LLM 지도** · 5 minutes on two cores"),
        code("from minillm.course import check, predict, reveal, setup\n\nsetup()"),
        code("print('four', 2 + 2)", stdout("four 4\n")),
        code("print(0.123456)", stdout("0.123456\n"), tags=(notebooks.IGNORE,)),
        code(
            "assert 0.1 < 0.2\nprint('smaller by 0.1')", stdout("smaller by 0.1\n"), tags=(notebooks.PROVE,)
        ),
        code("numbers = [3, 1, 2]", tags=(notebooks.EXERCISE_SETUP,)),
        markdown("### Exercise 99-9-a · Sort (build, 2 points)\n\nSort the values."),
        code("def ordered(values):\n    ### BEGIN SOLUTION\n    return sorted(values)\n    ### END SOLUTION"),
        code(
            'check("99-9-a", ordered)\n### BEGIN HIDDEN TESTS\n'
            "assert ordered(numbers) == [1, 2, 3]\nassert ordered([]) == []\n### END HIDDEN TESTS",
            stdout("✓ 99-9-a passed: 2 points\n"),
        ),
        markdown("### Exercise 99-9-b · Count (break, 1 point)\n\nHow many numbers are there?"),
        code("### BEGIN SOLUTION\ncount = 3\n### END SOLUTION"),
        code(
            'check("99-9-b", count)\n### BEGIN HIDDEN TESTS\nassert count == len(numbers)\n### END HIDDEN TESTS',
            stdout("✓ 99-9-b passed: 1 point\n"),
        ),
        *question("first"),
        *question("second"),
        markdown(f"## What to remember\n\n- sort\n\n## Glossary\n\n{glossary('token', 'vocabulary')}"),
    ]
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    for count, cell in enumerate(notebooks.code_cells(notebook), 1):
        cell["execution_count"] = count
    for one in notebooks.find_exercises(notebook):
        answer, test = notebooks.grading_metadata(one)
        cells[one.answer]["metadata"]["nbgrader"] = answer
        cells[one.test]["metadata"]["nbgrader"] = test
    return copy.deepcopy(notebook)


@functools.cache
def read(path: Path) -> dict:
    return notebooks.read_notebook(path)


@functools.cache
def start(path: Path) -> dict:
    """The names a lesson's exercises start from: its set-up cell and the cells tagged exercise-setup."""
    names: dict = {"__name__": "__main__"}
    with INTERPRETED:
        for index, cell in enumerate(notebooks.code_cells(read(path))):
            if index == 0 or notebooks.EXERCISE_SETUP in notebooks.tags(cell):
                run_cell(notebooks.source(cell), f"{path.stem} {cell.get('id')}", names)
    return names


def run_cell(text: str, name: str, names: dict) -> None:
    """Run a cell's code as IPython does: its text can be read back by line, which @triton.jit does."""
    file = f"<{name} {_id(text)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)


def names_before(path: Path, stop: str, seed: int = 0) -> dict:
    """What a lesson's cells have made before the first cell that holds `stop`, with another seed in place of seed=0."""
    names: dict = {"__name__": "__main__"}
    for cell in read(path)["cells"]:
        text = notebooks.source(cell)
        if stop in text:
            return names
        if cell["cell_type"] == "code":
            run_cell(text.replace("seed=0", f"seed={seed}"), f"{path.stem} {cell['id']}", names)
            plt.close("all")
    raise AssertionError(f"no cell holds {stop!r}")


def run_exercise(path: Path, one: notebooks.ExerciseCells, answer: str) -> None:
    """Run an answer cell's code and the exercise's whole test cell; raises what they raise."""
    cells = read(path)["cells"]
    names = dict(start(path))
    setup()
    with INTERPRETED:
        run_cell(answer, f"answer {one.id}", names)
        run_cell(notebooks.source(cells[one.test]), f"test {one.id}", names)


def wrong_answers(lesson: str) -> dict[str, dict[str, str]]:
    return importlib.import_module(f"tests.course.wrong_answers.lesson_{lesson}").WRONG
