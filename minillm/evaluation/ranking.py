"""How good is a ranking? Six numbers, each a mean over queries; all but precision@k are 1 when it could not be better.

    hit@k     the share of queries with a right document among the first k
    recall@k  |right documents among the first k| / |right documents|
    precision@k   the same / k
    MRR       1 / (place of the first right document), 0 if none is listed
    MAP       mean, over the right documents, of the precision at the place of each (0 if not listed)
    nDCG@k    DCG / DCG of the best possible order,   DCG = sum over places i <= k of  grade_i / log2(i + 1)

Everywhere: rankings, one a query, best first, as [(id, score), ...] or [id, ...] with every id at most once; gold, one
a query, a non-empty set, list or tuple of right ids (nDCG: or a dict from id to grade > 0). k at least 1.
All raise ValueError for anything else.

Book: 11.3 임베딩 모델 미세 조정하기 (적중률 hit rate), 13.3 LLM 평가하기. Source: Manning, Raghavan & Schütze 2008,
"Introduction to Information Retrieval", chapter 8. Peers: trec_eval (pytrec_eval), sklearn.metrics.ndcg_score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from minillm._checks import check_int, check_number, describe, is_listing


def ranked_ids(ranking: Any, name: str = "ranking") -> list[str | int]:
    """The ids of one ranking, best first, from [(id, score), ...] or [id, ...].

    Raises ValueError when it is no list, when an item is neither, or when an id stands there twice.
    """
    if isinstance(ranking, Mapping) or not is_listing(ranking):
        raise ValueError(f"{name} must be a list of (id, score) or of ids, got {describe(ranking)}")
    ids = []
    for item in ranking:
        one = item[0] if isinstance(item, (tuple, list)) and len(item) == 2 else item
        ids.append(_check_id(one, name))
    if len(set(ids)) != len(ids):
        twice = next(one for place, one in enumerate(ids) if one in ids[:place])
        raise ValueError(f"{name} must list every id once, got {twice!r} more than once")
    return ids


def _check_id(value: Any, name: str) -> str | int:
    value = value.item() if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 else value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{name} must hold ids (str or int), or (id, score) pairs, got {describe(value)}")
    return value


def _pairs(rankings: Any, gold: Any) -> list[tuple[list[str | int], dict[str | int, float]]]:
    """(ids best first, grade of each right id) of every query, checked."""
    for name, value in (("rankings", rankings), ("gold", gold)):
        if isinstance(value, Mapping) or not is_listing(value):
            raise ValueError(f"{name} must be a list with one item a query, got {describe(value)}")
    rankings, gold = list(rankings), list(gold)
    if len(rankings) != len(gold) or not rankings:
        raise ValueError(
            f"rankings and gold must have one item a query, got {len(rankings)} rankings and {len(gold)} gold"
        )
    pairs = []
    for query, (ranking, right) in enumerate(zip(rankings, gold)):
        name = f"gold[{query}]"
        if not is_listing(right):
            raise ValueError(f"{name} must be a set, list, tuple or dict of ids, got {describe(right)}")
        graded = isinstance(right, Mapping)
        grades = {
            _check_id(one, name): check_number(f"grade of {one!r}", right[one], 0) if graded else 1.0
            for one in right
        }
        grades = {one: grade for one, grade in grades.items() if grade > 0}
        if not grades:
            raise ValueError(f"{name} must name at least one right id: leave a query without any out")
        pairs.append((ranked_ids(ranking, f"rankings[{query}]"), grades))
    return pairs


def hit_at_k(rankings: Sequence[Any], gold: Sequence[Any], k: int = 10) -> float:
    """The share of queries, 0..1, that find at least one right id among the first k."""
    k = check_int("k", k, minimum=1)
    pairs = _pairs(rankings, gold)
    return sum(any(one in right for one in ids[:k]) for ids, right in pairs) / len(pairs)


def recall_at_k(rankings: Sequence[Any], gold: Sequence[Any], k: int = 10) -> float:
    """The mean share, 0..1, of a query's right ids that stand among the first k."""
    k = check_int("k", k, minimum=1)
    pairs = _pairs(rankings, gold)
    return sum(sum(one in right for one in ids[:k]) / len(right) for ids, right in pairs) / len(pairs)


def precision_at_k(rankings: Sequence[Any], gold: Sequence[Any], k: int = 10) -> float:
    """The mean share, 0..1, of right ids among the first k places; places that a short ranking leaves empty count."""
    k = check_int("k", k, minimum=1)
    pairs = _pairs(rankings, gold)
    return sum(sum(one in right for one in ids[:k]) / k for ids, right in pairs) / len(pairs)


def mrr(rankings: Sequence[Any], gold: Sequence[Any], k: int | None = None) -> float:
    """Mean reciprocal rank (평균 역순위), 0..1: 1, 1/2, 1/3, ... for a first right id at place 1, 2, 3, ...

    k: look at the first k only (default all).
    """
    k = k if k is None else check_int("k", k, minimum=1)
    pairs = _pairs(rankings, gold)
    total = 0.0
    for ids, right in pairs:
        place = next((place for place, one in enumerate(ids[:k], start=1) if one in right), None)
        total += 1 / place if place else 0.0
    return total / len(pairs)


def map_score(
    rankings: Sequence[Any], gold: Sequence[Any], k: int | None = None, capped: bool = False
) -> float:
    """Mean average precision (평균 정밀도의 평균), 0..1; right ids that are not listed count as precision 0.

    k: look at the first k only (default all); the mean is still over all right ids, as trec_eval's map_cut has it.
    capped: over k of them at most, which is what k places can hold, as sentence-transformers has it.
    """
    k = k if k is None else check_int("k", k, minimum=1)
    pairs = _pairs(rankings, gold)
    total = 0.0
    for ids, right in pairs:
        found, precision = 0, 0.0
        for place, one in enumerate(ids[:k], start=1):
            if one in right:
                found += 1
                precision += found / place
        total += precision / (min(k, len(right)) if capped and k else len(right))
    return total / len(pairs)


def ndcg(rankings: Sequence[Any], gold: Sequence[Any], k: int | None = 10) -> float:
    """Normalised discounted cumulative gain, 0..1; grades enter linearly, as in trec_eval and sklearn.

    gold may grade: {"with": 2, "compound": 1}; a set or list means grade 1. k=None looks at whole rankings.
    """
    k = k if k is None else check_int("k", k, minimum=1)
    pairs = _pairs(rankings, gold)
    total = 0.0
    for ids, grades in pairs:
        gained = _dcg([grades.get(one, 0.0) for one in ids[:k]])
        total += gained / _dcg(sorted(grades.values(), reverse=True)[:k])
    return total / len(pairs)


def _dcg(grades: Sequence[float]) -> float:
    # DCG = sum over places i of grade_i / log2(i + 1)
    return sum(grade / math.log2(place + 1) for place, grade in enumerate(grades, start=1))
