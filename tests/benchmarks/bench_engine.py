"""The engine: continuous batching against static, and transformers' batched generate; a shared prompt found again."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import tempfile
import time
from pathlib import Path

import torch

from minillm.inference import Engine, SamplingParams, generate, generate_batch
from tests.benchmarks.bench_decode import VOCABULARY, llama
from tests.benchmarks.harness import Row, in_turn, peer_or_none

BATCH = 16


def work(requests: int) -> tuple[list[list[int]], list[SamplingParams]]:
    """Prompts of 16 to 64 tokens, and texts of 16 to 256, evenly spaced and shuffled."""
    rng = random.Random(0)
    new = [16 + 240 * i // (requests - 1) for i in range(requests)]
    rng.shuffle(new)
    prompts = [[rng.randrange(VOCABULARY) for _ in range(rng.randint(16, 64))] for _ in range(requests)]
    return prompts, [SamplingParams(max_tokens=one, temperature=0, ignore_eos=True) for one in new]


def spread_model(layers: int, width: int) -> torch.nn.Module:
    """A random Llama whose scores are no near ties."""
    model = llama(layers, width)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    return model


def in_batches(make, prompts, params) -> list[list[int]]:
    """Static batches in the order of arrival, each run to its longest text: make(prompts, new tokens) -> texts."""
    texts = []
    for i in range(0, len(prompts), BATCH):
        longest = max(one.max_tokens for one in params[i : i + BATCH])
        texts += make(prompts[i : i + BATCH], longest)
    return [text[: one.max_tokens] for text, one in zip(texts, params)]


def theirs(peer):
    """transformers' generate for a batch, padded on the left."""

    def make(prompts, new):
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
        return peer.generate(ids, attention_mask=mask, **options)[:, longest:].tolist()

    return make


def ours(model):
    """`generate_batch` for a batch."""

    def make(prompts, new):
        params = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True)
        return [one.token_ids for one in generate_batch(model, prompts, params)]

    return make


def first_token_seconds(model, cached: bool, requests: int, shared: int) -> float:
    """Mean seconds from the arrival of `requests` texts with one beginning to the first token of each."""
    engine = Engine(model, max_batch_size=requests, prefix_caching=cached)
    rng = random.Random(1)
    beginning = [rng.randrange(VOCABULARY) for _ in range(shared)]
    params = SamplingParams(max_tokens=1, temperature=0)
    engine.generate([[*beginning, 1]], params)  # somebody asked before
    start, seconds = time.perf_counter(), []
    for i in range(requests):
        engine.add_request([*beginning, *(rng.randrange(VOCABULARY) for _ in range(8)), i], params)
    while engine.unfinished:
        seconds += [time.perf_counter() - start for _ in engine.step()]
    return sum(seconds) / len(seconds)


def lone_row(model, name: str, quick: bool) -> Row:
    """One request and nobody else: the engine against `generate`, which has nothing to schedule."""
    new = 100 if quick else 200
    prompt, params = list(range(1, 33)), SamplingParams(max_tokens=new, temperature=0, ignore_eos=True)
    engine = Engine(model, max_batch_size=BATCH, prefix_caching=False)
    calls = {
        "ours": lambda: engine.generate([prompt], params)[0].token_ids,
        "generate": lambda: generate(model, prompt, params),
    }
    assert calls["ours"]() == calls["generate"]()
    times = in_turn(calls, rounds=5 if quick else 15)
    return Row(
        work=f"1 request, {new} new tokens, {name}, fp32",
        peer="our generate",
        unit="tokens/s",
        ours=new / times["ours"],
        theirs=new / times["generate"],
        note="same tokens",
        spread=times.spread("generate"),
    )


def run(quick: bool) -> list[Row]:
    """Tokens a second of the whole work; the texts of all are compared first."""
    torch.set_num_threads(1)
    transformers = peer_or_none("transformers")
    prompts, params = work(32 if quick else 64)
    new = sum(one.max_tokens for one in params)
    rows = []
    for layers, width in ((4, 128), (6, 384)):
        model = spread_model(layers, width)

        def engine(batching, model=model):
            served = Engine(model, max_batch_size=BATCH, batching=batching, prefix_caching=False)
            return [one.token_ids for one in served.generate(prompts, params)]

        calls = {
            "ours": lambda engine=engine: engine("continuous"),
            "static": lambda engine=engine: engine("static"),
            "generate_batch": lambda model=model: in_batches(ours(model), prompts, params),
        }
        if transformers:
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(Path(folder))
                transformers.logging.disable_progress_bar()
                peer = transformers.AutoModelForCausalLM.from_pretrained(folder)
            calls["theirs"] = lambda peer=peer: in_batches(theirs(peer), prompts, params)
        texts = {name: call() for name, call in calls.items()}
        times = in_turn(calls, rounds=3 if quick else 5, warmup=0)
        for name, peer_name, target in (
            ("static", "our static batching", 1.5),
            ("generate_batch", "our generate_batch", None),
            ("theirs", "transformers generate", 2.0),
        ):
            rows.append(
                Row(
                    work=f"{len(prompts)} requests, 16-256 new tokens, batch {BATCH}, Llama {layers}x{width}, fp32",
                    peer=peer_name,
                    unit="tokens/s",
                    ours=new / times["ours"],
                    theirs=new / times[name] if name in times else None,
                    target=target,
                    note="same tokens"
                    if texts.get(name) == texts["ours"]
                    else "tokens differ"
                    if name in texts
                    else "",
                    spread=times.spread(name),
                )
            )
    rows.append(lone_row(spread_model(4, 128), "Llama 4x128", quick))
    model = spread_model(4, 128)
    model.config.max_position_embeddings = 1024  # rotary tables grow on demand
    calls = {on: lambda on=on: first_token_seconds(model, on == "ours", 32, 512) for on in ("ours", "off")}
    found: dict[str, list[float]] = {
        name: [call() for _ in range(2 if quick else 5)] for name, call in calls.items()
    }
    on, off = (sorted(found[name])[len(found[name]) // 2] for name in ("ours", "off"))
    rows.append(
        Row(
            work="time to first token, 32 requests sharing a 512-token prompt, Llama 4x128",
            peer="our engine without prefix caching",
            unit="s",
            ours=on,
            theirs=off,
            target=5.0,
            higher_is_better=False,
        )
    )
    return rows
