"""Absmax and zero-point quantization against their formulas, torch's quantizer, and the error bound of half a step."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.quantization import absmax_quantize, zeropoint_quantize


@st.composite
def tensors(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    x = torch.randn(shape, generator=generator) * 10.0 ** draw(st.integers(-30, 30))
    shift = draw(st.sampled_from([0.0, 1.0, -3.0]))
    x = x + shift * x.abs().max()
    if draw(st.booleans()):
        x.view(-1)[0] *= 1000  # an outlier
    if draw(st.booleans()):
        x = x.transpose(0, -1)  # not contiguous
    return x


def test_absmax_by_hand():
    x = torch.tensor([[0.5, -1.27, 0.004], [0.0, 0.0, 0.0]])
    codes, scale = absmax_quantize(x)
    assert scale.item() == pytest.approx(0.01)
    assert codes.tolist() == [[50, -127, 0], [0, 0, 0]]
    assert codes.dtype == torch.int8
    rows = absmax_quantize(torch.tensor([[0.9, -2.0], [40.0, 10.0]]), bits=4, axis=-1)
    assert rows.scale.tolist() == [[pytest.approx(2 / 7)], [pytest.approx(40 / 7)]]
    assert rows.codes.tolist() == [[3, -7], [7, 2]]


def test_zeropoint_by_hand():
    codes, scale, zero = zeropoint_quantize(torch.tensor([-1.0, 0.0, 1.0, 4.1]))
    assert scale.item() == pytest.approx(0.02)
    assert zero.item() == 50
    assert codes.tolist() == [0, 50, 100, 255]
    assert codes.dtype == torch.uint8
    positive = zeropoint_quantize(torch.tensor([2.55, 1.0]))  # the range is stretched to 0
    assert positive.zero_point.item() == 0
    assert positive.codes.tolist() == [255, 100]


@settings(max_examples=150, deadline=None)
@given(tensors(), st.integers(2, 8), st.sampled_from([None, 0, -1]))
def test_the_error_is_at_most_half_a_step(x, bits, axis):
    for quantized in (absmax_quantize(x, bits, axis), zeropoint_quantize(x, bits, axis)):
        back = quantized.dequantize()
        assert back.shape == x.shape
        assert back.dtype == torch.float32
        # float32 rounds x / scale, a number of up to 255, and the product back
        assert ((x - back).abs() <= quantized.scale * (0.5 + 255 * 3e-7) + x.abs() * 3e-7).all()
        zero = torch.zeros((), dtype=x.dtype)
        assert (back[x == zero] == 0).all()


@settings(max_examples=50, deadline=None)
@given(tensors())
def test_zeropoint_equals_torchs_quantizer(x):
    ours = zeropoint_quantize(x)
    if not 1e-30 < ours.scale.item() < 1e30:
        return
    theirs = torch.fake_quantize_per_tensor_affine(x, ours.scale.item(), int(ours.zero_point), 0, 255)
    # torch multiplies by 1 / scale where we divide: a number midway between two codes may go either way
    steps = (ours.dequantize() - theirs).abs() / ours.scale
    midway = ((x / ours.scale) % 1 - 0.5).abs() < 1e-3
    assert (steps[~midway] < 1e-3).all()
    assert (steps < 1.001).all()


def test_rows_are_quantized_each_on_its_own():
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    for quantize in (absmax_quantize, zeropoint_quantize):
        whole = quantize(x, axis=-1)
        for row, codes in zip(x, whole.codes):
            assert torch.equal(quantize(row).codes, codes)


def test_an_outlier_costs_the_others_their_bits_and_a_scale_a_row_saves_them():
    x = torch.linspace(-1, 1, 64).view(8, 8).clone()
    x[0, 0] = -1000
    lost = (absmax_quantize(x).dequantize() - x)[1:].abs().max()
    kept = (absmax_quantize(x, axis=-1).dequantize() - x)[1:].abs().max()
    assert lost > 0.9
    assert kept < 0.005


def test_extremes():
    assert absmax_quantize(torch.zeros(3)).dequantize().tolist() == [0, 0, 0]
    assert zeropoint_quantize(torch.zeros(3)).dequantize().tolist() == [0, 0, 0]
    largest = torch.finfo(torch.float32).max
    assert absmax_quantize(torch.tensor([largest, -largest])).codes.tolist() == [127, -127]
    assert zeropoint_quantize(torch.tensor([1e38, -1e38])).dequantize().isfinite().all()
    assert absmax_quantize(torch.tensor([1e-45, 0])).dequantize().isfinite().all()
    assert absmax_quantize(torch.tensor(-3.0)).dequantize().item() == -3.0
    assert absmax_quantize(torch.ones(2, dtype=torch.bfloat16)).scale.dtype == torch.float32


@pytest.mark.parametrize("quantize", [absmax_quantize, zeropoint_quantize])
@pytest.mark.parametrize(
    "arguments",
    [(None,), ([1.0],), (torch.tensor([1, 2]),), (torch.zeros(0),), (torch.tensor([1.0, math.inf]),),
     (torch.tensor([math.nan]),), (torch.tensor([1e300], dtype=torch.float64),), (torch.zeros(2), 1),
     (torch.zeros(2), 9),     (torch.zeros(2), 8.0), (torch.zeros(2), 8, 1), (torch.zeros(2), 8, "rows")],
)  # fmt: skip
def test_bad_input(quantize, arguments):
    with pytest.raises(ValueError):
        quantize(*arguments)
