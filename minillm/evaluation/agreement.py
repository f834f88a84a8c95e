"""Do two judges agree more than luck would have it?

    kappa = (observed - expected) / (1 - expected)      observed: share labelled alike; expected: the share if each
                                                        kept its own habits and knew nothing of the item

A judge that says A in 39 of 40 agrees with a balanced one in half of all cases, and kappa is about 0: that is why an
agreement is never reported alone.

Book: 13.3.4 LLM을 통한 평가. Paper: Cohen 1960. Held against: scikit-learn's cohen_kappa_score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from minillm._arrays import plain_items
from minillm._checks import describe, is_listing


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Agreement of two judges beyond luck, -1..1; NaN where both give one and the same label to everything.

    a, b: the labels of the same items. Raises ValueError for other lengths, no items, and labels that are no values.
    """
    a, b = _labels("a", a), _labels("b", b)
    if len(a) != len(b) or not a:
        raise ValueError(f"a and b must label the same items, one at least, got {len(a)} and {len(b)}")
    observed = sum(map(lambda one, other: one == other, a, b)) / len(a)
    first, second = Counter(a), Counter(b)
    expected = sum(first[label] * second[label] for label in first) / len(a) ** 2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def _labels(name: str, values: Any) -> list[Hashable]:
    if not is_listing(values):
        raise ValueError(f"{name} must be a list of labels, got {describe(values)}")
    values = plain_items(values)
    for value in values:
        if not isinstance(value, Hashable) or value != value:
            raise ValueError(f"{name} must hold str or numbers, got {describe(value)}")
    return values
