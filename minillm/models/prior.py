"""The prior of DALL-E 2 (unCLIP): which image embedding goes with this text? A diffusion model over vectors.

    x_0 = sqrt(D) z_i / |z_i|                    CLIP's vector of a picture, its numbers as large as the noise's
    h <- h + W_2 silu(W_1 (norm(h) + e)),        e = time(t) + W z_t           (one block of the network)
    loss = mean (network(x_t, t, z_t) - x_0)²    it says x_0 itself: the paper found that better than the noise

Many pictures fit one text, so many embeddings do: the prior draws one of them. The same network, asked once with no
picture at all (x = 0 at the last step), can only say their mean: that is the regression, the baseline of equal cost.

Book: 14.3.2 DALL-E 모델. Paper: Ramesh et al. 2022, "Hierarchical Text-Conditional Image Generation with CLIP
Latents", section 2.2. Sampling: inference/unclip.py. Held against closed forms where the best answer is known, and a
step of its chain against diffusers' UnCLIPScheduler. Left out: the paper's Transformer (it also reads the text's
tokens), its autoregressive prior, learned variances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.denoiser import (
    Denoiser,
    check_drop,
    check_dtype,
    check_steps,
    check_time_width,
    time_features,
)
from minillm.nn import LayerNorm


@dataclass(frozen=True)
class PriorConfig:
    """Sizes. dim: of CLIP's common space, D."""

    dim: int = 64
    width: int = 112
    blocks: int = 3
    time_width: int = 32

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        for name in ("dim", "width", "blocks"):
            check_int(name, getattr(self, name), 1)
        check_time_width(self.time_width)


def at_noise_scale(vectors: Tensor) -> Tensor:
    """Vectors (N, D) of any length, made sqrt(D) long: then the mean square of their numbers is 1, as the noise's.

    ValueError for one that is zero or not finite: it has no direction.
    """
    check_directions("vectors", vectors)
    return F.normalize(vectors, dim=1) * vectors.shape[1] ** 0.5


def check_vectors(name: str, vectors: Tensor, width: int | None = None) -> Tensor:
    """`vectors` if they are floats (N, D), at least one, and D is `width`."""
    right = isinstance(vectors, Tensor) and vectors.dim() == 2 and vectors.is_floating_point()
    if not right or not vectors.numel() or (width is not None and vectors.shape[1] != width):
        raise ValueError(f"{name} must be floats (N, {width or 'D'}), got {describe(vectors)}")
    return vectors


def check_directions(name: str, vectors: Tensor, width: int | None = None) -> Tensor:
    """`vectors` if they are floats (N, D) and each has a length that is neither 0 nor infinite."""
    lengths = check_vectors(name, vectors, width).norm(dim=1)
    wrong = ~((lengths > 1e-12) & (lengths < float("inf")))  # NaN is neither
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"{name} must have a direction each: row {row} has length {float(lengths[row]):g}")
    return vectors


class PriorBlock(nn.Module):
    """A way round two linear layers; what step and text say is added before them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = (
            LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )
        nn.init.zeros_(self.down.weight)  # a new block changes nothing

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return h + self.down(F.silu(self.up(self.norm(h) + emb)))  # (B, width)


class DiffusionPrior(Denoiser):
    """model(x (B, D), t (B,) or a number, condition (B, D) or None, drop=None) -> x_0 (B, D).

    condition: the text's vector at the scale of `at_noise_scale`; rows of `drop` (B,) that are True, and None, are "no
    text", which guidance needs.
    """

    kind, config_class = "diffusion prior", PriorConfig

    def __init__(self, config: PriorConfig, seed: int = 0) -> None:
        super().__init__(config)
        width = config.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_int("seed", seed, 0))
            self.time, self.text = nn.Linear(config.time_width, width), nn.Linear(config.dim, width)
            self.null = nn.Parameter(torch.zeros(width))
            self.enter = nn.Linear(config.dim, width)
            self.blocks = nn.ModuleList(PriorBlock(width) for _ in range(config.blocks))
            self.norm, self.leave = LayerNorm(width), nn.Linear(width, config.dim)

    def forward(
        self, x: Tensor, t: Tensor | int, condition: Tensor | None = None, drop: Tensor | None = None
    ) -> Tensor:
        """The picture's vector that the network sees behind the noisy `x`."""
        check_vectors("x", x, self.config.dim)
        check_dtype("x", x, self.enter.weight)
        if condition is not None and check_vectors("condition", condition, self.config.dim).shape != x.shape:
            raise ValueError(f"condition must have {len(x)} rows, got {describe(condition)}")
        if condition is not None:
            check_dtype("condition", condition, self.text.weight)
        check_drop(drop, len(x))
        return self.core(x, check_steps(t, x), condition, drop)

    def core(self, x: Tensor, t: Tensor, condition: Tensor | None, drop: Tensor | None) -> Tensor:
        """`forward` after its checks."""
        told = self.null if condition is None else self.text(condition)  # (B, width)
        if drop is not None:
            told = torch.where(drop[:, None], self.null, told)
        emb = self.time(time_features(t, self.config.time_width).to(x.dtype)) + told
        h = self.enter(x)  # (B, width)
        for block in self.blocks:
            h = block(h, emb)
        return self.leave(self.norm(h))  # (B, D)
