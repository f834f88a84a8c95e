"""What a teacher gives a student of another start, text, temperature or alpha: the small model of the course, live.

    python -m tests.benchmarks.distillation_quality --out FILE [SETTING ...] [--steps N] [--seeds N] [--list]

SETTINGs are names of the table below (all by default). Each run is recorded in FILE (JSON lines: the mean of -log p of
every piece of the exam) and skipped when it stands there already: stop it, and start it again. Every student is
compared with the same student that had the text alone, of the same seed, on the same pieces: mean difference of -log p
a token with a 95 % interval by bootstrap over pieces. Prints a table, losses included.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minillm.course import small_corpus, small_model
from minillm.evaluation import paired
from minillm.training import (
    CausalLMObjective,
    DistillationObjective,
    Trainer,
    TrainerConfig,
    student_from_layers,
)

LENGTH = 32
LITTLE = 8000  # tokens
ALONE: dict[str, tuple[str, str]] = {  # the student's start, the text
    "copied, 8,000 tokens, alone": ("copied", "little"),
    "copied, all the text, alone": ("copied", "all"),
    "random, 8,000 tokens, alone": ("random", "little"),
    "random, all the text, alone": ("random", "all"),
}
SOFT = {"T=2 alpha=0.9": (2.0, 0.9), "T=4 alpha=0.9": (4.0, 0.9), "T=2 alpha=0.5": (2.0, 0.5)}


def settings() -> dict[str, tuple[str, str, tuple[float, float] | None]]:
    """{name: (start, text, (temperature, alpha) or None)}"""
    found: dict[str, Any] = {}
    for name, (start, text) in ALONE.items():
        found[name] = (start, text, None)
        found |= {name.replace("alone", soft): (start, text, values) for soft, values in SOFT.items()}
    return found


def alone(name: str) -> str:
    """The setting without a teacher that a setting is compared with."""
    return f"{name.rsplit(',', 1)[0]}, alone"


class Bench:
    """The teacher, its text, and the exam that neither it nor a student has read."""

    def __init__(self) -> None:
        self.teacher, tokenizer, _ = small_model()
        corpus = small_corpus()
        end = tokenizer.encode("<|endoftext|>", allowed_special="all")
        ids = torch.tensor([one for text in corpus.documents for one in tokenizer.encode(text) + end])
        self.texts = {"little": ids[:LITTLE], "all": ids}
        exam = torch.cat([torch.tensor(tokenizer.encode(text)) for text in corpus.exam.values()])
        self.exam = exam[: len(exam) // LENGTH * LENGTH].view(-1, LENGTH)

    def student(self, start: str, seed: int) -> Any:
        """Two layers of the teacher, or two new ones of the same shape."""
        copied = student_from_layers(self.teacher, [0, 2])
        return copied if start == "copied" else type(copied)(copy.deepcopy(copied.config), seed=seed)

    def run(self, start: str, text: str, soft: tuple[float, float] | None, seed: int, steps: int) -> list:
        """Train one student; mean -log p of a token, one number a piece of the exam."""
        student = self.student(start, seed)
        objective = DistillationObjective(self.teacher, *soft) if soft else CausalLMObjective()
        config = TrainerConfig(
            max_steps=steps, batch_size=8, context_length=LENGTH, learning_rate=2e-3, warmup_steps=3,
            betas=(0.9, 0.99), precision="fp32", seed=seed, progress=False,
        )  # fmt: skip
        Trainer(student, config, self.texts[text], objective=objective).train()
        return losses(student.eval(), self.exam)


@torch.no_grad()
def losses(model: Any, exam: Tensor) -> list[float]:
    """Mean -log p of a token, one number a piece (N, T)."""
    found = []
    for part in exam.split(64):
        log_p = model(part[:, :-1]).logits.log_softmax(-1)
        found += (-log_p.gather(2, part[:, 1:, None])[..., 0].mean(dim=1)).tolist()
    return found


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", metavar="SETTING")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--list", action="store_true", help="print what is recorded, measure nothing")
    given = parser.parse_args()
    known = settings()
    if unknown := set(given.settings) - set(known):
        parser.error(f"unknown: {'; '.join(sorted(unknown))}; there are {'; '.join(known)}")
    lines = given.out.read_text("utf-8").splitlines() if given.out.is_file() else []
    done = {(row["name"], row["seed"], row["steps"]): row["losses"] for row in map(json.loads, lines)}
    if not given.list:
        bench = Bench()
        for seed in range(given.seeds):
            for name in given.settings or known:
                if (name, seed, given.steps) in done:
                    continue
                row = {"name": name, "seed": seed, "steps": given.steps}
                row["losses"] = bench.run(*known[name], seed, given.steps)
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                done[name, seed, given.steps] = row["losses"]
                print(f"{name}, seed {seed}: {sum(row['losses']) / len(row['losses']):.3f}", flush=True)
    table(done)


def table(done: dict[tuple[str, int, int], list[float]]) -> None:
    """Print the loss of each run, and how much less it is than without a teacher (below 0: the teacher hurt)."""
    print("| start, text, loss | steps | seed | loss | gain, 95 % | pieces won |")
    print("|---|---|---|---|---|---|")
    for (name, seed, steps), row in sorted(done.items(), key=lambda one: (one[0][2], one[0][0], one[0][1])):
        cells = [name, str(steps), str(seed), f"{sum(row) / len(row):.3f}", "", ""]
        other = done.get((alone(name), seed, steps))
        if other is not None and name != alone(name):
            result = paired([-one for one in row], [-one for one in other])
            low, high = result.interval
            cells[4:] = [
                f"{result.difference:+.3f} [{low:+.3f}, {high:+.3f}]",
                f"{result.wins} of {len(row)}",
            ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
