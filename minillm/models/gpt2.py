"""GPT-2: learned positions, pre-norm blocks with LayerNorm and GELU, output tied to the embedding.

    x = E[ids] + P[0..T-1];  x = x + attention(norm(x));  x = x + feed_forward(norm(x));  logits = norm(x) Eᵀ

Book 2.7.2 GPT. Paper: Radford et al. 2019. Held against transformers' GPT2LMHeadModel.
Weights that write to the residual path start smaller by 1/√(2·layers), so that its variance does not grow
with depth. Leaves out: cross-attention, `reorder_and_upcast_attn` (the same numbers in float32), summary
heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number
from minillm.models.config import ModelConfig
from minillm.models.decoder import DecoderLM
from minillm.nn.blocks import DecoderBlock
from minillm.nn.feed_forward import FeedForward
from minillm.nn.linear import Linear
from minillm.nn.multi_head import MultiHeadAttention
from minillm.nn.norms import LayerNorm


@dataclass
class GPT2Config(ModelConfig):
    """transformers' GPT2Config: same names, same sizes. Dropout is 0 here unless asked for (the paper: 0.1)."""

    model_types: ClassVar[tuple[str, ...]] = ("gpt2",)

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


class GPT2(DecoderLM):
    """GPT-2 with its output layer. `GPT2(config, seed)` or `GPT2.from_pretrained(folder)`."""

    config_class = GPT2Config

    def build(self, config: GPT2Config) -> None:
        """Make the layers, named as the house names them."""
        C, H = config.n_embd, config.n_head
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.positions = nn.Embedding(config.n_positions, C)
        self.dropout = nn.Dropout(config.embd_pdrop) if config.embd_pdrop else nn.Identity()
        norm = partial(LayerNorm, eps=config.layer_norm_epsilon)
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
        self.head = Linear(C, config.vocab_size, bias=False)
        self.windows = (None,) * config.n_layer
        self.tie()

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

    def embed(self, input_ids: Tensor, positions: int | Tensor) -> Tensor:
        """E[ids] + P[positions] -> (B, T, C)."""
        if isinstance(positions, int):
            places = self.positions.weight[positions : positions + input_ids.shape[1]]
        else:
            places = self.positions(positions)
        return self.dropout(self.tokens(input_ids) + places)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "GPT2LMHeadModel"

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """q, k, v in one matrix, and every linear weight transposed: transformers keeps GPT-2's as (in, out)."""
        out = {
            "transformer.wte.weight": state["tokens.weight"],
            "transformer.wpe.weight": state["positions.weight"],
            "transformer.ln_f.weight": state["norm.weight"],
            "transformer.ln_f.bias": state["norm.bias"],
        }
        if not self.config.tie_word_embeddings:
            out["lm_head.weight"] = state["head.weight"]
        for i in range(self.config.n_layer):
            for ours, theirs in _PARTS.items():
                for kind in ("weight", "bias"):
                    tensor = state[f"blocks.{i}.{ours}.{kind}"]
                    out[f"transformer.h.{i}.{theirs}.{kind}"] = tensor.T if tensor.dim() == 2 else tensor
        return out

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back; takes files with and without the `transformer.` prefix and with causal masks stored
        inside.
        """
        prefix = "transformer." if "transformer.wte.weight" in tensors else ""
        rest = {
            name: t for name, t in tensors.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))
        }

        def take(name: str) -> Tensor:
            return rest.pop(prefix + name)

        state = {"tokens.weight": take("wte.weight"), "positions.weight": take("wpe.weight")}
        state |= {"norm.weight": take("ln_f.weight"), "norm.bias": take("ln_f.bias")}
        head = rest.pop("lm_head.weight", None)
        if head is None and not self.config.tie_word_embeddings:
            raise KeyError("lm_head.weight")
        state["head.weight"] = state["tokens.weight"] if self.config.tie_word_embeddings else head
        for i in range(self.config.n_layer):
            for ours, theirs in _PARTS.items():
                for kind in ("weight", "bias"):
                    tensor = take(f"h.{i}.{theirs}.{kind}")
                    state[f"blocks.{i}.{ours}.{kind}"] = (
                        tensor.T.contiguous() if tensor.dim() == 2 else tensor
                    )
        return state | rest  # what is left over has no place: from_tensors names it


_PARTS: dict[str, str] = {  # our parts of a block -> the name of Hugging Face's part
    "norm1": "ln_1",
    "attention.qkv_proj": "attn.c_attn",
    "attention.o_proj": "attn.c_proj",
    "norm2": "ln_2",
    "feed_forward.up_proj": "mlp.c_fc",
    "feed_forward.down_proj": "mlp.c_proj",
}
