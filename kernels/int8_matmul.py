"""int8 x int8 matrix product (8비트 행렬 곱), and LLM.int8's linear layer on top of it.

    y_mo = a_scale_m · b_scale_o · Σ_i a_mi · b_oi + bias_o        codes a, b: int8; their sum: int32, exact

The tensor cores multiply int8 twice as fast as bfloat16, and codes are half the bytes. Scaling the sums afterwards in
torch would write and read the int32 matrix: 8 bytes a number more than the result. Here sums leave the registers
scaled. Codes for the rows of x come from quantize_rows.py.

Book 7.2 양자화로 모델 용량 줄이기. Paper: Dettmers et al. 2022 (LLM.int8). Held against the exact int64 product and, in
design, torch._int_mm. Leaves out: asymmetric codes (a zero point would add a row and a column sum).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import (
    FLOATS,
    INTERPRETED,
    capability,
    check_launch,
    check_number,
    check_tensor,
    describe,
)
from kernels._rows import count_rows
from kernels.quantize_rows import quantize_rows, quantize_rows_plain

__all__ = ["int8_linear", "int8_linear_plain", "int8_matmul", "int8_matmul_plain", "quantize_rows"]

WIDEST = 2**17 - 1  # columns: (-128)·(-128)·2^17 = 2^31 would be the first sum that int32 cannot hold
ALIGNED = 16  # columns: 16 bytes of codes
OUTLIERS = (
    32  # columns kept as floats at most: models of 7 to 13 billion weights have about 7 (LLM.int8, section 4)
)


# The product


def int8_matmul_plain(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """a (M, I), b (O, I) -> (M, O). float64 holds every sum of codes exactly, and every device multiplies it."""
    # y = a_scale · b_scale · Σ_i a_i · b_i + bias
    y = (a.double() @ b.double().T).float() * a_scale.view(-1, 1) * b_scale.view(1, -1)
    return (y if bias is None else y + bias.float()).to(out_dtype or torch.float32)


@triton.jit
def tile_of(program, M, O, BLOCK_M: tl.constexpr, BLOCK_O: tl.constexpr):
    """The output features (BLOCK_O,) and rows (BLOCK_M,) of a program's tile.

    Programs that run side by side share tiles of both operands in the L2 cache: 8 tiles of features, then the next
    rows; when all rows are through, the next 8.
    """
    tiles_m, tiles_o = tl.cdiv(M, BLOCK_M), tl.cdiv(O, BLOCK_O)
    band, within = program // (8 * tiles_m), program % (8 * tiles_m)
    height = tl.minimum(tiles_o - band * 8, 8)
    o = (band * 8 + within % height) * BLOCK_O + tl.arange(0, BLOCK_O)
    return o, (within // height) * BLOCK_M + tl.arange(0, BLOCK_M)


@triton.jit
def _int8_matmul_kernel(
    a_ptr, b_ptr, a_scale_ptr, b_scale_ptr, bias_ptr, y_ptr, M, O, I, a_stride, b_stride,
    EVEN: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    o, m = tile_of(tl.program_id(0), M, O, BLOCK_M, BLOCK_O)
    i = tl.arange(0, BLOCK_I)
    # rows past the end read the last one again and are not stored: cheaper than masks in the loop
    b_tile = b_ptr + tl.minimum(o, O - 1).to(tl.int64)[:, None] * b_stride + i[None, :]  # (BLOCK_O, BLOCK_I)
    a_tile = a_ptr + tl.minimum(m, M - 1).to(tl.int64)[None, :] * a_stride + i[:, None]  # (BLOCK_I, BLOCK_M)
    sums = tl.zeros((BLOCK_O, BLOCK_M), dtype=tl.int32)
    for start in range(0, I, BLOCK_I):
        if EVEN:
            a, b = tl.load(a_tile + start), tl.load(b_tile + start)
        else:
            a = tl.load(a_tile + start, mask=(start + i < I)[:, None], other=0)
            b = tl.load(b_tile + start, mask=(start + i < I)[None, :], other=0)
        # yᵀ = b aᵀ: the tensor cores take 64 rows or more on the left, 8 or more on the right, where M may be small
        sums = tl.dot(b, a, sums, out_dtype=tl.int32)
    a_scale = tl.load(a_scale_ptr + m, mask=m < M, other=0.0)[None, :]
    b_scale = tl.load(b_scale_ptr + o, mask=o < O, other=0.0)[:, None]
    y = sums.to(tl.float32) * a_scale * b_scale
    if bias_ptr is not None:
        y += tl.load(bias_ptr + o, mask=o < O, other=0.0).to(tl.float32)[:, None]
    y_tile = y_ptr + m.to(tl.int64)[None, :] * O + o[:, None]
    tl.store(y_tile, y.to(y_ptr.dtype.element_ty), mask=(o < O)[:, None] & (m < M)[None, :])


def settings(M: int, O: int, hopper: bool, interpreted: bool = INTERPRETED) -> dict[str, int]:
    """Tiles, warps and stages. Few rows: reading b is the work, so 64 output features a program and deep loads."""
    if interpreted:
        return {"BLOCK_M": 16, "BLOCK_O": 32, "BLOCK_I": 64, "num_warps": 4, "num_stages": 2}
    if M <= 64:
        rows = max(16, triton.next_power_of_2(M))
        return {"BLOCK_M": rows, "BLOCK_O": 64, "BLOCK_I": 256, "num_warps": 4, "num_stages": 4}
    # 256 x 128 sums a tile fit in registers where wgmma (sm_90) or tcgen05 (sm_100) take the operands from shared
    # memory, and fill a card of 132 processors if there are as many
    full = hopper and triton.cdiv(M, 256) * triton.cdiv(O, 128) >= 132
    return {"BLOCK_M": 256 if full else 128, "BLOCK_O": 128, "BLOCK_I": 128, "num_warps": 8, "num_stages": 3}


def _dense(codes: Tensor) -> Tensor:
    """Rows that start on 16 bytes, so that every load can be that wide; zeros added where 16 does not divide I."""
    missing = -codes.shape[1] % ALIGNED
    if missing:
        return F.pad(codes, (0, missing)).contiguous()
    if codes.stride(1) != 1 or codes.stride(0) % ALIGNED or codes.data_ptr() % 16:
        return codes.clone(memory_format=torch.contiguous_format)
    return codes


@torch.library.custom_op("minillm_kernels::int8_matmul", mutates_args=())
def _int8_matmul(
    a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, bias: Tensor | None, out_dtype: torch.dtype
) -> Tensor:
    y = _int8_matmul_fake(a, b, a_scale, b_scale, bias, out_dtype)
    if y.numel():
        check_launch(a, b, a_scale, b_scale, bias)
        a, b = _dense(a), _dense(b)
        (M, I), O = a.shape, len(b)
        chosen = settings(M, O, capability(a)[0] in (9, 10))
        tiles = triton.cdiv(M, chosen["BLOCK_M"]) * triton.cdiv(O, chosen["BLOCK_O"])
        with torch.cuda.device_of(a):
            _int8_matmul_kernel[(tiles,)](
                a, b, a_scale.contiguous(), b_scale.contiguous(), None if bias is None else bias.contiguous(), y,
                M, O, I, a.stride(0), b.stride(0), EVEN=I % chosen["BLOCK_I"] == 0, **chosen,
            )  # fmt: skip
    return y


@_int8_matmul.register_fake
def _int8_matmul_fake(a, b, a_scale, b_scale, bias, out_dtype):
    return torch.empty(a.shape[0], b.shape[0], dtype=out_dtype, device=a.device)


def _check_scale(name: str, scale: Tensor, codes: Tensor, codes_name: str) -> Tensor:
    """`scale` as (rows,), if it has one float32 number a row of `codes`."""
    if not isinstance(scale, Tensor) or scale.dtype != torch.float32 or scale.device != codes.device:
        raise ValueError(f"{name} must be a float32 tensor on {codes.device}, got {describe(scale)}")
    if tuple(scale.shape) not in ((len(codes),), (len(codes), 1)):
        raise ValueError(
            f"{name} must have a number a row of {codes_name} {tuple(codes.shape)}, got {describe(scale)}"
        )
    return scale.reshape(-1)


def int8_matmul(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """y = a_scale · b_scale · (a bᵀ) + bias, (M, O).

    a: int8 (M, I); b: int8 (O, I), a row an output feature as in nn.Linear; any strides, any codes from -128 on,
    fastest if 16 divides I; I up to 131,071, where no sum can leave int32. a_scale: float32 (M,) or (M, 1);
    b_scale: float32 (O,) or (O, 1); bias: float (O,). out_dtype: float16, bfloat16 or float32 (None). The sums of
    codes are exact; scales and bias work in float32. Not differentiable. ValueError for what does not fit.
    """
    check_tensor("a", a, "M I", (torch.int8,))
    check_tensor("b", b, "O I", (torch.int8,), like=a)
    if a.shape[1] != b.shape[1] or a.shape[1] > WIDEST:
        raise ValueError(
            f"a (M, I) and b (O, I) must share I, at most {WIDEST}, got a {tuple(a.shape)} and b {tuple(b.shape)}"
        )
    a_scale, b_scale = _check_scale("a_scale", a_scale, a, "a"), _check_scale("b_scale", b_scale, b, "b")
    if bias is not None:
        check_tensor("bias", bias, "O", like=a)
        if len(bias) != len(b):
            raise ValueError(f"bias must have a value a row of b {tuple(b.shape)}, got {describe(bias)}")
    if out_dtype not in (None, *FLOATS):
        raise ValueError(f"out_dtype must be float16, bfloat16, float32 or None, got {describe(out_dtype)}")
    return _int8_matmul(a, b, a_scale, b_scale, bias, out_dtype or torch.float32)


# LLM.int8


def int8_linear_plain(
    x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None = None, threshold: float = 0.0
) -> Tensor:
    """x (..., I) -> (..., O): the columns with outliers as floats, the rest as codes (LLM.int8, equation 8)."""
    rows = x.reshape(count_rows(x), x.shape[-1]).float()
    outlier = (rows.abs() >= threshold).any(dim=0) & (threshold > 0)
    if outlier.sum() > OUTLIERS:
        order = rows.abs().amax(dim=0).argsort(descending=True)
        outlier[order[OUTLIERS:]] = False
    a, a_scale = quantize_rows_plain(rows.masked_fill(outlier, 0.0))
    y = int8_matmul_plain(a, codes, a_scale, scale, bias)
    y = y + rows[:, outlier] @ (codes[:, outlier].float() * scale.view(-1, 1)).T
    return y.to(x.dtype).view(*x.shape[:-1], len(codes))


def int8_linear(
    x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None = None, threshold: float = 0.0
) -> Tensor:
    """y = x (codes · scale)ᵀ + bias with x rounded to int8 row by row: (..., O) in the dtype of x.

    x: (..., I), float16, bfloat16 or float32; codes: int8 (O, I); scale: float32 (O,) or (O, 1); bias: float (O,).
    threshold: columns of x in which any |value| reaches it are multiplied as floats, the OUTLIERS with the largest
    values at most, for one large value in a row coarsens all others (LLM.int8, which takes 6.0). 0 switches that off.
    The host never waits to hear how many they are. Not differentiable. ValueError for what does not fit.
    """
    if not isinstance(x, Tensor) or x.ndim == 0 or x.dtype not in FLOATS:
        raise ValueError(f"x must be a float16, bfloat16 or float32 tensor (..., I), got {describe(x)}")
    check_tensor("codes", codes, "O I", (torch.int8,), like=x)
    if x.shape[-1] != codes.shape[1]:
        raise ValueError(
            f"x (..., I) and codes (O, I) must share I, got {tuple(x.shape)} and {tuple(codes.shape)}"
        )
    scale = _check_scale("scale", scale, codes, "codes")
    check_number("threshold", threshold, minimum=0.0)
    rows = x.detach().reshape(count_rows(x), x.shape[-1])
    if not threshold or not len(rows):
        a, a_scale = quantize_rows(rows)
        y = int8_matmul(a, codes, a_scale, scale, bias, x.dtype)
    else:
        # always as many columns, whether or not they hold outliers: their number would have to come from the GPU
        largest, columns = rows.abs().amax(dim=0).topk(min(OUTLIERS, rows.shape[1]))
        ordinary = largest < threshold  # (n,): these stay codes
        outlier = torch.zeros(rows.shape[1], dtype=torch.bool, device=x.device).scatter_(
            0, columns, ~ordinary
        )
        a, a_scale = quantize_rows(rows.masked_fill(outlier, 0.0))
        # few columns: only there W is turned into floats
        weight = codes[:, columns].float() * scale[:, None]  # (O, n)
        y = int8_matmul(a, codes, a_scale, scale, bias)
        y += rows[:, columns].float().masked_fill(ordinary, 0.0) @ weight.T
    return y.to(x.dtype).view(*x.shape[:-1], len(codes))
