"""What holds for all kernels along rows: one graph for any length, one gradient, no warning, a number of rows."""

import warnings

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from kernels import _cross_entropy, _rows
from kernels import softmax as softmax_room
from kernels.cross_entropy import cross_entropy
from kernels.layer_norm import layer_norm
from kernels.linear_cross_entropy import linear_cross_entropy
from kernels.rms_norm import rms_norm
from kernels.rotary import rotary
from kernels.softmax import softmax
from kernels.swiglu import swiglu


def losses(x):
    """Each function of x (N, 8) alone, summed or squared to a scalar: {name: () -> scalar}."""
    weight, matrix = torch.ones(8, device=x.device), torch.ones(11, 8, device=x.device)
    targets = torch.arange(len(x), device=x.device) % 8
    return {
        "softmax": lambda: softmax(x).square().sum(),
        "rms_norm": lambda: sum(y.square().sum() for y in rms_norm(x, weight, residual=x)),
        "layer_norm": lambda: sum(y.square().sum() for y in layer_norm(x, weight, weight, residual=x)),
        "swiglu": lambda: swiglu(*x.chunk(2, dim=-1)).sum(),
        "rotary": lambda: (
            rotary(x[None, None], None, x.detach().cos()[:, :3], x.detach().sin()[:, :3]).square().sum()
        ),
        "cross_entropy": lambda: cross_entropy(x, targets),
        "cross_entropy in place": lambda: cross_entropy(x * 1, targets, overwrite_logits=True),
        "linear_cross_entropy": lambda: linear_cross_entropy(x, matrix, targets),
    }


NAMES = list(losses(torch.ones(1, 8)))
ONCE = [name for name in NAMES if name != "rotary"]  # the gradient of a turn is a turn, and has a gradient


def test_one_graph_serves_any_number_of_rows(device):
    """A compiled model may be recompiled once, when the length is seen to change, and not for every length."""
    counter = CompileCounterWithBackend("aot_eager")

    def loss(x):
        functions = losses(x)
        return sum(functions[name]() for name in ("rms_norm", "layer_norm", "linear_cross_entropy"))

    compiled = torch.compile(loss, fullgraph=True, backend=counter, dynamic=True)
    for rows in (5, 9, 34):
        x = torch.linspace(-2, 3, rows * 8, device=device).view(rows, 8).requires_grad_()
        (found,), (expected,) = (torch.autograd.grad(f(x), x) for f in (compiled, loss))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("name", ONCE)
def test_a_gradient_of_the_gradient_is_refused(device, name):
    """Never left out in silence: a penalty on the gradient would then be a constant."""
    x = torch.linspace(-2, 3, 24, device=device).view(3, 8).requires_grad_()

    def twice():
        (gradient,) = torch.autograd.grad(losses(x)[name]() ** 2, x, create_graph=True)
        torch.autograd.grad(gradient.square().sum() + x.sum(), x)

    with pytest.raises(RuntimeError, match=r"no autograd formula|gave its gradient away|no gradient of its"):
        twice()


@pytest.mark.parametrize("widest", [_rows.WIDEST, 0])
def test_the_padding_of_tiles_makes_no_warning(device, monkeypatch, generator, widest):
    """The interpreter's arithmetic, numpy, warns of infinities: ordinary rows, ragged or ignored, must compute none."""
    monkeypatch.setattr(softmax_room, "WIDEST", widest)
    monkeypatch.setattr(_cross_entropy, "WIDEST", widest)
    x = torch.randn(7, 64, generator=generator).to(device).requires_grad_()  # four rows a tile
    targets = torch.full((7,), -100, device=device)
    targets[2] = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for smoothing in (0.0, 0.1):
            cross_entropy(x, targets, label_smoothing=smoothing).backward()
        softmax(x).sum().backward()
        sum(y.sum() for y in rms_norm(x, x[0].detach(), residual=x)).backward()
        sum(y.sum() for y in layer_norm(x, x[0].detach(), residual=x)).backward()
        swiglu(x, x).sum().backward()
    assert x.grad.isfinite().all()


def test_more_rows_than_32_bits_count_are_refused(device):
    x = torch.ones(1, 8, device=device).expand(2**31, 8)  # 32 bytes
    targets = torch.zeros(1, dtype=torch.int64, device=device).expand(2**31)
    for call in (
        lambda: softmax(x),
        lambda: rms_norm(x, x[0]),
        lambda: layer_norm(x, x[0]),
        lambda: swiglu(x, x),
        lambda: cross_entropy(x, targets),
        lambda: linear_cross_entropy(x, x[:3], targets),
    ):
        with pytest.raises(ValueError, match=r"fewer than 2\*\*31 rows, got .*2147483648"):
            call()
