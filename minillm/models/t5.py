"""T5: every task is text in, text out; relative positions, RMS norms, no biases, scores without a scale.

    x = E[ids];  x = x + attention(norm(x), bias by distance);  x = x + feed_forward(norm(x));  c = norm(x)
    the decoder the same, causal, with x = x + cross_attention(norm(x), c) between;  logits = norm(x)/√C Eᵀ

T5 1.0 has a ReLU between two matrices and the embedding table as output matrix, scaled by 1/√C; T5 1.1 (and Flan-T5,
mT5) a gated GELU, an output matrix of its own and no scale. Attention's scores are not divided by √D: the first weights
are drawn smaller instead. Book 2.7 BERT, GPT, T5 등 트랜스포머를 활용한 아키텍처 (T5). Paper: Raffel et al. 2020. Held
against transformers' T5ForConditionalGeneration. Leaves out: clamping what overflows float16 (run it in bfloat16).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import LARGEST, check_choice, check_flag, check_number, check_text
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.seq2seq import Seq2SeqBody, Seq2SeqEncoder, Seq2SeqLM, StackPass, with_dropout
from minillm.nn import DecoderBlock, EncoderBlock, FeedForward, MultiHeadAttention, RMSNorm, SwiGLU
from minillm.nn.relative_bias import RelativeBias

FAMILIES = {"t5": "T5", "mt5": "MT5"}  # as transformers names them
# What transformers takes for a key that a config.json of the family leaves out, where it is not T5Config's own
UNSAID: dict[str, dict[str, Any]] = {
    "t5": {},
    "mt5": {
        "vocab_size": 250112,
        "d_ff": 1024,
        "num_layers": 8,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
    },
}


@dataclass
class T5Config(ModelConfig):
    """transformers' T5Config: same names, same sizes. Dropout is 0 here unless asked for (the paper: 0.1).

    num_layers counts the encoder's blocks, num_decoder_layers the decoder's (the same unless given). feed_forward_proj:
    an activation, or "gated-" and one; dense_act_fn and is_gated_act follow from it unless a file says them.
    scale_decoder_outputs: 1/√C on the output; unless given, where the output matrix is the embedding table.
    """

    model_types: ClassVar[tuple[str, ...]] = tuple(FAMILIES)
    other_names: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
    }

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.0
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    dense_act_fn: str | None = None
    is_gated_act: bool | None = None
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int | None = 0
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None
    model_type: str = "t5"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> T5Config:
        """As ModelConfig.from_dict; a key that the file leaves out has transformers' value for the family."""
        if isinstance(values, Mapping):
            values = {**UNSAID.get(values.get("model_type", "t5"), {}), **values}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Fill in what follows from the rest and check every field; ValueError naming the one that is wrong."""
        check_choice("model_type", self.model_type, self.model_types)
        if self.num_decoder_layers is None:
            self.num_decoder_layers = self.num_layers
        gate, _, activation = check_text("feed_forward_proj", self.feed_forward_proj).rpartition("-")
        if gate not in ("", "gated"):
            raise ValueError(
                f"feed_forward_proj must be an activation or gated-activation, got {self.feed_forward_proj!r}"
            )
        if self.is_gated_act is None:
            self.is_gated_act = gate == "gated"
        if self.dense_act_fn is None:  # "gated-gelu" is GPT-2's formula with tanh
            self.dense_act_fn = "gelu_new" if self.feed_forward_proj == "gated-gelu" else activation
        if self.scale_decoder_outputs is None:
            self.scale_decoder_outputs = self.tie_word_embeddings and self.model_type == "t5"
        self._check(
            (
                "vocab_size",
                "d_model",
                "d_kv",
                "d_ff",
                "num_layers",
                "num_decoder_layers",
                "num_heads",
                "relative_attention_num_buckets",
                "relative_attention_max_distance",
            ),
            ("pad_token_id", "eos_token_id", "decoder_start_token_id"),
            ("layer_norm_epsilon", "initializer_factor"),
            "dense_act_fn",
        )
        check_number("dropout_rate", self.dropout_rate, 0.0, 1.0)
        for name in ("is_gated_act", "is_encoder_decoder", "scale_decoder_outputs"):
            check_flag(name, getattr(self, name))

    @property
    def kv_heads(self) -> int:
        """Key/value heads a block."""
        return self.num_heads

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.d_kv

    @property
    def width(self) -> int:
        """Width of the model, C."""
        return self.d_model

    @property
    def max_length(self) -> int:
        """Tokens a text may have: there is no table of positions, so no limit."""
        return LARGEST


class T5Stack(nn.Module):
    """Encoder or decoder: blocks that share one table of relative positions, and a norm."""

    def __init__(self, config: T5Config, decoder: bool):
        super().__init__()
        C, H = config.d_model, config.num_heads
        norm = partial(RMSNorm, eps=config.layer_norm_epsilon)
        attention = partial(
            MultiHeadAttention,
            C,
            H,
            bias=False,
            head_dim=config.d_kv,
            scale=1.0,
            dropout=config.dropout_rate,
        )
        feed_forward = SwiGLU if config.is_gated_act else FeedForward

        def block(i: int) -> EncoderBlock:
            parts = {
                "norm": norm,
                "attention": attention(causal=decoder, layer=i),
                "feed_forward": with_dropout(
                    feed_forward(C, config.d_ff, config.dense_act_fn, bias=False), config.dropout_rate
                ),
                "dropout": config.dropout_rate,
            }
            return (
                DecoderBlock(C, H, cross_attention=attention(layer=i), **parts)
                if decoder
                else EncoderBlock(C, H, **parts)
            )

        self.distances = RelativeBias(
            H,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
            bidirectional=not decoder,
        )
        self.blocks = nn.ModuleList(
            map(block, range(config.num_decoder_layers if decoder else config.num_layers))
        )
        self.norm = norm(C)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor, step: StackPass) -> Tensor:
        """Embeddings (B, T, C) of a pass -> (B, T, C) after the last norm."""
        x = step.keep(self.dropout(x))
        place = self.distances.at(step.positions, x, step.keys)  # the bias, once for all blocks
        for block in self.blocks:
            x = step.through(block, x, place)
        return self.dropout(self.norm(x))


def _rows(stack: str, cross: bool) -> tuple[Weight, ...]:
    """The table of one stack: self-attention, in the decoder cross-attention, feed-forward."""
    last = 2 if cross else 1
    ours, theirs = f"{stack}.blocks.{{i}}", f"{stack}.block.{{i}}.layer"
    kinds = [("attention", "norm1", f"{theirs}.0", "SelfAttention")]
    kinds += [("cross_attention", "norm3", f"{theirs}.1", "EncDecAttention")] if cross else []
    return (
        Weight(
            f"{stack}.distances.table.weight",
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
        *(
            Weight(f"{ours}.{part}.{p}_proj.weight", f"{layer}.{name}.{p}.weight")
            for part, _, layer, name in kinds
            for p in "qkvo"
        ),
        *(Weight(f"{ours}.{norm}.weight", f"{layer}.layer_norm.weight") for _, norm, layer, _ in kinds),
        # without a gate there is one matrix up, with one there are two
        Weight(f"{ours}.feed_forward.up_proj.weight", f"{theirs}.{last}.DenseReluDense.wi.weight"),
        Weight(f"{ours}.feed_forward.gate_proj.weight", f"{theirs}.{last}.DenseReluDense.wi_0.weight"),
        Weight(f"{ours}.feed_forward.up_proj.weight", f"{theirs}.{last}.DenseReluDense.wi_1.weight"),
        Weight(f"{ours}.feed_forward.down_proj.weight", f"{theirs}.{last}.DenseReluDense.wo.weight"),
        Weight(f"{ours}.norm2.weight", f"{theirs}.{last}.layer_norm.weight"),
        Weight(f"{stack}.norm.weight", f"{stack}.final_layer_norm.weight"),
    )


class T5Encoder(Seq2SeqEncoder):
    """T5's encoder alone (transformers' T5EncoderModel): ids -> states (B, S, C)."""

    config_class = T5Config
    table_names = ("shared.weight", "encoder.embed_tokens.weight")
    not_mine: ClassVar[tuple[str, ...]] = (
        "lm_head.",
        "decoder.",
    )  # what folders of larger models hold besides
    weights = (Weight("tokens.weight", "shared.weight"), *_rows("encoder", cross=False))

    def build(self, config: T5Config) -> None:
        """Make the layers, named as the house names them."""
        # the rows of the feed-forward layer that this config does not have
        other = ".wi." if config.is_gated_act else ".wi_1."
        self.weights = tuple(row for row in self.weights if other not in row.theirs)
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config, decoder=False)

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As PretrainedModel's, from a folder of a larger model, too."""
        mine = {name: t for name, t in tensors.items() if not name.startswith(self.not_mine)}
        state = super().from_hugging_face(mine)
        self.left_out = tuple(name for name in tensors if name not in mine)
        return state

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights as in the paper's code: N(0, 1) for the tokens, else smaller the wider what comes in."""
        C, inner = self.config.d_model, self.config.num_heads * self.config.d_kv
        widths = {"q_proj": C * self.config.d_kv, "o_proj": inner, "down_proj": self.config.d_ff, "tokens": 1}
        for name, module in self.named_modules():
            if only is not None and name not in only:
                continue
            if isinstance(module, (nn.Linear, nn.Embedding)):
                std = self.config.initializer_factor * widths.get(name.rpartition(".")[2], C) ** -0.5
                module.weight.normal_(0.0, std, generator=generator)
            elif isinstance(module, RMSNorm):
                module.weight.fill_(self.config.initializer_factor)

    def table_std(self) -> float:
        """The spread of an output matrix's first weights."""
        return self.config.initializer_factor

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}EncoderModel"


class T5Body(T5Encoder, Seq2SeqBody):
    """T5 without its output matrix. `T5Body(config, seed)` or `T5Body.from_pretrained(folder)`."""

    table_names = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    not_mine = ("lm_head.",)
    stored_buffers = ("EncDecAttention.relative_attention_bias.weight",)  # in old files; nothing reads it
    weights = (*T5Encoder.weights, *_rows("decoder", cross=True))

    def build(self, config: T5Config) -> None:
        """Make the layers, named as the house names them."""
        super().build(config)
        self.decoder = T5Stack(config, decoder=True)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}Model"


class T5(Seq2SeqLM):
    """T5 with its output matrix. `T5(config, seed)` or `T5.from_pretrained(folder)`."""

    config_class = T5Config
    body_class = T5Body

    def scores(self, x: Tensor) -> Tensor:
        """The decoder's states (B, T, C) -> logits (B, T, V); E's rows have length √C, which the scale takes back."""
        return self.head(x * self.config.d_model**-0.5 if self.config.scale_decoder_outputs else x)

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As Seq2SeqLM's; a folder without an output matrix has the table's, whatever its config says."""
        if "lm_head.weight" not in tensors:
            self.config = replace(self.config, tie_word_embeddings=True)
        return super().from_hugging_face(tensors)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}ForConditionalGeneration"
