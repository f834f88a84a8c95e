"""Snippets: of a long passage, the part that matched, with the matching words marked.

A stretch of about 200 characters is chosen that holds the most of the query, each of its words counted once by its
weight (idf). Matching is what keyword search counts, so a word is marked whole. Korean glues particles (조사) and
endings to the end of a word, and its stem stands first: marked is the longest beginning of a query word, of two
syllables at least, that stands in the passage. "어텐션이 뭐예요" marks 어텐션 in "멀티헤드 어텐션은".

Book: 9.1 검색 증강 생성(RAG). Peer: the highlighter of Lucene. Left out: summaries in words of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from minillm._checks import check_int, check_text
from minillm.search.words import IS_CJK, RUN, WORD, content_words, find_operators

BOLD, PLAIN = "\033[1m", "\033[0m"


@dataclass(frozen=True)
class Snippet:
    """`passage[start:end]`, and the matches inside as (start, end), also places in the passage."""

    passage: str
    start: int
    end: int
    matches: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        """The stretch as it stands in the passage."""
        return self.passage[self.start : self.end]

    def line(self, before: str = "", after: str = "") -> str:
        """The stretch as one line, "..." where it was cut, each match between `before` and `after`."""
        parts, at = [], self.start
        for start, end in self.matches:
            parts += [self.passage[at:start], before, self.passage[start:end], after]
            at = end
        inside = re.sub(r"\s+", " ", "".join([*parts, self.passage[at : self.end]])).strip()
        head = "... " if self.passage[: self.start].strip() else ""
        return head + inside + (" ..." if self.passage[self.end :].strip() else "")


def find_matches(passage: str, query: str) -> list[tuple[int, int, str]]:
    """(start, end, word) of every stretch of `passage` that a content word of `query` matches, in order; word is the
    word of the query as it is compared (lower case, NFKC)."""
    words = set(content_words(query))
    stems = [
        run
        for word in WORD.findall(compared(query))
        for run in RUN.findall(word)
        if IS_CJK.match(run) and len(run) > 1
    ]
    found = []
    for match in WORD.finditer(passage):
        at = match.start()
        for run in RUN.findall(match[0]):
            even = compared(run)
            if even in words:
                found.append((at, at + len(run), even))
            elif IS_CJK.match(even) and (places := stem_places(even, stems)):
                if len(even) != len(run):  # decomposed: its places are not those of the passage
                    places = [(0, len(run))]
                found += [(at + start, at + end, even[start:end]) for start, end in places]
            at += len(run)
    found += [operator for operator in find_operators(passage) if operator[2] in words]
    return sorted(found)


def stem_places(run: str, stems: list[str]) -> list[tuple[int, int]]:
    """Where the longest beginning of one of `stems`, at least two letters, stands in `run`: [(start, end)] or []."""
    longest = max((len(stem) for stem in stems), default=0)
    for length in range(min(longest, len(run)), 1, -1):
        for stem in stems:
            if len(stem) >= length and (start := run.find(stem[:length])) >= 0:
                return [(start, start + length)]
    return []


def compared(text: str) -> str:
    """Text as words are compared: NFKC, lower case."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()


def find_snippet(
    passage: str, query: str, width: int = 200, weight: Callable[[str], float] | None = None
) -> Snippet:
    """The stretch of `passage`, at most `width` characters and cut between words, that says most of the query.

    weight: what a matched word counts, for example its idf (default 1 each); of equal stretches the first. Without
    any match the passage's beginning. Raises ValueError for texts that are no str, or a width below 20.
    """
    passage, query = check_text("passage", passage), check_text("query", query)
    width = check_int("width", width, 20)
    matches = find_matches(passage, query)
    start, end = 0, 0
    best = 0.0
    for number, (first, _, _) in enumerate(matches):
        inside = [match for match in matches[number:] if match[1] <= first + width]
        value = sum((weight or (lambda _: 1.0))(word) for word in {word for _, _, word in inside})
        if value > best and inside:
            best, start, end = value, first, inside[-1][1]
    start, end = widen(passage, start, end, width)
    return Snippet(passage, start, end, tuple((s, e) for s, e, _ in matches if start <= s and e <= end))


def widen(passage: str, start: int, end: int, width: int) -> tuple[int, int]:
    """The stretch grown to `width` on both sides, where the passage reaches, then cut back to white space."""
    spare = max(0, width - (end - start))
    left = max(0, start - spare // 2)
    right = min(len(passage), left + width)
    left = max(0, right - width)
    if left and not passage[left - 1].isspace():
        left = next((at + 1 for at in range(left, start) if passage[at].isspace()), start)
    if right < len(passage) and not passage[right].isspace():
        right = next((at for at in range(right, end, -1) if passage[at - 1].isspace()), max(end, 1))
    return left, right
