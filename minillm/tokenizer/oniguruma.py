r"""Oniguruma's regular expressions in Python: the dialect of every pattern in a tokenizer.json.

The tokenizers library cuts text with the Oniguruma engine, we with the module `regex`, and the same pattern can
mean different things to them. `translate` writes a pattern anew so that both find the same matches:

    \w      also the signs ² ³ ¹ ¼ ½ ¾ (outside a class), and no other number that is not decimal
    ^ $     begin and end every line          (?m)  lets . match a line end          \h  a hexadecimal digit
    a{2}+   repeats a{2}                      a{2}?  makes it optional               (?i:s)  also matches ſ

What has no exact translation is refused by its name, never guessed. Unicode tables are `regex`'s own, so characters
that one of the two libraries does not know yet may differ.

Book: 2.2.1 토큰화. Held against: tokenizers' Split on random patterns.
Left out: back-references, calls, \K, \G, \X, absent groups; repetitions in a look-behind, of what can match nothing,
and of . behind an anchor; in (?i): \p{...} with cased letters, classes of classes, and letters such as ß.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"
_MORE_WORD = "²³¹¼½¾"  # outside of classes Oniguruma looks Latin-1 up in a table of its own
_NEWLINE = r"(?>\r\n|[\n\x0b\x0c\r\x85\u2028\u2029])"
_START = r"(?<![\s\S])"
_LINE_START = rf"(?:{_START}|(?<=\n)(?=[\s\S]))"
_LINE_END = r"(?=\n|(?![\s\S]))"
_RUN_BEFORE_LINE_END = re.compile(r"(\\[pP]\{\w+\}|\[(?:[^][\\]|\\.)+\])\+" + re.escape(_LINE_END))
_HARMLESS = (_START, _LINE_START)  # in front of a repeated dot
_ANY_FIRST = re.compile(r"(?:\((?:\?[:>])?)*(?:\[\^\\n\]|\[\\s\\S\])")
_DEEPEST = 100  # nested groups or classes

# What a shorthand or property is inside a class; "^" in front: everything but this.
_SHORTHANDS = {"w": _WORD, "d": r"\p{Nd}", "s": r"\p{White_Space}", "h": "0-9a-fA-F"}
_CATEGORIES = """
    L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co
""".split()  # noqa: SIM905
_LONG_NAMES = {
    "Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt",
    "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Nonspacing_Mark": "Mn", "Number": "N",
    "Decimal_Number": "Nd", "Letter_Number": "Nl", "Other_Number": "No", "Punctuation": "P", "Symbol": "S",
    "Math_Symbol": "Sm", "Currency_Symbol": "Sc", "Separator": "Z", "Space_Separator": "Zs", "Control": "Cc",
}  # fmt: skip
_SCRIPTS = """
    Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana
    Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar Sinhala Tamil Telugu Thai Tibetan
""".split()  # noqa: SIM905
_POSIX = {
    "alpha": r"\p{Alphabetic}", "alnum": r"\p{Alphabetic}\p{Nd}", "digit": r"\p{Nd}", "upper": r"\p{Uppercase}",
    "lower": r"\p{Lowercase}", "space": r"\p{White_Space}", "blank": r"\p{Zs}\t", "cntrl": r"\p{Cc}",
    "xdigit": "0-9a-fA-F", "word": _WORD, "ascii": r"\x00-\x7f", "punct": r"\p{P}\p{S}",
    "graph": r"^\p{White_Space}\p{Cc}\p{Cn}\p{Cs}", "print": r"^\p{Cc}\p{Cn}\p{Cs}\u2028\u2029",
}  # fmt: skip


def _key(name: str) -> str:
    return name.replace("_", "").replace(" ", "").replace("-", "").lower()


_PROPERTIES = {_key(name): rf"\p{{{name}}}" for name in _CATEGORIES}
_PROPERTIES |= {_key(name): rf"\p{{{short}}}" for name, short in _LONG_NAMES.items()}
_PROPERTIES |= {_key(name): rf"\p{{Script={name}}}" for name in _SCRIPTS}
_PROPERTIES |= {**_POSIX, "punct": r"\p{P}"}  # \p{Punct} is a category, [[:punct:]] has the symbols too
_PROPERTIES |= {"alphabetic": r"\p{Alphabetic}", "uppercase": r"\p{Uppercase}", "lowercase": r"\p{Lowercase}"}
_PROPERTIES |= {"whitespace": r"\p{White_Space}", "emoji": r"\p{Emoji}"}
# Classes that case folding leaves as they are.
_CASELESS = {
    r"\p{N}",
    r"\p{Nd}",
    r"\p{No}",
    r"\p{White_Space}",
    _WORD,
    "0-9a-fA-F",
    r"\n",
    r"\s\S",
    _NEWLINE,
} | {
    rf"\p{{{name}}}" for name in ("P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Z", "Zs", "Zl", "Zp", "Cc")
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}


@lru_cache(maxsize=256)
def translate(pattern: str) -> str:
    """The pattern in the dialect of `regex`, to be compiled with its flag V1 and no other.

    Raises:
        ValueError: the pattern is no regular expression, or holds what cannot be translated exactly.
    """
    reader = _Reader(pattern)
    result = reader.alternatives(ignore_case=False, dot_all=False, depth=0)[0]
    if reader.at < len(pattern):
        raise reader.refusal("an unmatched )")
    if run := _RUN_BEFORE_LINE_END.fullmatch(result):
        # `\s+$`: inside a run of blanks a match ends where one from the run's first blank ends. Not to try there makes
        # the time for a long run linear, not quadratic.
        return f"(?<!{run[1]}){result}"
    return result


@lru_cache(maxsize=1)
def _case_folds() -> tuple[dict[str, str], frozenset[str]]:
    """(all letters that fold to one letter, joined, by that letter; the strings that one letter folds to)."""
    same: dict[str, str] = {}
    several = set()
    for letter in map(chr, range(0x1F000)):  # no cased letter lies above
        folded = letter.casefold()
        if len(folded) > 1:
            several.add(folded)
        elif folded != letter or letter in same or letter.upper() != letter:
            same[folded] = same.get(folded, "") + letter
    return same, frozenset(several)


def _literal(character: str) -> str:
    """A character that means itself in a pattern and in a class."""
    if character.isascii() and character.isalnum():
        return character
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


class _Reader:
    """Reads a pattern once, from left to right, and writes its translation."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.behind = False  # inside of a look-behind

    def refusal(self, what: str) -> ValueError:
        where = min(self.at, len(self.pattern))
        return ValueError(
            f"pattern {self.pattern!r} is not a regular expression we can translate exactly: "
            f"{what} at character {where}"
        )

    def peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def take(self, text: str) -> bool:
        """Step over `text` if it stands here."""
        if self.peek(text):
            self.at += len(text)
            return True
        return False

    def next(self, what: str) -> str:
        if self.at >= len(self.pattern):
            raise self.refusal(f"the pattern ends inside {what}")
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self, ignore_case: bool, dot_all: bool, depth: int) -> tuple[str, bool]:
        """Everything up to the ) of this group: (translation, whether it can match nothing)."""
        if depth > _DEEPEST:
            raise self.refusal(f"more than {_DEEPEST} nested groups")
        branches, empty = [""], [True]
        letters = ""  # of the literals that stand side by side here, folded
        anchored = False  # whether this branch so far is nothing but anchors
        while self.at < len(self.pattern) and not self.peek(")"):
            if self.take("|"):
                branches.append("")
                empty.append(True)
                letters, anchored = "", False
                continue
            if self.take("(?#"):
                while self.next("a comment") != ")":
                    pass
                continue
            options = self.isolated_options(ignore_case, dot_all)
            if options is not None:  # (?i) holds to the end of the group, later branches included
                inner, can_be_empty = self.alternatives(*options, depth + 1)
                self.check_any(anchored, inner)
                branches[-1] += f"(?:{inner})"
                empty[-1] &= can_be_empty
                break
            item, can_be_empty, letter = self.item(ignore_case, dot_all, depth)
            item, can_be_empty, repeated = self.repeat(item, can_be_empty)
            letters = letters + letter if letter and not repeated else letter or ""
            if ignore_case and any(several in letters for several in _case_folds()[1]):
                raise self.refusal("a string that one letter also folds to (ß and ss), in (?i)")
            if repeated:
                letters = ""
            self.check_any(anchored, item)
            anchored = (
                (anchored or not branches[-1]) and can_be_empty and not repeated and item not in _HARMLESS
            )
            branches[-1] += item
            empty[-1] &= can_be_empty
        return "|".join(branches), any(empty)

    def check_any(self, anchored: bool, item: str) -> None:
        """Refuse `.*` behind an anchor at a branch's front: Oniguruma then only searches where lines (texts) begin."""
        if anchored and _ANY_FIRST.match(item) and not set(item).isdisjoint("*+{"):
            raise self.refusal("a repeated . behind an anchor")

    def isolated_options(self, ignore_case: bool, dot_all: bool) -> tuple[bool, bool] | None:
        """(ignore case, dot matches all) after `(?i)`, `(?m-i)`, ...; None if no such thing stands here."""
        end = self.pattern.find(")", self.at)
        if not self.peek("(?") or end < 0:
            return None
        options = self.options(self.pattern[self.at + 2 : end], ignore_case, dot_all)
        if options is not None:
            self.at = end + 1
        return options

    @staticmethod
    def options(text: str, ignore_case: bool, dot_all: bool) -> tuple[bool, bool] | None:
        on = True
        if not text or set(text) - set("im-") or text.count("-") > 1 or text == "-":
            return None
        for letter in text:
            if letter == "-":
                on = False
            elif letter == "i":
                ignore_case = on
            else:
                dot_all = on
        return ignore_case, dot_all

    def item(self, ignore_case: bool, dot_all: bool, depth: int) -> tuple[str, bool, str]:
        """One thing that may be repeated: (translation, can match nothing, its letter if it is a literal)."""
        if self.peek("("):
            return *self.group(ignore_case, dot_all, depth), ""
        character = self.next("a literal")
        if character == "[":
            return self.character_class(ignore_case, 0), False, ""
        if character == ".":
            return (r"[\s\S]" if dot_all else r"[^\n]"), False, ""
        if character == "^":
            return self.anchor(_LINE_START)
        if character == "$":
            return self.anchor(_LINE_END)
        if character in "*+?":
            raise self.refusal(f"{character} with nothing to repeat")
        if character == "\\":
            known = self.escape()
            if isinstance(known, str):
                character = known
            else:
                kind, content = known
                if kind == "anchor":
                    return self.anchor(content)
                self.check_fold(content, ignore_case)
                return content, False, ""
        if not ignore_case:
            return _literal(character), False, ""
        return self.folded(character), False, character.casefold()

    def anchor(self, text: str) -> tuple[str, bool, str]:
        if self.pattern[self.at : self.at + 1] in tuple("*+?{"):
            raise self.refusal("an anchor that is repeated")
        return text, True, ""

    def group(self, ignore_case: bool, dot_all: bool, depth: int) -> tuple[str, bool]:
        opening, zero_width = "(?:", False
        self.take("(")
        if self.peek("?"):
            for name in ("?:", "?=", "?!", "?<=", "?<!", "?>"):
                if self.take(name):
                    opening, zero_width = f"({name}", name in ("?=", "?!", "?<=", "?<!")
                    break
            else:
                colon = self.pattern.find(":", self.at)
                options = self.options(self.pattern[self.at + 1 : max(colon, 0)], ignore_case, dot_all)
                if options is not None:
                    (ignore_case, dot_all), self.at = options, colon + 1
                elif self.take("?<") and (end := self.pattern.find(">", self.at)) > self.at:
                    if not self.pattern[self.at : end].isidentifier():
                        raise self.refusal("a group name")
                    self.at = end + 1
                else:
                    raise self.refusal(f"a group that opens with {self.pattern[self.at - 1 : self.at + 3]!r}")
        outside, self.behind = self.behind, self.behind or opening in ("(?<=", "(?<!")
        inner, can_be_empty = self.alternatives(ignore_case, dot_all, depth + 1)
        self.behind = outside
        if not self.take(")"):
            raise self.refusal("a missing )")
        if zero_width:
            self.anchor("")
        return f"{opening}{inner})", can_be_empty or zero_width

    def repeat(self, item: str, can_be_empty: bool) -> tuple[str, bool, bool]:
        """`item` with the quantifiers that follow it: (translation, can match nothing, is repeated)."""
        repeated = False
        while self.at < len(self.pattern):
            start = self.at
            interval = False
            if self.take("*"):
                low, high = 0, None
            elif self.take("+"):
                low, high = 1, None
            elif self.take("?"):
                low, high = 0, 1
            elif self.peek("{") and (bounds := self.interval()) is not None:
                low, high = bounds
                interval = True
            else:
                break
            if self.behind:
                self.at = start
                raise self.refusal("a repetition in a look-behind")
            if can_be_empty and high != 1:
                self.at = start
                raise self.refusal("the repetition of what can match nothing")
            if repeated:
                item = f"(?:{item})"
            amount = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((low, high)) or (
                f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}"
            )
            if interval and low == high and self.take("?"):  # no lazy form: {n}? means {n} or nothing
                item, low = f"(?:{item}{amount})?", 0
            elif self.take("?"):
                item += f"{amount}?"
            elif not interval and self.take("+"):  # possessive; {n}+ repeats and is read in the next round
                item += f"{amount}+"
            else:
                item += amount
            can_be_empty = can_be_empty or low == 0
            repeated = True
        return item, can_be_empty, repeated

    def interval(self) -> tuple[int, int | None] | None:
        """(low, high) of {n}, {n,}, {,m} or {n,m}; None for a brace that is a plain character."""
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : max(end, 0)].partition(",")
        if end < 0 or not (low or high) or not all(not part or part.isdecimal() for part in (low, high)):
            return None
        if not (low + high).isascii() or len(low) > 5 or len(high) > 5:
            raise self.refusal("a number of repetitions")
        self.at = end + 1
        lowest = int(low or 0)
        highest = lowest if not comma else int(high) if high else None
        if highest is not None and highest < max(lowest, 1):
            raise self.refusal("a number of repetitions")
        return lowest, highest

    def escape(self, in_class: bool = False) -> str | tuple[str, str]:
        """What follows a backslash: a character, ("class", content in brackets) or ("anchor", lookarounds)."""
        letter = self.next("an escape")
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "b" and in_class:
            return "\b"
        if letter in "xu0":
            return self.code_point(letter)
        if letter.lower() in _SHORTHANDS and letter.isascii():
            return "class", self.set_of(_SHORTHANDS[letter.lower()], letter.isupper(), in_class)
        if letter in "pP":
            return "class", self.property(letter == "P", in_class)
        if letter in "NOR" and not in_class and not (letter == "R" and self.behind):
            return "class", {"N": r"[^\n]", "O": r"[\s\S]", "R": _NEWLINE}[letter]
        if letter in "bBAzZ" and not in_class:
            word = self.set_of(_WORD, False, False)
            return "anchor", {
                "b": f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))",
                "B": f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))",
                "A": _START,
                "z": r"(?![\s\S])",
                "Z": r"(?=\n?(?![\s\S]))",
            }[letter]
        if letter.isascii() and (letter.isalnum()):
            self.at -= 2
            raise self.refusal(f"\\{letter}")
        return letter

    @staticmethod
    def set_of(content: str, negated: bool, in_class: bool) -> str:
        """A set as an item; outside of classes a word character may also be one of ²³¹¼½¾."""
        if content == _WORD and not in_class:
            content += _MORE_WORD
        if content.startswith("^"):
            content, negated = content[1:], not negated
        if content.count("\\p") == 1 and content.endswith("}"):
            return content.replace("\\p", "\\P") if negated else content
        return content if in_class and not negated else f"[{'^' if negated else ''}{content}]"

    def property(self, negated: bool, in_class: bool) -> str:
        """`{L}`, `{^L}`, `{Han}` behind \\p or \\P."""
        end = self.pattern.find("}", self.at)
        if not self.take("{") or end < 0:
            raise self.refusal("\\p without {name}")
        name = self.pattern[self.at : end]
        if name.startswith("^"):
            name, negated = name[1:], not negated
        content = _PROPERTIES.get(_key(name))
        if content is None:
            raise self.refusal(f"the property {name!r}")
        self.at = end + 1
        return self.set_of(content, negated, in_class)

    def code_point(self, letter: str) -> str:
        """The character of \\x41, \\x{AC00}, \\uAC00 or \\012."""
        rest = self.pattern[self.at :]
        if letter == "x" and rest.startswith("{"):
            digits = rest[1 : max(rest.find("}"), 0)]
            length = len(digits) + 2
        else:
            digits = rest[: {"x": 2, "u": 4, "0": 2}[letter]]
            length = len(digits)
        allowed = "01234567" if letter == "0" else "0123456789abcdefABCDEF"
        if letter == "0":
            digits = digits[: next((i for i, digit in enumerate(digits) if digit not in allowed), 2)]
            length, digits = len(digits), digits or "0"
        whole = letter != "u" or len(digits) == 4
        if not digits or set(digits) - set(allowed) or len(digits) > 8 or not whole:
            raise self.refusal(f"\\{letter} without its digits")
        point = int(digits, 8 if letter == "0" else 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000 or (letter == "x" and length == 2 and point > 0x7F):
            raise self.refusal(f"\\{letter}{digits}, which is no character")
        self.at += length
        return chr(point)

    def folded(self, character: str) -> str:
        """A literal in (?i): every letter of the same case fold."""
        fold = character.casefold()
        if len(fold) > 1:
            raise self.refusal(f"the letter {character!r} in (?i)")
        same = _case_folds()[0].get(fold, character)
        return _literal(same) if len(same) == 1 else f"[{''.join(map(_literal, same))}]"

    def character_class(self, ignore_case: bool, depth: int) -> str:
        """A class, its [ read already: ranges, shorthands, [:names:], classes inside it, and && between them."""
        if depth > _DEEPEST:
            raise self.refusal(f"more than {_DEEPEST} nested classes")
        negated = self.take("^")
        parts, content = [], ""
        if self.peek("]"):
            raise self.refusal("an empty class")
        while not self.take("]"):
            if ignore_case and (self.peek("&&") or (self.peek("[") and not self.peek("[:"))):
                raise self.refusal("a class of classes in (?i)")
            if self.take("&&"):
                if not content or self.peek("]") or self.peek("&"):
                    raise self.refusal("&& with an empty side")
                parts.append(content)
                content = ""
            elif self.take("[:"):
                content += self.posix(ignore_case)
            elif self.take("["):
                content += self.character_class(ignore_case, depth + 1)
            else:
                content += self.range(ignore_case, first=not content)
        parts.append(content)
        inner = parts[0] if len(parts) == 1 else "&&".join(f"[{part}]" for part in parts)
        return f"[{'^' if negated else ''}{inner}]"

    def posix(self, ignore_case: bool) -> str:
        end = self.pattern.find(":]", self.at)
        negated = self.take("^")
        name = self.pattern[self.at : max(end, 0)]
        if name not in _POSIX:
            raise self.refusal(f"the class [:{name[:20]}:]")
        self.at = end + 2
        self.check_fold(_POSIX[name], ignore_case)
        return self.set_of(_POSIX[name], negated, in_class=True)

    def check_fold(self, content: str, ignore_case: bool) -> None:
        bare = content.strip("[]^").removesuffix(_MORE_WORD).replace("\\P", "\\p")
        if ignore_case and bare not in _CASELESS:
            raise self.refusal("a class of cased letters in (?i)")

    def range(self, ignore_case: bool, first: bool) -> str:
        """One character, shorthand or a-z of a class."""
        if self.peek("-") and not first and not self.peek("-]"):
            raise self.refusal("a - that is neither first nor last")
        low = self.class_item()
        if not isinstance(low, str):
            self.check_fold(low[1], ignore_case)
            if self.peek("-") and not self.peek("-]"):
                raise self.refusal("a - behind a set")
            return low[1]
        if not self.peek("-") or self.peek("-]") or self.peek("-&&"):
            return _literal(low) if not ignore_case else self.folded(low).strip("[]")
        self.take("-")
        high = self.class_item()
        if not isinstance(high, str) or high < low:
            raise self.refusal("a range that ends before it begins")
        if not ignore_case:
            return f"{_literal(low)}-{_literal(high)}"
        if ord(high) - ord(low) > 127:
            raise self.refusal("a long range in (?i)")
        return "".join(self.folded(chr(point)).strip("[]") for point in range(ord(low), ord(high) + 1))

    def class_item(self) -> str | tuple[str, str]:
        character = self.next("a class")
        if character == "[" or (character == "&" and self.peek("&")):
            raise self.refusal(f"{character!r} as the end of a range")
        return self.escape(in_class=True) if character == "\\" else character
