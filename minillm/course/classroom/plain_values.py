"""Values as data: numbers, text, containers of them, arrays and tensors, to JSON and back.

What an answer returns is carried out of its process as data, and nothing else: an object would bring its class along,
and a class says itself what it is equal to. No pickle, therefore; a subclass arrives as the plain type that it extends,
and a generator as the list of what it gives.
"""

from __future__ import annotations

import base64
import collections.abc as abc
import json
import re
from types import GeneratorType
from typing import Any

import numpy as np
import torch

SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
LAZY = (GeneratorType, map, filter, zip, abc.MappingView)
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    )
}  # fmt: skip


class NotPlainError(ValueError):
    """A value that is no data; the message says of what type it is."""


def dumps(value: Any) -> str:
    """`value` as one line of JSON. Raises NotPlainError for what is not data, or refers to itself."""
    try:
        return json.dumps(_packed(value))
    except RecursionError:
        raise NotPlainError("a value that holds itself") from None


def loads(text: str) -> Any:
    """What `dumps` was given. Raises NotPlainError for any other text: it may come from an answer."""
    try:
        return _unpacked(json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, RuntimeError, MemoryError) as error:
        raise NotPlainError(f"damaged data ({type(error).__name__})") from None


def _packed(value: Any) -> list:
    if value is None or isinstance(value, bool):
        return ["plain", value]
    if isinstance(value, (np.str_, np.ndarray)) and value.dtype.kind == "U":
        return _packed(value.tolist())  # text of numpy: as the text, or the lists of it, that `check` reads
    if isinstance(value, np.generic):
        return ["scalar", *_array(np.asarray(value))]
    for kind in (int, float, str):
        if isinstance(value, kind):
            return ["plain", kind(value) if kind is not str else str.__str__(value)]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, (bytes, bytearray)):
        return [type(value).__name__ if type(value) in (bytes, bytearray) else "bytes", _text(bytes(value))]
    if isinstance(value, np.ndarray):
        return ["array", *_array(value)]
    if isinstance(value, torch.Tensor):
        return ["tensor", *_tensor(value)]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, abc.Mapping):
        return ["dict", [[_packed(key), _packed(one)] for key, one in value.items()]]
    for name, kind in SEQUENCES.items():
        if isinstance(value, kind):
            return [name, [_packed(one) for one in value]]
    if isinstance(value, LAZY):  # run out here, within the limits of the answer's process
        return ["list", [_packed(one) for one in value]]
    raise NotPlainError(f"a {type(value).__name__}")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _array(value: np.ndarray) -> list:
    if value.dtype.kind not in "biufc":
        raise NotPlainError(f"an array of {value.dtype}")
    return [value.dtype.str, list(value.shape), _text(np.ascontiguousarray(value).tobytes())]


def _tensor(value: torch.Tensor) -> list:
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES or value.layout != torch.strided:
        raise NotPlainError(f"a tensor of {value.dtype} ({value.layout})")
    # a view of a complex tensor may wait for its conjugate or sign, and of one number is "contiguous" with stride 2
    flat = value.detach().cpu().resolve_conj().resolve_neg().reshape(-1)
    flat = flat.clone(memory_format=torch.contiguous_format)
    raw = flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""  # numpy's empty ones have stride 0
    return [name, list(value.shape), _text(raw)]


def _unpacked(packed: list) -> Any:
    kind, *rest = packed
    if kind == "plain" and (rest[0] is None or type(rest[0]) in (bool, int, float, str)):
        return rest[0]
    if kind in ("bytes", "bytearray"):
        data = base64.b64decode(rest[0], validate=True)
        return data if kind == "bytes" else bytearray(data)
    if kind in ("array", "scalar"):
        if not re.fullmatch(r"[<>|][biufc]\d\d?", rest[0]):  # numpy's names of such types; it reads much else
            raise ValueError
        array = np.frombuffer(base64.b64decode(rest[2]), dtype=np.dtype(rest[0])).reshape(rest[1]).copy()
        return array if kind == "array" else array[()]
    if kind == "tensor":
        data = torch.frombuffer(bytearray(base64.b64decode(rest[2]) or b"\0"), dtype=torch.uint8)
        size = int(np.prod(rest[1], dtype=np.int64)) * DTYPES[rest[0]].itemsize
        return data[:size].view(DTYPES[rest[0]]).reshape(rest[1]).clone()
    if kind == "complex":
        return complex(*rest)
    if kind == "range":
        return range(*rest)
    if kind == "dict":
        return {_unpacked(key): _unpacked(one) for key, one in rest[0]}
    return SEQUENCES[kind](_unpacked(one) for one in rest[0])
