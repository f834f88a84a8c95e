"""A class from handing out to marks: right, untouched, wrong, broken, misnamed and strange notebooks."""

from __future__ import annotations

import copy
import csv
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from minillm._files import BadFileError, write_json
from minillm.course.classroom.assignments import GradingError, make_assignment, make_from
from minillm.course.classroom.gradebook import class_list, marks_csv, marks_table, read_scores
from minillm.course.classroom.grading import grade_assignment
from minillm.course.classroom.judge import Task, Verdict
from minillm.course.classroom.known import Known
from minillm.course.classroom.student_copy import open_copy
from minillm.course.classroom.submissions import (
    STUDENT,
    answers_of,
    definitions_for,
    find_submissions,
    student_name,
)
from minillm.course.classroom.workers import Worker, WorkerError
from minillm.course.lessons import notebooks
from minillm.course.paths import checkout
from tests.course.lessons import code, tiny_lesson
from tests.helpers import soak_count

pytest.importorskip("nbgrader", reason="nbgrader keeps the format and the book")

ORDERED, COUNT = 7, 10  # the two answer cells of the tiny lesson
ORDERED_TEST, COUNT_TEST = 8, 11
RIGHT = {ORDERED: "def ordered(values):\n    return sorted(values)", COUNT: "count = 3"}


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """A course folder with the tiny lesson handed out, to be copied: nbgrader takes its time."""
    lesson = tiny_lesson()
    lesson["cells"][1]["source"] += "\nimport tests.course.tiny_exercises"
    folder = tmp_path_factory.mktemp("handed out")
    path = write_json(folder / "99_9_tiny.ipynb", lesson)
    make_from(path, "99_9", folder / "class")
    return folder / "class"


class Class:
    """A course folder, and students who hand in."""

    def __init__(self, handed_out, folder):
        self.folder = shutil.copytree(handed_out, folder)
        self.released = notebooks.read_notebook(folder / "release" / "99_9" / "99_9_tiny.ipynb")

    def hand_in(self, where, answers, *changes, encoding="utf-8"):
        mine = copy.deepcopy(self.released)
        for index, text in answers.items():
            mine["cells"][index]["source"] = text
        for change in changes:
            change(mine)
        path = self.folder / "submitted" / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json.dumps(mine, ensure_ascii=False).encode(encoding))

    def grade(self, **options):
        graded = grade_assignment(self.folder, **options)
        self.notes = {row["student"]: row["note"] for row in graded["rows"]}
        self.graded, self.csv, self.message = graded["graded"], graded["csv"], graded["message"]
        return {row["student"]: (row["99-9-a"], row["99-9-b"]) for row in graded["rows"]}


@pytest.fixture(scope="module")
def course(handed_out, tmp_path_factory):
    return Class(handed_out, tmp_path_factory.mktemp("class") / "우리 반")


def colab(notebook):
    notebook["nbformat_minor"] = 0
    notebook["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}
    for number, cell in enumerate(notebook["cells"]):
        cell.pop("id", None)
        cell["metadata"] = {"id": f"c{number}"}  # the grading metadata is gone
        cell["source"] = notebooks.source(cell).splitlines(keepends=True)


def windows(notebook):
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"#VSC-{number}"
        cell["source"] = notebooks.source(cell).replace("\n", "\r\n")


def cheats(notebook):
    """More points, another test, and the id of the other exercise's test."""
    test, other = notebook["cells"][ORDERED_TEST], notebook["cells"][COUNT_TEST]
    test["metadata"]["nbgrader"] |= {"points": 100, "locked": False}
    test["source"] = "print('✓ 99-9-a passed: 2 points')"
    other["metadata"]["nbgrader"]["grade_id"] = "99-9-a-test"
    notebook["cells"][1]["source"] += "\nimport minillm.course\nminillm.course.check = print"
    notebook["cells"].append(code("check = print"))


EXPECTED = {
    "perfect": (2, 1),
    "empty": (0, 0),
    "half": (0, 1),
    "looping": (0, 1),
    "syntax": (2, 0),
    "김민준": (2, 1),  # CP949
    "misnamed": (2, 1),
    "word": (0, 0),
    "lost": (2, 0),
    "cheating": (0, 0),
    "Lee Su-jin": (2, 1),  # Colab
    "windows": (2, 1),
    "helper": (2, 1),
    "sharing": (2, 1),
    "leaving": (0, 1),
    "emoji": (0, 1),
    "two": (2, 1),
    "reader": (2, 1),  # a copy of `minillm study`
    "absent": ("", ""),
}


def test_everyone_gets_the_right_marks_and_a_word(course, tmp_path):
    wrong = {ORDERED: "def ordered(values):\n    return [1, 2]"}
    course.hand_in("perfect/99_9/99_9_tiny.ipynb", RIGHT)
    course.hand_in("empty/99_9/99_9_tiny.ipynb", {})
    course.hand_in("half/99_9/99_9_tiny.ipynb", RIGHT | wrong)
    course.hand_in("looping/99_9/99_9_tiny.ipynb", RIGHT | {ORDERED: "while True:\n    pass"})
    course.hand_in("syntax/99_9/99_9_tiny.ipynb", RIGHT | {COUNT: "# three\ncount = = 3"})
    course.hand_in("김민준/99_9/99_9_tiny.ipynb", RIGHT, encoding="cp949")
    course.hand_in("misnamed/제목 없음 (2).ipynb", RIGHT)
    course.hand_in("lost/99_9_tiny.ipynb", RIGHT, lambda book: book["cells"].pop(COUNT))
    course.hand_in("cheating/99_9/99_9_tiny.ipynb", wrong, cheats)
    course.hand_in("Lee Su-jin.ipynb", RIGHT, colab)
    course.hand_in("windows/99_9/99_9_tiny.ipynb", RIGHT, windows)
    course.hand_in(
        "helper/99_9/99_9_tiny.ipynb",
        RIGHT | {ORDERED: "%matplotlib inline\ndef ordered(values):\n    return by_hand(values)"},
        lambda book: book["cells"].insert(ORDERED, code("def by_hand(values):\n    return sorted(values)")),
        lambda book: book["cells"].insert(ORDERED + 2, code("ordered(undefined)  # playing")),
    )
    course.hand_in(
        "sharing/99_9/99_9_tiny.ipynb",
        {
            ORDERED: "def ordered(values):\n    return by_hand(values)",
            COUNT: "def by_hand(values):\n    return [op.index(one) for one in sorted(values)]\ncount = 3",
        },
        lambda book: book["cells"].insert(0, code("import operator as op")),
    )
    course.hand_in("leaving/99_9/99_9_tiny.ipynb", RIGHT | {ORDERED: "import os\nos._exit(0)"})
    # half of an emoji, in a text of the student's own and in what the answer says
    course.hand_in(
        "emoji/99_9/99_9_tiny.ipynb",
        RIGHT | {ORDERED: "raise ValueError(chr(0xD83D))"},
        lambda book: book["cells"].append(code("# HALF")),
    )
    file = course.folder / "submitted" / "emoji" / "99_9" / "99_9_tiny.ipynb"
    file.write_bytes(file.read_bytes().replace(b"HALF", rb"\ud83d"))
    course.hand_in("two/99_9/99_9_tiny.ipynb", RIGHT)
    course.hand_in("two/99_9/99_9_tiny (1).ipynb", {})
    copied, _ = open_copy(course.folder / "source" / "99_9" / "99_9_tiny.ipynb", tmp_path)
    mine = notebooks.read_notebook(copied)
    for index, text in RIGHT.items():
        mine["cells"][index]["source"] = text
    write_json(course.folder / "submitted" / "reader" / copied.name, mine)
    (course.folder / "submitted" / "word").mkdir()
    (course.folder / "submitted" / "word" / "99_9.docx").write_bytes(b"PK\x03\x04\xff\xfe\x80")
    (course.folder / "students.csv").write_bytes("이름\r\nperfect\r\nabsent\r\n김민준\r\n".encode("cp949"))

    assert course.grade(jobs=2) == EXPECTED
    notes = course.notes
    assert (
        notes["perfect"] == notes["half"] == notes["windows"] == notes["helper"] == notes["Lee Su-jin"] == ""
    )
    assert notes["empty"] == "nothing answered"
    assert notes["absent"] == "not submitted"
    assert notes["looping"] == "99-9-a: endless loop? stopped after 2 seconds"
    assert notes["syntax"].startswith("99-9-b: syntax error in line 2")
    assert "saved as CP949" in notes["김민준"]
    assert "wrong file name 제목 없음 (2).ipynb" in notes["misnamed"]
    assert notes["lost"] == "missing cells of 99-9-b"
    assert "99_9.docx is not a notebook" in notes["word"]
    assert "ended the process" in notes["leaving"]
    assert "99_9_tiny (1).ipynb was left out" in notes["two"]

    with open(course.csv, encoding="utf-8-sig", newline="") as file:
        table = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: (row["99-9-a"], row["99-9-b"]) for name, row in table.items()} == {
        name: (str(a), str(b)) for name, (a, b) in EXPECTED.items()
    }
    assert (table["perfect"]["total"], table["absent"]["total"], table["absent"]["of"]) == ("3", "", "3")


def test_the_feedback_says_what_the_checker_said_and_nothing_of_hidden_tests(course):
    pages = {name: (course.folder / "feedback" / name / "99_9.md").read_text(encoding="utf-8")
             for name in ("perfect", "half", "looping", "cheating")}  # fmt: skip
    assert pages["perfect"].startswith("# Lesson 99_9: 3 of 3 points")
    assert (
        "## ✗ 99-9-a · Sort: 0 of 2\n\nPassed the check that stands in the notebook, but not the hidden tests"
        in (pages["half"])
    )
    assert "a loop that does not end?" in pages["looping"]
    for page in pages.values():
        assert "numbers" not in page
        assert "[1, 2, 3]" not in page
    assert not (course.folder / "feedback" / "absent").exists()


def test_nothing_is_graded_twice_and_one_late_student_touches_no_other(course):
    before = read_scores(course.folder)
    pages = {one: one.stat().st_mtime_ns for one in (course.folder / "feedback").glob("*/*.md")}
    assert course.grade() == EXPECTED
    assert course.graded == 0
    course.hand_in("half/99_9/99_9_tiny.ipynb", RIGHT)
    course.hand_in("absent/99_9/99_9_tiny.ipynb", RIGHT)
    pages = {one: one.stat().st_mtime_ns for one in pages}
    began = time.monotonic()
    assert course.grade(student="half") == EXPECTED | {"half": (2, 1)}
    assert time.monotonic() - began < 60
    assert course.graded == 1, "his other answer has not changed"
    assert course.notes["absent"] == "not graded yet"
    changed = [one.parent.name for one, at in pages.items() if one.stat().st_mtime_ns != at]
    assert changed == ["half"]
    after = read_scores(course.folder)
    assert {key: one for key, one in after.items() if key[0] != "half"} == {
        key: one for key, one in before.items() if key[0] != "half"
    }
    assert course.grade(student="half", force=True)["half"] == (2, 1)
    assert course.graded == 2
    with pytest.raises(ValueError, match="no student 'Half' handed anything in; there are half"):
        course.grade(student="Half")


def test_a_mark_set_by_hand_counts_and_stays(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as book:
        book.find_grade("99-9-a-test", "99_9_tiny", "99_9", "cheating").manual_score = 1.5
        book.db.commit()
    assert course.grade(student="cheating", force=True)["cheating"] == (1.5, 0)


def test_a_damaged_record_is_as_good_as_none(tmp_path):
    """Then everything is graded again."""
    path = tmp_path / "build" / "graded.json"
    whole = Known(tmp_path)
    whole.keep("kim", "99_9", "99-9-a", "key", Verdict(True))
    whole.save()
    assert Known(tmp_path).verdict("kim", "99_9", "99-9-a", "key") == Verdict(True)
    assert Known(tmp_path).verdict("kim", "99_9", "99-9-a", "another key") is None
    text = path.read_text()
    kim = '{"students": {"kim": %s}, "solutions": {}}'
    for damaged in (
        text[:-5], "[1]", '{"students": {}, "solutions": {"99-9-a": 3}}', kim % "5", kim % '{"99_9": {}}',
        text.replace("passed", "past"), text.replace('"key": "key"', '"lock": "key"'),
    ):  # fmt: skip
        path.write_text(damaged)
        assert Known(tmp_path).students == {}


def test_a_solution_that_fails_here_grades_nobody(handed_out, tmp_path):
    few = Class(handed_out, tmp_path / "class")
    few.hand_in("kim.ipynb", RIGHT)
    source = few.folder / "source" / "99_9" / "99_9_tiny.ipynb"
    good = source.read_text(encoding="utf-8")
    source.write_text(good.replace("return sorted(values)", "return values"), encoding="utf-8")
    with pytest.raises(GradingError, match="the stored solution of 99-9-a does not pass its own tests here"):
        few.grade()
    source.write_text(good.replace("numbers = [3, 1, 2]", "import no_such_library"), encoding="utf-8")
    with pytest.raises(
        WorkerError, match="set-up cells cannot be run here: ModuleNotFoundError: No module named"
    ):
        few.grade()
    assert not (few.folder / "marks.csv").exists()


def test_without_a_fork_each_student_gets_a_process(tmp_path, monkeypatch):
    """As on macOS and Windows: the answers run in the worker itself, which `grade` replaces after each student."""
    program = (
        "from minillm.course.classroom import limits\nlimits.can_fork = lambda: False\nlimits.GRACE = 1\n"
        "from minillm.course.classroom.worker import main\nmain()"
    )
    monkeypatch.setattr(Worker, "COMMAND", ("-W", "ignore", "-c", program))
    setup = ["from minillm.course import check", "import tests.course.tiny_exercises\nnumbers = [3, 1, 2]"]
    endless = "import itertools\nordered = sorted\nsum(itertools.repeat(0))"  # holds the interpreter for ever
    hidden = "assert ordered(numbers) == [1, 2, 3]"
    with Worker() as worker:
        for text, passed, step in [
            (RIGHT[ORDERED], True, ""),
            ("def ordered(values):\n    return values", False, "check"),
            (endless, False, "time"),
            ("import os\nos._exit(0)", False, "died"),
        ]:
            task = Task(
                "99-9-a", [(text, True)], 'check("99-9-a", ordered)', hidden, ["ordered"], 1.0, None, True
            )
            verdict, fresh = worker.judge(setup, task)
            assert (verdict.passed, verdict.step, verdict.sealed) == (passed, step, False), text
            assert fresh == (step in ("time", "died")), (
                "what is as good as new, because it will be started again"
            )


@pytest.mark.parametrize("name", ["kim", "김 민준", "O'Neil", "이름(1)", "a-b_c,d"])
def test_names_that_can_be_graded(name):
    assert STUDENT.fullmatch(name)


@pytest.mark.parametrize("name", ["*", "a*", "[ab]", "a?", "a+b", ".hidden", "a/b", "a\\b", ""])
def test_names_that_are_patterns_or_paths_are_refused(name):
    assert not STUDENT.fullmatch(name)


def test_a_name_that_is_a_pattern_becomes_a_note(tmp_path):
    lesson = write_json(tmp_path / "99_9_tiny.ipynb", tiny_lesson())
    for name in ("[ab]", "kim"):
        write_json(tmp_path / "submitted" / name / "99_9_tiny.ipynb", tiny_lesson())
    there, notes = find_submissions(tmp_path / "submitted", {"99_9": lesson})
    assert list(there) == [("kim", "99_9")]
    assert "not graded" in notes["[ab]"][0]


def test_a_name_in_the_korean_windows_code_is_read_as_that():
    """What `unzip` makes of an archive from there is no UTF-8, and could be written into no table."""
    assert student_name("김철수".encode("cp949").decode("utf-8", "surrogateescape")) == "김철수"
    assert student_name("\ud83d") == "?"


def test_a_name_taken_apart_by_macos_is_one_student(tmp_path):
    import unicodedata

    lesson = write_json(tmp_path / "99_9_tiny.ipynb", tiny_lesson())
    write_json(
        tmp_path / "submitted" / unicodedata.normalize("NFD", "김민준") / "99_9_tiny.ipynb", tiny_lesson()
    )
    assert list(find_submissions(tmp_path / "submitted", {"99_9": lesson})[0]) == [("김민준", "99_9")]


def test_the_class_list(tmp_path):
    assert class_list(tmp_path) == []
    path = tmp_path / "students.csv"
    for data in (
        b"name,mail\nkim,a@b\n\nlee,\nkim,\n",
        "\ufeffkim\r\nlee\r\n".encode(),
        "kim\nlee".encode("cp949"),
        "이름;학번\r\nkim;1\r\nlee;2\r\n".encode("cp949"),
        "이름\t학번\r\nkim\t1\r\nlee\t2\r\n".encode("utf-16"),
    ):
        path.write_bytes(data)
        assert class_list(tmp_path) == ["kim", "lee"]
    for data in (b"\xff\xff\xff", b"name\n../x\n"):
        path.write_bytes(data)
        with pytest.raises(BadFileError, match=r"students\.csv"):
            class_list(tmp_path)


def test_the_table_runs_no_formula_and_stands_in_columns():
    rows = [
        {"student": "=1+1", "a": 2, "total": 2, "of": 2, "note": "@x"},
        {"student": "김민준", "a": "", "total": "", "of": 2, "note": "not submitted"},
    ]
    data = marks_csv(rows, ["a"])
    assert data.startswith("\ufeffstudent,a,total,of,note\r\n'=1+1,2,2,2,'@x\r\n김민준,,,2,".encode())
    assert marks_table(rows, ["a"]).splitlines() == [
        "student  a  total  of",
        "=1+1     2      2   2  @x",
        "김민준   -      -   2  not submitted",
    ]


def test_what_an_answer_uses_is_found_in_the_student_s_other_cells():
    """A helper of another exercise, an import at the top: right in a notebook, so right here."""
    lesson = tiny_lesson()
    own = {notebooks.student_source(cell).strip() for cell in notebooks.code_cells(lesson)}
    lesson["cells"][COUNT]["source"] = (
        "print('a cell that takes an hour')\nlargest = 9\n%time\ndef by_hand(values):\n"
        "    return [one for one in np.sort(values) if one < largest]\ncount = 3"
    )
    lesson["cells"].insert(0, code("import numpy as np, math\nlargest = 1\nnumbers = 'set by the lesson'"))
    answer = [("def ordered(values):\n    numbers, four\n    return by_hand(sorted(values))", True)]
    lesson["cells"][ORDERED + 1]["source"] = answer[0][0]

    def definitions(cells):
        return definitions_for("99-9-a", cells, lesson, own, {"numbers", "check"})

    assert definitions(answer) == [
        ("import numpy as np, math", False),
        ("largest = 1", False),
        ("def by_hand(values):\n    return [one for one in np.sort(values) if one < largest]", False),
    ]
    assert definitions([("def ordered(values):\n    return sorted(values)", True)]) == []
    assert definitions([("def ordered(values:", True)]) == []


def test_an_answer_is_found_without_metadata_and_with_cells_around_it():
    lesson = tiny_lesson()
    for cell in lesson["cells"]:
        cell["metadata"].pop("nbgrader", None)
    lesson["cells"].insert(ORDERED, code("helper = 1"))
    found = answers_of(lesson, ["99-9-a", "99-9-b", "99-9-c"])
    assert [own for _, own in found["99-9-a"]] == [True, True]
    assert found["99-9-a"][0] == ("helper = 1", True)
    assert found["99-9-b"] == [("### BEGIN SOLUTION\ncount = 3\n### END SOLUTION", True)]
    assert found["99-9-c"] == []


# --- long ones ---


@pytest.mark.soak
def test_nbgraders_own_autograde_works_on_the_folder(handed_out, tmp_path):
    few = Class(handed_out, tmp_path / "class")
    few.hand_in("kim/99_9/99_9_tiny.ipynb", RIGHT)
    few.hand_in("이 수진/99_9/99_9_tiny.ipynb", {COUNT: "count = 3"}, lambda book: book["cells"].pop(ORDERED))
    ours = few.grade()
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "autograde", "99_9", "--force"],
        cwd=few.folder, env=os.environ | {"PYTHONPATH": str(checkout())},  # for tests.course.tiny_exercises
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((few.folder / "autograded").glob("*/99_9/*.ipynb"))) == 2
    scores = read_scores(few.folder)
    assert {name: tuple(scores[name, "99_9"].values()) for name in ours} == ours


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_sixty_notebooks_of_a_real_lesson_take_less_than_ten_minutes(tmp_path):
    """Right, half and empty ones, and in a whole class one endless loop in twenty."""
    folder = tmp_path / "class"
    make_assignment("02_1", folder)
    path = next((folder / "source" / "02_1").glob("*.ipynb"))
    solved, released = (
        notebooks.read_notebook(path),
        notebooks.read_notebook(folder / "release" / "02_1" / path.name),
    )
    exercises = notebooks.find_exercises(solved)
    expected = {}
    count = soak_count(60)
    for number in range(count):
        mine = copy.deepcopy(released)
        marks = []
        for place, one in enumerate(exercises):
            right = (number + place) % 3 > 0
            if right:
                mine["cells"][one.answer]["source"] = notebooks.source(solved["cells"][one.answer])
            elif count == 60 and number % 20 == 1:
                mine["cells"][one.answer]["source"] = "while True:\n    pass"
            marks.append(one.points if right else 0)
        expected[f"student {number:02}"] = marks
        write_json(folder / "submitted" / f"student {number:02}" / "02_1" / path.name, mine)
    began = time.monotonic()
    graded = grade_assignment(folder, jobs=2)
    seconds = time.monotonic() - began
    assert {row["student"]: [row[one.id] for one in exercises] for row in graded["rows"]} == expected
    print(f"{seconds / count:.2f} seconds a notebook")
    assert seconds < 10 * count
    began = time.monotonic()
    assert grade_assignment(folder, student="student 02", force=True)["graded"] > 0
    assert time.monotonic() - began < 60
