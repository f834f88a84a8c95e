"""Where the compiled step finds a model: the addresses of its weights in every layer, and their sizes.

    a matrix       one of six ways of keeping a weight (floats, int8, 4 bit); fused_matvec.py has a loop for each
    Linear         a matrix and its bias
    LlamaAt, GPT2At, CacheAt    all of a model, and its cache
    Shared         the numbers in between

A table of addresses is an int64 array when it is made; what the step gets is the array's own address (`_as_numbers` of
fused.py). Compiled code takes numbers, arrays and tuples of them, and is compiled anew for each kind of tuple. So the
kind of a matrix chooses its loop, at no cost while it runs. Book 7.1 언어 모델 추론 이해하기.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


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
    """The same in int8, laid out in columns as packed.py says: codes (B, G, 32, R), scales float16 (B, G, R)."""

    codes: np.ndarray
    scales: np.ndarray
    blocks: int
    groups: int
    side: int


class Groups4(NamedTuple):
    """The same in 4 bits: codes uint8 (B, G, 16, R), two a byte; scales and lowest weights float16 (B, G, R)."""

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


class CacheAt(NamedTuple):
    """Addresses (L,) of every layer's keys and values (K, room, D) float32."""

    keys: np.ndarray
    values: np.ndarray
    room: int


class Shared(NamedTuple):
    """Numbers that all threads of a step see: the token's embedding, queries, keys and values, what attention gives
    for each head, what a layer's halves add to x, the two sides of a feed-forward layer. All float32, one dimension."""

    x: np.ndarray
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    y: np.ndarray
    out: np.ndarray
    gate: np.ndarray
    up: np.ndarray


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
    layers: int
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
    layers: int
    eps: np.float32
    heads: int
    kv_heads: int
    head_dim: int
    windows: np.ndarray
    scales: np.ndarray
