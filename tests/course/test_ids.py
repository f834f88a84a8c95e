"""Names of lessons and exercises: every id of the coming course is read, and read as the lesson it is."""

import pytest

from minillm.course.lessons.ids import (
    check_exercise_id,
    check_lesson_id,
    exercise_prefix,
    is_lesson_file,
    lesson_of_exercise,
    lesson_of_file,
)
from minillm.course.lessons.map import load_map
from minillm.course.paths import checkout

LESSONS = [*load_map(checkout() / "notebooks" / "course.toml").lessons, "07_1b", "08_3c", "13_3b"]


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_its_file_and_its_exercises_name_each_other(lesson):
    assert check_lesson_id(lesson) == lesson
    assert lesson_of_file(f"{lesson}_kv_cache.ipynb") == lesson
    assert is_lesson_file(f"{lesson}_kv_cache.ipynb")
    assert lesson_of_exercise(f"{exercise_prefix(lesson)}a") == lesson


def test_no_lesson_s_exercises_look_like_another_s():
    for one in LESSONS:
        for other in LESSONS:
            assert f"{exercise_prefix(one)}a".startswith(exercise_prefix(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "lesson"),
    [
        ("02_1 my own name.ipynb", "02_1"),
        ("08_3b.ipynb", "08_3b"),
        ("08_3토큰.ipynb", "08_3"),
        ("08_33_x.ipynb", None),
        ("08_3bc_x.ipynb", None),
        ("notes.ipynb", None),
    ],
)
def test_names_that_students_give_their_files(name, lesson):
    assert lesson_of_file(name) == lesson
    assert not is_lesson_file(name)


@pytest.mark.parametrize("bad", [None, 7, "", "2_1", "02-1", "02_1B", "02_1\n", "../02_1", "02_1_a"])
def test_anything_else_is_no_lesson(bad):
    with pytest.raises(ValueError, match="lesson"):
        check_lesson_id(bad)


@pytest.mark.parametrize("bad", [None, 7, "", "02_1", "02-1", "02-1-", "02-1-a-test", "08-3c-ab", "02-1-a\n"])
def test_anything_else_is_no_exercise(bad):
    with pytest.raises(ValueError, match="exercise id"):
        check_exercise_id(bad)
