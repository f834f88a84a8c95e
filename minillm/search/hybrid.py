"""Hybrid search (하이브리드 검색): ask a keyword index and a vector index, fuse the two rankings by RRF.

BM25 finds rare names and exact words but is blind to synonyms; vectors find neighbours in meaning but blur rare names.
A document that both list rises, whatever the units of their scores.

Book: 10.5.3 하이브리드 검색 구현하기. Left out: weights learned from clicks, a cross-encoder on top (11.4 re-ranks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minillm._checks import check_int, check_number, describe
from minillm.search._ids import Ranking, check_texts
from minillm.search.fusion import rrf


class HybridSearch:
    """RRF over two retrievers that have `search(queries, k) -> list of rankings` and name documents alike.

    lexical: for example BM25; dense: for example DenseRetriever; k >= 0: the constant of RRF (not a number of
    results); weights: what the two count, default equal; depth: how many results of each are fused, at least the
    number asked for. A document that only one of the two holds, as after an `add` to it, is ranked by that one alone.
    Raises ValueError for a retriever without `search`, or numbers out of range.
    """

    def __init__(
        self,
        lexical: Any,
        dense: Any,
        k: float = 60,
        weights: tuple[float, float] = (1.0, 1.0),
        depth: int = 100,
    ) -> None:
        for name, retriever in (("lexical", lexical), ("dense", dense)):
            if not callable(getattr(retriever, "search", None)):
                raise ValueError(f"{name} must have a method search(queries, k), got {describe(retriever)}")
        self.lexical, self.dense = lexical, dense
        self.k = check_number("k", k, minimum=0)
        if not isinstance(weights, (tuple, list)) or len(weights) != 2:
            raise ValueError(f"weights must be two numbers (lexical, dense), got {describe(weights)}")
        self.weights = tuple(check_number("weights", weight, minimum=0) for weight in weights)
        self.depth = check_int("depth", depth, minimum=1)

    def search(self, query: str | Sequence[str], k: int = 10) -> Ranking | list[Ranking]:
        """The best k documents [(id, rrf score), ...] of one query; a list of such rankings for a list of queries.

        Raises ValueError when `query` is neither str nor list of str, or k < 1.
        """
        if not isinstance(query, str):
            return self._search_all(check_texts("query", query), k)
        return self._search_all([query], k)[0]

    def _search_all(self, queries: list[str], k: int) -> list[Ranking]:
        k = check_int("k", k, minimum=1)
        depth = max(k, self.depth)  # what is 40th in both lists may well be the best of the fused one
        both = zip(self.lexical.search(queries, depth), self.dense.search(queries, depth), strict=True)
        return [rrf(pair, k=self.k, weights=self.weights)[:k] for pair in both]
