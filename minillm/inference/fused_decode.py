"""One token through a whole model in one compiled function: what decoding costs when nothing but the weights is read.

    for every layer:   h = norm(x);  q, k, v = W h;  turn q, k;  keep k, v;  x += W_o attend(q)
                       h = norm(x);  x += W_down (silu(W_gate h) * W_up h)
    logits = W_head norm(x)

Writing a token reads every weight once, and does little with each: the time is that of reading memory. Layer by layer
in torch, a small model spends most of its time on the way from one operation to the next. Here the step is a loop over
numbers, and several threads go through it together (fused_team.py). The weights stay where the model has them: a step
is given their addresses, so it computes with whatever they are at that moment.

Book 7.1 언어 모델 추론 이해하기, 7.2 양자화로 모델 용량 줄이기. The idea is that of Karpathy's llama2.c. Held against
the models' own forward pass. fused.py says which models it takes, fused_layout.py where their numbers are, and
fused_matvec.py has the products. Leaves out: batches, pages, other dtypes, GPUs.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from minillm.inference.fused_matvec import linear
from minillm.inference.fused_team import meet, share
from minillm.quantization.lookup import entry, floats_at
from minillm.quantization.loops import NONE, QUICK

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "c31492cd"


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
    """The pairs (i, i + D/2) of a head x (D,), turned in place; cos and sin (D/2,) of the position."""
    half = cos.size
    for i in range(half):
        a, b = x[i], x[i + half]
        x[i], x[i + half] = a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]


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


@njit(**QUICK)
def attend(q, keys, values, start, stop, scale, y, team):  # pragma: no cover
    """softmax(scale · q · keys) · values over the tokens from start to stop: q, y (H · D,), keys, values (K, S, D)."""
    D = keys.shape[2]
    heads = q.size // D
    shared = heads // keys.shape[0]
    first, last = share(heads, team)
    for h in range(first, last):
        a, k = h * D, h // shared
        _attend_head(q[a : a + D], keys[k], values[k], start, stop, scale, y[a : a + D])


@njit(**QUICK)
def attention(x, position, layer, m, cache, cos, sin, s, team):  # pragma: no cover
    """s.out (C,) = what the layer's attention gives for x (C,); keys and values are kept."""
    K, D = m.kv_heads, m.head_dim
    linear(m.q, layer, x, s.q, team)
    linear(m.k, layer, x, s.k, team)
    linear(m.v, layer, x, s.v, team)
    meet(team)
    for many, line, norm in ((m.heads, s.q, entry(m.q_norm, layer)), (K, s.k, entry(m.k_norm, layer))):
        first, last = share(many, team)
        for h in range(first * D, last * D, D):
            if norm:
                rms_norm(line[h : h + D], norm, m.eps, line[h : h + D])
            if cos.size:
                turn(line[h : h + D], cos, sin)
    shape = (K, cache.room, D)
    keys, values = (
        carray(floats_at(entry(cache.keys, layer)), shape),
        carray(floats_at(entry(cache.values, layer)), shape),
    )
    first, last = share(K, team)
    for h in range(first, last):
        for i in range(D):
            keys[h, position, i], values[h, position, i] = s.k[h * D + i], s.v[h * D + i]
    meet(team)
    start = max(0, position + 1 - entry(m.windows, layer))
    attend(s.q, keys, values, start, position + 1, m.scales[layer], s.y, team)
    meet(team)
    linear(m.o, layer, s.y, s.out, team)
    meet(team)


@njit(**QUICK)
def llama_step(position, m, cache, cos, sin, s, logits, team):  # pragma: no cover
    """Scores of what follows the token whose embedding is s.x (C,), at `position`: logits (V,) is written.

    cos, sin (D/2,) of the position; s: what all threads see; team: which share is this thread's.
    """
    x, h = s.x.copy(), np.empty(s.x.size, np.float32)  # everyone has its own
    for layer in range(m.layers):
        rms_norm(x, entry(m.norm1, layer), m.eps, h)
        attention(h, position, layer, m, cache, cos, sin, s, team)
        add(x, s.out)
        rms_norm(x, entry(m.norm2, layer), m.eps, h)
        linear(m.gate, layer, h, s.gate, team)
        linear(m.up, layer, h, s.up, team)
        meet(team)
        first, last = share(s.up.size, team)
        for i in range(first, last):
            s.up[i] *= s.gate[i] / (np.float32(1) + np.exp(-s.gate[i]))  # silu
        meet(team)
        linear(m.down, layer, s.up, s.out, team)
        meet(team)
        add(x, s.out)
    rms_norm(x, entry(m.norm, 0), m.eps, h)
    linear(m.head, 0, h, logits, team)
    meet(team)


@njit(**QUICK)
def gpt2_step(position, m, cache, cos, sin, s, logits, team):  # pragma: no cover
    """The same of a GPT-2; s.x holds the token's embedding and its position's."""
    x, h = s.x.copy(), np.empty(s.x.size, np.float32)
    for layer in range(m.layers):
        layer_norm(x, entry(m.norm1, layer), entry(m.bias1, layer), m.eps, h)
        attention(h, position, layer, m, cache, cos, sin, s, team)
        add(x, s.out)
        layer_norm(x, entry(m.norm2, layer), entry(m.bias2, layer), m.eps, h)
        linear(m.up, layer, h, s.up, team)
        meet(team)
        first, last = share(s.up.size, team)
        for i in range(first, last):  # GELU by tanh, which is 2σ(2u) - 1
            u = np.float32(1.5957691216) * (s.up[i] + np.float32(0.044715) * s.up[i] * s.up[i] * s.up[i])
            s.up[i] /= np.float32(1) + np.exp(-u)
        meet(team)
        linear(m.down, layer, s.up, s.out, team)
        meet(team)
        add(x, s.out)
    layer_norm(x, entry(m.norm, 0), entry(m.bias, 0), m.eps, h)
    linear(m.head, 0, h, logits, team)
    meet(team)
