"""A real pre-trained body against counting: multilingual-e5-small, fine-tuned on Korean headlines, and naive Bayes.

    python -m tests.benchmarks.finetune_ynat [MODEL] [--epochs 5] [--trained 4] [--seed 0]

YNAT (KLUE topic classification, seven topics), the part at hand of its validation set: split 70/10/20 into training,
validation and test, stratified, no headline in two parts. The embedding table and the lower blocks stay as they are, so
their output is computed once; the top blocks and a new layer on the mean of the hidden states are trained. Weights are
kept from the epoch that is best on the validation part. Naive Bayes on characters learns from training and validation
part together, its smoothing chosen on the validation part. Prints the lines of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
from datetime import date

import numpy as np
import torch
from torch import Tensor, nn

from minillm.data import Dataset, load_dataset, prove_held_out
from minillm.evaluation import CharacterNaiveBayes, paired
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from minillm.training import AdamW, clip_gradients, cosine_schedule, cross_entropy

SMOOTHINGS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Top(nn.Module):
    """The trained part: the upper blocks of the body, and one layer on the mean of the tokens."""

    def __init__(self, blocks: nn.ModuleList, width: int, labels: int) -> None:
        super().__init__()
        self.blocks, self.dropout, self.head = blocks, nn.Dropout(0.1), nn.Linear(width, labels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, C), mask (B, T) of 0/1 -> logits (B, labels)."""
        for block in self.blocks:
            x = block(x, mask=mask[:, None, None, :].bool())
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.head(self.dropout(mean))


def split(gold: np.ndarray, seed: int) -> list[list[int]]:
    """Places of the training (70 %), validation (10 %) and test part (20 %), with the same shares of each label."""
    rows = Dataset.from_dict({"place": list(range(len(gold))), "label": gold.tolist()})
    outer = rows.train_test_split(test_size=0.2, stratify_by_column="label", seed=seed)
    inner = outer["train"].train_test_split(test_size=0.125, stratify_by_column="label", seed=seed)
    return [inner["train"]["place"], inner["test"]["place"], outer["test"]["place"]]


def padded(states: list[Tensor]) -> tuple[Tensor, Tensor]:
    """States (T_i, C) -> (B, T, C) and the mask (B, T)."""
    mask = torch.zeros(len(states), max(map(len, states)))
    for row, state in enumerate(states):
        mask[row, : len(state)] = 1
    return nn.utils.rnn.pad_sequence(states, batch_first=True), mask


def batches(lengths: np.ndarray, rows: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Every place once, in batches of about equal lengths, in random order."""
    order = rng.permutation(len(lengths))
    groups = [order[i : i + 16 * rows] for i in range(0, len(order), 16 * rows)]
    order = np.concatenate([group[np.argsort(lengths[group], kind="stable")] for group in groups])
    parts = [order[i : i + rows] for i in range(0, len(order), rows)]
    return [parts[i] for i in rng.permutation(len(parts))]


@torch.no_grad()
def lower_states(body, ids: list[list[int]], lower: int) -> list[Tensor]:
    """What the frozen part makes of each text: (T_i, C)."""
    states: list[Tensor] = [torch.empty(0)] * len(ids)
    order = np.argsort([len(row) for row in ids], kind="stable")
    frozen, body.blocks = body.blocks, body.blocks[:lower]
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        input_ids, mask = padded([torch.tensor(ids[row])[:, None] for row in rows])
        out = body(input_ids[..., 0].long(), mask.long()).last_hidden_state
        for row, state in zip(rows, out):
            states[row] = state[: len(ids[row])].clone()
    body.blocks = frozen
    return states


@torch.no_grad()
def predictions(top: Top, states: list[Tensor], places: list[int]) -> np.ndarray:
    """The place of the likeliest label of each text."""
    top.eval()
    return torch.cat(
        [top(*padded([states[p] for p in places[i : i + 64]])).argmax(-1) for i in range(0, len(places), 64)]
    ).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="e5", help="as load_model takes it")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trained", type=int, default=4, help="blocks that are trained, from the top")
    parser.add_argument("--rows", type=int, default=32, help="headlines a batch")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    start = time.perf_counter()

    rows = load_dataset("klue_ynat", "validation")
    rows = list({" ".join(row["title"].split()).lower(): row for row in rows}.values())  # each title once
    titles, names = [row["title"] for row in rows], sorted({row["label"] for row in rows})
    gold = np.array([names.index(row["label"]) for row in rows])
    train, held, test = split(gold, options.seed)
    proof = prove_held_out([titles[i] for i in test], [titles[i] for i in train + held], what="headline", n=4)
    print(f"{len(rows)} headlines: {len(train)} training, {len(held)} validation, {len(test)} test; {proof}")

    def baseline(places: list[int], smoothing: float) -> CharacterNaiveBayes:
        return CharacterNaiveBayes(smoothing=smoothing).fit(
            [titles[i] for i in places], gold[places].tolist()
        )

    def right(model: CharacterNaiveBayes, places: list[int]) -> np.ndarray:
        return np.array(model.predict([titles[i] for i in places])) == gold[places]

    smoothing = max(SMOOTHINGS, key=lambda s: right(baseline(train, s), held).mean())
    bayes = right(baseline(train + held, smoothing), test)
    print(f"naive Bayes, smoothing {smoothing}: accuracy {bayes.mean():.4f}", flush=True)

    body, tokenizer = load_model(options.model).eval(), load_tokenizer(options.model)
    lower = len(body.blocks) - options.trained
    ids = tokenizer([f"query: {title}" for title in titles])["input_ids"]
    states = lower_states(body, ids, lower)
    print(f"frozen part: {sum(map(len, ids)):,} tokens, {time.perf_counter() - start:.0f} s", flush=True)

    top = Top(body.blocks[lower:], body.config.width, len(names))
    matrices = [p for p in top.parameters() if p.ndim > 1]
    vectors = [p for p in top.parameters() if p.ndim < 2]
    optimizer = AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.999),
    )
    rng = np.random.default_rng(options.seed)
    lengths = np.array([len(states[i]) for i in train])
    steps = options.epochs * -(-len(train) // options.rows)
    step, best, kept = 0, -1.0, copy.deepcopy(top.state_dict())
    for epoch in range(1, options.epochs + 1):
        top.train()
        total = 0.0
        for part in batches(lengths, options.rows, rng):
            step += 1
            chosen = [train[i] for i in part]
            optimizer.zero_grad()
            logits = top(*padded([states[i] for i in chosen]))
            loss = cross_entropy(logits, torch.from_numpy(gold[chosen]))
            loss.backward()
            clip_gradients(list(top.parameters()), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = cosine_schedule(step, steps + 1, options.rate, steps // 10, 0.0)
            optimizer.step()
            total += loss.item() * len(chosen)
        accuracy = (predictions(top, states, held) == gold[held]).mean()
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch}: train loss {total / len(train):.3f}, validation {accuracy:.4f}, {seconds:.0f} s",
            flush=True,
        )
        if accuracy > best:
            best, kept = accuracy, copy.deepcopy(top.state_dict())
    top.load_state_dict(kept)
    found = predictions(top, states, test)
    tuned = found == gold[test]
    print(f"e5, top {options.trained} blocks trained: accuracy {tuned.mean():.4f}; validation {best:.4f}")
    print(f"macro-F1 {macro_f1(found, gold[test]):.4f}")
    print(f"against naive Bayes: {paired(tuned, bayes)}")
    minutes = (time.perf_counter() - start) / 60
    print(
        f"{minutes:.1f} minutes, one thread, {date.today()}, {platform.machine()}, torch {torch.__version__}"
    )


def macro_f1(found: np.ndarray, gold: np.ndarray) -> float:
    """The mean over the labels of 2 * hits / (said + there)."""
    return float(
        np.mean(
            [
                2 * ((found == k) & (gold == k)).sum() / ((found == k).sum() + (gold == k).sum())
                for k in np.unique(gold)
            ]
        )
    )


if __name__ == "__main__":
    main()
