"""The mask of a JSON schema against the forward pass that it follows, over the 49,152 tokens of SmolLM2.

The pass is the fastest that the library has for this model: the compiled step on the 4-bit codes of its file, after a
prompt of 64 tokens, one thread. The mask is all that a schema adds to a token: the walk over the vocabulary and what
is put into the logits. It is timed at every token of a text, and at the dearest of 300 states of the grammar.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Any

import numpy as np
import torch

from minillm.data import available, fetch
from minillm.inference import SamplingParams
from minillm.inference.fused import FusedStep
from minillm.inference.stopping import Stopper
from minillm.quantization import load_packed
from minillm.tokenizer import load_tokenizer
from tests.benchmarks.harness import Row, Times, in_turn, seconds

SCHEMA = {
    "type": "object", "required": ["name", "tags", "notes"],
    "properties": {
        "name": {"type": "string"},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{1,6}$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["서울", "부산", 'a "quoted" one']}, "maxItems": 5},
        "notes": {"type": "string", "maxLength": 200},
        "more": {},
    },
}  # fmt: skip
TEXT = (
    '{"name": "김가람", "code": "KR-20815", "age": 17, "tags": ["서울", "부산"], '
    '"notes": "a student who reads a lot", "more": {"x": [1, 2.5, null]}}'
)


def raced(model: Any, stopper: Stopper, states: list[int], rounds: int) -> Times:
    """Median seconds of the mask at these states and of as many steps of the model."""
    step = FusedStep.of(model, model.new_cache(1, 80 + len(states)))
    if step is None:
        raise RuntimeError("the compiled step does not take this model")
    logits = torch.zeros(1, model.config.vocab_size)

    def masks() -> None:
        for state in states:
            stopper.state = state
            logits.masked_fill(~stopper.allowed(logits.shape[1])[None], -torch.inf)

    def steps() -> None:
        step.cache.crop(0)
        step.cache.commit(64)
        for _ in states:
            step(5)

    return in_turn({"ours": masks, "pass": steps}, rounds)


def run(quick: bool) -> list[Row]:
    """Milliseconds a token."""
    if not available("smollm2"):
        print("  skipped: SmolLM2 is not here (minillm fetch smollm2)")
        return []
    path = fetch("smollm2")
    model, tokenizer = load_packed(path), load_tokenizer(path)
    stopper = Stopper(model, SamplingParams(max_tokens=300, json_schema=SCHEMA), tokenizer)
    guide = stopper.guide
    along, state = [], 0
    for token in tokenizer.encode(TEXT):
        along.append(state)
        state = guide.after(state, tokenizer.decode_bytes([token]))
    guide.allowed(0)  # compiled before the clock starts
    some = np.random.default_rng(0).choice(len(guide.table), 300)
    dearest = max(some.tolist(), key=lambda one: min(seconds(lambda: guide.allowed(one)) for _ in range(3)))
    rows = []
    for what, states in (("at each token of a text", along), ("at its dearest state", [dearest] * 20)):
        times = raced(model, stopper, states, 1 if quick else 9)
        rows.append(
            Row(
                f"the mask of a JSON schema over 49,152 tokens, {what}", "our forward pass behind it",
                "ms", times["ours"] / len(states) * 1e3, times["pass"] / len(states) * 1e3, 1.0,
                higher_is_better=False, spread=times.spread("pass"),
            )
        )  # fmt: skip
    return rows
