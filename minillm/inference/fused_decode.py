"""One token through a whole model in one compiled function: what decoding costs when nothing but the weights is read.

    for every layer:   h = norm(x);  q, k, v = W h;  turn q, k;  keep k, v;  x += W_o attend(q)
                       h = norm(x);  x += W_down (silu(W_gate h) * W_up h)
    logits = W_head norm(x)

Writing a token reads every weight once, and does little with each: the time is that of reading memory. Layer by layer
in torch, a small model spends most of its time on the way from one operation to the next. Here the step is a loop over
numbers. The weights stay where the model has them: a step is given their addresses, so it computes with whatever they
are at that moment, and takes no memory of its own.

Book 7.1 언어 모델 추론 이해하기, 7.2 양자화로 모델 용량 줄이기. The idea is that of Karpathy's llama2.c. Held against
the models' own forward pass. fused.py says which models it takes. Leaves out: batches, pages, other dtypes, GPUs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, njit, prange
from numba.extending import overload

from minillm.quantization.lookup import floats_at, int8_at, uint8_at
from minillm.quantization.loops import NONE, QUICK, even_codes, int8_rows, table_codes

# numba finds its compiled code by the date of this file: when the loops change, their checksum changes it
LOOPS = "62f8adff"

ANY_ORDER = QUICK["fastmath"]


class Floats(NamedTuple):
    """The matrices (rows, columns) float32 of one kind, of all layers: their addresses int64 (L,)."""

    weights: np.ndarray
    rows: int
    columns: int


class Bytes(NamedTuple):
    """The same in int8 with a float32 scale a row: addresses of codes (rows, columns) and of scales (rows,)."""

    codes: np.ndarray
    scales: np.ndarray
    rows: int
    columns: int


class Groups8(NamedTuple):
    """The same in int8, laid out in columns as packed.py says: codes (B, G, 32, R), scales float32 (B, G, R)."""

    codes: np.ndarray
    scales: np.ndarray
    blocks: int
    groups: int
    side: int


class Groups4(NamedTuple):
    """The same in 4 bits: codes uint8 (B, G, 16, R), two a byte; scales and lowest weights float32 (B, G, R)."""

    codes: np.ndarray
    scales: np.ndarray
    lows: np.ndarray
    blocks: int
    groups: int
    side: int


class Even4(NamedTuple):
    """The same in 4 bits as loops.py lays them out: codes uint8 (B, J, R), scales float32 and zeros uint8 (B, G, R);
    size: bytes of a group."""

    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    shape: tuple[int, int, int]
    groups: int
    size: int


class Table4(NamedTuple):
    """The same with codebooks float32 (16,) in place of zeros."""

    codes: np.ndarray
    scales: np.ndarray
    tables: np.ndarray
    shape: tuple[int, int, int]
    groups: int
    size: int


class Linear(NamedTuple):
    """The linear layers of one kind: a matrix as above, and the addresses of the biases (L,), 0 for none."""

    matrix: Any
    biases: np.ndarray


# --- a matrix times a vector --------------------------------------------------------------------------------------


def rows_of(matrix: Any) -> int:
    """How many pieces of rows a matrix has that can be worked on side by side."""


def multiply_rows(matrix: Any, layer: int, x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    """y = W x, the pieces `first` to `last` of the rows; x (columns,), y (rows,) float32."""


@overload(rows_of)
def _rows_of(matrix):
    if matrix.instance_class in (Floats, Bytes):
        return lambda matrix: (matrix.rows + 3) // 4
    if matrix.instance_class in (Even4, Table4):
        return lambda matrix: matrix.shape[0]
    return lambda matrix: matrix.blocks


@overload(multiply_rows, jit_options={"fastmath": ANY_ORDER})
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
    w = carray(floats_at(matrix.weights[layer]), (matrix.rows, matrix.columns))
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
    codes = carray(int8_at(matrix.codes[layer]), (matrix.rows, matrix.columns))
    int8_rows(codes, carray(floats_at(matrix.scales[layer]), (matrix.rows,)), x, y, first, last)


def _by_even4(matrix, layer, x, y, first, last):  # pragma: no cover
    shape = (matrix.shape[0], matrix.groups, matrix.shape[2])
    codes, scales = (
        carray(uint8_at(matrix.codes[layer]), matrix.shape),
        carray(floats_at(matrix.scales[layer]), shape),
    )
    even_codes(codes, scales, carray(uint8_at(matrix.zeros[layer]), shape), matrix.size, x, y, first, last)


def _by_table4(matrix, layer, x, y, first, last):  # pragma: no cover
    shape = (matrix.shape[0], matrix.groups, matrix.shape[2])
    codes, scales = (
        carray(uint8_at(matrix.codes[layer]), matrix.shape),
        carray(floats_at(matrix.scales[layer]), shape),
    )
    table_codes(codes, scales, carray(floats_at(matrix.tables[layer]), (16,)), matrix.size, x, y, first, last)


def _by_groups8(matrix, layer, x, y, first, last):  # pragma: no cover
    B, G, R = matrix.blocks, matrix.groups, matrix.side
    codes = carray(int8_at(matrix.codes[layer]), (B, G, 32, R))
    scales = carray(floats_at(matrix.scales[layer]), (B, G, R))
    sums, total = np.empty(R, np.float32), np.empty(R, np.float32)
    for b in range(first, last):
        total[:] = 0
        for g in range(G):
            sums[:] = 0
            for j in range(0, 32, 4):
                i = 32 * g + j
                x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
                for r in range(R):
                    sums[r] += (
                        np.float32(codes[b, g, j, r]) * x0
                        + np.float32(codes[b, g, j + 1, r]) * x1
                        + np.float32(codes[b, g, j + 2, r]) * x2
                        + np.float32(codes[b, g, j + 3, r]) * x3
                    )
            for r in range(R):
                total[r] += scales[b, g, r] * sums[r]
        for r in range(min(R, y.size - b * R)):
            y[b * R + r] = total[r]


def _by_groups4(matrix, layer, x, y, first, last):  # pragma: no cover
    B, G, R = matrix.blocks, matrix.groups, matrix.side
    codes = carray(uint8_at(matrix.codes[layer]), (B, G, 16, R))
    scales = carray(floats_at(matrix.scales[layer]), (B, G, R))
    lows = carray(floats_at(matrix.lows[layer]), (B, G, R))
    sums, total = np.empty(R, np.float32), np.empty(R, np.float32)
    for b in range(first, last):
        total[:] = 0
        for g in range(G):
            sums[:] = 0
            whole = NONE
            for j in range(
                0, 16, 4
            ):  # four bytes, eight weights at a time; the high halves are 16 columns on
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
                total[r] += scales[b, g, r] * sums[r] + lows[b, g, r] * whole
        for r in range(min(R, y.size - b * R)):
            y[b * R + r] = total[r]


@njit(parallel=True, **QUICK)
def _side_by_side(matrix, layer, x, y, threads):  # pragma: no cover
    pieces = rows_of(matrix)
    for part in prange(threads):
        multiply_rows(matrix, layer, x, y, part * pieces // threads, (part + 1) * pieces // threads)


@njit(**QUICK)
def linear(weights, layer, x, y, threads):  # pragma: no cover
    """y = W x + b of a layer. threads: None for one (the loops for several are not even compiled then)."""
    if threads is None:
        multiply_rows(weights.matrix, layer, x, y, 0, rows_of(weights.matrix))
    else:
        _side_by_side(weights.matrix, layer, x, y, threads)
    if weights.biases[layer]:
        y += carray(floats_at(weights.biases[layer]), (y.size,))


# --- the other parts ----------------------------------------------------------------------------------------------


@njit(**QUICK)
def rms_norm(x, weight, eps, y):  # pragma: no cover
    """y = x / sqrt(mean of x² + eps) · w; weight: an address."""
    w = carray(floats_at(weight), (x.size,))
    square = NONE
    for i in range(x.size):
        square += x[i] * x[i]
    factor = np.float32(1) / np.sqrt(square / np.float32(x.size) + eps)
    for i in range(x.size):
        y[i] = x[i] * factor * w[i]


@njit(**QUICK)
def layer_norm(x, weight, bias, eps, y):  # pragma: no cover
    """y = (x - mean) / sqrt(variance + eps) · w + b; weight, bias: addresses."""
    w, b = carray(floats_at(weight), (x.size,)), carray(floats_at(bias), (x.size,))
    mean, variance = NONE, NONE
    for i in range(x.size):
        mean += x[i]
    mean /= np.float32(x.size)
    for i in range(x.size):
        variance += (x[i] - mean) * (x[i] - mean)
    factor = np.float32(1) / np.sqrt(variance / np.float32(x.size) + eps)
    for i in range(x.size):
        y[i] = (x[i] - mean) * factor * w[i] + b[i]


@njit(**QUICK)
def turn(x, cos, sin):  # pragma: no cover
    """The pairs (i, i + D/2) of every head of x (heads, D), turned in place; cos and sin (D/2,) of the position."""
    half = x.shape[1] // 2
    for h in range(x.shape[0]):
        for i in range(half):
            a, b = x[h, i], x[h, i + half]
            x[h, i], x[h, i + half] = a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]


@njit(**QUICK)
def _attend_head(q, keys, values, start, stop, scale, y):  # pragma: no cover
    scores = np.empty(stop - start, np.float32)
    best = np.float32(-np.inf)
    for s in range(start, stop):
        score = NONE
        for i in range(q.size):
            score += q[i] * keys[s, i]
        scores[s - start] = score * scale
        best = max(best, scores[s - start])
    total = NONE
    y[:] = 0
    for s in range(start, stop):
        weight = np.exp(scores[s - start] - best)
        total += weight
        for i in range(q.size):
            y[i] += weight * values[s, i]
    y /= total


@njit(parallel=True, **QUICK)
def _heads_side_by_side(q, keys, values, start, stop, scale, y):  # pragma: no cover
    shared = q.shape[0] // keys.shape[0]
    for h in prange(q.shape[0]):
        _attend_head(q[h], keys[h // shared], values[h // shared], start, stop, scale, y[h])


@njit(**QUICK)
def attend(q, keys, values, start, stop, scale, y, threads):  # pragma: no cover
    """softmax(scale · q · keys) · values over the tokens from start to stop: q, y (H, D), keys, values (K, S, D)."""
    shared = q.shape[0] // keys.shape[0]
    if threads is None:
        for h in range(q.shape[0]):
            _attend_head(q[h], keys[h // shared], values[h // shared], start, stop, scale, y[h])
    else:
        _heads_side_by_side(q, keys, values, start, stop, scale, y)


@njit(**QUICK)
def attention(x, position, layer, m, cache, cos, sin, threads):  # pragma: no cover
    """What the layer's attention gives for x (C,) -> (C,), keys and values kept."""
    H, K, D = m.heads, m.kv_heads, m.head_dim
    q, y = np.empty((H, D), np.float32), np.empty((H, D), np.float32)
    shape = (K, cache.room, D)
    keys, values = carray(floats_at(cache.keys[layer]), shape), carray(floats_at(cache.values[layer]), shape)
    new = np.empty((K, D), np.float32)
    linear(m.q, layer, x, q.reshape(-1), threads)
    linear(m.k, layer, x, new.reshape(-1), threads)
    if m.q_norm[layer]:
        for h in range(H):
            rms_norm(q[h], m.q_norm[layer], m.eps, q[h])
        for h in range(K):
            rms_norm(new[h], m.k_norm[layer], m.eps, new[h])
    if cos.size:
        turn(q, cos, sin)
        turn(new, cos, sin)
    keys[:, position] = new
    linear(m.v, layer, x, new.reshape(-1), threads)
    values[:, position] = new
    start = max(0, position + 1 - m.windows[layer])
    attend(q, keys, values, start, position + 1, m.scales[layer], y, threads)
    out = np.empty(x.size, np.float32)
    linear(m.o, layer, y.reshape(-1), out, threads)
    return out


# --- the step -----------------------------------------------------------------------------------------------------


class CacheAt(NamedTuple):
    """Addresses (L,) of every layer's keys and values (K, room, D) float32."""

    keys: np.ndarray
    values: np.ndarray
    room: int


class LlamaAt(NamedTuple):
    """A Llama, as the step reads it: linear layers, addresses of norms (L,), 0 for those it does not have."""

    norm1: np.ndarray
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    q_norm: np.ndarray
    k_norm: np.ndarray
    norm2: np.ndarray
    gate: Linear
    up: Linear
    down: Linear
    norm: np.ndarray
    head: Linear
    eps: np.float32
    heads: int
    kv_heads: int
    head_dim: int
    windows: np.ndarray
    scales: np.ndarray


class GPT2At(NamedTuple):
    """A GPT-2, as the step reads it."""

    norm1: np.ndarray
    bias1: np.ndarray
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    q_norm: np.ndarray
    k_norm: np.ndarray
    norm2: np.ndarray
    bias2: np.ndarray
    up: Linear
    down: Linear
    norm: np.ndarray
    bias: np.ndarray
    head: Linear
    eps: np.float32
    heads: int
    kv_heads: int
    head_dim: int
    windows: np.ndarray
    scales: np.ndarray


@njit(**QUICK)
def llama_step(x, position, m, cache, cos, sin, wide, logits, threads):  # pragma: no cover
    """Scores of what follows the token whose embedding is x (C,), at `position`; x is used up.

    cos, sin (D/2,) of the position; wide: the width of the feed-forward layer; logits (V,) is written.
    """
    h = np.empty_like(x)
    gate, up = np.empty(wide, np.float32), np.empty(wide, np.float32)
    for layer in range(m.norm1.size):
        rms_norm(x, m.norm1[layer], m.eps, h)
        x += attention(h, position, layer, m, cache, cos, sin, threads)
        rms_norm(x, m.norm2[layer], m.eps, h)
        linear(m.gate, layer, h, gate, threads)
        linear(m.up, layer, h, up, threads)
        for i in range(wide):
            up[i] *= gate[i] / (np.float32(1) + np.exp(-gate[i]))  # silu
        linear(m.down, layer, up, h, threads)
        x += h
    rms_norm(x, m.norm[0], m.eps, h)
    linear(m.head, 0, h, logits, threads)


@njit(**QUICK)
def gpt2_step(x, position, m, cache, cos, sin, wide, logits, threads):  # pragma: no cover
    """The same of a GPT-2; x holds the token's embedding and its position's."""
    h, up = np.empty_like(x), np.empty(wide, np.float32)
    for layer in range(m.norm1.size):
        layer_norm(x, m.norm1[layer], m.bias1[layer], m.eps, h)
        x += attention(h, position, layer, m, cache, cos, sin, threads)
        layer_norm(x, m.norm2[layer], m.bias2[layer], m.eps, h)
        linear(m.up, layer, h, up, threads)
        for i in range(wide):  # GELU by tanh, which is 2σ(2u) - 1
            u = np.float32(1.5957691216) * (up[i] + np.float32(0.044715) * up[i] * up[i] * up[i])
            up[i] /= np.float32(1) + np.exp(-u)
        linear(m.down, layer, up, h, threads)
        x += h
    layer_norm(x, m.norm[0], m.bias[0], m.eps, h)
    linear(m.head, 0, h, logits, threads)
