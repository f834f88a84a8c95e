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
CALLED = "af6ffd51"


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
def add(x, y):  # pragma: no cover
    """x += y."""
    for i in range(x.size):
        x[i] += y[i]


@njit(**QUICK)
def turn(x, cos, sin):  # pragma: no cover
    """The pairs (i, i + D/2) of every head of x (heads · D,), turned in place; cos and sin (D/2,) of the position."""
    half = cos.size
    for h in range(0, x.size, 2 * half):
        for i in range(half):
            a, b = x[h + i], x[h + i + half]
            x[h + i], x[h + i + half] = a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]


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
    for i in range(q.size):
        y[i] = 0
    for s in range(start, stop):
        weight = np.exp(scores[s - start] - best)
        total += weight
        for i in range(q.size):
            y[i] += weight * values[s, i]
    for i in range(q.size):
        y[i] /= total


@njit(parallel=True, **QUICK)
def _heads_side_by_side(q, keys, values, start, stop, scale, y):  # pragma: no cover
    D = keys.shape[2]
    heads = q.size // D
    shared = heads // keys.shape[0]
    for h in prange(heads):
        a, k = h * D, h // shared
        _attend_head(q[a : a + D], keys[k], values[k], start, stop, scale, y[a : a + D])


@njit(**QUICK)
def attend(q, keys, values, start, stop, scale, y, threads):  # pragma: no cover
    """softmax(scale · q · keys) · values over the tokens from start to stop: q, y (H · D,), keys, values (K, S, D)."""
    if threads is None:
        D = keys.shape[2]
        heads = q.size // D
        shared = heads // keys.shape[0]
        for h in range(heads):
            a, k = h * D, h // shared
            _attend_head(q[a : a + D], keys[k], values[k], start, stop, scale, y[a : a + D])
    else:
        _heads_side_by_side(q, keys, values, start, stop, scale, y)


@njit(**QUICK)
def attention(x, position, layer, m, cache, cos, sin, out, threads):  # pragma: no cover
    """out (C,) = what the layer's attention gives for x (C,); keys and values are kept."""
    H, K, D = m.heads, m.kv_heads, m.head_dim
    # arrays of one dimension: numba's reshape takes three seconds to compile, for the message of its errors
    q, k, v, y = (
        np.empty(H * D, np.float32),
        np.empty(K * D, np.float32),
        np.empty(K * D, np.float32),
        np.empty(H * D, np.float32),
    )
    linear(m.q, layer, x, q, threads)
    linear(m.k, layer, x, k, threads)
    linear(m.v, layer, x, v, threads)
    if m.q_norm[layer]:
        for h in range(0, H * D, D):
            rms_norm(q[h : h + D], m.q_norm[layer], m.eps, q[h : h + D])
        for h in range(0, K * D, D):
            rms_norm(k[h : h + D], m.k_norm[layer], m.eps, k[h : h + D])
    if cos.size:
        turn(q, cos, sin)
        turn(k, cos, sin)
    shape = (K, cache.room, D)
    keys, values = carray(floats_at(cache.keys[layer]), shape), carray(floats_at(cache.values[layer]), shape)
    for h in range(K):
        for i in range(D):
            keys[h, position, i], values[h, position, i] = k[h * D + i], v[h * D + i]
    start = max(0, position + 1 - m.windows[layer])
    attend(q, keys, values, start, position + 1, m.scales[layer], y, threads)
    linear(m.o, layer, y, out, threads)


@njit(**QUICK)
def llama_step(x, position, m, cache, cos, sin, wide, logits, threads):  # pragma: no cover
    """Scores of what follows the token whose embedding is x (C,), at `position`; x is used up.

    cos, sin (D/2,) of the position; wide: the width of the feed-forward layer; logits (V,) is written.
    """
    h, y = np.empty(x.size, np.float32), np.empty(x.size, np.float32)
    gate, up = np.empty(wide, np.float32), np.empty(wide, np.float32)
    for layer in range(m.norm1.size):
        rms_norm(x, m.norm1[layer], m.eps, h)
        attention(h, position, layer, m, cache, cos, sin, y, threads)
        add(x, y)
        rms_norm(x, m.norm2[layer], m.eps, h)
        linear(m.gate, layer, h, gate, threads)
        linear(m.up, layer, h, up, threads)
        for i in range(wide):
            up[i] *= gate[i] / (np.float32(1) + np.exp(-gate[i]))  # silu
        linear(m.down, layer, up, h, threads)
        add(x, h)
    rms_norm(x, m.norm[0], m.eps, h)
    linear(m.head, 0, h, logits, threads)


@njit(**QUICK)
def gpt2_step(x, position, m, cache, cos, sin, wide, logits, threads):  # pragma: no cover
    """The same of a GPT-2; x holds the token's embedding and its position's."""
    h, y = np.empty(x.size, np.float32), np.empty(x.size, np.float32)
    up = np.empty(wide, np.float32)
    for layer in range(m.norm1.size):
        layer_norm(x, m.norm1[layer], m.bias1[layer], m.eps, h)
        attention(h, position, layer, m, cache, cos, sin, y, threads)
        add(x, y)
        layer_norm(x, m.norm2[layer], m.bias2[layer], m.eps, h)
        linear(m.up, layer, h, up, threads)
        for i in range(wide):  # GELU by tanh, which is 2σ(2u) - 1
            u = np.float32(1.5957691216) * (up[i] + np.float32(0.044715) * up[i] * up[i] * up[i])
            up[i] /= np.float32(1) + np.exp(-u)
        linear(m.down, layer, up, h, threads)
        add(x, h)
    layer_norm(x, m.norm[0], m.bias[0], m.eps, h)
    linear(m.head, 0, h, logits, threads)
