"""Exact search on the whiteboard against torch's distances, which has both ways to compute them, and bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.search.exact import METRICS, distances_plain, kth_smallest
from minillm.search.exact_plain import nearest_in_blocks, nearest_plain, smallest, squared_distances
from tests.helpers import soak_count

WHOLE = st.integers(-3, 3).map(float)  # squares and sums of these are exact in float32


def peers(queries, vectors, metric):
    """Distances (Q, N) by torch in float64."""
    q, x = torch.from_numpy(queries).double(), torch.from_numpy(vectors).double()
    if metric == "l2":
        return torch.cdist(q, x, compute_mode="donot_use_mm_for_euclid_dist").square().numpy()
    if metric == "cosine":
        return (1 - torch.nn.functional.cosine_similarity(q[:, None], x[None], dim=-1)).numpy()
    return (1 - q @ x.T).numpy()


@settings(max_examples=soak_count(600))
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=WHOLE),
    hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(3)), elements=WHOLE),
    st.sampled_from(METRICS),
    st.integers(1, 35),
)
def test_plain_search_sorts_what_torch_measures(vectors, queries, metric, k):
    numbers, distances = nearest_plain(queries, vectors, k, metric)
    truth, count = peers(queries, vectors, metric), min(k, len(vectors))
    assert numbers.shape == distances.shape == (len(queries), k)
    assert (numbers[:, count:] == -1).all()
    assert np.isinf(distances[:, count:]).all()
    np.testing.assert_allclose(distances[:, :count], np.sort(truth, axis=1)[:, :count], atol=1e-9)
    np.testing.assert_allclose(
        np.take_along_axis(truth, numbers[:, :count], axis=1), distances[:, :count], atol=1e-9
    )
    if metric == "ip":  # exact: ties are ties
        order = np.argsort(truth, axis=1, kind="stable")[:, :count]
        assert numbers[:, :count].tolist() == order.tolist()


@settings(max_examples=soak_count(600))
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=WHOLE),
    hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(3)), elements=WHOLE),
    st.integers(1, 35),
    st.integers(1, 40),
)
def test_blocks_of_any_size_give_the_same_distances(vectors, queries, k, block):
    numbers, distances = nearest_in_blocks(queries, vectors, k, block)
    expected = nearest_plain(queries, vectors, k)[1]
    assert distances.dtype == np.float32
    assert distances.tolist() == expected.tolist()  # whole numbers: exact
    truth = peers(queries, vectors, "l2")
    for row, found in enumerate(numbers):
        real = found[found >= 0].tolist()
        assert len(real) == len(set(real)) == min(k, len(vectors))
        np.testing.assert_allclose(truth[row, real], distances[row, : len(real)])


def test_the_product_loses_small_distances_where_torch_loses_them_too():
    rng = np.random.default_rng(0)
    near = (rng.normal(size=(40, 2)) / 100 + (37.5, 127)).astype(np.float32)
    exact = peers(near, near, "l2")
    table = squared_distances(near, near)
    both = torch.from_numpy(near)
    theirs = torch.cdist(both, both, compute_mode="use_mm_for_euclid_dist").square().numpy()
    for rounded in (table, theirs):
        assert np.abs(rounded - exact).max() > np.median(exact)
    np.testing.assert_allclose(squared_distances(near.astype(float), near.astype(float)), exact, atol=1e-9)


def test_the_smallest_of_a_row_with_their_numbers():
    found, numbers = smallest(np.array([[3.0, 1.0, 2.0, np.inf]]), np.array([[7, 8, 9, -1]]), 3)
    assert (found.tolist(), numbers.tolist()) == ([[1.0, 2.0, 3.0]], [[8, 9, 7]])


@pytest.mark.parametrize(
    ("queries", "vectors", "options", "message"),
    [
        (np.zeros((1, 3)), np.zeros((2, 4)), {}, r"queries must be numbers of shape \(N, 4\)"),
        ([[1.0]], np.zeros((2, 1)), {}, "queries must be an array of floats"),
        (np.zeros((1, 1)), [[1.0]], {}, "vectors must be an array of floats"),
        (np.zeros((1, 1)), np.float64(1), {}, "vectors must be an array of floats"),
        (np.zeros((1, 1)), np.array([[np.nan]]), {}, "vectors must be finite"),
        (np.zeros((1, 1)), np.zeros((1, 1)), {"k": 0}, "k must be at least 1"),
    ],
)
def test_bad_input_is_refused(queries, vectors, options, message):
    for search in (nearest_plain, nearest_in_blocks):
        with pytest.raises(ValueError, match=message):
            search(queries, vectors, **options)


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float16, 130), (np.float32, 1e19), (np.float32, 1e25), (np.float64, 1e38)]
)
def test_blocks_refuse_what_their_squares_cannot_hold(dtype, size):
    vectors = np.array([[size, 0], [0, size], [1, 1]], dtype)
    if dtype == np.float64:  # a float64 holds these squares
        assert nearest_in_blocks(vectors, vectors, 1)[0].tolist() == [[0], [1], [2]]
        return
    with pytest.raises(ValueError, match=f"squares fit into {np.dtype(dtype)}, got a length of"):
        nearest_in_blocks(vectors, vectors, 2)
    assert nearest_plain(vectors, vectors, 1)[0].tolist() == [[0], [1], [2]]


ROW = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: squared_distances([[1.0]], ROW), "queries must be an array of floats"),
        (lambda: squared_distances(ROW[0], ROW), "queries must be an array of floats of two dimensions"),
        (lambda: squared_distances(ROW.astype(np.uint8), ROW), "queries must be an array of floats"),
        (lambda: squared_distances(ROW, ROW[:, :1]), r"queries must be numbers of shape \(N, 1\)"),
        (lambda: smallest(ROW, ROW, 0), "k must be between 1 and 2, got 0"),
        (lambda: smallest(ROW, ROW, 3), "k must be between 1 and 2, got 3"),
        (lambda: smallest(ROW[0], ROW[0], 1), "distances must be an array"),
        (lambda: smallest(ROW, ROW[:, :1], 1), "numbers must be an array"),
        (lambda: distances_plain(ROW[0], ROW, "euclid"), "metric must be one of 'l2', 'cosine', 'ip'"),
        (
            lambda: distances_plain(ROW[0, :1], ROW, "l2"),
            r"arrays \(D,\) and \(N, D\), got",
        ),  # numpy would stretch it
        (lambda: distances_plain(ROW, ROW, "ip"), r"arrays \(D,\) and \(N, D\), got"),
        (lambda: distances_plain([0, 1], ROW, "l2"), r"arrays \(D,\) and \(N, D\), got"),
        (lambda: kth_smallest(ROW, 0), "k must be at least 1"),
    ],
)
def test_the_steps_refuse_what_they_cannot_answer(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unknown_metric_and_an_empty_block_are_refused():
    one = np.zeros((1, 1))
    with pytest.raises(ValueError, match="metric must be one of"):
        nearest_plain(one, one, 1, "l1")
    with pytest.raises(ValueError, match="block must be at least 1"):
        nearest_in_blocks(one, one, 1, 0)
