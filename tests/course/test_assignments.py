"""A small class from handing out to grades, through nbgrader: right, untouched, wrong and broken notebooks."""

from __future__ import annotations

import copy
import csv
import sys
from random import Random

import pytest

from minillm._files import write_json
from minillm.course.classroom import assignments
from minillm.course.classroom.assignments import grade_assignment, make_assignment, make_from
from minillm.course.classroom.submissions import stage_submissions
from minillm.course.lessons import notebooks
from tests.course.lessons import code, tiny_lesson

pytest.importorskip("nbgrader", reason="nbgrader is the engine of `minillm assignment`")
import nbformat  # nbgrader brings it

ORDERED, COUNT = 7, 10  # the two answer cells of the tiny lesson
ORDERED_TEST, COUNT_TEST = 8, 11


@pytest.fixture(scope="module")
def lesson_file(tmp_path_factory):
    lesson = tiny_lesson()
    lesson["cells"][1]["source"] += "\nimport tests.course.tiny_exercises"
    return write_json(tmp_path_factory.mktemp("source") / "99_9_tiny.ipynb", lesson)


@pytest.fixture(scope="module")
def course(lesson_file, tmp_path_factory):
    """A course folder with the tiny lesson handed out, and what came back from six students."""
    folder = tmp_path_factory.mktemp("class") / "우리 반"
    made = make_from(lesson_file, "99_9", folder)
    assert made["exercises"] == {"99-9-a": 2, "99-9-b": 1}
    released = notebooks.read_notebook(folder / "release" / "99_9" / "99_9_tiny.ipynb")

    def hand_in(where, *changes):
        mine = copy.deepcopy(released)
        for change in changes:
            change(mine["cells"])
        mine["metadata"]["kernelspec"]["name"] = (
            "my-own-kernel"  # a student's machine names its kernels as it likes
        )
        write_json(folder / "submitted" / where, mine)

    def writes(index, text):
        return lambda cells: cells[index].update(source=text)

    right = [writes(ORDERED, "def ordered(values):\n    return sorted(values)"), writes(COUNT, "count = 3")]
    hand_in("kim/99_9/99_9_tiny.ipynb", *right)
    hand_in("untouched/99_9_tiny.ipynb")
    hand_in("looping/my own name.ipynb", right[1], writes(ORDERED, "while True:\n    pass"))
    hand_in(
        "김민준.ipynb",  # an answer fitted to the visible check, its test rewritten, the other test thrown away
        right[1],
        writes(ORDERED, "def ordered(values):\n    return [1, 2]"),
        writes(ORDERED_TEST, "print('✓ 99-9-a passed')"),
        lambda cells: cells.pop(COUNT_TEST),
    )
    hand_in(
        "crashing/99_9/99_9_tiny.ipynb", *right, lambda cells: cells.insert(2, code("import os\nos._exit(1)"))
    )
    (folder / "submitted" / "damaged").mkdir()
    (folder / "submitted" / "damaged" / "99_9_tiny.ipynb").write_text('{"cells": [')
    return folder


EXPECTED = {
    "crashing": (2, 1),
    "damaged": (0, 0),
    "kim": (2, 1),
    "looping": (0, 1),
    "untouched": (0, 0),
    "김민준": (0, 1),
}


def test_the_student_version_has_no_solution_and_no_hidden_test(course, lesson_file):
    release = course / "release" / "99_9" / "99_9_tiny.ipynb"
    text = release.read_text(encoding="utf-8")
    assert "sorted(values)" not in text
    assert "HIDDEN" not in text
    assert "len(numbers)" not in text
    ours = [notebooks.student_source(cell) for cell in notebooks.read_notebook(lesson_file)["cells"]]
    assert [notebooks.source(cell).rstrip("\n") for cell in notebooks.read_notebook(release)["cells"]] == ours


def test_everyone_gets_a_grade_and_grading_again_gives_the_same(course):
    first = grade_assignment(course, timeout=8)
    assert {row["student"]: (row["99-9-a"], row["99-9-b"]) for row in first["rows"]} == EXPECTED
    assert all((row["total"], row["of"]) == (row["99-9-a"] + row["99-9-b"], 3) for row in first["rows"])
    notes = {row["student"]: row["note"] for row in first["rows"]}
    assert "cannot be read" in notes["damaged"]
    assert "answers alone" in notes["crashing"]
    assert "99-9-b-test" in notes["김민준"]
    assert notes["kim"] == notes["untouched"] == ""
    with open(first["csv"], encoding="utf-8-sig", newline="") as file:
        table = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: (int(row["99-9-a"]), int(row["99-9-b"])) for name, row in table.items()} == EXPECTED
    lines = first["message"].splitlines()
    assert lines[0].split() == ["student", "99-9-a", "99-9-b", "total", "of"]
    assert "kim" in first["message"]

    kept = {name: value for name, value in EXPECTED.items() if name == "kim"}
    for path in (course / "submitted").iterdir():  # the second time with one student, to be quick
        if path.name not in kept:
            path.rename(course / f"away {path.name}")
    again = grade_assignment(course)
    assert {row["student"]: (row["99-9-a"], row["99-9-b"]) for row in again["rows"]} == kept


def test_handing_out_again_keeps_what_was_handed_in(course, lesson_file):
    before = sorted(path.name for path in (course / "submitted").iterdir())
    make_from(lesson_file, "99_9", course)
    assert sorted(path.name for path in (course / "submitted").iterdir()) == before


def places(value, at=()):
    """Every place in a JSON value, as a tuple of keys."""
    yield at
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in steps:
        yield from places(inside, (*at, key))


def test_no_damage_to_one_notebook_stops_the_others(lesson_file, tmp_path):
    """Any value anywhere in a student's file replaced or removed: it is staged or noted, never an error."""
    released = notebooks.read_notebook(lesson_file)
    (tmp_path / "release" / "99_9").mkdir(parents=True)
    write_json(tmp_path / "release" / "99_9" / "99_9_tiny.ipynb", released)
    random = Random(0)
    everywhere = [place for place in places(released) if place] * 3
    for number, place in enumerate(everywhere):
        hurt = copy.deepcopy(released)
        inner = hurt
        for key in place[:-1]:
            inner = inner[key]
        if random.random() < 0.3:
            del inner[place[-1]]
        else:
            inner[place[-1]] = random.choice([None, 7, "text", [], {}, [1], {"a": None}])
        write_json(tmp_path / "submitted" / f"s{number}" / "99_9_tiny.ipynb", hurt)
    staged, notes = stage_submissions(tmp_path, {"99_9": lesson_file})
    assert len(notes) == len(everywhere)
    assert {student for student, _ in staged} | {student for student, said in notes.items() if said} == set(
        notes
    )
    assert staged
    assert any("cannot be read" in line for said in notes.values() for line in said)
    for student, lesson in staged:  # what is staged, nbgrader can open
        path = tmp_path / "build" / "submitted" / student / lesson / "99_9_tiny.ipynb"
        nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("bad", [None, "", 3, ["x"]])
def test_bad_folders_are_refused(bad):
    with pytest.raises(ValueError, match="folder"):
        grade_assignment(bad)


def test_mistakes_are_named(tmp_path, lesson_file):
    with pytest.raises(ValueError, match="is no course folder"):
        grade_assignment(tmp_path)
    with pytest.raises(ValueError, match="timeout"):
        grade_assignment(tmp_path, timeout=0)
    with pytest.raises(ValueError, match="lessons there"):
        make_assignment("98_8", tmp_path)
    for lesson in (None, "2_1", "../x"):
        with pytest.raises(ValueError, match="lesson"):
            make_assignment(lesson, tmp_path)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        make_from(lesson_file, "99_9", file)
    bare = tiny_lesson()
    bare["cells"] = bare["cells"][:6]
    with pytest.raises(ValueError, match="no exercises"):
        make_from(write_json(tmp_path / "99_9_bare.ipynb", bare), "99_9", tmp_path / "class")


def test_nothing_handed_in_is_said(tmp_path):
    (tmp_path / "source" / "99_9").mkdir(parents=True)
    write_json(tmp_path / "source" / "99_9" / "99_9_tiny.ipynb", tiny_lesson())
    with pytest.raises(ValueError, match="nothing to grade"):
        grade_assignment(tmp_path)


def test_without_nbgrader_one_line_says_how_to_get_it(lesson_file, tmp_path, monkeypatch):
    real = assignments.importlib.util.find_spec
    monkeypatch.setattr(
        assignments.importlib.util, "find_spec", lambda name: None if name == "nbgrader" else real(name)
    )
    monkeypatch.delitem(sys.modules, "nbgrader", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'minillm\[classroom\]'"):
        make_from(lesson_file, "99_9", tmp_path / "class")
    assert not (tmp_path / "class").exists()
