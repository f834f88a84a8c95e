"""Text classification: which kind of text is this?

    logits (labels,)  --softmax-->  probabilities that sum to 1     one label is right
                      --sigmoid-->  one probability a label         several may be right
                      --id2label--> {"label": "경제", "score": 0.93}

Book 3.4 모델 학습시키기, 3.5.1 파이프라인을 활용한 추론. Held against transformers' TextClassificationPipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, describe
from minillm.inference.pipelines.base import Options, Pipeline, Row, check_logits, text_and_pair
from minillm.models.decoder_heads import DecoderForSequenceClassification
from minillm.models.encoder_heads import ForFirstTokenClassification, ForSequenceClassification

FUNCTIONS = ("softmax", "sigmoid", "none")
NOT_SAID = ""  # transformers' own mark: None is a top_k, too


def label_scores(logits: Tensor, function: str) -> Tensor:
    """Scores (labels,) of logits (labels,): "softmax" for one right label, "sigmoid" for any number, "none".

    ValueError for another function, for what is no float tensor (labels,), and for NaN.
    """
    check_logits(logits)
    check_choice("function", function, FUNCTIONS)
    if function == "softmax":
        return logits.softmax(-1)
    return logits.sigmoid() if function == "sigmoid" else logits


def ranked(scores: Tensor, names: Mapping[int, str], top_k: int | None) -> list[dict[str, Any]]:
    """The best top_k labels (None: all) of scores (labels,), best first. ValueError for a top_k below 1, and for a
    label without a name."""
    check_logits(scores, axes=1)
    if top_k is not None:
        check_int("top_k", top_k, 1)
    if missing := set(range(len(scores))) - set(names):
        raise ValueError(
            f"each of {len(scores)} labels needs a name, label {min(missing)} has none in {describe(names)}"
        )
    order = torch.argsort(scores, descending=True, stable=True)[:top_k].tolist()
    return [{"label": names[i], "score": scores[i].item()} for i in order]


@dataclass(frozen=True)
class ClassificationOptions(Options):
    """top_k: how many labels, None for all; not said: the best one, alone. function_to_apply: "softmax", "sigmoid",
    "none"; None: what the config's problem_type asks for."""

    top_k: int | str | None = NOT_SAID
    function_to_apply: str | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        if self.top_k is not None and self.top_k != NOT_SAID:
            check_int("top_k", self.top_k, 1)
        if self.function_to_apply is not None:
            check_choice("function_to_apply", self.function_to_apply, FUNCTIONS)


class TextClassification(Pipeline):
    """A text, a pair (tuple or dict of text and text_pair), or many -> label and score.

    One text gives [{"label", "score"}], a list a list of {"label", "score"}; with top_k each becomes a list.
    """

    task, options_class, columns = "text-classification", ClassificationOptions, ("text", "text_pair")

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """A classifier of texts."""
        heads = ForSequenceClassification, ForFirstTokenClassification, DecoderForSequenceClassification
        return issubclass(model_class, heads)

    def preprocess(self, item: Any, options: ClassificationOptions) -> list[Row]:
        """One row."""
        return self.rows(self.encode(*text_and_pair(item, self.task), options))

    def read(self, row: Row, output: Any, number: int, options: ClassificationOptions) -> Tensor:
        """The logits (labels,)."""
        return output.logits[number].float().cpu()

    def postprocess(self, found: list[Tensor], rows: list[Row], options: ClassificationOptions) -> Any:
        """The best label, or the best top_k."""
        scores = label_scores(found[0], options.function_to_apply or self.function())
        if options.top_k == NOT_SAID:
            return ranked(scores, self.model.config.id2label, 1)[0]
        return ranked(scores, self.model.config.id2label, options.top_k)

    def function(self) -> str:
        """What makes scores of the logits, by the config: problem_type, else the number of labels."""
        config = self.model.config
        kind = config.extra.get("problem_type")
        if kind == "regression":
            return "none"
        return "sigmoid" if kind == "multi_label_classification" or config.num_labels == 1 else "softmax"

    def shaped(self, results: list[Any], inputs: Any, given: Mapping[str, Any]) -> Any:
        """One text without top_k gives a list, as in transformers; a pair does not."""
        return (
            results
            if isinstance(inputs, str) and "top_k" not in given
            else super().shaped(results, inputs, given)
        )
