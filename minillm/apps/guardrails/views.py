"""A text as a reader sees it: one spelling for what looks alike, and the way back to the characters that were written.

    plain_view("ｉgn\u200bоre")    -> "ignore"       full width, a zero-width space and a Cyrillic о are gone
    joined_view("0 1 0 - 1 2")    -> "010-12"       letters that stand apart are put together
    letters_view("Ig-no re!")     -> "ignore"       letters and digits alone, lower case
    view.back(start, end)         -> (start, end) in the text as it was written

Rails match on a view and report spans of the original. A character of a view may come from several that were written
(ㅁ + ㅜ are 무), and several may come from one (½ is 1⁄2). So each carries the start and the end of its origin.

Unicode normal forms: UAX #15 (NFKC). Look-alikes: a table of the Cyrillic and Greek letters that Latin fonts share, far
smaller than Unicode's own list (UTS #39). Left out: leetspeak (1gn0re), mirrored text, pictures of text.
Book: 9.3.1 데이터 검증 방식.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

LONGEST_CLUSTER = 31  # marks on one letter; more are another cluster (UAX #15's stream-safe form)
LOOKS_LIKE = dict(
    zip(
        "аеорсхуіѕјһԁԛԝӏвкмнтАВЕКМНОРСТУХІЅЈɡɑıαορνικτυηεχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧ\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
        "aeopcxyisjhdqwlbkmhtABEKMHOPCTYXISJgaiaopviktunexyABEZHIKMNOPTYX-------",
        strict=True,
    )
)
FILLERS = set(
    "\u115f\u1160\u3164\uffa0\u034f\u180b\u180c\u180d\u2800"
)  # seen as nothing, although letters or marks
TAGS = range(0xE0020, 0xE007F)  # invisible copies of ASCII: a model may read them, a reader does not see them


class View(NamedTuple):
    """text[i] comes from the characters starts[i] ... ends[i] of the original."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def back(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that text[start:end] comes from; start < end."""
        return self.starts[start], self.ends[end - 1]

    def keep(self, kept: Sequence[int], text: str | None = None) -> View:
        """The characters of these numbers alone (or others in their places)."""
        text = "".join([self.text[i] for i in kept]) if text is None else text
        return View(text, [self.starts[i] for i in kept], [self.ends[i] for i in kept])


def plain_view(text: str) -> View:
    """NFKC without marks, look-alikes as Latin letters, digits as ASCII; what cannot be seen is left out."""
    if text.isascii() and text.isprintable():
        return View(text, range(len(text)), range(1, len(text) + 1))
    seen, starts, ends = [], [], []
    for start, end in clusters(text):
        piece = text[start:end]
        if piece == "ㅡ" and seen and seen[-1].isdigit():
            shown = "-"  # 010ㅡ1234ㅡ5678: the vowel that looks like a dash
        else:
            shown = plain_cluster(piece)
        seen.extend(shown)
        starts.extend([start] * len(shown))
        ends.extend([end] * len(shown))
    return View("".join(seen), starts, ends)


def clusters(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the pieces that are normalised by themselves: a letter with its marks, the jamo of a syllable."""
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or i - start >= LONGEST_CLUSTER or not _joins(text[i - 1], text[i]):
            yield start, i
            start = i


def _joins(before: str, letter: str) -> bool:
    """Whether the letter is written into the one before it: a mark, or the next jamo of a Hangul syllable."""
    if letter < "\u0300":
        return False
    if "\u1160" <= letter <= "\u11a7" or "\u314f" <= letter <= "\u3163":  # a vowel
        return "\u1100" <= before <= "\u1112" or "\u3131" <= before <= "\u314e"
    if "\u11a8" <= letter <= "\u11ff":  # a final consonant
        return "\u1160" <= before <= "\u11a7" or "\uac00" <= before <= "\ud7a3"
    return unicodedata.combining(letter) != 0


@lru_cache(maxsize=65_536)
def plain_cluster(cluster: str) -> str:
    """What one cluster looks like: "é" -> "e", "①" -> "1", "ㅁㅜ" -> "무", a zero-width space -> ""."""
    apart = unicodedata.normalize("NFKD", cluster)
    whole = unicodedata.normalize("NFKC", "".join(c for c in apart if not "\u0300" <= c <= "\u036f"))
    return "".join(_plain_letter(c) for c in whole)


def _plain_letter(letter: str) -> str:
    if letter in LOOKS_LIKE:
        return LOOKS_LIKE[letter]
    if ord(letter) in TAGS:
        return chr(ord(letter) - 0xE0000)
    kind = unicodedata.category(letter)
    if kind == "Nd":
        return str(unicodedata.decimal(letter))
    if kind == "Zs":
        return " "
    hidden = (
        kind == "Cf"
        or letter in FILLERS
        or "\ufe00" <= letter <= "\ufe0f"
        or "\U000e0100" <= letter <= "\U000e01ef"
    )
    return "" if hidden or (kind == "Cc" and letter not in "\t\n\r\v\f") else letter


# five letters or digits that stand alone, or more, with blanks between; letters with one mark between
APART = re.compile(r"(?<![\d.\-])\d(?: {1,3}[\d.\-](?![\d.\-])){4,}|(?<!\S)\S(?: {1,3}\S(?!\S)){4,}")
DOTTED = re.compile(r"(?<![^\W_])[^\W\d_](?:[-._*|/~][^\W\d_](?![^\W_])){4,}")


def joined_view(text: str) -> View:
    """The plain view, with letters that stand apart put together; of two or three blanks between them one stays."""
    view = plain_view(text)
    gone: set[int] = set()
    for found in APART.finditer(view.text):
        for blanks in re.finditer(" +", found[0]):
            first = found.start() + blanks.start()
            gone.update(range(first + (len(blanks[0]) > 1), found.start() + blanks.end()))
    for found in DOTTED.finditer(view.text):
        gone.update(range(found.start() + 1, found.end(), 2))
    return view if not gone else view.keep([i for i in range(len(view.text)) if i not in gone])


def letters_view(text: str) -> View:
    """Letters and digits alone, in lower case: spacing and punctuation do not count, as 띄어쓰기 varies anyway."""
    view = plain_view(text)
    kept, letters = [], []
    for i, letter in enumerate(view.text):
        if letter.isalnum():
            for one in letter.casefold():
                kept.append(i)
                letters.append(one)
    return view.keep(kept, "".join(letters))


NUMERALS = "공영빵일이삼사오육륙칠팔구"  # a number may be spoken: 공일공. 일이삼사.
SENTENCE_END = re.compile(r"[.!?…。！？]{1,40}[\"')\]”’]{0,4}[ \t\r\n\u00a0\u3000]{1,40}|\n[ \t\r]{0,40}\n")


def sentence_ends(text: str, start: int = 0) -> Iterator[int]:
    """Where sentences end: after a mark between a letter and a blank, and after an empty line.

    After a digit (or what stands for one, or for a dash) nothing ends: in "010. 1234. 5678" the number goes on.
    """
    for found in SENTENCE_END.finditer(text, start):
        if found[0][0] == "\n" or _is_word(text[max(0, found.start() - 3) : found.start()]):
            yield found.end()


def _is_word(before: str) -> bool:
    """Whether a letter is last that is no numeral, also when the numeral is written in jamo (ㅅㅏ)."""
    if before.endswith("ㅡ") or not plain_cluster(before[-1:]).isalpha():
        return False
    return plain_view(before).text[-1:] not in set(NUMERALS)


def without_surrogates(text: str) -> str:
    """The text as a tokenizer can read it: half characters (lone surrogates) become U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
