"""Splitting (청킹, chunking): a document becomes nodes of at most so many tokens, cut between sentences.

    document -> sentences -> runs of neighbours of at most chunk_size tokens; a run begins with the last sentences of
    the run before it, of at most chunk_overlap tokens, so that what stands at a cut is still found with what is around

Tokens are those of whoever reads the nodes: the encoder cuts off what is too long for it, the language model's window
is shared by all sources. A sentence that is too long by itself is cut at white space, a word at any letter.

Book: 9.1.1 데이터 저장. Peer: LlamaIndex' SentenceSplitter, whose names these are. `data.split_passages` cuts manuals
at their headings, by words; here every node knows its place. Left out: headings, code, tables, cuts by meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minillm._checks import check_int, check_text, describe
from minillm.apps.rag.nodes import Node
from minillm.apps.rag.sentences import sentence_spans
from minillm.data import Document
from minillm.data.documents import check_documents
from minillm.data.passages import count_words, fill

Spans = list[tuple[int, int]]


def counter_of(reader: Any) -> Callable[[str], int]:
    """A function that counts the tokens of a text. reader: None for words, a function that gives their number or, as in
    LlamaIndex, the tokens themselves, a tokenizer, or what has one (an encoder, an engine, a LocalChat). ValueError for
    anything else."""
    if reader is None:
        return count_words
    tokenizes = callable(getattr(reader, "encode", None)) and not isinstance(reader, str)
    if tokenizes and not hasattr(reader, "dim"):  # encoders have a width
        return lambda text: len(reader.encode(text))
    tokenizer = getattr(reader, "tokenizer", None)
    if callable(getattr(tokenizer, "encode", None)):
        return lambda text: len(tokenizer.encode(text))
    if hasattr(reader, "dim"):  # an encoder without tokens of its own
        return count_words
    if callable(reader):
        return lambda text: _number(reader(text))
    raise ValueError(
        f"tokenizer must be a tokenizer, a function from str to int or None, got {describe(reader)}"
    )


def _number(tokens: Any) -> int:
    """How many tokens a function found: it gave their number, or a list of them."""
    return len(tokens) if isinstance(tokens, (list, tuple)) else check_int("what tokenizer gives", tokens, 0)


def split_text(text: str, count: Callable[[str], int], chunk_size: int, chunk_overlap: int = 0) -> Spans:
    """(start, end) of the chunks of a text: whole sentences, at most chunk_size tokens; nothing for white space."""
    spans = [part for span in sentence_spans(text) for part in cut_long(text, span, count, chunk_size)]
    sizes = [count(text[start:end]) for start, end in spans]
    runs = fill(sizes, chunk_size, chunk_overlap)
    return [chunk for first, last in runs for chunk in _fitting(text, spans[first:last], count, chunk_size)]


def cut_long(text: str, span: tuple[int, int], count: Callable[[str], int], most: int) -> Spans:
    """A span of more than `most` tokens as two halves, cut at the white space nearest to its middle, and so on."""
    start, end = span
    if end - start < 2 or count(text[start:end]) <= most:
        return [span]
    middle = (start + end) // 2
    gaps = [at for at in range(start + 1, end) if text[at].isspace()]
    cut = min(gaps, key=lambda at: abs(at - middle), default=middle)
    halves = [(start, cut), (cut + (cut in gaps), end)]
    stripped = [_stripped(text, *half) for half in halves]
    return [part for half in stripped if half[0] < half[1] for part in cut_long(text, half, count, most)]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _fitting(text: str, spans: Spans, count: Callable[[str], int], most: int) -> Spans:
    """A run of sentences as one chunk; as two where together they have more tokens than one by one."""
    start, end = spans[0][0], spans[-1][1]
    if len(spans) == 1 or count(text[start:end]) <= most:
        return [(start, end)]
    half = len(spans) // 2
    return _fitting(text, spans[:half], count, most) + _fitting(text, spans[half:], count, most)


class SentenceSplitter:
    """Documents to nodes. chunk_size, chunk_overlap: tokens; tokenizer: whose, see `counter_of` (None counts words).

    Raises ValueError for chunk_size < 8, or an overlap that is not smaller."""

    def __init__(self, chunk_size: int = 200, chunk_overlap: int = 40, tokenizer: Any = None) -> None:
        self.chunk_size = check_int("chunk_size", chunk_size, 8)
        self.chunk_overlap = check_int("chunk_overlap", chunk_overlap, 0, self.chunk_size - 1)
        self.count = counter_of(tokenizer)

    def split_text(self, text: str) -> list[str]:
        """The texts of the chunks."""
        return [text[start:end] for start, end in self.spans(text)]

    def spans(self, text: str) -> Spans:
        """(start, end) of the chunks."""
        return split_text(check_text("text", text), self.count, self.chunk_size, self.chunk_overlap)

    def get_nodes_from_documents(self, documents: Iterable[Document]) -> list[Node]:
        """The nodes of all documents. ValueError for repeated ids, and naming a document that holds no text."""
        nodes = []
        for one in check_documents(documents):
            spans = self.spans(one.text)
            if not spans:
                raise ValueError(f"document {one.id!r} holds no text: leave it out")
            nodes += [
                Node(f"{one.id}#{number}", one.id, one.title, one.text[start:end], start, end, one.metadata)
                for number, (start, end) in enumerate(spans)
            ]
        return nodes
