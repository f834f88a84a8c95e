"""ROUGE: how much of a reference summary does a summary hold?

    rouge1, rouge2    words, pairs of words that both texts have (each as often as the rarer text has it)
    rougeL            the longest list of words that both have in the same order, with gaps (LCS)
    rougeLsum         the same by sentences (lines): of each reference sentence, the words that the LCS with any
                      sentence of the summary holds
    each: precision = matches / words of the summary, recall = matches / words of the reference, F = 2PR / (P + R)

rouge_score's words are runs of a-z and 0-9. Of Korean nothing is left, and every figure is 0 without a word: choose
tokenizer="unicode" (words of any script) or "syllables" (each letter that is no a-z or digit alone). Both compose the
text first (NFC), so that Hangul of one code point a syllable and of three is the same.

Book: 13.3.1 정량적 지표. Paper: Lin 2004. Held against: rouge_score 0.1.2. Leaves out: its stemmer (give `tokenizer`
a function instead).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from minillm._checks import check_choice, check_text, describe, is_listing
from minillm.evaluation.ngrams import ngram_counts

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_ENGLISH, _WORDS, _LETTERS = re.compile(r"[a-z0-9]+"), re.compile(r"\w+"), re.compile(r"[a-z0-9]+|[^\W_]")
TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "english": lambda text: _ENGLISH.findall(text.lower()),
    "unicode": lambda text: _WORDS.findall(unicodedata.normalize("NFC", text).lower()),
    "syllables": lambda text: _LETTERS.findall(unicodedata.normalize("NFC", text).lower()),
}


class Rouge(NamedTuple):
    """precision, recall and their F, each 0..1."""

    precision: float
    recall: float
    f: float


def rouge(
    prediction: str, reference: str, tokenizer: str | Callable[[str], list[str]] = "english"
) -> dict[str, float]:
    """{"rouge1": F, "rouge2": F, "rougeL": F, "rougeLsum": F}, each 0..1; arguments and errors as `rouge_parts`."""
    return {kind: parts.f for kind, parts in rouge_parts(prediction, reference, tokenizer=tokenizer).items()}


def rouge_parts(
    prediction: str,
    reference: str,
    kinds: Sequence[str] = KINDS,
    tokenizer: str | Callable[[str], list[str]] = "english",
) -> dict[str, Rouge]:
    """Precision, recall and F of each kind.

    kinds: among "rouge1" ... "rouge9", "rougeL", "rougeLsum" (whose sentences are lines). tokenizer: "english",
    "unicode", "syllables", or a function from a text to its tokens. Raises ValueError for anything else.
    """
    check_text("prediction", prediction), check_text("reference", reference)
    if not callable(tokenizer):
        check_choice("tokenizer", tokenizer, tuple(TOKENIZERS))
        tokenizer = TOKENIZERS[tokenizer]
    if isinstance(kinds, str) or not is_listing(kinds):
        raise ValueError(f"kinds must be a list such as {KINDS}, got {describe(kinds)}")
    words = _words(tokenizer, prediction), _words(tokenizer, reference)
    scores = {}
    for kind in kinds:
        if kind == "rougeLsum":
            scores[kind] = rouge_l_sum(
                *([_words(tokenizer, line) for line in text.split("\n")] for text in (prediction, reference))
            )
        elif kind == "rougeL":
            scores[kind] = rouge_l(*words)
        elif isinstance(kind, str) and re.fullmatch(r"rouge[1-9]", kind):
            scores[kind] = rouge_n(*words, int(kind[-1]))
        else:
            raise ValueError(f"kinds must hold rouge1 ... rouge9, rougeL or rougeLsum, got {describe(kind)}")
    return scores


def _words(tokenizer: Callable[[str], list[str]], text: str) -> list[str]:
    words = tokenizer(text)
    if not is_listing(words) or isinstance(words, Mapping):  # the letters of a text are no words
        raise ValueError(f"tokenizer must return a list of str, got {describe(words)}")
    return list(words)


def rouge_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> Rouge:
    """n-grams that both have."""
    own, other = ngram_counts(prediction, n), ngram_counts(reference, n)
    return shares((own & other).total(), own.total(), other.total())


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> Rouge:
    """The longest common subsequence."""
    return shares(lcs_table(reference, prediction)[-1][-1], len(prediction), len(reference))


def rouge_l_sum(prediction: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]) -> Rouge:
    """By sentences (lists of words); a word counts at most as often as each whole text has it."""
    left = Counter(word for line in prediction for word in line) & Counter(
        word for line in reference for word in line
    )
    matches = 0
    for sentence in reference:
        places = set().union(*(lcs_places(sentence, line) for line in prediction))
        for place in sorted(places):
            if left[sentence[place]] > 0:
                left[sentence[place]] -= 1
                matches += 1
    return shares(matches, sum(map(len, prediction)), sum(map(len, reference)))


def lcs_table(a: Sequence[str], b: Sequence[str]) -> list[list[int]]:
    """(len(a) + 1) x (len(b) + 1): the length of the longest common subsequence of a[:i] and b[:j]."""
    table = [[0] * (len(b) + 1)]
    for one in a:
        above, row = table[-1], [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if one == other else max(above[j + 1], row[j]))
        table.append(row)
    return table


def lcs_places(a: Sequence[str], b: Sequence[str]) -> set[int]:
    """Which places of `a` one longest common subsequence takes; of several, the one that is found from the ends."""
    table, places, i, j = lcs_table(a, b), set(), len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            places.add(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places


def shares(matches: int, written: int, expected: int) -> Rouge:
    """matches / written, matches / expected, and F; 0 where there is nothing."""
    precision = matches / written if written else 0.0
    recall = matches / expected if expected else 0.0
    both = precision + recall
    return Rouge(precision, recall, 2 * precision * recall / both if both else 0.0)
