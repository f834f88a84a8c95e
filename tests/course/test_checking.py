"""check() passes right answers, turns every kind of wrong one into feedback, and knows its exercises."""

import contextlib
import os
import sys
import time

import pytest

from minillm.course import ExerciseError, check, exercise, exercises_of
from minillm.course.classroom import checking


def test_a_right_answer_prints_one_line(capsys):
    assert check("99-9-a", sorted) is None
    check("99-9-b", 3)
    assert capsys.readouterr().out == "✓ 99-9-a passed: 2 points\n✓ 99-9-b passed: 1 point\n"


def test_a_wrong_answer_says_what_to_look_at():
    with pytest.raises(ExerciseError, match="✗ 99-9-a: the values should come back in order") as failure:
        check("99-9-a", list)
    assert failure.value._render_traceback_() == [str(failure.value)]
    assert failure.value.__suppress_context__, "the checker's own traceback is not the student's business"


@pytest.mark.parametrize("missing", [None, ...])
def test_no_answer_yet(missing):
    with pytest.raises(ExerciseError, match="there is no answer yet"):
        check("99-9-a", missing)


def test_an_exception_of_the_student_names_its_line():
    names = {}
    exec(compile("def answer(values):\n    count = 0\n    return values / count", "<cell>", "exec"), names)
    with pytest.raises(ExerciseError, match=r"stopped with TypeError: .* \(line 3 of your cell\)"):
        check("99-9-a", names["answer"])
    with pytest.raises(ExerciseError, match="stopped with NotImplementedError"):
        check("99-9-a", lambda values: (_ for _ in ()).throw(NotImplementedError()))
    with pytest.raises(ExerciseError, match="stopped with SystemExit"):
        check("99-9-a", lambda values: sys.exit(0))
    with pytest.raises(ExerciseError, match="not callable"):
        check("99-9-a", 5)


def test_an_endless_loop_is_stopped_and_the_next_check_works(capsys):
    def endless(values):
        while True:
            pass

    began = time.monotonic()
    with pytest.raises(ExerciseError, match="stopped after 2 seconds"):
        check("99-9-a", endless)
    assert time.monotonic() - began < 10
    check("99-9-a", sorted)
    assert "passed" in capsys.readouterr().out


def test_an_answer_that_ends_its_process_is_feedback():
    with pytest.raises(ExerciseError, match=r"your answer ended the process it ran in \(exit code 3\)"):
        check("99-9-a", lambda values: os._exit(3))


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_an_answer_cannot_write_its_own_pass():
    before = [number for number in range(64) if is_open(number)]  # pytest's own; the pipe comes after them

    def forges(values):
        for number in set(range(64)) - set(before):
            for line in (b'["result", ""]', b'["end", "."]', b'["result ", ""]', b'["end ", "."]'):
                with contextlib.suppress(OSError):
                    os.write(number, line + b"\n")
        return values

    with pytest.raises(ExerciseError, match="should come back in order"):
        check("99-9-a", forges)


def test_feedback_is_short_and_survives_errors_that_cannot_be_printed():
    def long(values):
        raise ValueError("x" * 1_000_000)

    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    def silent(values):
        raise Silent

    with pytest.raises(ExerciseError, match=r"ValueError: x+ \.\.\. \(1,000,000 characters\)") as failure:
        check("99-9-a", long)
    assert len(str(failure.value)) < 2200
    with pytest.raises(
        ExerciseError, match=r"your answer stopped with Silent: \(its message cannot be shown\)"
    ):
        check("99-9-a", silent)


def test_ids_of_further_lessons_of_a_section(monkeypatch):
    """08_3 and 08_3b are two lessons: neither sees the other's exercises."""
    monkeypatch.setattr(checking, "_REGISTRY", {})
    for name in ("98-1-a", "98-1b-a", "98-1b-b"):
        exercise(name)(lambda answer: None)
    assert list(exercises_of("98_1")) == ["98-1-a"]
    assert list(exercises_of("98_1b")) == ["98-1b-a", "98-1b-b"]
    check("98-1b-b", 1)
    with pytest.raises(ValueError, match="lesson 98_1b has no exercise '98-1b-c'; it has 98-1b-a, 98-1b-b"):
        check("98-1b-c", 1)


def test_unknown_ids_list_the_known_ones():
    assert list(exercises_of("99_9")) == ["99-9-a", "99-9-b"]
    with pytest.raises(ValueError, match=r"lesson 99_9 has no exercise '99-9-z'; it has 99-9-a, 99-9-b"):
        check("99-9-z", 1)
    with pytest.raises(ValueError, match="lesson 98_8 has no exercises; lessons with exercises"):
        check("98-8-a", 1)


@pytest.mark.parametrize(
    "bad", [None, 3, "", "2-1-a", "02_1_a", "02-1-A", "02-1-a\n", "02-1B-a", "02-1bc-a", "02-1b", ["02-1-a"]]
)
def test_bad_ids_are_refused(bad):
    with pytest.raises(ValueError, match="exercise id"):
        check(bad, 1)
    with pytest.raises(ValueError, match="exercise id"):
        exercise(bad)


@pytest.mark.parametrize("bad", [None, "2_1", "02-1", "../02_1", "02_1\n", "02_1bc", "02_1_b", 21])
def test_bad_lessons_are_refused(bad):
    with pytest.raises(ValueError, match="lesson"):
        exercises_of(bad)


def test_points_and_taken_ids_are_checked():
    for points in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match="points"):
            exercise("99-9-c", points=points)
    with pytest.raises(ValueError, match="already defined in tests"):
        exercise("99-9-a")(lambda answer: None)
