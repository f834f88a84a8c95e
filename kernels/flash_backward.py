"""Flash attention, backward: the gradients of Q, K and V without a T x S matrix, from q, k, v, o and the log-sum-exp.

    P = exp(scale · Q Kᵀ - lse)   dV = Pᵀ dO   dP = dO Vᵀ   dS = P ∘ (dP - δ),  δ = rowsum(O ∘ dO) - dlse
    dQ = scale · dS K             dK = scale · dSᵀ Q

The forward pass kept one number a row (lse) instead of P, so P is worked out again: more products, but T·S numbers
less to write and to read. flash_dq.py owns tiles of queries, flash_dkv.py tiles of keys; the price of sums without
atomics is that both work out P and dP, 7 products instead of 5.

Book 8.2 (효율적인 트랜스포머 연산). Dao 2023, "FlashAttention-2". Leaves out: gradients of the ALiBi slopes.
"""

from __future__ import annotations

import contextvars

import torch
import triton
from torch import Tensor

from kernels import flash_dkv, flash_dq
from kernels._checks import capability
from kernels._flash_launch import (
    cut,
    lend_scratch,
    padded,
    programs_of,
    ready,
    room_like,
    section_of,
    slope_step,
    strides,
    width_of,
)
from kernels.flash_dq import PAD
from kernels.flash_forward import scores_in_base_2


def backward(
    dout: Tensor, dlse: Tensor | None, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
    slopes: Tensor | None, starts_q: Tensor | None, starts_k: Tensor | None,
    longest_q: int, longest_k: int, scale: float, left: int, right: int, softcap: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Launch: (dq, dk, dv) shaped as q, k, v. dlse: the gradient of the log-sum-exp, if that was used.

    Saved for this by the forward pass: q, k, v, out and lse, nothing else of size.
    """
    options = (slopes, starts_q, starts_k, longest_q, longest_k, scale, left, right, softcap)
    if q.shape[-1] % 8:
        wide_dout, *wide = padded(dout, q, k, v, out)
        grads = backward(wide_dout, dlse, *wide, lse, *options)
        return tuple(cut(grad, x) for grad, x in zip(grads, (q, k, v)))
    packed = starts_q is not None
    dq, dk, dv = room_like(q), room_like(k), room_like(v)
    q, k, v, out, dout = (ready(x) for x in (q, k, v, out, dout))
    sequences, D = (starts_q.numel() - 1 if packed else q.shape[0]), q.shape[-1]
    heads, key_heads = q.shape[1], k.shape[1]
    group, width, target = heads // key_heads, width_of(D), capability(q)
    # the workspace, two numbers a row: lse in base 2 and delta, every sequence padded to whole tiles
    places = (
        (q.shape[0] // PAD.value + sequences) * PAD.value
        if packed
        else triton.cdiv(longest_q, PAD.value) * PAD.value
    )
    lse2, delta = q.new_empty((2, 1 if packed else sequences, heads, places), dtype=torch.float32)
    work = (0 if packed else heads * places, places)
    in_base_2 = scores_in_base_2(scale, softcap)
    common = {"D": D, "WIDTH": width, "SOFTCAP": softcap > 0, "HAS_LEFT": left >= 0, "HAS_RIGHT": right >= 0}
    curved = softcap > 0 or slopes is not None
    for_dq = flash_dq.settings(width, q.dtype, target, curved)
    for_dkv = flash_dkv.settings(width, q.dtype, target, curved)
    split = for_dkv.pop("SPLIT")
    if PAD.value % for_dq["BLOCK_M"] or for_dq["BLOCK_M"] % for_dkv["BLOCK_M"]:
        raise ValueError(f"flash_dkv reads whole tiles that flash_dq wrote: got {for_dkv} after {for_dq}")
    programs_q, tiles_q = programs_of(sequences * heads, longest_q, for_dq["BLOCK_M"])
    programs_k, tiles_k = programs_of(sequences * key_heads, longest_k, for_dkv["BLOCK_N"])

    def launch() -> None:
        lend_scratch(q)
        if programs_q:
            flash_dq.dq_kernel[(programs_q,)](
                q, k, v, out, dout, lse, dlse, slopes, starts_q, starts_k, dq, lse2, delta,
                *strides(q), *strides(k), *strides(v), *strides(out), *strides(dout), *strides(dq),
                0 if packed else lse.stride(0), lse.stride(-2), *work, slope_step(slopes), q.shape[0], k.shape[0],
                sequences, heads, group, longest_q, longest_k, tiles_q,
                section_of(sequences * heads, group, longest_k, k), *in_base_2, scale, left, right, **common, **for_dq,
            )  # fmt: skip
        if programs_k:
            for wanted_dk, wanted_dv in ((dk, None), (None, dv)) if split else ((dk, dv),):
                flash_dkv.dkv_kernel[(programs_k,)](
                    q, k, v, dout, slopes, starts_q, starts_k, lse2, delta, wanted_dk, wanted_dv,
                    *strides(q), *strides(k), *strides(v), *strides(dout), *strides(dk), *strides(dv), *work,
                    slope_step(slopes), q.shape[0], k.shape[0], sequences, key_heads, group, longest_q, longest_k,
                    tiles_k, section_of(sequences * key_heads, 1, longest_q * group, q), *in_base_2, scale, left, right,
                    **common, **for_dkv,
                )  # fmt: skip

    with torch.cuda.device_of(q):
        contextvars.copy_context().run(launch)
    return dq, dk, dv
