"""Cutting documents into passages (청킹, chunking): the unit that a search engine ranks and an answer quotes.

A whole document is too long to quote and too mixed to match one question; a single sentence has lost its
context. So a document is cut at its headings, then paragraphs are packed into passages of at most `max_words`
words. What belongs together stays together: a code block with the sentence that introduces it, a definition
with its first lines.

Book: 9.1 검색 증강 생성(RAG), 10.3 실습: 의미 검색 구현하기.
Headings are read in two everyday forms: Markdown (`# Title`, fenced code) and underlined (`Title` over `====`).
Left out: HTML, PDF, cutting inside tables, overlapping windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from minillm._checks import check_int, check_text
from minillm.data.documents import Document, Passage, check_documents, plain_words


@dataclass(frozen=True)
class Section:
    """What stands under one heading, up to the next of any level; level 0 is text before the first heading."""

    title: str
    level: int
    text: str


_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_MARKDOWN_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r"^([*=\-~^\"'#+_.:`])\1{2,}$")


def split_sections(text: str) -> list[Section]:
    """Cut a text at its headings, Markdown or underlined; headings inside fenced code do not count.

    The level of an underlined heading is the order in which its underline character first appeared: 1, 2, ...
    """
    lines = check_text("text", text).splitlines()
    sections: list[Section] = []
    title, level, body = "", 0, []
    underlines: list[str] = []
    fence = ""
    skip = False

    def close() -> None:
        if title or any(line.strip() for line in body):
            sections.append(Section(title, level, "\n".join(body).strip("\n")))

    for line, following in zip(lines, [*lines[1:], ""]):
        if skip:  # the underline of the heading just read
            skip = False
            continue
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        if fence or mark:
            body.append(line)
        elif heading := _MARKDOWN_HEADING.match(line):
            close()
            title, level, body = heading[2], len(heading[1]), []
        elif _is_underlined(line, following):
            close()
            if following[0] not in underlines:
                underlines.append(following[0])
            title, level, body, skip = line.strip(), underlines.index(following[0]) + 1, [], True
        else:
            body.append(line)
    close()
    return sections


def _is_underlined(line: str, following: str) -> bool:
    # A heading starts at the margin, is a line of words, and its underline is about as long as it is wide
    # (a wide Hangul syllable takes two columns, so the underline may be up to twice as long).
    words = line.strip()
    if not words or line[0].isspace() or _UNDERLINE.match(words) or not _UNDERLINE.match(following):
        return False
    return len(words) - 2 <= len(following) <= 2 * len(words) + 2


def split_passages(
    documents: Iterable[Document], max_words: int = 120, deduplicate: bool = True
) -> list[Passage]:
    """Cut documents into passages of at most `max_words` words each, never across a heading.

    A paragraph that is longer by itself is cut at sentence ends; a code block, fenced or indented, is never
    cut, so a passage can be longer than `max_words` where a program is. Passages come in the order of the
    documents, numbered from 0 within each: "with#0", "with#1", ... With `deduplicate`, of passages equal up
    to white space and letter case one stays: the copy in the shortest document, which is the most specific
    place to quote.

    Raises ValueError for max_words below 8, for items that are not Documents, and for repeated document ids.
    """
    max_words = check_int("max_words", max_words, 8)
    checked = check_documents(documents)
    passages: list[Passage] = []
    for document in checked:
        number = 0
        for section in split_sections(document.text):
            for text in _pack(_blocks(section.text), max_words):
                title = section.title or document.title
                passages.append(Passage(f"{document.id}#{number}", document.id, title, text))
                number += 1
    if not deduplicate:
        return passages
    length = {document.id: len(document.text) for document in checked}
    best: dict[str, Passage] = {}
    for passage in passages:
        key = plain_words(passage.text)
        if key not in best or length[passage.document_id] < length[best[key].document_id]:
            best[key] = passage
    kept = {passage.id for passage in best.values()}
    return [passage for passage in passages if passage.id in kept]


def count_words(text: str) -> int:
    """Words between white space; in a run without spaces (Chinese, a hash) every 16 characters count as one."""
    return sum(1 + (len(word) - 1) // 16 for word in text.split())


@dataclass(frozen=True)
class _Block:
    """A paragraph, or a paragraph with the code it introduces; `code` blocks are never cut."""

    text: str
    code: bool = False


def _indent(paragraph: str) -> int:
    return len(paragraph) - len(paragraph.lstrip(" \t"))


def _blocks(text: str) -> Iterator[_Block]:
    """Paragraphs, each with what belongs to it: the code that "...:" introduces, the text of a definition."""
    paragraphs = list(_paragraphs(text))
    start = 0
    while start < len(paragraphs):
        first, end = paragraphs[start], start + 1
        code = _is_fenced(first)
        if first.rstrip().endswith(":"):
            end = _end_of_code(paragraphs, start)
            code = code or end > start + 1
        elif _is_signature(first) and end < len(paragraphs) and _indent(paragraphs[end]) > _indent(first):
            end += 1  # `object.__repr__(self)` must not stay behind without its description
        yield _Block("\n\n".join(paragraphs[start:end]), code)
        start = end


def _end_of_code(paragraphs: Sequence[str], start: int) -> int:
    """Where the code that paragraph `start` introduces ends: one fenced block, or all that is indented deeper."""
    end = start + 1
    if end < len(paragraphs) and _is_fenced(paragraphs[end]):
        return end + 1
    while end < len(paragraphs) and _indent(paragraphs[end]) > _indent(paragraphs[start]):
        end += 1
    return end


def _is_fenced(paragraph: str) -> bool:
    return _FENCE.match(paragraph) is not None


def _is_signature(paragraph: str) -> bool:
    return len(paragraph.splitlines()) <= 3 and paragraph.rstrip()[-1:] not in {".", "!", "?"}


def _paragraphs(text: str) -> Iterator[str]:
    """Pieces between blank lines; a fenced code block is one piece with its blank lines inside."""
    piece: list[str] = []
    fence = ""
    for line in text.splitlines():
        if mark := _FENCE.match(line):
            if not fence and piece:
                yield "\n".join(piece)
                piece = []
            closes = fence and mark[1].startswith(fence)
            fence = "" if closes else fence or mark[1]
            piece.append(line.rstrip())
            if closes:
                yield "\n".join(piece)
                piece = []
        elif line.strip() or fence:
            piece.append(line.rstrip())
        elif piece:
            yield "\n".join(piece)
            piece = []
    if piece:
        yield "\n".join(piece)


def _pack(blocks: Iterable[_Block], max_words: int) -> list[str]:
    """Fill as few passages as possible with whole blocks, of about equal size.

    Filling each to the brim would leave short tails ("See also: ..."), which say little and which a keyword ranking,
    fond of short texts, would put first. So the brim is lowered as far as it goes without one more passage.
    """
    pieces = [
        piece
        for block in blocks
        for piece in ([block.text] if block.code else _cut_long(block.text, max_words))
    ]
    sizes = [count_words(piece) for piece in pieces]
    fewest = len(fill(sizes, max_words))
    low, high = 1, max_words
    while low < high:
        middle = (low + high) // 2
        if len(fill(sizes, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return ["\n\n".join(pieces[start:stop]) for start, stop in fill(sizes, low)]


def fill(sizes: Sequence[int], limit: int, overlap: int = 0) -> list[tuple[int, int]]:
    """(start, stop) of runs of neighbours, each filled while its sizes sum to at most `limit` (or is one alone).

    A run begins with the last ones of the run before it, as many as sum to at most `overlap` and leave room for a new
    one: fill([3, 3, 2, 4], 8, 2) is [(0, 3), (2, 4)]."""
    runs: list[tuple[int, int]] = []
    start = used = 0
    for place, size in enumerate(sizes):
        if place > start and used + size > limit:
            runs.append((start, place))
            start, used = place, 0
            while start - 1 > runs[-1][0] and used + sizes[start - 1] <= min(overlap, limit - size):
                start -= 1
                used += sizes[start]
        used += size
    return [*runs, (start, len(sizes))] if len(sizes) else []


_SENTENCE_END = re.compile(r"(?<=[.!?。！？])(?=\s)")


def _cut_long(text: str, max_words: int) -> list[str]:
    """A paragraph of more than `max_words` words cut at sentence ends, or inside a sentence that is too long."""
    if count_words(text) <= max_words:
        return [text]
    pieces: list[str] = []
    for sentence in _sentences(text, max_words):
        if pieces and count_words(pieces[-1]) + count_words(sentence) <= max_words:
            pieces[-1] += sentence
        else:
            pieces.append(sentence.lstrip("\n"))
    return [piece for piece in pieces if piece.strip()]


def _sentences(text: str, max_words: int) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(text):
        if count_words(sentence) <= max_words:
            yield sentence
            continue
        # Steps of at most 16 characters, each one "word" of count_words, each with the white space before it.
        steps: Sequence[str] = re.findall(r"\s*\S{1,16}", sentence)
        for start in range(0, len(steps), max_words):
            yield "".join(steps[start : start + max_words])
