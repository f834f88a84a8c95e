"""Reciprocal rank fusion (RRF, 상호 순위 조합): one ranking from several, by ranks alone.

    rrf(d) = sum over rankings r that list d:  weight_r / (k + rank_r(d)),   rank 1 is the best

Scores of different methods cannot be added (BM25 has no upper bound, a cosine ends at 1); ranks can. k says how
little the first place is worth more than the tenth: with a small k one first place beats two fifth places.

Book: 10.4.2 상호 순위 조합 이해하기 (its example is in the tests). Paper: Cormack, Clarke & Buettcher 2009,
"Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods", where k is 60.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minillm._checks import check_function, check_number, describe, is_listing
from minillm.evaluation.ranking import ranked_ids
from minillm.search._ids import DocumentId, Ranking


def rrf(rankings: Sequence[Any], k: float = 60, weights: Sequence[float] | None = None) -> Ranking:
    """The fused ranking [(id, rrf score), ...], best first; equal scores by id, numbers before names.

    rankings: each best first, as [(id, score), ...] or [id, ...]; k >= 0; weights: one number >= 0 a ranking
    (default 1 each). No rankings, or empty ones, give []. Raises ValueError for anything else.
    """
    if isinstance(rankings, Mapping) or not is_listing(rankings):
        raise ValueError(f"rankings must be a list of rankings, got {describe(rankings)}")
    lists = [ranked_ids(ranking, f"rankings[{i}]") for i, ranking in enumerate(rankings)]
    k = check_number("k", k, minimum=0)
    if weights is not None and not is_listing(weights):
        raise ValueError(f"weights must be a list of numbers, got {describe(weights)}")
    weights = [1.0] * len(lists) if weights is None else list(weights)
    if len(weights) != len(lists):
        raise ValueError(f"weights must be one a ranking: got {len(weights)} for {len(lists)} rankings")
    weights = [check_number(f"weights[{i}]", weight, minimum=0) for i, weight in enumerate(weights)]
    return add_reciprocal_ranks(lists, k, weights)


def add_reciprocal_ranks(lists: Sequence[list[DocumentId]], k: float, weights: Sequence[float]) -> Ranking:
    """The idea of `rrf`, for lists of ids and one weight a list; nothing is checked."""
    parts: dict[DocumentId, list[float]] = {}
    for ids, weight in zip(lists, weights, strict=True):
        for rank, document in enumerate(ids, start=1):
            # rrf(d) = sum of weight / (k + rank(d))
            parts.setdefault(document, []).append(weight / (k + rank))
    # fsum: ranks 1, 2, 3 and ranks 3, 1, 2 are a tie, whatever the order of the sum.
    scores = {document: math.fsum(terms) for document, terms in parts.items()}
    # Ties by id, so that the order of the rankings never shows; an int and a str cannot be compared.
    return sorted(scores.items(), key=lambda pair: (-pair[1], isinstance(pair[0], str), pair[0]))


def group_ranking(ranking: Ranking, group_of: Callable[[DocumentId], DocumentId]) -> Ranking:
    """A ranking of groups from a ranking of their members: each group stands where its best member stood.

    `group_of` maps an id to its group's id, for example a passage to its document:
    [("with#2", 9.0), ("try#1", 8.0), ("with#1", 7.0)] -> [("with", 9.0), ("try", 8.0)].
    Raises ValueError for anything else.
    """
    if not is_listing(ranking) or not all(
        isinstance(item, (tuple, list)) and len(item) == 2 for item in ranking
    ):
        raise ValueError(f"ranking must be a list of (id, score), got {describe(ranking)}")
    if check_function("group_of", group_of) is None:
        raise ValueError("group_of must be a function from id to id, got None")
    groups: dict[DocumentId, float] = {}
    for member, score in ranking:
        groups.setdefault(group_of(member), score)
    return list(groups.items())
