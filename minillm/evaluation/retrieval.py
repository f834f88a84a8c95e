"""All figures of a search under the names that sentence-transformers gives them.

    {"accuracy@1": ..., "accuracy@3": ..., "precision@1": ..., "recall@1": ..., "ndcg@10": ..., "map@100": ...}

accuracy@k is the hit rate. map@k divides by the right documents that k places can hold (`map_score(..., capped=True)`).

Book: 11.3 임베딩 모델 미세 조정하기. Held against: sentence_transformers' InformationRetrievalEvaluator; ranx, whose
precision, recall, mrr and ndcg are the same, and whose map is not capped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minillm._checks import check_int, describe, is_listing
from minillm.evaluation.ranking import hit_at_k, map_score, mrr, ndcg, precision_at_k, recall_at_k

AT_K = {  # up to which places each figure looks, unless it is said; the peer's
    "accuracy_at_k": (1, 3, 5, 10),
    "precision_recall_at_k": (1, 3, 5, 10),
    "mrr_at_k": (10,),
    "ndcg_at_k": (10,),
    "map_at_k": (100,),
}


def places_of(**at_k: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The places up to which each figure looks: AT_K, with what is given in its place. ValueError for other names, for
    what is no list of int from 1 on, and where no figure at all is left."""
    for name, places in at_k.items():
        if name not in AT_K:
            raise ValueError(f"there is no argument {name!r} here; the places are {', '.join(AT_K)}")
        if not is_listing(places):
            raise ValueError(f"{name} must be a list of int, got {describe(places)}")
        at_k[name] = tuple(check_int(name, k, 1) for k in places)
    if not any((AT_K | at_k).values()):
        raise ValueError(f"at least one of {', '.join(AT_K)} must name a place, got none")
    return AT_K | at_k


def retrieval_metrics(
    rankings: Sequence[Any], gold: Sequence[Any], **at_k: Sequence[int]
) -> dict[str, float]:
    """Means over the queries; rankings and gold as in ranking.py. at_k: accuracy_at_k, precision_recall_at_k, mrr_at_k,
    ndcg_at_k, map_at_k, each a list of places. Raises ValueError as the functions of ranking.py."""
    at = places_of(**at_k)
    return {
        **{f"accuracy@{k}": hit_at_k(rankings, gold, k) for k in at["accuracy_at_k"]},
        **{f"precision@{k}": precision_at_k(rankings, gold, k) for k in at["precision_recall_at_k"]},
        **{f"recall@{k}": recall_at_k(rankings, gold, k) for k in at["precision_recall_at_k"]},
        **{f"ndcg@{k}": ndcg(rankings, gold, k) for k in at["ndcg_at_k"]},
        **{f"mrr@{k}": mrr(rankings, gold, k) for k in at["mrr_at_k"]},
        **{f"map@{k}": map_score(rankings, gold, k, capped=True) for k in at["map_at_k"]},
    }
