"""A reward model: one number that says how good an answer is, learned from which of two answers people preferred.

    r(x, y) = w · h_last             h: hidden states of a body that has read prompt x and answer y
    P(y1 is preferred) = σ(r(x, y1) - r(x, y2))                                   Bradley and Terry
    loss = mean of  -log σ(r(chosen) - r(rejected) - margin)

Only differences are learned: a reward has no zero. So rewards of two prompts cannot be compared, and none is "good" by
itself. The same head on every token is a critic: what it expects of the text so far (PPO).

Book: 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기.
Papers: Bradley and Terry 1952; Stiennon et al. 2020; Touvron et al. 2023 (margin).
Held against: trl's RewardTrainer, transformers' LlamaForSequenceClassification, which opens what is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, check_number, describe, is_listing
from minillm.evaluation.calibration import expected_calibration_error
from minillm.evaluation.paired import paired
from minillm.models.decoder_heads import (
    DecoderForSequenceClassification,
    GPT2ForSequenceClassification,
    LlamaForSequenceClassification,
)
from minillm.nn.modes import Evaluating
from minillm.training.alignment.logprobs import check_right_padding, check_rows
from minillm.training.alignment.pairs import SIDES, PreferenceSet, ranked_right
from minillm.training.batches import id_array, padded
from minillm.training.objectives import Outcome

CLASSIFIERS = (GPT2ForSequenceClassification, LlamaForSequenceClassification)


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> Tensor:
    """Mean of -log σ(chosen - rejected - margin), 0-d; rewards (B,) each.

    margin: (B,), how much better the better answer is at least, or one number for all; None for none.
    """
    check_rows(chosen, rejected), check_margin(margin, chosen)
    difference = chosen - rejected  # (B,)
    if margin is not None:
        difference = difference - margin
    # -log P(chosen is preferred)
    return -F.logsigmoid(difference).mean()


def check_margin(margin: Any, chosen: Tensor) -> None:
    """ValueError for what is no number, and no tensor of one number for each of the rewards (B,)."""
    if isinstance(margin, Tensor) and margin.ndim:
        if margin.shape != chosen.shape:
            raise ValueError(f"margin must be a tensor {tuple(chosen.shape)}, got {describe(margin)}")
    elif margin is not None:
        check_number("margin", margin)


class RewardModel(nn.Module):
    """A body with one number a text on it: `RewardModel(body)`, body a LlamaBody, a GPT2Body, or a language model's.

    The body is taken over, not copied: it is trained with the head. `seed` draws the head, N(0, 1/(C + 1)), so that
    the first rewards are of size 1 (Stiennon et al. 2020). ValueError for a body that is none.
    """

    def __init__(self, body: nn.Module, seed: int = 0) -> None:
        super().__init__()
        body = getattr(body, "body", body)
        if not isinstance(body, tuple(one.body_class for one in CLASSIFIERS)):  # what could not be saved
            known = " or ".join(one.body_class.__name__ for one in CLASSIFIERS)
            raise ValueError(
                f"body must be a decoder's body, a {known}, or a model on one, got {describe(body)}"
            )
        self.body, self.config, width = body, body.config, body.config.width
        self.score = nn.Linear(width, 1, bias=False, dtype=next(body.parameters()).dtype)
        generator = torch.Generator().manual_seed(check_int("seed", seed, 0))
        with torch.no_grad():
            drawn = torch.empty(1, width).normal_(0.0, (width + 1) ** -0.5, generator=generator)
            self.score.weight.copy_(drawn)
        self.score.to(next(body.parameters()).device)

    def values(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """A number for the text up to each token: ids (B, T) -> (B, T)."""
        return self.score(self.body(input_ids, attention_mask=attention_mask).last_hidden_state)[..., 0]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The reward of each text (B,), read at its last real token. Padding stands on the right."""
        check_right_padding(attention_mask)
        hidden = self.body(input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, C)
        if attention_mask is None:
            last = hidden[:, -1]
        else:
            places = (
                torch.arange(hidden.shape[1], device=hidden.device) * attention_mask
            )  # 0 where it is padding
            last = hidden[torch.arange(len(hidden), device=hidden.device), places.argmax(dim=1)]  # (B, C)
        return self.score(last)[:, 0]

    def save_pretrained(self, folder: str | Path) -> Any:
        """Write a folder in Hugging Face's layout: a sequence classifier of one label, as transformers has it."""
        kind = next(one for one in CLASSIFIERS if isinstance(self.body, one.body_class))
        whole = kind.unfilled(self.config.with_labels(1))
        whole.load_state_dict(self.state_dict())
        return whole.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> RewardModel:
        """Open such a folder; ValueError for one of another kind, or with more labels than one."""
        from minillm.models.auto import load_model

        whole = load_model(folder, **options)
        if not isinstance(whole, DecoderForSequenceClassification) or whole.config.num_labels != 1:
            raise ValueError(
                f"{folder} must hold a sequence classifier of one label, got {type(whole).__name__}"
            )
        model = cls(whole.body)
        model.score = whole.score
        return model

    def reward(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], rows: int = 32
    ) -> list[float]:
        """The rewards of answers to prompts, ids both: what PPOTrainer, GRPOTrainer and best_of_n take as `reward`."""
        if not is_listing(prompts) or not is_listing(answers):
            raise ValueError(f"prompts and answers must be lists of lists of ids, got {describe(answers)}")
        if len(prompts) != len(answers):
            raise ValueError(f"expected an answer to each prompt, got {len(answers)} to {len(prompts)}")
        check_int("rows", rows, 1)
        texts, found = [_text_ids(i, *both) for i, both in enumerate(zip(prompts, answers))], []
        device = next(self.parameters()).device
        with torch.no_grad(), Evaluating(self):
            for start in range(0, len(texts), rows):
                batch = padded([(ids, ids) for ids in texts[start : start + rows]], 0)
                found.append(self(batch["input_ids"].to(device), batch["attention_mask"].to(device)))
        return torch.cat(found).tolist() if found else []


def _text_ids(number: int, prompt: Any, answer: Any) -> np.ndarray:
    """A prompt and its answer as one row of ids; ValueError for what is none."""
    if not is_listing(prompt) or not is_listing(answer):
        raise ValueError(
            f"prompt and answer {number} must be lists of ids, got {describe(prompt)}, {describe(answer)}"
        )
    ids = id_array(f"prompt and answer {number}", [*prompt, *answer])
    if not len(ids):
        raise ValueError(f"prompt and answer {number} must hold an id, both are empty")
    return ids


class RewardObjective:
    """Rank pairs: a batch of a PreferenceSet, its margin too where it has one. Targets are pairs; dropout is off, as
    trl has it."""

    rows_apart = True

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """The Bradley-Terry loss; predictions are the rewards (B, 2), the better answer's first, labels 0."""
        with Evaluating(model):
            chosen, rejected = (
                model(batch[f"{side}_input_ids"], batch[f"{side}_attention_mask"]) for side in SIDES
            )
        loss = bradley_terry_loss(chosen, rejected, batch.get("margin"))
        return Outcome(loss, torch.stack([chosen, rejected], dim=1), batch["labels"])

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of pairs."""
        return len(batch["labels"])


class RewardReport(NamedTuple):
    """What a reward model is worth on pairs it has not seen. interval: of the accuracy, 95 %, by bootstrap."""

    accuracy: float
    interval: tuple[float, float]
    calibration_error: float
    pairs: int

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.3f} [{low:.3f}, {high:.3f}], calibration error {self.calibration_error:.3f}, "
            f"n = {self.pairs}"
        )


def reward_report(
    rewards: Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]] | RewardModel,
    pairs: PreferenceSet,
    bins: int = 10,
    seed: int = 0,
) -> RewardReport:
    """Accuracy and calibration on held-out pairs; a tie counts as half. rewards: a RewardModel, or what gives the two
    rewards (B,) of a batch (an implicit reward of DPO).

    Each pair is asked as "is this one the better?" of one of its answers, drawn by `seed`: asked of the better ones
    alone, a model that is always sure would look calibrated. ValueError for what is no PreferenceSet.
    """
    if not callable(rewards):
        raise ValueError(f"rewards must be a reward model or a function, got {describe(rewards)}")
    if not callable(getattr(pairs, "rows", None)):
        raise ValueError(f"pairs must be a PreferenceSet, got {describe(pairs)}")
    ask = pair_rewards(rewards) if isinstance(rewards, RewardModel) else rewards
    with torch.no_grad():
        found = [ask(pairs.rows(range(at, min(at + 32, len(pairs))))) for at in range(0, len(pairs), 32)]
    difference = torch.cat([chosen - rejected for chosen, rejected in found]).double().cpu().numpy()  # (N,)
    right = ranked_right(difference)
    interval = paired(right, np.zeros_like(right), seed=seed).interval
    first = (
        np.random.default_rng(seed).integers(0, 2, len(right)).astype(bool)
    )  # the better one is named first
    probabilities = np.exp(
        -np.logaddexp(0.0, -np.where(first, difference, -difference))
    )  # σ, without overflow
    error = expected_calibration_error(probabilities, first, bins)
    return RewardReport(float(right.mean()), interval, error, len(right))


def pair_rewards(model: RewardModel) -> Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]:
    """A function that gives the model's rewards (B,) of the better and of the worse answers of a batch."""

    def ask(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        device = next(model.parameters()).device
        both = RewardObjective()(model, {name: x.to(device) for name, x in batch.items()}).predictions
        return both[:, 0], both[:, 1]

    return ask


def critic_of(model: nn.Module, seed: int = 0) -> RewardModel:
    """A critic on a copy of a model's body, or of a whole RewardModel, which then keeps its head."""
    copy = deepcopy(model)
    return copy if isinstance(copy, RewardModel) else RewardModel(copy, seed)
