"""minillm's quantized layers and the kernels agree: on codes, on where they lie in memory, and on who multiplies."""

import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("minillm.quantization", reason="this environment holds the kernels' requirements only")

from kernels.int8_matmul import quantize_rows
from kernels.w4a16 import w4a16_linear
from minillm import _kernels
from minillm._kernels import KERNELS, use_kernels
from minillm.quantization import FourBitLinear, Int8Linear, absmax_quantize, uniform_codebook
from tests.helpers import HostReads


def float_layer(generator, inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def relative(got, expected):
    """‖got - expected‖ / ‖expected‖ in float64 on the CPU."""
    got, expected = got.cpu().double(), expected.cpu().double()
    return float((got - expected).norm() / expected.norm())


@pytest.fixture
def kernels_at_work(monkeypatch):
    """The layers take the kernels on any device; returns the list of the kernels' answers."""
    answers = []
    for name in ("int8_linear", "w4a16_linear"):
        real = KERNELS[name].kernel
        monkeypatch.setattr(
            KERNELS[name], "kernel", lambda *x, real=real: (answers.append(real(*x)), answers[-1])[1]
        )
    with use_kernels("always"):
        yield answers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_get_the_codes_of_absmax_quantize(device, generator, dtype):
    x = torch.randn(9, 300, generator=generator).to(dtype)
    x[4] = 0
    codes, scale = quantize_rows(x.to(device))
    expected = absmax_quantize(x, axis=-1)
    assert torch.equal(codes.cpu(), expected.codes)
    assert torch.equal(scale.cpu(), expected.scale.view(-1))


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("block", [16, 64, 500])
@pytest.mark.parametrize("even_codes", [False, True])
def test_the_kernels_read_what_minillm_packs(device, generator, rows, block, even_codes):
    layer = float_layer(generator, 172, 35)
    small = FourBitLinear.from_linear(layer, block, *([uniform_codebook()] if even_codes else []))
    x = torch.randn(rows, 172, generator=generator)
    arguments = [t.to(device) for t in small.rows()]
    got = w4a16_linear(x.to(device), *arguments, block, codebook=small.codebook.to(device))
    assert relative(got, x.double() @ small.dequantize().double().T) <= 1e-5


@pytest.mark.parametrize("shape", [(172,), (1, 172), (2, 9, 172), (0, 172)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_multiply_through_the_kernels(device, generator, kernels_at_work, shape, dtype):
    layer = float_layer(generator, 172, 35)
    x = torch.randn(shape, generator=generator).to(dtype).to(device)
    for small in (FourBitLinear.from_linear(layer).to(device), Int8Linear.from_linear(layer).to(device)):
        for held in (small, small.to(dtype)):  # scales in x's dtype, too
            got = held(x)
            assert got is kernels_at_work[-1]
            assert (got.shape, got.dtype) == ((*shape[:-1], 35), dtype)
            if x.numel():
                expected = F.linear(x.double(), held.dequantize().double(), held.bias.double())
                rounding = 0.02 if isinstance(small, Int8Linear) else 1e-5 if dtype == torch.float32 else 0.01
                assert relative(got, expected) <= rounding


def test_int8_layers_keep_outliers_as_floats(device, generator, kernels_at_work):
    small = Int8Linear.from_linear(float_layer(generator, 64, 35)).to(device)
    x = torch.randn(5, 64, generator=generator).clamp(-5, 5)
    x[:, 3] *= 300
    expected = F.linear(x.double(), small.dequantize().cpu().double(), small.bias.cpu().double())
    kept = relative(small(x.to(device)), expected)
    small.threshold = 0.0
    assert kept < 0.1 * relative(small(x.to(device)), expected)


@pytest.mark.parametrize("kind", [Int8Linear, FourBitLinear])
def test_a_layer_reads_no_number_off_the_gpu(device, generator, kernels_at_work, kind):
    """Reading one makes the host wait: once a layer, it would never be ahead of the GPU. (Outliers used to.)"""
    layers = [kind.from_linear(float_layer(generator, 64, 64)).to(device) for _ in range(3)]
    x = torch.randn(5, 64, generator=generator).to(device)
    x[:, 3] *= 300
    with HostReads() as reads:
        for layer in layers:
            x = layer(x)
    assert len(kernels_at_work) == 3
    assert reads.count == 0


@pytest.mark.parametrize("kind", [Int8Linear, FourBitLinear])
def test_a_layer_without_kernels_asks_no_number_of_a_device_that_has_none(generator, kind):
    layer = kind.from_linear(float_layer(generator, 64, 5)).to("meta")
    assert layer(torch.ones(20, 64, device="meta")).shape == (20, 5)


@pytest.mark.parametrize(
    ("inputs", "block", "codebook"),
    [(63, 64, uniform_codebook()), (64, 8, uniform_codebook()), (64, 16, torch.linspace(-1, 1, 8))],
)
def test_layers_the_kernels_do_not_take_fall_back(
    device, generator, kernels_at_work, inputs, block, codebook
):
    small = FourBitLinear.from_linear(float_layer(generator, inputs, 5), block, codebook).to(device)
    x = torch.randn(3, inputs, generator=generator).to(device)
    torch.testing.assert_close(small(x), small.forward_plain(x), rtol=1e-4, atol=1e-4)
    assert kernels_at_work == []


@pytest.mark.parametrize("kind", [Int8Linear, FourBitLinear])
def test_who_multiplies(device, generator, kind):
    layer = kind.from_linear(float_layer(generator, 64, 4)).to(device)
    x = torch.ones(2, 64, device=device)
    # on a CPU, though TRITON_INTERPRET is set, torch
    assert layer.product.runs(x, layer) == (device == "cuda")
    with use_kernels("never"):
        assert not layer.product.runs(x, layer)
    with use_kernels("always"):
        assert layer.product.runs(x, layer)
        assert not layer.product.runs(x.double(), layer)
        assert not layer.product.runs(x.clone().requires_grad_(), layer)
        with torch.no_grad():
            assert layer.product.runs(x.clone().requires_grad_(), layer)
        with torch.autocast(device, torch.bfloat16):
            assert not layer.product.runs(x, layer)


def test_without_the_package_of_the_kernels_torch_multiplies(monkeypatch):
    assert _kernels.kernels_installed()
    monkeypatch.setitem(sys.modules, "kernels", None)
    assert not _kernels.kernels_installed()
    monkeypatch.setitem(sys.modules, "kernels", json)  # another package of this name
    assert not _kernels.kernels_installed()


def test_quantization_does_not_import_triton():
    code = """
import sys, minillm.quantization
from minillm import _kernels
print("triton" in sys.modules, _kernels.kernels_installed(), "triton" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr
