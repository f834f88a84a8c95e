"""Speculative decoding: the measured speed-up over plain decoding against the one that the formula foretells, greedy.

    target    a Llama of 12 layers with random weights             draft   its first layer, embedding and head
The later layers of the target add little to the stream, so that the two agree on some tokens and not on others; how
many is measured. So are c, the time of a drafted token, and the target's pass over k + 1 tokens, both against its pass
over one: `expected_speed_up(α, k, c, check_ratio)` is then a number without anything to adjust. All parts are timed in
every round, so that a busy machine slows all of them down. Times are CPU time of this process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from minillm.inference import Engine, SamplingParams, Speculation, expected_speed_up, generate
from minillm.inference.drafting import Reader
from minillm.models import Llama, LlamaConfig
from minillm.nn.fast_cpu import fast_layers
from tests.benchmarks.harness import Row, Times, in_turn

SIZES = {
    "vocab_size": 8000, "hidden_size": 768, "intermediate_size": 2048, "num_attention_heads": 12,
    "num_key_value_heads": 4, "max_position_embeddings": 1024,
}  # fmt: skip
FAINT = 0.02  # what the target's later layers add, against the first ones
K = 4


def cpu_seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of one call: what others do on the machine counts less."""
    start = time.process_time()
    call()
    return time.process_time() - start


def pair(layers: int = 12, of_draft: int = 1) -> tuple[nn.Module, nn.Module]:
    """(target, draft)."""
    target = Llama(LlamaConfig(num_hidden_layers=layers, **SIZES), seed=1)
    draft = Llama(LlamaConfig(num_hidden_layers=of_draft, **SIZES), seed=1)
    with torch.no_grad():
        for block in target.body.blocks:
            block.attention.o_proj.weight *= 12
            block.feed_forward.down_proj.weight *= 12
        for block in target.body.blocks[of_draft:]:
            block.attention.o_proj.weight *= FAINT
            block.feed_forward.down_proj.weight *= FAINT
    known = target.state_dict()
    draft.load_state_dict({name: known[name] for name in draft.state_dict()})
    return target, draft


def passes(model: nn.Module, text: list[int], count: int) -> Callable[[], None]:
    """Twenty passes over `count` tokens behind a text that has been read."""
    read = Reader(model, len(text) + count)
    read(text)

    def call() -> None:
        with fast_layers(model, copies=True):  # as Speculation does
            for _ in range(20):
                read.cache.crop(len(text))
                read(text + [5] * count, keep=count)

    return call


def measured(
    target: nn.Module, draft: nn.Module, prompt: list[int], new: int, rounds: int
) -> tuple[Times, Speculation]:
    """Times of plain and speculative decoding and of their parts, in turn, and how the last run went."""
    params = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True)
    text = prompt + generate(target, prompt, params)
    runs: list[Speculation] = []

    def speculate() -> None:
        runs.append(Speculation(target, draft, prompt, params, K))
        assert [token for some in runs[-1] for token in some] == text[len(prompt) :]

    halfway = text[: len(prompt) + new // 2]
    calls = {
        "plain": lambda: generate(target, prompt, params),
        "ours": speculate,
        "one": passes(target, halfway, 1),
        "check": passes(target, halfway, K + 1),
        "draft": passes(draft, halfway, 1),
    }
    return in_turn(calls, rounds, measure=cpu_seconds), runs[-1]


def row_of(work: str, target: nn.Module, draft: nn.Module, prompt: list[int], new: int, rounds: int) -> Row:
    """ours: the smaller of the measured and the foretold speed-up as a share of the larger.

    Both are made of one round's times, and the median round counts: what slows a whole round down changes neither.
    """
    times, run = measured(target, draft, prompt, new, rounds)
    found = []
    for one, check, drafted, plain, ours in zip(
        *(times.rounds[name] for name in ("one", "check", "draft", "plain", "ours")), strict=True
    ):
        foretold = expected_speed_up(run.acceptance_rate, K, drafted / one, check / one)
        found.append((plain / ours / foretold, plain / ours, foretold, drafted / one, check / one))
    ratio, speed_up, foretold, cost, check = sorted(found)[len(found) // 2]
    shares = [min(one[0], 1 / one[0]) for one in found]
    low, _, high = statistics.quantiles(shares, n=4, method="inclusive")
    note = (
        f"{speed_up:.2f} times measured, {foretold:.2f} foretold; α {run.acceptance_rate:.2f} over {run.tried} drafts, "
        f"{run.tokens_per_pass:.2f} tokens a pass, c {cost:.2f}, check of {K + 1} tokens {check:.2f}"
    )
    return Row(
        f"speculative decoding, measured and foretold speed-up: {work}",
        "our formula",
        "share",
        min(ratio, 1 / ratio),
        1.0,
        0.85,
        note=note,
        spread=high - low,
    )


def engine_row(
    work: str, target: nn.Module, draft: nn.Module, prompt: list[int], new: int, rounds: int
) -> Row:
    """The engine with drafts against the engine without, one text; the texts are compared first."""
    params = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True)
    engines = {"ours": Engine(target, draft=draft, k=K, prefix_caching=False)}
    engines["plain"] = Engine(target, prefix_caching=False)
    calls = {
        name: lambda engine=engine: engine.generate([prompt], params) for name, engine in engines.items()
    }
    assert calls["ours"]() == calls["plain"]()
    times, waste = in_turn(calls, rounds, measure=cpu_seconds), engines["ours"].waste
    return Row(
        f"drafts inside the engine, one text: {work}",
        "our engine without drafts",
        "tokens/s",
        new / times["ours"],
        new / times["plain"],
        note=f"{waste.accepted_tokens / waste.drafted_tokens:.2f} of the drafts accepted, same tokens",
        spread=times.spread("plain"),
    )


def run(quick: bool = False) -> list[Row]:
    new, rounds = (40, 3) if quick else (200, 7)
    target, draft = pair()
    prompt = [(7 * i) % 7000 + 100 for i in range(32)]
    rows = (row_of, engine_row)
    return [row(f"draft of 1 of 12 layers, k = {K}", target, draft, prompt, new, rounds) for row in rows]
