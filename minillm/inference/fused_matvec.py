"""A matrix times a vector, y = W x, for each way of keeping the weight: what a decode step spends its time on.

    Floats          float32, rows one after another: four rows at a time make four streams of memory
    Bytes           int8 and a scale a row, in the same order
    Groups4, 8      the codes of a GGUF file, 64 rows side by side (quantization/packed.py)
    Even4, Table4   4-bit codes with zero points or a codebook, rows side by side (quantization/loops.py)

Where rows stand side by side, the inner loop runs over rows: no sum has to be added up across a register. A weight
lies where the model has it; fused_layout.py says how a loop is told.

Book 7.1 언어 모델 추론 이해하기, 7.2 양자화로 모델 용량 줄이기. Held against the layers' own forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit
from numba.extending import overload

from minillm.inference.fused_layout import Bytes, Even4, Floats, Groups4, Groups8, Table4
from minillm.inference.fused_team import share
from minillm.quantization.lookup import entry, floats_at, from_half, halves_at, int8_at, uint8_at
from minillm.quantization.loops import NONE, QUICK, even_codes, int8_rows, table_codes

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "6bfcb97d"


def rows_of(matrix: Any) -> int:
    """How many pieces of rows a matrix has that can be worked on side by side."""


def side_of(matrix: Any) -> int:
    """How many rows such a piece has, the last one aside."""


def multiply_rows(matrix: Any, layer: int, x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    """y = W x, the pieces `first` to `last` of the rows; x (columns,), y (rows,) float32."""


@overload(rows_of)
def _rows_of(matrix):
    if matrix.instance_class in (Floats, Bytes):
        return lambda matrix: (matrix.rows + 3) // 4
    if matrix.instance_class in (Even4, Table4):
        return lambda matrix: matrix.shape[0]
    return lambda matrix: matrix.blocks


@overload(side_of)
def _side_of(matrix):
    if matrix.instance_class in (Floats, Bytes):
        return lambda matrix: 4
    if matrix.instance_class in (Even4, Table4):
        return lambda matrix: matrix.shape[2]
    return lambda matrix: matrix.side


@overload(multiply_rows, jit_options={"fastmath": QUICK["fastmath"]})
def _multiply_rows(matrix, layer, x, y, first, last):
    return {
        Floats: _by_floats,
        Bytes: _by_bytes,
        Groups8: _by_groups8,
        Groups4: _by_groups4,
        Even4: _by_even4,
        Table4: _by_table4,
    }[matrix.instance_class]


def _by_floats(matrix, layer, x, y, first, last):  # pragma: no cover
    w = carray(floats_at(entry(matrix.weights, layer)), (matrix.rows, matrix.columns))
    for o in range(4 * first, min(4 * last, matrix.rows - 3), 4):  # four rows: four streams of memory
        a, b, c, d = NONE, NONE, NONE, NONE
        for i in range(x.size):
            a += w[o, i] * x[i]
            b += w[o + 1, i] * x[i]
            c += w[o + 2, i] * x[i]
            d += w[o + 3, i] * x[i]
        y[o], y[o + 1], y[o + 2], y[o + 3] = a, b, c, d
    if 4 * last >= matrix.rows:
        for o in range(matrix.rows // 4 * 4, matrix.rows):
            a = NONE
            for i in range(x.size):
                a += w[o, i] * x[i]
            y[o] = a


def _by_bytes(matrix, layer, x, y, first, last):  # pragma: no cover
    codes = carray(int8_at(entry(matrix.codes, layer)), (matrix.rows, matrix.columns))
    int8_rows(codes, carray(floats_at(entry(matrix.scales, layer)), (matrix.rows,)), x, y, first, last)


def _by_even4(matrix, layer, x, y, first, last):  # pragma: no cover
    shape = (matrix.shape[0], matrix.groups, matrix.shape[2])
    codes, scales = (
        carray(uint8_at(entry(matrix.codes, layer)), matrix.shape),
        carray(floats_at(entry(matrix.scales, layer)), shape),
    )
    even_codes(
        codes, scales, carray(uint8_at(entry(matrix.zeros, layer)), shape), matrix.size, x, y, first, last
    )


def _by_table4(matrix, layer, x, y, first, last):  # pragma: no cover
    shape = (matrix.shape[0], matrix.groups, matrix.shape[2])
    codes, scales = (
        carray(uint8_at(entry(matrix.codes, layer)), matrix.shape),
        carray(floats_at(entry(matrix.scales, layer)), shape),
    )
    table_codes(
        codes, scales, carray(floats_at(entry(matrix.tables, layer)), (16,)), matrix.size, x, y, first, last
    )


def _by_groups8(matrix, layer, x, y, first, last):  # pragma: no cover
    B, G, R = matrix.blocks, matrix.groups, matrix.side
    codes = carray(int8_at(entry(matrix.codes, layer)), (B, G, 32, R))
    scales = carray(halves_at(entry(matrix.scales, layer)), (B, G, R))
    sums, total = np.empty(R, np.float32), np.empty(R, np.float32)
    for b in range(first, last):
        total[:] = 0
        for g in range(G):
            sums[:] = 0
            for j in range(0, 32, 8):
                i = 32 * g + j
                x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
                x4, x5, x6, x7 = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
                for r in range(R):
                    sums[r] += (
                        np.float32(codes[b, g, j, r]) * x0
                        + np.float32(codes[b, g, j + 1, r]) * x1
                        + np.float32(codes[b, g, j + 2, r]) * x2
                        + np.float32(codes[b, g, j + 3, r]) * x3
                        + np.float32(codes[b, g, j + 4, r]) * x4
                        + np.float32(codes[b, g, j + 5, r]) * x5
                        + np.float32(codes[b, g, j + 6, r]) * x6
                        + np.float32(codes[b, g, j + 7, r]) * x7
                    )
            for r in range(R):
                total[r] += from_half(scales[b, g, r]) * sums[r]
        for r in range(min(R, y.size - b * R)):
            y[b * R + r] = total[r]


def _by_groups4(matrix, layer, x, y, first, last):  # pragma: no cover
    B, G, R = matrix.blocks, matrix.groups, matrix.side
    codes = carray(uint8_at(entry(matrix.codes, layer)), (B, G, 16, R))
    scales = carray(halves_at(entry(matrix.scales, layer)), (B, G, R))
    lows = carray(halves_at(entry(matrix.lows, layer)), (B, G, R))
    sums, total = np.empty(R, np.float32), np.empty(R, np.float32)
    for b in range(first, last):
        total[:] = 0
        for g in range(G):
            sums[:] = 0
            whole = NONE
            for j in range(0, 16, 4):  # four bytes, eight weights; the high halves are 16 columns on
                i, k = 32 * g + j, 32 * g + j + 16
                x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
                z0, z1, z2, z3 = x[k], x[k + 1], x[k + 2], x[k + 3]
                whole += x0 + x1 + x2 + x3 + z0 + z1 + z2 + z3
                for r in range(R):  # int32: numba's own 64 bits would halve what a register holds
                    c0, c1 = codes[b, g, j, r], codes[b, g, j + 1, r]
                    c2, c3 = codes[b, g, j + 2, r], codes[b, g, j + 3, r]
                    sums[r] += (
                        np.float32(np.int32(c0 & 15)) * x0
                        + np.float32(np.int32(c1 & 15)) * x1
                        + np.float32(np.int32(c2 & 15)) * x2
                        + np.float32(np.int32(c3 & 15)) * x3
                        + np.float32(np.int32(c0 >> 4)) * z0
                        + np.float32(np.int32(c1 >> 4)) * z1
                        + np.float32(np.int32(c2 >> 4)) * z2
                        + np.float32(np.int32(c3 >> 4)) * z3
                    )
            for r in range(R):
                total[r] += from_half(scales[b, g, r]) * sums[r] + from_half(lows[b, g, r]) * whole
        for r in range(min(R, y.size - b * R)):
            y[b * R + r] = total[r]


@njit(**QUICK)
def linear(weights, layer, x, y, team):  # pragma: no cover
    """y = W x + b of a layer, this thread's share of the rows."""
    matrix = weights.matrix
    first, last = share(rows_of(matrix), team)
    multiply_rows(matrix, layer, x, y, first, last)
    if entry(weights.biases, layer):
        bias = carray(floats_at(entry(weights.biases, layer)), (y.size,))
        for o in range(first * side_of(matrix), min(last * side_of(matrix), y.size)):
            y[o] += bias[o]
