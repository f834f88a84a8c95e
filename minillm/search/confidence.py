"""Does the best passage answer at all? A search engine always has a best passage, also for "will it rain tomorrow".

    share(q, d) = sum of idf(w) over the words w of q that passage d has / sum of idf(w) over all words w of q

Scores of a search cannot tell: they grow with the number of words, and a vector is near to something always. The share
is 1 where the passage says every word of the question, and 0 where it says none; a rare word counts more than a
common one, and one that no passage has counts most. Below `DECLINING.least_share` an answer is declined.

That figure was taken from half of the questions that have an answer in Python's reference and half of those that have
none (data/unanswerable.py); a test holds it to them. Left out: synonyms, which the share misses.

Book: 9.1 검색 증강 생성(RAG). Paper: Rajpurkar, Jia & Liang 2018, "Know What You Don't Know: Unanswerable Questions for
SQuAD".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from minillm._checks import check_number
from minillm.search._ids import check_texts

MOST_WRONG = 0.08  # so that questions the threshold was not taken from stay under one in ten


def share_named(query: Iterable[str], passage: Iterable[str], idf: Callable[[str], float]) -> float:
    """The share, 0 to 1, of what the query's words weigh that the passage says. 0 for a query without words.

    query, passage: words, as a tokenizer gives them. Raises ValueError for a text that is not split.
    """
    query, passage = check_texts("query", query), check_texts("passage", passage)
    words, said = set(query), set(passage)
    weights = {word: idf(word) for word in words}
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in said) / total if total else 0.0


@dataclass(frozen=True)
class Declined:
    """What a threshold does: the share of unanswerable questions declined, and of answerable ones (wrongly)."""

    threshold: float
    declined: float
    wrongly: float


def decline_curve(answerable: Sequence[float], unanswerable: Sequence[float]) -> list[Declined]:
    """One point a threshold, 0.00, 0.01, ... 1.00: a share below it is declined. ValueError for an empty list."""
    if not len(answerable) or not len(unanswerable):
        raise ValueError("answerable and unanswerable must each hold at least one share")
    good, bad = np.asarray(answerable, float), np.asarray(unanswerable, float)
    return [
        Declined(float(threshold), float((bad < threshold).mean()), float((good < threshold).mean()))
        for threshold in np.arange(101) / 100
    ]


def choose_threshold(
    answerable: Sequence[float], unanswerable: Sequence[float], most_wrong: float = MOST_WRONG
) -> Declined:
    """The point of the curve that declines the most unanswerable questions, with at most `most_wrong` of the
    answerable ones declined; of equal points the lowest, which declines the fewest wrongly."""
    check_number("most_wrong", most_wrong, 0, 1)
    allowed = [point for point in decline_curve(answerable, unanswerable) if point.wrongly <= most_wrong]
    return max(allowed, key=lambda point: point.declined)  # the first of equals
