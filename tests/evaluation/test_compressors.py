"""Compressors after reading a training text: against their own round trip and known bounds."""

import bz2
import lzma
import random
import zlib

import pytest

from minillm.evaluation import compressed_bits_per_byte

NOISE = "".join(random.Random(0).choices("abcdefghijklmnop", k=20_000))  # 4 bits a character, no repeats


def test_without_a_training_text_they_are_the_plain_compressors():
    data = ("한국어 text " * 500).encode()
    assert compressed_bits_per_byte(data.decode()) == {
        "zlib": 8 * len(zlib.compress(data, 9)) / len(data),
        "bz2": 8 * len(bz2.compress(data, 9)) / len(data),
        "lzma": 8 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / len(data),
    }


def test_noise_of_sixteen_letters_costs_four_bits():
    for name, bits in compressed_bits_per_byte(NOISE).items():
        assert 4.0 <= bits < 4.7, name


def test_a_text_that_was_taught_costs_next_to_nothing():
    bits = compressed_bits_per_byte(NOISE[:8000], NOISE)
    assert bits["zlib"] < 0.2
    assert bits["lzma"] < 0.2
    assert bits["bz2"] < 4.0


def test_what_is_taught_helps_zlib_only_within_its_window():
    near, far = NOISE + "x" * 10_000, NOISE + "x" * 40_000
    assert compressed_bits_per_byte(NOISE[:5000], near)["zlib"] < 0.3
    assert compressed_bits_per_byte(NOISE[:5000], far)["zlib"] > 4.0
    assert compressed_bits_per_byte(NOISE[:5000], far)["lzma"] < 0.3


@pytest.mark.parametrize("arguments", [("",), (None,), ("a", 3), (b"a",)])
def test_bad_texts_are_refused(arguments):
    with pytest.raises(ValueError, match=r"text|taught"):
        compressed_bits_per_byte(*arguments)
