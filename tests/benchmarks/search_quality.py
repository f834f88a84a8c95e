"""How well an index searches a user's text, and whether it chose its method well: on questions it never saw.

    python -m tests.benchmarks.search_quality [NAME ...] [--data FOLDER] [--seed N]

For each set an index is built with `minillm index`'s own settings; it grades itself and chooses. Then people's
questions are asked: hit@1, hit@5 and MRR of every method, and the chosen one against the best single one (bm25 or
dense), with a 95 % interval of the paired difference. KorQuAD 1.0 dev: question -> its paragraph. KLUE-MRC dev (the
shared part): question -> its context. Cranfield: query -> any relevant abstract. Python and Korean: our questions.
For Python it also draws the curve of declined questions. Prints the tables of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minillm.course.tour.stages import TourSettings
from minillm.data import (
    DECLINING,
    Document,
    korean_documents,
    korean_questions,
    python_docs,
    python_questions,
    split_passages,
    unanswerable_questions,
)
from minillm.search import PassageIndex, choose_threshold, decline_curve
from minillm.search.confidence import Declined
from minillm.search.self_grading import METHODS, place_of

OLDER = 111  # our questions before the 15 of kind "first" joined them


@dataclass(frozen=True)
class QuestionSet:
    """Documents, questions on them, and the ids of the documents that answer each."""

    documents: list[Document]
    questions: list[str]
    gold: list[set[str]]


def python_set(data: Path) -> QuestionSet:
    """The language reference of the running Python and our questions on it."""
    questions = python_questions()
    return QuestionSet(python_docs(), [q.text for q in questions], [set(q.gold) for q in questions])


def korean_set(data: Path) -> QuestionSet:
    """Our Korean texts and the questions on them."""
    questions = korean_questions()
    return QuestionSet(korean_documents(), [q.text for q in questions], [set(q.gold) for q in questions])


def korquad_set(data: Path) -> QuestionSet:
    """A document a paragraph, titled as its article."""
    with gzip.open(data / "korquad" / "KorQuAD_v1.0_dev.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    documents, questions, gold = [], [], []
    for article in articles:
        for number, paragraph in enumerate(article["paragraphs"]):
            one = f"{article['title']}/{number}"
            documents.append(Document(one, article["title"], paragraph["context"]))
            questions += [asked["question"] for asked in paragraph["qas"]]
            gold += [{one} for _ in paragraph["qas"]]
    return QuestionSet(documents, questions, gold)


def klue_set(data: Path) -> QuestionSet:
    """A document a context; questions that KLUE says have no answer in it are left out."""
    documents: dict[str, Document] = {}
    questions, gold = [], []
    name = "klue-mrc-v1.1_dev_first1350.shared.jsonl.gz"
    with gzip.open(data / "klue" / name, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            context = documents.setdefault(
                row["context"], Document(f"context-{len(documents)}", row["title"], row["context"])
            )
            if not row["is_impossible"]:
                questions.append(row["question"])
                gold.append({context.id})
    return QuestionSet(list(documents.values()), questions, gold)


def cranfield_set(data: Path) -> QuestionSet:
    """A document an abstract."""
    folder = data / "retrieval" / "cranfield"
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    documents = [
        Document(row["_id"], row["title"] or row["_id"], row["text"]) for row in rows if row["text"].strip()
    ]
    lines = (folder / "queries.shared.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {str(row["_id"]): row["text"] for row in map(json.loads, lines)}
    right: dict[str, set[str]] = {}
    with (folder / "qrels.shared.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0 and row["query-id"] in texts:
                right.setdefault(row["query-id"], set()).add(row["corpus-id"])
    return QuestionSet(documents, [texts[query] for query in right], list(right.values()))


SETS = {
    "Python": python_set,
    "KorQuAD": korquad_set,
    "KLUE-MRC": klue_set,
    "Korean": korean_set,
    "Cranfield": cranfield_set,
}


def build(documents: list[Document], seed: int = 0) -> PassageIndex:
    """As `minillm index` builds it."""
    return PassageIndex.build(
        split_passages(documents, max_words=150), steps=TourSettings().dense_steps, seed=seed
    )


def places(index: PassageIndex, asked: QuestionSet) -> dict[str, np.ndarray]:
    """For each method the place of the first right document of each question, infinity beyond 10."""
    found = {}
    for method in METHODS:
        rankings = index.search_documents(asked.questions, 10, method)
        found[method] = np.array([place_of(*pair) for pair in zip(rankings, asked.gold, strict=True)])
    return found


def interval(one: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of the paired difference one - other and its 95 % interval, by 2,000 bootstrap samples."""
    difference = one.astype(float) - other
    drawn = np.random.default_rng(seed).integers(len(difference), size=(2000, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def versus_best_single(index: PassageIndex, found: dict[str, np.ndarray]) -> tuple[str, float, float, float]:
    """The better of bm25 and dense at the first place, and the chosen method's hit@1 minus its, with the interval."""
    best = max(("bm25", "dense"), key=lambda method: (found[method] <= 1).mean())
    return best, *interval(found[index.choice.method] <= 1, found[best] <= 1)


def figures(found: np.ndarray) -> str:
    """hit@1, hit@5, MRR."""
    return f"{(found <= 1).mean():.3f} / {(found <= 5).mean():.3f} / {(1 / found).mean():.3f}"


def shares(index: PassageIndex, questions: list[str]) -> np.ndarray:
    """The share of each question that the passage quoted for it says."""
    found = [index.search(question, 1) for question in questions]
    return np.array(
        [index.share_named(question, one[0][0]) if one else 0.0 for question, one in zip(questions, found)]
    )


@dataclass(frozen=True)
class Declining:
    """The threshold of one half of the questions, and what it does to the other half."""

    chosen: Declined
    answerable: np.ndarray
    unanswerable: np.ndarray

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """declined, of so many unanswerable; wrongly declined, of so many answerable: in the other half."""
        bad, good = (one < self.chosen.threshold for one in (self.unanswerable, self.answerable))
        return int(bad.sum()), len(bad), int(good.sum()), len(good)


def measure_declining(answerable: np.ndarray, unanswerable: np.ndarray, seed: int = 0) -> Declining:
    """Split both at random in two halves, take the threshold from the first, keep the second."""
    generator = np.random.default_rng(seed)
    halves = []
    for one in (answerable, unanswerable):
        order = generator.permutation(len(one))
        halves.append((one[order[: len(one) // 2]], one[order[len(one) // 2 :]]))
    (good, other_good), (bad, other_bad) = halves
    return Declining(choose_threshold(good, bad), other_good, other_bad)


def report(name: str, asked: QuestionSet, seed: int) -> Iterator[str]:
    """The lines of one set."""
    index = build(asked.documents, seed)
    found = places(index, asked)
    choice = index.choice
    yield (
        f"{name}: {len(index):,} passages, {len(asked.questions):,} questions, {choice.queries} queries of its own; "
        f"grading {index.grading_seconds:.1f} of {index.building_seconds:.1f} s; chosen: {index.choice_in_words()}"
    )
    for row in choice.table:
        own = f"{row['hit@1']:.3f} / {row['hit@5']:.3f} / {row['MRR']:.3f}, +{row['better']} -{row['worse']}"
        yield f"| {name} | {row['method']} | {own} | {figures(found[row['method']])} |"
    best, difference, low, high = versus_best_single(index, found)
    chosen = found[choice.method]
    wins, losses = (
        int(((chosen <= 1) & (found[best] > 1)).sum()),
        int(((chosen > 1) & (found[best] <= 1)).sum()),
    )
    yield (
        f"chosen - best single ({best}): {difference:+.3f} [{low:+.3f}, {high:+.3f}] hit@1, "
        f"{wins} wins, {losses} losses"
    )
    language = "en" if name in ("Python", "Cranfield") else "ko"
    good = shares(index, asked.questions)
    bad = shares(index, [q.text for q in unanswerable_questions() if q.language == language])
    low = DECLINING.least_share
    yield (
        f"declined below {low}: {(bad < low).sum()} of {len(bad)} without an answer ({language}), "
        f"{(good < low).sum()} of {len(good)} with one"
    )
    if name == "Python":
        for label, part in (("older 111", slice(0, OLDER)), ("newer 15", slice(OLDER, None))):
            row = "; ".join(f"{method} {figures(found[method][part])}" for method in METHODS)
            yield f"{label}: {row}; chosen within 3: {(chosen[part] <= 3).sum()} of {len(chosen[part])}"
        bad = shares(index, [q.text for q in unanswerable_questions()])
        measured = measure_declining(good, bad, seed)
        yield f"threshold {measured.chosen.threshold:.2f}; other half: declined, of, wrongly, of = {measured.counts}"
        for point in decline_curve(good, bad)[10:71:5]:
            yield f"| {point.threshold:.2f} | {point.declined:.2f} | {point.wrongly:.2f} |"


def main() -> None:
    """Print the figures of the sets named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(SETS), metavar="NAME")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MINILLM_DATA", ".")))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.names:
        for line in report(name, SETS[name](options.data), options.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
