"""Codebooks (코드북): which number each code stands for, when the numbers need not be evenly spaced.

    uniform    evenly spaced, as in absmax
    quantile   each code stands for equally many numbers of a sample: q_i = Q((i + 1/2) / 2^bits)
    NF4        the quantiles of the normal distribution, for weights are nearly normal; with an exact zero

NF4 needs no sample: all it assumes is the bell shape, and block-wise scales bring every block to [-1, 1]. Its zero
costs symmetry: 8 quantiles on the positive side, 7 on the negative, and 0.

Book: 5.5 효율적인 학습 방법(PEFT): QLoRA. Paper: Dettmers et al. 2023 (QLoRA), appendix E lists the 16 values.
Held against: that table, and its derivation from scipy's normal quantiles.
"""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor

from minillm._checks import check_int
from minillm.quantization.absmax import finite_floats

# fmt: off
NF4_CODEBOOK = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # (16,) float32, as printed in the paper
# fmt: on


def normal_codebook(bits: int = 4) -> Tensor:
    """The normal-float codebook of `bits` (2 to 8), float32 (2^bits,), ascending from -1 to 1, with an exact 0.

    The outermost probability is the mean of 1 - 1/30 and 1 - 1/32, the middle of the last bin of 15 and of 16.
    For 4 bits this is NF4_CODEBOOK. Source: QLoRA, section 3 and the authors' published derivation.
    """
    half = 2 ** (check_int("bits", bits, 2, 8) - 1)
    outermost = 1 - (1 / (2 * (2 * half - 1)) + 1 / (4 * half)) / 2
    quantile = NormalDist().inv_cdf
    # evenly spaced probabilities from the outermost to 1/2 (left out: it would be a second zero)
    positive = [quantile(outermost + (0.5 - outermost) * i / half) for i in range(half)]
    negative = [-quantile(outermost + (0.5 - outermost) * i / (half - 1)) for i in range(half - 1)]
    values = torch.tensor(sorted([*positive, *negative, 0.0]), dtype=torch.float64)
    return (values / values.max()).float()


def quantile_codebook(x: Tensor, bits: int = 4) -> Tensor:
    """Codebook of `bits` (2 to 8) fitted to the numbers of a float tensor: float32 (2^bits,), ascending.

    Scaled so that max|x| = 1, as block-wise quantization needs. Values repeat if the numbers of x do.
    Source: QLoRA, equation 1, with the median of each bin. ValueError as in `absmax_quantize`.
    """
    x = finite_floats("x", x).flatten()
    size = 2 ** check_int("bits", bits, 2, 8)
    largest = x.abs().max()
    ordered = (x / largest if largest > 0 else x).sort().values.double()
    # Q(p): straight lines between the sorted numbers
    place = (torch.arange(size, dtype=torch.float64, device=x.device) + 0.5) / size * (len(ordered) - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], place - below).float()


def uniform_codebook(bits: int = 4) -> Tensor:
    """Evenly spaced codes, float32 (2^bits,): code c stands for (c - h) / (h - 1) with h = 2^(bits-1).

    The first code, below -1, stays unused, as the code -128 does in int8. ValueError for bits outside 2 to 8.
    """
    half = 2 ** (check_int("bits", bits, 2, 8) - 1)
    return torch.arange(-half, half).float() / (half - 1)
