"""A real encoder, fine-tuned, and reranked, on Korean questions and contexts that no training has seen.

    python -m tests.benchmarks.rerank_quality [--kept FOLDER] [--seed 0] [--training 500] [--questions 200] [--write]

KLUE-MRC dev (the shared part; needs the model e5): question -> its context, all contexts searched, in windows of 300
characters; a context stands where its best window stood. Four tenths of the pairs are the examination: no question, no
context and no sentence of it stands in the training (`data_of_pairs`). Rows: BM25; e5; e5 with its last 3 layers
fine-tuned (MNR, one hard negative); both with 30 windows reranked by a cross-encoder: e5's body, last 6 layers trained
on the training pairs with 3 wrong windows each, mined by e5. hit@1, hit@5, MRR of the contexts returned; places beyond
the 30 windows count nothing. Forgetting: the rank correlation with people's scores on 500 pairs of KorSTS.

--kept FOLDER keeps vectors, trained layers and scores, so that a run that is stopped goes on. --write puts the rows
into BENCHMARKS.md. The settings were set once, before any result was seen. More than half an hour of
one thread.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from minillm._files import load_arrays, save_arrays, write_whole
from minillm.data import load_dataset
from minillm.evaluation.correlation import spearman
from minillm.models import BERTForSequenceClassification
from minillm.search import (
    BM25,
    CrossEncoder,
    DenseRetriever,
    EmbeddingSimilarityEvaluator,
    Pair,
    SentenceEncoder,
    TwoStageSearch,
    fine_tune,
    group_ranking,
    labelled_pairs,
    mnr_loss,
    train_cross_encoder,
)
from minillm.search.before_and_after import compared, figures
from minillm.search.hard_negatives import wrong_ones
from minillm.search.kept_vectors import KeptVectors
from minillm.search.own_pairs import OwnData, data_of_pairs
from minillm.search.self_grading import place_of
from minillm.search.trainable import chosen_names
from minillm.training import TrainingArguments
from tests.benchmarks import record
from tests.benchmarks.search_quality import klue_set
from tests.benchmarks.sentence_quality import WINDOW

N = 30  # windows that are reranked
BI_LAYERS, CROSS_LAYERS = 3, 6
KIND = "trained layers"
HEAD = [
    "KLUE-MRC, held out", "n", "hit@1", "hit@5", "MRR", "against", "hit@1: wins, losses; difference [95 %]",
    "hit@5", "MRR, difference [95 %]",
]  # fmt: skip


# --- the data ---


def windows(text: str) -> list[str]:
    """The text in pieces of WINDOW characters."""
    return [text[start : start + WINDOW] for start in range(0, len(text), WINDOW)]


def examination(
    data: Path, training: int, questions: int, contexts: int | None = None
) -> tuple[OwnData, list[Pair]]:
    """The held-out questions, with all contexts (the first ones); and the training pairs (question, context)."""
    asked = klue_set(data)
    text = {document.id: document.text for document in asked.documents[:contexts]}
    answers = [(question, min(gold)) for question, gold in zip(asked.questions, asked.gold)]
    pairs = [Pair(question, text[one]) for question, one in answers if one in text]
    own = data_of_pairs(pairs, held_out=0.4, seed=0)
    own.queries[questions:], own.gold[questions:] = [], []
    return own, own.training[:training]


def window_pairs(pairs: Sequence[Pair], retriever: Any, negatives: int) -> list[Pair]:
    """(question, its window, wrong windows): of a context the window that ranks best, of the others the highest."""
    texts = list(dict.fromkeys(one for pair in pairs for one in windows(pair.positive)))
    retriever.fit(texts)
    found = []
    for pair, ranking in zip(pairs, retriever.search([pair.anchor for pair in pairs], len(texts))):
        own = set(windows(pair.positive))
        ranked = [(texts[place], score) for place, score in ranking]
        best = next(one for one, _ in ranked if one in own)
        found.append(Pair(pair.anchor, best, tuple(wrong_ones(pair.anchor, own, ranked)[:negatives])))
    return found


# --- what is kept ---


def trained(path: Path | None, module: nn.Module, only: int, train: Callable[[], Any]) -> None:
    """Call `train`, which changes the last `only` layers of a module; or read what it made of them the last time."""
    tensors = {name: one for name, one in module.named_parameters() if name in chosen_names(module, only)}
    if path is not None and path.is_file():
        arrays, _ = load_arrays(path, KIND)
        with torch.no_grad():
            for name, one in tensors.items():
                one.copy_(torch.from_numpy(arrays[name]))
        return
    train()
    if path is not None:
        save_arrays(path, KIND, {name: one.detach().numpy() for name, one in tensors.items()})


class KeptScores:
    """A cross-encoder that scores no pair twice, over runs too: a line of `path` a pair."""

    def __init__(self, encoder: Any, path: Path | None) -> None:
        text = path.read_text("utf-8") if path is not None and path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a run was stopped within a line
            write_whole(path, whole)
        self.encoder, self.path = encoder, path
        self.known = dict(map(json.loads, whole.splitlines()))

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """As the encoder's, before the sigmoid."""
        keys = [hashlib.sha256("\n\n".join(pair).encode()).hexdigest() for pair in pairs]
        new = [(key, pair) for key, pair in dict(zip(keys, pairs)).items() if key not in self.known]
        for start in range(0, len(new), 64):
            part = new[start : start + 64]
            scores = self.encoder.score([pair for _, pair in part], activation="identity")
            rows = [(key, float(score)) for (key, _), score in zip(part, scores)]
            self.known.update(rows)
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in rows))
        return np.array([self.known[key] for key in keys])


# --- the systems ---


def places(retriever: Any, own: OwnData) -> np.ndarray:
    """The place of the right context of each question among those of the first N windows; infinity beyond."""
    rankings = retriever.search(own.queries, N)
    grouped = [group_ranking(ranking, lambda one: one.split("#")[0]) for ranking in rankings]
    return np.array([place_of(*pair) for pair in zip(grouped, own.gold, strict=True)])


def settings(seed: int, size: int, rate: float) -> TrainingArguments:
    """One epoch."""
    return TrainingArguments(
        num_train_epochs=1, per_device_train_batch_size=size, learning_rate=rate, warmup_ratio=0.1, seed=seed,
        device="cpu",
    )  # fmt: skip


def measure(options: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of the table, each as it is ready."""
    own, pairs = examination(options.data, options.training, options.questions, options.contexts)
    print(
        f"{len(pairs)} training pairs, {len(own.queries)} held-out questions, {own.left_out} left out for a shared "
        f"sentence, {len(own.corpus)} contexts. Held out: {own.proof}",
        flush=True,
    )
    texts = {f"{one}#{n}": piece for one, text in own.corpus.items() for n, piece in enumerate(windows(text))}
    ids, corpus = list(texts), list(texts.values())
    kept, label = options.kept, f"{len(pairs)}-seed{options.seed}"
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)

    def file(name: str) -> Path | None:
        return None if kept is None else kept / name

    def row(name: str, found: np.ndarray, against: dict[str, np.ndarray]) -> Iterator[list[str]]:
        cells = [f"{value:.3f}" for value in figures(found).values()]
        for other, before in against.items() or [("", None)]:
            versus = ["", "", ""] if before is None else in_cells(found, before)
            yield [f"{name}{f' against {other}' if other else ''}", str(len(found)), *cells, other, *versus]

    found = {"BM25, syllable pairs": places(BM25().fit(corpus, ids), own)}
    base = SentenceEncoder.from_pretrained("e5")
    vectors = KeptVectors(base, file("e5"))
    dense = DenseRetriever(vectors).fit(corpus, ids)
    found["e5"] = places(dense, own)
    for name in found:
        yield from row(name, found[name], {})

    mined = window_pairs(pairs, DenseRetriever(vectors), 3)
    tuned = SentenceEncoder.from_pretrained("e5")
    hard = [pair._replace(negatives=pair.negatives[:1]) for pair in mined]
    trained(
        file(f"tuned-{label}"), tuned.model, BI_LAYERS,
        lambda: fine_tune(
            tuned, hard, settings(options.seed, 16, 5e-5), partial(mnr_loss, scale=50), only=BI_LAYERS
        ),
    )  # fmt: skip
    tuned_name = f"e5 fine-tuned, seed {options.seed}"
    tuned_dense = DenseRetriever(KeptVectors(tuned, file(f"vectors-{label}"))).fit(corpus, ids)
    found[tuned_name] = places(tuned_dense, own)
    yield from row(tuned_name, found[tuned_name], {"e5": found["e5"]})

    config = copy.deepcopy(base.model.config).with_labels(1)
    model = BERTForSequenceClassification(config, seed=options.seed)
    model.body.load_state_dict(
        base.model.state_dict(), strict=False
    )  # e5 has no pooler: a new one is trained
    cross = CrossEncoder(model, base.tokenizer)
    trained(
        file(f"cross-{label}"), cross.model, CROSS_LAYERS,
        lambda: train_cross_encoder(
            cross, labelled_pairs(mined), settings(options.seed, 16, 1e-4), only=CROSS_LAYERS
        ),
    )  # fmt: skip
    judge = KeptScores(cross, file(f"scores-{label}.jsonl"))
    for name, first in ((tuned_name, tuned_dense), ("e5", dense)):
        reranked = places(TwoStageSearch(first, judge, texts, N), own)
        against = {name: found[name]} | ({"e5": found["e5"]} if name != "e5" else {})
        plain = name.removesuffix(f", seed {options.seed}")
        yield from row(f"{plain} and reranked, seed {options.seed}", reranked, against)
    print(
        "hit among the 30 windows:",
        {name: round(float(np.isfinite(one).mean()), 3) for name, one in found.items()},
    )
    print(forgetting(base, tuned), flush=True)


def in_cells(after: np.ndarray, before: np.ndarray) -> list[str]:
    """What the paired comparisons say: of hit@1, hit@5, MRR."""
    cells = []
    for one in compared(after, before).values():
        (low, high), counts = one.interval, f"{one.wins}, {one.losses}; "
        cells.append(f"{counts}{one.difference:+.3f} [{low:+.3f}, {high:+.3f}]")
    return cells


def forgetting(before: Any, after: Any, pairs: int = 500, resamples: int = 2000) -> str:
    """Spearman's correlation on KorSTS before and after, and the interval of the difference over the pairs."""
    rows = [row for row in load_dataset("korsts", "validation") if row["sentence1"] and row["sentence2"]][
        :pairs
    ]
    evaluator = EmbeddingSimilarityEvaluator(
        *([row[name] for row in rows] for name in ("sentence1", "sentence2", "score"))
    )
    scores = np.array(evaluator.scores)
    old, new = (evaluator.similarities(encoder) for encoder in (before, after))
    drawn = np.random.default_rng(0).integers(len(rows), size=(resamples, len(rows)))
    gaps = [spearman(new[one], scores[one]) - spearman(old[one], scores[one]) for one in drawn]
    low, high = np.percentile(gaps, [2.5, 97.5])
    was, now = spearman(old, scores), spearman(new, scores)
    return (
        f"KorSTS, n = {len(rows)}: Spearman {was:.3f} before, {now:.3f} after; "
        f"difference {now - was:+.3f} [{low:+.3f}, {high:+.3f}]"
    )


def main() -> None:
    """Print the rows, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kept", type=Path, help="a folder where vectors, layers and scores are kept over runs"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--training", type=int, default=500, help="pairs to learn from")
    parser.add_argument("--questions", type=int, default=200, help="held-out questions")
    parser.add_argument("--contexts", type=int, help="only the first so many, to try it out")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MINILLM_DATA", ".")))
    parser.add_argument("--write", action="store_true", help="put the rows into BENCHMARKS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for row in measure(options):
        print(f"| {' | '.join(row)} |", flush=True)
        rows.append(row)
    if options.write:
        record.put_rows("rerank_quality", HEAD, rows, [])


if __name__ == "__main__":
    main()
