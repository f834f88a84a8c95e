"""Feature extraction: the hidden states of every token, before any head.

Book 3.3.1 모델 활용하기 (바디), 3.5.1 파이프라인을 활용한 추론. Held against transformers'
FeatureExtractionPipeline. Of a batch each text has its own tokens only; transformers hands the padding out, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from minillm._checks import check_flag
from minillm.inference.pipelines.base import Options, Pipeline, Row, text_and_pair
from minillm.models.base import PretrainedModel
from minillm.models.seq2seq import Seq2SeqBody, Seq2SeqLM


@dataclass(frozen=True)
class FeatureOptions(Options):
    """return_tensors: a tensor (1, T, C) instead of nested lists."""

    return_tensors: bool | str = False

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        if self.return_tensors != "pt":
            check_flag("return_tensors", self.return_tensors)


class FeatureExtraction(Pipeline):
    """A text, or a pair -> its last hidden states (1, T, C), special tokens included."""

    task, options_class, columns = "feature-extraction", FeatureOptions, ("text", "text_pair")

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """Any model that reads one text: a body, with or without a head."""
        return issubclass(model_class, PretrainedModel) and not issubclass(
            model_class, (Seq2SeqBody, Seq2SeqLM)
        )

    def preprocess(self, item: Any, options: FeatureOptions) -> list[Row]:
        """One row."""
        return self.rows(self.encode(*text_and_pair(item, self.task), options))

    def read(self, row: Row, output: Any, number: int, options: FeatureOptions) -> Tensor:
        """The states (T, C) of the row's own tokens."""
        return output.last_hidden_state[number, : len(row.ids)].float().cpu().clone()

    def postprocess(self, found: list[Tensor], rows: list[Row], options: FeatureOptions) -> Any:
        """One more axis, as in transformers."""
        states = found[0][None]  # (1, T, C)
        return states if options.return_tensors else states.tolist()
