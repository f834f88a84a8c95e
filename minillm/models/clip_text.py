"""CLIP's reader: a caption becomes one vector, that of the token that ends it.

    x = E[ids] + P[places];   x = block(x) for every block (norm first, each token sees what came before);   x = norm(x)
    pooled = x of the end token: it comes after every word, and is found by its id however long the caption is

Book 14.2.1 CLIP 모델이란. Paper: Radford et al. 2021. Held against transformers' CLIPTextModel.
A config with eos_token_id 2 is older than the rule: there the end is the token with the largest id, as in transformers.
Left out: inputs_embeds, positions of the caller's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm.models.base import PretrainedModel, Weight
from minillm.models.clip import TOWER_PARTS
from minillm.models.config import ModelConfig
from minillm.models.inputs import check_padding, check_tokens, look_up
from minillm.models.outputs import PooledOutput
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import EncoderBlock, LayerNorm

BEFORE_THE_RULE = 2  # eos_token_id of the first published configs, which is not the id of their end token


@dataclass
class CLIPTextConfig(ModelConfig):
    """transformers' CLIPTextConfig: same names, same sizes."""

    model_types: ClassVar[tuple[str, ...]] = ("clip_text_model",)

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    projection_dim: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 1.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int | None = 49407
    tie_word_embeddings: bool = True
    model_type: str = "clip_text_model"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CLIPTextConfig:
        """As ModelConfig.from_dict; of the config of both towers the text_config, as in transformers."""
        if isinstance(values, Mapping) and values.get("model_type") == "clip":
            values = values.get("text_config") or {}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        sizes = ("vocab_size", "hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers")
        sizes = (*sizes, "num_attention_heads", "max_position_embeddings")
        ids = ("pad_token_id", "bos_token_id", "eos_token_id")
        self._check(sizes, ids, ("layer_norm_eps", "initializer_range", "initializer_factor"), "hidden_act")
        if self.attention_dropout != 0:
            raise ValueError(f"attention_dropout must be 0, got {describe(self.attention_dropout)}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                "hidden_size must be divisible by num_attention_heads, "
                f"got {self.hidden_size} and {self.num_attention_heads}"
            )
        if not isinstance(self.eos_token_id, int):
            raise ValueError(
                f"eos_token_id must be the id that ends a caption, got {describe(self.eos_token_id)}"
            )

    @property
    def num_layers(self) -> int:
        """Blocks."""
        return self.num_hidden_layers

    @property
    def width(self) -> int:
        """Width of the tower, C."""
        return self.hidden_size

    @property
    def max_length(self) -> int:
        """The longest caption in tokens, its begin and end counted."""
        return self.max_position_embeddings


class CLIPText(PretrainedModel):
    """CLIP's text tower. `CLIPText(config, seed)` or `CLIPText.from_pretrained(folder)`."""

    config_class = CLIPTextConfig
    prefix = "text_model."
    stored_buffers = ("position_ids",)
    generates = False
    weights = (
        Weight("tokens.weight", "embeddings.token_embedding.weight"),
        Weight("positions.weight", "embeddings.position_embedding.weight"),
        *TOWER_PARTS,
        *(Weight(f"norm.{kind}", f"final_layer_norm.{kind}") for kind in ("weight", "bias")),
    )

    def build(self, config: CLIPTextConfig) -> None:
        """Make the layers, named as the house names them."""
        C, H = config.hidden_size, config.num_attention_heads
        norm = partial(LayerNorm, eps=config.layer_norm_eps)
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.positions = nn.Embedding(config.max_position_embeddings, C)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                C,
                H,
                config.intermediate_size,
                activation=config.hidden_act,
                norm=norm,
                attention=MultiHeadAttention(C, H, causal=True, layer=i),
            )
            for i in range(config.num_hidden_layers)
        )
        self.norm = norm(C)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> PooledOutput:
        """States (B, T, C) and pooler_output (B, C) of captions (B, T) int64, each with its end token.

        attention_mask: (B, T) of 1 = token, 0 = padding behind it. ValueError for captions that are too long, have ids
        outside the table, or lack the end token.
        """
        B, T = check_tokens(self, input_ids, None)
        mask = check_padding(attention_mask, B, T)
        x = look_up(self.tokens, input_ids) + self.positions.weight[:T]  # (B, T, C)
        states = [x]
        for block in self.blocks:
            x = block(x, mask=mask)
            states.append(x)
        x = self.norm(x)
        pooled = x[torch.arange(B, device=x.device), self.ends(input_ids)]  # (B, C)
        return PooledOutput(x, tuple(states) if output_hidden_states else None, pooled)

    def ends(self, input_ids: Tensor) -> Tensor:
        """The place (B,) of the token that ends each caption: its first end token."""
        if self.config.eos_token_id == BEFORE_THE_RULE:
            return input_ids.argmax(1)
        here = input_ids == self.config.eos_token_id  # (B, T)
        if not bool(here.any(1).all()):
            row = int((~here.any(1)).nonzero()[0])
            raise ValueError(
                f"every caption must hold the end token {self.config.eos_token_id}, row {row} has none"
            )
        return here.int().argmax(1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights: the paper's."""
        super().initialise(generator, only)
        draw_tower(self, generator)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "CLIPTextModel"


@torch.no_grad()
def draw_tower(tower: nn.Module, generator: torch.Generator) -> None:
    """The paper's first weights of a tower's blocks: N(0, 1 / width), smaller with depth where a layer adds to x."""
    depth = (2 * len(tower.blocks)) ** -0.5
    for name, layer in tower.blocks.named_modules():
        if isinstance(layer, nn.Linear):
            residual = depth if name.endswith(("o_proj", "down_proj")) else 1.0
            layer.weight.normal_(0.0, residual * layer.in_features**-0.5, generator=generator)
