"""Where each wins: RNN, LSTM, GRU, S4D, Mamba, Mamba-2 and a transformer of one size, on one task after another.

    python -m tests.benchmarks.architectures_quality [TASK ...] --kept FOLDER [--seeds 0 1 2] [--tokens N] [--seconds S]
                                                     [--only NAME ...] [--list] [--write]

Every model has about the same number of parameters (its width is chosen for it), the same batches of a seed, AdamW at
one rate. It is examined along the way on the same items; two figures are kept: after so many tokens, and after so many
CPU seconds of training (one thread, examinations apart). Every run is recorded in FOLDER (JSON lines) and skipped when
it stands there already: stop it, and start it again. Differences from the transformer are of the same items and seed,
95 % by bootstrap over items. Lengths beyond the first were never trained on. --write puts the table into
BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import bisect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm.data import SILENT, induction, prove_held_out, python_docs, recall, selective_copy
from minillm.evaluation import paired
from minillm.models import (
    GRU,
    LSTM,
    RNN,
    S4D,
    GRUConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    Mamba,
    Mamba2,
    Mamba2Config,
    MambaConfig,
    RNNConfig,
    S4DConfig,
)
from minillm.training import clip_gradients
from tests.benchmarks import record

PARAMETERS, BATCH, ITEMS, RATE = 100_000, 16, 256, 2e-3
HEAD = [
    "task, length, model",
    "at equal tokens",
    "against the transformer",
    "at equal seconds",
    "tokens then",
]
Batch = tuple[Tensor, Tensor]  # ids (B, T), targets (B, T): what follows each, or SILENT


# --- tasks ---


class Task(NamedTuple):
    """vocabulary; lengths: trained on, then examined only; make(generator, items, length); loss: scored by -log p."""

    vocabulary: int
    lengths: tuple[int, ...]
    make: Callable[[torch.Generator, int, int], Batch]
    exam: Callable[[torch.Generator, int, int], Batch] | None = None
    loss: bool = False


def characters() -> Task:
    """The Python reference, character by character; the exam is every eighth topic, whose sentences are not taught."""
    topics = [one.text for one in python_docs()]
    exam = "\n".join(topics[7::8])
    known = set(exam.splitlines())
    taught = "\n".join(line for i, text in enumerate(topics) if i % 8 != 7 for line in text.splitlines()
                       if len(line) < 40 or line not in known)  # fmt: skip
    lines = [line for line in exam.splitlines() if len(line) >= 40]
    print(prove_held_out(lines, [line for line in taught.splitlines() if len(line) >= 40], what="line"))
    letters = {letter: i for i, letter in enumerate(sorted({*taught, *exam}))}
    texts = [torch.tensor([letters[letter] for letter in text]) for text in (taught, exam)]

    def windows(text: Tensor) -> Callable[[torch.Generator, int, int], Batch]:
        def make(generator: torch.Generator, items: int, length: int) -> Batch:
            starts = torch.randint(0, len(text) - length, (items,), generator=generator)
            rows = torch.stack([text[start : start + length + 1] for start in starts])
            return rows[:, :-1], rows[:, 1:]

        return make

    return Task(len(letters), (128, 256, 512), windows(texts[0]), windows(texts[1]), loss=True)


TASKS: dict[str, Callable[[], Task]] = {
    "characters": characters,
    "selective copy": lambda: Task(18, (64, 128, 256), selective_copy),
    "induction": lambda: Task(32, (64, 128, 256), induction),
    "recall": lambda: Task(128, (32, 64), recall),
}

# --- models ---


def llama(vocabulary: int, width: int) -> nn.Module:
    """Two layers, four heads, rotary positions."""
    return Llama(LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=8 * width // 3,
                             num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=1024,
                             tie_word_embeddings=True), seed=SEED[0])  # fmt: skip


def of(cls: type, config: type, **options: Any) -> Callable[[int, int], nn.Module]:
    """Two layers of a model with a state."""
    return lambda vocabulary, width: cls(
        config(vocab_size=vocabulary, hidden_size=width, num_hidden_layers=2, **options), seed=SEED[0]
    )


def mamba2(vocabulary: int, width: int) -> nn.Module:
    """Heads of eight, one group."""
    return of(Mamba2, Mamba2Config, num_heads=width // 4, head_dim=8, n_groups=1, state_size=16, chunk_size=64,
              tie_word_embeddings=True)(vocabulary, width)  # fmt: skip


SEED = [0]  # of the next model's first weights
TRANSFORMER = "transformer"
MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    TRANSFORMER: llama,
    "RNN": of(RNN, RNNConfig),
    "LSTM": of(LSTM, LSTMConfig),
    "GRU": of(GRU, GRUConfig),
    "S4D": of(S4D, S4DConfig, state_size=32),
    "Mamba": of(Mamba, MambaConfig),
    "Mamba-2": mamba2,
}


def sized(name: str, vocabulary: int, parameters: int = PARAMETERS) -> int:
    """The width, a multiple of eight, that brings a model nearest to so many parameters."""
    widths = range(16, 264, 8)

    def count(width: int) -> int:
        return MODELS[name](vocabulary, width).num_parameters()

    first = bisect.bisect_left(widths, parameters, key=count)  # wider is more
    near = widths[max(0, first - 1) : first + 1]
    return min(near, key=lambda width: abs(count(width) - parameters))


# --- a run ---


@torch.no_grad()
def examine(model: nn.Module, task: Task) -> dict[str, list[float]]:
    """{length: a score for each item}: the share of targets that are right, or the mean of log p; higher is better."""
    found = {}
    for length in task.lengths:
        ids, targets = (task.exam or task.make)(torch.Generator().manual_seed(12345), ITEMS, length)
        scores = []
        for few, wanted in zip(ids.split(64), targets.split(64)):
            logits, counted = model(few).logits, wanted != SILENT
            if task.loss:
                log_p = logits.log_softmax(-1).gather(2, wanted[..., None])[..., 0]
            else:
                log_p = (logits.argmax(-1) == wanted).float()
            scores += ((log_p * counted).sum(1) / counted.sum(1)).tolist()
        found[str(length)] = [round(one, 4) for one in scores]
    return found


def train(name: str, task: Task, seed: int, tokens: int, seconds: float) -> dict[str, Any]:
    """One model on one task until both budgets are spent; what it was worth at the end of each, and along the way."""
    width = sized(name, task.vocabulary)
    SEED[0] = seed
    model = MODELS[name](task.vocabulary, width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(seed)
    length, spent, seen, step = task.lengths[0], 0.0, 0, 0
    kept: dict[str, Any] = {}
    curve = []
    while seen < tokens or spent < seconds:
        start = time.process_time()
        ids, targets = task.make(generator, BATCH, length)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20)
        loss = F.cross_entropy(model(ids).logits.flatten(0, 1), targets.flatten(), ignore_index=SILENT)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        step, before = step + 1, (seen, spent)
        seen, spent = seen + ids.numel(), spent + time.process_time() - start
        at_tokens, at_seconds = before[0] < tokens <= seen, before[1] < seconds <= spent
        if at_tokens or at_seconds or step % 100 == 0:
            scores = examine(model.eval(), task)
            model.train()
            curve.append([seen, round(spent, 2), *(sum(one) / len(one) for one in scores.values())])
            kept |= {"tokens": scores} if at_tokens else {}
            kept |= {"seconds": scores, "tokens_then": seen} if at_seconds else {}
    return {"width": width, "parameters": model.num_parameters(), "curve": curve, **kept}


# --- the table ---


def lines_of(done: dict[tuple[str, str, int], dict[str, Any]]) -> list[list[str]]:
    """A line a task, length and model, with the seeds one below the other."""
    cells: dict[tuple[str, str, str], list[list[str]]] = {}
    for (task, name, seed), one in sorted(done.items(), key=lambda item: item[0][2]):
        rival = done.get((task, TRANSFORMER, seed))
        for length, scores in one["tokens"].items():
            against = ""
            if rival is not None and name != TRANSFORMER:
                result = paired(scores, rival["tokens"][length])
                low, high = result.interval
                against = f"{result.difference:+.3f} [{low:+.3f}, {high:+.3f}], {result.wins}:{result.losses}"
            then = one["seconds"][length]
            cells.setdefault((task, length, name), []).append(
                [f"{sum(scores) / len(scores):.3f}", against, f"{sum(then) / len(then):.3f}",
                 f"{one['tokens_then']:,}"]
            )  # fmt: skip
    return [[", ".join(key), *map("<br>".join, zip(*rows))] for key, rows in sorted(cells.items(), key=place)]


def place(item: tuple[tuple[str, str, str], Any]) -> tuple[int, int, int]:
    """Where a line stands."""
    task, length, name = item[0]
    return list(TASKS).index(task), int(length), list(MODELS).index(name)


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--kept", required=True, type=Path, help="a folder")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=40.0, help="of the CPU, for each run")
    parser.add_argument("--only", nargs="+", default=list(MODELS), metavar="NAME", help="of the models")
    parser.add_argument("--list", action="store_true", help="print what is recorded, measure nothing")
    parser.add_argument("--write", action="store_true", help="put the table into BENCHMARKS.md")
    given = parser.parse_args()
    if unknown := {*given.tasks, *given.only} - {*TASKS, *MODELS}:
        parser.error(f"unknown: {'; '.join(sorted(unknown))}; there are {'; '.join((*TASKS, *MODELS))}")
    given.kept.mkdir(parents=True, exist_ok=True)
    file = given.kept / "runs.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    budget = [given.tokens, given.seconds]
    done = {
        (row["task"], row["model"], row["seed"]): row
        for row in map(json.loads, lines)
        if row["budget"] == budget
    }
    torch.set_num_threads(1)
    for what in [] if given.list else given.tasks or TASKS:
        task = TASKS[what]()
        for seed in given.seeds:
            for name in given.only:
                if (what, name, seed) in done:
                    continue
                row = {"task": what, "model": name, "seed": seed, "budget": budget}
                row |= train(name, task, seed, given.tokens, given.seconds)
                done[what, name, seed] = row
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
                print(f"{what}, {name}, seed {seed}: {row['curve'][-1]}", flush=True)
    done = {key: row for key, row in done.items() if key[2] in given.seeds}
    rows = lines_of(done)
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("where_each_wins", HEAD, rows, [row[0] for row in rows])


if __name__ == "__main__":
    main()
