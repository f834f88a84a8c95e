"""Mamba (맘바): a language model of selective state spaces; no attention, no feed-forward layer, no positions.

    x = E[ids];   x = x + mixer(norm(x));   logits = norm(x) Wᵀ
    mixer: [x, z] = W_in x;  u = silu(conv(x));  Δ, B, C of u;  y = (scan(u, Δ, A, B, C) + D u) silu(z);  W_out y

A text's state is (K-1, D) numbers of the convolution and (D, N) of the scan in each layer, however long it is. Book
16.4 맘바, 16.5 코드로 보는 맘바. Paper: Gu and Dao 2023. Held against transformers' MambaForCausalLM: the same logits
on the same weights, folders both ways; step by step against all at once. Leaves out: FalconMamba's extra norms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM
from minillm.models.stateful import Endless, StateBody
from minillm.nn.blocks import ACTIVATIONS, RMSNorm
from minillm.nn.fast_cpu import is_own
from minillm.nn.mamba import causal_conv, mamba_scan, mamba_step, step_takes
from minillm.nn.selection import even_steps


@dataclass
class StateSpaceConfig(Endless, ModelConfig):
    """The fields that transformers' MambaConfig and Mamba2Config share, with Mamba's sizes."""

    vocab_size: int = 50280
    hidden_size: int = 768
    state_size: int = 16
    num_hidden_layers: int = 32
    layer_norm_epsilon: float = 1e-5
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    expand: int | float = 2
    conv_kernel: int = 4
    use_bias: bool = False
    use_conv_bias: bool = True
    hidden_act: str = "silu"
    initializer_range: float = 0.1
    residual_in_fp32: bool = True
    time_step_rank: int | str = "auto"
    time_step_min: float = 0.001
    time_step_max: float = 0.1
    time_step_floor: float = 1e-4
    rescale_prenorm_residual: bool = False
    tie_word_embeddings: bool = True
    model_type: str = ""

    def __post_init__(self) -> None:
        """Fill in the rank of Δ and check every field; ValueError naming the one that is wrong."""
        self._check(
            ("vocab_size", "hidden_size", "state_size", "num_hidden_layers", "conv_kernel"),
            ("bos_token_id", "eos_token_id", "pad_token_id"),
            ("layer_norm_epsilon", "initializer_range", "time_step_floor"),
            "hidden_act",
        )
        for name in ("use_bias", "use_conv_bias", "residual_in_fp32", "rescale_prenorm_residual"):
            check_flag(name, getattr(self, name))
        check_number("expand", self.expand, 1 / self.hidden_size)
        if self.time_step_rank == "auto":
            self.time_step_rank = math.ceil(self.hidden_size / 16)
        check_int("time_step_rank", self.time_step_rank, 1)
        check_number("time_step_min", self.time_step_min, 1e-12)
        check_number("time_step_max", self.time_step_max, self.time_step_min)
        check_choice("model_type", self.model_type, self.model_types)


@dataclass
class MambaConfig(StateSpaceConfig):
    """transformers' MambaConfig: same names, same sizes. intermediate_size (D) is expand · hidden_size."""

    model_types: ClassVar[tuple[str, ...]] = ("mamba",)

    time_step_scale: float = 1.0
    time_step_init_scheme: str = "random"
    model_type: str = "mamba"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MambaConfig:
        """As ModelConfig.from_dict; ids that the file leaves out are 0, as in transformers."""
        if isinstance(values, Mapping):
            values = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, **values}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """As StateSpaceConfig's."""
        super().__post_init__()
        check_number("time_step_scale", self.time_step_scale, 0.0)
        check_choice("time_step_init_scheme", self.time_step_init_scheme, ("random", "constant"))

    @property
    def intermediate_size(self) -> int:
        """D, the width inside a layer."""
        return int(self.expand * self.hidden_size)


def first_steps(count: int, config: Any, generator: torch.Generator | None) -> Tensor:
    """Biases (count,) whose softplus is even in its logarithm between time_step_min and time_step_max."""
    bounds = config.time_step_min, config.time_step_max, config.time_step_floor
    return even_steps(count, *bounds, generator=generator)


class MambaMixer(nn.Module):
    """What a Mamba layer does: x (B, T, C) and a state (conv (B, K-1, D), h (B, D, N)) in, both out."""

    def __init__(self, config: MambaConfig):
        super().__init__()
        self.config = config
        C, D, N, K = config.hidden_size, config.intermediate_size, config.state_size, config.conv_kernel
        self.rank = config.time_step_rank
        self.in_proj = nn.Linear(C, 2 * D, bias=config.use_bias)
        self.conv_weight = nn.Parameter(torch.empty(D, 1, K))
        self.conv_bias = nn.Parameter(torch.empty(D)) if config.use_conv_bias else None
        self.x_proj = nn.Linear(D, self.rank + 2 * N, bias=False)
        self.dt_proj = nn.Linear(self.rank, D)
        self.A_log = nn.Parameter(torch.empty(D, N))
        self.D = nn.Parameter(torch.empty(D))
        self.out_proj = nn.Linear(D, C, bias=config.use_bias)
        self.activation = ACTIVATIONS[config.hidden_act]

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """First weights, as transformers draws them: A = -1..-N in every channel, steps Δ of all sizes."""
        config = self.config
        self.A_log.copy_(torch.arange(1, config.state_size + 1).float().log().expand_as(self.A_log))
        self.D.fill_(1.0)
        bound = self.rank**-0.5 * config.time_step_scale
        if config.time_step_init_scheme == "constant":
            self.dt_proj.weight.fill_(bound)
        else:
            self.dt_proj.weight.uniform_(-bound, bound, generator=generator)
        self.dt_proj.bias.copy_(first_steps(len(self.D), config, generator))
        draw_around(self, generator)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (B, T, C) -> (B, T, C) and the state after the last token; state None: zeros."""
        conv, h = self.zeros(x) if state is None else state
        xz = self.in_proj(x)  # (B, T, 2D)
        u, z = xz.chunk(2, dim=-1)
        u, conv = causal_conv(u, self.conv_weight[:, 0], self.conv_bias, conv)
        u = self.activation(u)
        dt, B, C = self.x_proj(u).split([self.rank, h.shape[2], h.shape[2]], dim=-1)
        A = -torch.exp(self.A_log.float() if self.A_log.dtype != torch.float64 else self.A_log)
        y, h = mamba_scan(u, self.dt_proj(dt), A, B, C, self.D, z, h)
        return self.out_proj(y), (conv.contiguous(), h.contiguous())

    def zeros(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The state before the first token."""
        wide = torch.promote_types(self.A_log.dtype, torch.float32)
        conv = x.new_zeros(len(x), self.conv_weight.shape[2] - 1, len(self.D))
        return conv, x.new_zeros(len(x), *self.A_log.shape, dtype=wide)

    def weights(self) -> tuple[Tensor, ...] | None:
        """What a step of one token reads of this layer; None where it is no plain Mamba layer, or is watched."""
        own = (
            self._parameters | self._modules
        )  # a look-up as an attribute takes longer than a step's arithmetic
        parts = in_proj, x_proj, dt, out_proj = [own[f"{part}_proj"] for part in ("in", "x", "dt", "out")]
        if self.config.hidden_act != "silu" or self.config.use_bias or not all(map(is_plain, parts)):
            return None
        bias = own.get("conv_bias")  # a bias that is None is no parameter
        bias = torch.zeros_like(own["D"]) if bias is None else bias
        conv = (own["conv_weight"][:, 0], bias)
        return (
            in_proj.weight,
            *conv,
            x_proj.weight,
            dt.weight,
            dt.bias,
            own["A_log"],
            own["D"],
            out_proj.weight,
        )


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is torch's linear one and nobody watches or changes what it does."""
    return type(layer) is nn.Linear and unwatched(layer)


def unwatched(module: nn.Module) -> bool:
    """Whether a module does what its class does, and nobody looks on."""
    return not module._forward_hooks and not module._forward_pre_hooks and is_own(module)


def draw_around(mixer: nn.Module, generator: torch.Generator | None) -> None:
    """First weights of the convolution and of the projection out, for Mamba's and Mamba-2's mixers."""
    bound = mixer.conv_weight.shape[2] ** -0.5
    mixer.conv_weight.uniform_(-bound, bound, generator=generator)
    if mixer.conv_bias is not None:
        mixer.conv_bias.zero_()
    bound = mixer.out_proj.in_features**-0.5
    if mixer.config.rescale_prenorm_residual:
        bound /= math.sqrt(mixer.config.num_hidden_layers)
    mixer.out_proj.weight.uniform_(-bound, bound, generator=generator)


class MambaBlock(nn.Module):
    """x + mixer(norm(x)): x (B, T, C) and a state in, both out."""

    mixer_class: ClassVar[type[nn.Module]] = MambaMixer

    def __init__(self, config: Any):
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.mixer = self.mixer_class(config)
        self.wide = config.residual_in_fp32

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (B, T, C) -> (B, T, C), in float32 if the config wants the residual so; and the state."""
        if state is not None and x.shape[1] == 1 and not torch.is_grad_enabled():
            found = self.step(x, *state)
            if found is not None:
                return found
        y, state = self.mixer(self.norm(x.to(self.norm.weight.dtype)), state)
        return (x.to(torch.promote_types(x.dtype, torch.float32)) if self.wide else x) + y, state

    def step(self, x: Tensor, conv: Tensor, h: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]] | None:
        """One token (B, 1, C) by the compiled loop; None where it does not serve."""
        mixer = self.mixer
        if type(mixer) is not MambaMixer or not (unwatched(mixer) and unwatched(self.norm)):
            return None
        weights = mixer.weights()
        if weights is None or not step_takes(x, self.norm.weight, *weights, conv, h):
            return None
        y, conv, h = mamba_step(x[:, 0], (self.norm.weight, *weights), self.norm.eps, conv, h)
        return y[:, None], (conv, h)


BODY_WEIGHTS = (
    Weight("tokens.weight", "embeddings.weight"),
    Weight("blocks.{i}.norm.weight", "layers.{i}.norm.weight"),
    *(
        Weight(f"blocks.{{i}}.mixer.{ours}", f"layers.{{i}}.mixer.{theirs}")
        for ours, theirs in {
            "conv_weight": "conv1d.weight",
            "conv_bias": "conv1d.bias",
            **{
                name: name
                for name in (
                    *(f"{layer}.{part}" for layer in ("in_proj", "out_proj") for part in ("weight", "bias")),
                    *("x_proj.weight", "dt_proj.weight", "dt_proj.bias", "A_log", "D"),  # Mamba's
                    *("dt_bias", "norm.weight"),  # Mamba-2's
                )
            },
        }.items()
    ),
    Weight("norm.weight", "norm_f.weight"),
)
OLDER = {"backbone.embedding.weight": "backbone.embeddings.weight"}


class MambaBody(StateBody):
    """Mamba without its output layer: ids -> hidden states. `MambaBody(config, seed)` or `.from_pretrained(folder)`."""

    config_class, block_class = MambaConfig, MambaBlock
    prefix = "backbone."
    weights, older_names = BODY_WEIGHTS, OLDER

    def build(self, config: Any) -> None:
        """Make the layers, named as the house names them."""
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(self.block_class(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "MambaModel"

    def state_shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Of each layer (K-1, D) and, in float32 at least, (D, N)."""
        c, wide = self.config, torch.promote_types(self.tokens.weight.dtype, torch.float32)
        D = c.intermediate_size
        return [
            ((c.conv_kernel - 1, D), self.tokens.weight.dtype),
            ((D, c.state_size), wide),
        ] * c.num_hidden_layers

    def run(
        self, x: Tensor, states: Sequence[Tensor] | None, hidden: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """As StateBody's."""
        after: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            x, state = block(x, None if states is None else (states[2 * i], states[2 * i + 1]))
            after += state
            if hidden is not None:
                hidden.append(x)
        x = self.norm(x.to(self.norm.weight.dtype))
        if hidden is not None:
            hidden.append(x)
        return x, after


class Mamba(CausalLM):
    """A Mamba language model: `Mamba(config, seed)`, `Mamba.from_pretrained(folder)`, `model(ids).logits`."""

    config_class, body_class = MambaConfig, MambaBody
    older_names = OLDER

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "MambaForCausalLM"
