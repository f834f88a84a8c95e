"""Normalizers (정규화): what is done to a text before it is cut, so that one word has one spelling.

    NFC "e\u0301" -> "é"      NFKC "ﬁ" -> "fi"      Lowercase "ÀB" -> "àb"      StripAccents (after NFD) -> "ab"

Decomposed Hangul costs a byte-level vocabulary five times the tokens, so NFC matters most for Korean. What a
normalizer changes does not come back when ids are decoded, and NFC is no exception: some hanja change with it. The
Korean standard KS X 1001 lists a character once for each of its readings (樂 as 악, 낙, 락, 요); Unicode took these
over as compatibility ideographs (U+F900 to U+FAFF), and every normal form writes the one common character instead.

NFC and NFD are forms of Unicode. 완성형 and 조합형 are neither: they are two older encodings, of whole syllables (KS X
1001) and of letters in three fields of five bits.

Book: 2.2.1 토큰화. Held against: tokenizers.normalizers, whose Unicode tables are older than Python's (unicode_age.py).
"""

from __future__ import annotations

import re
import unicodedata
from functools import partial
from typing import Any

import regex

from minillm._checks import check_flag, check_text
from minillm.tokenizer.charsmap import Precompiled
from minillm.tokenizer.parts import BLANKS, Finder, Normalizer, as_list, build
from minillm.tokenizer.unicode_age import LATER_ACCENTS, LATER_CONTROLS, LATER_FORMS, LATER_MARKS
from minillm.tokenizer.unicode_forms import form_origins


class UnicodeForm(Normalizer):
    """NFC, NFD, NFKC or NFKD of the Unicode standard (annex 15)."""

    def __init__(self, form: str) -> None:
        self.form = form

    _later = re.compile(f"([{LATER_FORMS}]+)")  # they stand between the parts that have forms

    def __call__(self, text: str) -> str:
        if text.isascii():
            return text
        parts = self._later.split(text)
        return "".join(
            part if i % 2 else unicodedata.normalize(self.form, part) for i, part in enumerate(parts)
        )

    def origins(self, text: str) -> list[int]:
        found: list[int] = []
        done = 0
        for i, part in enumerate(self._later.split(text)):
            places = range(len(part)) if i % 2 or part.isascii() else form_origins(self.form, part)
            found += [done + place for place in places]
            done += len(part)
        return found


class Lowercase(Normalizer):
    """Small letters, each for itself: `str.lower` would treat the last sigma of a Greek word specially."""

    def __call__(self, text: str) -> str:
        return text.lower() if text.isascii() else "".join([letter.lower() for letter in text])

    def origins(self, text: str) -> list[int]:
        return [place for place, letter in enumerate(text) for _ in letter.lower()]


class Strip(Normalizer):
    """Blanks at the ends go."""

    def __init__(self, strip_left: bool, strip_right: bool) -> None:
        self.left, self.right = check_flag("strip_left", strip_left), check_flag("strip_right", strip_right)

    def __call__(self, text: str) -> str:
        text = text.lstrip(BLANKS) if self.left else text
        return text.rstrip(BLANKS) if self.right else text

    def origins(self, text: str) -> list[int]:
        kept = self(text)
        first = len(text) - len(text.lstrip(BLANKS)) if self.left and kept else 0
        return list(range(first, first + len(kept)))

    def drops_front(self, text: str) -> bool:
        return self.left and text != "" and text[0] in BLANKS


class StripAccents(Normalizer):
    """Combining marks go; after NFD, so that "é" leaves "e"."""

    _marks = regex.compile(rf"[\p{{M}}\u1cf2\u1cf3--[{LATER_MARKS}]]", regex.V1)

    def __call__(self, text: str) -> str:
        return text if text.isascii() else self._marks.sub("", text)

    def origins(self, text: str) -> list[int]:
        return [place for place, letter in enumerate(text) if not self._marks.match(letter)]

    def drops_front(self, text: str) -> bool:
        return self._marks.match(text) is not None


class Replace(Normalizer):
    """Each match of a pattern becomes `content`."""

    def __init__(self, pattern: Any, content: str) -> None:
        self.find, self.content = Finder(pattern), check_text("content", content)

    def __call__(self, text: str) -> str:
        return self.find.replace(text, self.content)

    def origins(self, text: str) -> list[int]:
        found: list[int] = []
        at = 0
        for start, end in self.find(text):  # what is new points at the last character that went
            found += [*range(at, start), *([end - 1] * len(self.content))]
            at = end
        return [*found, *range(at, len(text))]

    def drops_front(self, text: str) -> bool:
        return not self.content and any(start == 0 < end for start, end in self.find(text)[:1])


class Prepend(Normalizer):
    """A string in front of a text that is not empty."""

    def __init__(self, prepend: str) -> None:
        self.prepend = check_text("prepend", prepend)

    def __call__(self, text: str) -> str:
        return self.prepend + text if text else text

    def origins(self, text: str) -> list[int]:
        return [0] * len(self.prepend) + list(range(len(text))) if text else []


class Nmt(Normalizer):
    """Control characters go, tabs, line ends and signs of no width become blanks (SentencePiece's "nmt" rules)."""

    _controls = regex.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]")
    _blanks = regex.compile(r"[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]")

    def __call__(self, text: str) -> str:
        return self._blanks.sub(" ", self._controls.sub("", text))

    def origins(self, text: str) -> list[int]:
        return [place for place in range(len(text)) if not self._controls.match(text, place)]

    def drops_front(self, text: str) -> bool:
        return self._controls.match(text) is not None


class _Accents(StripAccents):
    """The marks of no width only."""

    _marks = regex.compile(rf"[\p{{Mn}}\u1734\U0001171e--[{LATER_ACCENTS}]]", regex.V1)


class BertNormalizer(Normalizer):
    """What BERT does to a text, step by step: each option is a step.

    clean_text: control characters go, every kind of blank becomes " ".   handle_chinese_chars: blanks around each
    ideograph (not around Hangul).   strip_accents: NFD, then the marks go; None: if `lowercase`.
    """

    _controls = regex.compile(rf"[\0\ufffd\p{{Cc}}\p{{Cf}}\p{{Co}}--[\t\n\r{LATER_CONTROLS}]]", regex.V1)
    _blanks = regex.compile(rf"[{BLANKS}]")
    _ideographs = regex.compile(  # U+2B820 to U+2B91F are left out, as in tokenizers
        "([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f"
        "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f])"
    )
    _nfd, _accents, _lower = UnicodeForm("NFD"), _Accents(), Lowercase()

    def __init__(
        self,
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
    ) -> None:
        self.clean_text = check_flag("clean_text", clean_text)
        self.spaces = check_flag("handle_chinese_chars", handle_chinese_chars)
        self.lowercase = check_flag("lowercase", lowercase)
        self.strip = self.lowercase if strip_accents is None else check_flag("strip_accents", strip_accents)

    def __call__(self, text: str) -> str:
        if self.clean_text:
            text = self._blanks.sub(" ", self._controls.sub("", text))
        if self.spaces and not text.isascii():
            text = self._ideographs.sub(r" \1 ", text)
        if self.strip and not text.isascii():
            text = self._accents(self._nfd(text))
        return self._lower(text) if self.lowercase else text

    def origins(self, text: str) -> list[int]:
        places = range(len(text))
        if self.clean_text:
            places = [place for place in places if not self._controls.match(text, place)]
        if self.spaces:
            places = [p for p in places for _ in range(3 if self._ideographs.match(text, p) else 1)]
        done = BertNormalizer(self.clean_text, self.spaces, False, False)(text)
        for wanted, step in (
            (self.strip, self._nfd),
            (self.strip, self._accents),
            (self.lowercase, self._lower),
        ):
            if wanted:
                places, done = [places[i] for i in step.origins(done)], step(done)
        return list(places)

    def drops_front(self, text: str) -> bool:
        first = text[:1]
        return first != "" and self(first) == ""


class Sequence(Normalizer):
    """One after another."""

    def __init__(self, normalizers: list) -> None:
        self.steps = [build_normalizer(layout) for layout in as_list("normalizers", normalizers)]

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = step(text)
        return text

    def origins(self, text: str) -> list[int]:
        places: list[int] = list(range(len(text)))
        for step in self.steps:
            places = [places[place] if place >= 0 else -1 for place in step.origins(text)]
            text = step(text)
        return places

    def drops_front(self, text: str) -> bool:
        for step in self.steps:
            if step.drops_front(text):
                return True
            text = step(text)
        return False


KINDS = {
    **{form: partial(UnicodeForm, form) for form in ("NFC", "NFD", "NFKC", "NFKD")},
    **{
        kind.__name__: kind
        for kind in (
            Lowercase,
            Strip,
            StripAccents,
            Replace,
            Prepend,
            BertNormalizer,
            Nmt,
            Precompiled,
            Sequence,
        )
    },
}


def build_normalizer(layout: Any) -> Normalizer:
    """The normalizer of a tokenizer.json; ValueError naming what is not supported."""
    return build("normalizer", layout, KINDS)
