"""What two remedies are worth: old texts among the rows of SFT (04_1), a share of SFT's loss in DPO (04_3).

    python -m tests.benchmarks.alignment_remedies [old-texts] [sft-in-dpo] [--seeds 0 1 2]

The lessons' own models and recipes; what is compared has the same seed, steps, exam and draws. The tables of the two
lessons are made of what this prints. A minute a seed on one core, once the models of the seed are there.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from minillm.course import program_model, sft_model
from minillm.course.small import programs
from minillm.course.small.program_scores import PARAMS, comment_prompts, program_scores
from minillm.data import program_texts, small_tasks
from minillm.evaluation import paired
from minillm.inference import rollout
from minillm.training import DPOObjective, SFTObjective, Trainer, chat_examples
from minillm.training.alignment.logprobs import IGNORED, sequence_logprobs
from minillm.training.alignment.own_rows import pair_margins
from minillm.training.objectives import Outcome

SFT_SHARE = 0.2


def scores(model: nn.Module, tokenizer: Any, tasks: list[Any], prompts: list[list[int]], seed: int) -> Any:
    """What the answers to the prompts, drawn with this seed, are worth."""
    return program_scores(tokenizer, tasks, rollout(model, prompts, replace(PARAMS, seed=seed)))


def old_texts(seed: int) -> None:
    """SFT of 3,000 rows, and of the same with 750 or 3,000 texts of the pre-training among them, in as many steps."""
    base, sft, recipe = program_model(seed=seed), sft_model(seed=seed), programs.ProgramRecipe(seed=seed)
    tokenizer, exam = base.tokenizer, small_tasks(300, "test", seed=0)
    forms = {
        "comment": comment_prompts(tokenizer, exam),
        "chat": programs.chat_prompts(tokenizer, exam),
    }

    def passed(model: nn.Module) -> dict[str, Any]:
        return {
            form: scores(model, tokenizer, exam, prompts, 0).passed.astype(float)
            for form, prompts in forms.items()
        }

    before, after = passed(base.model), passed(sft.model)
    (end,) = tokenizer.encode(programs.END, allowed_special="all")
    answers = chat_examples(tokenizer, [row["messages"] for row in programs.taught_rows(recipe)]).examples
    for count in (750, 3000):
        old = [[end, *tokenizer.encode(text), end] for text in program_texts(count, seed=seed)]
        rows = [*answers, *({"input_ids": ids, "labels": [IGNORED, *ids[1:]]} for ids in old)]
        model = copy.deepcopy(base.model)
        settings = programs.training_settings(
            recipe, recipe.sft_steps, recipe.sft_batch_size, recipe.sft_learning_rate
        )
        programs._train(model, settings, rows, SFTObjective())
        for form, mixed in passed(model).items():
            line = f"seed {seed}, {count} old texts, {form}: {after[form].mean():.3f} -> {mixed.mean():.3f}"
            print(
                f"{line}; {paired(mixed, after[form])}; base {before[form].mean():.3f}: {paired(mixed, before[form])}"
            )


class WithSFT(DPOObjective):
    """DPO's loss and SFT_SHARE times the mean loss of a token of the chosen answers."""

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        outcome = super().__call__(model, batch, predict)
        ids, labels, mask = (batch[f"chosen_{name}"] for name in ("input_ids", "labels", "attention_mask"))
        loss = -sequence_logprobs(model, ids, labels, mask).sum() / (labels[:, 1:] != IGNORED).sum()
        return outcome._replace(loss=outcome.loss + SFT_SHARE * loss)


def sft_in_dpo(seed: int) -> None:
    """56 steps of DPO without and with SFT's term: the chosen answers of unseen pairs, and the last policy's exam."""
    sft, recipe = sft_model(seed=seed), programs.ProgramRecipe(seed=seed)
    tokenizer = sft.tokenizer
    _, pairs = programs.judged_pairs(sft, recipe.pairs, "train", seed)
    _, unseen = programs.judged_pairs(sft, 150, "validation", seed)
    exam = [task for task in small_tasks(600, "test", seed=100) for _ in range(2)]
    prompts = programs.chat_prompts(tokenizer, exam)

    def true(model: nn.Module) -> Any:
        return np.asarray(scores(model, tokenizer, exam, prompts, 7).true, dtype=float).reshape(-1, 2).mean(1)

    before = true(sft.model)
    start = pair_margins(sft.model, unseen)
    for name, objective in (("DPO", DPOObjective), (f"with {SFT_SHARE} SFT", WithSFT)):
        model = copy.deepcopy(sft.model)
        settings = programs.training_settings(recipe, 56, 16, 3e-4)
        Trainer(model, settings, pairs.with_reference(model), objective=objective(0.3)).train()
        moved = pair_margins(model, unseen)
        fall = moved.chosen - start.chosen
        wider = (moved.margin > start.margin).mean()
        print(f"seed {seed}, {name}: chosen {paired(fall, np.zeros_like(fall))}; Δ > 0: {wider:.2f}")
        print(f"    true score {before.mean():.3f}; {paired(true(model), before)}")


REMEDIES = {"old-texts": old_texts, "sft-in-dpo": sft_in_dpo}


def main() -> None:
    """Print the lines of each remedy and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("remedies", nargs="*", metavar="REMEDY", help=", ".join(REMEDIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    if unknown := set(given.remedies) - set(REMEDIES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(REMEDIES)}")
    for seed in given.seeds:
        for name in given.remedies or REMEDIES:
            REMEDIES[name](seed)


if __name__ == "__main__":
    main()
