"""The sets of instructions of lesson 04_1: each differs in one thing, and none holds a function of the exam."""

import random
from dataclasses import replace

import numpy as np
import pytest

from minillm.course.small.instruction_sets import SETS, half_wrong, parts, rows_of, slipped
from minillm.course.small.programs import ProgramRecipe, taught_rows
from minillm.data import small_tasks
from minillm.data.small_programs import PROBES, ProgramTask
from tests.course.test_program_models import values
from tests.helpers import soak_count

RECIPE = replace(ProgramRecipe(), rows=40)


def asks_and_says(rows):
    assert all([one["role"] for one in row["messages"]] == ["user", "assistant"] for row in rows)
    return [[one["content"] for one in row["messages"]] for row in rows]


def test_the_first_set_is_the_recipes_own():
    assert rows_of(RECIPE) == taught_rows(RECIPE)
    assert rows_of(RECIPE, n=10) == taught_rows(RECIPE)[:10]


def test_each_set_is_what_its_name_says():
    asks = {name: asks_and_says(SETS[name](RECIPE)) for name in SETS}
    assert {name: len(rows) for name, rows in asks.items()} == dict.fromkeys(SETS, 40) | {
        "300 rows": 300, "30 rows": 30,
    }  # fmt: skip
    assert all(question.isascii() and answer.isascii() for question, answer in asks["English only"])
    assert not all(question.isascii() for question, _ in asks["3,000 rows"])
    assert {answer.count("# ") for _, answer in asks["one writer"]} == {1, 2, 3}  # a comment a step
    assert {answer.count("# ") for _, answer in asks["one silent writer"]} == {0}
    assert {answer.count("# ") for _, answer in asks["3,000 rows"]} > {0}
    easy = [question.count(", then") + 1 for question, _ in asks["one and two steps"] if question.isascii()]
    assert set(easy) == {1, 2}


def test_every_second_answer_has_a_slip_and_the_others_are_right():
    recipe = replace(RECIPE, rows=soak_count(1000))
    tasks = small_tasks(recipe.rows, "train", seed=recipe.seed + 1)
    rows = asks_and_says(half_wrong(recipe))
    assert [question for question, _ in rows] == [task.prompt for task in tasks]
    right = [values(answer) == tuple(map(task, PROBES)) for task, (_, answer) in zip(tasks, rows)]
    assert right == [i % 2 == 0 for i in range(len(tasks))]


@pytest.mark.parametrize("name", list(SETS))
def test_no_program_of_a_set_computes_a_function_of_the_exam(name):
    exam = {tuple(task(x) for x in PROBES) for task in small_tasks(500, "test", seed=0)}
    taught = {
        values(answer) for _, answer in asks_and_says(SETS[name](replace(RECIPE, rows=soak_count(2000))))
    }
    assert len(taught) > 10
    assert not exam & taught


def test_a_slip_is_one_other_number_where_a_number_can_change_the_function():
    rng = random.Random(0)
    tasks = small_tasks(soak_count(400), "train", seed=4)
    others = [slipped(task, rng) for task in tasks]
    for task, other in zip(tasks, others):
        assert isinstance(other, ProgramTask)
        assert (other.language, other.form) == (task.language, task.form)
        assert sum(a != b for a, b in zip(task.steps, other.steps)) == 1
    assert sum(task.shape == other.shape for task, other in zip(tasks, others)) > 0.9 * len(tasks)


def test_a_task_that_no_number_changes_gets_another_operation():
    task = ProgramTask((("quotient", 9), ("quotient", 6), ("quotient", 9)))
    other = slipped(task, random.Random(0))
    assert [other(x) for x in PROBES] != [task(x) for x in PROBES]
    assert other.shape != task.shape


def test_parts_divide_the_tasks():
    tasks = small_tasks(60, "test")
    found = parts(tasks)
    assert np.array_equal(found["English"], ~found["Korean"])
    assert found["all"].all()
    assert found["3 steps"].sum() == sum(len(task.steps) == 3 for task in tasks)
