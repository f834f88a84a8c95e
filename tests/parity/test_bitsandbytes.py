"""Codes, scales and products against bitsandbytes, which runs on a CPU."""

import pytest
import torch

from minillm.quantization import (
    LLMInt8Linear,
    absmax_quantize,
    blockwise_quantize,
    double_quantize,
    dynamic_codebook,
    outlier_columns,
)
from tests.quantization.test_model import linear

functional = pytest.importorskip(
    "bitsandbytes.functional", reason="the peer of this file: pip install -e '.[parity]'"
)


def weight(rows, columns, seed, spread=0.02):
    return spread * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rows", "columns", "block"), [(64, 128, 64), (7, 256, 128), (33, 64, 32), (1, 64, 64)]
)
def test_nf4_codes_and_values(rows, columns, block):
    x = weight(rows, columns, rows)
    x[0, :block] = 0
    packed, state = functional.quantize_4bit(x, blocksize=block, quant_type="nf4")
    ours = blockwise_quantize(x, block)
    assert torch.equal(ours.codes.flatten(), packed.flatten())
    torch.testing.assert_close(ours.scales.flatten(), state.absmax, rtol=0, atol=1e-37)  # a block of zeros
    theirs = functional.dequantize_4bit(packed, state)
    torch.testing.assert_close(ours.dequantize(), theirs, rtol=1e-6, atol=0)


def test_dynamic_codebook():
    assert torch.equal(dynamic_codebook(), functional.create_dynamic_map())


@pytest.mark.parametrize(("rows", "columns"), [(64, 128), (100, 320), (3, 64)])
def test_double_quantization(rows, columns):
    x = weight(rows, columns, columns)
    _, state = functional.quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=True)
    ours = double_quantize(blockwise_quantize(x).scales)
    assert torch.equal(ours.codes, state.absmax)
    torch.testing.assert_close(ours.mean, state.offset, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.scales, state.state2.absmax, rtol=1e-5, atol=0)
    opened = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    torch.testing.assert_close(ours.dequantize().flatten(), opened, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("rows", "columns"), [(16, 64), (5, 33)])
def test_rows_of_int8(rows, columns):
    x = weight(rows, columns, rows, 1.0).half()
    codes, largest, outliers = functional.int8_vectorwise_quant(x.clone())
    ours = absmax_quantize(x, axis=-1)
    assert outliers is None
    torch.testing.assert_close(ours.scale.flatten() * 127, largest, rtol=1e-6, atol=0)
    # where a quotient lies halfway between two codes, the two orders of the same division may differ
    halfway = ((x.float() / ours.scale).frac().abs() - 0.5).abs() < 1e-4
    assert torch.equal(ours.codes[~halfway], codes[~halfway])
    assert halfway.float().mean() < 0.01


@pytest.mark.parametrize("columns", [(), (3,), (3, 17, 40)])
@pytest.mark.parametrize("bias", [False, True])
def test_llm_int8_layer(columns, bias):
    from bitsandbytes.nn import Int8Params, Linear8bitLt

    layer = linear(64, 24, bias, 0).half()
    x = torch.randn(9, 64, generator=torch.Generator().manual_seed(1)).clamp(-5, 5)
    for column in columns:
        x[:, column] = 20 + x[:, column]
    x = x.half()
    theirs = Linear8bitLt(64, 24, bias=bias, has_fp16_weights=False, threshold=6.0)
    theirs.weight = Int8Params(layer.weight.data.clone(), has_fp16_weights=False, requires_grad=False)
    theirs.bias = layer.bias
    theirs = theirs.to("cpu").eval()  # in training mode it rounds no inputs on a CPU
    expected = theirs(x.clone()).detach().double()

    # step by step: outlier columns and codes of inputs and of weights are the same
    codes, largest, outliers = functional.int8_vectorwise_quant(x.clone(), threshold=6.0)
    assert outlier_columns(x).nonzero().flatten().tolist() == outliers.tolist() == list(columns)
    ours = LLMInt8Linear.from_linear(layer)
    assert torch.equal(ours.codes, theirs.state.CB)
    ordinary = x.masked_fill(outlier_columns(x), 0)
    assert torch.equal(absmax_quantize(ordinary, axis=-1).codes, codes)

    # so ours is their sum of products in float64, with no half precision in between ...
    weight = theirs.state.CB.double() * theirs.state.SCB.double()[:, None] / 127
    by_codes = codes.double() * largest.double()[:, None] / 127 @ weight.T
    by_codes += 0 if layer.bias is None else layer.bias.detach().double()
    high, kept = x[:, list(columns)].double(), weight[:, list(columns)]
    exact = by_codes + high @ kept.T
    got = ours(x.float()).detach().double()
    torch.testing.assert_close(got, exact, rtol=1e-5, atol=1e-4)

    # ... and theirs is off by three roundings to float16: of the products of codes, of the outlier columns of
    # the weight, and of the result
    bound = 2**-11 * (by_codes.abs() + high.abs() @ kept.abs().T + expected.abs()) + 1e-4
    assert ((got - expected).abs() <= bound).all()
    if columns:
        broken = LLMInt8Linear.from_linear(layer, threshold=0)(x.float()).detach().double()
        assert ((broken - expected).abs() > bound).double().mean() > 0.5
