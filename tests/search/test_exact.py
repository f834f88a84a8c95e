"""ExactIndex against distances by hand, integer-exact MNIST neighbours, and bad input."""

import gzip
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.search import ExactIndex
from minillm.search.exact import METRICS, distances_plain
from tests.helpers import cuts, soak_count


def test_three_distances_by_hand():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [-3.0, 4.0]])
    query = np.array([[3.0, 4.0]])
    expected = {
        "l2": ([0, 1, 2], [0, 25, 36]),
        "cosine": ([0, 2, 1], [0, 0.72, 1]),
        "ip": ([0, 2, 1], [-24, -6, 1]),
    }
    for metric, (ids, distances) in expected.items():
        index = ExactIndex(2, metric)
        index.add(vectors)
        found, found_distances = index.search(query, 3)
        assert found.tolist() == [ids]
        assert found_distances[0].tolist() == pytest.approx(distances, abs=1e-7)
        assert found.dtype == np.int64
        assert found_distances.dtype == np.float32


SMALL = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 1e-3, 1e4])
# sums of squares of differences of these are exact in float64, in whatever order they are added
EXACT = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0**-10, 1e4])


@settings(max_examples=soak_count(3000))
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=SMALL),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=SMALL),
    st.sampled_from(METRICS),
    st.integers(1, 35),
)
def test_fast_equals_plain_with_many_ties(vectors, queries, metric, k):
    index = ExactIndex(3, metric)
    index.add(vectors)
    ids, distances = index.search(queries, k)
    for row, query in enumerate(queries):
        plain = distances_plain(query, vectors, metric)
        count = min(k, len(vectors))
        assert (ids[row, count:] == -1).all()
        assert np.isinf(distances[row, count:]).all()
        np.testing.assert_allclose(distances[row, :count], np.sort(plain)[:count], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(plain[ids[row, :count]], distances[row, :count], rtol=1e-6, atol=1e-6)
        assert len(set(ids[row, :count])) == count


@settings(max_examples=soak_count(3000))
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=EXACT),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=EXACT),
    st.integers(1, 35),
)
def test_of_equal_distances_the_lower_id_comes_first(vectors, queries, k):
    index = ExactIndex(3, "l2")
    index.add(vectors)
    ids, _ = index.search(queries, k)
    for row, query in enumerate(queries):
        order = np.lexsort((np.arange(len(vectors)), distances_plain(query, vectors, "l2")))
        assert ids[row, : len(vectors)].tolist() == order[:k].tolist()


def test_equal_vectors_go_to_the_lower_id():
    for metric in METRICS:
        index = ExactIndex(8, metric)
        vector = np.random.default_rng(0).normal(size=(1, 8))
        index.add(np.repeat(vector, 500, axis=0), ids=np.arange(1000, 500, -1))
        assert index.search(vector, 3)[0].tolist() == [[501, 502, 503]]


def test_near_ties_far_from_the_origin_are_told_apart():
    # float32 rounds |q|^2 - 2 q.x + |x|^2 by more than these distances differ: the margin must keep all candidates.
    vectors = np.full((64, 16), 1000, np.float32)
    vectors[:, 0] += np.arange(64) * np.float32(2**-10)
    index = ExactIndex(16)
    index.add(vectors[::-1])
    assert index.search(vectors[:1], 5)[0].tolist() == [[63, 62, 61, 60, 59]]


# The exponents of a power of two that scales small integers: from float32's denormals to its end.
SCALES = (-149, -140, -127, -100, -66, -41, 0, 58, 63, 64, 100, 117)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("vector_scale", SCALES)
def test_integers_at_any_scale_keep_their_exact_order(metric, vector_scale):
    # Distances of integers below 2^10 are exact in Python, and a power of two changes no order.
    generator = np.random.default_rng(0)
    vectors = generator.integers(-1000, 1001, size=(40, 6))
    vectors[[3, 9]] = 0
    vectors[30:] = vectors[:10]  # ties
    queries = generator.integers(-1000, 1001, size=(5, 6))
    index = ExactIndex(6, metric)
    index.add(np.ldexp(vectors.astype(np.float64), vector_scale))
    for query_scale in SCALES if metric != "l2" else [vector_scale]:  # |q - x|^2 wants both at one scale
        found, _ = index.search(np.ldexp(queries.astype(np.float64), query_scale), 40)
        for query, ids in zip(queries, found, strict=True):
            key = [integer_order(query, vector, metric) for vector in vectors]
            assert ids.tolist() == sorted(range(40), key=lambda place: (key[place], place))


def integer_order(query, vector, metric):
    """What orders a pair, exactly: |q - x|^2, -q.x, or for the cosine the signed square of -q.x / |x|."""
    product, square = int(query @ vector), int(vector @ vector)
    if metric == "l2":
        return int(((query - vector) ** 2).sum())
    return -product if metric == "ip" else Fraction(-product * abs(product), square or 1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 7, 200])
def test_mixed_magnitudes_are_ordered_as_fractions_order_them(metric, k):
    # Every vector at a scale of its own, 1e-44 to 1e38: no order of float32 survives that.
    generator = np.random.default_rng(1)
    scales = generator.integers(-145, 120, size=(200, 1))
    vectors = np.ldexp(generator.integers(-200, 201, size=(200, 4)).astype(np.float64), scales)
    vectors = vectors.astype(np.float32)
    single = np.ldexp(np.eye(4), [[-149], [-60], [0], [127]])
    queries = np.concatenate([vectors[:3], single]).astype(np.float32)
    index = ExactIndex(4, metric)
    index.add(vectors)
    found, distances = index.search(queries, k)
    fractions = [[Fraction(float(value)) for value in vector] for vector in vectors]
    for query, ids, row in zip(queries, found, distances, strict=True):
        query = [Fraction(float(value)) for value in query]
        exact = [fraction_distance(query, vector, metric) for vector in fractions]
        ordered = sorted(exact)
        for rank, one in enumerate(ids):
            # float64 rounds each distance: the one found at this rank is the true one there, to 1e-14 of it
            assert abs(exact[one] - ordered[rank]) <= abs(ordered[rank]) / 10**14
            distance = exact[one] if metric == "l2" else 1 + exact[one]
            with np.errstate(over="ignore"):
                np.testing.assert_allclose(row[rank], np.float32(float(distance)), rtol=1e-6, atol=1e-7)


def fraction_distance(query, vector, metric):
    """What orders a pair: |q - x|^2 and -q.x without any rounding, -cos to 30 digits."""
    if metric == "l2":
        return sum((q - x) ** 2 for q, x in zip(query, vector, strict=True))
    product = sum(q * x for q, x in zip(query, vector, strict=True))
    if metric == "ip":
        return -product
    squares = sum(q * q for q in query) * sum(x * x for x in vector)
    if not squares:
        return Fraction(0)
    cosine_squared = product**2 / squares
    root = Fraction(math.isqrt(cosine_squared.numerator * 10**60 // cosine_squared.denominator), 10**30)
    return -root if product > 0 else root


def test_long_vectors_of_both_signs_do_not_cancel_to_nan():
    # In float32 both |x|^2 and 2 q.x are infinite here, and their difference is no number.
    index = ExactIndex(2)
    index.add([[3e38, 0.0], [-3e38, 0.0], [1e20, 0.0], [0.0, 0.0]])
    ids, distances = index.search([[3e38, 0.0], [1e20, 1.0]], 4)
    assert ids.tolist() == [[0, 2, 3, 1], [2, 3, 0, 1]]
    assert distances[1].tolist() == [1, np.inf, np.inf, np.inf]


def test_small_products_are_not_hidden_by_the_one_of_the_distance():
    index = ExactIndex(1, "ip")
    index.add([[1e-12], [3e-12], [2e-12]])
    assert index.search([[1e-12]], 3)[0].tolist() == [[1, 2, 0]]


def test_what_the_product_cannot_tell_apart_is_computed_again():
    index = ExactIndex(1)
    assert index.computed_again([[1.0]]).tolist() == [0]
    index.add(np.arange(20.0)[:, None] ** 2)  # 0 1 4 9 ...: far apart, as the rounding goes
    assert index.computed_again([[0.0], [361.0]], 3).tolist() == [3, 3]
    assert index.computed_again([[0.0]], 50).tolist() == [20]
    index = ExactIndex(2)
    index.add(
        np.full((20, 2), 1e4) + np.arange(20)[:, None] / 1024
    )  # closer than squares of 1e8 show in float32
    assert index.computed_again([[1e4, 1e4]], 3).tolist() == [20]
    assert index.search([[1e4, 1e4]], 3)[0].tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match="queries must be"):
        index.computed_again([[1.0]])


def test_many_neighbours_begin_with_the_few():
    # Up to 128 neighbours a compiled scan finds the limit, beyond it numpy's partition.
    generator = np.random.default_rng(0)
    index = ExactIndex(5)
    index.add(generator.integers(0, 3, size=(400, 5)))
    queries = generator.integers(0, 3, size=(7, 5))
    many = index.search(queries, 300)
    for k in (1, 2, 128):
        np.testing.assert_array_equal(index.search(queries, k)[0], many[0][:, :k])
        np.testing.assert_array_equal(index.search(queries, k)[1], many[1][:, :k])


def test_blocks_do_not_change_the_answer(monkeypatch):
    generator = np.random.default_rng(0)
    vectors, queries = generator.normal(size=(300, 7)), generator.normal(size=(50, 7))
    index = ExactIndex(7, "cosine")
    index.add(vectors)
    whole = index.search(queries, 9)
    monkeypatch.setattr("minillm.search.exact.BLOCK", 700)
    for one, other in zip(whole, index.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mnist_neighbours(real_data):
    folder = real_data("images/mnist_t10k")
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8)[16:].reshape(-1, 784)
    truth = np.load(folder / "ann_groundtruth.shared.npz")
    queries = images[9000 : 9000 + len(truth["l2_index"])]
    index = ExactIndex(784, "l2")
    index.add(images[:9000])
    ids, distances = index.search(queries, 100)
    np.testing.assert_array_equal(ids, truth["l2_index"])
    np.testing.assert_array_equal(distances, truth["l2_sqdist"])
    index = ExactIndex(784, "cosine")
    index.add(images[:9000])
    np.testing.assert_array_equal(index.search(queries, 10)[0], truth["cosine_index_top10"])


def filled(metric="l2"):
    index = ExactIndex(1, metric)
    index.add(np.arange(6.0)[:, None], ids=[10, 11, 12, 20, 21, 22])
    return index


def test_ids_are_given_once():
    index = filled()
    assert index.add([[9.0], [8.0]]).tolist() == [23, 24]
    index.remove([24])
    assert index.add([[7.0]]).tolist() == [25]  # 24 is not used again
    assert index.add(np.empty((0, 1))).tolist() == []
    assert len(index) == 8


def test_removed_vectors_are_gone():
    index = filled()
    index.remove([10, 12])
    assert len(index) == 4
    assert index.search([[0.0]], 4)[0].tolist() == [[11, 20, 21, 22]]
    assert len(index._vectors) == 4  # the memory too
    index.remove([])
    index.add([[2.0]], ids=[12])
    assert index.search([[2.0]], 1)[0].tolist() == [[12]]


def test_filters_agree():
    index = filled()
    allowed = [11, 20, 22]
    bitmap = np.zeros(23, bool)
    bitmap[allowed] = True
    for one in (lambda i: i in allowed, allowed, set(allowed), np.array(allowed), bitmap, iter(allowed)):
        ids, distances = index.search([[0.0], [5.0]], 4, filter=one)
        assert ids.tolist() == [[11, 20, 22, -1], [22, 20, 11, -1]]
        assert distances[:, 3].tolist() == [np.inf, np.inf]
    assert index.search([[0.0]], 1, filter=bitmap[:12])[0].tolist() == [[11]]  # ids beyond a bitmap may not
    assert index.search([[0.0]], 2, filter=[])[0].tolist() == [[-1, -1]]
    assert index.search([[0.0]], 1, filter=[999])[0].tolist() == [[-1]]


def test_an_empty_index_and_no_queries():
    index = ExactIndex(3)
    ids, distances = index.search(np.ones((2, 3)), 2)
    assert ids.tolist() == [[-1, -1]] * 2
    assert np.isinf(distances).all()
    assert filled().search(np.empty((0, 1)), 3)[0].shape == (0, 3)


def test_numbers_go_on_behind_the_largest_id():
    index = ExactIndex(1)
    index.add([[1.0]], ids=[2**62 - 2])
    assert index.add([[1.0]]).tolist() == [2**62 - 1]
    with pytest.raises(ValueError, match=r"below 2\^62"):
        index.add([[1.0]])
    assert len(index) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ExactIndex(0), "dim must be at least 1, got 0"),
        (lambda: ExactIndex(2.0), "dim must be an integer"),
        (lambda: ExactIndex(2, "euclid"), "metric must be one of 'l2', 'cosine', 'ip'"),
        (lambda: ExactIndex(2).add([1.0, 2.0]), r"vectors must be numbers of shape \(N, 2\)"),
        (lambda: ExactIndex(2).add([[1.0, 2.0, 3.0]]), r"vectors must be numbers of shape \(N, 2\)"),
        (lambda: ExactIndex(2).add([[1.0], [2.0, 3.0]]), "vectors must be numbers"),
        (lambda: ExactIndex(2).add([["a", "b"]]), "vectors must be numbers"),
        (lambda: ExactIndex(2).add(None), "vectors must be numbers"),
        (lambda: ExactIndex(2).add([[1.0, float("nan")]]), "vectors must be finite"),
        (lambda: ExactIndex(2).add([[1.0, 1e39]]), "vectors must be finite"),
        (lambda: ExactIndex(1).add([[1.0]], ids=[1, 2]), "got 2 ids for 1 vectors"),
        (lambda: ExactIndex(1).add([[1.0]], ids=[-1]), "ids must be integers >= 0"),
        (lambda: ExactIndex(1).add([[1.0]], ids=[2**63]), r"below 2\^62, got 9223372036854775808"),
        (lambda: ExactIndex(1).add([[1.0]], ids=[2**62]), r"below 2\^62"),
        (lambda: ExactIndex(1).add([[1.0]], ids=[2**70]), "ids must be integers >= 0"),
        (lambda: ExactIndex(1).add([[1.0]], ids=[1.5]), "ids must be integers >= 0"),
        (lambda: ExactIndex(1).add([[1.0]], ids=["a"]), "ids must be integers >= 0"),
        (lambda: ExactIndex(1).add([[1.0]], ids=7), "ids must be integers >= 0"),
        (lambda: ExactIndex(1).add([[1.0], [2.0]], ids=[4, 4]), "got 4 which is already there"),
        (lambda: filled().add([[1.0]], ids=[20]), "got 20 which is already there"),
        (lambda: filled().remove([10, 99]), "got 99 which is not"),
        (lambda: filled().search([0.0]), "queries must be numbers"),
        (lambda: filled().search([[float("inf")]]), "queries must be finite"),
        (lambda: filled().search([torch.ones(1, requires_grad=True)]), "queries must be numbers"),
        (lambda: filled().remove(torch.ones(1, requires_grad=True)), "ids must be integers >= 0"),
        (lambda: filled().search([[0.0]], 0), "k must be at least 1"),
        (lambda: filled().search([[0.0]], True), "k must be an integer"),
        (lambda: filled().search([[0.0]], filter="all"), "filter must be a function"),
        (lambda: filled().search([[0.0]], filter=3), "filter must be a function"),
        (lambda: filled().search([[0.0]], filter=np.ones((2, 2), bool)), "one dimension"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_change_changes_nothing():
    index = filled()
    with pytest.raises(ValueError, match="already there"):
        index.add([[1.0], [2.0]], ids=[50, 22])
    with pytest.raises(ValueError, match="which is not"):
        index.remove([10, 50])
    assert len(index) == 6
    assert index.search([[0.0]], 1)[0].tolist() == [[10]]


def test_saved_index_answers_alike(tmp_path):
    index = filled("cosine")
    index.remove([22])
    again = ExactIndex.load(index.save(tmp_path / "index"))
    for one, other in zip(index.search([[2.0]], 6), again.search([[2.0]], 6), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.add([[1.0]]).tolist() == [23]


def test_cut_or_damaged_files_are_refused(tmp_path):
    data = filled().save(tmp_path / "index").read_bytes()
    broken = tmp_path / "broken"
    for length in cuts(data):
        broken.write_bytes(data[:length])
        with pytest.raises(ValueError, match="broken"):
            ExactIndex.load(broken)
    for position in cuts(data):
        flipped = bytearray(data)
        flipped[position] ^= 16
        broken.write_bytes(flipped)
        with pytest.raises(ValueError, match="broken"):
            ExactIndex.load(broken)


def test_one_by_one_equals_at_once_and_copies_little():
    vectors = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    at_once, one_by_one, rooms = ExactIndex(5), ExactIndex(5), set()
    at_once.add(vectors)
    for vector in vectors:
        one_by_one.add(vector[None])
        rooms.add(len(one_by_one._room[0]))
    assert rooms == {1 << n for n in range(11)}  # copied when full: 11 times, not 700
    for one, other in zip(at_once.search(vectors[:9], 4), one_by_one.search(vectors[:9], 4), strict=True):
        assert one.tolist() == other.tolist()


def test_vectors_that_come_and_go_in_any_order_equal_a_fresh_index(tmp_path):
    generator = np.random.default_rng(0)
    index, there = ExactIndex(3), {}
    for step in range(300):
        if there and generator.random() < 0.35:
            gone = generator.choice(list(there), generator.integers(1, len(there) + 1), replace=False)
            index.remove(gone)
            for one in gone.tolist():
                del there[one]
        elif generator.random() < 0.1:
            index = ExactIndex.load(index.save(tmp_path / "index"))
        else:
            vectors = generator.integers(-9, 9, (generator.integers(0, 6), 3)).astype(np.float32)
            own = None
            if generator.random() < 0.4:  # in between, and out of order
                own = [one for one in generator.permutation(2000).tolist() if one not in there][
                    : len(vectors)
                ]
            there.update(zip(index.add(vectors, own).tolist(), vectors))
        fresh = ExactIndex(3)
        if there:
            fresh.add(np.array(list(there.values())), list(there))
        query = generator.integers(-9, 9, (2, 3)).astype(np.float32)
        for one, other in zip(index.search(query, 7), fresh.search(query, 7), strict=True):
            assert one.tolist() == other.tolist(), step
