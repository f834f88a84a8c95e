"""Every exercise of every lesson: the stored solution passes, the untouched copy and each wrong answer fail.

There are about five thousand wrong answers. All run in `make soak`; elsewhere the first six of each exercise and a
twentieth of the others, evenly spread. After a change to a checker run all of its lesson:
`MINILLM_SOAK_SHARE=1 python -m pytest tests/course/test_exercises.py -k 07-1`.
"""

from __future__ import annotations

import sys

import pytest

from minillm.course import exercises_of
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import lesson_of_file
from tests.course.lessons import LESSONS, read, run_exercise, wrong_answers
from tests.course.right_answers import RIGHT
from tests.helpers import soak_count

EXERCISES = [(path, one) for path in LESSONS for one in notebooks.find_exercises(read(path))]
ALWAYS = 6
_wrong = [
    (number, (path, one, mistake, answer))
    for path, one in EXERCISES
    for number, (mistake, answer) in enumerate(
        wrong_answers(lesson_of_file(path.name)).get(one.id, {}).items()
    )
]
_others = [case for number, case in _wrong if number >= ALWAYS]
_every = max(1, len(_others) // soak_count(len(_others)))
WRONG = [case for number, case in _wrong if number < ALWAYS] + _others[::_every]

OTHERWISE = [(path, one, answer) for path, one in EXERCISES for answer in RIGHT.get(one.id, {}).items()]


@pytest.mark.parametrize(("path", "one"), EXERCISES, ids=[one.id for _, one in EXERCISES])
def test_the_stored_solution_passes(path, one, capsys):
    run_exercise(path, one, notebooks.source(read(path)["cells"][one.answer]))
    assert f"{one.id} passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "one", "answer"),
    OTHERWISE,
    ids=[f"{one.id}-{answer[0].replace(' ', '_')}" for _, one, answer in OTHERWISE],
)
def test_a_right_answer_written_otherwise_passes(path, one, answer, capsys):
    run_exercise(path, one, answer[1])
    assert f"{one.id} passed" in capsys.readouterr().out


def test_a_reader_without_scikit_learn_can_pass(monkeypatch, capsys):
    """The lab extra does not bring it: an exercise that forbids it must not need it."""
    for name in [one for one in sys.modules if one.split(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    path, one = next(found for found in EXERCISES if found[1].id == "03-4-c")
    run_exercise(path, one, notebooks.source(read(path)["cells"][one.answer]))
    assert "03-4-c passed" in capsys.readouterr().out


@pytest.mark.parametrize(("path", "one"), EXERCISES, ids=[one.id for _, one in EXERCISES])
def test_the_untouched_student_copy_fails(path, one):
    with pytest.raises((NotImplementedError, AssertionError)):
        run_exercise(path, one, notebooks.student_source(read(path)["cells"][one.answer]))


@pytest.mark.parametrize(
    ("path", "one", "mistake", "answer"),
    WRONG,
    ids=[f"{one.id}-{mistake.replace(' ', '_')}" for _, one, mistake, _ in WRONG],
)
def test_a_wrong_answer_fails_for_its_own_reason(path, one, mistake, answer):
    compile(answer, "<wrong answer>", "exec")  # a typing mistake of ours would fail for the wrong reason
    with pytest.raises(Exception) as failure:
        run_exercise(path, one, answer)
    assert not isinstance(failure.value, (NameError, SyntaxError)), f"{mistake}: {failure.value}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_exercise_has_a_checker_and_three_wrong_answers(path):
    in_lesson = [one.id for one in notebooks.find_exercises(read(path))]
    assert in_lesson == list(exercises_of(lesson_of_file(path.name)))
    wrong = wrong_answers(lesson_of_file(path.name))
    assert sorted(wrong) == sorted(in_lesson)
    assert {key: len(set(answers.values())) >= 3 for key, answers in wrong.items()} == dict.fromkeys(
        wrong, True
    )
