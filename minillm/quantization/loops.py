"""Products of codes and floats, compiled: one row of x with a weight that stays codes, and a weight's rows unpacked.

    int8     rows one after another; four at a time make four streams of memory
    4 bit    rows side by side: codes (B, ceil(I / 2), R), R rows in each of B blocks, two columns in a byte (the
             earlier one in the high half); scales (B, G, R). The inner loop runs over rows: no sum has to be added
             up across a register, and a number of x is the same for all of it

Loops are given the pieces (blocks, or four rows) from `first` to `last`, so that threads can share a product. Each
reads four bytes, eight weights, a pass: I and the columns of a group are multiples of 8. The step of
inference/fused_decode.py runs these very loops, by way of fused_matvec.py.

Book: 7.2 양자화로 모델 용량 줄이기. Held against float products with the dequantized weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from minillm.quantization.lookup import LANES, add_looked_up, address, floats_at, int8_at, uint8_at

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "b57f9371"

# Sums in any order let the compiler use wide registers; infinities and NaNs still mean what they mean.
QUICK: dict[str, Any] = {"cache": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True}
NONE = np.float32(0)
SIDES = (128, 64, 32, 16)  # rows that stand side by side: as many as go evenly into a weight's rows


def side_by_side(part: Tensor) -> Tensor:
    """(O, n) -> (B, n, R), the layout above; rows that are missing in the last block are zeros."""
    rows = len(part)
    side = next((side for side in SIDES if rows % side == 0), SIDES[-1])
    padded = torch.nn.functional.pad(part, (0, 0, 0, -rows % side))
    return padded.view(-1, side, part.shape[1]).transpose(1, 2).contiguous()


def in_rows(part: Tensor, rows: int) -> Tensor:
    """(B, n, R) -> (rows, n): as it was."""
    return part.transpose(1, 2).flatten(0, 1)[:rows].contiguous()


@njit(**QUICK)
def int8_rows(codes, scale, x, y, first, last):  # pragma: no cover
    """y[o] = scale[o] · codes[o] . x: codes int8 (O, I), scale (O,), x (I,), y (O,); four rows a piece."""
    for o in range(4 * first, min(4 * last, len(y) - 3), 4):
        a, b, c, d = NONE, NONE, NONE, NONE
        for i in range(x.size):
            a += np.float32(codes[o, i]) * x[i]
            b += np.float32(codes[o + 1, i]) * x[i]
            c += np.float32(codes[o + 2, i]) * x[i]
            d += np.float32(codes[o + 3, i]) * x[i]
        y[o], y[o + 1] = a * scale[o], b * scale[o + 1]
        y[o + 2], y[o + 3] = c * scale[o + 2], d * scale[o + 3]
    if 4 * last >= len(y):
        for o in range(len(y) // 4 * 4, len(y)):
            a = NONE
            for i in range(x.size):
                a += np.float32(codes[o, i]) * x[i]
            y[o] = a * scale[o]


@njit(**QUICK)
def even_codes(codes, scales, zeros, size, x, y, first, last):  # pragma: no cover
    """y = W x with w = (code - zero) · scale, zeros uint8 (B, G, R); size: bytes of a group."""
    J, R = codes.shape[1], codes.shape[2]
    sums, total = np.empty(R, np.float32), np.empty(R, np.float32)
    for b in range(first, last):
        total[:] = 0
        for g in range(scales.shape[1]):
            sums[:] = 0
            whole = NONE
            for j in range(g * size, min(J, (g + 1) * size), 4):
                x0, x1, x2, x3 = x[2 * j], x[2 * j + 2], x[2 * j + 4], x[2 * j + 6]
                z0, z1, z2, z3 = x[2 * j + 1], x[2 * j + 3], x[2 * j + 5], x[2 * j + 7]
                whole += x0 + x1 + x2 + x3 + z0 + z1 + z2 + z3
                for r in range(R):
                    c0, c1, c2, c3 = (
                        codes[b, j, r],
                        codes[b, j + 1, r],
                        codes[b, j + 2, r],
                        codes[b, j + 3, r],
                    )
                    # int32: numba's own 64 bits would halve what a register holds
                    sums[r] += (
                        np.float32(np.int32(c0 >> 4)) * x0
                        + np.float32(np.int32(c1 >> 4)) * x1
                        + np.float32(np.int32(c2 >> 4)) * x2
                        + np.float32(np.int32(c3 >> 4)) * x3
                        + np.float32(np.int32(c0 & 15)) * z0
                        + np.float32(np.int32(c1 & 15)) * z1
                        + np.float32(np.int32(c2 & 15)) * z2
                        + np.float32(np.int32(c3 & 15)) * z3
                    )
            for r in range(R):
                total[r] += scales[b, g, r] * (sums[r] - np.float32(zeros[b, g, r]) * whole)
        for r in range(min(R, y.size - b * R)):
            y[b * R + r] = total[r]


@njit(**QUICK)
def table_codes(codes, scales, table, size, x, y, first, last):  # pragma: no cover
    """y = W x with w = table[code] · scale, table float32 (16,); size: bytes of a group."""
    J, R = codes.shape[1], codes.shape[2]
    sums, total = np.empty(R, np.float32), np.empty(R, np.float32)
    for b in range(first, last):
        total[:] = 0
        for g in range(scales.shape[1]):
            sums[:] = 0
            for j in range(g * size, min(J, (g + 1) * size), 4):
                if LANES:
                    to, t = address(sums), address(table)
                    c0, c1 = address(codes[b, j]), address(codes[b, j + 1])
                    c2, c3 = address(codes[b, j + 2]), address(codes[b, j + 3])
                    for r in range(0, R, max(LANES, 1)):
                        add_looked_up(to, r, t, c0, x[2 * j], x[2 * j + 1])
                        add_looked_up(to, r, t, c1, x[2 * j + 2], x[2 * j + 3])
                        add_looked_up(to, r, t, c2, x[2 * j + 4], x[2 * j + 5])
                        add_looked_up(to, r, t, c3, x[2 * j + 6], x[2 * j + 7])
                else:
                    for k in range(j, j + 4):
                        for r in range(R):
                            code = np.uintp(codes[b, k, r])
                            sums[r] += table[code >> np.uintp(4)] * x[2 * k]
                            sums[r] += table[code & np.uintp(15)] * x[2 * k + 1]
            for r in range(R):
                total[r] += scales[b, g, r] * sums[r]
        for r in range(min(R, y.size - b * R)):
            y[b * R + r] = total[r]


# A layer's call. Everything comes as an address: taking an array apart costs more than a small layer's product.


@njit(**QUICK)
def int8_layer(codes, scale, rows, columns, x, y, count):  # pragma: no cover
    """y (count, rows) = x (count, columns) Wᵀ."""
    w, s = carray(int8_at(codes), (rows, columns)), carray(floats_at(scale), (rows,))
    xs, ys = carray(floats_at(x), (count, columns)), carray(floats_at(y), (count, rows))
    pieces = (rows + 3) // 4
    for first in range(0, pieces, 8):  # codes that stay near while all rows of x pass
        for n in range(count):
            int8_rows(w, s, xs[n], ys[n], first, min(first + 8, pieces))


@njit(**QUICK)
def even_layer(codes, scales, zeros, shape, groups, size, rows, x, y, count):  # pragma: no cover
    """The same with even codes; shape: of the codes, (B, J, R)."""
    B, J, R = shape
    c, s = carray(uint8_at(codes), (B, J, R)), carray(floats_at(scales), (B, groups, R))
    z = carray(uint8_at(zeros), (B, groups, R))
    xs, ys = carray(floats_at(x), (count, 2 * J)), carray(floats_at(y), (count, rows))
    for b in range(B):
        for n in range(count):
            even_codes(c, s, z, size, xs[n], ys[n], b, b + 1)


@njit(**QUICK)
def table_layer(codes, scales, table, shape, groups, size, rows, x, y, count):  # pragma: no cover
    """The same with a codebook."""
    B, J, R = shape
    c, s = carray(uint8_at(codes), (B, J, R)), carray(floats_at(scales), (B, groups, R))
    t = carray(floats_at(table), (16,))
    xs, ys = carray(floats_at(x), (count, 2 * J)), carray(floats_at(y), (count, rows))
    for b in range(B):
        for n in range(count):
            table_codes(c, s, t, size, xs[n], ys[n], b, b + 1)


@njit(**QUICK)
def unpack_even(codes, scales, zeros, size, block, weight, at):  # pragma: no cover
    """weight[:, at : at + R] of (I, ...) floats = the weight of one block: (code - zero) · scale."""
    J, R = codes.shape[1], codes.shape[2]
    for j in range(J):
        g = j // size
        high, low = weight[2 * j, at : at + R], weight[2 * j + 1, at : at + R]
        for r in range(R):
            zero, scale = np.int32(zeros[block, g, r]), scales[block, g, r]
            high[r] = np.float32(np.int32(np.int32(codes[block, j, r] >> 4) - zero)) * scale
            low[r] = np.float32(np.int32(np.int32(codes[block, j, r] & 15) - zero)) * scale


@njit(**QUICK)
def unpack_table(codes, scales, table, size, block, weight, at):  # pragma: no cover
    """The same with table[code] · scale."""
    J, R = codes.shape[1], codes.shape[2]
    no, one = NONE, np.float32(1)
    for j in range(J):
        g = j // size
        high, low = weight[2 * j, at : at + R], weight[2 * j + 1, at : at + R]
        if LANES:
            high[:], low[:] = 0, 0
            for r in range(0, R, max(LANES, 1)):
                add_looked_up(address(high), r, address(table), address(codes[block, j]), one, no)
                add_looked_up(address(low), r, address(table), address(codes[block, j]), no, one)
        else:
            for r in range(R):
                code = np.uintp(codes[block, j, r])
                high[r], low[r] = table[code >> np.uintp(4)], table[code & np.uintp(15)]
        for r in range(R):
            high[r] *= scales[block, g, r]
            low[r] *= scales[block, g, r]
