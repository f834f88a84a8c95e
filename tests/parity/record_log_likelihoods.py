"""SmolLM2's log-likelihoods of the letters of 200 MMLU questions (no examples), kept for both scoring rules.

python -m tests.parity.record_log_likelihoods FILE           about two minutes of one thread
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

from minillm.data.real_models import fetch
from minillm.evaluation import log_likelihoods
from minillm.evaluation.harness import mmlu_item
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from tests.parity.lm_eval_items import key, mmlu_rows


def main() -> None:
    torch.set_num_threads(1)
    path = fetch("smollm2")
    model, tokenizer = load_model(path), load_tokenizer(path)
    rows = mmlu_rows(Path(os.environ["MINILLM_DATA"]).joinpath)
    items = [mmlu_item(row["question"], row["choices"], row["answer"], row["subject"]) for row in rows]
    start = time.process_time()
    pairs = [(item["prompt"], " " + choice) for item in items for choice in item["choices"]]
    letters = iter(log_likelihoods(model, tokenizer, pairs))
    seconds = time.process_time() - start
    # the same questions with their choices as texts, whose lengths differ: acc_norm is another rule there
    some = [place for place in range(len(rows)) if place % 50 < 15]
    pairs = [
        (f"Question: {rows[place]['question']}\nAnswer:", " " + choice)
        for place in some
        for choice in rows[place]["choices"]
    ]
    texts = iter(log_likelihoods(model, tokenizer, pairs))
    kept = []
    for place, (row, item) in enumerate(zip(rows, items)):
        one = {"id": key(item["prompt"]), "letters": [next(letters).log_likelihood for _ in range(4)]}
        if place in some:
            one["texts"] = [next(texts).log_likelihood for _ in row["choices"]]
        kept.append(one)
    Path(sys.argv[1]).write_text(json.dumps(kept), "utf-8")
    print(f"letters: {seconds:.0f} CPU seconds of {time.process_time() - start:.0f}")


if __name__ == "__main__":
    main()
