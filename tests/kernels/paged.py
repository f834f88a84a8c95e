"""Hostile paged caches for the tests, and attention over them in float64 by torch's own functions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from tests.kernels.conftest import DEVICE

GARBAGE = (-1, 10**9, -(10**9), 2**31 - 1)  # what a block table may hold past a sequence's length
PAIRS = st.tuples(st.sampled_from([-1, 0, 3, 70]), st.sampled_from([-1, 0]))
WINDOWS = st.one_of(st.none(), st.integers(1, 260), PAIRS)


@dataclass
class Paged:
    """A paged cache and the same keys and values in a row, sequence by sequence, (S, K, D) each."""

    key_cache: Tensor
    value_cache: Tensor
    block_table: Tensor
    lengths: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.key_cache, self.value_cache, self.block_table, self.lengths

    def rows(self, *which: int) -> Paged:
        """Some of the sequences, in this order, in the same caches."""
        some = list(which)
        return Paged(
            self.key_cache,
            self.value_cache,
            self.block_table[some],
            self.lengths[some],
            [self.keys[n] for n in some],
            [self.values[n] for n in some],
        )


def random_tensor(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def paged(
    generator: torch.Generator,
    lengths: list[int],
    K: int = 2,
    D: int = 32,
    block_size: int = 16,
    dtype: torch.dtype = torch.float32,
    spare_columns: int = 1,
) -> Paged:
    """Random sequences in blocks strewn over caches whose other slots are NaN, with a table that ends in garbage."""
    keys = [random_tensor(generator, S, K, D, dtype=dtype) for S in lengths]
    values = [random_tensor(generator, S, K, D, dtype=dtype) for S in lengths]
    return place(generator, keys, values, block_size, spare_columns)


def place(
    generator: torch.Generator,
    keys: list[Tensor],
    values: list[Tensor],
    block_size: int,
    spare_columns: int = 1,
) -> Paged:
    """Lay these sequences in blocks drawn at random."""
    _, K, D = keys[0].shape
    needed = [-(-len(k) // block_size) for k in keys]
    num_blocks = sum(needed) + 3
    caches = torch.full((2, num_blocks, block_size, K, D), float("nan"), dtype=keys[0].dtype, device=DEVICE)
    free = torch.randperm(num_blocks, generator=generator).tolist()
    width = max(needed) + spare_columns
    table = torch.tensor([[GARBAGE[(n + i) % len(GARBAGE)] for i in range(width)] for n in range(len(keys))])
    for n, (k, v) in enumerate(zip(keys, values)):
        for i in range(needed[n]):
            table[n, i] = block = free.pop()
            for cache, tokens in zip(caches, (k, v)):
                part = tokens[i * block_size : (i + 1) * block_size]
                cache[block, : len(part)] = part
    lengths = torch.tensor([len(k) for k in keys], dtype=torch.int32, device=DEVICE)
    return Paged(caches[0], caches[1], table.to(DEVICE, torch.int32), lengths, keys, values)


def far_cache() -> Tensor:
    """Three blocks of random halves, (3, 8, 1, 32). The last lies 2**31 elements away, though strides are smaller."""
    stride = 2**30 + 64
    try:
        memory = torch.empty(2 * stride + 8 * 32, dtype=torch.float16, device=DEVICE)
    except RuntimeError:
        pytest.skip("needs 4 GiB of (untouched) memory")
    cache = memory.as_strided((3, 8, 1, 32), (stride, 32, 32, 1))
    return cache.copy_(torch.randn(3, 8, 1, 32, generator=torch.Generator().manual_seed(0)))


def far_heads(cache: Tensor, rows: int) -> Tensor:
    """Queries (rows, 3, 32) in the memory of `far_cache()`, whose last head lies 2**31 elements away."""
    return cache[:, :rows, 0].transpose(0, 1)


def reference(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    scale: float | None = None,
    window: int | tuple[int, int] | None = None,
    slopes: Tensor | None = None,
    softcap: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Causal attention of the last T tokens in float64: q (T, H, D), keys (S, K, D) -> (T, H, D), lse (H, T)."""
    (T, H, D), (S, K, _) = q.shape, keys.shape
    q, keys, values = (x.double().transpose(0, 1) for x in (q, keys, values))  # (heads, length, D)
    keys, values = keys.repeat_interleave(H // K, 0), values.repeat_interleave(H // K, 0)
    scale = D**-0.5 if scale is None else scale
    place = torch.arange(S - T, S, device=q.device)[:, None]
    back = place - torch.arange(S, device=q.device)
    left = S  # everything
    if window is not None:
        left = window - 1 if isinstance(window, int) else window[0] if window[0] >= 0 else S
    bias = torch.zeros(H, T, S, dtype=torch.float64, device=q.device)
    if slopes is not None:
        bias = bias - slopes.double()[:, None, None] * back
    bias = bias.masked_fill((back < 0) | (back > left), -torch.inf)
    scores = scale * (q @ keys.transpose(1, 2))
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
        out = torch.softmax(scores + bias, -1) @ values
    else:
        q, keys, values, bias_ = (x[None] for x in (q, keys, values, bias))
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias_, scale=scale)[0]
    lse = torch.logsumexp(scores + bias, -1)
    out = out.masked_fill((lse == -torch.inf)[:, :, None], 0.0)  # a row that sees nothing
    return out.transpose(0, 1), lse


def low_precision(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """torch's own fused attention in the dtype it is given, same arguments as `reference`."""
    (T, H, _), (S, K, _) = q.shape, keys.shape
    q, keys, values = (x.transpose(0, 1)[None] for x in (q, keys, values))
    visible = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    keys, values = keys.repeat_interleave(H // K, 1), values.repeat_interleave(H // K, 1)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=visible)[0].transpose(0, 1)


def assert_close(out: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """The largest error within `tolerance` of the largest number, and the whole error of the whole norm."""
    assert out.shape == expected.shape
    assert not out.isnan().any()
    if out.numel():
        error = out.double() - expected
        assert error.abs().max() <= tolerance * expected.abs().max()
        assert error.norm() <= tolerance * expected.norm()


def assert_lse_close(lse: Tensor, expected: Tensor) -> None:
    """-inf in the same places, else 1e-5 apart (of numbers about 1 to 10)."""
    assert lse.dtype == torch.float32
    nothing = expected == -torch.inf
    assert torch.equal(lse == -torch.inf, nothing)
    assert torch.allclose(lse.double()[~nothing], expected[~nothing], rtol=1e-5, atol=1e-5)


def poison(monkeypatch) -> None:
    """torch.empty gives NaN from now on: what a kernel fails to write shows."""
    empty = torch.empty

    def poisoned(*shape, **options):
        x = empty(*shape, **options)
        return x.fill_(float("nan")) if x.is_floating_point() else x.fill_(-(2**30))

    monkeypatch.setattr(torch, "empty", poisoned)


def bad_calls():
    """Names of what can be wrong with the arguments, and functions that make good keyword arguments wrong so."""

    def change(**changes):
        return lambda a: {**a, **{name: f(a) if callable(f) else f for name, f in changes.items()}}

    def change_caches(f):
        return lambda a: {**a, "key_cache": f(a["key_cache"]), "value_cache": f(a["value_cache"])}

    return {
        "q of two axes": change(q=lambda a: a["q"][0]),
        "q of another dtype": change(q=lambda a: a["q"].half()),
        "q of integers": change(q=lambda a: a["q"].int()),
        "q no tensor": change(q=[1.0]),
        "q of another width": change(q=lambda a: a["q"][..., :16]),
        "heads that do not divide": change(q=lambda a: a["q"][:, :3]),
        "another batch": change(q=lambda a: a["q"][:1]),
        "caches of two shapes": change(key_cache=lambda a: a["key_cache"][:2]),
        "caches of two dtypes": change(value_cache=lambda a: a["value_cache"].half()),
        "cache of four axes": change(key_cache=lambda a: a["key_cache"][0]),
        "blocks of 4": change_caches(lambda cache: cache[:, :4]),
        "blocks of 257": change_caches(lambda cache: cache[:1, :1].expand(-1, 257, -1, -1)),
        "caches strided along D": change_caches(
            lambda cache: cache.transpose(1, 3).contiguous().transpose(1, 3)
        ),
        "table of int64": change(block_table=lambda a: a["block_table"].long()),
        "table of another batch": change(block_table=lambda a: a["block_table"][:1]),
        "lengths of int64": change(lengths=lambda a: a["lengths"].long()),
        "lengths a list": change(lengths=[1, 2]),
        "slopes of another H": change(alibi_slopes=lambda a: torch.zeros(3, device=DEVICE)),
        "slopes of another B": change(alibi_slopes=lambda a: torch.zeros(3, 4, device=DEVICE)),
        "slopes of half": change(alibi_slopes=lambda a: torch.zeros(4, device=DEVICE).half()),
        "a window of 0": change(window=0),
        "a window to the right": change(window=(3, 1)),
        "a window of three": change(window=(1, 2, 3)),
        "a window of 1.5": change(window=1.5),
        "scale NaN": change(scale=float("nan")),
        "scale a string": change(scale="1"),
        "softcap below 0": change(softcap=-1.0),
        "softcap beyond float32": change(softcap=1e39),
        "return_lse 1": change(return_lse=1),
    }
