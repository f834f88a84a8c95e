"""Packing, codebooks and blocks against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.quantization import (
    NF4_CODEBOOK,
    absmax_quantize,
    blockwise_quantize,
    normal_codebook,
    pack_codes,
    quantile_codebook,
    uniform_codebook,
    unpack_codes,
)


def test_packing_by_hand():
    packed = pack_codes(torch.tensor([1, 2, 15], dtype=torch.uint8))
    assert packed.tolist() == [0x12, 0xF0]
    assert unpack_codes(packed, 3).tolist() == [1, 2, 15]


@given(st.lists(st.integers(0, 15), max_size=40), st.integers(1, 3))
def test_packing_loses_nothing(codes, rows):
    codes = torch.tensor([codes] * rows, dtype=torch.uint8).view(rows, -1)
    packed = pack_codes(codes)
    assert packed.shape == (rows, (codes.shape[1] + 1) // 2)
    assert torch.equal(unpack_codes(packed, codes.shape[1]), codes)


@pytest.mark.parametrize(
    "codes", [None, [1], torch.tensor([16], dtype=torch.uint8), torch.tensor([1]), torch.tensor(1).byte()]
)
def test_packing_refuses(codes):
    with pytest.raises(ValueError):
        pack_codes(codes)


@pytest.mark.parametrize(
    ("packed", "length"),
    [(None, 2), (torch.zeros(2).byte(), 5), (torch.zeros(2).byte(), -1), (torch.zeros(2), 4)],
)
def test_unpacking_refuses(packed, length):
    with pytest.raises(ValueError):
        unpack_codes(packed, length)


def test_nf4_is_derived_from_the_normal_distribution():
    torch.testing.assert_close(normal_codebook(4), NF4_CODEBOOK, rtol=0, atol=1e-6)
    for bits in range(2, 9):
        codebook = normal_codebook(bits)
        assert len(codebook) == 2**bits
        assert (codebook.diff() > 0).all()
        assert codebook[0] == -1
        assert codebook[-1] == 1
        assert (codebook == 0).sum() == 1


def test_quantile_codebook_is_the_middle_of_equally_full_bins():
    x = torch.randn(999, generator=torch.Generator().manual_seed(0)) ** 3
    for bits in (2, 4, 8):
        codebook = quantile_codebook(x, bits)
        middles = (np.arange(2**bits) + 0.5) / 2**bits
        np.testing.assert_allclose(
            codebook.numpy(), np.quantile((x / x.abs().max()).numpy(), middles), rtol=1e-5, atol=1e-7
        )
    # each code is used about equally often, on numbers that are far from evenly spread
    quantized = blockwise_quantize(x, 999, quantile_codebook(x))
    used = torch.bincount(unpack_codes(quantized.codes, 999).int(), minlength=16)
    assert used.min() > 999 / 16 * 0.5
    assert quantile_codebook(torch.zeros(3)).tolist() == [0] * 16


def test_uniform_codebook_is_absmax():
    x = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    blocks = blockwise_quantize(x, 10, uniform_codebook(4))
    torch.testing.assert_close(blocks.dequantize(), absmax_quantize(x, bits=4, axis=-1).dequantize())


@settings(max_examples=120, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), max_size=3),
    block=st.integers(1, 12),
    name=st.sampled_from(["nf4", "uniform", "quantile", "nf8"]),
    outlier=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_blocks_equal_the_formula_and_keep_the_bound(shape, block, name, outlier, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if outlier:
        x.view(-1)[0] = 1e4
    codebook = {
        "nf4": NF4_CODEBOOK,
        "uniform": uniform_codebook(),
        "quantile": quantile_codebook(x, 5),
        "nf8": normal_codebook(8),
    }[name]
    quantized = blockwise_quantize(x, block, codebook)
    back = quantized.dequantize()
    assert back.shape == x.shape
    rows, results = x.reshape(-1, shape[-1] if shape else 1), back.reshape(-1, shape[-1] if shape else 1)
    for row, result in zip(rows, results):
        for start in range(0, len(row), block):
            part, got = row[start : start + block], result[start : start + block]
            scale = part.abs().max()
            nearest = (part[:, None] - codebook * scale).abs().min(dim=1).values
            torch.testing.assert_close((got - part).abs(), nearest, rtol=1e-4, atol=1e-6 * float(scale))
            if name != "quantile":
                assert (got - part).abs().max() <= scale * (codebook.diff().max() / 2 + 1e-6)


def test_an_outlier_spoils_its_block_only():
    x = torch.linspace(-1, 1, 256).clone()
    x[0] = 1000
    error = (blockwise_quantize(x, 64).dequantize() - x).abs()
    assert error[1:64].max() > 0.9
    assert error[64:].max() < 0.16


def test_nf4_beats_even_codes_on_normal_numbers():
    x = torch.randn(64 * 500, generator=torch.Generator().manual_seed(0))
    errors = [
        (blockwise_quantize(x, 64, c).dequantize() - x).square().mean()
        for c in (NF4_CODEBOOK, uniform_codebook())
    ]
    assert errors[0] < errors[1]


def test_memory_is_four_and_a_half_bits():
    quantized = blockwise_quantize(torch.randn(128, 256), 64)
    bits = 8 * (quantized.codes.numel() + 4 * quantized.scales.numel()) / (128 * 256)
    assert bits == 4.5


def test_extremes():
    assert blockwise_quantize(torch.zeros(5)).dequantize().tolist() == [0] * 5
    assert blockwise_quantize(torch.tensor(2.0)).dequantize().item() == 2.0
    strided = torch.arange(24.0).view(4, 6).t()
    assert torch.equal(
        blockwise_quantize(strided, 3).dequantize(), blockwise_quantize(strided.contiguous(), 3).dequantize()
    )
    for huge in (10**12, 2**62):  # a row is one block, and takes no room beyond its own
        whole = blockwise_quantize(strided, huge)
        assert torch.equal(whole.dequantize(), blockwise_quantize(strided, 4).dequantize())
        assert whole.scales.shape == (6, 1)


@pytest.mark.parametrize(
    "arguments",
    [(None,), (torch.zeros(0),), (torch.tensor([math.nan]),), (torch.tensor([-math.inf]),),
     (torch.tensor([1]),),
     (torch.ones(2), 0),     (torch.ones(2), 2.0), (torch.ones(2), 2, torch.ones(1)), (torch.ones(2),
     2, torch.tensor([1.0, 0.0])),
     (torch.ones(2), 2, None),     (torch.ones(2), 2, torch.zeros(257)), (torch.ones(2),
     2, torch.tensor([0.0, math.nan]))],
)  # fmt: skip
def test_bad_input(arguments):
    with pytest.raises(ValueError):
        blockwise_quantize(*arguments)


@pytest.mark.parametrize("function", [normal_codebook, uniform_codebook])
@pytest.mark.parametrize("bits", [1, 9, 4.0, None])
def test_bad_bits(function, bits):
    with pytest.raises(ValueError):
        function(bits)
