"""Approximate neighbours against hnswlib and faiss, one thread: builds, searches at equal recall, filters, churn.

100,000 vectors of 128 dimensions around 1,000 centres, and as many like SIFT's: whole, none negative, of one length.
Searches are compared at equal recall: the time of each library is read off its own curve of (recall, time), which goes
through several widths, all 10,000 queries (as many as SIFT1M has) in one call. float32 stands against float32 and
codes against codes, and IVF beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from minillm.search import ExactIndex, HNSWIndex, IVFIndex
from tests.benchmarks.harness import Row, Times, in_turn, peer_or_none, seconds

K, DIM = 10, 128
WIDTHS = (10, 14, 20, 28, 40, 64, 100, 160, 256)
PROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def clustered(count: int, seed: int) -> np.ndarray:
    """Around 1,000 centres."""
    generator, centres = np.random.default_rng(seed), np.random.default_rng(7).normal(size=(1000, DIM))
    rows = centres[generator.integers(1000, size=count)] + 0.7 * generator.normal(size=(count, DIM))
    return rows.astype(np.float32)


def sift_like(count: int, seed: int) -> np.ndarray:
    """Counts of gradients: whole, none negative, many small, all of about one length, on a plane of 24 dimensions."""
    generator, plane = np.random.default_rng(seed), np.random.default_rng(8).normal(size=(24, DIM))
    rows = np.exp(0.35 * generator.normal(size=(count, 24)) @ plane)
    rows *= 512 / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.minimum(np.rint(rows), 255).astype(np.float32)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The share of true neighbours found."""
    return sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist())) / truth.size


def time_at(goal: float, curve: Iterable[tuple[float, float]]) -> float | None:
    """Seconds at a recall, between the two points of a curve around it; None where it does not get there."""
    points = sorted(curve)
    for (low, fast), (high, slow) in pairwise(points):
        if low <= goal <= high:
            share = (goal - low) / (high - low) if high > low else 0.0
            return fast * (slow / fast) ** share
    return points[0][1] if points and points[0][0] >= goal else None


def search_rows(
    work: str,
    peer: str,
    searches: dict[str, Callable[[int], np.ndarray]],
    widths: tuple[int, ...],
    truth: np.ndarray,
    goals: dict[float, float],
    rounds: int,
) -> list[Row]:
    """A row for each recall of `goals`, with its target. searches: "ours" and "theirs", called with a width."""
    calls = {(who, width): (lambda s=s, w=width: s(w)) for who, s in searches.items() for width in widths}
    times: Times = in_turn(calls, rounds)
    curves: dict[str, list[tuple[float, float]]] = {who: [] for who in searches}
    for (who, width), taken in times.items():
        curves[who].append((recall(searches[who](width), truth), taken))
    rows = []
    for goal, target in goals.items():
        ours, theirs = (time_at(goal, curves[who]) if who in curves else None for who in ("ours", "theirs"))
        if ours:
            rate = len(truth) / theirs if theirs else None
            rows.append(Row(f"{work}, recall {goal}", peer, "queries/s", len(truth) / ours, rate, target))
    return rows


def build(make: Callable[[], Any], vectors: np.ndarray) -> tuple[Any, float]:
    """An index and the seconds it took."""
    index = make()
    add = index.add if hasattr(index, "add") else lambda rows: index.add_items(rows, num_threads=1)
    return index, seconds(lambda: add(vectors))


def graphs(name: str, vectors: np.ndarray, queries: np.ndarray, quick: bool) -> list[Row]:
    """Building and searching graphs, float32 and codes."""
    hnswlib, faiss = peer_or_none("hnswlib"), peer_or_none("faiss")
    truth = ExactIndex(DIM)
    truth.add(vectors)
    truth_ids = truth.search(queries, K)[0]
    size, rounds = f"{len(vectors)} x {DIM} {name}", 2 if quick else 3
    index, taken = build(lambda: HNSWIndex(DIM), vectors)
    coded, coded_taken = build(lambda: HNSWIndex(DIM, codes="uint8"), vectors)
    searches: dict[str, Callable[[int], np.ndarray]] = {
        "ours": lambda width: index.search(queries, K, ef_search=width)[0]
    }
    rows = []
    if hnswlib:

        def empty() -> Any:
            peer = hnswlib.Index("l2", DIM)
            peer.init_index(len(vectors), M=16, ef_construction=200)
            return peer

        peer, peer_taken = build(empty, vectors)

        def theirs(width: int) -> np.ndarray:
            peer.set_ef(width)
            return peer.knn_query(queries, K, num_threads=1)[0]

        searches["theirs"] = theirs
        for codes, own, target in (("float32", taken, 1.9), ("uint8", coded_taken, 2.4)):
            rate = len(vectors) / peer_taken
            rows.append(
                Row(f"HNSW build {codes}, {size}", "hnswlib", "vectors/s", len(vectors) / own, rate, target)
            )
    goals = dict.fromkeys((0.8, 0.9, 0.95, 0.99), 2.2)
    rows += search_rows(f"HNSW search, {size}", "hnswlib", searches, WIDTHS, truth_ids, goals, rounds)
    coded_searches = {"ours": lambda width: coded.search(queries, K, ef_search=width)[0]}
    if faiss:
        faiss.omp_set_num_threads(1)
        base = faiss.IndexHNSWSQ(DIM, faiss.ScalarQuantizer.QT_8bit, 16)
        base.hnsw.efConstruction = 200
        refined = faiss.IndexRefineFlat(base)
        refined.k_factor = 2
        refined.train(vectors)
        refined.add(vectors)

        def codes_of_theirs(width: int) -> np.ndarray:
            base.hnsw.efSearch = width
            return refined.search(queries, K)[1]

        coded_searches["theirs"] = codes_of_theirs
    work = f"HNSW search uint8 and re-rank, {size}"
    rows += search_rows(work, "faiss HNSWSQ8 refined", coded_searches, WIDTHS, truth_ids, goals, rounds)
    return rows


def lists(name: str, vectors: np.ndarray, queries: np.ndarray, quick: bool) -> list[Row]:
    """Searching lists, float32 and codes, against faiss' float32."""
    faiss = peer_or_none("faiss")
    truth = ExactIndex(DIM)
    truth.add(vectors)
    truth_ids = truth.search(queries, K)[0]
    many = round(len(vectors) ** 0.5)
    searches: dict[str, Callable[[int], np.ndarray]] = {}
    if faiss:
        faiss.omp_set_num_threads(1)
        peer = faiss.IndexIVFFlat(faiss.IndexFlatL2(DIM), DIM, many)
        peer.train(vectors)
        peer.add(vectors)

        def theirs(width: int) -> np.ndarray:
            peer.nprobe = width
            return peer.search(queries, K)[1]

        searches["theirs"] = theirs
    rows = []
    for codes, target in ((None, 1.2), ("uint8", 2.0)):
        ours = IVFIndex(DIM, n_lists=many, codes=codes)
        ours.add(vectors)
        searches["ours"] = lambda width, ours=ours: ours.search(queries, K, n_probe=width)[0]
        work = f"IVF search {codes or 'float32'}, {len(vectors)} x {DIM} {name}"
        goals = {0.8: target, 0.9: target, 0.97: target}
        rows += search_rows(work, "faiss IVFFlat", searches, PROBES, truth_ids, goals, 2 if quick else 3)
    return rows


def filters(vectors: np.ndarray, queries: np.ndarray, quick: bool) -> list[Row]:
    """Searches of which a share may be found, one query at a time for the peer's callback."""
    hnswlib = peer_or_none("hnswlib")
    index, _ = build(lambda: HNSWIndex(DIM), vectors)
    peer = None
    if hnswlib:
        peer = hnswlib.Index("l2", DIM)
        peer.init_index(len(vectors), M=16, ef_construction=200)
        peer.add_items(vectors, num_threads=1)
        peer.set_ef(64)
    rows = []
    for share, target in ((0.001, 20), (0.01, 20), (0.1, 5), (0.5, 1)):
        passing = np.random.default_rng(3).random(len(vectors)) < share
        k = max(1, min(K, int(passing.sum()) // 4))  # where fewer than k are found, the peer gives up
        calls: dict[str, Callable[[], Any]] = {
            "ours": lambda passing=passing, k=k: index.search(queries, k, ef_search=64, filter=passing)
        }
        if peer is not None:
            few = queries[: 5 if quick else 20]
            calls["hnswlib"] = lambda passing=passing, few=few, k=k: peer.knn_query(
                few, k, num_threads=1, filter=lambda i: passing[i]
            )
        times = in_turn(calls, 3)
        theirs = len(few) / times["hnswlib"] if peer is not None else None
        rows.append(
            Row(
                f"filtered HNSW search, {share:.1%} of {len(vectors)} pass",
                "hnswlib filter",
                "queries/s",
                len(queries) / times["ours"],
                theirs,
                target,
            )
        )
    return rows


def replacing(vectors: np.ndarray, quick: bool) -> list[Row]:
    """Half of the vectors are replaced."""
    hnswlib = peer_or_none("hnswlib")
    half = len(vectors) // 2
    first, new = vectors[:half], vectors[half:]
    gone = np.random.default_rng(5).permutation(half)[: half // 2]
    index, rebuilt = build(lambda: HNSWIndex(DIM), first)

    def ours() -> None:
        index.remove(gone)
        index.add(new[: len(gone)], gone)

    own, theirs = seconds(ours), None
    if hnswlib:
        peer = hnswlib.Index("l2", DIM)
        peer.init_index(half, M=16, ef_construction=200, allow_replace_deleted=True)
        peer.add_items(first, num_threads=1)

        def replace() -> None:
            for label in gone:
                peer.mark_deleted(int(label))
            peer.add_items(new[: len(gone)], half + np.arange(len(gone)), num_threads=1, replace_deleted=True)

        theirs = seconds(replace)
    work = f"replace half of {half} vectors"
    return [
        Row(work, "hnswlib replace_deleted", "seconds", own, theirs, 5, higher_is_better=False),
        Row(work, "our own build", "seconds", own, rebuilt, 1, higher_is_better=False),
    ]


def warm_up() -> None:
    """Everything is compiled before anything is timed."""
    vectors = clustered(1500, 3)
    for codes in (None, "uint8"):
        index, _ = build(lambda codes=codes: HNSWIndex(DIM, codes=codes), vectors)
        for share in (2, 50):
            index.search(vectors[:2], K, filter=range(0, 1500, share))
        index.remove(range(700))
        index.add(vectors[:700], range(700))


def run(quick: bool) -> list[Row]:
    warm_up()
    count = 5000 if quick else 100_000
    rows = []
    for name, make in (("clustered", clustered), ("SIFT-like", sift_like)):
        vectors, queries = make(count, 0), make(200 if quick else 10_000, 1)
        rows += graphs(name, vectors, queries, quick) + lists(name, vectors, queries, quick)
    vectors, queries = clustered(count, 0), clustered(100, 1)
    return rows + filters(vectors, queries, quick) + replacing(vectors, quick)
