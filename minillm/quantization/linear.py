"""Linear layers whose weights stay small in memory: codes and scales, turned into numbers while they are used.

    int8     y_o = scale_o * sum_i x_i * code_oi                       one scale a row of the weight
    4 bit    y_o = sum over blocks b of scale_ob * sum_i x_i * codebook[code_oi]

Only weights are quantized; inputs, sums and outputs stay floats. Generating one token reads every weight once, so
at batch 1 a quarter of the bytes is a gain in speed too, if unpacking them is cheap: for int8 it is.

On a GPU the Triton kernels of kernels/ take over (`minillm._kernels.use_kernels`); there int8 layers round their
inputs to int8 as well, except in columns with outliers, and multiply int8 with int8 (LLM.int8).

Book: 5.5 QLoRA, 7.2 양자화로 모델 용량 줄이기. Papers: Dettmers et al. 2022 (LLM.int8), 2023 (QLoRA).
Held against: a float layer with the dequantized weight. Leaves out: int8 products on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm._kernels import Kernel, autocast_dtype, register
from minillm.quantization.absmax import AbsmaxQuantized, absmax_quantize
from minillm.quantization.blockwise import BlockwiseQuantized, blockwise_quantize
from minillm.quantization.codebooks import NF4_CODEBOOK

FEW_ROWS = 8  # up to so many rows of x the weights are read as codes; above, turning them into floats pays


def kernel_takes(x: Tensor, layer: QuantizedLinear) -> bool:
    """Whether the kernel of a layer's kind takes x: without autocast or a gradient, both of which the plain way has."""
    plain = autocast_dtype(x) is not None or (x.requires_grad and torch.is_grad_enabled())
    return not plain and layer.kernel_fits()


class QuantizedLinear(nn.Module):
    """What the two layers share: a frozen weight behind `dequantize()`, and y = x W^T + bias."""

    bias: Tensor | None
    product: Kernel  # (x, layer) -> y: a kernel of kernels/, or forward_torch where it does not run

    def __init__(self, in_features: int, out_features: int, bias: Tensor | None) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, 1)
        self.out_features = check_int("out_features", out_features, 1)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def dequantize(self) -> Tensor:
        """The weight as floats, float32 (out_features, in_features)."""
        raise NotImplementedError

    def few_rows(self, x: Tensor) -> Tensor:
        """x (R, in_features) contiguous float32 -> (R, out_features), straight from the codes."""
        raise NotImplementedError

    def kernel_fits(self) -> bool:
        """Whether `product` takes a layer of this size and form."""
        raise NotImplementedError

    def forward_plain(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features) in the dtype of x: dequantize, then multiply."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.dequantize().to(x.dtype), bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same, by a kernel of kernels/ where it runs. ValueError if x is no float tensor (..., in_features)."""
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.shape[-1:] != (self.in_features,):
            raise ValueError(f"x must be a float tensor (..., {self.in_features}), got {describe(x)}")
        return self.product(x, self)

    def forward_torch(self, x: Tensor) -> Tensor:
        """The same without kernels/. Fast on a CPU because a few rows (generation) multiply codes in one pass over a
        quarter of the bytes."""
        rows = x.numel() // self.in_features
        compiled = (
            x.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        )
        if not compiled or not 0 < rows <= FEW_ROWS or (x.requires_grad and torch.is_grad_enabled()):
            return self.forward_plain(x)
        y = self.few_rows(x.detach().reshape(rows, self.in_features).contiguous())
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Int8Linear(QuantizedLinear):
    """8 bits a weight and a float32 scale a row. Buffers: codes int8 (O, I), scale float32 (O, 1).

    threshold: on a GPU, columns of x with values as large as this stay floats (LLM.int8's 6.0). 0: none do.
    """

    codes: Tensor
    scale: Tensor
    threshold: float = 6.0

    def __init__(self, quantized: AbsmaxQuantized, bias: Tensor | None = None) -> None:
        super().__init__(quantized.codes.shape[1], quantized.codes.shape[0], bias)
        self.register_buffer("codes", quantized.codes)
        self.register_buffer("scale", quantized.scale)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """The layer with the weights of `linear`, rounded."""
        return cls(absmax_quantize(linear.weight, axis=-1), linear.bias)

    def kernel_fits(self) -> bool:
        return self.in_features < 2**17  # from there on int32 does not hold every sum of products of codes

    def dequantize(self) -> Tensor:
        return AbsmaxQuantized(self.codes, self.scale).dequantize()

    def forward_plain(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O): multiply with the codes, then scale O sums instead of O x I weights.

        Not in float16, where sums of codes overflow and scales are too small to be exact.
        """
        if torch.float16 in (x.dtype, autocast_dtype(x)):
            return super().forward_plain(x)
        sums = F.linear(x, self.codes.to(x.dtype))  # autocast may choose another dtype than x's
        y = sums * self.scale.view(-1).to(sums.dtype)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def few_rows(self, x: Tensor) -> Tensor:
        if self.scale.dtype != torch.float32:
            return F.linear(x, self.dequantize().to(x.dtype))
        y = torch.empty(len(x), self.out_features)
        _int8_rows(x.numpy(), self.codes.numpy(), self.scale.view(-1).numpy(), y.numpy())
        return y


class FourBitLinear(QuantizedLinear):
    """4 bits a weight and a float32 scale a block of `block_size`, laid out as packing.py says.

    Buffers: codes uint8 (O, ceil(I / 2)), scales float32 (O, ceil(I / block_size)), codebook float32 (16,).
    """

    codes: Tensor
    scales: Tensor
    codebook: Tensor

    def __init__(self, quantized: BlockwiseQuantized, bias: Tensor | None = None) -> None:
        super().__init__(quantized.shape[1], quantized.shape[0], bias)
        self.block_size = quantized.block_size
        self.register_buffer("codes", quantized.codes)
        self.register_buffer("scales", quantized.scales)
        self.register_buffer("codebook", quantized.codebook.clone())

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, block_size: int = 64, codebook: Tensor = NF4_CODEBOOK
    ) -> FourBitLinear:
        """The layer with the weights of `linear`, rounded to the codebook of at most 16 entries."""
        if len(codebook) > 16:
            raise ValueError(f"4 bits count to 16, got a codebook of {len(codebook)}")
        return cls(blockwise_quantize(linear.weight, block_size, codebook), linear.bias)

    def kernel_fits(self) -> bool:
        whole = self.block_size % 16 == 0 or self.block_size >= self.in_features
        return self.in_features % 2 == 0 and whole and len(self.codebook) == 16

    @property
    def _compiled(self) -> bool:
        """Whether the compiled loops apply: they read whole bytes, two weights at a time, on a CPU."""
        even = self.in_features % 2 == 0 and self.block_size % 2 == 0
        return even and self.scales.device.type == "cpu" and self.scales.dtype == torch.float32

    def dequantize(self) -> Tensor:
        shape = (self.out_features, self.in_features)
        if not self._compiled:
            return BlockwiseQuantized(
                self.codes, self.scales, self.codebook, self.block_size, shape
            ).dequantize()
        weight = torch.empty(shape)
        arrays = (self.codes.numpy(), self.scales.numpy(), self.codebook.numpy(), self.block_size // 2)
        _unpack_rows(*arrays, weight.numpy())
        return weight

    def few_rows(self, x: Tensor) -> Tensor:
        if not self._compiled:
            return F.linear(x, self.dequantize())
        y = torch.empty(len(x), self.out_features)
        arrays = (self.codes.numpy(), self.scales.numpy(), self.codebook.numpy(), self.block_size // 2)
        _four_bit_rows(x.numpy(), *arrays, y.numpy())
        return y

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, block_size={self.block_size}"


def _int8_kernel(kernel: Callable[..., Tensor], x: Tensor, layer: Int8Linear) -> Tensor:
    return kernel(x, layer.codes, layer.scale.float(), layer.bias, layer.threshold)


def _four_bit_kernel(kernel: Callable[..., Tensor], x: Tensor, layer: FourBitLinear) -> Tensor:
    scales = layer.scales if layer.scales.dtype == x.dtype else layer.scales.float()
    codebook = layer.codebook.float()
    return kernel(x, layer.codes, scales, layer.block_size, codebook=codebook, bias=layer.bias)


def by_torch(x: Tensor, layer: QuantizedLinear) -> Tensor:
    return layer.forward_torch(x)


Int8Linear.product = register(
    "int8_linear", "kernels.int8_matmul:int8_linear", kernel_takes, by_torch, _int8_kernel, auto=True
)
FourBitLinear.product = register(
    "w4a16_linear", "kernels.w4a16:w4a16_linear", kernel_takes, by_torch, _four_bit_kernel, auto=True
)


# Sums in any order (fastmath) let the compiler use wide registers; there are no NaNs in codes or scales to lose.


@njit(cache=True, fastmath=True, nogil=True)
def _dot_rows(x, row, scale, y, o):  # pragma: no cover
    """y[r, o] = scale * x[r] . row for every row of x."""
    for r in range(x.shape[0]):
        total = np.float32(0)
        for i in range(row.size):
            total += x[r, i] * row[i]
        y[r, o] = total * scale


@njit(cache=True, fastmath=True, nogil=True)
def _int8_rows(x, codes, scale, y):  # pragma: no cover
    row = np.empty(codes.shape[1], np.float32)
    for o in range(codes.shape[0]):
        for i in range(row.size):
            row[i] = codes[o, i]
        _dot_rows(x, row, scale[o], y, o)


@njit(cache=True, fastmath=True, nogil=True)
def _unpack_row(codes, scales, codebook, half, row):  # pragma: no cover
    for b in range(scales.size):
        for j in range(b * half, min(codes.size, (b + 1) * half)):
            byte = np.uint32(codes[j])
            # unsigned indices spare the test for negative ones, which would keep the loop scalar
            row[2 * j] = codebook[np.uintp(byte >> np.uint32(4))] * scales[b]
            row[2 * j + 1] = codebook[np.uintp(byte & np.uint32(15))] * scales[b]


@njit(cache=True, fastmath=True, nogil=True)
def _four_bit_rows(x, codes, scales, codebook, half, y):  # pragma: no cover
    row = np.empty(2 * codes.shape[1], np.float32)
    for o in range(codes.shape[0]):
        _unpack_row(codes[o], scales[o], codebook, half, row)
        _dot_rows(x, row, np.float32(1), y, o)


@njit(cache=True, fastmath=True, nogil=True)
def _unpack_rows(codes, scales, codebook, half, weight):  # pragma: no cover
    for o in range(codes.shape[0]):
        _unpack_row(codes[o], scales[o], codebook, half, weight[o])
