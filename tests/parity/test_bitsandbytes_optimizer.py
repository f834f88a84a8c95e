"""8-bit averages and the gradients of 4-bit layers against bitsandbytes, which runs on a CPU."""

import pytest
import torch

from minillm.quantization import DoubleQuantLinear, FourBitLinear, blockwise_quantize, dynamic_codebook
from minillm.training import AdamW8bit
from tests.quantization.test_model import linear

bitsandbytes = pytest.importorskip("bitsandbytes", reason="the peer of this file: pip install -e '.[parity]'")
functional = bitsandbytes.functional


@pytest.mark.parametrize("signed", [True, False])
def test_codebooks(signed):
    assert torch.equal(dynamic_codebook(signed), functional.create_dynamic_map(signed=signed))


@pytest.mark.parametrize("n", [256, 4096, 5000, 256 * 37])
@pytest.mark.parametrize("signed", [True, False])
def test_blocks_of_8_bits(n, signed):
    x = torch.randn(n, generator=torch.Generator().manual_seed(n)) ** 3
    x = x if signed else x.abs()
    codebook = functional.create_dynamic_map(signed)
    ours = blockwise_quantize(x, 256, dynamic_codebook(signed))
    # their rule, the nearest entry, is what they do in Python, for dtypes that their compiled code does not take
    codes, scales = torch.ops.bitsandbytes.quantize_blockwise(x.double(), codebook, 256)
    assert torch.equal(ours.scales, scales)
    # x · (1 / scale) in place of x / scale: a number midway between two entries may go to the other one
    assert (ours.codes == codes).float().mean() > 0.999
    # their compiled code looks an entry near the nearest one up in a table: never better than ours
    fast, state = functional.quantize_blockwise(x, code=codebook, blocksize=256)
    assert torch.equal(ours.scales, state.absmax)
    scaled = x / ours.scales.repeat_interleave(256)[:n]
    errors = [(scaled - codebook[one.int()]).abs() for one in (ours.codes, fast)]
    assert (errors[0] <= errors[1] + 1e-7).all()
    assert errors[1].max() < 2e-2
    opened = functional.dequantize_blockwise(ours.codes, state)
    torch.testing.assert_close(ours.dequantize(), opened, rtol=1e-6, atol=0)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_of_8_bits(decay):
    settings = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": decay}
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((80, 100), (4096,), (60,))]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    mine, peer = AdamW8bit(ours, **settings), bitsandbytes.optim.AdamW8bit(theirs, **settings)
    for _ in range(8):
        for a, b in zip(ours, theirs):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        mine.step(), peer.step()
        for a, b in zip(ours, theirs):
            state, other = mine.state[a], peer.state[b]
            if a.numel() < 4096:
                torch.testing.assert_close(state["m"], other["state1"], rtol=1e-5, atol=1e-7)
                continue
            for name, number in (("m", 1), ("v", 2)):
                same = state[f"{name}_codes"] == other[f"state{number}"].flatten()
                # their compiled code does not always find the nearest entry, and so the averages part slowly
                assert same.float().mean() > 0.95
                scales = state[f"{name}_scales"], other[f"absmax{number}"]
                torch.testing.assert_close(*scales, rtol=1e-2, atol=0)
    for a, b, before in zip(ours, theirs, start):
        assert (a - b).abs().mean() < 2e-3 * (a - before).abs().mean()


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_4_bit_layer_passes_the_same_gradient(double, bias):
    from bitsandbytes.nn import Linear4bit, Params4bit

    layer = linear(128, 48, bias, 0)
    kind = DoubleQuantLinear if double else FourBitLinear
    ours = kind.from_linear(layer)
    theirs = Linear4bit(
        128, 48, bias=bias, compute_dtype=torch.float32, compress_statistics=double, quant_type="nf4"
    )
    weight = Params4bit(
        layer.weight.data.clone(), requires_grad=False, quant_type="nf4", compress_statistics=double
    )
    theirs.weight, theirs.bias = weight, layer.bias
    theirs = theirs.to("cpu")
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(1))
    found = []
    for one in (ours, theirs):
        here = x.clone().requires_grad_()
        y = one(here)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        found.append((y.detach(), here.grad))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
