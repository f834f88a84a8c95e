"""A split in which every part has the same share of each label.

    labels a a a a a a b b b, shares 2/3 and 1/3  ->  4 a + 2 b | 2 a + 1 b

A plain random split leaves that to luck, and luck is bad for rare labels: a part may have hardly any.

Book: 3.4.1 데이터 준비. Held against: scikit-learn's train_test_split(stratify=).
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from minillm._checks import check_int, check_number, describe


def stratified_split(
    labels: Sequence[Hashable], shares: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> list[list[int]]:
    """Places of `labels`, dealt to one part for each share: [training, validation, test], each in random order.

    Every label is cut at the same shares, rounded: the parts are disjoint, and together they are all places. Raises
    ValueError for no labels, shares that are no positive numbers, or shares that do not add up to 1.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence) or not labels:
        raise ValueError(f"labels must be a sequence of labels, got {describe(labels)}")
    shares = [check_number("share", share, 0, 1) for share in shares]
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares must be above 0 and add up to 1, got {shares}")
    rng = random.Random(check_int("seed", seed, 0))
    places: dict[Hashable, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    return _deal(places, shares, rng)


def _deal(places: dict[Hashable, list[int]], shares: list[float], rng: random.Random) -> list[list[int]]:
    parts: list[list[int]] = [[] for _ in shares]
    for own in places.values():
        rng.shuffle(own)
        start, ends = 0, [round(len(own) * sum(shares[: i + 1])) for i in range(len(shares))]
        for part, end in zip(parts, ends):
            part += own[start:end]
            start = end
    for part in parts:
        rng.shuffle(part)
    return parts
