"""Handing a lesson out: what students get, what is refused, and that any damaged file can be staged for nbgrader."""

from __future__ import annotations

import copy
import sys
from random import Random

import pytest

from minillm._files import write_json
from minillm.course.classroom import assignments
from minillm.course.classroom.assignments import make_assignment, make_from
from minillm.course.classroom.grading import grade_assignment
from minillm.course.classroom.staging import gradable
from minillm.course.classroom.submissions import answers_of, find_submissions
from minillm.course.lessons import notebooks
from tests.course.lessons import tiny_lesson

pytest.importorskip("nbgrader", reason="nbgrader keeps the format and the book")
import nbformat  # nbgrader brings it


@pytest.fixture(scope="module")
def lesson_file(tmp_path_factory):
    lesson = tiny_lesson()
    lesson["cells"][1]["source"] += "\nimport tests.course.tiny_exercises"
    return write_json(tmp_path_factory.mktemp("source") / "99_9_tiny.ipynb", lesson)


def test_the_student_version_has_no_solution_and_no_hidden_test(lesson_file, tmp_path):
    folder = tmp_path / "우리 반"
    made = make_from(lesson_file, "99_9", folder)
    assert made["exercises"] == {"99-9-a": 2, "99-9-b": 1}
    release = folder / "release" / "99_9" / "99_9_tiny.ipynb"
    text = release.read_text(encoding="utf-8")
    assert "sorted(values)" not in text
    assert "HIDDEN" not in text
    assert "len(numbers)" not in text
    ours = [notebooks.student_source(cell) for cell in notebooks.read_notebook(lesson_file)["cells"]]
    assert [notebooks.source(cell).rstrip("\n") for cell in notebooks.read_notebook(release)["cells"]] == ours
    (folder / "submitted" / "kim.ipynb").write_bytes(release.read_bytes())
    make_from(lesson_file, "99_9", folder)
    assert (folder / "submitted" / "kim.ipynb").read_bytes() == release.read_bytes(), "handing out again"


def places(value, at=()):
    """Every place in a JSON value, as a tuple of keys."""
    yield at
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in steps:
        yield from places(inside, (*at, key))


def test_no_damage_to_one_notebook_stops_the_others(lesson_file, tmp_path):
    """Any value anywhere in a student's file replaced or removed: it is staged or noted, never an error."""
    released = notebooks.read_notebook(lesson_file)
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
    there, notes = find_submissions(tmp_path / "submitted", {"99_9": lesson_file})
    assert len(notes) == len(everywhere)
    assert {student for student, _ in there} | {name for name, said in notes.items() if said} == set(notes)
    unread = [one for one in there.values() if one.notebook is None]
    assert unread
    assert all("cannot be read" in one.notes[0] or "not a notebook" in one.notes[0] for one in unread)
    for one in there.values():
        if one.notebook is not None:  # what can be read can be graded, and nbgrader can open it
            answers_of(one.notebook, ["99-9-a", "99-9-b"])
            nbformat.validate(nbformat.from_dict(gradable(one.notebook, released)))


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
    with pytest.raises(ImportError, match=r"pip install -e '\.\[classroom\]'"):
        make_from(lesson_file, "99_9", tmp_path / "class")
    assert not (tmp_path / "class").exists()
