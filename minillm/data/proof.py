"""The proof that an examination was not seen: no sentence of it stands in the training text, and how many 8-grams do.

    held = prove_held_out(exam, training)      # ValueError, with the sentence, when one stands in both
    print(held)                                # 359 sentences, none in the training text; 15 of 5,423 8-grams ...

For made-up sets the unit is not the sentence: `what="question"` (or "schema", "combination", any word) compares whole
items, which may be texts, tuples or numbers.

Source: Brown et al. 2020 (GPT-3), appendix C, measures contamination by shared n-grams in the same way.
Book: 13.3 LLM 평가하기.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from minillm._checks import check_int, check_text, describe
from minillm.data.documents import plain_words
from minillm.data.ngrams import longest_shared_run, word_ngrams

SHORT = 30  # bytes of letters and digits; "See also:" and the line of a table may stand in both, they give nothing away


@dataclass(frozen=True)
class HeldOut:
    """What was compared and found. `items` counts sentences (or questions, ...) of the evaluation set."""

    what: str
    items: int
    ngrams: int  # different word n-grams of the evaluation text
    shared_ngrams: int  # those that stand in the training text too
    n: int
    longest_shared_run: int  # words in a row

    def __str__(self) -> str:
        plural = self.what if self.items == 1 else f"{self.what}s"
        return (
            f"{self.items:,} {plural}, none in the training text; {self.shared_ngrams:,} of {self.ngrams:,} "
            f"{self.n}-grams shared, longest shared run {self.longest_shared_run} words"
        )


def prove_held_out(
    evaluation: str | Iterable[Any], training: str | Iterable[Any], n: int = 8, what: str = "sentence"
) -> HeldOut:
    """Prove that nothing of `evaluation` stands in `training`; the counts come back for the page.

    what="sentence": both are a text or texts, cut into sentences at . ! ? and at blank lines; white space and letter
    case do not count. Sentences under 30 bytes of letters and digits (a heading, a cell of a table) may stand in both,
    unless all of `evaluation` are so short: then all are compared. Any other word: both are collections of whole items
    (str, tuple, int, ...), compared as they are; word n-grams are counted of those that are str.

    Raises ValueError that names the shared item when there is one, or when the evaluation set is empty.
    """
    n = check_int("n", n, 1)
    what = check_text("what", what)
    exam, taught = _items("evaluation", evaluation, what), _items("training", training, what)
    if not exam:
        raise ValueError(f"evaluation holds no {what} to compare, got {describe(evaluation)}")
    compared = exam
    if what == "sentence":
        compared = [one for one in exam if _is_long(one)] or exam
    known = {_key(item) for item in taught}
    shared = [item for item in compared if _key(item) in known]
    if shared:
        raise ValueError(
            f"{len(shared)} of {len(exam)} evaluation {what}s stand in the training text, the first: {shared[0]!r}"
        )
    texts, taught_texts = ([item for item in side if isinstance(item, str)] for side in (exam, taught))
    if what == "sentence":  # whole texts: a run may cross the end of a sentence
        texts, taught_texts = _texts("evaluation", evaluation), _texts("training", training)
    ngrams = set().union(*(word_ngrams(text, n) for text in texts))
    known_ngrams = set().union(*(word_ngrams(text, n) for text in taught_texts))
    run = longest_shared_run(texts, taught_texts)
    return HeldOut(what, len(exam), len(ngrams), len(ngrams & known_ngrams), n, run)


def sentences(text: str) -> list[str]:
    """The text cut at . ! ? before white space, and at blank lines: "A b. C!" -> ["A b.", "C!"]."""
    pieces = re.split(r"(?<=[.!?])\s+|\n\s*\n", check_text("text", text))
    return [" ".join(piece.split()) for piece in pieces if piece.strip()]


def shared_sentences(exam: Iterable[str], taught: Iterable[str]) -> list[str]:
    """The sentences of `exam` that stand in `taught`, short ones and white space and letter case aside."""
    known = set(map(plain_words, taught))
    return [one for one in exam if _is_long(one) and plain_words(one) in known]


def _is_long(sentence: str) -> bool:
    return len(re.sub(r"[\W_]", "", sentence).encode()) >= SHORT


def _items(name: str, values: Any, what: str) -> list[Any]:
    if what == "sentence":
        return [sentence for text in _texts(name, values) for sentence in sentences(text)]
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a collection of {what}s, got {describe(values)}")
    items = list(values)
    for item in items:
        if not isinstance(item, Hashable):
            raise ValueError(f"{name} must hold str, tuples or numbers, got {describe(item)}")
    return items


def _texts(name: str, values: Any) -> list[str]:
    if isinstance(values, str):
        return [values]
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{name} must be a text or a list of texts, got {describe(values)}")
    return [check_text(name, text) for text in values]


def _key(item: Any) -> Any:
    if isinstance(item, tuple):  # texts within are composed (NFC), and else as they are
        return tuple(_composed(part) for part in item)
    return plain_words(item) if isinstance(item, str) else item


def _composed(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(_composed, part))
    return unicodedata.normalize("NFC", part) if isinstance(part, str) else part
