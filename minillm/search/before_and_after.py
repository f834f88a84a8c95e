"""What a fine-tuning has brought: the same held-out questions before and after, query by query.

                     hit@1    hit@5     MRR
    keyword search   0.412    0.701   0.538
    before           0.385    0.660   0.507
    after            0.470    0.752   0.594
    hit@1, after against before: 21 wins, 6 losses, 150 ties; difference +0.085 [+0.028, +0.141], n = 177

A figure has improved where its own interval lies above zero. Keyword search stands beside them as a yardstick.
Book: 11.3 임베딩 모델 미세 조정하기. Sources: evaluation/paired.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm._checks import describe
from minillm.evaluation.paired import Paired, paired
from minillm.search.bm25 import BM25
from minillm.search.dense import DenseRetriever
from minillm.search.own_pairs import OwnData
from minillm.search.self_grading import DEPTH, place_of

HITS = (1, 5)


def first_places(retriever: Any, data: OwnData) -> np.ndarray:
    """The place of the first right text of each query, float64 (Q,), 1 is the best; infinity beyond the first 100."""
    rankings = retriever.fit(list(data.corpus.values()), list(data.corpus)).search(data.queries, DEPTH)
    return np.array([place_of(*pair) for pair in zip(rankings, data.gold)])


def places_by_keywords(data: OwnData) -> np.ndarray:
    """The same of BM25."""
    return first_places(BM25(), data)


def places_by_vectors(encoder: Any, data: OwnData) -> np.ndarray:
    """The same of an encoder."""
    return first_places(DenseRetriever(encoder), data)


def check_places(name: str, places: Any) -> np.ndarray:
    """`places` as an array (Q,), if there is one at least and each is 1 or more, infinity for "not found"."""
    found = np.asarray(places)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "fiu" or not (found >= 1).all():
        raise ValueError(f"{name} must be places (Q,) from 1 on, got {describe(places)}")
    return found


def figures(places: np.ndarray) -> dict[str, float]:
    """hit@1, hit@5 and MRR of places (Q,), means over the queries."""
    places = check_places("places", places)
    return {f"hit@{k}": float((places <= k).mean()) for k in HITS} | {"MRR": float((1 / places).mean())}


def compared(after: np.ndarray, before: np.ndarray) -> dict[str, Paired]:
    """Two systems on the same queries, by their places (Q,): wins, losses and intervals of each figure."""
    after, before = check_places("after", after), check_places("before", before)
    hits = {f"hit@{k}": paired(after <= k, before <= k) for k in HITS}
    return hits | {"MRR": paired(1 / after, 1 / before)}


@dataclass(frozen=True)
class BeforeAndAfter:
    """places: for each system, by its name, the places (Q,) of the right texts; "before" and "after" among them."""

    places: Mapping[str, np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """The figures of each system: hit@1, hit@5 and MRR, means over the queries."""
        return [{"system": name, **figures(found)} for name, found in self.places.items()]

    def comparisons(self) -> dict[str, Paired]:
        """After against before on the same queries, for each figure."""
        return compared(self.places["after"], self.places["before"])

    def __str__(self) -> str:
        figures = [*(f"hit@{k}" for k in HITS), "MRR"]
        lines = [f"{'':<16}" + "".join(f"{name:>8}" for name in figures)]
        for row in self.rows():
            lines.append(f"{row['system']:<16}" + "".join(f"{row[name]:>8.3f}" for name in figures))
        lines += [f"{name}, after against before: {one}" for name, one in self.comparisons().items()]
        return "\n".join(lines)


def direction(comparison: Paired) -> int:
    """1 where the interval of a difference lies above zero, -1 below it, 0 where it holds zero; to the three
    digits that are printed, so that [+0.000, +0.190] holds it."""
    low, high = (round(bound, 3) for bound in comparison.interval)
    return (low > 0) - (high < 0)


def in_words(comparisons: Mapping[str, Paired]) -> str:
    """What each figure allows to say, by its name. One that is shown says nothing of the others."""
    said = []
    for way, word, where in ((1, "Better", "lies above zero"), (-1, "Worse", "lies below zero")):
        names = [name for name, one in comparisons.items() if direction(one) == way]
        said += [f"{word}: {one}, whose interval {where}." for one in names]
    if not said:
        return (
            "No difference is shown: every interval holds zero. More questions, pairs or steps may show one."
        )
    still = [name for name, one in comparisons.items() if direction(one) == 0]
    if still:
        said.append(f"No difference is shown in {' and '.join(still)}.")
        said.append(f"Of {len(comparisons)} figures one may miss zero by luck.")
    return " ".join(said)
