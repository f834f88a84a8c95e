"""Pre-tokenizers (사전 토큰화): where a text is cut into the pieces that the model sees one by one.

    Split   by a pattern; `behavior` says what becomes of a match:   "a-b", matching "-"
            Isolated a|-|b    Removed a|b    MergedWithPrevious a-|b    MergedWithNext a|-b    Contiguous "--" is one
    ByteLevel   GPT-2's pattern, then every byte as one printable character (byte_alphabet.py)
    Metaspace   blanks become ▁, which stays at the front of its word: "a b" -> ▁a|▁b

Each step also has `trace`, which keeps the place in the source of every character (offsets.py reads it).

Book: 2.2.1 토큰화. Held against: tokenizers.pre_tokenizers. Left out: UnicodeScripts, FixedLength.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import regex

from minillm._checks import check_choice, check_flag
from minillm.tokenizer.byte_alphabet import to_characters
from minillm.tokenizer.parts import ByteLevelOptions, Finder, MetaspaceOptions, as_list, build
from minillm.tokenizer.splitting import GPT2_PATTERN, split
from minillm.tokenizer.unicode_age import LATER_PUNCTUATION

Span = tuple[int, int]
Traced = tuple[str, list[Span]]  # a piece, and for each of its characters (start, end) in the source
BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def cut(text: str, matches: Iterable[Span], behavior: str, invert: bool = False) -> list[Span]:
    """(start, end) of the pieces when `text` is cut at `matches`; `invert` takes what lies between them instead."""
    spans: list[tuple[int, int, bool]] = []
    at = 0
    for start, end in matches:
        if at < start:
            spans.append((at, start, invert))
        spans.append((start, end, not invert))
        at = end
    if at < len(text):
        spans.append((at, len(text), invert))
    if behavior == "Removed":
        return [(start, end) for start, end, is_match in spans if not is_match and start < end]
    if behavior == "MergedWithNext":
        spans.reverse()
    pieces: list[Span] = []
    previous = False
    for start, end, is_match in spans:
        joins = is_match == previous if behavior == "Contiguous" else is_match and not previous
        if joins and pieces and behavior != "Isolated":
            pieces[-1] = min(start, pieces[-1][0]), max(end, pieces[-1][1])
        else:
            pieces.append((start, end))
        previous = is_match
    if behavior == "MergedWithNext":
        pieces.reverse()
    return [(start, end) for start, end in pieces if start < end]


class PreTokenizer:
    """Pieces in, smaller pieces out; `starts` says whether the first piece begins where the whole text began."""

    def spans(self, piece: str) -> list[Span]:
        raise NotImplementedError

    def __call__(self, pieces: list[str], starts: bool) -> tuple[list[str], bool]:
        found: list[str] = []
        for number, piece in enumerate(pieces):
            spans = self.spans(piece)
            if number == 0:
                starts = starts and spans[:1] != [] and spans[0][0] == 0
            found += [piece[start:end] for start, end in spans]
        return found, starts

    def trace(self, pieces: list[Traced], starts: bool) -> tuple[list[Traced], bool]:
        """As the call, each piece with the place in the source of each of its characters."""
        found: list[Traced] = []
        for number, (piece, places) in enumerate(pieces):
            spans = self.spans(piece)
            if number == 0:
                starts = starts and spans[:1] != [] and spans[0][0] == 0
            found += [(piece[start:end], places[start:end]) for start, end in spans]
        return found, starts


class Split(PreTokenizer):
    """Cut at a string or a regular expression (of Oniguruma's dialect)."""

    def __init__(self, pattern: Any, behavior: str, invert: bool) -> None:
        self.find = Finder(pattern)
        self.behavior = check_choice("behavior", behavior, BEHAVIORS)
        self.invert = check_flag("invert", invert)

    def __call__(self, pieces: list[str], starts: bool) -> tuple[list[str], bool]:
        if self.behavior == "Isolated" and self.find.kind == "Regex":  # the usual case, in fewer steps
            return [part for piece in pieces for part in split(piece, self.find.text)], starts
        return super().__call__(pieces, starts)

    def spans(self, piece: str) -> list[Span]:
        return cut(piece, self.find(piece), self.behavior, self.invert)


class CharacterClass(PreTokenizer):
    """Cut at every character of one class."""

    def __init__(self, characters: str, behavior: str) -> None:
        self.find, self.behavior = regex.compile(characters, regex.V1), behavior

    def spans(self, piece: str) -> list[Span]:
        return cut(piece, [match.span() for match in self.find.finditer(piece)], self.behavior)


class Digits(CharacterClass):
    """Numbers stand alone, whole or digit by digit."""

    def __init__(self, individual_digits: bool) -> None:
        single = check_flag("individual_digits", individual_digits)
        super().__init__(r"\p{N}", "Isolated" if single else "Contiguous")


class Punctuation(CharacterClass):
    """Cut at signs of punctuation, and at the ASCII symbols."""

    def __init__(self, behavior: str = "Isolated") -> None:
        signs = rf"[\p{{P}}$+<=>\^`|\~\u166d\U000111c9--[{LATER_PUNCTUATION}]]"
        super().__init__(signs, check_choice("behavior", behavior, BEHAVIORS))


class WhitespaceSplit(CharacterClass):
    """Cut at blanks, which go."""

    def __init__(self) -> None:
        super().__init__(r"\p{White_Space}", "Removed")


class Whitespace(PreTokenizer):
    """Words and runs of other signs; blanks go."""

    _pieces = regex.compile(
        r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+"
        r"|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+"
    )

    def spans(self, piece: str) -> list[Span]:
        return [match.span() for match in self._pieces.finditer(piece)]


class BertPreTokenizer(PreTokenizer):
    """Cut at blanks, which go, and around every sign of punctuation."""

    def __init__(self) -> None:
        self.blanks, self.signs = WhitespaceSplit(), Punctuation()

    def spans(self, piece: str) -> list[Span]:
        return [
            (start + first, start + last)
            for start, end in self.blanks.spans(piece)
            for first, last in self.signs.spans(piece[start:end])
        ]


class Metaspace(MetaspaceOptions, PreTokenizer):
    """Blanks become ▁; one is put in front of every piece ("always"), of the text's first ("first") or of none."""

    def signed(self, piece: str, first: bool) -> str:
        """The piece with its signs; `first`: it begins the text."""
        text = piece.replace(" ", self.sign)
        wanted = self.scheme == "always" or (self.scheme == "first" and first)
        return self.sign + text if wanted and not text.startswith(self.sign) else text

    def spans(self, piece: str) -> list[Span]:
        if not self.split:
            return [(0, len(piece))]
        signs = [(at, at + 1) for at, character in enumerate(piece) if character == self.sign]
        return cut(piece, signs, "MergedWithNext")

    def __call__(self, pieces: list[str], starts: bool) -> tuple[list[str], bool]:
        found: list[str] = []
        for number, piece in enumerate(pieces):
            text = self.signed(piece, number == 0 and starts)
            if not self.split:
                found.append(text)
                continue
            first, *rest = text.split(self.sign)  # the cut of `spans`, in fewer steps
            found += [first] if first else []
            found += [self.sign + part for part in rest]
        return found, starts

    def trace(self, pieces: list[Traced], starts: bool) -> tuple[list[Traced], bool]:
        found: list[Traced] = []
        for number, (piece, places) in enumerate(pieces):
            text = self.signed(piece, number == 0 and starts)
            places = places[:1] * (len(text) - len(piece)) + places
            found += [(text[start:end], places[start:end]) for start, end in self.spans(text)]
        return found, starts


class ByteLevel(ByteLevelOptions, PreTokenizer):
    """GPT-2's pattern (with `use_regex`), then bytes as printable characters."""

    def cut(self, pieces: list[str]) -> list[str]:
        """The pieces as text, their bytes not yet written as characters."""
        if self.prefix:
            pieces = [piece if piece.startswith(" ") else f" {piece}" for piece in pieces]
        return [part for piece in pieces for part in split(piece, GPT2_PATTERN)] if self.use_regex else pieces

    def __call__(self, pieces: list[str], starts: bool) -> tuple[list[str], bool]:
        return [to_characters(piece.encode("utf-8")) for piece in self.cut(pieces)], starts

    def trace(self, pieces: list[Traced], starts: bool) -> tuple[list[Traced], bool]:
        found: list[Traced] = []
        for piece, places in pieces:
            parts = self.cut([piece])
            places = places[:1] * (sum(map(len, parts)) - len(piece)) + places  # a blank put in front
            at = 0
            for part in parts:
                spread = [places[at + i] for i, letter in enumerate(part) for _ in letter.encode("utf-8")]
                found.append((to_characters(part.encode("utf-8")), spread))
                at += len(part)
        return found, starts


class Sequence:
    """All steps of a tokenizer, one after another; none leaves the text in one piece.

    `byte_level` is the last step if it is ByteLevel: a model of bytes then takes the pieces as they were before it.
    `asks_for_first`: whether it matters that a text begins where the caller's began.
    """

    def __init__(self, pretokenizers: list) -> None:
        self.steps: list[PreTokenizer] = []
        for layout in as_list("pretokenizers", pretokenizers):
            part = build_pre_tokenizer(layout)
            self.steps += part.steps
        self._settle()

    def _settle(self) -> None:
        last = self.steps[-1] if self.steps else None
        self.byte_level = last if isinstance(last, ByteLevel) else None
        self.is_gpt2 = len(self.steps) == 1 and self.byte_level is not None
        self.is_gpt2 = self.is_gpt2 and last.use_regex and not last.prefix
        self.asks_for_first = any(getattr(step, "scheme", "") == "first" for step in self.steps)
        for earlier, later in zip(self.steps, self.steps[1:]):
            if isinstance(earlier, ByteLevel) and getattr(later, "scheme", "") == "first":
                raise ValueError(
                    "pre_tokenizer Metaspace with prepend_scheme 'first' after ByteLevel is not supported"
                )

    @classmethod
    def of(cls, step: PreTokenizer) -> Sequence:
        """A sequence of one step."""
        sequence = cls([])
        sequence.steps = [step]
        sequence._settle()
        return sequence

    @property
    def pattern(self) -> str | None:
        """The one pattern that cuts, its matches and what lies between them isolated; None for any other cut."""
        if self.is_gpt2:
            return GPT2_PATTERN
        if len(self.steps) != 2 or not self.byte_level or self.byte_level.use_regex or self.byte_level.prefix:
            return None
        first = self.steps[0]
        plain = isinstance(first, Split) and first.find.kind == "Regex" and first.behavior == "Isolated"
        return first.find.text if plain else None

    def __call__(self, text: str, starts: bool = True) -> list[str]:
        """The pieces of `text`, as the model's vocabulary spells them."""
        return self._run(self.steps, text, starts)

    def before_bytes(self, text: str, starts: bool = True) -> list[str]:
        """The pieces as text, before the last step (ByteLevel) writes their bytes as characters."""
        return self.byte_level.cut(self._run(self.steps[:-1], text, starts))

    def trace(self, text: str, places: list[Span], starts: bool = True) -> list[Traced]:
        """The pieces of `text`, each with the place in the source of each of its characters."""
        pieces = [(text, places)] if text else []
        for step in self.steps:
            pieces, starts = step.trace(pieces, starts)
        return pieces

    @staticmethod
    def _run(steps: list[Callable], text: str, starts: bool) -> list[str]:
        pieces = [text] if text else []
        for step in steps:
            pieces, starts = step(pieces, starts)
        return pieces


STEPS = {
    kind.__name__: kind
    for kind in (
        Split,
        Digits,
        Punctuation,
        WhitespaceSplit,
        Whitespace,
        BertPreTokenizer,
        Metaspace,
        ByteLevel,
        Sequence,
    )
}


def build_pre_tokenizer(layout: Any) -> Sequence:
    """The pre-tokenizer of a tokenizer.json (None: no cut); ValueError naming what is not supported."""
    if layout is None:
        return Sequence([])
    part = build("pre_tokenizer", layout, STEPS)
    return part if isinstance(part, Sequence) else Sequence.of(part)
