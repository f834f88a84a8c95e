"""Encoding a stream (스트리밍 인코딩): ids of a text that arrives in chunks, without ever holding all of it.

Chunks cut a text at arbitrary places, so the end of what has arrived may still change: "wor" may become "world",
two blanks before a line end may become one blank and a word, "'r" may become "'re", "<|endof" a special token. What
cannot change are the pieces in front: a piece depends on itself and on what follows directly, so everything but the
last two pieces is final. They are held back, with the beginning of a special token, until more text comes.

Memory: the chunk size below, or the longest piece of the text if that is longer. Held against: `encode` of the whole.
Left out: a custom pattern that looks further ahead than two of its pieces may cut differently at a chunk's end; no
character is lost even then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from minillm.tokenizer.special import special_pattern

_CHUNK = 1 << 16  # characters gathered before the next round of encoding


class ByteLevelTokenizer(Protocol):
    """What is used of a tokenizer: its encoding, and the two steps of its model (see bpe_encode.BPE)."""

    model: Any
    pre_tokenizer: Any

    def encode_with(self, text: str, names: frozenset[str]) -> list[int]: ...


def encode_stream(
    tokenizer: ByteLevelTokenizer, texts: Iterable[str], allowed: frozenset[str], chunk: int = _CHUNK
) -> Iterator[int]:
    """The ids of `"".join(texts)`, in order; `allowed` are the added tokens to recognise."""
    held = ""
    waiting: list[str] = []
    size = 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= max(chunk, len(held)):  # a long held piece is looked at again only after it has doubled
            ids, held = _encode_final(tokenizer, held + "".join(waiting), allowed)
            yield from ids
            waiting, size = [], 0
    yield from tokenizer.encode_with(held + "".join(waiting), allowed)


def _encode_final(tokenizer: ByteLevelTokenizer, text: str, allowed: frozenset[str]) -> tuple[list[int], str]:
    """(the ids that no further text can change, the rest of the text)."""
    pattern = special_pattern(allowed)
    start = 0
    while True:
        unfinished = _first_unfinished(text, start, allowed)
        match = pattern.search(text, start) if pattern else None
        if match is None or match.start() >= unfinished:
            break
        start = match.end()
    ids = tokenizer.encode_with(text[:start], allowed)
    data, ends = tokenizer.model.cut(text[start:unfinished], tokenizer.pre_tokenizer)
    if len(ends) <= 2:
        return ids, text[start:]
    final = int(ends[-3])
    # not cut again: their end looks different on its own
    ids += tokenizer.model.encode_pieces(data[:final], ends[:-2])
    return ids, data[final:].decode("utf-8") + text[unfinished:]


def _first_unfinished(text: str, start: int, allowed: frozenset[str]) -> int:
    """Where the first special token that may still be arriving begins; the end of the text if there is none."""
    longest = max(map(len, allowed), default=0)
    for at in range(max(start, len(text) - longest + 1), len(text)):
        tail = text[at:]
        if any(len(tail) < len(token) and token.startswith(tail) for token in allowed):
            return at
    return len(text)
