"""The blocks of a GGUF file: weights in small groups, each group with a scale of its own (양자화 블록).

    Q4_0   18 bytes for 32 weights   w = d (q - 8)       d half precision, q 4 bits
    Q4_1   20 bytes for 32           w = d q + m         m half precision: the smallest weight
    Q5_0   22, Q5_1 24               as Q4, the fifth bits of all 32 together in 4 bytes
    Q8_0   34 bytes for 32           w = d q             q from -127 to 127
    Q4_K, Q5_K   144 and 176 for 256   w = d s q - e t   eight groups of 32, each with 6 bits of s and of t
    Q6_K  210 bytes for 256          w = d s (q - 32)    sixteen groups of 16, each with 8 bits of s

Two 4-bit numbers share a byte: the low halves are the first 16 weights (of a K block: 32), the high halves the rest.
Half precision and bfloat16 have no blocks. One table, `TYPES`, says how each type is read and, where we do, written.

Book 5.5 QLoRA, 7장 (양자화). Held against: the gguf package's quantize and dequantize, bit for bit.
Leaves out: Q2_K, Q3_K, the IQ family, types of experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minillm._checks import check_choice, describe

F4, F2 = np.float32, np.float16
_STEP = 1 << 20  # weights dequantized at a time: the arrays in between stay in the processor's cache


class BlockType(NamedTuple):
    """How weights of one type stand in a file.

    code: its number there. weights, size: of a block, size in bytes. decode: blocks (N, size) uint8 -> (N, weights)
    float32. encode: the way back, None where we do not write the type.
    """

    code: int
    weights: int
    size: int
    decode: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray], np.ndarray] | None = None


def dequantize(data: np.ndarray, kind: str) -> np.ndarray:
    """The weights (N,) float32 of `data`, uint8 bytes of whole blocks of the type called `kind`.

    Raises ValueError for a type that is not in TYPES, or bytes that are not whole blocks.
    """
    block = TYPES[check_choice("type of weights", kind, TYPES)]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.size % block.size:
        raise ValueError(f"data must be uint8, whole blocks of {block.size} bytes, got {describe(data)}")
    blocks = data.reshape(-1, block.size)
    out = np.empty((len(blocks), block.weights), F4)
    step = max(1, _STEP // block.weights)
    for start in range(0, len(blocks), step):
        out[start : start + step] = block.decode(np.ascontiguousarray(blocks[start : start + step]))
    return out.reshape(-1)


def quantize(weights: np.ndarray, kind: str) -> np.ndarray:
    """The bytes of `weights`, float32 of any shape whose last axis is whole blocks, as the type called `kind`.

    Raises ValueError for a type that we do not write, a last axis that is not whole blocks, weights that are not
    finite, and weights or scales that half precision cannot hold.
    """
    written = [name for name, block in TYPES.items() if block.encode]
    block = TYPES[check_choice("type of weights", kind, written)]
    if not isinstance(weights, np.ndarray) or weights.dtype != F4 or not weights.ndim:
        raise ValueError(f"weights must be a float32 array, got {describe(weights)}")
    if weights.shape[-1] % block.weights:
        raise ValueError(f"{kind} needs rows of whole blocks of {block.weights}, got {describe(weights)}")
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite numbers, got inf or nan")
    blocks = np.ascontiguousarray(weights).reshape(-1, block.weights)
    out = np.empty((len(blocks), block.size), np.uint8)
    step = max(1, _STEP // block.weights)
    for start in range(0, len(blocks), step):
        out[start : start + step] = block.encode(blocks[start : start + step])
    return out.reshape(-1)


# --- bits ---------------------------------------------------------------------------------------------------------


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    """The half-precision number (N, 1) at byte `at` of every block, as float32."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(F2).astype(F4)


def _half_bytes(numbers: np.ndarray) -> np.ndarray:
    """Numbers (N, 1) as two bytes each; ValueError for one that is too large for half precision."""
    with np.errstate(over="ignore"):
        half = numbers.astype(F2)
    if not np.isfinite(half).all():
        raise ValueError(f"half precision holds numbers up to 65504, got {np.abs(numbers).max():g}")
    return half.view(np.uint8).reshape(len(numbers), -1)


def _nibbles(packed: np.ndarray, width: int) -> np.ndarray:
    """Bytes (N, n) -> 4-bit numbers (N, 2n): of every `width` bytes first the low halves, then the high ones."""
    packed = packed.reshape(len(packed), -1, 1, width)
    return (packed >> np.array([[0], [4]], np.uint8) & np.uint8(15)).reshape(len(packed), -1)


def _pack(numbers: np.ndarray) -> np.ndarray:
    """The way back for blocks of 32: (N, 32) uint8 below 16 -> (N, 16)."""
    return numbers[:, :16] | numbers[:, 16:] << np.uint8(4)


def _fifth_bits(packed: np.ndarray) -> np.ndarray:
    """Four bytes (N, 4) -> (N, 32) of 0 or 16: bit i belongs to weight i."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _group_scales(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twelve bytes (N, 12) -> s and t, (N, 8) float32 each, of 6 bits.

    s and t of the first four groups are the low 6 bits of bytes 0-3 and 4-7. The other four have their low 4 bits in
    bytes 8-11 (s the low halves, t the high ones), and their upper 2 are the two bits that bytes 0-7 had to spare.
    """
    a, b, c = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    s = np.concatenate([a & 63, c & 15 | a >> 6 << 4], axis=1)
    t = np.concatenate([b & 63, c >> 4 | b >> 6 << 4], axis=1)
    return s.astype(F4), t.astype(F4)


# --- from blocks to weights ---------------------------------------------------------------------------------------


def _from_f32(blocks: np.ndarray) -> np.ndarray:
    return blocks.view("<f4")


def _from_f16(blocks: np.ndarray) -> np.ndarray:
    return blocks.view("<f2").astype(F4)


def _from_bf16(blocks: np.ndarray) -> np.ndarray:
    return (blocks.view("<u2").astype(np.uint32) << 16).view(F4)  # float32 without its lower half


def _from_q4_0(blocks: np.ndarray) -> np.ndarray:
    # w = d (q - 8)
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:], 16).astype(np.int8) - np.int8(8))


def _from_q4_1(blocks: np.ndarray) -> np.ndarray:
    # w = d q + m
    return _half(blocks, 0) * _nibbles(blocks[:, 4:], 16) + _half(blocks, 2)


def _from_q5_0(blocks: np.ndarray) -> np.ndarray:
    # w = d (q - 16)
    q = _nibbles(blocks[:, 6:], 16) | _fifth_bits(blocks[:, 2:6])
    return _half(blocks, 0) * (q.astype(np.int8) - np.int8(16))


def _from_q5_1(blocks: np.ndarray) -> np.ndarray:
    # w = d q + m
    q = _nibbles(blocks[:, 8:], 16) | _fifth_bits(blocks[:, 4:8])
    return _half(blocks, 0) * q + _half(blocks, 2)


def _from_q8_0(blocks: np.ndarray) -> np.ndarray:
    # w = d q
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8)


def _from_k(blocks: np.ndarray, q: np.ndarray) -> np.ndarray:
    # w = (d s) q - (e t), s and t of the weight's group of 32
    s, t = _group_scales(blocks[:, 4:16])
    scale, least = _half(blocks, 0) * s, _half(blocks, 2) * t  # (N, 8)
    return (scale[..., None] * q.reshape(-1, 8, 32) - least[..., None]).reshape(-1, 256)


def _from_q4_k(blocks: np.ndarray) -> np.ndarray:
    return _from_k(blocks, _nibbles(blocks[:, 16:], 32))


def _from_q5_k(blocks: np.ndarray) -> np.ndarray:
    # the fifth bit of weight i of group g is bit g of byte i
    fifth = blocks[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & np.uint8(1)  # (N, 8, 32)
    return _from_k(blocks, _nibbles(blocks[:, 48:], 32) | fifth.reshape(-1, 256) << np.uint8(4))


def _from_q6_k(blocks: np.ndarray) -> np.ndarray:
    # w = (d s) (q - 32), s of the weight's group of 16; of every 128 weights the low 4 bits stand in 64 bytes, the
    # upper 2 in 32
    low = _nibbles(blocks[:, :128], 64)
    upper = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([[0], [2], [4], [6]], np.uint8) & np.uint8(3)
    q = (low | upper.reshape(-1, 256) << np.uint8(4)).astype(np.int8) - np.int8(32)
    scale = _half(blocks, 208) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)  # (N, 16)
    return (scale[..., None] * q.reshape(-1, 16, 16)).reshape(-1, 256)


# --- from weights to blocks ---------------------------------------------------------------------------------------


def _inverse(d: np.ndarray) -> np.ndarray:
    """1 / d, and 0 for 0: in a block of zeros every q is 0."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(d == 0, F4(0), F4(1) / d)


def _to_f32(weights: np.ndarray) -> np.ndarray:
    return weights.astype("<f4").view(np.uint8)


def _to_f16(weights: np.ndarray) -> np.ndarray:
    return _half_bytes(weights)


def _to_q4_0(weights: np.ndarray) -> np.ndarray:
    # the weight that is farthest from 0 becomes q = 0, exactly: d = w / -8
    farthest = np.take_along_axis(weights, np.abs(weights).argmax(1)[:, None], 1)
    d = farthest / F4(-8)
    q = np.minimum(weights * _inverse(d) + F4(8.5), F4(15)).astype(np.uint8)
    return np.concatenate([_half_bytes(d), _pack(q)], axis=1)


def _to_q4_1(weights: np.ndarray) -> np.ndarray:
    # from the smallest weight, q = 0, to the largest, q = 15
    m = weights.min(1, keepdims=True)
    d = (weights.max(1, keepdims=True) - m) / F4(15)
    q = np.minimum((weights - m) * _inverse(d) + F4(0.5), F4(15)).astype(np.uint8)
    return np.concatenate([_half_bytes(d), _half_bytes(m), _pack(q)], axis=1)


def _to_q8_0(weights: np.ndarray) -> np.ndarray:
    d = np.abs(weights).max(1, keepdims=True) / F4(127)
    scaled = weights * _inverse(d)
    q = np.trunc(scaled + np.copysign(F4(0.5), scaled))  # halves away from 0, as C rounds
    return np.concatenate([_half_bytes(d), q.astype(np.int8).view(np.uint8)], axis=1)


TYPES: dict[str, BlockType] = {
    "F32": BlockType(0, 1, 4, _from_f32, _to_f32),
    "F16": BlockType(1, 1, 2, _from_f16, _to_f16),
    "Q4_0": BlockType(2, 32, 18, _from_q4_0, _to_q4_0),
    "Q4_1": BlockType(3, 32, 20, _from_q4_1, _to_q4_1),
    "Q5_0": BlockType(6, 32, 22, _from_q5_0),
    "Q5_1": BlockType(7, 32, 24, _from_q5_1),
    "Q8_0": BlockType(8, 32, 34, _from_q8_0, _to_q8_0),
    "Q4_K": BlockType(12, 256, 144, _from_q4_k),
    "Q5_K": BlockType(13, 256, 176, _from_q5_k),
    "Q6_K": BlockType(14, 256, 210, _from_q6_k),
    "BF16": BlockType(30, 1, 2, _from_bf16),
}
