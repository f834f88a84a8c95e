"""State spaces against scipy's: the steps of a flow, of a diagonal, the whole layer, its kernel, HiPPO's memory."""

import numpy as np
import pytest
import torch

from minillm.nn import (
    S4DLayer,
    bilinear,
    hippo_legs,
    legs_memory,
    run_flow,
    s4d_kernel,
    zero_order_hold,
)
from minillm.nn.s4d import DISCRETE

signal = pytest.importorskip("scipy.signal", reason="state spaces are held against scipy's")
linalg = pytest.importorskip("scipy.linalg", reason="state spaces are held against scipy's")


def near(found, expected, tolerance=1e-10):
    expected = np.asarray(expected)
    assert np.abs(found.detach().numpy() - expected).max() <= tolerance * (1 + np.abs(expected).max())


def system(A, B, C, D=0.0):
    return np.asarray(A), np.asarray(B)[:, None], np.asarray(C)[None], np.array([[D]])


@pytest.mark.parametrize("size", [1, 3, 6])
@pytest.mark.parametrize("step", [0.01, 0.3, 2.0])
def test_steps_of_a_flow_are_scipys(size, step):
    generator = torch.Generator().manual_seed(size)
    A = torch.randn(size, size, generator=generator).double() - 2 * torch.eye(size).double()
    B = torch.randn(size, generator=generator).double()
    flows = [
        (A, B),
        hippo_legs(size),
        (torch.zeros_like(A), B),
        (A.tril(-1), B),
    ]  # the last two have no inverse
    for A, B in flows:
        for ours, method in ((bilinear, "bilinear"), (zero_order_hold, "zoh")):
            bar, drive, *_ = signal.cont2discrete(system(A, B, B), step, method)
            found = ours(A, B, step)
            near(found[0], bar)
            near(found[1], drive[:, 0])
        near(zero_order_hold(A, B, step)[0], linalg.expm(step * A.numpy()))


def test_hippos_memory_is_scipys_flow():
    """In log t the flow stands still: from k - 1 to k by scipy's exp, beginning with a flat curve."""
    u = torch.randn(30, generator=torch.Generator().manual_seed(1)).double().cumsum(0)
    A, B = hippo_legs(9)
    x = np.zeros(9)
    x[0] = u[0]
    for k in range(2, 31):
        bar, drive, *_ = signal.cont2discrete(system(A, B, B), np.log(k / (k - 1)), "zoh")
        x = bar @ x + drive[:, 0] * float(u[k - 1])
    near(legs_memory(u, 9)[-1], x)


def test_run_flow_is_scipys_filter():
    """scipy shows C x + D u before the step: ours after it is C A x + C B u."""
    generator = torch.Generator().manual_seed(2)
    A, B = zero_order_hold(*hippo_legs(5), 0.05)
    C, u = torch.randn(5, generator=generator).double(), torch.randn(80, generator=generator).double()
    other = system(A, B, C @ A, float(C @ B))
    expected = signal.dlsim((*other, 1.0), u.numpy())[1][:, 0]
    near(run_flow(A, B, u) @ C, expected)
    above, below = signal.ss2tf(*other)
    near(run_flow(A, B, u) @ C, signal.lfilter(above[0], below, u.numpy()), 1e-8)


@pytest.mark.parametrize("initial", ["lin", "inv", "legs"])
@pytest.mark.parametrize("discrete", ["zoh", "bilinear"])
def test_a_layer_is_scipys_real_system(initial, discrete):
    """A channel of 4 complex states is a flow of 8 real ones; scipy makes the steps, runs it and gives its pulse."""
    layer = S4DLayer(2, 8, initial, discrete, step_min=0.01, step_max=0.5).double()
    layer.draw(torch.Generator().manual_seed(3))
    x = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(4)).double()
    y = layer(x)[0]
    bars, drives, Cs = layer.steps()
    kernel = s4d_kernel(Cs * drives, bars, 50)
    for channel in range(2):
        A = torch.complex(-layer.log_decay[channel].exp(), layer.frequency[channel]).detach().numpy()
        C = Cs[channel].detach().numpy()
        flow = np.block([[np.diag(A.real), -np.diag(A.imag)], [np.diag(A.imag), np.diag(A.real)]])
        drive, read = np.r_[np.ones(4), np.zeros(4)], 2 * np.r_[C.real, -C.imag]
        step = float(layer.log_step[channel].detach().exp())
        bar, held, *_ = signal.cont2discrete(system(flow, drive, read), step, discrete)
        at_once = float(read @ held[:, 0])
        other = (*system(bar, held[:, 0], read @ bar, at_once), 1.0)
        pulse = signal.dimpulse(other, n=50)[1][0][:, 0]
        near(kernel[channel], pulse)
        expected = signal.dlsim(other, x[0, :, channel].numpy())[1][:, 0]
        near(y[0, :, channel] - layer.D[channel] * x[0, :, channel], expected)


def test_diagonal_steps_at_any_size_are_numpys():
    """Also of numbers at which exp(z) - 1 is only rounding, in both precisions, and at zero."""
    sizes = [0.0, 1e-300, 1e-15, 1e-8, 1e-4, 0.1, 3.0, 80.0]
    A = np.array([[size * np.exp(1j * angle) for size in sizes] for angle in (1.6, 2.3, np.pi)])
    step = np.array([[0.001], [0.1], [1.0]])
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(A == 0, step, np.expm1(step * A) / A)
    for kind, real, tolerance in (
        (torch.complex128, torch.float64, 1e-12),
        (torch.complex64, torch.float32, 1e-6),
    ):
        bar, drive = DISCRETE["zoh"](torch.tensor(A).to(kind), torch.tensor(step).to(real))
        kept = np.abs(A) >= (0 if kind == torch.complex128 else 1e-30)
        assert kept.sum() >= 18
        assert np.abs(bar.numpy() - np.exp(step * A)).max() < 100 * tolerance  # of 80 turns
        assert (np.abs(drive.numpy() - expected) / np.abs(expected))[kept].max() < tolerance
