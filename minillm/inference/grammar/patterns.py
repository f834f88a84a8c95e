"""Regular expressions as pieces of a grammar: what a JSON schema's `pattern` says about the inside of a string.

    ^[A-Z]{2}-\\d+$        two capital letters, a hyphen, digits

The part of ECMA's syntax that JSON Schema recommends: characters, . , classes, \\d \\w \\s and their opposites, groups,
| * + ? {m} {m,} {m,n} (lazy forms too: the same texts), ^ at the front and $ at the end. As JSON Schema asks, a pattern
without ^ or $ may stand anywhere in the text. Look-around, back references, \\b and the like are refused by name.

Is 한 a \\w? In ECMA it is none, in Python it is one. A text should pass everywhere, so each class is a pair: characters
that are sure to be in it, and those that some dialect has in it, whose others make the opposite class. Paper: Thompson
1968.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from minillm._checks import describe
from minillm.inference.grammar.regular import (
    Piece,
    characters,
    choice,
    compact,
    literal,
    sequence,
    star,
    times,
)  # fmt: skip

Ranges = list[tuple[int, int]]  # code points, both ends count; in order, and none touches another

Pair = tuple[Ranges, Ranges]  # surely in a class, possibly in it

TOP = 0x10FFFF
DIGITS: Ranges = [(48, 57)]
WORD: Ranges = [(48, 57), (65, 90), (95, 95), (97, 122)]
ECMA_SPACE = {
    9,
    10,
    11,
    12,
    13,
    32,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
    0xFEFF,
}
LINE_ENDS: Ranges = [(10, 10), (13, 13), (0x2028, 0x2029)]
SHORT = {
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    12: b"\\f",
    13: b"\\r",
    34: b'\\"',
    92: b"\\\\",
}  # JSON's short escapes
CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}


@lru_cache(maxsize=1)
def classes() -> dict[str, Pair]:
    """What \\d, \\w, \\s and . stand for: (surely, possibly), from ECMA and from Python."""
    texts = [chr(code) for code in range(TOP + 1)]
    space = {code for code, text in enumerate(texts) if text.isspace()}
    return {
        "d": (DIGITS, _ranges(code for code, text in enumerate(texts) if text.isdecimal())),
        "w": (WORD, _ranges(code for code, text in enumerate(texts) if text.isalnum() or text == "_")),
        "s": (_ranges(space & ECMA_SPACE), _ranges(space | ECMA_SPACE)),
        ".": (others(LINE_ENDS), others([(10, 10)])),
    }


def _ranges(codes: Iterable[int]) -> Ranges:
    return joined([(code, code) for code in codes])


def others(ranges: Ranges) -> Ranges:
    """All code points that are in none of the ranges."""
    found, start = [], 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    return [*found, (start, TOP)] if start <= TOP else found


def joined(ranges: Ranges) -> Ranges:
    """The ranges in order, those that touch made one."""
    found: Ranges = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def json_character(ranges: Ranges) -> Piece:
    """One character of the ranges as it stands inside a JSON string: escaped where it must be, in its shortest form."""
    special = sorted({*range(32), 34, 92})
    escaped = [
        literal(SHORT.get(code) or b"\\u%04x" % code)
        for code in special
        if any(low <= code <= high for low, high in ranges)
    ]
    hidden = others(joined([(code, code) for code in special] + others(joined(ranges))))
    return compact(choice(*escaped, characters(hidden)))


ANY = [(0, TOP)]


def pattern(expression: str) -> Piece:
    """The JSON insides of all strings in which the expression is found. ValueError for what we do not read."""
    if not isinstance(expression, str):
        raise ValueError(f"pattern must be a string, got {describe(expression)}")
    parser = _Parser(expression)
    piece = parser.alternatives(top=True)
    if parser.rest():
        parser.refuse("a ) without its (")
    return piece


class _Parser:
    """Reads an expression from left to right; `at` is the next character."""

    def __init__(self, text: str):
        self.text, self.at, self.depth = text, 0, 0

    def rest(self) -> str:
        return self.text[self.at :]

    def refuse(self, why: str) -> None:
        raise ValueError(f"pattern {self.text!r}: {why} at character {self.at}")

    def take(self, text: str) -> bool:
        """Whether this comes next; it is passed then."""
        found = self.text.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def alternatives(self, top: bool = False) -> Piece:
        """one|other|..."""
        pieces = [self.one(top)]
        while self.take("|"):
            pieces.append(self.one(top))
        return pieces[0] if len(pieces) == 1 else choice(*pieces)

    def one(self, top: bool) -> Piece:
        """Items one after the other; at the top, anything may stand before and after what is not anchored."""
        anywhere = star(json_character(ANY))
        front = self.take("^") if top else False
        items, back = [], False
        while self.rest() and self.rest()[0] not in "|)":
            if top and re.match(r"\$(\||$)", self.rest()):
                self.at += 1
                back = True
                break
            items.append(self.item())
        if not top:
            return sequence(*items)
        return sequence(*([] if front else [anywhere]), *items, *([] if back else [anywhere]))

    def item(self) -> Piece:
        """A character, a class or a group, with how often it comes."""
        if self.take("("):
            if self.rest().startswith("?") and not self.take("?:"):
                self.refuse("a group of this kind is not read")
            self.depth += 1
            if self.depth > 50:
                self.refuse("more than 50 groups in each other")
            piece = self.alternatives()
            self.depth -= 1
            if not self.take(")"):
                self.refuse("a ( without its )")
        else:
            sure, _ = self.members()
            if not sure:
                self.refuse("a class without members")
            piece = json_character(sure)
        least, most = self.count()
        return piece if (least, most) == (1, 1) else times(piece, least, most)

    def count(self) -> tuple[int, int | None]:
        """How often: * + ? {m} {m,} {m,n}, or once."""
        signs: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        braces = re.match(r"\{(\d{1,4})(,(\d{0,4}))?\}", self.rest())
        if braces:
            self.at += braces.end()
            least = int(braces[1])
            found = (least, least if braces[2] is None else int(braces[3]) if braces[3] else None)
            if found[1] is not None and found[1] < least:
                self.refuse("a largest number below the smallest")
        elif self.rest()[:1] in signs and self.rest():
            found = signs[self.rest()[0]]
            self.at += 1
        else:
            return (1, 1)
        self.take("?")  # lazy: the same texts
        if self.rest()[:1] in ("*", "+", "?"):
            self.refuse("a second quantifier")
        return found

    def members(self) -> Pair:
        """What may stand at one place."""
        if self.take("["):
            return self.of_class()
        if self.take("."):
            return classes()["."]
        if self.rest()[0] in "^$":
            self.refuse("an anchor inside the pattern is not read")
        if self.rest()[0] in "*+?{":
            self.refuse("a quantifier without anything before it")
        return self.escape() if self.take("\\") else self.plain()

    def plain(self) -> Pair:
        code = ord(self.text[self.at])
        self.at += 1
        return [(code, code)], [(code, code)]

    def of_class(self) -> Pair:
        """[abc], [a-z\\d], [^...]: up to the closing bracket."""
        negative, sure, possible = self.take("^"), [], []
        while not self.take("]"):
            if not self.rest():
                self.refuse("a [ without its ]")
            part = self.escape() if self.take("\\") else self.plain()
            if self.rest().startswith("-") and not self.rest().startswith("-]"):
                self.at += 1
                part = self.up_to(part)
            sure, possible = sure + part[0], possible + part[1]
        sure, possible = joined(sure), joined(possible)
        return (others(possible), others(sure)) if negative else (sure, possible)

    def up_to(self, first: Pair) -> Pair:
        """A range inside a class, its first end read."""
        if not self.rest():
            self.refuse("a [ without its ]")
        last = self.escape() if self.take("\\") else self.plain()
        ((low, same),), ((high, also),) = first[0][:1], last[0][:1]
        if len(first[0]) + len(last[0]) > 2 or low != same or high != also or high < low:
            self.refuse("a range of this kind is not read")
        return [(low, high)], [(low, high)]

    def escape(self) -> Pair:
        """What stands behind a backslash."""
        if not self.rest():
            self.refuse("a backslash at the end")
        for letter in "dws":
            if self.take(letter):
                return classes()[letter]
            if self.take(letter.upper()):
                sure, possible = classes()[letter]
                return others(possible), others(sure)
        code = None
        for start, digits in (("u", 4), ("x", 2)):
            if found := re.match(rf"{start}([0-9a-fA-F]{{{digits}}})", self.rest()):
                self.at += found.end()
                code = int(found[1], 16)
        letter = self.rest()[:1]
        if code is None and letter in CONTROLS:
            self.at += 1
            code = CONTROLS[letter]
        if code is not None:
            return [(code, code)], [(code, code)]
        if letter.isalnum():
            self.refuse(f"the escape \\{letter} is not read")
        return self.plain()
