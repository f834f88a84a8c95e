"""GPT-2: learned positions, pre-norm blocks with LayerNorm and GELU, output tied to the embedding.

    x = E[ids] + P[0..T-1];  x = x + attention(norm(x));  x = x + feed_forward(norm(x));  logits = norm(x) Eᵀ

Book 2.7.2 GPT. Paper: Radford et al. 2019. Held against transformers' GPT2LMHeadModel.
Weights that write to the residual path start smaller by 1/√(2·layers), so that its variance does not grow
with depth. Leaves out: cross-attention, `reorder_and_upcast_attn` (the same numbers in float32), summary heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM, DecoderBody, Pass
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import DecoderBlock, FeedForward, LayerNorm


@dataclass
class GPT2Config(ModelConfig):
    """transformers' GPT2Config: same names, same sizes. Dropout is 0 here unless asked for (the paper: 0.1)."""

    model_types: ClassVar[tuple[str, ...]] = ("gpt2",)
    other_names: ClassVar[Mapping[str, str]] = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    }

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = True
    model_type: str = "gpt2"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GPT2Config:
        """As ModelConfig.from_dict; ids that the file leaves out are those of GPT-2's own vocabulary."""
        if isinstance(values, Mapping):
            values = {"bos_token_id": 50256, "eos_token_id": 50256, **values}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        self._check(
            ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"),
            ("bos_token_id", "eos_token_id", "pad_token_id"),
            ("layer_norm_epsilon", "initializer_range"),
            "activation_function",
        )
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd must be divisible by n_head, got {self.n_embd} and {self.n_head}")
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        if self.n_inner is not None:
            check_int("n_inner", self.n_inner, 1)
        for name in ("scale_attn_weights", "scale_attn_by_inverse_layer_idx"):
            check_flag(name, getattr(self, name))
        check_choice("model_type", self.model_type, self.model_types)

    @property
    def num_layers(self) -> int:
        """Blocks."""
        return self.n_layer

    @property
    def kv_heads(self) -> int:
        """Key/value heads a block."""
        return self.n_head

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.n_embd // self.n_head

    @property
    def width(self) -> int:
        """Width of the model, C."""
        return self.n_embd

    @property
    def max_length(self) -> int:
        """The context window in tokens."""
        return self.n_positions


class GPT2Body(DecoderBody):
    """GPT-2 without its output layer: ids -> hidden states. `GPT2Body(config, seed)` or `.from_pretrained(folder)`."""

    config_class = GPT2Config
    prefix = "transformer."
    stored_buffers = (".attn.bias", ".attn.masked_bias")  # causal masks
    # transformers keeps GPT-2's linear weights as (in, out), and q, k and v in one matrix
    weights = (
        Weight("tokens.weight", "wte.weight"),
        Weight("positions.weight", "wpe.weight"),
        Weight("blocks.{i}.norm1.weight", "h.{i}.ln_1.weight"),
        Weight("blocks.{i}.norm1.bias", "h.{i}.ln_1.bias"),
        Weight(
            tuple(f"blocks.{{i}}.attention.{p}_proj.weight" for p in "qkv"),
            "h.{i}.attn.c_attn.weight",
            transposed=True,
        ),
        Weight(tuple(f"blocks.{{i}}.attention.{p}_proj.bias" for p in "qkv"), "h.{i}.attn.c_attn.bias"),
        Weight("blocks.{i}.attention.o_proj.weight", "h.{i}.attn.c_proj.weight", transposed=True),
        Weight("blocks.{i}.attention.o_proj.bias", "h.{i}.attn.c_proj.bias"),
        Weight("blocks.{i}.norm2.weight", "h.{i}.ln_2.weight"),
        Weight("blocks.{i}.norm2.bias", "h.{i}.ln_2.bias"),
        Weight("blocks.{i}.feed_forward.up_proj.weight", "h.{i}.mlp.c_fc.weight", transposed=True),
        Weight("blocks.{i}.feed_forward.up_proj.bias", "h.{i}.mlp.c_fc.bias"),
        Weight("blocks.{i}.feed_forward.down_proj.weight", "h.{i}.mlp.c_proj.weight", transposed=True),
        Weight("blocks.{i}.feed_forward.down_proj.bias", "h.{i}.mlp.c_proj.bias"),
        Weight("norm.weight", "ln_f.weight"),
        Weight("norm.bias", "ln_f.bias"),
    )

    def build(self, config: GPT2Config) -> None:
        """Make the layers, named as the house names them."""
        C, H = config.n_embd, config.n_head
        norm = partial(LayerNorm, eps=config.layer_norm_epsilon)
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.positions = nn.Embedding(config.n_positions, C)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                C,
                H,
                norm=norm,
                dropout=config.resid_pdrop,
                attention=MultiHeadAttention(
                    C, H, causal=True, scale=self._scale(i), dropout=config.attn_pdrop, layer=i
                ),
                feed_forward=FeedForward(C, config.n_inner, config.activation_function),
            )
            for i in range(config.n_layer)
        )
        self.norm = norm(C)
        self.windows = (None,) * config.n_layer

    def run(self, step: Pass) -> Tensor:
        """The tokens of a pass -> hidden states (B, T, C) after the last norm; the head makes logits of them."""
        if isinstance(step.positions, int):
            places = self.positions.weight[step.positions : step.keys]  # (T, C)
        else:
            places = self.positions(step.positions)
        x = step.keep(self.dropout(step.embed(self.tokens) + places))  # (B, T, C)
        for block in self.blocks:
            x = step.keep(block(x, mask=step.masks[None], cache=step.cache))
        return self.norm(x)

    def _scale(self, layer: int) -> float | None:
        """The factor on a block's scores; None is attention's own 1/√D."""
        config = self.config
        if config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx:
            return None
        scale = config.head_dim**-0.5 if config.scale_attn_weights else 1.0
        return scale / (layer + 1) if config.scale_attn_by_inverse_layer_idx else scale

    def residual_scale(self) -> float:
        """1/√N for the N = 2·layers layers that write to the residual path (Radford et al. 2019, 2.3)."""
        return 1 / math.sqrt(2 * self.config.n_layer)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "GPT2Model"


class GPT2(CausalLM):
    """GPT-2 with its output layer. `GPT2(config, seed)` or `GPT2.from_pretrained(folder)`."""

    config_class = GPT2Config
    body_class = GPT2Body

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "GPT2LMHeadModel"
