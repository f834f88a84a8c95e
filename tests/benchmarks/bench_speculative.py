"""Speculative decoding: the measured speed-up over plain decoding against the one that the formula foretells, greedy.

    target    a Llama of 12 layers with random weights             draft   its first layer, embedding and head
The later layers of the target add little to the stream, so that the two agree on some tokens and not on others; how
many is measured. So are c, the time of a drafted token, and the target's pass over k + 1 tokens, both against its pass
over one: `expected_speed_up(α, k, c, check_ratio)` is then a number without anything to adjust. Times are
CPU time of this process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from minillm.inference import SamplingParams, Speculation, expected_speed_up, generate
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
        with fast_layers(model):
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
    """ours: the measured speed-up; theirs: the one foretold."""
    times, run = measured(target, draft, prompt, new, rounds)
    one = times["one"]
    cost, check = times["draft"] / one, times["check"] / one
    alpha = run.acceptance_rate
    speed_up = times["plain"] / times["ours"]
    foretold = expected_speed_up(alpha, K, cost, check)
    note = (
        f"α {alpha:.2f} over {run.tried} drafts, {run.tokens_per_pass:.2f} tokens a pass, c {cost:.2f}, "
        f"check of {K + 1} tokens {check:.2f}"
    )
    return Row(
        f"speculative decoding, speed-up: {work}",
        "foretold",
        "times",
        speed_up,
        foretold,
        0.85,
        note=note,
        spread=times.spread("plain"),
    )


def run(quick: bool = False) -> list[Row]:
    new, rounds = (40, 3) if quick else (200, 7)
    target, draft = pair()
    prompt = [(7 * i) % 7000 + 100 for i in range(32)]
    return [row_of(f"draft of 1 of 12 layers, k = {K}", target, draft, prompt, new, rounds)]
