"""k-means against means by hand, and its two ways to find the nearest centre against each other."""

from itertools import pairwise

import numpy as np
import pytest

from minillm.search.ann import kmeans
from minillm.search.ann.kmeans import assign, assign_plain, means, move_centres
from tests.search.ann.helpers import clusters, whole_numbers


def test_centres_are_the_means_of_groups_that_lie_apart():
    generator = np.random.default_rng(0)
    groups = [generator.normal(size=(40, 5)) + 100 * np.eye(5)[i] for i in range(4)]
    found = kmeans(np.concatenate(groups), 4, seed=3)
    expected = np.array([group.mean(axis=0) for group in groups])
    order = np.argmax(found, axis=1).argsort()
    np.testing.assert_allclose(found[order], expected, rtol=1e-4, atol=1e-4)


def test_the_product_finds_the_centres_that_the_formula_finds():
    vectors, centres = whole_numbers(300, 4), whole_numbers(20, 4, seed=1)
    for one, other in zip(assign(vectors, centres), assign_plain(vectors, centres)):
        np.testing.assert_array_equal(one, other)  # equal distances, too: the lower centre


def test_both_ways_lead_to_the_same_centres():
    vectors = clusters(300, 6)
    np.testing.assert_allclose(
        kmeans(vectors, 5, assign=assign), kmeans(vectors, 5, assign=assign_plain), rtol=1e-5, atol=1e-5
    )


def test_no_round_makes_the_sum_of_squares_larger():
    vectors = clusters(500, 8)
    sums = [
        assign(vectors, move_centres(vectors, vectors[:12].copy(), rounds))[1].sum() for rounds in range(8)
    ]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(sums))
    assert sums[-1] < 0.9 * sums[0]


def test_a_centre_without_vectors_moves_to_the_crowd():
    vectors = np.array([[1.0], [1.1], [0.9], [5.0]], np.float32)
    moved = means(vectors, np.array([0, 0, 0, 2]), np.array([[1.0], [99.0], [5.0]], np.float32))
    assert moved[2] == 5
    assert 0.9 < moved[1] < 1.1
    assert moved[0] != moved[1]


def test_equal_vectors_give_finite_centres():
    assert np.isfinite(kmeans(np.ones((50, 3)), 7)).all()


def test_it_is_the_same_for_a_seed():
    vectors = clusters(400, 4)
    np.testing.assert_array_equal(kmeans(vectors, 6, seed=1), kmeans(vectors, 6, seed=1))
    assert not np.array_equal(kmeans(vectors, 6, seed=1), kmeans(vectors, 6, seed=2))


ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kmeans(np.ones((3, 2)), 4), "k must be at most the number of vectors, got 4 for 3"),
        (lambda: kmeans(np.ones((3, 2)), 0), "k must be at least 1, got 0"),
        (lambda: kmeans(np.ones(3), 1), "vectors must be numbers of shape"),
        (lambda: kmeans([[float("nan")]], 1), "vectors must be finite"),
        (lambda: kmeans(np.ones((3, 2)), 1, seed=-1), "seed must be at least 0"),
        (lambda: kmeans(np.full((3, 2), 1e30), 1), r"vectors must be of length 2\^60 at most, got 1.41e\+30"),
        (
            lambda: assign(ROWS.astype(np.uint8), ROWS),
            "vectors must be an array of floats",
        ),  # squares would wrap
        (lambda: assign(ROWS, ROWS[:0]), "centres must be at least one of width 2"),
        (lambda: assign_plain(ROWS, ROWS[:, :1]), "centres must be at least one of width 2"),
        (lambda: move_centres(ROWS, [[1.0, 2.0]], 2), "centres must be an array of floats"),
        (lambda: move_centres(ROWS, ROWS, -1), "rounds must be at least 0"),
        (lambda: means(ROWS, np.array([0, 1, 2]), ROWS[:2]), "nearest must name one of 2 centres"),
        (lambda: means(ROWS, np.array([0, -1, 0]), ROWS[:2]), "nearest must name one of 2 centres"),
        (lambda: means(ROWS, np.array([0, 1]), ROWS[:2]), "for each of 3 vectors"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
