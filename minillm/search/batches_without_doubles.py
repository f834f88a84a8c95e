"""Batches in which no text stands twice: in a contrastive loss the second one would be a wrong answer that is right.

    rows   (q1, A) (q2, A) (q3, B) (q4, C), batches of 2   ->   [(q1, A) (q3, B)]  [(q2, A) (q4, C)]

Rows are dealt in their order; one that shares a text with the batch waits for the next. Two questions on one passage
are common in sets of questions, and the larger the batch, the oftener they meet.

Book: 11.3 임베딩 모델 미세 조정하기. Held against: sentence_transformers' NoDuplicatesBatchSampler, which deals the
rows that fit nowhere in short batches at the end of an epoch; here they wait for the next epoch, so that every epoch
has as many batches as the rows would fill.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from minillm._checks import check_int, describe, is_listing

LOOK_AHEAD = 100  # rows passed over for a batch, a row of it


def unique_batches(
    order: Iterable[int], texts: Sequence[frozenset[str]], size: int, most: int | None = None
) -> list[list[int]]:
    """Rows in `order`, dealt into batches of up to `size` that share no text; texts[row]: the texts of a row.

    most: batches at most (default: until every row is dealt). A batch that cannot be filled looks at LOOK_AHEAD * size
    rows and no further: where few texts stand in all rows (names of classes, say), each would look at every row. Raises
    ValueError for a size below 1, a `most` below 0, and an order or texts that do not fit each other.
    """
    size = check_int("size", size, 1)
    order = check_order(order, texts)
    if most is not None:
        check_int("most", most, 0)
    waiting, batches = deque(order), []
    while waiting and len(batches) != most:
        batch, taken, later = [], set(), []
        while waiting and len(batch) < size and len(later) < LOOK_AHEAD * size:
            row = waiting.popleft()
            if taken.isdisjoint(texts[row]):
                batch.append(row)
                taken |= texts[row]
            else:
                later.append(row)
        waiting.extendleft(reversed(later))
        batches.append(batch)
    return batches


def check_order(order: Any, texts: Any) -> list[int]:
    """`order` as a list, if each of it is the place of a set in `texts`."""
    if not is_listing(order) or not isinstance(texts, Sequence) or isinstance(texts, str):
        raise ValueError(f"order and texts must be lists, got {describe(order)} and {describe(texts)}")
    order = list(order)
    for row in {min(order), max(order)} if order else ():
        if not 0 <= check_int("a row of order", row) < len(texts):
            raise ValueError(f"order must name rows from 0 to {len(texts) - 1}, got {row}")
    for one in texts:
        if not isinstance(one, (set, frozenset)):
            raise ValueError(f"texts must hold a set of texts for every row, got {describe(one)}")
    return order


def epoch_of_unique_batches(
    order: Sequence[int], texts: Sequence[frozenset[str]], size: int
) -> list[list[int]]:
    """ceil(rows / size) batches, as many as an epoch of any order has; the rows that fit into none are left out.
    ValueError as `unique_batches`."""
    order = check_order(order, texts)
    return unique_batches(order, texts, size, math.ceil(len(order) / check_int("size", size, 1)))
