"""Normalizers (정규화): what is done to a text before it is cut, so that one word has one spelling.

    NFC "e\u0301" -> "é"      NFKC "ﬁ" -> "fi"      Lowercase "ÀB" -> "àb"      StripAccents (after NFD) -> "ab"

Decomposed Hangul costs a byte-level vocabulary five times the tokens, so NFC matters most for Korean. What a
normalizer changes does not come back when ids are decoded, and NFC is no exception: some hanja change with it. The
Korean standard KS X 1001 lists a character once for each of its readings (樂 as 악, 낙, 락, 요); Unicode took these
over as compatibility ideographs (U+F900 to U+FAFF), and every normal form writes the one common character instead.

NFC and NFD are forms of Unicode. 완성형 and 조합형 are neither: they are two older encodings, of whole syllables (KS X
1001) and of letters in three fields of five bits.

Book: 2.2.1 토큰화. Held against: tokenizers.normalizers, whose Unicode tables are older than Python's (unicode_age.py).
Left out: BertNormalizer, Nmt, Precompiled.
"""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import Any

import regex

from minillm._checks import check_flag, check_text
from minillm.tokenizer.parts import BLANKS, Finder, as_list, build
from minillm.tokenizer.unicode_age import LATER_FORMS, LATER_MARKS


class Normalizer:
    """str -> str. `drops_front` says whether the first characters go without a trace: what is left then no longer
    begins where the text began, and Metaspace's "first" does not apply to it."""

    def __call__(self, text: str) -> str:
        raise NotImplementedError

    def drops_front(self, text: str) -> bool:
        return False


class UnicodeForm(Normalizer):
    """NFC, NFD, NFKC or NFKD of the Unicode standard (annex 15)."""

    def __init__(self, form: str) -> None:
        self.form = form

    _later = regex.compile(f"([{LATER_FORMS}]+)")  # they stand between the parts that have forms

    def __call__(self, text: str) -> str:
        if text.isascii():
            return text
        parts = self._later.split(text)
        return "".join(
            part if i % 2 else unicodedata.normalize(self.form, part) for i, part in enumerate(parts)
        )


class Lowercase(Normalizer):
    """Small letters, each for itself: `str.lower` would treat the last sigma of a Greek word specially."""

    def __call__(self, text: str) -> str:
        return text.lower() if text.isascii() else "".join([letter.lower() for letter in text])


class Strip(Normalizer):
    """Blanks at the ends go."""

    def __init__(self, strip_left: bool, strip_right: bool) -> None:
        self.left, self.right = check_flag("strip_left", strip_left), check_flag("strip_right", strip_right)

    def __call__(self, text: str) -> str:
        text = text.lstrip(BLANKS) if self.left else text
        return text.rstrip(BLANKS) if self.right else text

    def drops_front(self, text: str) -> bool:
        return self.left and text != "" and text[0] in BLANKS


class StripAccents(Normalizer):
    """Combining marks go; after NFD, so that "é" leaves "e"."""

    _marks = regex.compile(rf"[\p{{M}}\u1cf2\u1cf3--[{LATER_MARKS}]]", regex.V1)

    def __call__(self, text: str) -> str:
        return text if text.isascii() else self._marks.sub("", text)

    def drops_front(self, text: str) -> bool:
        return self._marks.match(text) is not None


class Replace(Normalizer):
    """Each match of a pattern becomes `content`."""

    def __init__(self, pattern: Any, content: str) -> None:
        self.find, self.content = Finder(pattern), check_text("content", content)

    def __call__(self, text: str) -> str:
        return self.find.replace(text, self.content)

    def drops_front(self, text: str) -> bool:
        return not self.content and any(start == 0 < end for start, end in self.find(text)[:1])


class Prepend(Normalizer):
    """A string in front of a text that is not empty."""

    def __init__(self, prepend: str) -> None:
        self.prepend = check_text("prepend", prepend)

    def __call__(self, text: str) -> str:
        return self.prepend + text if text else text


class Sequence(Normalizer):
    """One after another."""

    def __init__(self, normalizers: list) -> None:
        self.steps = [build_normalizer(layout) for layout in as_list("normalizers", normalizers)]

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = step(text)
        return text

    def drops_front(self, text: str) -> bool:
        for step in self.steps:
            if step.drops_front(text):
                return True
            text = step(text)
        return False


KINDS = {
    **{form: partial(UnicodeForm, form) for form in ("NFC", "NFD", "NFKC", "NFKD")},
    **{kind.__name__: kind for kind in (Lowercase, Strip, StripAccents, Replace, Prepend, Sequence)},
}


def build_normalizer(layout: Any) -> Normalizer:
    """The normalizer of a tokenizer.json; ValueError naming what is not supported."""
    return build("normalizer", layout, KINDS)
