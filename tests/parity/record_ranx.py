"""Writes ranx.json: figures of ranx on random rankings, in an environment of its own (`pip install ranx`).

python tests/parity/record_ranx.py
"""

import json
from pathlib import Path

import numpy as np

AT_K = {
    "accuracy_at_k": [1, 3, 10], "precision_recall_at_k": [1, 5, 10], "mrr_at_k": [3, 10], "ndcg_at_k": [5, 10],
    "map_at_k": [5, 30],
}  # fmt: skip
NAMES = {name: name for name in ("precision", "recall", "mrr", "ndcg", "map")} | {"accuracy": "hit_rate"}


def random_case(seed):
    """12 queries; of 40 documents 1 to 15 are right, and up to 30 are listed."""
    generator = np.random.default_rng(seed)
    documents = [f"d{number}" for number in range(40)]
    rankings = [generator.permutation(documents)[: generator.integers(1, 31)].tolist() for _ in range(12)]
    gold = [sorted(generator.permutation(documents)[: generator.integers(1, 16)].tolist()) for _ in range(12)]
    return rankings, gold


def main():
    from ranx import Qrels, Run, evaluate

    asked = [
        (f"{name}@{k}", f"{theirs}@{k}")
        for name, theirs in NAMES.items()
        for k in AT_K["precision_recall_at_k" if name in ("precision", "recall") else f"{name}_at_k"]
    ]
    cases = []
    for seed in range(3):
        rankings, gold = random_case(seed)
        qrels = Qrels({f"q{i:02}": dict.fromkeys(right, 1) for i, right in enumerate(gold)})
        run = Run(
            {f"q{i:02}": {d: float(100 - p) for p, d in enumerate(row)} for i, row in enumerate(rankings)}
        )
        found = evaluate(qrels, run, [theirs for _, theirs in asked])
        figures = {ours: float(found[theirs]) for ours, theirs in asked}
        cases.append({"seed": seed, "rankings": rankings, "gold": gold, "figures": figures})
    path = Path(__file__).with_name("ranx.json")
    path.write_text(json.dumps({"at_k": AT_K, "cases": cases}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
