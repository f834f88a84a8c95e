"""Greedy decoding of one text, token by token, against llama.cpp on the same file and transformers in float32.

SmolLM2-135M (`minillm fetch smollm2`) after a prompt of 64 and of 1,000 tokens, on one thread and two: from the 4-bit
codes of its file, in int8, in float32. A GPT-2 of 12 layers and width 768 with random weights in int8 and in 4 bit.
Each is asked for tokens through what a user would call; the time is that from its first new token to its last, so
that reading the prompt is left out. llama.cpp runs as it comes (keys and values in 16 bit, flash attention).

Two rows say what the first token of a process costs: with an empty folder for compiled code, and with a full one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NUMBA_NUM_THREADS"] = "2"  # as many as rows may ask for; numba reads it once

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minillm.data import available, fetch
from minillm.inference import SamplingParams, stream
from minillm.models import load_model
from minillm.quantization import load_packed, quantize
from tests.benchmarks.bench_decode import gpt2, spread_out
from tests.benchmarks.harness import Row, Times, in_turn, peer_or_none

LONGEST = 1000  # tokens of a prompt
SIZES = {False: (32, 5), True: (8, 1)}  # quick or not: new tokens, rounds
FIRST_TOKEN = """
import json, sys, time, torch
from minillm.inference.fused import FusedStep
from minillm.quantization import load_packed
torch.set_num_threads(1)
model = load_packed(sys.argv[1])
step = FusedStep.of(model, model.new_cache(1, 8))
before = time.process_time()
step(5)
first = time.process_time() - before
before = time.process_time()
step(6)
print(json.dumps(first - (time.process_time() - before)))
"""
clock = time.perf_counter
Decode = Callable[[list[int], int], float]  # (prompt, new tokens) -> seconds a token


def a_token(stamps: list[float]) -> float:
    """Seconds a token, the first one aside."""
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1)


def of_ours(model: nn.Module) -> Decode:
    def decode(prompt: list[int], new: int) -> float:
        params = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True)
        return a_token([clock() for _ in stream(model, prompt, params)])

    return decode


class Stamps:
    """What transformers tells of every new token (and first of the prompt)."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def put(self, _: Any) -> None:
        self.all.append(clock())

    def end(self) -> None:
        pass


def of_transformers(library: Any, model: nn.Module) -> Decode:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(Path(folder))
        library.logging.disable_progress_bar()
        peer = library.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        peer.generation_config.eos_token_id = None

    def decode(prompt: list[int], new: int) -> float:
        stamps, ids = Stamps(), torch.tensor([prompt])
        given = {"attention_mask": torch.ones_like(ids), "max_new_tokens": new, "do_sample": False}
        peer.generate(ids, **given, pad_token_id=0, streamer=stamps)
        return a_token(stamps.all[1:])

    return decode


def of_llama_cpp(library: Any, path: Path, threads: int) -> Decode:
    options = library.CommonParams()
    options.model.path, options.n_ctx, options.n_parallel = str(path), LONGEST + 280, 1
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    server = library.Server(options)

    def decode(prompt: list[int], new: int) -> float:
        stamps: list[float] = []
        asked = {"prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_eos": True, "stream": True}
        server.handle_completions(asked, lambda _: stamps.append(clock()))
        return a_token(stamps[:new])  # one more tells the end

    return decode


def raced(decodes: dict[str, Decode], prompt: int, new: int, rounds: int, threads: int) -> Times:
    """Median seconds a token of each, in turn, with as many threads."""
    ids = [(7 * i) % 4000 + 100 for i in range(prompt)]
    torch.set_num_threads(threads)
    try:
        return in_turn(
            {name: lambda one=one: one(ids, new) for name, one in decodes.items()},
            rounds,
            warmup=0 if rounds == 1 else 1,
            measure=lambda call: call(),
        )
    finally:
        torch.set_num_threads(1)


def rows_of(work: str, times: Times, threads: int, compared: list[tuple[str, str, float]]) -> list[Row]:
    """One row for each (ours, peer, target); a peer that is absent leaves its column empty."""
    return [
        Row(
            f"{work.format(ours)}", peer, "ms/token", times[ours] * 1e3,
            times[peer] * 1e3 if peer in times else None, target, threads, higher_is_better=False,
            spread=times.spread(peer, ours),
        )
        for ours, peer, target in compared
    ]  # fmt: skip


def smollm2(transformers: Any, quick: bool) -> list[Row]:
    if not available("smollm2"):
        print("  skipped: SmolLM2 is not here (minillm fetch smollm2)")
        return []
    path, llama_cpp, rows = fetch("smollm2"), peer_or_none("xllamacpp"), []
    floats = load_model(path)
    ours = {"its file's 4-bit codes": load_packed(path), "int8": quantize(floats, "int8"), "fp32": floats}
    decodes = {name: of_ours(model) for name, model in ours.items()}
    if transformers:
        decodes["transformers fp32"] = of_transformers(transformers, floats)
    against = [
        ("its file's 4-bit codes", "llama.cpp", 1.0),
        ("its file's 4-bit codes", "transformers fp32", 3.5),
        ("int8", "transformers fp32", 2.4),
        ("fp32", "transformers fp32", 1.7),
    ]
    for decode in decodes.values():  # what is compiled, is compiled before the clock starts
        decode([1], 3)
    for threads in (1,) if quick else (1, 2):
        theirs = {"llama.cpp": of_llama_cpp(llama_cpp, path, threads)} if llama_cpp else {}
        for prompt in (64, LONGEST):
            times = raced(decodes | theirs, prompt, *SIZES[quick], threads)
            work = f"greedy decode of SmolLM2-135M after {prompt:,} tokens, {{}}" + ", two threads" * (
                threads == 2
            )
            rows += rows_of(work, times, threads, against)
    return rows + first_call(path, 1 if quick else 3)


def first_call(path: Path, rounds: int) -> list[Row]:
    """CPU seconds until the compiled step of the file's codes can run, in new processes; there is no peer."""

    def seconds(folder: str) -> float:
        command, environment = [sys.executable, "-c", FIRST_TOKEN, str(path)], {"NUMBA_CACHE_DIR": folder}
        environment = os.environ | environment
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        return json.loads(done.stdout)

    compiled, loaded = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            compiled.append(seconds(folder))
            loaded.append(seconds(folder))
    return [
        Row(f"first call of the compiled step, {how}", "", "CPU s", statistics.median(times), None,
            note=f"asked for: under {most} s", higher_is_better=False)
        for how, times, most in (("compiled", compiled, 5), ("from the cache on disk", loaded, 0.5))
    ]  # fmt: skip


def run(quick: bool) -> list[Row]:
    """Milliseconds a token."""
    transformers = peer_or_none("transformers")
    rows = smollm2(transformers, quick)
    floats = spread_out(gpt2(12, 768))
    small = {"int8": quantize(floats, "int8"), "4 bit": quantize(floats, "rtn", 4, 64)}
    decodes = {name: of_ours(model) for name, model in small.items()}
    if transformers:
        decodes["transformers fp32"] = of_transformers(transformers, floats)
    times = raced(decodes, 64, *SIZES[quick], 1)
    against = [("int8", "transformers fp32", 2.0), ("4 bit", "transformers fp32", 3.0)]
    return rows + rows_of("greedy decode of GPT-2 12x768 after 64 tokens, {}", times, 1, against)
