"""Floating-point numbers by hand (부동 소수점 수): a sign, a power of two, and a fraction on the way to the next one.

    value = (-1)^sign · (2^F + fraction) · 2^(exponent - bias - F)        normal (정규): the exponent field is not 0
    value = (-1)^sign ·        fraction  · 2^(1 - bias - F)               subnormal (비정규): it is 0; so is zero

F bits of fraction, E bits of exponent, bias = 2^(E-1) - 1. The highest exponent is taken for infinity and NaN; e4m3 has
no infinity and gives away one pattern only, so that it reaches 448. The exponent decides how far a format reaches, the
fraction how finely it tells neighbours apart: bf16 reaches as far as fp32, with 2 decimal digits where that has 7.

Book: 5.1.1 딥러닝 모델의 데이터 타입. Standard: IEEE 754; papers: Kalamkar et al. 2019 (bf16), Micikevicius et al. 2022
(fp8: e4m3 as torch's float8_e4m3fn, e5m2). Held against numpy, torch and ml_dtypes: all patterns of 16 and 8 bits.
Leaves out: fp64, formats without a sign of zero (fnuz), stochastic rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minillm._arrays import as_array
from minillm._checks import check_choice, check_flag, check_int, check_text, describe


@dataclass(frozen=True)
class FloatFormat:
    """How many bits the exponent and the fraction have. infinities: as in IEEE 754; without, only all ones is NaN.

    ValueError for an exponent outside 2..8 bits or a fraction outside 1..23: what fp32 holds exactly.
    """

    name: str
    exponent_bits: int
    fraction_bits: int
    infinities: bool = True

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_flag("infinities", self.infinities)
        check_int("exponent_bits", self.exponent_bits, 2, 8)
        check_int("fraction_bits", self.fraction_bits, 1, 23)

    @property
    def bits(self) -> int:
        """Of a number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """What is taken from the exponent field: half of its range, so that small numbers have a field, too."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def infinity(self) -> int:
        """The pattern of +infinity, or of what stands in its place: NaN where there is none."""
        return self._top if self.infinities else self.nan

    @property
    def nan(self) -> int:
        """A pattern that is no number: the highest exponent and the first bit of the fraction, or all bits."""
        return self._top | (2 ** (self.fraction_bits - 1) if self.infinities else 2**self.fraction_bits - 1)

    @property
    def last(self) -> int:
        """The pattern of the largest finite number: the one before infinity, or before NaN."""
        return self.infinity - 1

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return decode_plain(self.last, self)

    @property
    def smallest_normal(self) -> float:
        """Below it, steps no longer shrink with the number."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest(self) -> float:
        """The smallest number above 0."""
        return 2.0 ** (1 - self.bias - self.fraction_bits)

    @property
    def epsilon(self) -> float:
        """The step from 1 to the next number."""
        return 2.0**-self.fraction_bits

    @property
    def _top(self) -> int:
        return (2**self.exponent_bits - 1) << self.fraction_bits


FP32, FP16, BF16 = FloatFormat("fp32", 8, 23), FloatFormat("fp16", 5, 10), FloatFormat("bf16", 8, 7)
E4M3, E5M2 = FloatFormat("e4m3", 4, 3, infinities=False), FloatFormat("e5m2", 5, 2)
FORMATS = {form.name: form for form in (FP32, FP16, BF16, E4M3, E5M2)}


class FloatFields(NamedTuple):
    """The three fields of a pattern, as whole numbers, and what they make: `kind`."""

    sign: int
    exponent: int
    fraction: int
    kind: str
    """ "zero", "subnormal", "normal", "infinity" or "NaN" """


def take_apart(pattern: int, form: FloatFormat) -> FloatFields:
    """The fields of a pattern of bits: take_apart(0x3C00, FP16) -> (0, 15, 0, "normal"), which is 1.

    ValueError for a pattern that the format has not.
    """
    _check_format(form)
    check_int("pattern", pattern, 0, 2**form.bits - 1)
    return _fields(int(pattern), form)


def _fields(pattern: int, form: FloatFormat) -> FloatFields:
    fraction = pattern & (2**form.fraction_bits - 1)
    exponent = (pattern >> form.fraction_bits) & (2**form.exponent_bits - 1)
    sign, size = pattern >> (form.bits - 1), pattern & (2 ** (form.bits - 1) - 1)  # size: without the sign
    if size > form.last:
        kind = "infinity" if size == form.infinity and form.infinities else "NaN"
    elif exponent > 0:
        kind = "normal"
    else:
        kind = "subnormal" if fraction else "zero"
    return FloatFields(sign, exponent, fraction, kind)


# One number


def decode_plain(pattern: int, form: FloatFormat) -> float:
    """The number that a pattern stands for, exactly. ValueError for a pattern that the format has not."""
    sign, exponent, fraction, kind = take_apart(pattern, form)
    if kind == "NaN":
        return math.nan
    if kind == "infinity":
        size = math.inf
    elif kind == "normal":
        # (2^F + fraction) · 2^(exponent - bias - F): the 1 before the point is not stored
        size = math.ldexp(2**form.fraction_bits + fraction, exponent - form.bias - form.fraction_bits)
    else:
        # fraction · 2^(1 - bias - F): no 1 before the point, and the exponent of the smallest normal numbers
        size = math.ldexp(fraction, 1 - form.bias - form.fraction_bits)
    return -size if sign else size


def encode_plain(value: float, form: FloatFormat, saturate: bool = False) -> int:
    """The pattern of the number nearest to `value`; of two that are as near, the one that ends in 0 (ties to even).

    What is half a step or more beyond the largest number becomes infinity, or NaN where there is none; saturate: the
    largest number instead, infinity too. (ml_dtypes does the one, torch 2.13 for e4m3 the other.) ValueError for
    a value that is no number of Python's or numpy's. What fp64 does not hold, as 2^60 + 1, is rounded to it first.
    """
    value = _check_number(value, form)
    beyond = form.last if check_flag("saturate", saturate) else form.infinity
    sign = int(math.copysign(1, value) < 0) << (form.bits - 1)
    if math.isnan(value):
        return sign | form.nan
    if math.isinf(value) or value == 0:
        return sign | (beyond if value else 0)
    # 2^power <= |value| < 2^(power + 1); below the smallest normal number, steps stay what they are there
    power = max(math.frexp(value)[1] - 1, 1 - form.bias)
    # how many steps of 2^(power - F); Python's round is to the nearest, ties to even
    steps = round(math.ldexp(abs(value), form.fraction_bits - power))
    # 2^F steps are the 1 that is not stored, and so count the exponent up; a carry from rounding does the same
    size = ((power + form.bias - 1) << form.fraction_bits) + steps
    return sign | (size if size <= form.last else beyond)


# Many at once


def decode(patterns: Any, form: FloatFormat) -> np.ndarray:
    """The same of an array or tensor of patterns, any whole-number dtype -> float32 of its shape, exact in all formats.

    Fast because the fields of all patterns are cut out by the same few operations.
    """
    _check_format(form)
    patterns = _table("patterns", patterns, "iu", "whole numbers")
    if patterns.size and not 0 <= int(patterns.min()) <= int(patterns.max()) < 2**form.bits:
        found = f"{patterns.min()} to {patterns.max()}"
        raise ValueError(f"a pattern of {form.name} is a number from 0 to {2**form.bits - 1}, got {found}")
    patterns = patterns.astype(np.int64)
    size = patterns & (2 ** (form.bits - 1) - 1)
    exponent, fraction = size >> form.fraction_bits, size & (2**form.fraction_bits - 1)
    steps = fraction + (np.minimum(exponent, 1) << form.fraction_bits)  # the 1 of normal numbers
    values = np.ldexp(steps.astype(np.float64), np.maximum(exponent, 1) - form.bias - form.fraction_bits)
    values = np.where(size > form.last, np.nan, values)
    if form.infinities:
        values = np.where(size == form.infinity, np.inf, values)
    return np.where(patterns >> (form.bits - 1), -values, values).astype(np.float32)


def encode(values: Any, form: FloatFormat, saturate: bool = False) -> np.ndarray:
    """The same of an array of numbers, or a tensor (a weight, too) -> uint8, uint16 or uint32 of its shape."""
    _check_format(form)
    beyond = form.last if check_flag("saturate", saturate) else form.infinity
    values = _table("values", values, "fiu", "numbers")
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        values = values.astype(np.float64)
    finite = np.where(np.isfinite(values), values, 0.0)
    power = np.maximum(np.frexp(finite)[1].astype(np.int64) - 1, 1 - form.bias)
    power = np.where(finite == 0, 1 - form.bias, power)  # zero has no power: it is a subnormal of no steps
    steps = np.rint(np.ldexp(np.abs(finite), form.fraction_bits - power))  # rint: ties to even
    # a number of float64's reach would make too large a pattern for int64: cut it where it is infinite anyway
    power = np.minimum(power, form.bias + 2)
    size = ((power + form.bias - 1) << form.fraction_bits) + steps.astype(np.int64)
    size = np.where((size > form.last) | np.isinf(values), beyond, size)
    size = np.where(np.isnan(values), form.nan, size) | (
        np.signbit(values).astype(np.int64) << (form.bits - 1)
    )
    return size.astype(np.uint8 if form.bits <= 8 else np.uint16 if form.bits <= 16 else np.uint32)


def rounded(values: Any, form: FloatFormat, saturate: bool = False) -> np.ndarray:
    """The numbers of the format that are nearest to `values`: there and back, float32 of their shape."""
    return decode(encode(values, form, saturate), form)


def bit_fields(pattern: int, form: FloatFormat) -> tuple[str, str, str]:
    """Sign, exponent and fraction as zeros and ones: bit_fields(0x3C00, FP16) -> ("0", "01111", "0000000000")."""
    sign, exponent, fraction, _ = take_apart(pattern, form)
    return str(sign), f"{exponent:0{form.exponent_bits}b}", f"{fraction:0{form.fraction_bits}b}"


def _check_format(form: Any) -> None:
    if not isinstance(form, FloatFormat):
        check_choice("form", form, tuple(FORMATS.values()))


def _table(name: str, values: Any, kinds: str, what: str) -> np.ndarray:
    try:
        found = as_array(values)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ):  # a list of lists of several lengths, a tensor without numbers
        raise ValueError(f"{name} must be {what}, got {describe(values)}") from None
    if found.dtype.kind not in kinds:
        raise ValueError(f"{name} must be {what}, got {describe(found)}")
    return found


def _check_number(value: Any, form: Any) -> float:
    _check_format(form)
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"value must be a number, got {describe(value)}") from None
