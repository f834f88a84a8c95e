"""LLM.int8 against equation 8 of the paper in numpy."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minillm.quantization import (
    LLMInt8Linear,
    absmax_quantize,
    load_quantized,
    outlier_columns,
    quantize,
    rounded_inputs,
    save_quantized,
    vectorwise_product,
)
from tests.quantization.test_model import linear, tiny


def by_numpy(x, w, threshold):
    """y (N, O) in float64, column by column: outlier columns plain, the others as products of whole numbers."""
    x, w = x.numpy(), w.numpy()
    high = np.array([threshold > 0 and (np.abs(column) >= threshold).any() for column in x.T])
    tiny = np.finfo(np.float32).tiny
    s = np.maximum(np.abs(w).max(1) / np.float32(127), tiny)
    a = np.maximum(np.where(high, 0, np.abs(x)).max(1) / np.float32(127), tiny)
    codes_w = np.rint(w / s[:, None])
    y = np.zeros((len(x), len(w)))
    for i in range(x.shape[1]):
        if high[i]:
            y += np.outer(x[:, i].astype(float), codes_w[:, i] * s.astype(float))
        else:
            y += np.outer(np.rint(x[:, i] / a), codes_w[:, i]) * np.outer(a.astype(float), s)
    return y


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 70), outputs=st.integers(1, 20), rows=st.integers(1, 40), outliers=st.integers(0, 3),
    threshold=st.sampled_from([0, 2.5, 6.0]), seed=st.integers(0, 999),
)  # fmt: skip
def test_layer_and_steps_equal_the_paper(inputs, outputs, rows, outliers, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    layer, x = linear(inputs, outputs, False, seed), torch.randn(rows, inputs, generator=generator)
    for _ in range(outliers):
        x[torch.randint(rows, (), generator=generator), torch.randint(inputs, (), generator=generator)] = 40.0
    expected = torch.from_numpy(by_numpy(x, layer.weight.detach(), threshold))
    weight = absmax_quantize(layer.weight, axis=-1)
    small = LLMInt8Linear.from_linear(layer, threshold)
    for got in (vectorwise_product(x, weight, threshold), small(x), small.forward_torch(x[None])[0]):
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_outlier_columns_by_hand():
    x = torch.tensor([[1.0, -6.0, 2.0], [1.0, 0.0, 5.9]])
    assert outlier_columns(x).tolist() == [False, True, False]
    assert outlier_columns(x, 0).tolist() == [False, False, False]
    # row 0: 1 and 2 share the scale 2 / 127; row 1: 1 and 5.9
    kept = rounded_inputs(x)
    assert kept[:, 1].tolist() == [-6.0, 0.0]
    torch.testing.assert_close(kept[0, 0] * 127 / 2, torch.tensor(64.0))
    torch.testing.assert_close(kept[1, 0] * 127 / 5.9, torch.tensor(22.0))


def test_outliers_break_the_rounding_of_rows_and_the_decomposition_mends_it():
    generator = torch.Generator().manual_seed(0)
    layer, x = linear(256, 64, False, 0), torch.randn(32, 256, generator=generator)
    x[:, 7] *= 60
    exact = layer(x).detach()
    error = {
        threshold: float((LLMInt8Linear.from_linear(layer, threshold)(x) - exact).norm() / exact.norm())
        for threshold in (0, 6.0)
    }
    assert error[6.0] < 0.012
    assert error[0] > 3 * error[6.0]


def test_hostile_inputs():
    layer = linear(8, 3, True, 1)
    small = LLMInt8Linear.from_linear(layer)
    assert torch.equal(small(torch.zeros(2, 8)), layer.bias.detach().expand(2, -1))
    assert small(torch.zeros(0, 8)).shape == (0, 3)
    assert small(torch.full((1, 8), 3e38)).shape == (1, 3)
    bad = torch.ones(3, 8)
    bad[1, 2] = float("nan")
    assert small(bad)[1].isnan().all()
    assert small(bad)[[0, 2]].isfinite().all()
    with pytest.raises(ValueError, match="NaN"):
        vectorwise_product(bad, absmax_quantize(layer.weight, axis=-1))
    for wrong in (torch.zeros(2, 7), torch.zeros(2, 8).long(), None):
        with pytest.raises(ValueError, match="x must be"):
            small(wrong)
    for threshold in (-1, float("nan"), None, "6"):
        with pytest.raises(ValueError, match="threshold"):
            LLMInt8Linear.from_linear(layer, threshold)
    weight = absmax_quantize(layer.weight, axis=-1)
    for wrong in (torch.zeros(8), torch.zeros(1, 2, 8), [[0.0] * 8]):
        with pytest.raises(ValueError, match="x must be a tensor"):
            outlier_columns(wrong)
        with pytest.raises(ValueError, match="x must be a tensor"):
            vectorwise_product(wrong, weight)
    with pytest.raises(ValueError, match="8 columns"):
        vectorwise_product(torch.zeros(2, 7), weight)
    for wrong in (layer.weight, absmax_quantize(layer.weight, axis=0)):
        with pytest.raises(ValueError, match="weight must"):
            vectorwise_product(torch.zeros(2, 8), wrong)
    for threshold in (-1, float("nan"), None, "6"):
        with pytest.raises(ValueError, match="threshold"):
            vectorwise_product(torch.zeros(2, 8), weight, threshold)
    layer.weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match="inf or NaN"):
        LLMInt8Linear.from_linear(layer)


def test_gradients_pass_the_rounding():
    small = LLMInt8Linear.from_linear(linear(16, 8, True, 0))
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = small(x)
    torch.testing.assert_close(y.detach(), small(x.detach()))
    y.sum().backward()
    torch.testing.assert_close(x.grad, small.dequantize().sum(0).expand(2, -1))
    assert small(x.detach().bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert small(x.detach()).dtype == torch.bfloat16


def test_a_model_and_its_folder(tmp_path):
    model = tiny()
    small = quantize(model, "llm.int8", threshold=0.5)
    assert {layer.threshold for layer in small.modules() if isinstance(layer, LLMInt8Linear)} == {0.5}
    save_quantized(small, tmp_path)
    back, ids = load_quantized(tmp_path), torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(back(ids).logits, small(ids).logits)
        # every column an outlier: nothing of the inputs is rounded
        all_kept = quantize(model, "llm.int8", threshold=1e-30)(ids).logits
        torch.testing.assert_close(all_kept, quantize(model, "int8")(ids).logits, rtol=1e-4, atol=1e-5)
        assert not torch.equal(small(ids).logits, all_kept)
    assert "threshold=0.5" in repr(back)
    assert copy.deepcopy(back).body.blocks[0].attention.q_proj.threshold == 0.5


def test_generation_takes_the_plain_way():
    from minillm.inference import SamplingParams, generate

    small = quantize(tiny(), "llm.int8", threshold=0.5)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        expected = small(ids).logits[0, -1].argmax()
    assert generate(small, [1, 2, 3], SamplingParams(temperature=0, max_tokens=1)) == [int(expected)]


@pytest.mark.parametrize(
    ("method", "given", "word"),
    [("int8", {"threshold": 6.0}, "inputs as they are"), ("llm.int8", {"threshold": -1}, "threshold"),
     ("llm.int8", {"bits": 4}, "8 bits"), ("llm.int8", {"group_size": 64}, "one scale a row"),
     ("llm.int8", {"symmetric": True}, "zero points"), ("llm.int8", {"double_quant": True}, "scales of blocks"),
     ("rtn", {"double_quant": True}, "scales of blocks"), ("nf4", {"double_quant": 1}, "double_quant")],
)  # fmt: skip
def test_bad_arguments(method, given, word):
    with pytest.raises(ValueError, match=word):
        quantize(nn.Sequential(nn.Linear(4, 4)), method, **given)
