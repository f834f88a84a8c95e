"""Distances as whole numbers: a gap is 32 bits that order as the distance does, a key is a gap and who it belongs to.

    gap(l2)             sum (q_j - x_j)^2               the bits of a float that is not negative order as the float
    gap(ip, cosine)     -sum q_j x_j                    of a negative one all bits are turned over
    key                 gap | number of the row | done  64 bits; comparing two keys compares (distance, row)

So a beam of candidates is one sorted array of integers, and equal distances fall to the lower row wherever they are
compared. Cosine vectors are stored at length 1; the 1 of 1 - q.x is added when distances are read. Rows may be uint8
codes (codes.py): then the same sums are made of small integers, 16 or 32 at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from minillm.search.ann.prefetch import BARE

CALLED = "ef993436"
L2, DOT = 0, 1
ONE = np.uint64(1)
NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)  # beyond every key
FREE_SUMS = {"reassoc", "contract"}  # sums in any order: what lets the compiler add 8 or 16 numbers at once


@njit(**BARE)
def order_bits(distance):
    """32 bits that order as float32 distances do."""
    bits = np.float32(distance).view(np.int32)
    return np.uint32(
        bits ^ ((bits >> np.int32(31)) | np.int32(-0x80000000))
    )  # by sign: one bit turned, or all


@njit(**BARE)
def make_key(bits, row):
    """(gap, row) as one integer."""
    return (np.uint64(bits) << np.uint64(32)) | (np.uint64(row) << ONE)


@njit(**BARE)
def row_of(key):
    """The row in a key."""
    return np.int64((key & np.uint64(0xFFFFFFFF)) >> ONE)


@njit(**BARE)
def gap_of(key):
    """The gap in a key."""
    return np.uint32(key >> np.uint64(32))


@njit(**BARE)
def sum_of_bits(bits):
    """The float32 whose `order_bits` these are."""
    top = np.uint32(0x80000000)
    return np.uint32(bits ^ top if bits >= top else ~bits).view(np.float32)


def read_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (int64, -1 for NO_KEY) and sums (float32, infinite for NO_KEY) of keys of any shape."""
    bits = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(bits >= 0x80000000, bits ^ np.uint32(0x80000000), ~bits)
    rows = ((keys & np.uint64(0xFFFFFFFF)) >> ONE).astype(np.int64)
    nothing = keys == NO_KEY
    return np.where(nothing, -1, rows), np.where(nothing, np.float32(np.inf), bits.view(np.float32))


# One small function a sum: the compiler makes 5 ns of each for 128 numbers, and 25 ns of two sums in one function.
@njit(fastmath=FREE_SUMS, **BARE)
def _squares(query, rows, i):
    total = np.float32(0)
    for j in range(rows.shape[1]):
        difference = query[j] - rows[i, j]
        total += difference * difference
    return total


@njit(fastmath=FREE_SUMS, **BARE)
def _products(query, rows, i):
    total = np.float32(0)
    for j in range(rows.shape[1]):
        total -= query[j] * rows[i, j]
    return total


@njit(fastmath=FREE_SUMS, **BARE)
def _squares_between(rows, i, other):
    total = np.float32(0)
    for j in range(rows.shape[1]):
        difference = rows[other, j] - rows[i, j]
        total += difference * difference
    return total


@njit(fastmath=FREE_SUMS, **BARE)
def _products_between(rows, i, other):
    total = np.float32(0)
    for j in range(rows.shape[1]):
        total -= rows[other, j] * rows[i, j]
    return total


@njit(**BARE)
def _code_squares(query, rows, i):
    total = np.int32(0)
    for j in range(rows.shape[1]):
        difference = np.int16(query[j] - np.int16(rows[i, j]))
        total = np.int32(total + np.int32(difference) * np.int32(difference))
    return total


@njit(**BARE)
def _code_products(query, rows, i):
    total = np.int32(0)
    for j in range(rows.shape[1]):
        centred = np.int16(np.int16(rows[i, j]) - np.int16(128))
        total = np.int32(total - np.int32(query[j]) * np.int32(centred))
    return total


@njit(**BARE)
def _code_squares_between(rows, i, other):
    total = np.int32(0)
    for j in range(rows.shape[1]):
        difference = np.int16(np.int16(rows[other, j]) - np.int16(rows[i, j]))
        total = np.int32(total + np.int32(difference) * np.int32(difference))
    return total


@njit(**BARE)
def _code_products_between(rows, i, other):
    total = np.int32(0)
    for j in range(rows.shape[1]):
        one = np.int16(np.int16(rows[other, j]) - np.int16(128))
        two = np.int16(np.int16(rows[i, j]) - np.int16(128))
        total = np.int32(total - np.int32(one) * np.int32(two))
    return total


def _gap_of_floats(metric, query, rows, i):
    return order_bits(_squares(query, rows, i) if metric == L2 else _products(query, rows, i))


def _gap_of_codes(metric, query, rows, i):
    total = _code_squares(query, rows, i) if metric == L2 else _code_products(query, rows, i)
    return np.uint32(np.int64(total) + np.int64(0x80000000))


def _between_floats(metric, rows, i, other):
    return order_bits(_squares_between(rows, i, other) if metric == L2 else _products_between(rows, i, other))


def _between_codes(metric, rows, i, other):
    total = _code_squares_between(rows, i, other) if metric == L2 else _code_products_between(rows, i, other)
    return np.uint32(np.int64(total) + np.int64(0x80000000))


def gap(metric, query, rows, i):
    """The gap between a query and rows[i]: float32 and float32, or int16 and uint8."""
    return (_gap_of_codes if rows.dtype == np.uint8 else _gap_of_floats)(metric, query, rows, i)


@overload(gap)
def _compile_gap(metric, query, rows, i):
    return _gap_of_codes if rows.dtype == types.uint8 else _gap_of_floats


def between(metric, rows, i, other):
    """The gap between two rows."""
    return (_between_codes if rows.dtype == np.uint8 else _between_floats)(metric, rows, i, other)


@overload(between)
def _compile_between(metric, rows, i, other):
    return _between_codes if rows.dtype == types.uint8 else _between_floats


@njit(cache=True, nogil=True)
def as_query(metric, rows, i, query):
    """Write rows[i] into `query`, as `gap` wants it."""
    centre = 128 if metric == DOT and rows.itemsize == 1 else 0  # codes of products lie around 0
    for j in range(rows.shape[1]):
        query[j] = rows[i, j] - centre
