"""Flash attention in plain torch, with its two loops visible: algorithm 1 of FlashAttention-2.

    for every tile of queries:                   on a GPU, each of these is a program of its own
        for every tile of keys it can see:       the loop inside a program
            scores = scale · Q_i K_jᵀ            (block_q, block_k), and never more than that
            take scores and V_j into the running maximum, sum and output (online_softmax.py)
        divide by the sum, and write the tile of the output

The T x S matrix never exists. A causal mask cuts the inner loop short: tiles above the diagonal are not computed, and
only those that the diagonal crosses need the mask at all.

Book 8.2 (효율적인 트랜스포머 연산). Paper: Dao 2023. Held against F.scaled_dot_product_attention. The Triton kernel of
flash_forward.py is this with pointers. Leaves out: windows, biases, gradients by hand (autograd works, and keeps all).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernels._checks import check_flag, check_int, check_number, check_tensor
from kernels.online_softmax import finished, nothing_seen, take_in

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def tiles_of(
    queries: int, keys: int, block_q: int, block_k: int, causal: bool
) -> list[tuple[int, int, bool]]:
    """The tiles that are computed, as (first query, first key, whether the mask cuts it), in the order of the loops.

    With T != S the last query is aligned with the last key: query i sees the keys up to i + S - T.

    tiles_of(4, 4, 2, 2, causal=True) -> [(0, 0, True), (2, 0, False), (2, 2, True)]
    """
    found = []
    for i in range(0, queries, block_q):
        first_sees = i + keys - queries  # the last key that the tile's first query sees
        last_sees = min(i + block_q, queries) - 1 + keys - queries
        for j in range(0, min(keys, last_sees + 1) if causal else keys, block_k):
            found.append((i, j, causal and first_sees < min(j + block_k, keys) - 1))
    return found


def check_qkv(q: Tensor, k: Tensor, v: Tensor) -> None:
    """ValueError unless q (B, H, T, D) and k, v (B, K, S, D) belong together."""
    check_tensor("q", q, "B H T D", FLOATS)
    for name, x in (("k", k), ("v", v)):
        check_tensor(name, x, "B K S D", (q.dtype,), like=q)
    (B, H, _, D), K = q.shape, k.shape[1]
    if k.shape != v.shape or k.shape[0] != B or k.shape[3] != D or D == 0 or K == 0 or H % K:
        raise ValueError(
            "q (B, H, T, D) needs k and v (B, K, S, D) with H divisible by K, "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )


def flash_attention_tiled(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_q: int = 64,
    block_k: int = 64,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """softmax(scale · Q Kᵀ) V, tile by tile -> (output (B, H, T, D) in q's dtype, log-sum-exp (B, H, T)).

    q: float (B, H, T, D); k, v: (B, K, S, D), H divisible by K: query heads share key heads in groups. causal: the
    last query sees the last key. scale: 1/√D by default. A query that sees nothing gives zeros and -inf. The sums and
    the log-sum-exp are float32, or float64 for float64 inputs. Raises ValueError for shapes or dtypes that do not fit.
    """
    check_qkv(q, k, v)
    (B, H, T, D), K = q.shape, k.shape[1]
    block_q, block_k = check_int("block_q", block_q, 1), check_int("block_k", block_k, 1)
    causal = check_flag("causal", causal)
    scale = 1 / math.sqrt(D) if scale is None else check_number("scale", scale)
    if T == 0:
        return torch.empty_like(q), q.new_empty((B, H, 0), dtype=torch.promote_types(q.dtype, torch.float32))
    wide = torch.promote_types(q.dtype, torch.float32)
    # the G = H/K heads of a group meet their key head by broadcasting
    grouped = q.reshape(B, K, H // K, T, D).to(wide)  # (B, K, G, T, D)
    keys, values = k.unsqueeze(2).to(wide), v.unsqueeze(2).to(wide)  # (B, K, 1, S, D)
    out, lse = walk(grouped, keys, values, block_q, block_k, causal, scale)
    return out.reshape(B, H, T, D).to(q.dtype), lse.reshape(B, H, T)


def walk(
    q: Tensor, k: Tensor, v: Tensor, block_q: int, block_k: int, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """The two loops: q (..., T, D), k and v (..., S, D) -> output (..., T, D), log-sum-exp (..., T). T at least 1."""
    T, S = q.shape[-2], k.shape[-2]
    tiles = tiles_of(T, S, block_q, block_k, causal)
    outputs, sums = [], []
    for i in range(0, T, block_q):
        q_tile = q[..., i : i + block_q, :]  # (..., block_q, D), stays
        state = nothing_seen(q_tile[..., :0], v[..., None, :0, :])  # one row a query: (..., block_q)
        for _, j, masked in (tile for tile in tiles if tile[0] == i):
            k_tile = k[..., j : j + block_k, :]  # (..., block_k, D), passes by
            v_tile = v[..., j : j + block_k, :]
            scores = scale * (q_tile @ k_tile.transpose(-2, -1))  # (..., block_q, block_k)
            if masked:
                scores = hide_later(scores, i + S - T - j)
            state = take_in(state, scores, v_tile.unsqueeze(-3))
        output, lse = finished(state)
        outputs.append(output)
        sums.append(lse)
    return torch.cat(outputs, -2), torch.cat(sums, -1)


def hide_later(scores: Tensor, shift: int) -> Tensor:
    """Scores (..., m, n) with -inf where the key comes after the query: row r sees the columns up to r + shift."""
    row = torch.arange(scores.shape[-2], device=scores.device)[:, None]
    column = torch.arange(scores.shape[-1], device=scores.device)
    return scores.masked_fill(column > row + shift, -torch.inf)
