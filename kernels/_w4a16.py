"""What the two W4A16 kernels share: the formula in plain torch, the checks, and the gradient.

    y_o = Σ_i x_i · w_oi + bias_o        w_oi = codebook[code_oi] · scale_og    or    (code_oi - zero_og) · scale_og

with g = i // group_size: every group of a row has a scale of its own (블록 단위 양자화). How codes lie in their bytes,
two a byte with the earlier one in the high half, is written down in minillm/quantization/packing.py; the tests hold
the kernels against what minillm's own `blockwise_quantize` and `pack_codes` make.

Book 7.2 양자화로 모델 용량 줄이기, 5.5 효율적인 학습 방법(PEFT): QLoRA. Papers: Frantar et al. 2022 (GPTQ: codes with
zero points), Dettmers et al. 2023 (QLoRA: a codebook). Leaves out: scales that are quantized themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels._checks import FLOATS, check_int, check_tensor, describe

SYMMETRIC = 8.0  # the code that stands for zero where no zero points are given
ALIGNED = 32  # columns: a row of weights is then a multiple of 16 bytes, and every load can be 16 bytes wide


def dequantize(
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None = None,
    codebook: Tensor | None = None,
) -> Tensor:
    """The weight as numbers: packed uint8 (O, I / 2) -> float32 (O, I). Arguments as in `w4a16_linear`."""
    columns = 2 * packed.shape[1]
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).flatten(-2)  # (O, I), the high half first

    def spread(a_group: Tensor) -> Tensor:
        return a_group.float().repeat_interleave(group_size, dim=1)[:, :columns]  # (O, I)

    # w = codebook[code] · scale, or (code - zero) · scale
    if codebook is not None:
        return codebook[codes.int()] * spread(scales)
    return (codes.float() - (SYMMETRIC if zeros is None else spread(zeros))) * spread(scales)


def w4a16_plain(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None = None,
    codebook: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """x (..., I) -> (..., O) in the dtype of x: turn the whole weight into numbers, then multiply."""
    weight = dequantize(packed, scales, group_size, zeros, codebook).to(x.dtype)
    return F.linear(x, weight, None if bias is None else bias.to(x.dtype))


def check_arguments(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None,
    codebook: Tensor | None,
    bias: Tensor | None,
) -> int:
    """The group size to work with (I at most), or a ValueError that says what does not fit."""
    if not isinstance(x, Tensor) or x.ndim == 0 or x.dtype not in FLOATS:
        raise ValueError(f"x must be a float16, bfloat16 or float32 tensor (..., I), got {describe(x)}")
    check_tensor("packed", packed, "O I/2", (torch.uint8,), like=x)
    if x.shape[-1] != 2 * packed.shape[1]:
        raise ValueError(
            f"packed holds two codes a byte, so x (..., I) needs packed (O, I / 2) with an even I, "
            f"got x {tuple(x.shape)} and packed {tuple(packed.shape)}"
        )
    check_int("group_size", group_size, 1)
    if group_size % 16 and group_size < x.shape[-1]:
        raise ValueError(
            f"group_size must be a multiple of 16, or I = {x.shape[-1]} or more, got {group_size}"
        )
    check_tensor("scales", scales, "O groups", FLOATS, like=x)
    check_a_row("scales", scales, packed, x.shape[-1], group_size)
    if scales.dtype not in (torch.float32, x.dtype):
        raise ValueError(
            f"scales must be float32 or of the dtype of x, got {describe(scales)} for {describe(x)}"
        )
    if zeros is not None:
        check_tensor("zeros", zeros, "O groups", (*FLOATS, torch.uint8), like=x)
        check_a_row("zeros", zeros, packed, x.shape[-1], group_size)
    if codebook is not None:
        check_tensor("codebook", codebook, "16", (torch.float32,), like=x)
        if len(codebook) != 16 or zeros is not None:
            raise ValueError(f"a codebook has 16 values and no zeros beside it, got {describe(codebook)}")
    if bias is not None:
        check_tensor("bias", bias, "O", FLOATS, like=x)
        if len(bias) != len(packed):
            raise ValueError(
                f"bias must have a value a row of packed {tuple(packed.shape)}, got {describe(bias)}"
            )
    return min(group_size, max(x.shape[-1], 1))


def check_a_row(name: str, value: Tensor, packed: Tensor, columns: int, group_size: int) -> None:
    """ValueError unless `value` has a number for each group of each row of the weight."""
    expected = (len(packed), -(-columns // group_size))
    if tuple(value.shape) != expected:
        raise ValueError(
            f"{name} must be (O, ceil(I / group_size)) = {expected} for packed {tuple(packed.shape)} "
            f"in groups of {group_size}, got {tuple(value.shape)}"
        )


def aligned(x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
    """x (M, I) and packed (O, I / 2) with rows of whole 16 bytes, zeros added where I is no multiple of 32.

    The widths of real layers are multiples of 32; others cost a copy of the weight a call, which is still cheaper
    than reading it byte by byte.
    """
    missing = -x.shape[1] % ALIGNED
    if missing:
        x, packed = F.pad(x, (0, missing)), F.pad(packed, (0, missing // 2))
    # a copy only where rows are not dense, or start where 16 bytes cannot be loaded at once
    if x.stride(1) != 1 or x.stride(0) % ALIGNED or x.data_ptr() % 16:
        x = x.clone(memory_format=torch.contiguous_format)
    if not packed.is_contiguous() or packed.data_ptr() % 16:
        packed = packed.clone(memory_format=torch.contiguous_format)
    return x, packed


def dense(value: Tensor | None) -> Tensor | None:
    """Scales, zero points, codebook or bias as the kernels read them: one after another, and as floats.

    Codes of zero points become floats here, for reading them a byte at a time would be slow.
    """
    if value is None:
        return None
    return (value.float() if value.dtype == torch.uint8 else value).contiguous()


def fake(x, packed, scales, group_size, zeros, codebook, bias):
    """The output's shape and dtype, for torch.compile: (M, O) like x."""
    return torch.empty(x.shape[0], packed.shape[0], dtype=x.dtype, device=x.device)


def nothing_to_sum(y: Tensor, bias: Tensor | None) -> Tensor:
    """y (M, O) where there are no rows, no output features, or no columns to sum over."""
    return y.zero_() if bias is None else y.copy_(bias)


def setup_context(ctx, inputs, output):
    """Keep the small weight, never the float one."""
    x, packed, scales, ctx.group_size, zeros, codebook, bias = inputs
    ctx.like = x.dtype, None if bias is None else bias.dtype
    ctx.save_for_backward(packed, scales, zeros, codebook)


def backward(ctx, g):
    """∂L/∂x = g W and ∂L/∂bias = Σ_rows g, in plain torch: QLoRA's gradients. Codes and scales are frozen."""
    packed, scales, zeros, codebook = ctx.saved_tensors
    dx = dbias = None
    if ctx.needs_input_grad[0]:
        dx = g @ dequantize(packed, scales, ctx.group_size, zeros, codebook).to(ctx.like[0])
    if ctx.needs_input_grad[6]:
        dbias = g.sum(dim=0).to(ctx.like[1])
    return dx, None, None, None, None, None, dbias
