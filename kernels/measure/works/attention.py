"""Attention: flash, forward and backward, in one length and in many; paged decode and prefill; the cache's writes.

Held against torch's scaled_dot_product_attention with its FlashAttention-2 and its cuDNN backend. Paged kernels are
held against the same on a cache that lies in one piece: what paging costs beside never fragmenting memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from kernels.flash_attention import flash_attention, flash_attention_plain, flash_attention_varlen
from kernels.measure.bench_works import (
    Pair,
    Trial,
    Work,
    attention_flops,
    compiled,
    decode_bytes,
    doubled,
    nbytes,
    normal,
    with_gradients,
)
from kernels.paged_attention import paged_attention
from kernels.paged_prefill import paged_prefill
from kernels.store_kv import store_kv

BF16 = torch.bfloat16
# what must be reached at T = 8k to 16k on an H200, TFLOP/s: (head width, causal, backward) -> forward or both passes
FLASH_TARGETS = {
    (128, False, False): 450,
    (128, True, False): 400,
    (64, False, False): 390,
    (64, True, False): 350,
    (128, True, True): 300,
}


def sdpa(backend: SDPBackend, causal: bool, gqa: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """torch's attention with one backend, which fails where that backend cannot do the work."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=gqa)

    return attend


def flash(
    B: int, H: int, K: int, T: int, D: int, causal: bool, backward: bool = False, plain: bool = False
) -> Work:
    """Self-attention of T tokens; heads of width D; K < H: grouped queries. plain: beside torch.compile too."""

    def build(device: str) -> Trial:
        q = normal(B, H, T, D, device=device, seed=1, grad=backward)
        k, v = (normal(B, K, T, D, device=device, seed=seed, grad=backward) for seed in (2, 3))
        upstream = normal(B, H, T, D, device=device, seed=4)

        def both(call: Callable) -> Callable:
            if backward:
                return with_gradients(call, (q, k, v), (upstream,))
            return lambda: call(q, k, v)

        def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return flash_attention(q, k, v, causal=causal)

        def pairs() -> list[Pair]:
            # heads do not see each other: the first key head and its queries are a whole problem of their own
            G = H // K
            part = doubled(q[:1, :G], k[:1, :1].expand(-1, G, -1, -1), v[:1, :1].expand(-1, G, -1, -1))
            attend = sdpa(SDPBackend.MATH, causal, False)
            if not backward:
                return [Pair("out", both(ours)()[:1, :G], attend(*part))]
            got = both(ours)()
            out, dq, dk, dv = with_gradients(attend, part, doubled(upstream[:1, :G]))()
            found = [Pair("out", got[0][:1, :G], out), Pair("dq", got[1][:1, :G], dq)]
            found.append(Pair("dk", got[2][:1, :1], dk.sum(1, keepdim=True)))
            return [*found, Pair("dv", got[3][:1, :1], dv.sum(1, keepdim=True))]

        peers = {
            "sdpa flash": both(sdpa(SDPBackend.FLASH_ATTENTION, causal, K != H)),
            "sdpa cudnn": both(sdpa(SDPBackend.CUDNN_ATTENTION, causal, K != H)),
        }
        if plain:
            peers["torch.compile"] = both(
                compiled(lambda q, k, v: flash_attention_plain(q, k, v, causal=causal), device)
            )
        return Trial(both(ours), peers, pairs)

    targets = {"sdpa flash": 1.2}
    if 8192 <= T <= 16384 and (D, causal, backward) in FLASH_TARGETS:
        targets["TFLOP/s"] = FLASH_TARGETS[D, causal, backward]
    passes = "fwd+bwd" if backward else "fwd"
    mask = "causal" if causal else "full"
    heads = f"H{H}" if K == H else f"H{H} K{K}"
    series = f"{passes} {mask} D{D}" if K == H else ""
    flops = attention_flops(B, H, T, T, D, causal, backward)
    name = f"{passes} {mask} D{D} T{T} B{B} {heads} bf16"
    return Work("flash_attention", name, build, flops, targets=targets, series=series, x=T)


def varlen(lengths: list[int], H: int, D: int) -> Work:
    """Sequences of several lengths in one causal call, packed without padding."""

    def build(device: str) -> Trial:
        q, k, v = (normal(sum(lengths), H, D, device=device, seed=seed) for seed in (1, 2, 3))
        ends = torch.tensor([0, *lengths]).cumsum(0).to(device=device, dtype=torch.int32)
        longest = max(lengths)

        def ours() -> Tensor:
            return flash_attention_varlen(q, k, v, ends, ends, longest, longest, causal=True)

        def torch_varlen() -> Tensor:
            return torch.ops.aten._flash_attention_forward(
                q, k, v, ends, ends, longest, longest, 0.0, True, False
            )[0]

        def pairs() -> list[Pair]:
            found, attend = [], sdpa(SDPBackend.MATH, True, False)
            pieces = [x.split(lengths) for x in (ours(), q, k, v)]
            for number, piece in enumerate(zip(*pieces)):
                out, *part = (x[:, :1].transpose(0, 1)[None] for x in piece)  # (1, 1, T, D)
                found.append(Pair(f"sequence {number}", out, attend(*doubled(*part))))
            return found

        return Trial(ours, {"torch flash varlen": torch_varlen}, pairs)

    flops = sum(attention_flops(1, H, T, T, D, True) for T in lengths)
    name = f"varlen causal D{D} {len(lengths)} sequences, {min(lengths)}-{max(lengths)} tokens, H{H} bf16"
    return Work("flash_attention_varlen", name, build, flops, targets={"torch flash varlen": 1.2})


def paged_cache(lengths: list[int], K: int, D: int, block: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """(key_cache, value_cache, block_table): every sequence's blocks scattered over the whole cache."""
    per_sequence = -(-max(lengths) // block)
    blocks = per_sequence * len(lengths)
    caches = [normal(blocks, block, K, D, device=device, seed=seed) for seed in (2, 3)]
    order = torch.randperm(blocks, generator=torch.Generator().manual_seed(4))
    table = order.to(device=device, dtype=torch.int32).view(len(lengths), per_sequence)
    return caches[0], caches[1], table


def in_one_piece(cache: Tensor, table: Tensor, length: int) -> Tensor:
    """The blocks of every sequence gathered: (B, K, length, D), as an attention without paging holds them."""
    rows = cache[table.long()].flatten(1, 2)  # (B, blocks * block size, K, D)
    return rows[:, :length].transpose(1, 2).contiguous()


def decode(B: int, length: int, H: int, K: int, D: int, block: int, target: bool = False) -> Work:
    """One new token of each of B sequences of `length` tokens."""
    lengths = [length] * B

    def build(device: str) -> Trial:
        q = normal(B, H, D, device=device, seed=1)
        keys, values, table = paged_cache(lengths, K, D, block, device)
        filled = torch.tensor(lengths, device=device, dtype=torch.int32)
        k, v = in_one_piece(keys, table, length), in_one_piece(values, table, length)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q[:, :, None], k, v, enable_gqa=True)[:, :, 0]

        def ours() -> Tensor:
            return paged_attention(q, keys, values, table, filled)

        def gathered() -> Tensor:
            return attend(q, in_one_piece(keys, table, length), in_one_piece(values, table, length))

        def pairs() -> list[Pair]:
            return [Pair("out", ours(), attend(*doubled(q, k, v)))]

        peers = {"sdpa, cache in one piece": lambda: attend(q, k, v), "gather, then sdpa": gathered}
        return Trial(ours, peers, pairs)

    moved = decode_bytes(lengths, H, K, D, BF16)
    name = f"decode B{B} x {length} tokens, H{H} K{K} D{D}, blocks of {block}, bf16"
    targets = {"floor": 0.8} if target else {}
    return Work("paged_attention", name, build, bytes=moved, targets=targets, series="decode", x=B * length)


def prefill(B: int, chunk: int, length: int, H: int, K: int, D: int, block: int) -> Work:
    """The newest `chunk` tokens of each of B sequences of `length` tokens, the older ones cached (chunked prefill)."""

    def build(device: str) -> Trial:
        q = normal(B * chunk, H, D, device=device, seed=1)
        keys, values, table = paged_cache([length] * B, K, D, block, device)
        filled = torch.full((B,), length, device=device, dtype=torch.int32)
        ends = torch.arange(B + 1, device=device, dtype=torch.int32) * chunk
        k, v = in_one_piece(keys, table, length), in_one_piece(values, table, length)
        rows = q.view(B, chunk, H, D).transpose(1, 2)  # (B, H, chunk, D)

        def ours() -> Tensor:
            return paged_prefill(q, keys, values, table, ends, filled, chunk)

        def torch_flash() -> Tensor:
            # the newest token sees the newest key
            return F.scaled_dot_product_attention(
                rows, k, v, attn_mask=causal_lower_right(chunk, length), enable_gqa=True
            )

        def pairs() -> list[Pair]:
            seen = torch.ones(chunk, length, dtype=torch.bool, device=device).tril(length - chunk)
            q1, k1, v1 = doubled(rows[:1, :1], k[:1, :1], v[:1, :1])
            expected = F.scaled_dot_product_attention(q1, k1, v1, attn_mask=seen)
            return [Pair("first head", ours().view(B, chunk, H, D).transpose(1, 2)[:1, :1], expected)]

        return Trial(ours, {"sdpa, cache in one piece": torch_flash}, pairs)

    scores = B * H * (chunk * (length - chunk) + chunk * chunk // 2)
    name = f"prefill B{B} x {chunk} of {length} tokens, H{H} K{K} D{D}, blocks of {block}, bf16"
    return Work("paged_prefill", name, build, flops=4 * D * scores)


def store(N: int, K: int, D: int, block: int) -> Work:
    """Keys and values of N tokens to scattered slots of the cache."""

    def build(device: str) -> Trial:
        k, v = (normal(N, K, D, device=device, seed=seed) for seed in (1, 2))
        caches = [torch.zeros(-(-N // block), block, K, D, device=device, dtype=BF16) for _ in range(2)]
        order = torch.randperm(caches[0].shape[0] * block, generator=torch.Generator().manual_seed(3))[:N]
        slots = order.to(device)

        def ours() -> None:
            store_kv(k, v, caches[0], caches[1], slots)

        def index_put() -> None:
            for cache, x in zip(caches, (k, v)):
                cache.view(-1, K, D)[slots] = x

        def pairs() -> list[Pair]:
            ours()
            return [Pair(n, c.view(-1, K, D)[slots], x.double()) for n, c, x in zip("kv", caches, (k, v))]

        return Trial(ours, {"index_put": index_put}, pairs)

    moved = nbytes(N * K * D, BF16, 4) + 8 * N
    return Work(
        "store_kv", f"{N} tokens, K{K} D{D}, blocks of {block}, bf16", build, bytes=moved, series="store", x=N
    )


def works(size: str) -> list[Work]:
    """B * T is held at 16k tokens, H * D at 2,048: every line does as much, whatever its T."""
    if size == "tiny":
        found = [
            flash(1, 2, K, 48, 32, causal, back, True)
            for K, causal, back in ((2, True, False), (1, False, True))
        ]
        found += [varlen([3, 20, 9], 2, 32), decode(2, 37, 4, 2, 32, 16), prefill(2, 8, 40, 4, 2, 32, 16)]
        return [*found, store(20, 2, 32, 16)]
    if size == "quick":
        found = [flash(2, 16, 16, 8192, 128, causal) for causal in (False, True)]
        found += [flash(2, 32, 32, 8192, 64, True), flash(2, 16, 16, 8192, 128, True, backward=True)]
        return [*found, decode(64, 4096, 32, 8, 128, 16, target=True), store(65536, 8, 128, 16)]
    found = []
    for D in (128, 64):
        for causal in (False, True):
            for T in (1024, 2048, 4096, 8192, 16384):
                found.append(
                    flash(16384 // T, 2048 // D, 2048 // D, T, D, causal, plain=(D, T) == (128, 2048))
                )
    for D, causal, T in (
        (128, True, 2048),
        (128, True, 8192),
        (128, True, 16384),
        (128, False, 8192),
        (64, True, 8192),
    ):
        found.append(flash(16384 // T, 2048 // D, 2048 // D, T, D, causal, backward=True))
    found += [flash(2, 32, 8, 8192, 128, True), flash(2, 32, 8, 8192, 128, True, backward=True)]
    found += [varlen([512, 8192, 1024, 2048, 4096, 300, 212], 16, 128)]
    found += [decode(64, 4096, 32, 8, 128, block, target=block == 16) for block in (16, 64, 256)]
    found += [decode(1, 32768, 32, 8, 128, 16), decode(16, 4096, 32, 32, 128, 16)]
    found += [prefill(1, 2048, 16384, 32, 8, 128, 16), prefill(8, 1024, 4096, 32, 8, 128, 16)]
    return [*found, store(65536, 8, 128, 16)]
