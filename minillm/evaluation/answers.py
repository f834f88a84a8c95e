"""Is a short answer the right one? Exactly, or in how many of its words.

    exact_match = 1 if both are the same text after the usual tidying, else 0
    f1          = 2 P R / (P + R)     P, R: the share of the answer's words (Korean: its letters) that the gold one has,
                                      and the other way round, each as often as the rarer one has it

What is tidied decides the figure. SQuAD: small letters, no punctuation, no a, an, the. KorQuAD: no quotes and brackets;
by letters, because 학교에 and 학교는 share no word.

Book: 13.3.2 벤치마크. Papers: Rajpurkar et al. 2016 (SQuAD); Lim et al. 2019 (KorQuAD 1.0). Held against: the rules of
their published scorers on cases of our own.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from minillm._checks import check_choice, check_text, describe, is_listing

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_QUOTES = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))


def tidied_english(text: str) -> str:
    """SQuAD's form: small letters, without punctuation and articles, one blank between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def tidied_korean(text: str) -> str:
    """KorQuAD's form: quotes and brackets are blanks, no punctuation, small letters, one blank between words; Hangul of
    one code point a syllable and of three is the same (NFC)."""
    text = unicodedata.normalize("NFC", text)
    return " ".join(text.translate(_QUOTES).lower().translate(_PUNCTUATION).split())


RULES: dict[str, tuple[Callable[[str], str], Callable[[str], list[str]]]] = {
    "en": (tidied_english, str.split),
    "ko": (tidied_korean, lambda text: list(text.replace(" ", ""))),
}


def exact_match(prediction: str, gold: str | Sequence[str], language: str = "en") -> float:
    """1.0 if the answer is one of the gold ones after tidying, else 0.0. language: "en" (SQuAD) or "ko" (KorQuAD).

    Raises ValueError for another language, no gold answer, and what is no str.
    """
    tidy, _ = _rule(language)
    mine = tidy(check_text("prediction", prediction))
    return float(any(mine == tidy(one) for one in _golds(gold)))


def f1(prediction: str, gold: str | Sequence[str], language: str = "en") -> float:
    """The best F1 with a gold answer, 0..1, in words ("en") or letters ("ko"); errors as `exact_match`."""
    tidy, parts = _rule(language)
    mine = Counter(parts(tidy(check_text("prediction", prediction))))
    return max(_overlap(mine, Counter(parts(tidy(one)))) for one in _golds(gold))


def _overlap(own: Counter, other: Counter) -> float:
    if not own or not other:
        return float(own == other)  # an empty answer is right where nothing was to be said
    return 2 * (own & other).total() / (own.total() + other.total())


def _rule(language: str) -> tuple[Callable[[str], str], Callable[[str], list[str]]]:
    return RULES[check_choice("language", language, tuple(RULES))]


def _golds(gold: str | Sequence[str]) -> list[str]:
    listed = is_listing(gold) and not isinstance(gold, Mapping)  # SQuAD's {"text": [...]} would list its keys
    golds = [gold] if isinstance(gold, str) else list(gold) if listed else []
    if not golds:
        raise ValueError(f"gold must be an answer or a list of answers, got {describe(gold)}")
    return [check_text("gold", one) for one in golds]
