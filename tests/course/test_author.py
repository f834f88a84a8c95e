"""The authoring command: a lesson goes from skeleton to notebook to text and back, and stays whole when it fails."""

from __future__ import annotations

import json
import os

import pytest

from minillm.course.lessons import author, notebooks
from minillm.course.lessons.map import Lesson
from minillm.course.lessons.rules import check_lesson
from minillm.course.lessons.skeleton import skeleton
from minillm.course.lessons.terms import row, term
from minillm.course.paths import checkout

jupytext = pytest.importorskip("jupytext", reason="jupytext writes lessons as text; it is in the lab extra")
pytest.importorskip("nbclient", reason="nbclient runs lessons; it is in the lab extra")

MAP = """chapters = []
[book]
[lessons.99_8]
title = "A demonstration"
minutes = 25
state = "planned"
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
    """The skeleton with the one thing it cannot have: the checkers of its exercises."""
    assert author.main(["new", "99_8", "demo"]) == 0
    twin = house / "build" / "lessons" / "99_8_demo.py"
    text = twin.read_text(encoding="utf-8")
    assert "# # A demonstration\n" in text, "title and minutes come from the map"
    assert "25 minutes" in text
    text = text.replace("setup()\n", "setup()\nimport tests.course.tiny_exercises  # noqa: F401\n", 1)
    twin.write_text(text, encoding="utf-8")
    return twin


def test_from_skeleton_to_a_lesson_that_keeps_every_rule_and_back(house, capsys):
    twin = filled(house)
    assert author.main(["run", "99_8"]) == 0, capsys.readouterr().out
    path = house / "notebooks" / "99_8_demo.ipynb"
    assert "0 rule breaks" in capsys.readouterr().out
    assert check_lesson(path) == []
    first = path.read_bytes()

    # What nbgrader and a reader need is in the file, what differs between runs is not.
    lesson = notebooks.read_notebook(path)
    answer, test = (
        next(cell for cell in lesson["cells"] if cell["id"] == name) for name in ("99-8-a", "99-8-a-test")
    )
    assert answer["metadata"]["nbgrader"]["solution"] is True
    assert (
        test["metadata"]["nbgrader"] | {"points": 2, "grade": True, "locked": True}
        == test["metadata"]["nbgrader"]
    )
    assert lesson["metadata"]["language_info"] == {"name": "python"}

    # A proof is folded on the page, the glossary is the course's own, the time is recorded outside.
    (proof,) = [cell for cell in lesson["cells"] if "prove" in notebooks.tags(cell)]
    assert proof["metadata"] == {
        "tags": ["prove", "hide-input"],
        "jupyter": {"source_hidden": True},
        "cellView": "form",
    }
    glossary = notebooks.source(lesson["cells"][-1])
    assert glossary.count(row(term("token"))) == 1
    recorded = json.loads((house / "tests" / "course" / "lesson_times.json").read_text(encoding="utf-8"))
    assert list(recorded) == ["machine", "seconds"]
    assert recorded["machine"] == author.machine()
    assert 0 < recorded["seconds"]["99_8"] < 60

    # A second run, from the notebook this time, writes the same bytes: ids, outputs, metadata.
    twin.unlink()
    assert author.main(["run", "99_8"]) == 0
    assert path.read_bytes() == first

    # And the text file comes back as it was written, grading metadata left out.
    assert author.main(["edit", "99_8"]) == 0
    text = twin.read_text(encoding="utf-8")
    assert "nbgrader" not in text
    assert 'tags=["prove"]' in text
    assert "source_hidden" not in text
    assert "### BEGIN HIDDEN TESTS\nassert len(stubborn) >= 20" in text
    again = jupytext.reads(text, fmt="py:percent")
    assert [cell.source for cell in again.cells] == [notebooks.source(cell) for cell in lesson["cells"]]


def test_an_optional_cell_is_run_where_its_data_is_and_kept_where_it_is_not(house, capsys, monkeypatch):
    twin = filled(house)
    start = twin.read_text(encoding="utf-8").split("# %% [markdown]\n# ## The problem")[0]
    optional = '# %% tags=["needs-names"]\nif needs("names"):\n    print("there are names")\n'
    twin.write_text(f"{start}{optional}", encoding="utf-8")
    (house / "data" / "text_en").mkdir(parents=True)
    monkeypatch.setenv("MINILLM_CACHE", str(house / "cache"))
    monkeypatch.setenv("MINILLM_DATA", str(house / "data"))

    author.run("99_8")  # not there: not run, and no output
    path = house / "notebooks" / "99_8_demo.ipynb"
    cell = notebooks.read_notebook(path)["cells"][-1]
    assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert notebooks.tags(cell) == ["needs-names"]
    assert "is left as it was: needs the data set names" in capsys.readouterr().out

    names = house / "data" / "text_en" / "names.txt"
    names.write_text("kim", encoding="utf-8")
    author.run("99_8")  # there: run
    cell = notebooks.read_notebook(path)["cells"][-1]
    assert cell["outputs"][0]["text"] == ["there are names\n"]
    there = path.read_bytes()

    names.unlink()
    author.run("99_8")  # gone again: what was printed stays
    assert path.read_bytes() == there


def test_glossary_rows_are_filled_from_the_list_of_terms():
    head = "| token |\n\n## Glossary\n\n| English | 한국어 | meaning |\n|---|---|---|\n"
    done = author.with_glossary(f"{head}| token |\n| special token | | |\n| other |\n\nNext: | merge |\n")
    assert done == f"{head}{row(term('token'))}\n{row(term('special token'))}\n| other |\n\nNext: | merge |\n"
    assert author.with_glossary(done) == done
    assert author.with_glossary("no glossary\n| token |") == "no glossary\n| token |"


def test_times_of_one_machine_are_kept_together(house):
    for name in ("01_1_a.ipynb", "01_2_b.ipynb"):
        (house / "notebooks" / name).write_text("{}", encoding="utf-8")
    assert "12 s, recorded in" in author.record_seconds("01_1", 12.34)
    author.record_seconds("01_2", 20)
    path = house / "tests" / "course" / "lesson_times.json"
    written = {"machine": author.machine(), "seconds": {"01_1": 12.3, "01_2": 20}}
    assert json.loads(path.read_text(encoding="utf-8")) == written

    (house / "notebooks" / "01_1_a.ipynb").unlink()  # a lesson that is gone is forgotten
    author.record_seconds("01_2", 30)
    assert json.loads(path.read_text(encoding="utf-8"))["seconds"] == {"01_2": 30}

    path.write_text(json.dumps({"machine": "another", "seconds": {"01_2": 1}}), encoding="utf-8")
    assert "not recorded" in author.record_seconds("01_2", 30)
    assert json.loads(path.read_text(encoding="utf-8"))["seconds"] == {"01_2": 1}


def test_the_guide_shows_the_example_and_its_checkers_as_they_are():
    guide = (checkout() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = skeleton(Lesson("99_8", "A demonstration", 25, ready=False))
    assert f"```python\n{example}```" in guide
    checkers = (checkout() / "tests" / "course" / "tiny_exercises.py").read_text(encoding="utf-8")
    assert f"```python\n{checkers.split('to the end ---')[1].strip()}\n```" in guide


def test_a_failing_cell_leaves_the_notebook_as_it_was(house, capsys):
    twin = filled(house)
    path = house / "notebooks" / "99_8_demo.ipynb"
    twin.write_text(
        twin.read_text(encoding="utf-8").replace("counts = count_pairs", "1 / 0\ncounts = count_pairs", 1),
        encoding="utf-8",
    )
    assert author.main(["run", "99_8"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not path.exists()
    assert [file.name for file in (house / "notebooks").iterdir()] == ["course.toml"]


def test_rule_breaks_are_reported_with_a_failing_exit_code(house, capsys):
    (house / "notebooks" / "99_8_demo.ipynb").write_text(
        json.dumps({"cells": [], "metadata": {}}), encoding="utf-8"
    )
    assert author.main(["check"]) == 1
    out = capsys.readouterr().out
    assert "99_8_demo.ipynb: opening: the first cell must be" in out
    assert "rule breaks" in out


def test_mistakes_are_one_line(house, capsys):
    for arguments in (
        ["run", "99_8"],
        ["edit", "99_8"],
        ["check", "9"],
        ["new", "1", "x"],
        ["new", "99_8", "A b"],
        ["new", "98_8", "not_on_the_map"],
    ):
        assert author.main(arguments) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
    filled(house)
    assert author.main(["new", "99_8", "demo"]) == 1
    assert "there already" in capsys.readouterr().err


def test_edit_does_not_overwrite_newer_text(house, capsys):
    twin = filled(house)
    path = house / "notebooks" / "99_8_demo.ipynb"
    path.write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8"
    )
    os.utime(path, ns=(0, 0))
    before = twin.read_bytes()
    assert author.main(["edit", "99_8"]) == 1
    assert "has changes the notebook lacks" in capsys.readouterr().err
    assert twin.read_bytes() == before


@pytest.mark.parametrize("there", ["notebooks/99_8_other.ipynb", "build/lessons/99_8_other.py"])
def test_a_lesson_that_has_a_file_of_any_name_is_not_started_again(house, there, capsys):
    path = house / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}", encoding="utf-8")
    assert author.main(["new", "99_8", "demo"]) != 0
    assert "99_8_other" in "".join(capsys.readouterr())
    assert not (house / "build" / "lessons" / "99_8_demo.py").exists()
