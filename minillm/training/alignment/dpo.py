"""DPO under the house's Trainer: batches of pairs, a reference that is asked once, a run that resumes bit for bit.

    trainer = DPOTrainer(model, TrainerConfig(...), pairs, held_out_pairs, beta=0.1)
    trainer.train()

The reference is the model as it is when the trainer is made. What it finds of every pair is computed then and kept
beside the pairs, two numbers a pair, so that no second model is in memory; it must not change, and nothing else is
asked of it. `reference=` names another model.

Book: 4.3.2 DPO: 선호 데이터셋을 직접 학습하기. Paper: Rafailov et al. 2023.
Held against: trl's DPOTrainer (precompute_ref_log_probs).
Leaves out: reference models that follow the policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_number, describe
from minillm.nn.modes import Evaluating
from minillm.training.alignment.pairs import SIDES, PreferenceSet, pair_logprobs, ranked_right
from minillm.training.alignment.preference_losses import check_beta, dpo_loss, hinge_loss, ipo_loss
from minillm.training.evaluate import EvalPrediction
from minillm.training.objectives import Outcome
from minillm.training.parts import one_of
from minillm.training.trainer import Trainer

NAMES = tuple(f"reference_{side}" for side in SIDES)


class DPOObjective:
    """The loss of a batch of pairs whose reference is known (`PreferenceSet.with_reference`). Targets are pairs.

    loss: dpo_loss, hinge_loss, ipo_loss, or one's own with their first five arguments. settings: further arguments of
    it, such as label_smoothing.
    """

    rows_apart = True

    def __init__(self, beta: float = 0.1, loss: Callable[..., Tensor] = dpo_loss, **settings: float) -> None:
        self.beta = check_beta(beta)
        if not callable(loss):
            raise ValueError(f"loss must be a function like dpo_loss, got {describe(loss)}")
        self.loss, self.settings = loss, {name: check_number(name, one) for name, one in settings.items()}
        self.digest = ""

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """The loss; predictions are the implicit rewards β log(p / p_ref) (B, 2), the better answer's first."""
        if not set(NAMES) <= set(batch):
            raise ValueError(
                f"a batch of pairs must have {', '.join(NAMES)} (with_reference), got {sorted(batch)}"
            )
        with Evaluating(model):  # the reference has no dropout: with it, Δ would not even begin at 0
            policy = pair_logprobs(model, batch)
        reference = [batch[name] for name in NAMES]
        loss = self.loss(*policy, *reference, self.beta, **self.settings)
        rewards = [self.beta * (mine - theirs) for mine, theirs in zip(policy, reference)]
        return Outcome(loss, torch.stack(rewards, dim=1), batch["labels"])

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of pairs."""
        return len(batch["labels"])

    def what_decides_the_weights(self) -> dict[str, Any]:
        """What a resumed run must share."""
        name = getattr(self.loss, "__qualname__", type(self.loss).__qualname__)
        return {"loss": name, "beta": self.beta, **self.settings, "reference": self.digest}


def pair_figures(prediction: EvalPrediction) -> dict[str, float]:
    """accuracy: the share of pairs whose better answer has the higher reward, a tie half; margin: by how much."""
    difference = prediction.predictions[:, 0] - prediction.predictions[:, 1]
    right = ranked_right(difference)
    return {"accuracy": float(right.mean()), "margin": float(difference.mean())}


class DPOTrainer(Trainer):
    """A Trainer of pairs. train_data, eval_data: PreferenceSets, or what one is made from. Other arguments: Trainer's;
    `ref_model` is trl's name of `reference`.

    An evaluation gives eval_loss, eval_accuracy and eval_margin, of the implicit rewards. Dropout is off, as in trl, in
    the model as in the reference. ValueError as Trainer, PreferenceSet and DPOObjective.
    """

    def __init__(
        self,
        model: nn.Module,
        config: Any = None,
        train_data: Any = None,
        eval_data: Any = None,
        beta: float = 0.1,
        loss: Callable[..., Tensor] = dpo_loss,
        reference: nn.Module | None = None,
        label_smoothing: float = 0.0,
        pad_id: int = 0,
        **options: Any,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch module, got {describe(model)}")
        given = (
            (train_data, options.pop("train_dataset", None)),
            (eval_data, options.pop("eval_dataset", None)),
        )
        train_data = one_of("what to learn", ("train_data", "train_dataset"), given[0])
        eval_data = one_of("what to evaluate on", ("eval_data", "eval_dataset"), given[1])
        if train_data is None:
            raise ValueError("DPOTrainer needs train_data, pairs to learn from; got None")
        names = ("reference", "ref_model")
        reference = one_of("the reference", names, (reference, options.pop("ref_model", None)))
        settings = {"label_smoothing": label_smoothing} if label_smoothing else {}
        if settings and loss in (hinge_loss, ipo_loss):
            raise ValueError(f"label_smoothing is one of dpo_loss, {loss.__name__} has none")
        objective = DPOObjective(beta, loss, **settings)
        asked = model if reference is None else reference
        sets = []
        for data in (train_data, eval_data):
            pairs = data if data is None or isinstance(data, PreferenceSet) else PreferenceSet(data, pad_id)
            known = pairs is None or set(NAMES) <= set(pairs.columns)
            sets.append(pairs if known else pairs.with_reference(asked))
        columns = [sets[0].columns[name].numpy().tobytes() for name in NAMES]
        objective.digest = hashlib.sha256(b"".join(columns)).hexdigest()
        options.setdefault("compute_metrics", pair_figures)
        super().__init__(model, config, *sets, objective=objective, **options)
