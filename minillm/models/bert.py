"""BERT: an encoder that learns to fill in masked words, and then answers for many tasks.

Book 2.7.1 BERT, 3.3.1 모델 활용하기. Paper: Devlin et al. 2019. Held against transformers' BertModel and its heads.
The body is encoder.py's with places 0, 1, 2, ...; the heads are encoder_heads.py's. Leaves out: the head that says
whether one sentence follows another (a folder with it opens, and `left_out` names it), multiple choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from minillm.models.base import Weight
from minillm.models.encoder import EncoderBody, EncoderConfig
from minillm.models.encoder_heads import (
    ForMaskedLM,
    ForQuestionAnswering,
    ForSequenceClassification,
    ForTokenClassification,
)


@dataclass
class BERTConfig(EncoderConfig):
    """transformers' BertConfig: see EncoderConfig."""

    model_types: ClassVar[tuple[str, ...]] = ("bert",)


class BERT(EncoderBody):
    """BERT without a task: ids -> hidden states. `BERT(config, seed)` or `BERT.from_pretrained(folder)`."""

    config_class, prefix, family = BERTConfig, "bert.", "Bert"

    def places(self, ids: Tensor | None, length: int) -> Tensor:
        """The first rows of the table, (T, C): tokens are counted from 0, padding too."""
        return self.positions.weight[:length]


class BERTForMaskedLM(ForMaskedLM):
    """BERT that scores every word of the vocabulary for every place, the masked ones above all."""

    config_class, body_class = BERTConfig, BERT
    second_bias = "cls.predictions.decoder.bias"
    weights = (
        *(Weight(f"head.transform.{k}", f"cls.predictions.transform.dense.{k}") for k in ("weight", "bias")),
        *(Weight(f"head.norm.{k}", f"cls.predictions.transform.LayerNorm.{k}") for k in ("weight", "bias")),
        Weight("head.output.weight", "cls.predictions.decoder.weight"),
        Weight("head.output.bias", "cls.predictions.bias"),
    )


class BERTForSequenceClassification(ForSequenceClassification):
    """BERT that says which of num_labels kinds a text is."""

    config_class, body_class = BERTConfig, BERT


class BERTForTokenClassification(ForTokenClassification):
    """BERT that says which of num_labels kinds each token is."""

    config_class, body_class = BERTConfig, BERT


class BERTForQuestionAnswering(ForQuestionAnswering):
    """BERT that marks where in a text the answer stands."""

    config_class, body_class = BERTConfig, BERT
