"""chrF: F-score of character n-grams. A word with another particle still matches in most of its letters.

    P_n, R_n = n-grams of n characters that match / those of the hypothesis, of the reference        n = 1 ... 6
    chrF     = 100 * (1 + b^2) P R / (b^2 P + R)         P, R: means over the n that both texts have;  b = 2: recall
                                                         counts twice as much as precision

It needs no tokenizer, which suits Korean: 학교에 against 학교로 is 0 for word BLEU, and two of three letters for chrF.
chrF++ adds words and pairs of words (word_order=2).

Book: 13.3.1 정량적 지표. Papers: Popović 2015, 2017. Held against: sacrebleu 2.6.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

from minillm._checks import check_flag, check_int, check_number
from minillm.evaluation.ngrams import ngram_counts, with_references


def chrf(
    hypotheses: Sequence[str],
    references: Sequence[Any],
    char_order: int = 6,
    word_order: int = 0,
    beta: float = 2.0,
    lowercase: bool = False,
    whitespace: bool = False,
) -> float:
    """Corpus chrF, 0..100, with sacrebleu's defaults; of several references the best one counts for each text.

    references: a list of str, one a hypothesis, or several such lists. char_order, word_order: the longest n-grams of
    characters and of words (0: none). beta: how much more recall counts. whitespace: keep blanks as characters. Raises
    ValueError for anything else.
    """
    check_int("char_order", char_order, 0, 64), check_int("word_order", word_order, 0, 64)
    if char_order + word_order == 0:
        raise ValueError("char_order or word_order must be at least 1, got 0 and 0")
    beta = check_number("beta", beta, 0)
    check_flag("lowercase", lowercase), check_flag("whitespace", whitespace)

    def grams(text: str) -> list[Counter]:
        return all_ngrams(text.lower() if lowercase else text, char_order, word_order, whitespace)

    totals = [(0, 0, 0)] * (char_order + word_order)
    for hypothesis, candidates in with_references(hypotheses, references):
        own = grams(hypothesis)
        found = [match_counts(own, grams(reference)) for reference in candidates]
        best = max(found, key=lambda counts: f_score(counts, beta))
        totals = [tuple(map(sum, zip(*pair))) for pair in zip(totals, best)]
    return f_score(totals, beta)


def all_ngrams(text: str, char_order: int, word_order: int, whitespace: bool) -> list[Counter]:
    """The counted n-grams of every order: of characters first, then of words."""
    letters = text if whitespace else "".join(text.split())
    words = words_apart(text) if word_order else []
    return [
        *(ngram_counts(letters, n) for n in range(1, char_order + 1)),
        *(ngram_counts(words, n) for n in range(1, word_order + 1)),
    ]


def words_apart(text: str) -> list[str]:
    """Words, with one mark of punctuation at their end, or else at their start, as a word of its own."""
    words = []
    for word in text.split():
        if len(word) > 1 and word[-1] in string.punctuation:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in string.punctuation:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words


def match_counts(own: Sequence[Counter], other: Sequence[Counter]) -> list[tuple[int, int, int]]:
    """Of every order (n-grams written, in the reference, that match); (0, 0, 0) where the reference has none."""
    return [(a.total() if b else 0, b.total(), (a & b).total()) for a, b in zip(own, other)]


def f_score(counts: Sequence[tuple[int, int, int]], beta: float) -> float:
    """100 * (1 + b^2) P R / (b^2 P + R) of the mean precision and recall; 0 where no order is left."""
    both = [(match / own, match / other) for own, other, match in counts if own and other]
    if not both:
        return 0.0
    precision, recall = (sum(column) / len(both) for column in zip(*both))
    weighed = beta**2 * precision + recall
    # in sacrebleu's order: of two references that are equally good the last bit chooses
    return 100 * ((1 + beta**2) * precision * recall / weighed) if weighed else 0.0
