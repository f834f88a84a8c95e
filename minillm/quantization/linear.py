"""Linear layers whose weights stay small in memory: codes and scales, turned into numbers while they are used.

    int8     y_o = scale_o * sum_i x_i * code_oi                       one scale a row of the weight
    4 bit    codes_linear.py

Only weights are quantized; inputs, sums and outputs stay floats. Generating one token reads every weight once, so
at batch 1 a quarter of the bytes is a gain in speed too. Many rows of x read each weight once as well, but for much
more work: then a few of a layer's rows at a time are turned into floats, which stay in the cache until they are used.

On a GPU the Triton kernels of kernels/ take over (`minillm._kernels.use_kernels`); there int8 layers round their
inputs to int8 as well, except in columns with outliers, and multiply int8 with int8 (LLM.int8).

Book: 5.5 QLoRA, 7.2 양자화로 모델 용량 줄이기. Papers: Dettmers et al. 2022 (LLM.int8), 2023 (QLoRA).
Held against: a float layer with the dequantized weight. Leaves out: int8 products on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minillm._checks import check_int, describe
from minillm._kernels import Kernel, autocast_dtype, register
from minillm.nn.fast_cpu import ONE_DNN, one_dnn_product
from minillm.quantization.absmax import AbsmaxQuantized, absmax_quantize
from minillm.quantization.lookup import LANES
from minillm.quantization.loops import int8_layer

# Up to so many rows of x the weights are read as codes; above, turning them into floats pays. With narrow registers
# these are fewer: measured with 16 lanes and with 8.
FEW_ROWS = LANES or 4
TILE = 512  # rows of the weight that are floats at once: they stay in the cache until they are multiplied


def tile_product(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, I) times a tile of the weight (R, I), in rows or in columns: (N, R)."""
    return one_dnn_product(x, weight) if ONE_DNN else x @ weight.T


def kernel_takes(x: Tensor, layer: QuantizedLinear) -> bool:
    """Whether the kernel of a layer's kind takes x: without autocast or a gradient, both of which the plain way has."""
    plain = autocast_dtype(x) is not None or (x.requires_grad and torch.is_grad_enabled())
    return not plain and layer.kernel_fits()


class QuantizedLinear(nn.Module):
    """What all of them share: a frozen weight behind `dequantize()`, and y = x W^T + bias."""

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

    def few_rows(self, x: Tensor, y: Tensor, count: int) -> None:
        """y (..., out_features) = x (..., in_features) Wᵀ, `count` rows, straight from the codes; both contiguous."""
        raise NotImplementedError

    def many_rows(self, x: Tensor) -> Tensor:
        """x (N, in_features) float32 on the CPU -> (N, out_features), by floats that live in the cache only."""
        return F.linear(x, self.dequantize())

    def has_loops(self) -> bool:
        """Whether `few_rows` takes the layer as it is."""
        return False

    def kernel_fits(self) -> bool:
        """Whether `product` takes a layer of this size and form."""
        raise NotImplementedError

    def forward_plain(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features) in the dtype of x: dequantize, then multiply."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.dequantize().to(x.dtype), bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same, by a kernel of kernels/ where it runs. ValueError if x is no float tensor (..., in_features)."""
        if (
            not isinstance(x, Tensor)
            or not x.is_floating_point()
            or not x.ndim
            or x.shape[-1] != self.in_features
        ):
            raise ValueError(f"x must be a float tensor (..., {self.in_features}), got {describe(x)}")
        return self.product(x, self)

    def forward_torch(self, x: Tensor) -> Tensor:
        """The same without kernels/. Fast on a CPU because one row (generation) is multiplied with the codes in one
        pass over a fraction of the bytes."""
        rows = x.numel() // self.in_features
        plain = x.dtype != torch.float32 or x.device.type != "cpu" or torch.is_autocast_enabled("cpu")
        if x.requires_grad and torch.is_grad_enabled():
            return ThroughCodes.apply(x, self)
        if plain or not rows or not self.has_loops():
            return self.forward_plain(x)
        if rows > FEW_ROWS:
            y = self.many_rows(x.detach().reshape(rows, self.in_features))
            y = y.view(*x.shape[:-1], self.out_features)
        else:
            y = torch.empty(*x.shape[:-1], self.out_features)
            self.few_rows(x.contiguous(), y, rows)
        bias = self._buffers["bias"]
        return y if bias is None else y.add_(bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class ThroughCodes(torch.autograd.Function):
    """y = x Wᵀ + b:   ∂L/∂x = ∂L/∂y · W. W is opened for the way there and again for the way back.

    Autograd by itself would keep the opened weight of every layer until then, and nothing would be saved (QLoRA).
    """

    @staticmethod
    def forward(ctx, x: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        return QuantizedLinear.forward_torch(layer, x)

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor, None]:
        return (outer @ ctx.layer.dequantize().to(outer.dtype)).to(ctx.dtype), None


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

    def has_loops(self) -> bool:
        scale = self._buffers["scale"]  # the short way to a buffer: this is asked for every token
        return scale.dtype == torch.float32 and scale.device.type == "cpu"

    def few_rows(self, x: Tensor, y: Tensor, count: int) -> None:
        held = self._buffers
        where = held["codes"].data_ptr(), held["scale"].data_ptr()
        int8_layer(*where, self.out_features, self.in_features, x.data_ptr(), y.data_ptr(), count)

    def many_rows(self, x: Tensor) -> Tensor:
        y, floats = torch.empty(len(x), self.out_features), torch.empty(TILE, self.in_features)
        for start in range(0, self.out_features, TILE):
            codes = self.codes[start : start + TILE]
            tile = floats[: len(codes)].copy_(codes)
            y[:, start : start + TILE] = tile_product(x, tile)
        return y.mul_(self.scale.view(-1))


def _int8_kernel(kernel: Callable[..., Tensor], x: Tensor, layer: Int8Linear) -> Tensor:
    return kernel(x, layer.codes, layer.scale.float(), layer.bias, layer.threshold)


def by_torch(x: Tensor, layer: QuantizedLinear) -> Tensor:
    return layer.forward_torch(x)


Int8Linear.product = register(
    "int8_linear", "kernels.int8_matmul:int8_linear", kernel_takes, by_torch, _int8_kernel, auto=True
)
