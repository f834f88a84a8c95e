"""Lessons that show old source are found and mended without running them."""

import json

import pytest

from minillm.course.lessons import notebooks
from minillm.course.lessons.author import main
from minillm.course.lessons.stale import mend, stale_cells
from tests.course.lessons import LESSONS

LESSON = next(path for path in LESSONS if path.name.startswith("02_3_"))


@pytest.fixture
def copy(tmp_path):
    path = tmp_path / LESSON.name
    path.write_bytes(LESSON.read_bytes())
    return path


def shows(path):
    """Numbers of the cells whose last line is a show, read from the text."""
    cells = enumerate(notebooks.read_notebook(path)["cells"])
    return [
        n
        for n, cell in cells
        if cell["cell_type"] == "code" and notebooks.source(cell).splitlines()[-1].startswith("show(")
    ]


def test_what_strict_nbval_holds_true_is_not_stale(copy):
    assert stale_cells(notebooks.read_notebook(copy)) == ({}, [])


@pytest.mark.parametrize("change", ["old line", "nothing stored"])
def test_every_show_that_differs_is_found_and_mended_to_what_a_run_writes(copy, change):
    before, notebook = copy.read_bytes(), json.loads(copy.read_text(encoding="utf-8"))
    expected = shows(copy)
    assert len(expected) > 2
    for n in expected:
        outputs = notebook["cells"][n]["outputs"]
        if change == "old line":
            outputs[0]["data"]["text/markdown"].insert(3, "an older line\n")
        else:
            outputs.clear()
    copy.write_text(json.dumps(notebook), encoding="utf-8")
    assert sorted(stale_cells(notebooks.read_notebook(copy))[0]) == expected
    assert mend(copy) == [n + 1 for n in expected]
    assert copy.read_bytes() == before


def test_a_show_of_what_the_lesson_makes_is_left_to_a_run(copy):
    notebook = json.loads(copy.read_text(encoding="utf-8"))
    notebook["cells"][shows(copy)[0]]["source"] = ["%matplotlib inline"]
    notebook["cells"][shows(copy)[1]]["source"] = ["model = 1\n", "show(model)"]
    assert stale_cells(notebook) == ({}, [shows(copy)[1]])


def test_the_command_names_the_cell(capsys):
    assert main(["stale", "02_3"]) == 0
    assert "1 lesson, 0 stale cells" in capsys.readouterr().out
