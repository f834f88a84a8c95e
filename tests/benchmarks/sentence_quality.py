"""How well multilingual-e5-small finds the Korean text that answers a question, beside BM25 and both together.

    python -m tests.benchmarks.sentence_quality [--questions 300] [--encoder e5] [--data FOLDER]

KLUE-MRC dev (the shared part): the first answerable questions against all contexts. Texts are cut into windows of 300
characters, because e5 reads 512 tokens; a context stands where its best window stood. hit@1, hit@5, MRR, and the
paired comparison of each method with BM25 on syllable pairs at the first place: wins, losses, 95 % interval, sign
test. Prints the table of BENCHMARKS.md. About ten minutes on one thread; the questions are no training text of e5 that
we know of, but its makers do not list all of theirs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minillm.evaluation import paired
from minillm.search import BM25, DenseRetriever, HybridSearch, SentenceEncoder, group_ranking
from minillm.search.self_grading import place_of
from minillm.search.words import plain_words
from tests.benchmarks.search_quality import QuestionSet, figures, klue_set

WINDOW = 300  # characters
BASE = "BM25, syllable pairs"


def windows(asked: QuestionSet) -> dict[str, str]:
    """ "context-3#2" -> the third window of that context."""
    return {
        f"{document.id}#{start // WINDOW}": document.text[start : start + WINDOW]
        for document in asked.documents
        for start in range(0, len(document.text), WINDOW)
    }


def places(asked: QuestionSet, encoder: SentenceEncoder, questions: int) -> dict[str, np.ndarray]:
    """For each method the place of the right context of each of the first questions, infinity beyond 10."""
    texts = windows(asked)
    ids, corpus = list(texts), list(texts.values())
    pairs = BM25().fit(corpus, ids)
    dense = DenseRetriever(encoder).fit(corpus, ids)
    methods = {
        "BM25, words": BM25(tokenizer=plain_words).fit(corpus, ids),
        BASE: pairs,
        "e5": dense,
        "RRF of e5 and syllable pairs": HybridSearch(pairs, dense),
    }
    found = {}
    for name, method in methods.items():
        rankings = method.search(asked.questions[:questions], 200)
        grouped = [group_ranking(ranking, lambda one: one.split("#")[0])[:10] for ranking in rankings]
        found[name] = np.array([place_of(*pair) for pair in zip(grouped, asked.gold)])
    return found


def report(found: dict[str, np.ndarray]) -> Iterator[str]:
    """The rows of the table."""
    yield f"| method | hit@1 / hit@5 / MRR | hit@1 against {BASE}: wins, losses; difference [95 %]; sign test |"
    yield "| --- | --- | --- |"
    for name, one in found.items():
        compared = paired(one <= 1, found[BASE] <= 1)
        low, high = compared.interval
        versus = (
            f"{compared.wins}, {compared.losses}; {compared.difference:+.3f} [{low:+.3f}, {high:+.3f}]; "
            f"p = {compared.p:.2g}"
        )
        yield f"| {name} | {figures(one)} | {'' if name == BASE else versus} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--encoder", default="e5", help="a folder, a file or a name")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MINILLM_DATA", ".")))
    options = parser.parse_args()
    asked, start = klue_set(options.data), time.perf_counter()
    found = places(asked, SentenceEncoder.from_pretrained(options.encoder), options.questions)
    print(
        f"KLUE-MRC (shared part): {len(found[BASE])} questions, {len(asked.documents)} contexts, "
        f"{len(windows(asked)):,} windows of {WINDOW} characters; {time.perf_counter() - start:.0f} s"
    )
    for line in report(found):
        print(line, flush=True)


if __name__ == "__main__":
    main()
