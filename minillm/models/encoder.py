"""The encoder-only body: every token sees the whole text, and leaves as a vector that knows its context.

    x = norm(E[ids] + P[places] + S[types]);   x = norm(x + attention(x));   x = norm(x + feed_forward(x))
    pooled = tanh(W x[first token] + b)

Book 2.5 인코더, 2.7.1 BERT. Paper: Devlin et al. 2019. BERT and RoBERTa are this body with other positions; what
stands on it (masked words, classes, answers) is in encoder_heads.py. Held against transformers' BertModel.
Leaves out: relative positions, use as a decoder, cross-attention; a config that asks for one of them is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.models.base import PretrainedModel, Weight
from minillm.models.config import NEUTRAL, ModelConfig
from minillm.models.inputs import check_padding, check_tokens, look_up
from minillm.models.outputs import PooledOutput
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import EncoderBlock, FeedForward, LayerNorm


@dataclass
class EncoderConfig(ModelConfig):
    """transformers' BertConfig: same names, same sizes. Dropout is 0 here unless asked for (the paper: 0.1).

    classifier_dropout: before a classifier, while training; None takes hidden_dropout_prob.
    """

    neutral = NEUTRAL | {
        "is_causal": (None, False),
        "is_decoder": (None, False),
        "position_embedding_type": (None, "absolute"),
        "pruned_heads": (None, {}),
    }

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    classifier_dropout: float | None = None
    tie_word_embeddings: bool = True
    model_type: str = "bert"

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        self._check(
            (
                "vocab_size",
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "max_position_embeddings",
                "type_vocab_size",
            ),
            ("bos_token_id", "eos_token_id", "pad_token_id"),
            ("initializer_range", "layer_norm_eps"),
            "hidden_act",
        )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                "hidden_size must be divisible by num_attention_heads, "
                f"got {self.hidden_size} and {self.num_attention_heads}"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        if self.classifier_dropout is not None:
            check_number("classifier_dropout", self.classifier_dropout, 0.0, 1.0)
        if self.pad_token_id is not None:
            check_int("pad_token_id", self.pad_token_id, 0, self.vocab_size - 1)
        check_choice("model_type", self.model_type, self.model_types)

    @property
    def num_layers(self) -> int:
        """Blocks."""
        return self.num_hidden_layers

    @property
    def kv_heads(self) -> int:
        """Key/value heads a block."""
        return self.num_attention_heads

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def width(self) -> int:
        """Width of the model, C."""
        return self.hidden_size

    @property
    def max_length(self) -> int:
        """The longest text in tokens."""
        return self.max_position_embeddings


_PARTS = {  # of a block: ours, theirs
    **{f"attention.{part[0]}_proj": f"attention.self.{part}" for part in ("query", "key", "value")},
    "attention.o_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "feed_forward.up_proj": "intermediate.dense",
    "feed_forward.down_proj": "output.dense",
    "norm2": "output.LayerNorm",
}


class OptionalPooler(PretrainedModel):
    """A body that has a pooler where the folder that it is opened from has one."""

    pooler: nn.Module | None

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As PretrainedModel's; a body without pooler leaves out a folder's, and the other way round it has none."""
        poolers = {name for name in tensors if name.removeprefix(self.prefix).startswith("pooler.")}
        if not poolers:
            self.pooler = None
        if self.pooler is None:
            tensors = {name: t for name, t in tensors.items() if name not in poolers}
        state = super().from_hugging_face(tensors)
        if self.pooler is None:
            self.left_out = (*self.left_out, *sorted(poolers))
        return state


class EncoderBody(OptionalPooler):
    """What the bodies of BERT and RoBERTa share: all but the place of each token.

    pooler: a layer on the first token, or None. A folder of a masked language model has none, and then the body that
    is opened from it has none either: pooler_output is None. transformers would make one up.
    """

    config_class: ClassVar[type[EncoderConfig]]
    family: str  # what transformers' names of these models begin with
    generates = False
    stored_buffers = ("embeddings.position_ids", "embeddings.token_type_ids")
    older_names: ClassVar[Mapping[str, str]] = {
        "LayerNorm.gamma": "LayerNorm.weight",
        "LayerNorm.beta": "LayerNorm.bias",
    }
    weights = (
        Weight("tokens.weight", "embeddings.word_embeddings.weight"),
        Weight("positions.weight", "embeddings.position_embeddings.weight"),
        Weight("token_types.weight", "embeddings.token_type_embeddings.weight"),
        *(Weight(f"norm.{kind}", f"embeddings.LayerNorm.{kind}") for kind in ("weight", "bias")),
        *(
            Weight(f"blocks.{{i}}.{ours}.{kind}", f"encoder.layer.{{i}}.{theirs}.{kind}")
            for ours, theirs in _PARTS.items()
            for kind in ("weight", "bias")
        ),
        *(Weight(f"pooler.{kind}", f"pooler.dense.{kind}") for kind in ("weight", "bias")),
    )

    def build(self, config: EncoderConfig) -> None:
        """Make the layers, named as the house names them."""
        C, H = config.hidden_size, config.num_attention_heads
        norm = partial(LayerNorm, eps=config.layer_norm_eps)
        self.tokens = nn.Embedding(config.vocab_size, C, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.max_position_embeddings, C)
        self.token_types = nn.Embedding(config.type_vocab_size, C)
        self.norm, self.dropout = norm(C), nn.Dropout(config.hidden_dropout_prob)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                C,
                H,
                pre_norm=False,
                norm=norm,
                dropout=config.hidden_dropout_prob,
                attention=MultiHeadAttention(C, H, dropout=config.attention_probs_dropout_prob),
                feed_forward=FeedForward(C, config.intermediate_size, config.hidden_act),
            )
            for _ in range(config.num_hidden_layers)
        )
        self.pooler: nn.Linear | None = nn.Linear(C, C)

    def places(self, ids: Tensor | None, length: int) -> Tensor:
        """The rows of the position table, (T, C) or (B, T, C), of a text's tokens where the caller names none."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> PooledOutput:
        """Hidden states (B, T, C) of input_ids (B, T) int64, or of inputs_embeds (B, T, C) in their place.

        attention_mask: (B, T) of 1 = token, 0 = padding. token_type_ids: (B, T) int64, which of two texts a token is
        of; all 0 by default. position_ids: (B, T) int64 rows of the position table; by default those of the model.
        Raises ValueError for wrong shapes or dtypes, ids or types outside their tables, and texts past
        config.max_length.
        """
        table = self.positions.num_embeddings
        B, T = check_tokens(self, input_ids, inputs_embeds, position_ids, places=table)
        mask = check_padding(attention_mask, B, T)
        places = self.places(input_ids, T) if position_ids is None else self.positions(position_ids)
        tokens = look_up(self.tokens, input_ids) if inputs_embeds is None else inputs_embeds
        # x = norm(E[ids] + P[places] + S[types]), the small sum first
        x = self.dropout(self.norm(tokens + (places + self._types(token_type_ids, B, T))))  # (B, T, C)
        states = (x,)
        for block in self.blocks:
            x = block(x, mask=mask)
            if output_hidden_states:
                states = (*states, x)
        pooled = None if self.pooler is None else torch.tanh(self.pooler(x[:, 0]))  # (B, C)
        return PooledOutput(x, states if output_hidden_states else None, pooled)

    def _types(self, token_type_ids: Tensor | None, B: int, T: int) -> Tensor:
        """The rows of the token types, (C,) or (B, T, C)."""
        if token_type_ids is None:
            return self.token_types.weight[0]
        if (
            not isinstance(token_type_ids, Tensor)
            or token_type_ids.dtype != torch.int64
            or token_type_ids.shape not in ((T,), (1, T), (B, T))
        ):
            raise ValueError(f"token_type_ids must be a LongTensor {(B, T)}, got {describe(token_type_ids)}")
        return look_up(self.token_types, token_type_ids, "token_type_ids")

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{self.family}Model"
