"""GGUF: one file that holds a model whole: sizes, tokenizer and weights, often quantized (llama.cpp's format).

    header    "GGUF", uint32 version, uint64 tensors, uint64 metadata entries          all numbers little endian
    metadata  name, uint32 type, value                                                 a text: uint64 length, UTF-8
    tensors   name, uint32 axes, uint64 lengths (the last axis first), uint32 type, uint64 offset
    data      the tensors' blocks (gguf_blocks.py), each beginning at a multiple of `general.alignment` (32)

The file is mapped: its bytes are read where they are used. Every length is held against what is left of the file before
anything is made of it, so that a file that lies about its sizes takes no memory. A file that we wrote carries a sha256
of itself (`minillm.sha256`), which is checked; other files have no checksum inside.

Book 3.2 허깅페이스 허브 탐색하기, 7장 (models on small machines). Held against: the gguf package, llama.cpp.
Leaves out: version 1, big-endian files, models in several files.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minillm._checks import check_choice, check_path, check_text, describe
from minillm._files import BadFileError, map_file, replace_whole
from minillm.data.gguf_blocks import TYPES, dequantize, quantize

MAGIC, VERSIONS, ALIGNMENT, CHECKSUM = b"GGUF", (2, 3), 32, "minillm.sha256"
MOST_AXES = 4
TEXT, ARRAY = 8, 9
NUMBERS = {  # codes of the plain value types
    0: np.dtype("u1"), 1: np.dtype("i1"), 2: np.dtype("<u2"), 3: np.dtype("<i2"), 4: np.dtype("<u4"),
    5: np.dtype("<i4"), 6: np.dtype("<f4"), 7: np.dtype("?"), 10: np.dtype("<u8"), 11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}  # fmt: skip
CODES = {dtype: code for code, dtype in NUMBERS.items()}
NAMES = {block.code: name for name, block in TYPES.items()}
_NESTED_AT_MOST = 3  # arrays in arrays


class GGUFTensor(NamedTuple):
    """A tensor of a file. shape: as numpy counts, the last axis runs fastest. type: as in TYPES. start, size: bytes."""

    shape: tuple[int, ...]
    type: str
    start: int
    size: int


class GGUFFile:
    """An open GGUF file: `metadata` (name -> value), `tensors` (name -> GGUFTensor), and the weights by name.

    Values are int, float, bool or str; arrays are lists of str, else numpy arrays. Make one with `read_gguf`.
    """

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self._data = path, data
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, GGUFTensor] = {}
        self.version = 0

    def blocks(self, name: str) -> np.ndarray:
        """The bytes of a tensor as they stand in the file, uint8, read-only; ValueError for an unknown name."""
        tensor = self._tensor(name)
        return np.frombuffer(self._data, np.uint8, tensor.size, tensor.start)

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32 of its shape, dequantized, a copy; ValueError for an unknown name."""
        tensor = self._tensor(name)
        return dequantize(self.blocks(name), tensor.type).reshape(tensor.shape)

    def _tensor(self, name: str) -> GGUFTensor:
        if name not in self.tensors:
            raise ValueError(f"{str(self.path)!r} has no tensor {describe(name)}")
        return self.tensors[name]


def read_gguf(path: str | Path) -> GGUFFile:
    """Open a GGUF file of version 2 or 3.

    Raises BadFileError naming the file and the place: missing, cut at any byte, damaged, sizes and counts that the
    file has no room for, names that come twice, types of values or weights that are not built here.
    """
    data = map_file(path, "GGUF file")
    found = GGUFFile(Path(path), data)
    try:
        _Reader(data).read_into(found)
    except BadFileError as error:
        raise BadFileError(f"GGUF file {str(path)!r} is refused: {error}") from None
    return found


class _Reader:
    """Reads one value after the other from mapped bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.end = data, 0, len(data)

    def read_into(self, found: GGUFFile) -> None:
        if self.take(4, "the magic") != MAGIC:
            raise BadFileError("it does not begin with GGUF")
        found.version = version = self.number("<I")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
            kind = "it is big-endian" if swapped else f"it is of version {version}"
            raise BadFileError(f"{kind}, we read little-endian files of versions 2 and 3")
        tensors, entries = self.number("<Q"), self.number("<Q")
        self.room(tensors, 32, "tensors")
        self.room(entries, 13, "metadata entries")
        places = {}
        for _ in range(entries):
            name = self.text()
            if name in found.metadata:
                raise BadFileError(f"metadata {describe(name)} comes twice")
            code = self.number("<I")
            places[name] = self.at
            found.metadata[name] = self.value(code, name)
        if CHECKSUM in places:
            self.check_sum(places[CHECKSUM] + 8, found.metadata[CHECKSUM])
        listed = [self.tensor() for _ in range(tensors)]
        alignment = found.metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 30:
            raise BadFileError(f"general.alignment must be a power of two, got {describe(alignment)}")
        at = start = -(-self.at // alignment) * alignment
        for name, shape, kind, offset in listed:
            if name in found.tensors:
                raise BadFileError(f"tensor {describe(name)} comes twice")
            if start + offset != at:
                raise BadFileError(f"tensor {describe(name)} begins at {offset}, expected {at - start}")
            block, weights = TYPES[kind], 1
            for length in shape:
                weights *= length
            if shape[-1] % block.weights:
                raise BadFileError(
                    f"tensor {describe(name)} has rows of {shape[-1]}, {kind} needs whole blocks of {block.weights}"
                )
            size = weights // block.weights * block.size
            if at + size > self.end:
                raise BadFileError(
                    f"cut short: tensor {describe(name)} ends at byte {at + size:,}, the file at {self.end:,}"
                )
            found.tensors[name] = GGUFTensor(shape, kind, at, size)
            at = -(-(at + size) // alignment) * alignment

    def tensor(self) -> tuple[str, tuple[int, ...], str, int]:
        """(name, shape, type, offset) of the next tensor."""
        name, axes = self.text(), self.number("<I")
        if not 1 <= axes <= MOST_AXES:
            raise BadFileError(f"tensor {describe(name)} has {axes} axes, expected 1 to {MOST_AXES}")
        shape = tuple(self.number("<Q") for _ in range(axes))[::-1]
        if 0 in shape:
            raise BadFileError(f"tensor {describe(name)} has the shape {shape}")
        code, offset = self.number("<I"), self.number("<Q")
        if code not in NAMES:
            raise BadFileError(
                f"tensor {describe(name)} is of type {code}, which is not built here; we have {', '.join(TYPES)}"
            )
        return name, shape, NAMES[code], offset

    def value(self, code: int, name: str, depth: int = 0) -> Any:
        """The next metadata value, of the type with this code."""
        if code == TEXT:
            return self.text()
        if code in NUMBERS:
            return self.numbers(code, 1, name)[0].item()
        if code != ARRAY or depth > _NESTED_AT_MOST:
            raise BadFileError(f"metadata {describe(name)} has a value of unknown type {code}")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in NUMBERS:
            return self.numbers(inner, count, name)
        self.room(count, 8 if inner == TEXT else 12, f"values of {name}")
        if inner == TEXT:
            return [self.text() for _ in range(count)]
        return [self.value(inner, name, depth + 1) for _ in range(count)]

    def numbers(self, code: int, count: int, name: str) -> np.ndarray:
        """`count` plain values; no value of true and false but 0 and 1."""
        dtype = NUMBERS[code]
        self.room(count, dtype.itemsize, f"values of {name}")
        raw = self.take(count * dtype.itemsize, name)
        if dtype == np.dtype("?") and max(raw, default=0) > 1:
            raise BadFileError(f"metadata {describe(name)} must be true or false, got {max(raw)}")
        return np.frombuffer(raw, dtype)

    def text(self) -> str:
        length = self.number("<Q")
        self.room(length, 1, "bytes of a text")
        raw = self.take(length, "a text")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise BadFileError(f"the text {describe(raw)} at byte {self.at - length} is not UTF-8") from None

    def number(self, form: str) -> int:
        """The next integer: "<I" of 4 bytes, "<Q" of 8."""
        size = struct.calcsize(form)
        return struct.unpack(form, self.take(size, "a number"))[0]

    def take(self, size: int, what: str) -> bytes:
        if size > self.end - self.at:
            raise BadFileError(f"cut short in {what} at byte {self.at:,}")
        self.at += size
        return self.data[self.at - size : self.at]

    def room(self, count: int, size: int, what: str) -> None:
        """BadFileError if what is left of the file cannot hold `count` things of `size` bytes at least."""
        if count * size > self.end - self.at:
            raise BadFileError(
                f"it promises {count:,} {what} at byte {self.at:,}, where {self.end - self.at:,} bytes are left"
            )

    def check_sum(self, at: int, expected: Any) -> None:
        """BadFileError if the file is not the one whose sha256 stands at byte `at`, taken with zeros in its place."""
        digest = hashlib.sha256(self.data[:at])
        digest.update(b"0" * 64)
        with memoryview(self.data) as view, view[at + 64 :] as rest:
            digest.update(rest)
        if expected != digest.hexdigest():
            raise BadFileError("damaged or changed: its checksum does not match its content")


def write_gguf(
    path: str | Path,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    types: Mapping[str, str] | None = None,
) -> Path:
    """Write a GGUF file of version 3, whole or not at all.

    metadata: str, bool, float (as float32), int (as uint32 where it fits, else int32 or int64), numpy scalars and
    arrays as they are, lists of str, of int (as int32) and of float. tensors: float32 arrays. types: of the tensors,
    F32, F16, Q8_0, Q4_0 or Q4_1 each; F32 for those it does not name. Raises ValueError for anything else, before
    the file is touched.
    """
    for what, given in (("metadata", metadata), ("tensors", tensors), ("types", types or {})):
        if not isinstance(given, Mapping):
            raise ValueError(f"{what} must be a dict of them by name, got {describe(given)}")
    path, types = check_path("path", path), dict(types or {})
    entries = {**{name: v for name, v in metadata.items() if name != CHECKSUM}, CHECKSUM: "0" * 64}
    kinds, sizes = {}, {}
    for name, array in tensors.items():
        kind = kinds[name] = check_choice(f"type of {name!r}", types.pop(name, "F32"), _written())
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise ValueError(f"tensor {name!r} must be a float32 array, got {describe(array)}")
        if not 1 <= array.ndim <= MOST_AXES or not array.size:
            raise ValueError(
                f"tensor {name!r} must have 1 to {MOST_AXES} axes, none of them empty, got {describe(array)}"
            )
        if array.shape[-1] % TYPES[kind].weights:
            raise ValueError(
                f"{kind} needs rows of whole blocks of {TYPES[kind].weights}, {name!r} is {describe(array)}"
            )
        sizes[name] = array.size // TYPES[kind].weights * TYPES[kind].size
    if types:
        raise ValueError(f"types names tensors that are not there: {', '.join(sorted(types)[:3])}")
    head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(entries)))
    for name, value in entries.items():
        head += _text(name) + _value(name, value)
    checksum_at = len(head) - 64  # it was written last
    alignment = entries.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1):
        raise ValueError(f"general.alignment must be a power of two from 8 on, got {describe(alignment)}")
    offset = 0
    for name, array in tensors.items():
        lengths = array.shape[::-1]
        head += _text(name) + struct.pack(
            f"<I{len(lengths)}QIQ", len(lengths), *lengths, TYPES[kinds[name]].code, offset
        )
        offset += -(-sizes[name] // alignment) * alignment

    def write(temporary: Path) -> None:
        digest = hashlib.sha256()
        with temporary.open("wb") as file:
            _put(file, digest, head)
            for name, array in tensors.items():
                _put(file, digest, b"\0" * (-file.tell() % alignment))
                try:
                    _put(file, digest, quantize(array, kinds[name]))
                except ValueError as error:
                    raise ValueError(f"tensor {name!r} cannot be written: {error}") from None
            file.seek(checksum_at)
            file.write(digest.hexdigest().encode())

    return replace_whole(path, write)


def _written() -> list[str]:
    return [name for name, block in TYPES.items() if block.encode]


def _put(file: BinaryIO, digest: Any, data: Any) -> None:
    file.write(data)
    digest.update(data)


def _text(text: str) -> bytes:
    try:
        data = check_text("a text of a GGUF file", text).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"a GGUF file holds UTF-8, not half a surrogate pair, got {text!a}") from None
    return struct.pack("<Q", len(data)) + data


def _value(name: str, value: Any) -> bytes:
    """The type and the bytes of a metadata value."""
    if isinstance(value, str):
        return struct.pack("<I", TEXT) + _text(value)
    if isinstance(value, Sequence) and value and all(isinstance(one, str) for one in value):
        return struct.pack("<IIQ", ARRAY, TEXT, len(value)) + b"".join(map(_text, value))
    array = _plain(value)
    code = CODES.get(array.dtype.newbyteorder("<")) if array is not None else None
    if code is None or array.ndim > 1:
        raise ValueError(
            f"metadata {name!r} must be a text, a number or a list of one kind, got {describe(value)}"
        )
    array = array.astype(NUMBERS[code])
    if array.ndim:
        return struct.pack("<IIQ", ARRAY, code, array.size) + array.tobytes()
    return struct.pack("<I", code) + array.tobytes()


def _plain(value: Any) -> np.ndarray | None:
    """A number or a list of numbers as the array that is stored; None for something else."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if isinstance(value, bool):
        return np.array(value)
    if isinstance(value, float):
        return np.array(value, np.float32)
    if isinstance(value, int):
        dtype = np.uint32 if 0 <= value < 1 << 32 else np.int32 if -(1 << 31) <= value < 0 else np.int64
        return np.array(value, dtype) if -(1 << 63) <= value < 1 << 63 else None
    listed = isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)) and value
    if listed and all(type(one) is type(value[0]) for one in value):
        if isinstance(value[0], int) and not all(-(1 << 31) <= one < 1 << 31 for one in value):
            return None
        dtype = {int: np.int32, float: np.float32, bool: np.bool_}.get(type(value[0]))
        return None if dtype is None else np.array(value, dtype)
    return None
