"""One token through a whole model in one compiled function: what decoding costs when nothing but the weights is read.

    for every layer:   h = norm(x);  q, k, v = W h;  turn q, k;  keep k, v;  x += W_o attend(q)
                       h = norm(x);  x += W_down (silu(W_gate h) * W_up h)
    logits = W_head norm(x)

Writing a token reads every weight once, and does little with each: the time is that of reading memory. Layer by layer
in torch, a small model spends most of its time on the way from one operation to the next. Here the step is a loop over
numbers. The weights stay where the model has them: a step is given their addresses, so it computes with whatever they
are at that moment, and takes no memory of its own.

Book 7.1 언어 모델 추론 이해하기, 7.2 양자화로 모델 용량 줄이기. The idea is that of Karpathy's llama2.c. Held against
the models' own forward pass. fused.py says which models it takes, fused_layout.py where their numbers are, and
fused_matvec.py has the products. Leaves out: batches, pages, other dtypes, GPUs.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, prange

from minillm.inference.fused_matvec import linear
from minillm.quantization.lookup import floats_at
from minillm.quantization.loops import NONE, QUICK

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "fd202d81"


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
