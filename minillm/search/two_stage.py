"""Search in two stages (순위 재정렬, reranking): a fast search brings n candidates, a cross-encoder gives the best k.

    candidates = first.search(query, n)                      cheap: vectors or words, all texts were read beforehand
    ranking    = the candidates by cross_encoder.score((query, text)), the best k of them

What the first stage did not bring, the second cannot find: hit@n of the first stage is the most that hit@k of both can
be. So the figure to report is hit@k of what is returned. The book's `rerank_top_k` gives all n back, and what it then
calls the gain of reranking is hit@n of the first stage.

Book: 11.4 검색 품질을 높이는 순위 재정렬, 11.5 바이 인코더와 교차 인코더로 개선된 RAG 구현하기.
Held against: sentence_transformers' CrossEncoder.rank on the same candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minillm._arrays import as_array
from minillm._checks import check_int, describe
from minillm.search._ids import DocumentId, Ranking, check_texts


class TwoStageSearch:
    """A retriever and a cross-encoder behind the same call as each retriever: `search(queries, k)`.

    first: anything with search(queries, k) -> rankings. cross_encoder: anything with score(pairs) -> (N,), a
    CrossEncoder. texts: id -> text of every document that `first` may name, or a list where ids are 0, 1, 2, ...
    n: candidates a query; k if that is more. Raises ValueError for anything else.
    """

    def __init__(
        self,
        first: Any,
        cross_encoder: Any,
        texts: Mapping[DocumentId, str] | Sequence[str],
        n: int = 30,
    ) -> None:
        for name, part, method in (("first", first, "search"), ("cross_encoder", cross_encoder, "score")):
            if not callable(getattr(part, method, None)):
                raise ValueError(f"{name} must have a method {method}, got {describe(part)}")
        if not isinstance(texts, Mapping):
            texts = dict(enumerate(check_texts("texts", texts)))
        check_texts("texts", list(texts.values()))
        self.first, self.cross_encoder, self.texts = first, cross_encoder, texts
        self.n = check_int("n", n, 1)

    def search(self, queries: Sequence[str], k: int = 10) -> list[Ranking]:
        """The best k documents of each query as [(id, score of the cross-encoder), ...], best first.

        Exactly k where the first stage brings as many; equal scores stay in its order. Every pair of every query is
        scored in one call. Raises ValueError as the two stages do, for an id without a text, and for scores that are
        not a finite number a pair.
        """
        queries, k = check_texts("queries", queries), check_int("k", k, 1)
        candidates = [[one for one, _ in ranking] for ranking in self.first.search(queries, max(self.n, k))]
        pairs = [(query, self._text(one)) for query, ids in zip(queries, candidates) for one in ids]
        scores = as_array(self.cross_encoder.score(pairs)) if pairs else np.zeros(0)  # (pairs,)
        check_scores(scores, len(pairs))
        ends = np.cumsum([len(ids) for ids in candidates])
        return [best_first(ids, scores[end - len(ids) : end])[:k] for ids, end in zip(candidates, ends)]

    def _text(self, one: DocumentId) -> str:
        if one not in self.texts:
            raise ValueError(f"texts must hold the text of every document, there is none for {one!r}")
        return self.texts[one]


def best_first(ids: Sequence[DocumentId], scores: np.ndarray) -> Ranking:
    """[(id, score), ...], the highest score first, equal ones in the order they came in."""
    return [(ids[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]


def check_scores(scores: np.ndarray, count: int) -> None:
    """ValueError for anything but `count` finite numbers."""
    if scores.shape != (count,) or scores.dtype.kind not in "fiu" or not np.isfinite(scores).all():
        raise ValueError(
            f"the cross-encoder must give a finite number for each of {count} pairs, got {describe(scores)}"
        )
