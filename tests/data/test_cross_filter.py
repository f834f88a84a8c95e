"""Each row is judged once, by a model that has learned exactly the rows of the other folds."""

import random

import pytest

from minillm.data.cross_filter import cross_filtered


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("count", [5, 6, 17])
def test_no_row_is_judged_by_a_model_that_has_learned_it(folds, count):
    rows, judged = list(range(count)), []

    def agrees(model, some):
        assert not model & set(some)
        assert model | set(some) == set(rows)
        judged.extend(some)
        return [row % 3 != 0 for row in some]

    assert cross_filtered(rows, set, agrees, folds) == [row for row in rows if row % 3]
    assert sorted(judged) == rows


def test_a_majority_finds_rare_faults_and_not_common_ones():
    """The model says what most of its rows say of a letter: the closed form of what agreement can find."""
    draw = random.Random(0)
    rare = [("a", 0 if draw.random() < 0.1 else 1) for _ in range(400)]
    common = [("b", 0 if draw.random() < 0.9 else 1) for _ in range(400)]

    def teach(rows):
        return {
            letter: round(
                sum(value for one, value in rows if one == letter) / sum(one == letter for one, _ in rows)
            )
            for letter in "ab"
        }

    kept = cross_filtered(
        rare + common, teach, lambda model, rows: [model[one] == value for one, value in rows]
    )
    assert kept == [("a", 1)] * rare.count(("a", 1)) + [("b", 0)] * common.count(("b", 0))


def test_equal_rows_are_judged_each_and_bad_arguments_are_named():
    assert cross_filtered([1, 1, 1, 1], list, lambda model, rows: [len(model) == 2] * len(rows)) == [
        1,
        1,
        1,
        1,
    ]
    for rows, folds, words in (
        ([1], 2, "at least 2 rows"),
        ([1, 2], 1, "folds"),
        ([1, 2], 3, "at least 3 rows"),
    ):
        with pytest.raises(ValueError, match=words):
            cross_filtered(rows, list, lambda model, some: [True] * len(some), folds)
    with pytest.raises(ValueError, match="each of 2 rows, got 1"):
        cross_filtered([1, 2, 3, 4], list, lambda model, some: [True])
