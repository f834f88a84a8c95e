"""Weighted hybrid search: add the scores of a keyword index and a vector index, after making them comparable.

    score(d) = (1 - w) * z_lexical(d) + w * z_dense(d),     z(d) = (s(d) - mean of s) / standard deviation of s

BM25 has no upper bound and a cosine ends at 1, so each is first turned into standard scores (표준 점수): how many
standard deviations a document lies above the mean of all documents, for this query. Ranks, which RRF adds, forget by
how far the first beat the second; standard scores do not, and a passage that holds every rare word of a question
stays first whatever the vectors say. `self_grading` chooses w on the user's own text.

Book: 10.5.3 하이브리드 검색 구현하기. Paper: Bruch, Gai & Ingber 2023, "An Analysis of Fusion Functions for Hybrid
Retrieval", which finds such sums better than RRF. Left out: their bounds from theory instead of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._arrays import as_array
from minillm._checks import check_int, check_number, describe
from minillm.search._ids import DocumentId, Ranking, check_texts


def standard_scores(scores: np.ndarray) -> np.ndarray:
    """Standard scores of scores (N,), float64: mean 0, standard deviation 1; all 0 where all scores are equal, and
    none for none. Raises ValueError for anything but finite numbers of one dimension."""
    scores = check_scores(scores)
    spread = scores.std() if len(scores) else 0.0
    return (scores - scores.mean()) / spread if spread > 1e-9 else np.zeros(len(scores))


def check_scores(scores: Any) -> np.ndarray:
    """`scores` as float64 (N,); ValueError for another shape, text, NaN or infinity."""
    try:
        found = as_array(scores)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ):  # lists of different lengths, or of tensors that require grad
        found = np.empty((), object)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "biuf") or not np.isfinite(found).all():
        raise ValueError(f"scores must be finite numbers of one dimension, got {describe(scores)}")
    return found.astype(np.float64)


class WeightedSearch:
    """The weighted sum of two retrievers that have `scores(query) -> (N,)` and list the same `ids` in one order.

    lexical: for example FieldSearch; dense: for example DenseRetriever; dense_weight w, 0 to 1: 0 is the keyword
    ranking, 1 the dense one. Raises ValueError for anything else.
    """

    def __init__(self, lexical: Any, dense: Any, dense_weight: float) -> None:
        for name, retriever in (("lexical", lexical), ("dense", dense)):
            if not callable(getattr(retriever, "scores", None)) or not hasattr(retriever, "ids"):
                raise ValueError(f"{name} must have scores(query) and ids, got {describe(retriever)}")
        self.lexical, self.dense = lexical, dense
        self._check_ids()
        self.dense_weight = check_number("dense_weight", dense_weight, 0, 1)

    def _check_ids(self) -> list[DocumentId]:
        """The ids of both; ValueError where they differ, as after an `add` to one of them."""
        ids, others = list(self.lexical.ids), list(self.dense.ids)
        if ids != others:
            raise ValueError(
                f"lexical and dense must list the same ids in the same order, got {len(ids)} and {len(others)} ids "
                "that differ: bring the same documents to both"
            )
        return ids

    def scores(self, query: str) -> np.ndarray:
        """The score of every document for one query, float64 (N,). Raises ValueError for a query that is no str, or
        when the two retrievers do not list the same ids any more."""
        lexical, dense = self.parts(query)
        return (1 - self.dense_weight) * lexical + self.dense_weight * dense

    def parts(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        """The standard scores of both retrievers for one query, each (N,). Raises ValueError as `scores`."""
        self._check_ids()
        return standard_scores(self.lexical.scores(query)), standard_scores(self.dense.scores(query))

    def search(self, queries: Sequence[str], k: int = 10) -> list[Ranking]:
        """The best k documents of each query as [(id, score), ...], best first, equal scores in corpus order.

        A query of which neither retriever knows a word gets []. Raises ValueError as BM25.search.
        """
        k = check_int("k", k, minimum=1)
        ids, rankings = self._check_ids(), []
        for query in check_texts("queries", queries):
            scores = self.scores(query)
            best = np.argsort(-scores, kind="stable")[:k] if scores.any() else []
            rankings.append([(ids[place], float(scores[place])) for place in best])
        return rankings
