"""Fill-mask: which word stood under the mask?

    "대한민국의 수도는 [MASK]이다."  ->  softmax over the vocabulary at the mask's place  ->  the best words

Book 2.7.1 BERT, 3.5.1 파이프라인을 활용한 추론. Held against transformers' FillMaskPipeline. Several masks are filled
each for itself, as there; a joint search over them is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_int, describe
from minillm.inference.pipelines.base import Options, Pipeline, Row
from minillm.models.encoder_heads import ForMaskedLM

MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class MaskOptions(Options):
    """top_k: words a mask. targets: a word or a list of words, of which the best are taken instead of all words."""

    top_k: int = 5
    targets: Any = None

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        check_int("top_k", self.top_k, 1)
        words = [self.targets] if isinstance(self.targets, str) else self.targets
        if words is not None and not (
            isinstance(words, (list, tuple)) and words and all(isinstance(word, str) for word in words)
        ):
            raise ValueError(f"targets must be a word or a list of words, got {describe(self.targets)}")


class FillMask(Pipeline):
    """A text with a mask -> [{"score", "token", "token_str", "sequence"}, ...]; with several masks a list a mask."""

    task, options_class = "fill-mask", MaskOptions

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """A masked language model."""
        return issubclass(model_class, ForMaskedLM)

    @property
    def mask_id(self) -> int:
        """The mask's id; ValueError for a tokenizer without one."""
        found = self.special_id(*MASKS)
        if found is None:
            raise ValueError(f"fill-mask needs a tokenizer with a mask, {' or '.join(MASKS)}, it has none")
        return found

    def settle(self, options: Mapping[str, Any]) -> MaskOptions:
        """As Pipeline's; the targets are known words, and top_k is at most the vocabulary."""
        chosen = super().settle(options)
        check_int("top_k", chosen.top_k, 1, self.model.config.vocab_size)
        self.target_ids(chosen)
        return chosen

    def target_ids(self, options: MaskOptions) -> list[int] | None:
        """The ids of the targets, each once; ValueError for a word that is not one token."""
        if options.targets is None:
            return None
        words = [options.targets] if isinstance(options.targets, str) else options.targets
        return sorted({self._target_id(word) for word in words})

    def _target_id(self, word: str) -> int:
        index = self.tokenizer.token_to_id(word)
        ids = self.tokenizer.encode(word) if index is None else [index]
        pieces = [self.tokenizer.id_to_token(i) for i in ids]
        if len(ids) != 1 or ids[0] == self.special_id("[UNK]", "<unk>") != index:
            raise ValueError(
                f"the target {word!r} is no single token of the vocabulary, it is {describe(pieces)}"
            )
        return ids[0]

    def preprocess(self, item: Any, options: MaskOptions) -> list[Row]:
        """One row, with the places of its masks; ValueError for a text without one."""
        rows = self.rows(self.encode(item, None, options))
        rows[0].about = [place for place, index in enumerate(rows[0].ids) if index == self.mask_id]
        if not rows[0].about:
            mask = self.tokenizer.id_to_token(self.mask_id)
            raise ValueError(
                f"fill-mask needs a text with {mask} (that is not cut off), got {describe(item)}"
            )
        return rows

    def read(self, row: Row, output: Any, number: int, options: MaskOptions) -> tuple[Tensor, Tensor]:
        """(probabilities, ids) of the best words, (masks, top_k) each."""
        scores = output.logits[number, row.about].float().softmax(-1)  # (masks, V)
        targets = self.target_ids(options)
        if targets is None:
            best = scores.topk(options.top_k)
            return best.values.cpu(), best.indices.cpu()
        best = scores[:, targets].topk(min(options.top_k, len(targets)))
        return best.values.cpu(), torch.tensor(targets)[best.indices.cpu()]

    def postprocess(self, found: list[Any], rows: list[Row], options: MaskOptions) -> list[Any]:
        """The best words, and the text with each in the mask's place."""
        (values, words), row = found[0], rows[0]
        alone = len(row.about) == 1
        filled = []
        for place, scores, ids in zip(row.about, values.tolist(), words.tolist()):
            filled.append([])
            for score, index in zip(scores, ids):
                text = [*row.ids[:place], index, *row.ids[place + 1 :]]
                # the other masks stay to be seen, and with them all special tokens, as in transformers
                sequence = self.tokenizer.decode(text, skip_special_tokens=alone)
                token = self.tokenizer.decode([index])
                filled[-1].append({"score": score, "token": index, "token_str": token, "sequence": sequence})
        return filled[0] if alone else filled

    def shaped(self, results: list[Any], inputs: Any, given: Mapping[str, Any]) -> Any:
        """A list of one text gives what the text gives, as in transformers."""
        return results[0] if len(results) == 1 else super().shaped(results, inputs, given)
