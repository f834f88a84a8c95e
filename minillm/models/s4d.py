"""S4D as a language model: layers that mix tokens by a convolution and channels by a gated linear layer.

    x = E[ids];   x = x + GLU(W gelu(S4D(norm(x))));   logits = norm(x) Wᵀ          GLU(a, b) = a σ(b)

Training runs the convolution, generation the recurrence: the same numbers. Book 16.2.1 S4. Papers: Gu, Goel and Ré
2021; Gu et al. 2022. Held against the recurrence; transformers has no S4, so a folder has its layout and our names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, check_number
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM
from minillm.models.stateful import Endless, StateBody
from minillm.nn.blocks import LayerNorm
from minillm.nn.s4d import DISCRETE, INITIAL, S4DLayer


@dataclass
class S4DConfig(Endless, ModelConfig):
    """Sizes of an S4D language model, named as transformers' MambaConfig names its own.

    state_size: N of each channel, even. initial: "lin", "inv", "legs". discrete: "zoh", "bilinear".
    """

    model_types: ClassVar[tuple[str, ...]] = ("s4d",)

    vocab_size: int = 50280
    hidden_size: int = 512
    state_size: int = 64
    num_hidden_layers: int = 4
    initial: str = "lin"
    discrete: str = "zoh"
    time_step_min: float = 0.001
    time_step_max: float = 0.1
    hidden_act: str = "gelu"
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.1
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = True
    model_type: str = "s4d"

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        self._check(
            ("vocab_size", "hidden_size", "state_size", "num_hidden_layers"),
            ("bos_token_id", "eos_token_id", "pad_token_id"),
            ("layer_norm_epsilon", "initializer_range"),
            "hidden_act",
        )
        check_choice("initial", self.initial, tuple(INITIAL))
        check_choice("discrete", self.discrete, tuple(DISCRETE))
        check_choice("hidden_act", self.hidden_act, ("gelu",))
        check_choice("model_type", self.model_type, ("s4d",))
        if check_int("state_size", self.state_size, 2) % 2:
            raise ValueError(f"state_size must be even, got {self.state_size}")
        check_number("time_step_min", self.time_step_min, 1e-9)
        check_number("time_step_max", self.time_step_max, self.time_step_min)


class S4DBlock(nn.Module):
    """x + GLU(W gelu(S4D(norm(x)))): x (B, T, C) and a state in, both out."""

    def __init__(self, config: S4DConfig):
        super().__init__()
        C = config.hidden_size
        self.norm = LayerNorm(C, config.layer_norm_epsilon)
        self.mixer = S4DLayer(
            C, config.state_size, config.initial, config.discrete, config.time_step_min, config.time_step_max
        )
        self.out_proj = nn.Linear(C, 2 * C)

    def forward(self, x: Tensor, state: Tensor | None, last: bool = True) -> tuple[Tensor, Tensor | None]:
        """x (B, T, C) -> (B, T, C), and the state after the last token, if it is wanted."""
        y, state = self.mixer(self.norm(x), state, last)
        return x + F.glu(self.out_proj(F.gelu(y)), dim=-1), state


class S4DBody(StateBody):
    """S4D without its output layer: ids -> hidden states."""

    config_class = S4DConfig
    prefix = "model."
    weights = (
        Weight("tokens.weight", "embeddings.weight"),
        *(
            Weight(f"blocks.{{i}}.{name}", f"layers.{{i}}.{name}")
            for name in (
                "norm.weight",
                "norm.bias",
                *(f"mixer.{part}" for part in ("log_step", "log_decay", "frequency", "C", "D")),
                "out_proj.weight",
                "out_proj.bias",
            )
        ),
        Weight("norm.weight", "norm.weight"),
        Weight("norm.bias", "norm.bias"),
    )

    def build(self, config: S4DConfig) -> None:
        """Make the layers."""
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(S4DBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)

    def architecture(self) -> str:
        """The class name in config.json."""
        return "S4DModel"

    def state_shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """(H, N/2) complex for each layer."""
        kind = torch.complex128 if self.tokens.weight.dtype == torch.float64 else torch.complex64
        return [
            ((self.config.hidden_size, self.config.state_size // 2), kind)
        ] * self.config.num_hidden_layers

    def run(
        self, x: Tensor, states: Sequence[Tensor] | None, hidden: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """As StateBody's."""
        after = []
        for i, block in enumerate(self.blocks):
            if hidden is not None:
                hidden.append(x)
            x, state = block(x, None, last=False) if states is None else block(x, states[i])
            after.append(state)
        x = self.norm(x)
        if hidden is not None:
            hidden.append(x)
        return x, after


class S4D(CausalLM):
    """An S4D language model: `S4D(config, seed)`, `S4D.from_pretrained(folder)`, `model(ids).logits`."""

    config_class, body_class = S4DConfig, S4DBody

    def architecture(self) -> str:
        """The class name in config.json."""
        return "S4DForCausalLM"
