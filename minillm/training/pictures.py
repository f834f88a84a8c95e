"""Teach a LLaVA in its two stages: first the projector alone, then the projector and the language model.

    stage 1   align      tower frozen, projector learns, language model frozen       what pictures look like in words
    stage 2   instruct   tower frozen, projector learns, language model learns       how to answer about them

The loss is that of the answers alone (`PictureObjective`). As the tower is frozen, what it makes of a picture never
changes: `look_once` keeps it, and a step costs what one of the language model costs. Book 14.4.1 LLaVA의 학습 데이터,
14.4.2 LLaVA 모델 구조. Paper: Liu et al. 2023, section 4.2. Held against transformers' LLaVA: the gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, describe
from minillm.models.llava import LLaVA, expand_image_tokens
from minillm.training.alignment.pairs import IGNORED, answer_example
from minillm.training.batches import Batch
from minillm.training.collators import pad

STAGES = ("align", "instruct")


def freeze_for(model: LLaVA, stage: str) -> LLaVA:
    """The model, in which only what a stage teaches takes a gradient: "align" or "instruct". Changed in place."""
    check_choice("stage", stage, STAGES)
    if not isinstance(model, LLaVA):
        raise ValueError(f"model must be a LLaVA, got {describe(model)}")
    model.vision.requires_grad_(False)
    model.projector.requires_grad_(True)
    model.language.requires_grad_(stage == "instruct")
    return model


@torch.no_grad()
def look_once(model: LLaVA, pixel_values: Tensor, batch_size: int = 256) -> Tensor:
    """What the tower makes of pictures (P, 3, S, S): (P, N, D), a batch at a time. ValueError for what are none."""
    check_int("batch_size", batch_size, 1)
    if not isinstance(pixel_values, Tensor):
        raise ValueError(f"pixel_values must be a tensor (P, 3, S, S), got {describe(pixel_values)}")
    return torch.cat([model.look(some) for some in pixel_values.split(batch_size)])


def picture_example(
    turns: Sequence[tuple[Sequence[int], Sequence[int]]], image_token_id: int, picture_tokens: int
) -> dict[str, list[int]]:
    """Turns of (ids of a question, ids of its answer) as one example; answers are learned, questions are read.

    Each image token of a question becomes as many as a picture has. [([IMG, 5], [7])] with 2 tokens a picture ->
    input_ids [IMG, IMG, 5, 7], labels [-100, -100, -100, 7]. ValueError for no turn, an empty answer, or an answer with
    an image token.
    """
    if not turns:
        raise ValueError("an example needs at least one turn, got none")
    out: dict[str, list[int]] = {"input_ids": [], "labels": []}
    for asked, answered in turns:
        if not len(answered) or image_token_id in answered:
            raise ValueError(f"an answer must be ids without the image token, got {list(answered)}")
        one = answer_example(expand_image_tokens(asked, image_token_id, picture_tokens), answered)
        out = {name: out[name] + one[name] for name in out}
    return out


class PictureCollator:
    """Examples as one batch, padded on the right with `pad_token_id`, which must not be the image token.

    pictures: pixels (P, 3, S, S) for name="pixel_values", what `look_once` gave for name="picture_states"; None for a
    model that is blind. An example has under this name the number of its picture, or a list of them.
    """

    def __init__(self, pad_token_id: int, pictures: Tensor | None, name: str = "picture_states"):
        self.name = check_choice("name", name, ("pixel_values", "picture_states"))
        self.pad_token_id, self.pictures = pad_token_id, pictures

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """B examples -> input_ids, labels, attention_mask (B, longest), and the pictures in their order."""
        width = max(len(one["input_ids"]) for one in examples)
        batch = {
            "input_ids": pad([one["input_ids"] for one in examples], self.pad_token_id, width),
            "labels": pad([one["labels"] for one in examples], IGNORED, width),
            "attention_mask": pad([[1] * len(one["input_ids"]) for one in examples], 0, width),
        }
        if self.pictures is not None:
            which = [one[self.name] for one in examples]
            places = [i for one in which for i in (one if isinstance(one, list) else [one])]
            batch[self.name] = self.pictures[places]
        return batch
