"""The authoring command: a lesson goes from skeleton to notebook to text and back, and stays whole when it fails."""

from __future__ import annotations

import json
import os

import pytest

from minillm.course.lessons import author, notebooks
from minillm.course.lessons.rules import check_lesson

jupytext = pytest.importorskip("jupytext", reason="jupytext writes lessons as text; it is in the lab extra")
pytest.importorskip("nbclient", reason="nbclient runs lessons; it is in the lab extra")

MAP = """chapters = []
[book]
[lessons.99_9]
title = "A demonstration"
minutes = 25
state = "planned"
"""

SECOND_EXERCISE = """# %% [markdown]
# ### Exercise 99-9-b · Predict (1 point)
#
# How many numbers are there?

# %%
### BEGIN SOLUTION
count = 3
### END SOLUTION

# %%
check("99-9-b", count)
### BEGIN HIDDEN TESTS
assert count == len(numbers)
### END HIDDEN TESTS

# %% [markdown]
# ## What to remember
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A checkout of its own, so that nothing is written into this one."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "course.toml").write_text(MAP, encoding="utf-8")
    monkeypatch.setattr(author, "checkout", lambda: tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    return tmp_path


def filled(house):
    """The skeleton with what an author has to add: checkers, a second exercise, and Korean terms."""
    assert author.main(["new", "99_9", "demo"]) == 0
    twin = house / "build" / "lessons" / "99_9_demo.py"
    text = twin.read_text(encoding="utf-8")
    assert "# # A demonstration\n" in text, "title and minutes come from the map"
    assert "25 minutes" in text
    text = text.replace("setup()\n", "setup()\nimport tests.course.tiny_exercises  # noqa: F401\n", 1)
    text = text.replace("# %% [markdown]\n# ## What to remember\n", SECOND_EXERCISE)
    text = text.replace("| token | 토큰 | ... |", "| sort | 정렬하기, 순서 짓기 | ... |")
    twin.write_text(text, encoding="utf-8")
    return twin


def test_from_skeleton_to_a_lesson_that_keeps_every_rule_and_back(house, capsys):
    twin = filled(house)
    assert author.main(["run", "99_9"]) == 0, capsys.readouterr().out
    path = house / "notebooks" / "99_9_demo.ipynb"
    assert "0 rule breaks" in capsys.readouterr().out
    assert check_lesson(path) == []
    first = path.read_bytes()

    # What nbgrader and a reader need is in the file, what differs between runs is not.
    lesson = notebooks.read_notebook(path)
    answer, test = (
        next(cell for cell in lesson["cells"] if cell["id"] == name) for name in ("99-9-a", "99-9-a-test")
    )
    assert answer["metadata"]["nbgrader"]["solution"] is True
    assert (
        test["metadata"]["nbgrader"] | {"points": 2, "grade": True, "locked": True}
        == test["metadata"]["nbgrader"]
    )
    assert lesson["metadata"]["language_info"] == {"name": "python"}

    # A second run, from the notebook this time, writes the same bytes: ids, outputs, metadata.
    twin.unlink()
    assert author.main(["run", "99_9"]) == 0
    assert path.read_bytes() == first

    # And the text file comes back as it was written, grading metadata left out.
    assert author.main(["edit", "99_9"]) == 0
    text = twin.read_text(encoding="utf-8")
    assert "nbgrader" not in text
    assert 'tags=["nbval-ignore-output"]' in text
    assert "### BEGIN HIDDEN TESTS\nassert count == len(numbers)" in text
    again = jupytext.reads(text, fmt="py:percent")
    assert [cell.source for cell in again.cells] == [notebooks.source(cell) for cell in lesson["cells"]]


def test_a_failing_cell_leaves_the_notebook_as_it_was(house, capsys):
    twin = filled(house)
    path = house / "notebooks" / "99_9_demo.ipynb"
    twin.write_text(
        twin.read_text(encoding="utf-8").replace("before, after = 2.0, 1.0", "1 / 0"), encoding="utf-8"
    )
    assert author.main(["run", "99_9"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not path.exists()
    assert [file.name for file in (house / "notebooks").iterdir()] == ["course.toml"]


def test_rule_breaks_are_reported_with_a_failing_exit_code(house, capsys):
    (house / "notebooks" / "99_9_demo.ipynb").write_text(
        json.dumps({"cells": [], "metadata": {}}), encoding="utf-8"
    )
    assert author.main(["check"]) == 1
    out = capsys.readouterr().out
    assert "99_9_demo.ipynb: opening: the first cell must be" in out
    assert "rule breaks" in out


def test_mistakes_are_one_line(house, capsys):
    for arguments in (
        ["run", "99_9"],
        ["edit", "99_9"],
        ["check", "9"],
        ["new", "1", "x"],
        ["new", "99_9", "A b"],
        ["new", "98_8", "not_on_the_map"],
    ):
        assert author.main(arguments) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
    filled(house)
    assert author.main(["new", "99_9", "demo"]) == 1
    assert "there already" in capsys.readouterr().err


def test_edit_does_not_overwrite_newer_text(house, capsys):
    twin = filled(house)
    path = house / "notebooks" / "99_9_demo.ipynb"
    path.write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8"
    )
    os.utime(path, ns=(0, 0))
    before = twin.read_bytes()
    assert author.main(["edit", "99_9"]) == 1
    assert "has changes the notebook lacks" in capsys.readouterr().err
    assert twin.read_bytes() == before


@pytest.mark.parametrize("there", ["notebooks/99_9_other.ipynb", "build/lessons/99_9_other.py"])
def test_a_lesson_that_has_a_file_of_any_name_is_not_started_again(house, there, capsys):
    path = house / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}", encoding="utf-8")
    assert author.main(["new", "99_9", "demo"]) != 0
    assert "99_9_other" in "".join(capsys.readouterr())
    assert not (house / "build" / "lessons" / "99_9_demo.py").exists()
