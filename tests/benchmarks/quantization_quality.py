"""What quantization costs a real model in perplexity: SmolLM2-135M on wiki text it was not calibrated on.

    python -m tests.benchmarks.quantization_quality --out FILE [METHOD ...] [--tokens N] [--calibration N] [--list]

METHODs are names of the table below (all by default). Each takes minutes, so they are recorded one by one in FILE
(JSON lines: the sum of -log p of every window) and skipped when they stand there already: stop it, and start it again.
Windows of 512 tokens are read on their own. Every method is compared with fp32 and with rounding at the same bits and
groups, on the same windows: mean difference of -log p a token with a 95 % interval by bootstrap over windows. The
articles that calibrate and those that examine are different ones, which `prove_held_out` confirms. Prints a table.

All linear layers but the head are quantized. The file's weights are 4-bit codes in groups of 32 already, so every
other grid rounds for the second time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from minillm.data import fetch, load_dataset, prove_held_out
from minillm.evaluation import paired
from minillm.models import load_model
from minillm.quantization import QuantizedLinear, quantize
from minillm.tokenizer import load_tokenizer

LENGTH = 512
EXAM = 15  # of 30 articles; the others calibrate
GPTQ: dict[str, Any] = {"method": "gptq", "bits": 4, "group_size": 64}
AWQ: dict[str, Any] = {"method": "awq", "bits": 4, "group_size": 64}
METHODS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "int8": {"method": "int8"},
    "rtn-4": {"method": "rtn", "bits": 4, "group_size": 64},
    "gptq-4": GPTQ,
    "gptq-4 alone": GPTQ | {"sequential": False},
    "gptq-4 columns": GPTQ | {"act_order": False},
    "gptq-4 columns alone": GPTQ | {"act_order": False, "sequential": False},
    "awq-4": AWQ,
    "awq-4 alone": AWQ | {"sequential": False},
    "rtn-3": {"method": "rtn", "bits": 3, "group_size": 64},
    "gptq-3": GPTQ | {"bits": 3},
    "awq-3": AWQ | {"bits": 3},
    "nf4": {"method": "nf4", "group_size": 64},
    "int4 absmax": {"method": "int4", "group_size": 64},
    "rtn-4 symmetric": {"method": "rtn", "bits": 4, "group_size": 64, "symmetric": True},
}
AGAINST = {"nf4": "int4 absmax", "gptq-3": "rtn-3", "awq-3": "rtn-3"}  # the others: rtn-4


def texts() -> tuple[str, str]:
    """(exam, calibration): different articles, in the order of the set, with no sentence of the exam in both."""
    articles = [row["text"] for row in load_dataset("wiki", "train")]
    exam, calibration = "\n\n".join(articles[:EXAM]), "\n\n".join(articles[EXAM:])
    print(prove_held_out(exam, calibration), flush=True)
    return exam, calibration


def losses(model: nn.Module, windows: torch.Tensor) -> list[float]:
    """Mean -log p of a token, one number a window (N, T): each read on its own."""
    found = []
    with torch.inference_mode():
        for batch in windows.split(1):
            logits = model(batch[:, :-1]).logits.flatten(0, 1)
            surprise = F.cross_entropy(logits, batch[:, 1:].flatten(), reduction="none")
            found += surprise.view(len(batch), -1).mean(1).tolist()
    return found


def linear_bytes(model: nn.Module) -> int:
    """Bytes of the layers that are, or would be, quantized."""
    parts = [
        m for n, m in model.named_modules() if isinstance(m, (QuantizedLinear, nn.Linear)) and n != "head"
    ]
    return sum(t.nbytes for part in parts for t in part.state_dict().values())


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--tokens", type=int, default=20_480)
    parser.add_argument("--calibration", type=int, default=16_384)
    parser.add_argument("--list", action="store_true", help="print what is recorded, measure nothing")
    given = parser.parse_args()
    if unknown := set(given.methods) - set(METHODS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    lines = given.out.read_text("utf-8").splitlines() if given.out.is_file() else []
    setting = {"tokens": given.tokens, "calibration": given.calibration}
    done = {row["method"]: row for row in map(json.loads, lines) if row["setting"] == setting}
    if not given.list:
        measure([name for name in given.methods or METHODS if name not in done], given.out, setting, done)
    table(done)


def measure(names: list[str], out: Path, setting: dict[str, int], done: dict[str, Any]) -> None:
    """Measure the methods, and record each as soon as it is there."""
    exam, calibration = texts()
    path = fetch("smollm2")
    model, tokenizer = load_model(path), load_tokenizer(path)
    ids = torch.tensor(tokenizer.encode(exam)[: setting["tokens"]])
    windows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
    calibrated = tokenizer.encode(calibration)[: setting["calibration"]]
    for name in names:
        options, start = METHODS[name], time.perf_counter()
        small = model
        if options:
            reads = {"calibration": calibrated} if options["method"] in ("gptq", "awq") else {}
            small = quantize(model, **options, **reads)
        made = time.perf_counter()
        row = {
            "method": name, "setting": setting, "losses": losses(small, windows), "bytes": linear_bytes(small),
            "seconds": [round(made - start, 1), round(time.perf_counter() - made, 1)],
        }  # fmt: skip
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        done[name] = row
        print(f"{name}: perplexity {np.exp(np.mean(row['losses'])):.3f}, {row['seconds']} s", flush=True)


def table(done: dict[str, Any]) -> None:
    """Print perplexities, sizes, and paired differences in nats a token."""
    if "fp32" not in done:
        return
    base = np.array(done["fp32"]["losses"])
    print(f"\n{len(base)} windows of {LENGTH} tokens; differences in nats a token, 95 % over windows\n")
    print("| method | bytes of fp32 | perplexity | change | against fp32 | against rounding | windows won |")
    print("|---|---|---|---|---|---|---|")
    for name, row in done.items():
        found = np.array(row["losses"])
        share, change = row["bytes"] / done["fp32"]["bytes"], np.exp(found.mean() - base.mean()) - 1
        cells = [name, f"{share:.3f}", f"{np.exp(found.mean()):.3f}", f"{change:+.2%}"]
        other = AGAINST.get(name, "rtn-4")
        for rival in ("fp32", other):
            if rival == name or rival not in done:
                cells.append("")
                continue
            result = paired(found, done[rival]["losses"])
            low, high = result.interval
            cells.append(f"{result.difference:+.4f} [{low:+.4f}, {high:+.4f}]")
        wins = (
            ""
            if other not in done
            else f"{int((found < np.array(done[other]['losses'])).sum())} over {other}"
        )
        print("| " + " | ".join([*cells, wins]) + " |")


if __name__ == "__main__":
    main()
