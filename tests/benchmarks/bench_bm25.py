"""BM25 against rank_bm25 and bm25s, k = 10: Python's own documentation, and 100,000 documents of made-up words.

Each row is a whole call, and all get the same: texts that are split by the same function, or lists of words that were
split before. What comes out is each library's own: ours (id, score) pairs, bm25s arrays of the two.

Python: the paragraphs of the reference, learners' questions, split by `search_words`. rank_bm25 is asked one query at a
time and sorted by numpy, the others get the whole list.

Made-up: 100 words a document, drawn so that word r is 1 / r as often as the first (Zipf's law, 200,000 words). Natural
queries: 2 to 8 words drawn likewise. Selective ones: 2 to 8 of the words from rank 1,000 on, each as likely. Texts are
split at spaces. Index building is a row of its own, from texts here and from lists of words there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.data import paragraphs_once, python_docs, python_questions
from minillm.search import BM25, search_words
from tests.benchmarks.harness import Row, in_turn, peer_or_none, seconds

K = 10
TIMES = 5  # a round asks all questions about Python
SLOW = 20  # questions a round for the slow peer, so that all rounds are short
RANKS, COMMON = 200_000, 1_000


def repeated(call: Callable[[], Any]) -> float:
    """Seconds of one of TIMES calls that follow each other."""
    return seconds(lambda: [call() for _ in range(TIMES)]) / TIMES


def run(quick: bool) -> list[Row]:
    return python_rows(quick) + zipf_rows(quick)


def python_rows(quick: bool) -> list[Row]:
    corpus = [paragraph for document in paragraphs_once(python_docs()) for paragraph in document]
    questions = [question.text for question in python_questions()]
    rounds = 20 if quick else 60
    ours = BM25(tokenizer=search_words).fit(corpus)
    split = [search_words(question) for question in questions]
    calls = {"ours": lambda: ours.search(questions, K), "ours, lists": lambda: ours.search(split, K)}
    builds = {"ours": lambda: BM25(tokenizer=search_words).fit(corpus)}

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
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        for backend in ("numpy", "numba"):
            peer = bm25s.BM25(k1=1.2, b=0.75, backend=backend)
            peer.index([search_words(text) for text in corpus], show_progress=False)
            calls[f"bm25s {backend}"] = lambda peer=peer: peer.retrieve(
                [search_words(question) for question in questions], k=K, show_progress=False, n_threads=0
            )
        calls["bm25s numba, lists"] = lambda: peer.retrieve(split, k=K, show_progress=False, n_threads=0)

        def build_bm25s() -> None:
            bm25s.BM25(k1=1.2, b=0.75).index([search_words(text) for text in corpus], show_progress=False)

        builds["bm25s"] = build_bm25s

    asked = {name: len(questions) for name in calls}
    asked["rank_bm25"] = SLOW
    # A call takes half a millisecond: each is made TIMES times running, so that all but the first find their index in
    # the cache, as in a program that is asked again and again. The slow peer would empty it, so it has its own turns.
    slow = {name: call for name, call in calls.items() if name in ("ours", "rank_bm25")}
    slow_times = in_turn(slow, 5 if quick else 15, measure=repeated)
    times = in_turn(
        {name: call for name, call in calls.items() if name != "rank_bm25"}, rounds, measure=repeated
    )
    if "rank_bm25" in calls:
        times["rank_bm25"] = slow_times["rank_bm25"]
    rate = {name: asked[name] / times[name] for name in times}
    work = f"BM25 queries, {len(corpus)} paragraphs of the Python reference"
    rows = [
        Row(work, label, "queries/s", rate["ours"], rate.get(peer), target, spread=own.spread(peer))
        for peer, label, target, own in (
            ("rank_bm25", "rank_bm25", 100, slow_times),
            ("bm25s numpy", "bm25s (numpy)", None, times),
            ("bm25s numba", "bm25s (numba)", 1.7, times),
        )
    ]
    if rows[0].spread is not None:  # its rounds are shorter than ours
        rows[0].spread *= asked["ours"] / asked["rank_bm25"]
    rows.append(
        Row(
            f"{work}, split before", "bm25s (numba)", "queries/s", rate["ours, lists"],
            rate.get("bm25s numba, lists"), spread=times.spread("bm25s numba, lists", "ours, lists"),
        )
    )  # fmt: skip
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


def zipf_rows(quick: bool) -> list[Row]:
    """Queries and index building on words drawn by Zipf's law."""
    size, asked = (20_000, 500) if quick else (100_000, 2_000)
    generator = np.random.default_rng(0)
    share = np.cumsum(1 / np.arange(1, RANKS + 1))
    names = np.array([f"w{rank}" for rank in range(RANKS)], object)

    share /= share[-1]

    def drawn(count: int) -> list[str]:
        return names[np.searchsorted(share, generator.random(count))].tolist()

    corpus = np.array_split(np.array(drawn(100 * size), object), size)
    corpus = [words.tolist() for words in corpus]
    queries = {
        "natural": [drawn(generator.integers(2, 9)) for _ in range(asked)],
        "selective": [
            names[generator.integers(COMMON, RANKS, generator.integers(2, 9))].tolist() for _ in range(asked)
        ],
    }
    ours = BM25(tokenizer=str.split).fit(corpus)
    builds = {"ours": lambda: BM25(tokenizer=str.split).fit(corpus)}
    bm25s = peer_or_none("bm25s")
    if bm25s:
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        peer = bm25s.BM25(k1=1.2, b=0.75, backend="numba")
        peer.index(corpus, show_progress=False)
        builds["bm25s"] = lambda: bm25s.BM25(k1=1.2, b=0.75).index(corpus, show_progress=False)
    rows = []
    targets = (None, None) if quick else (3.5, 8)  # what is asked for is asked of the larger index
    for (kind, words), target in zip(queries.items(), targets):
        if bm25s:  # it refuses a query without a word that it knows
            words = [one for one in words if any(word in peer.vocab_dict for word in one)]
        texts = [" ".join(one) for one in words]
        calls = {
            "ours": lambda texts=texts: ours.search(texts, K),
            "ours, lists": lambda words=words: ours.search(words, K),
        }
        if bm25s:

            def ask(words: list[list[str]]) -> None:
                peer.retrieve(words, k=K, show_progress=False, n_threads=0)

            calls["bm25s"] = lambda texts=texts: ask([text.split() for text in texts])
            calls["bm25s, lists"] = lambda words=words: ask(words)
        times = in_turn(calls, 3 if quick else 9)
        rate = {name: len(words) / value for name, value in times.items()}
        work = f"BM25, {kind} queries on {size:,} made-up documents"
        compared = [
            Row(
                work + note, "bm25s (numba)", "queries/s", rate[f"ours{lists}"], rate.get(f"bm25s{lists}"), target,
                spread=times.spread(f"bm25s{lists}", f"ours{lists}"),
            )
            for note, lists in (("", ""), (", split before", ", lists"))
        ]  # fmt: skip
        rows += compared
    times = in_turn(builds, 1 if quick else 3)
    work = f"BM25 index of {size:,} lists of words"
    rows.append(
        Row(
            work, "bm25s", "s", times["ours"], times.get("bm25s"), 4, higher_is_better=False,
            spread=times.spread("bm25s"),
        )
    )  # fmt: skip
    return rows
