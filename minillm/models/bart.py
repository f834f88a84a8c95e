"""BART: an encoder that sees the damaged text whole, a decoder that writes the sound one; post-norm, learned positions.

    x = norm(E[ids] + P[2..T+1]);  x = norm(x + attention(x));  x = norm(x + feed_forward(x))
    the decoder the same, causal, with x = norm(x + cross_attention(x, c)) between;  logits = x Eᵀ + b

mBART is the pre-norm form with one more norm at the end of each stack. Position t has row t + 2 of its table: the first
two rows are left from padding. b is no parameter and zero unless a file says otherwise. Book 2.7 BERT, GPT, T5 등
트랜스포머를 활용한 아키텍처. Papers: Lewis et al. 2019 (BART); Liu et al. 2020 (mBART). Held against transformers'
BartForConditionalGeneration and MBartForConditionalGeneration. Leaves out: an encoder and a decoder with tables of
tokens of their own, layer drop, classification, clamping what overflows float16 (run it in bfloat16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_number, describe
from minillm.models.base import Weight
from minillm.models.config import ModelConfig, check_ids_field
from minillm.models.seq2seq import Seq2SeqBody, Seq2SeqLM, StackPass, with_dropout
from minillm.nn import DecoderBlock, EncoderBlock, FeedForward, LayerNorm, MultiHeadAttention

FAMILIES = {"bart": "Bart", "mbart": "MBart"}  # as transformers names them
OFFSET = 2  # rows of a position table that stand before the first position


@dataclass
class BARTConfig(ModelConfig):
    """transformers' BartConfig and MBartConfig: same names, same sizes. Dropout is 0 here unless asked for.

    forced_bos_token_id, forced_eos_token_id: what generation puts first and, when the room ends, last.
    """

    model_types: ClassVar[tuple[str, ...]] = tuple(FAMILIES)
    other_names: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
    }

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    activation_function: str = "gelu"
    d_model: int = 1024
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = False
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = True
    model_type: str = "bart"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BARTConfig:
        """As ModelConfig.from_dict. Of older files: ValueError for a key that asks for other norms or positions."""
        if isinstance(values, Mapping):
            pre_norm = values.get("model_type") == "mbart"
            if pre_norm:
                values = {"decoder_start_token_id": None, **values}
            built = {
                "normalize_before": pre_norm,
                "add_final_layer_norm": pre_norm,
                "normalize_embedding": True,
                "static_position_embeddings": False,
                "encoder_layerdrop": 0,
                "decoder_layerdrop": 0,
            }
            for name, ours in built.items():
                if values.get(name) not in (None, ours):
                    raise ValueError(f"{name} = {describe(values[name])} is not supported, only {ours}")
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        check_choice("model_type", self.model_type, self.model_types)
        self._check(
            (
                "vocab_size",
                "max_position_embeddings",
                "encoder_layers",
                "encoder_ffn_dim",
                "encoder_attention_heads",
                "decoder_layers",
                "decoder_ffn_dim",
                "decoder_attention_heads",
                "d_model",
            ),
            ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id"),
            ("init_std",),
            "activation_function",
        )
        check_ids_field("forced_eos_token_id", self.forced_eos_token_id, several=True)
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.d_model % getattr(self, name):
                raise ValueError(
                    f"d_model must be divisible by {name}, got {self.d_model} and {getattr(self, name)}"
                )
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        for name in ("scale_embedding", "is_encoder_decoder"):
            check_flag(name, getattr(self, name))
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(
                f"pad_token_id must be below vocab_size = {self.vocab_size}, got {self.pad_token_id}"
            )

    @property
    def num_layers(self) -> int:
        """Blocks of the encoder."""
        return self.encoder_layers

    @property
    def num_decoder_layers(self) -> int:
        """Blocks of the decoder."""
        return self.decoder_layers

    @property
    def kv_heads(self) -> int:
        """Key/value heads of a decoder block, which a cache keeps."""
        return self.decoder_attention_heads

    @property
    def head_dim(self) -> int:
        """Width of a decoder's head."""
        return self.d_model // self.decoder_attention_heads

    @property
    def width(self) -> int:
        """Width of the model, C."""
        return self.d_model

    @property
    def max_length(self) -> int:
        """The longest source, and the longest target, in tokens."""
        return self.max_position_embeddings

    @property
    def initializer_range(self) -> float:
        """The spread of the first weights."""
        return self.init_std


class BARTStack(nn.Module):
    """Encoder or decoder: positions and a norm on the embeddings, blocks, and in mBART a norm at the end."""

    def __init__(self, config: BARTConfig, decoder: bool):
        super().__init__()
        C, pre_norm = config.d_model, config.model_type == "mbart"
        heads = config.decoder_attention_heads if decoder else config.encoder_attention_heads
        hidden = config.decoder_ffn_dim if decoder else config.encoder_ffn_dim

        def block(i: int) -> EncoderBlock:
            parts = {
                "pre_norm": pre_norm,
                "attention": MultiHeadAttention(
                    C, heads, causal=decoder, dropout=config.attention_dropout, layer=i
                ),
                "feed_forward": with_dropout(
                    FeedForward(C, hidden, config.activation_function), config.activation_dropout
                ),
                "dropout": config.dropout,
            }
            if not decoder:
                return EncoderBlock(C, heads, **parts)
            cross = MultiHeadAttention(C, heads, dropout=config.attention_dropout, layer=i)
            return DecoderBlock(C, heads, cross_attention=cross, **parts)

        self.positions = nn.Embedding(config.max_position_embeddings + OFFSET, C)
        self.first_norm = LayerNorm(C)
        self.dropout = nn.Dropout(config.dropout)
        layers = config.decoder_layers if decoder else config.encoder_layers
        self.blocks = nn.ModuleList(map(block, range(layers)))
        self.norm = LayerNorm(C) if pre_norm else nn.Identity()

    def forward(self, x: Tensor, step: StackPass) -> Tensor:
        """Embeddings (B, T, C) of a pass -> (B, T, C)."""
        places = self.positions.weight[step.positions + OFFSET : step.keys + OFFSET]  # (T, C)
        x = step.keep(self.dropout(self.first_norm(x + places)))
        for block in self.blocks:
            x = step.through(block, x)
        return self.norm(x)


def _rows(stack: str, cross: bool) -> tuple[Weight, ...]:
    """The table of one stack."""
    ours, theirs = f"{stack}.blocks.{{i}}", f"{stack}.layers.{{i}}"
    pairs = [(f"{stack}.positions", f"{stack}.embed_positions")]
    pairs += [
        (f"{stack}.first_norm", f"{stack}.layernorm_embedding"),
        (f"{stack}.norm", f"{stack}.layer_norm"),
    ]
    for part, norm, name in (
        ("attention", "norm1", "self_attn"),
        ("cross_attention", "norm3", "encoder_attn"),
    ):
        if part == "attention" or cross:
            pairs += [(f"{ours}.{part}.{p}_proj", f"{theirs}.{name}.{p}_proj") for p in "qkv"]
            pairs += [(f"{ours}.{part}.o_proj", f"{theirs}.{name}.out_proj")]
            pairs += [(f"{ours}.{norm}", f"{theirs}.{name}_layer_norm")]
    pairs += [
        (f"{ours}.feed_forward.up_proj", f"{theirs}.fc1"),
        (f"{ours}.feed_forward.down_proj", f"{theirs}.fc2"),
    ]
    pairs += [(f"{ours}.norm2", f"{theirs}.final_layer_norm")]
    return tuple(Weight(f"{a}.{kind}", f"{b}.{kind}") for a, b in pairs for kind in ("weight", "bias"))


class BARTBody(Seq2SeqBody):
    """BART without its output matrix. `BARTBody(config, seed)` or `BARTBody.from_pretrained(folder)`."""

    config_class = BARTConfig
    prefix = "model."
    stored_buffers = ("coder.version",)  # in old files
    table_names = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    weights = (
        Weight("tokens.weight", "shared.weight"),
        *_rows("encoder", cross=False),
        *_rows("decoder", cross=True),
    )

    def build(self, config: BARTConfig) -> None:
        """Make the layers, named as the house names them."""
        self.tokens = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.encoder = BARTStack(config, decoder=False)
        self.decoder = BARTStack(config, decoder=True)

    def _embed(self, name: str, ids: Tensor) -> Tensor:
        x = super()._embed(name, ids)
        return x * math.sqrt(self.config.d_model) if self.config.scale_embedding else x

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As PretrainedModel's; a config that is not tied has the one table under each of its names there."""
        out = super().to_hugging_face(state)
        names = self.table_names if not self.config.tie_word_embeddings else self.table_names[:1]
        return out | {name: out[self.table_names[0]].clone() for name in names[1:]}

    def table_std(self) -> float:
        """The spread of an output matrix's first weights."""
        return self.config.init_std

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}Model"


class BART(Seq2SeqLM):
    """BART with its output matrix. `BART(config, seed)` or `BART.from_pretrained(folder)`."""

    config_class = BARTConfig
    body_class = BARTBody
    weights = (*Seq2SeqLM.weights, Weight("logits_bias", "final_logits_bias"))

    def build_head(self, config: BARTConfig) -> None:
        """The output matrix, which is the table of tokens, and what is added to the scores."""
        super().build_head(config)
        self.register_buffer("logits_bias", torch.zeros(1, config.vocab_size))

    def scores(self, x: Tensor) -> Tensor:
        """The decoder's states (B, T, C) -> logits (B, T, V)."""
        return self.head(x) + self.logits_bias

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As Seq2SeqLM's; scores have nothing added where a file says nothing of it."""
        table = next(iter(tensors.values()))
        zeros = torch.zeros(1, self.config.vocab_size, dtype=table.dtype)
        state = super().from_hugging_face({"final_logits_bias": zeros, **tensors})
        self.body.config = self.config  # whether the output matrix is the table after all
        return state

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}ForConditionalGeneration"
