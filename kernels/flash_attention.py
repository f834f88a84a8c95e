"""Flash attention (플래시 어텐션): exact attention whose memory grows with T, not with T².

    O = softmax(scale · Q Kᵀ + bias) V

`flash_attention_plain` is the formula, with every score in memory. `flash_attention` computes the same in tiles that
never leave the chip (flash_forward.py) and works the weights out again for the gradients (flash_backward.py): at
T = 16,384 the formula writes and reads 1 GB of scores a head in float32, the kernels 64 kB of log-sum-exps.
`flash_attention_varlen` takes sequences of different lengths packed one behind the other, without padding.
The forward pass is read here, down to the launch (`forward`), and in flash_forward.py, the kernel.

Book 8.2 (효율적인 트랜스포머 연산). Papers: Dao et al. 2022 and Dao 2023 (FlashAttention, FlashAttention-2), Ainslie
et al. 2023 (grouped heads), Press et al. 2022 (ALiBi), Gemma 2 2024 (soft cap). Held against torch's
scaled_dot_product_attention; arguments as in the flash-attn package, with heads before positions. Leaves out:
dropout, arbitrary masks, gradients of the slopes, second derivatives.
"""

from __future__ import annotations

import contextvars

import torch
from torch import Tensor

from kernels import flash_forward
from kernels._checks import FLOATS, capability, check_int, check_launch, check_tensor, describe
from kernels._flash_launch import (
    FARTHEST,
    check_inputs,
    check_starts,
    cut,
    lend_scratch,
    options_of,
    padded,
    programs_of,
    ready,
    room_like,
    section_of,
    slope_step,
    strides,
    width_of,
)
from kernels.flash_backward import backward
from kernels.flash_forward import scores_in_base_2


def flash_attention_plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    scale: float | None = None,
    window: tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The formula, with all T x S scores in memory, in float32 (float64 if q is); arguments as in flash_attention."""
    left, right, scale, softcap = options_of(q, causal, scale, window, softcap, return_lse)
    check_inputs(q, k, v, "B {} T D", alibi_slopes, (*FLOATS, torch.float64))
    (B, H, T, D), (_, K, S, _) = q.shape, k.shape
    wide = torch.promote_types(q.dtype, torch.float32)
    grouped, k, v = q.to(wide).reshape(B, K, H // K, T, D), k.to(wide).unsqueeze(2), v.to(wide).unsqueeze(2)
    # scores = scale · Q Kᵀ, capped: c · tanh(scores / c)
    scores = (scale * (grouped @ k.transpose(-2, -1))).reshape(B, H, T, S)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    # distance of query i from key j, when the last query stands on the last key: i + S - T - j
    i, j = torch.arange(T, device=q.device)[:, None], torch.arange(S, device=q.device)
    distance = i + S - T - j  # (T, S)
    if alibi_slopes is not None:
        scores = scores - alibi_slopes.to(wide).reshape(-1, H, 1, 1) * distance.abs()
    seen = torch.ones_like(distance, dtype=torch.bool)
    if left >= 0:
        seen = seen & (distance <= left)
    if right >= 0:
        seen = seen & (distance >= -right)
    # lse = log Σ exp(scores), P = exp(scores - lse), O = P V
    blind = ~seen.any(-1, keepdim=True)  # queries that see no key: O = 0 and lse = -inf, put in at the end
    lse = torch.logsumexp(scores.masked_fill(~(seen | blind), -torch.inf), -1, keepdim=True)
    weights = torch.exp(scores - lse).masked_fill(~seen, 0.0)
    out = (weights.reshape(B, K, H // K, T, S) @ v).reshape(B, H, T, D).to(q.dtype)
    return (out, lse.masked_fill(blind, -torch.inf).squeeze(-1)) if return_lse else out


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    scale: float | None = None,
    window: tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """softmax(scale · Q Kᵀ + bias) V in tiles, with gradients for q, k and v.

    q: (B, H, T, D); k, v: (B, K, S, D), H a multiple of K, D from 1 to 256, all float16, bfloat16 or float32. Query
    i stands at position i + S - T among the keys, so that the last query stands on the last key. causal: it sees
    keys up to its position. window: (left, right), it sees `left` keys before and `right` after its position as
    well, -1 for all (causal cuts right to 0). scale: factor on q · k, 1/√D by default. softcap: c > 0 turns scores
    into c · tanh(score / c). alibi_slopes: float32 (H,) or (B, H), takes slope · |distance| off each score; no
    gradient. Returns (B, H, T, D) in q's dtype; with return_lse also the natural logarithm of each row's sum of
    exponentials, float32 (B, H, T), which may be differentiated, too. A query that sees no key: 0, lse -inf and
    gradients 0. A sequence's result is the same, bit for bit, in any batch. Raises ValueError for what does not fit,
    and on GPUs older than the A100 (compute capability 8.0).
    """
    left, right, scale, softcap = options_of(q, causal, scale, window, softcap, return_lse)
    check_inputs(q, k, v, "B {} T D", alibi_slopes)
    out, lse = _attention(
        q, k, v, alibi_slopes, None, None, q.shape[2], k.shape[2], scale, left, right, softcap
    )
    return (out, lse) if return_lse else out


def flash_attention_varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    causal: bool = False,
    scale: float | None = None,
    window: tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """flash_attention of N sequences packed one behind the other, each attending only to itself.

    q: (total_q, H, D); k, v: (total_k, K, D). cu_seqlens_q, cu_seqlens_k: int32 (N + 1,), rows cu[n] to cu[n + 1] - 1
    are sequence n; from 0 to total, never falling (empty sequences are fine). max_seqlen_q, max_seqlen_k: at least
    the longest sequence's length, and not much more: every sequence is given programs for that many rows. On a GPU
    the numbers in cu_seqlens are not read back to be checked, as that would wait for the GPU: wrong ones give wrong
    rows, never a touch beyond the tensors. alibi_slopes: (H,) or (N, H). The rest as in flash_attention; returns
    (total_q, H, D), and with return_lse float32 (H, total_q).
    """
    check_tensor("q", q, "T H D")
    left, right, scale, softcap = options_of(q, causal, scale, window, softcap, return_lse)
    for name, starts in (("cu_seqlens_q", cu_seqlens_q), ("cu_seqlens_k", cu_seqlens_k)):
        check_tensor(name, starts, "N+1", (torch.int32,), like=q)
        if starts.shape != cu_seqlens_q.shape or starts.shape[0] == 0:
            raise ValueError(
                "cu_seqlens_q and cu_seqlens_k must both hold N + 1 numbers, "
                f"got {describe(cu_seqlens_q)} and {describe(cu_seqlens_k)}"
            )
    longest_q = check_int("max_seqlen_q", max_seqlen_q, 0, FARTHEST - 1)
    longest_k = check_int("max_seqlen_k", max_seqlen_k, 0, FARTHEST - 1)
    check_inputs(q, k, v, "T {} D", alibi_slopes, sequences=cu_seqlens_q.shape[0] - 1)
    # a careless guess, such as the model's longest text, launches no more than one sequence of everything would
    longest = min(longest_q, q.shape[0]), min(longest_k, k.shape[0])
    out, lse = _attention(
        q, k, v, alibi_slopes, cu_seqlens_q, cu_seqlens_k, *longest, scale, left, right, softcap
    )
    return (out, lse) if return_lse else out


def flash_attention_varlen_plain(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int,
    causal: bool = False, scale: float | None = None, window: tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None, softcap: float = 0.0, return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """`flash_attention_plain` of one sequence after the other; arguments as in `flash_attention_varlen`."""
    starts_q, starts_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    outs, lses = [], []
    for n in range(len(starts_q) - 1):
        rows, keys = slice(*starts_q[n : n + 2]), slice(*starts_k[n : n + 2])
        one = [x.transpose(0, 1)[None] for x in (q[rows], k[keys], v[keys])]  # (1, heads, T, D)
        slopes = alibi_slopes[n] if alibi_slopes is not None and alibi_slopes.ndim == 2 else alibi_slopes
        out, lse = flash_attention_plain(*one, causal, scale, window, slopes, softcap, return_lse=True)
        outs.append(out[0].transpose(0, 1))
        lses.append(lse[0])
    out, lse = (
        torch.cat([q[:0], *outs]),
        torch.cat([q.new_empty(q.shape[1], 0, dtype=torch.float32), *lses], dim=1),
    )
    return (out, lse) if return_lse else out


def outputs(q: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the output, like q, and for the log-sum-exp, (B, H, T) or packed (H, total)."""
    rows = q.shape[:3] if q.ndim == 4 else (q.shape[1], q.shape[0])
    return room_like(q), q.new_empty(rows, dtype=torch.float32)


def forward(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None, starts_q: Tensor | None, starts_k: Tensor | None,
    longest_q: int, longest_k: int, scale: float, left: int, right: int, softcap: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Launch: (output like q, log-sum-exp (B, H, T) or packed (H, total) in float32). The caller has checked.

    q, k, v as (B, heads, length, D), or packed as (total, heads, D) with the sequences' starts. left, right: how far
    a query sees, -1 = to the end.
    """
    if q.shape[-1] % 8:
        out, lse = forward(
            *padded(q, k, v), slopes, starts_q, starts_k, longest_q, longest_k, scale, left, right, softcap
        )
        return cut(out, q), lse
    packed = starts_q is not None
    out, lse = outputs(q)
    q, k, v = ready(q), ready(k), ready(v)
    sequences, D = (starts_q.numel() - 1 if packed else q.shape[0]), q.shape[-1]
    heads, group = q.shape[1], q.shape[1] // k.shape[1]
    chosen = flash_forward.settings(width_of(D), q.dtype, capability(q), slopes is not None)
    programs, tiles = programs_of(sequences * heads, longest_q, chosen["BLOCK_M"])
    if programs == 0:
        return out, lse

    def launch() -> None:
        lend_scratch(q)
        flash_forward.forward_kernel[(programs,)](
            q, k, v, out, lse, slopes, starts_q, starts_k,
            *strides(q), *strides(k), *strides(v), *strides(out),
            0 if packed else lse.stride(0), lse.stride(-2), slope_step(slopes),
            q.shape[0], k.shape[0], sequences, heads, group, longest_q, longest_k, tiles,
            section_of(sequences * heads, group, longest_k, k),
            *scores_in_base_2(scale, softcap), left, right,
            D=D, WIDTH=width_of(D), SOFTCAP=softcap > 0,
            FOLDED=scale > 1e-30 and slopes is None and softcap == 0,  # in float32 a smaller one may be 0: 0 · -inf
            HAS_LEFT=left >= 0, HAS_RIGHT=right >= 0, **chosen,
        )  # fmt: skip

    # Triton keeps the lender of scratch memory in a context variable: ours ends with this context
    with torch.cuda.device_of(q):
        contextvars.copy_context().run(launch)
    return out, lse


# The kernels as torch operators: torch.compile keeps them whole instead of tracing into the launch

_CALL = (
    "Tensor? slopes, Tensor? starts_q, Tensor? starts_k, SymInt longest_q, SymInt longest_k, "
    "float scale, int left, int right, float softcap"
)


@torch.library.custom_op(
    "minillm_kernels::flash_attention",
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, {_CALL}) -> (Tensor, Tensor)",
)
def _attention(q, k, v, slopes, starts_q, starts_k, longest_q, longest_k, *options):
    check_launch(q, k, v, slopes, starts_q, starts_k)
    if capability(q) < (8, 0):
        raise ValueError(f"the kernel is made for GPUs from compute capability 8.0 on, got {capability(q)}")
    if starts_q is not None:
        check_starts("q", starts_q, longest_q, q.shape[0])
        check_starts("k", starts_k, longest_k, k.shape[0])
    slopes, starts_q, starts_k = (None if x is None else x.contiguous() for x in (slopes, starts_q, starts_k))
    return forward(q, k, v, slopes, starts_q, starts_k, longest_q, longest_k, *options)


@_attention.register_fake
def _(q, k, v, *rest):
    return outputs(q)


@torch.library.custom_op(
    "minillm_kernels::flash_attention_backward", mutates_args=(),
    schema=f"(Tensor dout, Tensor? dlse, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, {_CALL}) "
    "-> (Tensor, Tensor, Tensor)",
)  # fmt: skip
def _attention_backward(dout, dlse, q, k, v, out, lse, slopes, starts_q, starts_k, *options):
    lse, dlse, slopes, starts_q, starts_k = (
        None if x is None else x.contiguous() for x in (lse, dlse, slopes, starts_q, starts_k)
    )
    return backward(dout, dlse, q, k, v, out, lse, slopes, starts_q, starts_k, *options)


@_attention_backward.register_fake
def _(dout, dlse, q, k, v, *rest):
    return tuple(room_like(x) for x in (q, k, v))


def _save(ctx, inputs, output) -> None:
    q, k, v, slopes, starts_q, starts_k, *ctx.options = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output, slopes, starts_q, starts_k)


def _gradients(ctx, dout, dlse):
    q, k, v, out, lse, slopes, starts_q, starts_k = ctx.saved_tensors
    if dout is None:
        dout = torch.zeros_like(out)
    grads = _attention_backward(dout, dlse, q, k, v, out, lse, slopes, starts_q, starts_k, *ctx.options)
    return (*grads, *(None,) * 9)


def _no_second_derivative(ctx, *grads):
    raise RuntimeError("flash_attention has no second derivative; flash_attention_plain has")


_attention.register_autograd(_gradients, setup_context=_save)
_attention_backward.register_autograd(_no_second_derivative)
