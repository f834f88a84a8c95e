"""check() passes right answers, turns every kind of wrong one into feedback, and knows its exercises."""

import sys
import threading
import time

import pytest

from minillm.course import ExerciseError, check, exercise, exercises_of
from minillm.course.checking import time_limit


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


def test_the_time_limit_leaves_quick_blocks_and_real_ctrl_c_alone():
    for _ in range(200):  # the race between the block's end and the timer
        try:
            with time_limit(0.002):
                time.sleep(0.0015)
        except TimeoutError:
            pass
    time.sleep(0.05)
    with pytest.raises(KeyboardInterrupt), time_limit(60):
        raise KeyboardInterrupt
    assert threading.active_count() < 20


def test_outside_the_main_thread_there_is_no_limit():
    seen = []

    def work():
        with time_limit(0.01):
            time.sleep(0.1)
        seen.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["done"]


def test_unknown_ids_list_the_known_ones():
    assert list(exercises_of("99_9")) == ["99-9-a", "99-9-b"]
    with pytest.raises(ValueError, match=r"lesson 99_9 has no exercise '99-9-z'; it has 99-9-a, 99-9-b"):
        check("99-9-z", 1)
    with pytest.raises(ValueError, match="lesson 98_8 has no exercises; lessons with exercises"):
        check("98-8-a", 1)


@pytest.mark.parametrize("bad", [None, 3, "", "2-1-a", "02_1_a", "02-1-A", "02-1-a\n", ["02-1-a"]])
def test_bad_ids_are_refused(bad):
    with pytest.raises(ValueError, match="exercise id"):
        check(bad, 1)
    with pytest.raises(ValueError, match="exercise id"):
        exercise(bad)


@pytest.mark.parametrize("bad", [None, "2_1", "02-1", "../02_1", "02_1\n", 21])
def test_bad_lessons_are_refused(bad):
    with pytest.raises(ValueError, match="lesson"):
        exercises_of(bad)


def test_points_and_taken_ids_are_checked():
    for points in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match="points"):
            exercise("99-9-c", points=points)
    with pytest.raises(ValueError, match="already defined in tests"):
        exercise("99-9-a")(lambda answer: None)
