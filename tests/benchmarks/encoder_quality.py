"""Keywords, encoders and hybrids side by side, and whether an index with a real encoder chooses its method well.

    python -m tests.benchmarks.encoder_quality [SET ...] [--questions 200] [--encoders e5 minilm] [--kept FOLDER]

One table: for each set BM25 with words and with syllable pairs, as `minillm index` has it (titles a field of their
own); each encoder alone, its rank fusion with BM25, and the weighted sum; "trained" is the small encoder that is
trained on the passages. hit@1, hit@5, MRR, and wins and losses at the first place against BM25 with syllable pairs.
Then for each encoder the method that the index chose for itself, less the better of BM25 and the encoder, with the
95 % interval and the sign test of the paired difference. --questions 0 asks all; else as many, drawn by --seed.

Sets: KLUE-MRC and KorQuAD (question -> paragraph), AutoRAG (Korean, 20 questions), Cranfield, Python (ours). A run that
is stopped goes on where it was with --kept: the vectors are kept there. Prints the tables of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minillm.course.tour.settings import TourSettings
from minillm.data import Document, Passage, split_passages
from minillm.evaluation import paired
from minillm.search import FieldSearch, PassageIndex, SentenceEncoder, group_ranking
from minillm.search.kept_vectors import KeptVectors
from minillm.search.passage_index import FIELDS, WHOLE, indexed_texts
from minillm.search.self_grading import METHODS, place_of
from minillm.search.words import plain_words
from tests.benchmarks.search_quality import SETS, QuestionSet, figures

BASE = "BM25, syllable pairs"
NAMES = {"dense": "{}", "hybrid": "RRF of BM25 and {}", "weighted": "weighted sum of BM25 and {}"}


def autorag_set(data: Path) -> QuestionSet:
    """AutoRAG's Korean sample: 55 passages, 20 questions."""
    folder = data / "retrieval" / "autorag_ko_sample"
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    lines = (folder / "qa.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    documents = [Document(row["_id"], "", row["text"]) for row in rows]
    return QuestionSet(
        documents, [row["query"] for row in asked], [set(row["retrieval_gt"]) for row in asked]
    )


CHOSEN = {name: SETS[name] for name in ("KLUE-MRC", "KorQuAD", "Cranfield", "Python")} | {
    "AutoRAG": autorag_set
}


def drawn(asked: QuestionSet, count: int, seed: int) -> QuestionSet:
    """`count` of the questions, in their order; all for 0, or where there are no more."""
    if not count or count >= len(asked.questions):
        return asked
    picked = sorted(np.random.default_rng(seed).permutation(len(asked.questions))[:count])
    return QuestionSet(asked.documents, [asked.questions[i] for i in picked], [asked.gold[i] for i in picked])


def places_of_words(passages: list[Passage], asked: QuestionSet) -> np.ndarray:
    """The place of the first right document of each question by BM25 whose words are split at spaces alone."""
    columns = {"text": indexed_texts(passages), "title": [passage.title for passage in passages]}
    ids = [passage.id for passage in passages]
    document = {passage.id: passage.document_id for passage in passages}
    rankings = FieldSearch(FIELDS, plain_words, WHOLE).fit(columns, ids).search(asked.questions, 100)
    grouped = [group_ranking(ranking, document.get)[:10] for ranking in rankings]
    return np.array([place_of(*pair) for pair in zip(grouped, asked.gold, strict=True)])


def built(passages: list[Passage], encoder: Any, seed: int) -> PassageIndex:
    """The index as `minillm index` builds it, with the encoder, or with one that is trained."""
    if encoder is None:
        return PassageIndex.build(passages, seed, steps=TourSettings().dense_steps)
    index = PassageIndex.build(passages, seed, encoder)
    index.dense.encoder = encoder  # questions are encoded once for the three methods that ask for them
    return index


def places(index: PassageIndex, asked: QuestionSet, method: str) -> np.ndarray:
    """The place of the first right document of each question, infinity beyond 10."""
    rankings = index.search_documents(asked.questions, 10, method)
    return np.array([place_of(*pair) for pair in zip(rankings, asked.gold, strict=True)])


def report(name: str, asked: QuestionSet, encoders: dict[str, Any], seed: int) -> Iterator[str]:
    """The rows of one set, then a line an encoder about what its index chose."""
    passages = split_passages(asked.documents, max_words=150)
    found = {"BM25, words": places_of_words(passages, asked)}
    chosen = []
    for label, encoder in encoders.items():
        start = time.perf_counter()
        index = built(passages, encoder, seed)
        by_method = {method: places(index, asked, method) for method in METHODS}
        found[BASE] = by_method["bm25"]  # the same in every index
        found |= {title.format(label): by_method[method] for method, title in NAMES.items()}
        best = max(("bm25", "dense"), key=lambda method: (by_method[method] <= 1).mean())
        compared = paired(by_method[index.choice.method] <= 1, by_method[best] <= 1)
        low, high = compared.interval
        chosen.append(
            f"| {name} | {len(asked.questions)} | {label} | {index.choice_in_words()} | {best} | "
            f"{compared.difference:+.3f} [{low:+.3f}, {high:+.3f}] | {compared.wins} / {compared.losses} | "
            f"{compared.p:.2g} | {time.perf_counter() - start:.0f} s |"
        )
    for title, one in found.items():
        versus = paired(one <= 1, found[BASE] <= 1)
        score = "" if title == BASE else f"{versus.wins} / {versus.losses}"
        yield f"| {name} | {len(asked.questions)} | {title} | {figures(one)} | {score} |"
    yield from chosen


def opened(name: str, kept: Path | None) -> Any:
    """The encoder, its vectors kept; None for one that is trained."""
    if name == "trained":
        return None
    return KeptVectors(
        SentenceEncoder.from_pretrained(name), None if kept is None else kept / Path(name).name
    )


def main() -> None:
    """Print the rows of the sets named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(CHOSEN), metavar="SET")
    parser.add_argument("--questions", type=int, default=0)
    parser.add_argument("--encoders", nargs="+", default=["trained", "minilm", "e5"], metavar="NAME")
    parser.add_argument("--kept", type=Path, help="a folder where vectors are kept over runs")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MINILLM_DATA", ".")))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    encoders = {name: opened(name, options.kept) for name in options.encoders}
    print(
        f"| set | n | method | hit@1 / hit@5 / MRR | wins / losses against {BASE} |\n| --- | --- | --- | --- | --- |"
    )
    for name in options.names:
        asked = drawn(CHOSEN[name](options.data), options.questions, options.seed)
        for line in report(name, asked, encoders, options.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
