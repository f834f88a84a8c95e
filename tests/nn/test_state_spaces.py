"""HiPPO, the two discretisations, and S4D: a convolution that is a recurrence."""

import copy
import math

import numpy as np
import pytest
import torch

from minillm.nn import (
    S4DLayer,
    bilinear,
    fft_convolve,
    hippo_legs,
    legs_curve,
    legs_memory,
    run_flow,
    s4d_inv,
    s4d_kernel,
    s4d_kernel_plain,
    s4d_last_state,
    s4d_legs,
    s4d_lin,
    s4d_recurrence,
    zero_order_hold,
)
from minillm.nn.s4d import DISCRETE
from tests.helpers import soak_count


def close(found, expected, tolerance=1e-12):
    assert found.shape == expected.shape
    assert float((found - expected).detach().abs().max()) <= tolerance * max(
        1.0, float(expected.detach().abs().max())
    )


# HiPPO


def test_the_matrix_is_the_papers():
    A, B = hippo_legs(4)
    r3, r5, r7 = math.sqrt(3), math.sqrt(5), math.sqrt(7)
    expected = [
        [-1, 0, 0, 0],
        [-r3, -2, 0, 0],
        [-r5, -r3 * r5, -3, 0],
        [-r7, -r3 * r7, -r5 * r7, -4],
    ]
    close(A, torch.tensor(expected, dtype=torch.float64))
    close(B, torch.tensor([1, r3, r5, r7], dtype=torch.float64))


def projection(u, size):
    """numpy's integrals of a signal, held for each of its steps, with Legendre polynomials."""
    legendre, edges = np.polynomial.legendre, np.linspace(-1, 1, len(u) + 1)
    areas = [np.diff(legendre.legval(edges, legendre.legint(row))) @ u / 2 for row in np.eye(size)]
    return np.sqrt(2 * np.arange(size) + 1) * areas


def test_the_state_is_the_projection_of_the_past():
    """After every step, of any signal, to the last digits: the input is held, so no step is an approximation."""
    generator = np.random.default_rng(0)
    for size, length in ((1, 5), (2, 1), (5, 40), (12, 3), (64, 12)):
        u = generator.normal(size=length)
        found = legs_memory(torch.tensor(u), size)
        assert found.shape == (length, size)
        for k in range(1, length + 1):
            close(found[k - 1], torch.tensor(projection(u[:k], size)))


def test_the_state_is_the_best_polynomial_of_the_past():
    """numpy's least squares in Legendre polynomials, on the same signal, and numpy's values of the curve."""
    T, N = 2000, 12
    s = (np.arange(T) + 0.5) / T
    u = np.sin(9 * s) + 0.5 * np.cos(23 * s)
    fit = np.polynomial.legendre.legfit(2 * s - 1, u, N - 1)
    expected = torch.tensor(fit / np.sqrt(2 * np.arange(N) + 1))
    found = legs_memory(torch.tensor(u), N)[-1]
    assert float((found - expected).abs().max()) < 1e-4  # its squares are at points, ours under the curve
    places = torch.linspace(0.02, 0.98, 50).double()
    curve = np.polynomial.legendre.legval(2 * places.numpy() - 1, fit)
    close(legs_curve(expected, places), torch.tensor(curve), 1e-10)
    assert float((legs_curve(found, places) - torch.tensor(curve)).abs().max()) < 1e-3


def test_a_longer_memory_is_a_better_one():
    u = torch.sin(torch.linspace(0, 20, 500).double())
    places = (torch.arange(500) + 0.5) / 500
    errors = [float((legs_curve(legs_memory(u, N)[-1], places) - u).pow(2).mean()) for N in (4, 8, 16, 32)]
    assert errors[0] > errors[1] > 100 * errors[2]
    assert errors[3] < 0.001


# Steps


def test_steps_of_one_number_are_the_formula():
    for a, step in ((-1.0, 0.1), (-0.3, 2.0), (0.5, 0.01)):
        A, B = torch.tensor([[a]], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
        bar, drive = zero_order_hold(A, B, step)
        close(bar, torch.tensor([[math.exp(a * step)]], dtype=torch.float64))
        close(drive, torch.tensor([2 * (math.exp(a * step) - 1) / a], dtype=torch.float64))
        bar, drive = bilinear(A, B, step)
        close(bar, torch.tensor([[(1 + a * step / 2) / (1 - a * step / 2)]], dtype=torch.float64))
        close(drive, torch.tensor([2 * step / (1 - a * step / 2)], dtype=torch.float64))


def test_a_held_input_is_answered_exactly_by_steps_of_any_size():
    """Ten steps of .1 are one step of 1, and many small bilinear steps come to the same."""
    A, B = hippo_legs(6)
    one = run_flow(*zero_order_hold(A, B, 1.0), torch.ones(1))[-1]
    close(run_flow(*zero_order_hold(A, B, 0.1), torch.ones(10))[-1], one, 1e-10)
    errors = [
        float((run_flow(*bilinear(A, B, 1 / n), torch.ones(n))[-1] - one).norm()) for n in (50, 100, 200)
    ]
    assert 3.5 < errors[0] / errors[1] < 4.5  # of second order
    assert 3.5 < errors[1] / errors[2] < 4.5


def test_a_flow_without_an_inverse():
    """A = 0 is a sum: what A⁻¹ cannot say."""
    bar, drive = zero_order_hold(torch.zeros(2, 2).double(), torch.ones(2).double(), 0.25)
    close(bar, torch.eye(2).double())
    close(drive, torch.full((2,), 0.25).double())


# S4D


def test_initial_values():
    close(s4d_lin(8).imag, math.pi * torch.arange(4).double())
    close(
        s4d_inv(8).imag,
        torch.tensor([8 / math.pi * (8 / (2 * n + 1) - 1) for n in range(4)], dtype=torch.float64),
    )
    A, B = hippo_legs(64)
    normal = A + torch.outer(B, B) / 2
    eigenvalues = np.linalg.eigvals(normal.numpy())
    assert np.abs(eigenvalues.real + 0.5).max() < 1e-8
    expected = np.sort(eigenvalues.imag)[32:]
    assert np.abs(s4d_legs(64).imag.numpy() - expected).max() < 1e-8
    ratio = s4d_inv(64).imag / s4d_legs(64).imag.flip(0)  # the paper: Inv is about HiPPO's own
    assert ((ratio > 0.75) & (ratio < 1.25)).all()
    for make in (s4d_lin, s4d_inv, s4d_legs):
        assert (make(16).real == -0.5).all()
        for size in (0, 3):
            with pytest.raises(ValueError, match="size"):
                make(size)


def random_layer(generator, H, N):
    A = torch.complex(
        -torch.rand(H, N, generator=generator).double() - 0.1,
        10 * torch.randn(H, N, generator=generator).double(),
    )
    step = 0.01 + 0.2 * torch.rand(H, 1, generator=generator).double()
    C = torch.randn(H, N, 2, generator=generator).double()
    return A, step, torch.view_as_complex(C)


def test_the_convolution_is_the_recurrence():
    """To 1e-12 in float64, for any length, with what the state before says, and so is the last state."""
    generator = torch.Generator().manual_seed(0)
    for number in range(soak_count(200)):
        L = 1 + int(torch.randint(0, 1025 if number % 4 == 0 else 60, (), generator=generator))
        H, N, batch = (1 + int(torch.randint(0, 4, (), generator=generator)) for _ in range(3))
        A, step, C = random_layer(generator, H, N)
        bar, drive = DISCRETE["zoh" if number % 2 else "bilinear"](A, step)
        u = torch.randn(batch, H, L, generator=generator).double()
        first = torch.randn(batch, H, N, 2, generator=generator).double()
        first = torch.view_as_complex(first) if number % 3 else torch.zeros(batch, H, N).to(A)
        expected, last = s4d_recurrence(u, bar, drive, C, first)
        kernel = s4d_kernel(C * drive, bar, L)
        close(kernel, s4d_kernel_plain(C * drive, bar, L))
        close(fft_convolve(u, kernel) + s4d_kernel(C * bar * first, bar, L), expected)
        close(torch.view_as_real(s4d_last_state(u, bar, drive, first)), torch.view_as_real(last))


def test_fft_convolution_is_numpys():
    generator = torch.Generator().manual_seed(1)
    for L in (1, 2, 3, 50):
        u, kernel = (
            torch.randn(2, 3, L, generator=generator).double(),
            torch.randn(3, L, generator=generator).double(),
        )
        expected = [[np.convolve(u[b, h], kernel[h])[:L] for h in range(3)] for b in range(2)]
        close(fft_convolve(u, kernel), torch.tensor(np.array(expected)))


def test_discretisations_of_a_diagonal_are_those_of_a_matrix():
    """One complex state as a flow of two real ones, through `bilinear` and `zero_order_hold`."""
    a, step = complex(-0.4, 3.0), 0.2
    A, B = (
        torch.tensor([[a.real, -a.imag], [a.imag, a.real]], dtype=torch.float64),
        torch.tensor([1.0, 0.0], dtype=torch.float64),
    )
    for name, matrix in (("zoh", zero_order_hold), ("bilinear", bilinear)):
        bar, drive = DISCRETE[name](
            torch.tensor([[a]], dtype=torch.complex128), torch.tensor([[step]], dtype=torch.float64)
        )
        other, push = matrix(A, B, step)
        close(torch.view_as_real(bar)[0, 0], other[:, 0])
        close(torch.view_as_real(drive)[0, 0], push)


def test_a_sum_is_a_diagonal_of_zero():
    """A = 0: nothing is forgotten; there is no division by it, and its gradient is the limit Δ²/2."""
    A = torch.zeros(1, 1, dtype=torch.complex128, requires_grad=True)
    bar, drive = DISCRETE["zoh"](A, torch.tensor([[0.25]], dtype=torch.float64))
    assert complex(bar.detach()) == 1
    assert complex(drive.detach()) == 0.25
    assert abs(complex(torch.autograd.grad(drive.real.sum(), A)[0]) - 0.25**2 / 2) < 1e-12
    layer = S4DLayer(2, 4)
    with torch.no_grad():
        layer.log_decay.fill_(-1e4)  # exp of it is 0, and the first frequency of Lin is, too
    y, last = layer(torch.ones(1, 9, 2))
    assert bool(y.isfinite().all())
    close(last[0, :, 0].real, 9 * layer.log_step.detach().exp(), 1e-6)


def test_narrow_steps_are_the_wide_ones():
    """In float32, small steps too: exp(z) - 1 would lose half of the digits."""
    layer = S4DLayer(8, 64, step_min=1e-5, step_max=1e-4)
    layer.draw(torch.Generator().manual_seed(6))
    drives = [one.steps()[1].detach() for one in (layer, copy.deepcopy(layer).double())]
    assert float(((drives[0] - drives[1]) / drives[1]).abs().max()) < 1e-6


@pytest.mark.parametrize("initial", ["lin", "inv", "legs"])
@pytest.mark.parametrize("discrete", ["zoh", "bilinear"])
def test_a_layer_reads_a_text_in_any_pieces(initial, discrete):
    layer = S4DLayer(3, 8, initial, discrete).double()
    layer.draw(torch.Generator().manual_seed(2))
    x = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(3)).double()
    whole, last = layer(x)
    for cuts in ((40,), (1,) * 40, (17, 1, 22), (2, 38)):
        state, pieces = None, []
        for piece in x.split(cuts, dim=1):
            y, state = layer(piece, state)
            pieces.append(y)
        close(torch.cat(pieces, dim=1), whole, 1e-11)
        close(torch.view_as_real(state), torch.view_as_real(last), 1e-11)
    for length in (1, 7):  # the last state only where it is wanted
        assert layer(x[:, :length], last=False)[1] is None


@pytest.mark.parametrize("length", [1, 5, 13, 20, 40])
def test_a_kernel_of_any_length_is_numpys_convolution(length):
    """A longer one must not come round the circle of the FFT to the first tokens."""
    generator = np.random.default_rng(length)
    u, kernel = generator.normal(size=(2, 3, 13)), generator.normal(size=(3, length))
    expected = [[np.convolve(one, row)[:13] for one, row in zip(text, kernel)] for text in u]
    close(fft_convolve(torch.tensor(u), torch.tensor(kernel)), torch.tensor(np.array(expected)))


def test_gradients_of_the_layer():
    """Those of the recurrence with the plain kernel's formula."""
    layer = S4DLayer(2, 4).double()
    layer.draw(torch.Generator().manual_seed(4))
    x = torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(5)).double()
    weight = torch.arange(18).double().view(1, 9, 2).sin()
    found = torch.autograd.grad((layer(x)[0] * weight).sum(), list(layer.parameters()))
    bar, drive, C = layer.steps()
    y, _ = s4d_recurrence(x.transpose(1, 2), bar, drive, C, torch.zeros(1, 2, 2).to(bar))
    y = y.transpose(1, 2) + layer.D * x
    for ours, expected in zip(found, torch.autograd.grad((y * weight).sum(), list(layer.parameters()))):
        close(ours, expected, 1e-10)


def test_bad_input_is_named():
    A, B = hippo_legs(3)
    wrong = [
        (lambda: hippo_legs(0), "size must be at least 1, got 0"),
        (lambda: bilinear(A[:2], B, 0.1), "A must be a matrix"),
        (lambda: bilinear(A, B[:2], 0.1), "B must be a vector"),
        (lambda: zero_order_hold(A, B.float(), 0.1), "of A's dtype"),
        (lambda: zero_order_hold(A, B, -1), "step must be at least 0"),
        (lambda: legs_memory(torch.zeros(2, 2), 3), "u must be a real tensor"),
        (lambda: legs_memory(torch.zeros(4) + 0j, 3), "u must be a real tensor"),
        (lambda: run_flow(A, B, torch.zeros(0)), "u must be a real tensor"),
        (lambda: run_flow(A, B[:2], torch.zeros(4)), "B must be a vector"),
        (lambda: bilinear(A.long(), B.long(), 0.1), "A must hold real or complex numbers, not torch.int64"),
        (lambda: legs_curve(torch.zeros(2, 0), torch.zeros(3)), "coefficients must be a tensor"),
        (lambda: legs_curve(torch.zeros(2), 0.5), "places must be a tensor"),
        (lambda: S4DLayer(3, 7), "size must be even"),
        (lambda: S4DLayer(3, 8, "fourier"), "initial must be one of 'lin', 'inv', 'legs'"),
        (lambda: S4DLayer(3, 8, discrete="euler"), "discrete"),
        (lambda: S4DLayer(3, 8, step_min=0.2, step_max=0.1), "step_max"),
        (lambda: S4DLayer(3, 8)(torch.zeros(2, 5, 4)), r"x must be a tensor \(B, T, 3\)"),
        (lambda: S4DLayer(3, 8)(torch.zeros(2, 0, 3)), "x must be a tensor"),
        (lambda: S4DLayer(3, 8)(torch.zeros(2, 5, 3).long()), "x must hold real numbers, not torch.int64"),
        (
            lambda: S4DLayer(3, 8)(torch.zeros(2, 5, 3), torch.zeros(2, 3, 4)),
            "state must be a complex tensor",
        ),
        (
            lambda: S4DLayer(3, 8)(torch.zeros(2, 1, 3), torch.zeros(1, 3, 4) + 0j),
            r"state must be .*\(2, 3, 4\)",
        ),
        (lambda: s4d_kernel(A, A, 0), "length must be at least 1"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
