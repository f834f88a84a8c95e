"""The benchmark harness against lm-evaluation-harness: log-likelihoods of answers, requests a second of processor time.

SmolLM2-135M-Instruct in float32, one thread, batches of 16; the bundled pairs of questions and answers, once with the
answers as texts, once with two letters behind a question that shows both. The harness alone: both call the same
transformers model. With our model: ours calls minillm's. The log-likelihoods are compared before anything is timed.
Processor seconds, as other work on the machine does not count there. Peer: `pip install lm_eval` (HFLM).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minillm.data import available, fetch, judge_pairs
from minillm.evaluation import log_likelihoods
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from tests.benchmarks.harness import Row, in_turn, peer_or_none

PEER, BATCH = "lm-evaluation-harness", 16


def requests(count: int) -> dict[str, list[tuple[str, str]]]:
    """(context, continuation): two for each question, as texts and as letters."""
    texts, letters = [], []
    for row in judge_pairs(count):
        texts += [(f"Question: {row['question']}\nAnswer:", f" {row[name]}") for name in ("right", "wrong")]
        shown = f"Question: {row['question']}\nA. {row['right']}\nB. {row['wrong']}\nAnswer:"
        letters += [(shown, f" {letter}") for letter in "AB"]
    return {"answers as texts": texts, "letters": letters}


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def run(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    transformers, lm_eval = peer_or_none("transformers"), peer_or_none("lm_eval.models.huggingface")
    if not available("smollm2") or transformers is None or lm_eval is None:
        print("  skipped: needs SmolLM2 (minillm fetch smollm2), transformers and lm_eval")
        return []
    from lm_eval.api.instance import Instance

    model, tokenizer = load_model(fetch("smollm2")), load_tokenizer(fetch("smollm2"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "smollm2"
        model.save_pretrained(folder), tokenizer.save(folder)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        words = transformers.AutoTokenizer.from_pretrained(folder)
    peer = lm_eval.HFLM(pretrained=theirs, tokenizer=words, device="cpu", batch_size=BATCH, backend="causal")
    rows = []
    for name, pairs in requests(16).items():  # quick or not: a call takes seconds, and the ratio hardly moves
        asked = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        calls = {
            "ours": lambda pairs=pairs: log_likelihoods(model, tokenizer, pairs, BATCH),
            "same model": lambda pairs=pairs: log_likelihoods(theirs, words, pairs, BATCH),
            PEER: lambda asked=asked: peer.loglikelihood(asked, disable_tqdm=True),
        }
        found = [one for one, _ in calls[PEER]()]
        for own in ("ours", "same model"):
            worst = max(abs(a.log_likelihood - b) for a, b in zip(calls[own](), found, strict=True))
            assert worst < 2e-3, f"{name}, {own}: log-likelihoods differ by {worst}"
        times = in_turn(calls, rounds=3, warmup=0, measure=cpu_seconds)
        for own, work in (("same model", "the harness alone"), ("ours", "with our model")):
            rows.append(
                Row(
                    f"{len(pairs)} log-likelihoods, {name}, {work}", PEER, "requests/CPU s", len(pairs) / times[own],
                    len(pairs) / times[PEER], spread=times.spread(PEER, own),
                )
            )  # fmt: skip
    return rows
