"""SmolLM2 learns by LoRA, and by QLoRA, to answer as one JSON object: scores, loss, bytes, tokens a second.

    python -m tests.benchmarks.lora_quality [METHOD ...] --kept FOLDER [--seeds 0 1 2] [--list] [--write]

METHODs are the names of the table below (all by default). Needs SmolLM2 (`minillm fetch smollm2`). Every run is
recorded in FOLDER (JSON lines) and skipped when it stands there already; a training that was stopped goes on from its
last checkpoint, 25 steps back at most, with the seconds that it had then. A seed is one of rows, adapters and order;
before training there is nothing to draw, so that is examined once. Training, examination and their proof:
minillm/data/requests.py, 100 requests of the part "test", the same for all. Seconds are of the CPU, one thread,
training alone: 120 steps of 8 requests are to stay below ten minutes. Differences are of the same 100 requests.
--write puts the table into BENCHMARKS.md. What is examined is the adapter as it is stored, in float16
(FOLDER/NAME-SEED/adapter).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from minillm._files import write_json
from minillm.data import prove_held_out
from minillm.data.real_models import fetch
from minillm.data.requests import RequestScore, requests, score_request
from minillm.evaluation import paired
from minillm.inference import SamplingParams, generate_batch
from minillm.models import load_model
from minillm.quantization import model_size_bytes, quantize
from minillm.tokenizer import apply_chat_template, load_tokenizer
from minillm.tokenizer.chat_ends import turn_ends
from minillm.training import (
    SavedMemory,
    SFTObjective,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    apply_lora,
    chat_examples,
    load_adapter,
    save_adapter,
    trainable_parameters,
)
from minillm.training.alignment.own_rows import answer_losses
from minillm.training.batches import ExampleSet
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

BEFORE, TOLD = "before, asked as is", "before, told to answer in JSON"
METHODS = {BEFORE: None, TOLD: None, "LoRA": False, "QLoRA": True}  # whether the base is quantized
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ONCE = {BEFORE, TOLD}  # the same for every seed
TAUGHT, ASKED, BLOCKS, STEPS = 400, 100, 15, 120
ORDER = "Answer with one JSON object and nothing else. Its first key is action: book, order, remind or call."
HEAD = ["method", "one JSON object", "right keys", "all right", "right in new wordings", "change, 95 %",
        "nats a token", "model, MB", "gradients + Adam, MB", "kept for the way back, MB", "adapter, MB",
        "tokens a CPU s", "CPU s"]  # fmt: skip


class World:
    """What a seed learns from, and what is asked."""

    def __init__(self, seed: int) -> None:
        self.seed, self.path = seed, fetch("smollm2")
        self.tokenizer = load_tokenizer(self.path)
        self.taught, self.exam = requests(TAUGHT, "train", seed), requests(ASKED, "test", 100)
        texts = ([one.text for one in part] for part in (self.exam, self.taught))
        self.proof = prove_held_out(*texts, what="request")
        self.ends = turn_ends(self.tokenizer)

    def model(self, quantized: bool | None) -> nn.Module:
        """The base."""
        model = load_model(self.path, dtype=torch.float32)
        return quantize(model, "nf4", double_quant=True) if quantized else model

    def examples(self, part: list[Any]) -> list[Any]:
        """Requests and answers by the model's chat template; the answer alone carries loss."""
        chats = [
            [{"role": "user", "content": one.text}, {"role": "assistant", "content": one.answer}]
            for one in part
        ]
        return list(chat_examples(self.tokenizer, chats)[0])

    def lesson(self) -> tuple[ExampleSet, int, SFTObjective]:
        """What is learned, rows of it a step, and how."""
        return ExampleSet(self.examples(self.taught)), 8, SFTObjective()

    def examine(self, model: nn.Module, told: bool = False) -> tuple[list[RequestScore], float]:
        """Scores of the answers, and nats a token of the right ones."""
        asked = [f"{ORDER} {one.text}" if told else one.text for one in self.exam]
        prompts = [
            self.tokenizer.encode(
                apply_chat_template(self.tokenizer, [{"role": "user", "content": text}]),
                allowed_special="all",
            )
            for text in asked
        ]
        params = SamplingParams(max_tokens=64, temperature=0, stop_token_ids=tuple(self.ends))
        answers: list[Any] = []
        for start in range(0, len(prompts), 25):
            answers += generate_batch(model, prompts[start : start + 25], params, self.tokenizer)
        scores = [score_request(answer.text, one) for answer, one in zip(answers, self.exam)]
        return scores, float(answer_losses(model, self.examples(self.exam)).mean())


class Clock(TrainerCallback):
    """CPU seconds after each step, in a file: those of a run that is stopped are there when it goes on."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seconds.json"
        self.after = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.spent, self.start = 0.0, time.process_time()

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """A run begins, or goes on from a checkpoint."""
        self.spent = self.after[str(state.global_step)] if state.global_step else 0.0
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Before the checkpoint of this step is written: each one has its seconds."""
        self.after[str(state.global_step)] = self.spent + time.process_time() - self.start
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, self.after)


def teach(world: World, model: nn.Module, folder: Path, steps: int | None = None) -> dict[str, float]:
    """Rank 8 in the last 15 blocks, AdamW 1e-3 falling linearly, 5 steps of warm-up, clipped at 1; `world.lesson`."""
    steps = STEPS if steps is None else steps
    count = model.config.num_hidden_layers
    blocks = range(max(0, count - BLOCKS), count)
    apply_lora(model, 8, 16, LAYERS, layers_to_transform=blocks, seed=world.seed)
    data, rows, objective = world.lesson()
    args = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=rows, context_length=int(data.lengths.max()) - 1,
        learning_rate=1e-3, lr_scheduler_type="linear", warmup_steps=min(5, steps), weight_decay=0.0, max_grad_norm=1.0,
        save_steps=25, save_total_limit=1, logging_steps=5, seed=world.seed, disable_tqdm=True, device="cpu",
    )  # fmt: skip
    with SavedMemory(model) as memory:  # of one batch, apart from the run
        objective(model.train(), data.batch(world.seed, 0, rows, args.context_length)).loss.backward()
    for parameter in model.parameters():
        parameter.grad = None
    clock = Clock(folder)
    trainer = Trainer(model, args, train_dataset=data, objective=objective, callbacks=[clock])
    history = trainer.train(resume_from_checkpoint=True)
    batches = (data.batch(world.seed, step, rows, args.context_length) for step in range(steps))
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    learned, _ = trainable_parameters(model)
    return {
        "seconds": clock.after[str(steps)], "tokens": tokens, "learned": learned, "optimizer_bytes": 12 * learned,
        "kept_bytes": memory.peak, "last_loss": history[-1]["train_loss"],
    }  # fmt: skip


def measure(name: str, seed: int, kept: Path) -> dict[str, Any]:
    """One method of one seed: trained and examined."""
    world = World(seed)
    model, found = world.model(METHODS[name]), {}
    size = model_size_bytes(model)
    if METHODS[name] is not None:
        folder = kept / f"{name.lower()}-{world.seed}"
        found = teach(world, model, folder)
        adapter = save_adapter(model, folder / "adapter", base_model="smollm2", dtype=torch.float16)
        found["adapter_bytes"] = (adapter / "adapter_model.safetensors").stat().st_size
        model = load_adapter(world.model(METHODS[name]), adapter)
    scores, loss = world.examine(model.eval(), told=name == TOLD)
    return {
        "method": name, "seed": seed, "steps": STEPS, "loss": loss, "model_bytes": size, **found,
        "scores": [list(one) for one in scores], "new_wording": [one.new_wording for one in world.exam],
        "proof": str(world.proof),
    }  # fmt: skip


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines, one a method, with the seeds one below the other."""
    cells: dict[str, list[list[str]]] = {}
    for (name, _), one in sorted(done.items(), key=lambda item: item[0][1]):
        scores, new = np.array(one["scores"], dtype=float), np.array(one["new_wording"])
        change, start = "", next((row for (method, _), row in done.items() if method == BEFORE), None)
        if start is not None and name not in ONCE:
            result = paired(scores[:, 2], np.array(start["scores"], dtype=float)[:, 2])
            change = f"{result.difference:+.2f} [{result.interval[0]:+.2f}, {result.interval[1]:+.2f}]"
        megabytes = [
            f"{one[key] / 1e6:.2f}" if key in one else ""
            for key in ("model_bytes", "optimizer_bytes", "kept_bytes", "adapter_bytes")
        ]
        speed = (
            [f"{one['tokens'] / one['seconds']:.0f}", f"{one['seconds']:.0f}"]
            if "tokens" in one
            else ["", ""]
        )
        means = [
            f"{value:.2f}"
            for value in (*scores[:, :3].mean(axis=0), scores[new, 2].mean() if new.any() else 0.0)
        ]
        cells.setdefault(name, []).append([*means, change, f"{one['loss']:.3f}", *megabytes, *speed])
    return [[name, *map("<br>".join, zip(*rows))] for name, rows in cells.items()]


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "lora.jsonl")
    given = runs.given
    for seed in [] if given.list else given.seeds:
        for name in given.methods or METHODS:
            if (name, seed) in runs.done or (name in ONCE and seed != given.seeds[0]):
                continue
            row = measure(name, seed, given.kept)
            runs.add(row)
            right = np.mean([one[2] for one in row["scores"]])
            print(f"seed {seed}, {name}: right {right:.2f}, {row.get('seconds', 0):.0f} s", flush=True)
    rows = sorted(lines_of(runs.asked()), key=lambda row: list(METHODS).index(row[0]))
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("lora", HEAD, rows, list(METHODS))


if __name__ == "__main__":
    main()
