"""RoBERTa and XLM-R: BERT's network, trained longer, on more text, with another count of places.

    place of a token = padding id + how many tokens that are no padding stand up to it;   of padding = padding id

Book 2.7.1 BERT (RoBERTa), 3.3.1 모델 활용하기 (klue/roberta). Papers: Liu et al. 2019; Conneau et al. 2020 (XLM-R: the
same network for 100 languages, told apart by `model_type`). Held against transformers' RobertaModel, XLMRobertaModel
and their heads. The body is encoder.py's; the classifier stands on the first token with two layers of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from minillm._checks import check_int
from minillm.models.base import Weight
from minillm.models.encoder import EncoderBody, EncoderConfig
from minillm.models.encoder_heads import (
    ForFirstTokenClassification,
    ForMaskedLM,
    ForQuestionAnswering,
    ForTokenClassification,
)

FAMILIES = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta"}  # as transformers names them


@dataclass
class RoBERTaConfig(EncoderConfig):
    """transformers' RobertaConfig and XLMRobertaConfig: see EncoderConfig.

    Of max_position_embeddings rows, pad_token_id + 1 count no token: a text has max_length tokens at most.
    """

    model_types: ClassVar[tuple[str, ...]] = tuple(FAMILIES)

    vocab_size: int = 50265
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    model_type: str = "roberta"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RoBERTaConfig:
        """As ModelConfig.from_dict; a key that the file leaves out has transformers' value for the family."""
        if isinstance(values, Mapping) and values.get("model_type") == "xlm-roberta":
            values = {"vocab_size": 30522, **values}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """As EncoderConfig's; places are counted from pad_token_id, so there must be one, with room above it."""
        super().__post_init__()
        check_int("pad_token_id", self.pad_token_id, 0, self.max_position_embeddings - 2)

    @property
    def max_length(self) -> int:
        """The longest text in tokens."""
        return self.max_position_embeddings - self.pad_token_id - 1


class RoBERTa(EncoderBody):
    """RoBERTa without a task: ids -> hidden states. `RoBERTa(config, seed)` or `RoBERTa.from_pretrained(folder)`."""

    config_class, prefix = RoBERTaConfig, "roberta."

    @property
    def family(self) -> str:
        """What transformers' names of these models begin with."""
        return FAMILIES[self.config.model_type]

    def build(self, config: RoBERTaConfig) -> None:
        """As EncoderBody's; padding has a place of its own, which learns nothing."""
        super().build(config)
        self.positions = nn.Embedding(
            config.max_position_embeddings, config.width, padding_idx=config.pad_token_id
        )

    def places(self, ids: Tensor | None, length: int) -> Tensor:
        """Rows of the table (B, T, C), counted from the padding id; (T, C) for embeddings: their padding is unknown."""
        padding = self.config.pad_token_id
        if ids is None:
            return self.positions.weight[padding + 1 : padding + 1 + length]
        tokens = (ids != padding).long()
        return self.positions(tokens.cumsum(1) * tokens + padding)


class RoBERTaForMaskedLM(ForMaskedLM):
    """RoBERTa that scores every word of the vocabulary for every place, the masked ones above all."""

    config_class, body_class = RoBERTaConfig, RoBERTa
    second_bias = "lm_head.decoder.bias"
    weights = (
        *(Weight(f"head.transform.{k}", f"lm_head.dense.{k}") for k in ("weight", "bias")),
        *(Weight(f"head.norm.{k}", f"lm_head.layer_norm.{k}") for k in ("weight", "bias")),
        Weight("head.output.weight", "lm_head.decoder.weight"),
        Weight("head.output.bias", "lm_head.bias"),
    )

    def activation(self, config: EncoderConfig) -> str:
        """Of the head's first layer, whatever the body's is."""
        return "gelu"


class RoBERTaForSequenceClassification(ForFirstTokenClassification):
    """RoBERTa that says which of num_labels kinds a text is."""

    config_class, body_class = RoBERTaConfig, RoBERTa


class RoBERTaForTokenClassification(ForTokenClassification):
    """RoBERTa that says which of num_labels kinds each token is."""

    config_class, body_class = RoBERTaConfig, RoBERTa


class RoBERTaForQuestionAnswering(ForQuestionAnswering):
    """RoBERTa that marks where in a text the answer stands."""

    config_class, body_class = RoBERTaConfig, RoBERTa
