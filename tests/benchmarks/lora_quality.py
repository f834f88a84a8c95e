"""SmolLM2 learns by LoRA, and by QLoRA, to answer as one JSON object: scores, loss, bytes, tokens a second.

    python -m tests.benchmarks.lora_quality [METHOD ...] --kept FOLDER [--seeds 0 1 2] [--steps N] [--list] [--write]

METHODs are the names of the table below (all by default). Needs SmolLM2 (`minillm fetch smollm2`). Every run is
recorded in FOLDER (JSON lines) and skipped when it stands there already; a run that was stopped goes on from its last
checkpoint. Training, examination and their proof: minillm/data/requests.py, 100 requests of the part "test". Seconds
are of the CPU, one thread, training alone: 120 steps of 8 requests are to stay below ten minutes. Differences are of
the same 100 requests. --write puts the table into BENCHMARKS.md. What is examined is the adapter as it is stored, in
float16 (FOLDER/NAME-SEED/adapter).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

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

BEFORE, TOLD = "before, asked as is", "before, told to answer in JSON"
METHODS = {BEFORE: None, TOLD: None, "LoRA": False, "QLoRA": True}  # whether the base is quantized
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TAUGHT, ASKED, BLOCKS = 400, 100, 15
ORDER = "Answer with one JSON object and nothing else. Its first key is action: book, order, remind or call."
HEAD = ["method", "one JSON object", "right keys", "all right", "right in new wordings", "change, 95 %",
        "nats a token", "model, MB", "gradients + Adam, MB", "kept for the way back, MB", "adapter, MB",
        "tokens a CPU s", "CPU s"]  # fmt: skip


class World:
    """What a seed learns from, and what is asked."""

    def __init__(self, seed: int, asked: int = ASKED, taught: int = TAUGHT) -> None:
        self.seed, self.path = seed, fetch("smollm2")
        self.tokenizer = load_tokenizer(self.path)
        self.taught, self.exam = requests(taught, "train", seed), requests(asked, "test", 100)
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


def teach(world: World, model: nn.Module, folder: Path, steps: int) -> dict[str, float]:
    """Rank 8 in the last 15 blocks, AdamW 1e-3 falling linearly, 5 steps of warm-up, batches of 8, clipped at 1."""
    count = model.config.num_hidden_layers
    apply_lora(
        model, 8, 16, LAYERS, layers_to_transform=range(max(0, count - BLOCKS), count), seed=world.seed
    )
    data = ExampleSet(world.examples(world.taught))
    args = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=8, context_length=int(data.lengths.max()) - 1,
        learning_rate=1e-3, lr_scheduler_type="linear", warmup_steps=min(5, steps), weight_decay=0.0, max_grad_norm=1.0,
        save_steps=25, save_total_limit=1, logging_steps=5, seed=world.seed, disable_tqdm=True, device="cpu",
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=data, objective=SFTObjective())
    with SavedMemory(model) as memory:  # of one batch, apart from the run
        SFTObjective()(model.train(), data.batch(world.seed, 0, 8, args.context_length)).loss.backward()
    for parameter in model.parameters():
        parameter.grad = None
    clock = folder / "seconds.json"
    before = json.loads(clock.read_text()) if clock.exists() else {}
    last = max([int(key) for key in before if (folder / f"checkpoint-{key}").exists()], default=0)
    start, spent = time.process_time(), before.get(str(last), 0.0)

    def note(entry: dict[str, Any]) -> None:
        before[str(entry["step"])] = spent + time.process_time() - start
        folder.mkdir(parents=True, exist_ok=True)
        clock.write_text(json.dumps(before))

    trainer.on_step = note
    history = trainer.train(resume_from_checkpoint=True)
    batches = (data.batch(world.seed, step, 8, args.context_length) for step in range(steps))
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    learned, _ = trainable_parameters(model)
    return {
        "seconds": before[str(steps)], "tokens": tokens, "learned": learned, "optimizer_bytes": 12 * learned,
        "kept_bytes": memory.peak, "last_loss": history[-1]["train_loss"],
    }  # fmt: skip


def measure(name: str, world: World, kept: Path, steps: int) -> dict[str, Any]:
    """One method of one seed: trained and examined."""
    model, found = world.model(METHODS[name]), {}
    size = model_size_bytes(model)
    if METHODS[name] is not None:
        folder = kept / f"{name.lower()}-{world.seed}"
        found = teach(world, model, folder, steps)
        adapter = save_adapter(model, folder / "adapter", base_model="smollm2", dtype=torch.float16)
        found["adapter_bytes"] = (adapter / "adapter_model.safetensors").stat().st_size
        model = load_adapter(world.model(METHODS[name]), adapter)
    scores, loss = world.examine(model.eval(), told=name == TOLD)
    return {
        "method": name, "seed": world.seed, "steps": steps, "loss": loss, "model_bytes": size, **found,
        "scores": [list(one) for one in scores], "new_wording": [one.new_wording for one in world.exam],
        "proof": str(world.proof),
    }  # fmt: skip


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines, one a method, with the seeds one below the other."""
    cells: dict[str, list[list[str]]] = {}
    for (name, seed), one in sorted(done.items(), key=lambda item: item[0][1]):
        scores, new = np.array(one["scores"], dtype=float), np.array(one["new_wording"])
        start, change = done.get((BEFORE, seed)), ""
        if start is not None and name != BEFORE:
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--kept", required=True, type=Path, help="a folder")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--asked", type=int, default=ASKED, help="requests of the exam")
    parser.add_argument("--list", action="store_true", help="print what is recorded, measure nothing")
    parser.add_argument("--write", action="store_true", help="put the table into BENCHMARKS.md")
    given = parser.parse_args()
    if unknown := set(given.methods) - set(METHODS):
        parser.error(f"unknown: {'; '.join(sorted(unknown))}; there are {'; '.join(METHODS)}")
    given.kept.mkdir(parents=True, exist_ok=True)
    file = given.kept / "runs.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    done = {(row["method"], row["seed"]): row for row in map(json.loads, lines)}
    torch.set_num_threads(1)
    for seed in [] if given.list else given.seeds:
        for name in given.methods or METHODS:
            if (name, seed) in done:
                continue
            row = measure(name, World(seed, given.asked), given.kept, given.steps)
            done[name, seed] = row
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            right = np.mean([one[2] for one in row["scores"]])
            print(f"seed {seed}, {name}: right {right:.2f}, {row.get('seconds', 0):.0f} s", flush=True)
    order = list(METHODS)
    rows = sorted(
        lines_of({k: v for k, v in done.items() if k[1] in given.seeds}), key=lambda r: order.index(r[0])
    )
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("lora", HEAD, rows, order)


if __name__ == "__main__":
    main()
