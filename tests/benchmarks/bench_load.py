"""Opening a real model, SmolLM2-135M-Instruct (538 MB in float32), against transformers; and a chat's template.

The folder is timed three ways: opened as usual (the checksum of its weights is remembered from when it was written),
opened where nothing is remembered (sha256 over all of it; transformers takes none), and opened with one pass over 32
tokens, which reads every weight.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from minillm.data import available, fetch
from minillm.models import load_model, verified
from minillm.models.weights import WEIGHTS
from minillm.tokenizer import load_tokenizer
from tests.benchmarks.harness import Row, in_turn, peer_or_none

CHAT = [{"role": "user", "content": "How is the weather?"}, {"role": "assistant", "content": "Fine."}] * 4


def run(quick: bool) -> list[Row]:
    transformers = peer_or_none("transformers")
    if not available("smollm2") or transformers is None:
        print("  skipped: needs SmolLM2 (minillm fetch smollm2) and transformers")
        return []
    file, rounds = fetch("smollm2"), 3 if quick else 9
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "smollm2"
        load_model(file).save_pretrained(folder)
        load_tokenizer(file).save(folder)
        rows = loading(file, folder, transformers, rounds)
        verified.forget(folder / WEIGHTS)
        return rows + chats(folder, transformers, rounds)


def loading(file: Path, folder: Path, transformers, rounds: int) -> list[Row]:
    weights, ids = folder / WEIGHTS, torch.arange(32)[None]
    theirs = transformers.AutoModelForCausalLM.from_pretrained

    @torch.inference_mode()
    def read(model) -> None:
        model(ids)

    times = in_turn(
        {
            "ours": lambda: load_model(folder), "theirs": lambda: theirs(folder),
            "first": lambda: (verified.forget(weights), load_model(folder)),
            "ours, read": lambda: read(load_model(folder)), "theirs, read": lambda: read(theirs(folder)),
            "file": lambda: load_model(file),
        },
        rounds,
    )  # fmt: skip
    kinds = [
        ("open the folder", "ours", "theirs", 1.0), ("open the folder, nothing remembered", "first", "theirs", None),
        ("open the folder, one pass of 32 tokens", "ours, read", "theirs, read", None),
        ("open the GGUF file (98 MB, 4 bits)", "file", None, None),
    ]  # fmt: skip
    return [
        Row(
            f"SmolLM2-135M: {work}", "transformers", "ms", 1000 * times[ours], theirs and 1000 * times[theirs], goal,
            torch.get_num_threads(), higher_is_better=False, spread=theirs and times.spread(theirs, ours),
        )
        for work, ours, theirs, goal in kinds
    ]  # fmt: skip


def chats(folder: Path, transformers, rounds: int) -> list[Row]:
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)

    def render(tokenizer) -> str:
        return [tokenizer.apply_chat_template(CHAT, tokenize=False) for _ in range(50)][-1]

    assert render(ours) == render(theirs)
    times = in_turn({"ours": lambda: render(ours), "theirs": lambda: render(theirs)}, rounds)
    return [
        Row(
            "chat template of SmolLM2, 8 messages", "transformers", "us", 2e4 * times["ours"], 2e4 * times["theirs"],
            higher_is_better=False, spread=times.spread("theirs"), note="with a limit on the work of the template",
        )
    ]  # fmt: skip
