"""The small parts under the indexes: keys, codes, the table of rows, the scan, the lock."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.search.ann.codes import Codes
from minillm.search.ann.gaps import DOT, L2, NO_KEY, as_query, between, gap, make_key, order_bits, read_keys
from minillm.search.ann.row_table import RowTable, id_words
from minillm.search.ann.scan import nearest
from minillm.search.ann.threads import ReadWriteLock, in_parts
from tests.search.ann.helpers import clusters, exact, whole_numbers

FLOATS = st.floats(width=32, allow_nan=False)


@given(st.lists(FLOATS, min_size=2, max_size=30))
def test_bits_order_as_the_floats_do(values):
    values = np.array(values, np.float32) + np.float32(0)
    bits = np.array([order_bits(value) for value in values])
    np.testing.assert_array_equal(np.argsort(bits, kind="stable"), np.argsort(values, kind="stable"))
    rows, back = read_keys(np.array([make_key(bit, 5) for bit in bits], np.uint64))
    np.testing.assert_array_equal(back, values)
    assert (rows == 5).all()


def test_no_key_is_nobody_at_infinity():
    rows, sums = read_keys(np.array([[NO_KEY]]))
    assert rows.tolist() == [[-1]]
    assert sums.tolist() == [[np.inf]]


@pytest.mark.parametrize("dim", [1, 7, 16, 33, 130])
def test_gaps_are_the_formulas(dim):
    rows = whole_numbers(30, 3)[:, np.arange(dim) % 3]  # integers: sums are exact in any order
    codes = (rows + 128).astype(np.uint8)
    for metric, formula in ((L2, lambda a, b: ((a - b) ** 2).sum()), (DOT, lambda a, b: -(a @ b))):
        query, coded = np.empty(dim, np.float32), np.empty(dim, np.int16)
        as_query(metric, rows, 3, query)
        as_query(metric, codes, 3, coded)
        for i in range(30):
            expected = formula(rows[3], rows[i])
            key = [make_key(gap(metric, query, rows, i), i), make_key(between(metric, rows, i, 3), i)]
            assert read_keys(np.array(key, np.uint64))[1].tolist() == [expected] * 2
            assert gap(metric, coded, codes, i) == between(metric, codes, i, 3) == int(expected) + 2**31


def test_codes_are_half_a_step_away_at_most():
    vectors = clusters(200, 9)
    for products in (False, True):
        codes = Codes(9, products)
        assert codes.widen(vectors)
        low = -128 * codes.step if products else codes.low
        back = low + codes.step * codes.encode(vectors)
        assert np.abs(back - vectors).max() <= codes.step * 0.501
        assert not codes.widen(vectors[:50])


def test_a_range_grows_a_few_times_whatever_comes():
    codes, grown = Codes(1, False), 0
    for value in np.arange(1.0, 5000.0):
        grown += codes.widen(np.array([[value]], np.float32))
    assert grown < 100
    assert codes.low[0] == 1
    assert codes.high[0] >= 4999


def test_queries_outside_the_box_keep_their_side():
    codes = Codes(2, False)
    codes.widen(np.array([[0.0, 0.0], [1.0, 1.0]], np.float32))
    assert codes.encode_queries(np.array([[0.4, 1.5], [-99.0, 99.0]], np.float32)).tolist() == [
        [102, 382],
        [-255, 510],
    ]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200))
def test_the_table_is_a_dictionary(steps):
    ids, table, known = np.arange(50) * 977, RowTable(), {}
    words = id_words(ids)
    for put, place in steps:
        if put:
            table.put(words, np.array([place]))
            known[place] = True
        else:
            table.take(words, np.array([place]))
            known.pop(place, None)
        found = table.find(words, words)
        assert {i for i, at in enumerate(found) if at >= 0} == set(known)
        assert all(at in (-1, i) for i, at in enumerate(found))


def test_equal_rows_have_one_place():
    words = id_words(np.array([7, 7, 8, 7]))
    table = RowTable()
    assert table.put(words, np.arange(4)).tolist() == [0, 0, 2, 0]


@pytest.mark.parametrize("k", [1, 10, 300, 1500])
def test_a_scan_is_the_exact_answer(k):
    vectors, queries = whole_numbers(1400, 6), whole_numbers(9, 6, seed=1)
    places = np.arange(0, 1400, 2)
    rows, sums = read_keys(nearest(L2, vectors, places, queries, k, threads=2))
    expected, far = exact(vectors).search(queries, k, filter=places)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(sums, far)


def test_parts_cover_all_once_and_hand_faults_on():
    for threads in (1, 2, 7):
        seen = np.zeros(23, int)

        def work(first, last, seen=seen):
            seen[first:last] += 1

        in_parts(work, 23, threads)
        assert (seen == 1).all()
    with pytest.raises(ZeroDivisionError):
        in_parts(lambda first, last: 1 / 0, 4, 2)


def test_a_writer_is_alone_and_goes_before_later_readers():
    lock, log, started = ReadWriteLock(), [], threading.Event()

    def write():
        started.set()
        with lock.alone(), lock.alone():  # it may ask again
            log.append("write")

    def read():
        with lock.shared():
            log.append("read")

    with lock.shared(), lock.shared():
        writer = threading.Thread(target=write)
        writer.start()
        started.wait(10)
        while not lock._waiting:
            time.sleep(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.02)
        assert log == []
    writer.join(10)
    reader.join(10)
    assert log == ["write", "read"]
