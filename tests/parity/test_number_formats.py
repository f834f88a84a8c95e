"""Floating-point formats against ml_dtypes, whose fp8 and bf16 numpy itself has not (pip install ml_dtypes)."""

import numpy as np
import pytest

from minillm.quantization import FORMATS, decode, encode

ml_dtypes = pytest.importorskip(
    "ml_dtypes", reason="ml_dtypes is no dependency; torch is the peer in tests/quantization"
)
THEIRS = {"bf16": "bfloat16", "e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2"}


@pytest.mark.parametrize("name", THEIRS)
def test_patterns_and_roundings_are_theirs(name):
    form, dtype = FORMATS[name], getattr(ml_dtypes, THEIRS[name])
    patterns = np.arange(2**form.bits, dtype=np.uint8 if form.bits == 8 else np.uint16)
    theirs, ours = patterns.view(dtype).astype(np.float32), decode(patterns, form)
    assert np.array_equal(np.nan_to_num(ours, nan=-1.5), np.nan_to_num(theirs, nan=-1.5))
    values = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    finite = ours[np.isfinite(ours)].astype(np.float64)
    values = np.concatenate([values, ((finite[1:] + finite[:-1]) / 2).astype(np.float32)])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values.astype(dtype).view(patterns.dtype)
    number = ~np.isnan(decode(expected, form))
    assert number.sum() > 1000
    assert np.array_equal(encode(values, form)[number], expected[number])
    assert np.isnan(decode(encode(values, form)[~number], form)).all()
