"""BM25 queries against rank_bm25 and bm25s: the Python reference's paragraphs, learners' questions, k = 10.

All three get the questions as text and split them with the same `search_words`, so what differs is the scoring.
rank_bm25 is asked one query at a time and sorted by numpy, the others get the whole list. Index building is a row of
its own.
"""

from __future__ import annotations

import numpy as np

from minillm.data import paragraphs_once, python_docs, python_questions
from minillm.search import BM25, search_words
from tests.benchmarks.harness import Row, in_turn, peer_or_none, seconds

K = 10
SLOW = 20  # questions a round for the slow peer, so that all rounds are short


def run(quick: bool) -> list[Row]:
    corpus = [paragraph for document in paragraphs_once(python_docs()) for paragraph in document]
    questions = [question.text for question in python_questions()]
    rounds = 5 if quick else 15
    ours = BM25().fit(corpus)
    calls = {"ours": lambda: ours.search(questions, K)}
    builds = {"ours": lambda: BM25().fit(corpus)}

    rank_bm25 = peer_or_none("rank_bm25")
    if rank_bm25:
        okapi = rank_bm25.BM25Okapi([search_words(text) for text in corpus])

        def ask_rank_bm25() -> None:
            for question in questions[:SLOW]:
                scores = okapi.get_scores(search_words(question))
                np.argsort(-scores, kind="stable")[:K]

        calls["rank_bm25"] = ask_rank_bm25
        builds["rank_bm25"] = lambda: rank_bm25.BM25Okapi([search_words(text) for text in corpus])

    bm25s = peer_or_none("bm25s")
    if bm25s:
        import logging

        logging.getLogger("bm25s").setLevel(logging.WARNING)
        for backend in ("numpy", "numba"):
            peer = bm25s.BM25(k1=1.2, b=0.75, backend=backend)
            peer.index([search_words(text) for text in corpus], show_progress=False)
            calls[f"bm25s {backend}"] = lambda peer=peer: peer.retrieve(
                [search_words(question) for question in questions], k=K, show_progress=False, n_threads=0
            )

        def build_bm25s() -> None:
            bm25s.BM25(k1=1.2, b=0.75).index([search_words(text) for text in corpus], show_progress=False)

        builds["bm25s"] = build_bm25s

    asked = {name: len(questions) for name in calls}
    asked["rank_bm25"] = SLOW
    times = in_turn(calls, rounds)
    rate = {name: asked[name] / times[name] for name in times}
    work = f"BM25 queries, {len(corpus)} paragraphs of the Python reference"
    rows = [
        Row(work, label, "queries/s", rate["ours"], rate.get(peer), target, spread=times.spread(peer))
        for peer, label, target in (
            ("rank_bm25", "rank_bm25", 100),
            ("bm25s numpy", "bm25s (numpy)", None),
            ("bm25s numba", "bm25s (numba)", None),
        )
    ]
    if rows[0].spread is not None:  # its rounds are shorter than ours
        rows[0].spread *= asked["ours"] / asked["rank_bm25"]
    times = in_turn(builds, 1 if quick else 5)
    work = f"BM25 index of {len(corpus)} paragraphs"
    rows += [
        Row(
            work, peer, "s", times["ours"], times.get(peer), higher_is_better=False, spread=times.spread(peer)
        )
        for peer in ("rank_bm25", "bm25s")
    ]
    tokenizing = seconds(lambda: [search_words(question) for question in questions]) / len(questions)
    rows[0].note = f"{1e6 * tokenizing:.1f} us of each query is splitting it into words"
    return rows
