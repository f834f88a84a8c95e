"""Floating-point formats by hand against numpy and torch: every pattern of 16 and 8 bits, and hostile numbers."""

import math

import numpy as np
import pytest
import torch

from minillm.quantization import (
    BF16,
    E4M3,
    E5M2,
    FORMATS,
    FP16,
    FP32,
    FloatFormat,
    bit_fields,
    decode,
    decode_plain,
    encode,
    encode_plain,
    rounded,
    take_apart,
)
from tests.helpers import soak_count

TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16,
         "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}  # fmt: skip
INTS = {8: (np.uint8, torch.uint8), 16: (np.int16, torch.int16), 32: (np.int32, torch.int32)}
FORMS = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def theirs(patterns, form):
    """torch's numbers for an array of patterns."""
    numpy_int, _ = INTS[form.bits]
    bits = torch.from_numpy(patterns.astype(numpy_int))
    return bits.view(TORCH[form.name]).float().numpy()


def their_patterns(values, form):
    """torch's patterns for float32 values."""
    narrow = torch.from_numpy(values).to(TORCH[form.name])
    return narrow.view(INTS[form.bits][1]).numpy().astype(np.int64) & (2**form.bits - 1)


def same_numbers(a, b):
    """Equal bit for bit, signs of zero included; any NaN equals any other."""
    nan = np.isnan(a) & np.isnan(b)
    return bool(np.all(nan | ((a == b) & (np.signbit(a) == np.signbit(b)))))


@FORMS
def test_every_pattern_is_the_number_that_torch_reads(form):
    if form.bits < 32:
        patterns = np.arange(2**form.bits)
    else:
        patterns = np.random.default_rng(0).integers(0, 2**32, 200_000)
    ours = decode(patterns, form)
    assert ours.shape == patterns.shape
    assert same_numbers(ours, theirs(patterns, form))
    for pattern in patterns[:: max(1, len(patterns) // 700)].tolist():
        assert same_numbers(np.float32(decode_plain(pattern, form)), ours[patterns == pattern][0])


def test_every_half_is_numpys():
    patterns = np.arange(2**16, dtype=np.uint16)
    assert same_numbers(decode(patterns, FP16), patterns.view(np.float16).astype(np.float32))
    values = np.random.default_rng(1).normal(size=5000) * 10.0 ** np.random.default_rng(2).integers(
        -9, 6, 5000
    )
    assert np.array_equal(
        encode(values, FP16), values.astype(np.float16).view(np.uint16)
    )  # from float64, rounded once


@FORMS
def test_there_and_back_is_the_same_pattern(form):
    patterns = np.arange(2**form.bits) if form.bits < 32 else np.arange(0, 2**32, 65_521)
    values = decode(patterns, form)
    finite = ~np.isnan(values)
    assert np.array_equal(encode(values[finite], form), patterns[finite])
    assert np.isnan(rounded(values[~finite], form)).all()


def hostile(form, rng):
    """Numbers, midpoints between neighbours, their neighbours in float32, the ends of the range, all float32 scales."""
    patterns = np.arange(2 ** (form.bits - 1)) if form.bits < 32 else rng.integers(0, 2**31, 5000)
    values = decode(patterns, form).astype(np.float64)
    values = values[np.isfinite(values)]
    middles = ((values + np.append(values[1:], values[-1] * 2 - values[-2])) / 2).astype(np.float32)
    near = [np.nextafter(middles, np.float32(0)), middles, np.nextafter(middles, np.float32(np.inf))]
    any_bits = rng.integers(0, 2**32, soak_count(400_000), dtype=np.uint32).view(np.float32)
    ends = np.array([0.0, form.largest, form.smallest, form.smallest / 2, form.smallest_normal, np.inf, np.nan,
                     2.0 ** (form.bias + 1), 464.0, 465.0, 480.0, 65519.0, 65520.0, 61440.0, 3.4e38])  # fmt: skip
    some = np.concatenate([*near, any_bits, ends.astype(np.float32)])
    return np.concatenate([some, -some])


@FORMS
def test_numbers_become_the_patterns_that_torch_makes(form):
    values = hostile(form, np.random.default_rng(3))
    saturate = form is E4M3  # what torch does, where there is no infinity
    ours, expected = encode(values, form, saturate).astype(np.int64), their_patterns(values, form)
    number = ~np.isnan(theirs(expected, form))
    assert number.sum() > len(values) / 4
    assert np.array_equal(ours[number], expected[number])
    assert np.isnan(decode(ours[~number], form)).all()
    for place in range(0, len(values), max(1, len(values) // 500)):
        assert encode_plain(float(values[place]), form, saturate) == ours[place]
    # without saturation the rest is the same, and what is too large is infinite, or no number
    plain = encode(values, form).astype(np.int64)
    too_large = np.abs(values.astype(np.float64)) >= form.largest + 2.0 ** (
        form.bias - form.fraction_bits - 1
    )
    if not form.infinities:  # the largest number is even: a tie stays
        too_large = np.abs(values) > 464
    assert np.array_equal(plain[number & ~too_large], ours[number & ~too_large])
    assert not np.isfinite(decode(plain[too_large], form)).any()
    assert np.array_equal(
        np.abs(rounded(values[too_large], form, saturate=True)), np.full(too_large.sum(), form.largest)
    )


def test_ties_go_to_the_even_pattern_and_carries_into_the_exponent():
    assert encode_plain(1 + 2**-8, BF16) == encode_plain(1.0, BF16)  # midway to 1 + 2^-7: 1 ends in 0
    assert encode_plain(1 + 3 * 2**-8, BF16) == encode_plain(1 + 2 * 2**-7, BF16)
    assert decode_plain(encode_plain(1.9999, FP16), FP16) == 2.0 == rounded(1.9999, FP16)
    assert decode_plain(encode_plain(FP16.smallest_normal * (1 - 2**-13), FP16), FP16) == FP16.smallest_normal
    assert encode_plain(FP16.smallest / 2, FP16) == 0
    assert encode_plain(FP16.smallest * 0.50001, FP16) == 1


def test_what_is_known_of_the_formats():
    for form in FORMATS.values():
        info = torch.finfo(TORCH[form.name])
        assert (form.largest, form.smallest_normal, form.epsilon) == (info.max, info.tiny, info.eps)
        assert form.bits == info.bits
        assert form.smallest == form.smallest_normal * form.epsilon
    assert (FP16.largest, E4M3.largest, E5M2.largest) == (65504, 448, 57344)
    assert math.isnan(decode_plain(encode_plain(math.inf, E4M3), E4M3))
    assert math.isnan(
        decode_plain(encode_plain(464.1, E4M3), E4M3)
    )  # nearer to 480, which is no number there
    assert decode_plain(encode_plain(464.0, E4M3), E4M3) == 448
    assert take_apart(0x3C00, FP16) == (0, 15, 0, "normal")
    kinds = [
        take_apart(pattern, FP16).kind for pattern in (0, 0x8000, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x7C01)
    ]
    assert kinds == ["zero", "zero", "subnormal", "subnormal", "normal", "normal", "infinity", "NaN"]
    assert take_apart(0x7F, E4M3).kind == take_apart(0xFF, E4M3).kind == "NaN"
    assert take_apart(0x7E, E4M3).kind == "normal"
    assert bit_fields(0xC000, BF16) == ("1", "10000000", "0000000")
    assert "".join(bit_fields(encode_plain(0.1, FP32), FP32)) == f"{np.float32(0.1).view(np.uint32):032b}"


def test_a_thousand_small_steps_leave_one_where_it_was():
    total, exact = np.float32(1), np.float32(1)
    there = torch.tensor(1.0, dtype=torch.bfloat16)
    step = rounded(0.001, BF16)
    for _ in range(1000):
        total = rounded(total + step, BF16)
        there = there + torch.tensor(0.001, dtype=torch.bfloat16)
        exact += np.float32(0.001)
    assert float(total) == float(there) == 1.0
    assert exact == pytest.approx(2.0, abs=1e-3)


def test_a_format_of_ones_own():
    e2m1 = FloatFormat("e2m1 with NaN", 2, 1, infinities=False)
    assert decode(np.arange(8), e2m1).tolist()[:7] == [0, 0.5, 1, 1.5, 2, 3, 4]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float8_e5m2]
)
def test_weights_are_read_as_they_stand_in_a_model(dtype):
    weight = torch.nn.Parameter(torch.linspace(-3, 3, 12).reshape(3, 4).to(dtype)).t()
    assert weight.requires_grad
    expected = weight.detach().float().to(torch.bfloat16).float()
    assert rounded(weight, BF16).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decode_plain(65536, FP16), "pattern must be between 0 and 65535, got 65536"),
        (lambda: decode_plain(1.0, FP16), "pattern must be an integer"),
        (lambda: take_apart(-1, E4M3), "pattern must be between 0 and 255"),
        (lambda: decode([256], E5M2), "a pattern of e5m2 is a number from 0 to 255, got 256 to 256"),
        (lambda: decode([0.5], E5M2), "patterns must be whole numbers"),
        (lambda: decode(np.array([2**64 - 1], dtype=np.uint64), FP16), "65535, got 18446744073709551615"),
        (lambda: encode(["x"], FP16), "values must be numbers"),
        (lambda: encode([[1.0, 2.0], [3.0]], FP16), "values must be numbers, got"),
        (lambda: rounded(torch.ones(2, device="meta"), FP16), "values must be numbers, got Tensor"),
        (lambda: encode_plain(np.True_, FP16), "value must be a number, got"),
        (lambda: encode_plain("1", FP16), "value must be a number, got '1'"),
        (lambda: encode_plain(True, FP16), "value must be a number, got True"),
        (lambda: encode_plain(1.0, "fp16"), "form must be one of"),
        (lambda: decode([1], None), "form must be one of"),
        (lambda: FloatFormat("x", 1, 3), "exponent_bits must be between 2 and 8"),
        (lambda: FloatFormat("x", 4, 24), "fraction_bits must be between 1 and 23"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
