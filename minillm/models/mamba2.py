"""Mamba-2 (맘바 2): one decay a head instead of one a channel and state, so that the scan is products of matrices.

    [z, x, B, C, Δ] = W_in x;   x, B, C = silu(conv(...));   y = norm((ssd(x, Δ, A, B, C) + D x) silu(z));   W_out y

All that chooses comes from the first projection; x, B and C pass the convolution together; G groups of heads share B
and C; a norm stands before the last projection. Book 16.4 맘바. Paper: Dao and Gu 2024. Held against transformers'
Mamba2ForCausalLM: the same logits on the same weights, folders both ways. Differs in one place: transformers bounds Δ
by time_step_limit for many tokens but not for a single one; here always, so that steps are the scan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.decoder import CausalLM
from minillm.models.mamba import (
    OLDER,
    MambaBlock,
    MambaBody,
    StateSpaceConfig,
    draw_around,
    first_steps,
)
from minillm.nn.blocks import ACTIVATIONS
from minillm.nn.mamba import causal_conv
from minillm.nn.ssd import ssd_chunked, ssd_loop


@dataclass
class Mamba2Config(StateSpaceConfig):
    """transformers' Mamba2Config: same names, same sizes. num_heads · head_dim is expand · hidden_size (D)."""

    model_types: ClassVar[tuple[str, ...]] = ("mamba2",)

    num_heads: int = 128
    head_dim: int = 64
    vocab_size: int = 32768
    hidden_size: int = 4096
    state_size: int = 128
    num_hidden_layers: int = 64
    n_groups: int = 8
    time_step_limit: Sequence[float] = (0.0, math.inf)
    chunk_size: int = 256
    tie_word_embeddings: bool = False
    model_type: str = "mamba2"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Mamba2Config:
        """As ModelConfig.from_dict; ids that the file leaves out are transformers' 1, 0 and 2."""
        if isinstance(values, Mapping):
            values = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **values}
        return super().from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """As ModelConfig.to_dict; infinity as transformers writes it, for JSON has none."""
        limit = [one if math.isfinite(one) else {"__float__": "Infinity"} for one in self.time_step_limit]
        return super().to_dict() | {"time_step_limit": limit}

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        super().__post_init__()
        for name in ("num_heads", "head_dim", "n_groups", "chunk_size"):
            check_int(name, getattr(self, name), 1)
        if self.num_heads * self.head_dim != self.expand * self.hidden_size:
            raise ValueError(
                f"num_heads · head_dim must be expand · hidden_size, got {self.num_heads} · {self.head_dim} and "
                f"{self.expand} · {self.hidden_size}"
            )
        if self.num_heads % self.n_groups:
            raise ValueError(
                f"num_heads must be divisible by n_groups, got {self.num_heads} and {self.n_groups}"
            )
        self.time_step_limit = check_limit(self.time_step_limit)

    @property
    def intermediate_size(self) -> int:
        """D, the width inside a layer."""
        return self.num_heads * self.head_dim


def check_limit(limit: Any) -> list[float]:
    """Two bounds of Δ, the second may be infinite, as transformers writes it, too; ValueError for anything else."""
    try:
        low, high = (float(one["__float__"] if isinstance(one, dict) else one) for one in limit)
    except (TypeError, ValueError, KeyError):
        raise ValueError(f"time_step_limit must be two numbers, got {describe(limit)}") from None
    if not 0 <= low <= high:  # NaN fails, too
        raise ValueError(f"time_step_limit must be two rising numbers from 0 on, got {describe(limit)}")
    return [low, high]


class GatedRMSNorm(nn.Module):
    """RMS norm of x · silu(gate), each of `groups` parts of the width (..., D) for itself, with a weight (D,)."""

    def __init__(self, width: int, groups: int, eps: float):
        super().__init__()
        self.groups, self.eps = check_int("groups", groups, 1), eps
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """x, gate (..., D) -> (..., D) in x's dtype."""
        wide = torch.promote_types(x.dtype, torch.float32)
        y = (x.to(wide) * F.silu(gate.to(wide))).unflatten(-1, (self.groups, -1))
        y = y * torch.rsqrt(y.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * y.flatten(-2).to(x.dtype)


class Mamba2Mixer(nn.Module):
    """What a Mamba-2 layer does: x (B, T, C), a state (conv (B, K-1, D + 2GN), h (B, H, P, N)) in, both out."""

    def __init__(self, config: Mamba2Config):
        super().__init__()
        self.config = config
        C, D, H = config.hidden_size, config.intermediate_size, config.num_heads
        self.mixed = D + 2 * config.n_groups * config.state_size  # what passes the convolution: x, B, C
        self.in_proj = nn.Linear(C, D + self.mixed + H, bias=config.use_bias)
        self.conv_weight = nn.Parameter(torch.empty(self.mixed, 1, config.conv_kernel))
        self.conv_bias = nn.Parameter(torch.empty(self.mixed)) if config.use_conv_bias else None
        self.dt_bias, self.A_log, self.D = (nn.Parameter(torch.empty(H)) for _ in range(3))
        self.norm = GatedRMSNorm(D, config.n_groups, config.layer_norm_epsilon)
        self.out_proj = nn.Linear(D, C, bias=config.use_bias)
        self.activation = ACTIVATIONS[config.hidden_act]

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """First weights, as transformers draws them: A = -1..-H, one a head."""
        self.A_log.copy_(torch.arange(1, len(self.A_log) + 1).float().log())
        self.D.fill_(1.0), self.norm.weight.fill_(1.0)
        self.dt_bias.copy_(first_steps(len(self.D), self.config, generator))
        draw_around(self, generator)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (B, T, C) -> (B, T, C) and the state after the last token; state None: zeros."""
        c, D = self.config, self.config.intermediate_size
        conv, h = self.zeros(x) if state is None else state
        z, mixed, dt = self.in_proj(x).split([D, self.mixed, c.num_heads], dim=-1)
        mixed, conv = causal_conv(mixed, self.conv_weight[:, 0], self.conv_bias, conv)
        GN = c.n_groups * c.state_size
        u, B, C = self.activation(mixed).to(h.dtype).split([D, GN, GN], dim=-1)
        u = u.unflatten(-1, (c.num_heads, c.head_dim))  # (B, T, H, P)
        B, C = (one.unflatten(-1, (c.n_groups, c.state_size)) for one in (B, C))  # (B, T, G, N)
        dt = F.softplus(dt.to(h.dtype) + self.dt_bias).clamp(*c.time_step_limit)
        ssd = ssd_loop if x.shape[1] == 1 else ssd_chunked
        y, h = ssd(u, dt, -torch.exp(self.A_log.to(h.dtype)), B, C, h)
        y = (y + self.D[:, None] * u).flatten(-2).to(x.dtype)
        return self.out_proj(self.norm(y, z)), (conv.contiguous(), h)

    def zeros(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The state before the first token."""
        c, wide = self.config, torch.promote_types(self.A_log.dtype, torch.float32)
        conv = x.new_zeros(len(x), c.conv_kernel - 1, self.mixed)
        return conv, x.new_zeros(len(x), c.num_heads, c.head_dim, c.state_size, dtype=wide)


class Mamba2Block(MambaBlock):
    """x + mixer(norm(x)): x (B, T, C) and a state in, both out."""

    mixer_class = Mamba2Mixer


class Mamba2Body(MambaBody):
    """Mamba-2 without its output layer: ids -> hidden states."""

    config_class, block_class = Mamba2Config, Mamba2Block

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "Mamba2Model"

    def state_shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Of each layer (K-1, D + 2GN) and, in float32 at least, (H, P, N)."""
        c, wide = self.config, torch.promote_types(self.tokens.weight.dtype, torch.float32)
        mixed = c.intermediate_size + 2 * c.n_groups * c.state_size
        shapes = [
            ((c.conv_kernel - 1, mixed), self.tokens.weight.dtype),
            ((c.num_heads, c.head_dim, c.state_size), wide),
        ]
        return shapes * c.num_hidden_layers


class Mamba2(CausalLM):
    """A Mamba-2 language model: `Mamba2(config, seed)`, `Mamba2.from_pretrained(folder)`, `model(ids).logits`."""

    config_class, body_class = Mamba2Config, Mamba2Body
    older_names = OLDER

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "Mamba2ForCausalLM"
