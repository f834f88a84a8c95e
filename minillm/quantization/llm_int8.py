"""LLM.int8: inputs become int8, too, except in the few columns where they are huge.

    outlier columns H = those i with |x_ni| >= 6 in some row n
    y_no = Σ_{i in H} x_ni w_oi  +  a_n s_o Σ_{i not in H} code(x)_ni · code(w)_oi
    a_n  = max_{i not in H} |x_ni| / 127,    s_o = max_i |w_oi| / 127            "vector-wise": a scale a row of each

Large language models have a handful of columns (features, 특성) whose inputs are twenty times the others. One of them
makes a_n so large that the other inputs of the row round to nothing. Such columns (이상치 열) keep their 16 or 32 bits.
Which they are, only x tells: so the weight keeps codes for all columns, and those of H are opened, as in bitsandbytes.
A row's result depends a little on the rows beside it, for they choose H together.

Book: 7.2.1 비츠앤바이츠. Paper: Dettmers et al. 2022 (LLM.int8), equation 8. Held against bitsandbytes and numpy.
Leaves out: int8 instructions of a CPU; codes are multiplied as floats here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minillm._checks import check_number, describe
from minillm.quantization.absmax import SMALLEST, AbsmaxQuantized, absmax_quantize
from minillm.quantization.linear import Int8Linear

THRESHOLD = 6.0  # the paper's


def outlier_columns(x: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """bool (I,): the columns of x (N, I) that hold a value as large as the threshold. 0 means none.

    ValueError for other shapes, and for a threshold below 0.
    """
    _check_rows(x), check_number("threshold", threshold, 0)
    return (x.abs() >= threshold).any(dim=0) & (threshold > 0)


def vectorwise_product(x: Tensor, weight: AbsmaxQuantized, threshold: float = THRESHOLD) -> Tensor:
    """y (N, O), float32, of x (N, I) and a weight (O, I) with a scale a row: the equation on top, step by step.

    ValueError for sizes that do not belong together, no rows, and NaN in x.
    """
    _check_product(x, weight)
    outlier = outlier_columns(x, threshold)
    # code(x): int8, the outlier columns left out
    a = absmax_quantize(x.masked_fill(outlier, 0), axis=-1)
    # sums of products of codes are whole numbers: float64 holds them exactly
    sums = a.codes.double() @ weight.codes.double().T
    y = sums.float() * a.scale * weight.scale.T
    # the outlier columns: as they are
    return y + x[:, outlier].float() @ weight.dequantize()[:, outlier].T


def _check_rows(x: Tensor) -> None:
    if not isinstance(x, Tensor) or x.ndim != 2:
        raise ValueError(f"x must be a tensor (N, I), got {describe(x)}")


def _check_product(x: Tensor, weight: AbsmaxQuantized) -> None:
    _check_rows(x)
    if not isinstance(weight, AbsmaxQuantized) or weight.codes.ndim != 2:
        raise ValueError(f"weight must be a matrix (O, I) that absmax_quantize gave, got {describe(weight)}")
    outputs, inputs = weight.codes.shape
    if weight.scale.ndim == 2 and weight.scale.shape != (outputs, 1):
        raise ValueError(f"weight must have a scale a row (axis=-1), got scales {tuple(weight.scale.shape)}")
    if x.shape[1] != inputs:
        raise ValueError(f"x must have the weight's {inputs} columns, got {describe(x)}")


def rounded_inputs(x: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """x (N, I) with its rows rounded to int8 and back, outlier columns untouched: float32.

    Multiplied with the opened weight this is `vectorwise_product`. A row with NaN stays NaN.
    """
    outlier, x = outlier_columns(x, threshold), x.float()
    ordinary = x.masked_fill(outlier, 0)
    scale = (ordinary.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=SMALLEST)
    return torch.where(outlier, x, torch.round(ordinary / scale) * scale)


class LLMInt8Linear(Int8Linear):
    """`Int8Linear` whose inputs are rounded, too. Buffers: codes int8 (O, I), scale float32 (O, 1).

    threshold: inputs from this size on make their column an outlier column; 0 rounds all columns. Gradients pass the
    rounding unchanged. On a GPU the kernel of kernels/int8_matmul.py multiplies int8 with int8.
    """

    def __init__(
        self, quantized: AbsmaxQuantized, bias: Tensor | None = None, threshold: float = THRESHOLD
    ) -> None:
        super().__init__(quantized, bias)
        self.threshold = float(check_number("threshold", threshold, minimum=0))

    @classmethod
    def from_linear(cls, linear: nn.Linear, threshold: float = THRESHOLD) -> LLMInt8Linear:
        """The layer with the weights of `linear`, rounded."""
        return cls(absmax_quantize(linear.weight, axis=-1), linear.bias, threshold)

    def forward_torch(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O): the rounded inputs through the loops of `Int8Linear`, which read the codes once."""
        rounded = rounded_inputs(x.detach().reshape(-1, self.in_features), self.threshold)
        rounded = rounded.view(x.shape).to(x.dtype)
        if x.requires_grad and torch.is_grad_enabled():
            rounded = x + (rounded - x).detach()
        return super().forward_torch(rounded)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, threshold={self.threshold:g}"
