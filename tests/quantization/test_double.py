"""Double quantization of scales: by hand, in numpy, counted, and as layers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minillm.quantization import (
    DoubleQuantLinear,
    FourBitLinear,
    double_quantize,
    dynamic_codebook,
    load_quantized,
    model_size_bytes,
    quantize,
    save_quantized,
)
from tests.quantization.test_model import linear, tiny


def test_dynamic_codebook_by_hand():
    codebook = dynamic_codebook()
    assert len(codebook) == 256
    assert (codebook.diff() > 0).all()
    # ±.55 millionths, the only step of the smallest power
    assert codebook[codebook > 0][0].item() == pytest.approx(0.55e-6)
    assert codebook[codebook < 0][-1].item() == pytest.approx(-0.55e-6)
    assert (codebook == 0).sum() == 1
    assert codebook[-1] == 1
    # the largest below 1: the middle of the last of 64 steps from .1 to 1
    assert codebook[-2].item() == pytest.approx(1 - 0.9 / 64 / 2)
    assert codebook[0] == -codebook[-2]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    blocks=st.integers(1, 40),
    size=st.sampled_from([1, 7, 256]),
    seed=st.integers(0, 999),
)
def test_equals_the_nearest_entry_in_numpy(rows, blocks, size, seed):
    scales = torch.rand(rows, blocks, generator=torch.Generator().manual_seed(seed)) ** 3
    found = double_quantize(scales, size)
    assert found.codes.shape == (rows * blocks,)
    assert found.codes.dtype == torch.uint8
    assert found.scales.shape == (-(-rows * blocks // size),)
    centred = scales.numpy().ravel() - scales.mean().numpy()
    codebook, back = dynamic_codebook().numpy(), found.dequantize().numpy().ravel()
    for start in range(0, len(centred), size):
        part = centred[start : start + size]
        largest = np.abs(part).max()
        nearest = np.abs(part[:, None] - codebook * largest).min(1)
        got = np.abs(back[start : start + size] - scales.numpy().ravel()[start : start + size])
        np.testing.assert_allclose(got, nearest, atol=2e-7)
    assert found.dequantize().shape == scales.shape


def test_bits_are_counted():
    weight = nn.Sequential(nn.Linear(512, 256, bias=False))
    small = quantize(weight, "nf4", double_quant=True)
    blocks = 512 * 256 // 64
    expected = 512 * 256 // 2 + blocks + 4 * (blocks // 256) + 4 + 4 * 16
    assert model_size_bytes(small) == expected
    bits = 8 * (expected - 4 - 4 * 16) / (512 * 256)
    assert bits == 4 + 8 / 64 + 32 / (64 * 256) == pytest.approx(4.127, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    inputs=st.integers(1, 140), outputs=st.integers(1, 40), rows=st.integers(0, 20), bias=st.booleans(),
    block=st.sampled_from([1, 7, 16, 64]), seed=st.integers(0, 999),
)  # fmt: skip
def test_layers_equal_a_float_layer_with_their_weights(inputs, outputs, rows, bias, block, seed):
    layer = linear(inputs, outputs, bias, seed)
    single, small = (kind.from_linear(layer, block) for kind in (FourBitLinear, DoubleQuantLinear))
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed))
    weight = small.dequantize().detach()
    bias_too = None if layer.bias is None else layer.bias.detach().double()
    expected = nn.functional.linear(x.double(), weight.double(), bias_too)
    for got in (small(x), small.forward_plain(x)):
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)
    # the codes are the same; only scales differ, by at most half the widest step of their range
    assert torch.equal(small.rows()[0], single.rows()[0])
    spread = (single.rows()[1] - single.rows()[1].mean()).abs().max()
    assert (small.scales - single.rows()[1]).abs().max() <= spread * 0.9 / 64 / 2 + 1e-6
    half = small.to(torch.bfloat16)(x.bfloat16())
    # 8 bits of each term, and of the scales' scale and mean, which a small weight has in common with the largest; the
    # terms may cancel each other
    most = x.double().abs().sum(-1, keepdim=True) * weight.abs().max()
    most = most if bias_too is None else most + bias_too.abs()
    assert ((half.double() - expected).abs() <= 2**-6 * most + 1e-6).all()


@pytest.mark.parametrize("method", ["nf4", "int4"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_folder_comes_back_bit_for_bit(tmp_path, method, kind):
    small = quantize(tiny(kind=kind), method, group_size=8, double_quant=True)
    path, ids = save_quantized(small, tmp_path), torch.arange(20).view(2, 10)
    back = load_quantized(tmp_path)
    with torch.no_grad():
        assert torch.equal(back(ids).logits, small(ids).logits)
        single = quantize(tiny(kind=kind), method, group_size=8)
        assert not torch.equal(single(ids).logits, small(ids).logits)
    assert model_size_bytes(back) == model_size_bytes(small)
    assert path.stat().st_size < model_size_bytes(small) + 20_000


@pytest.mark.parametrize(
    ("method", "given", "most"),
    [("int8", {}, 0.27), ("llm.int8", {}, 0.27), ("nf4", {}, 0.16), ("int4", {}, 0.16), ("rtn", {}, 0.16),
     ("nf4", {"double_quant": True}, 0.135)],
)  # fmt: skip
def test_linear_layers_are_small_in_memory_and_on_disk(tmp_path, method, given, most):
    from minillm.models import Llama, LlamaConfig

    sizes = {"vocab_size": 8, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    model = Llama(LlamaConfig(**sizes, num_attention_heads=4, max_position_embeddings=16), seed=0)
    floats = sum(4 * layer.weight.numel() for name, layer in model.named_modules()
                 if isinstance(layer, nn.Linear) and name != "head")  # fmt: skip
    rest = model_size_bytes(model) - floats
    small = quantize(model, method, **given)
    assert model_size_bytes(small) - rest <= most * floats
    assert save_quantized(small, tmp_path).stat().st_size - rest <= most * floats


@pytest.mark.parametrize(
    "arguments",
    [
        (None,),
        (torch.zeros(0),),
        (torch.tensor([float("nan")]),),
        (torch.ones(2), 0),
        (torch.ones(2).long(),),
    ],
)
def test_bad_input(arguments):
    with pytest.raises(ValueError):
        double_quantize(*arguments)


def test_extremes():
    assert double_quantize(torch.zeros(3)).dequantize().tolist() == [0, 0, 0]
    huge = torch.ones(300)
    huge[3] = 1e30
    back = double_quantize(huge).dequantize()
    assert back.isfinite().all()
    torch.testing.assert_close(back[3], huge[3], rtol=0.01, atol=0)
