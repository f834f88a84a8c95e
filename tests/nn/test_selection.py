"""Layers that choose: a fixed one is a convolution, a chosen step is a GRU's gate, all choices are the formula."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.nn import scan_loop
from minillm.nn.selection import FixedLayer, SelectiveLayer, StepLayer

LAYERS = (FixedLayer, StepLayer, SelectiveLayer)


def drawn(layer, seed=0):
    layer.draw(torch.Generator().manual_seed(seed))
    return layer.double()


def tokens(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_fixed_layer_is_numpys_convolution():
    layer, x = drawn(FixedLayer(3, 4, 0.05, 0.5)), tokens(2, 40, 3)
    with torch.no_grad():
        y, _ = layer(x)
        step, A = F.softplus(layer.step).numpy(), -layer.A_log.exp().numpy()
    B, C = layer.B.detach().numpy(), layer.C.detach().numpy()
    for text in range(2):
        for d in range(3):
            kernel = [(C * B * step[d] * np.exp(step[d] * A[d]) ** k).sum() for k in range(40)]
            expected = np.convolve(x[text, :, d].numpy(), kernel)[:40]
            assert np.abs(y[text, :, d].numpy() - expected).max() < 1e-12


def test_a_chosen_step_is_the_gate_of_torchs_gru():
    """Theorem 1 of the Mamba paper: N = 1, A = -1, B = C = 1; the layer writes Δ x, a hold writes (1 - exp(-Δ)) x."""
    gru = nn.GRU(3, 3, batch_first=True).double()
    layer = drawn(StepLayer(3, 1))
    x = tokens(2, 30, 3)
    with torch.no_grad():
        gru.weight_hh_l0.zero_(), gru.bias_hh_l0.zero_()
        gru.weight_ih_l0.zero_()[:6] = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).double()
        gru.bias_ih_l0[6:] = torch.tensor([0.3, -0.7, 0.9])
        layer.A_log.zero_(), layer.B.fill_(1), layer.C.fill_(1)
        layer.to_step.copy_(-gru.weight_ih_l0[3:6]), layer.step.copy_(-gru.bias_ih_l0[3:6])
        dt, B, C = layer.choices(x)
        held = gru.bias_ih_l0[6:].tanh() * -torch.expm1(-dt) / dt
        found, _ = scan_loop(held, dt, -torch.exp(layer.A_log), B, C)
        torch.testing.assert_close(found, gru(x)[0], rtol=1e-12, atol=1e-12)


def test_all_choices_are_the_formula():
    layer, x = drawn(SelectiveLayer(3, 2)), tokens(1, 9, 3)
    y, last = (one.detach().numpy() for one in layer(x))
    W, b, A = layer.to_all.detach().numpy(), layer.step.detach().numpy(), -layer.A_log.exp().detach().numpy()
    h = np.zeros((3, 2))
    for t, token in enumerate(x[0].numpy()):
        picked = W @ token
        dt, B, C = np.log1p(np.exp(picked[:3] + b)), picked[3:5], picked[5:]
        h = np.exp(dt[:, None] * A) * h + (dt * token)[:, None] * B
        assert np.abs(y[0, t] - h @ C).max() < 1e-12
    assert np.abs(last[0] - h).max() < 1e-12


@pytest.mark.parametrize("kind", LAYERS)
def test_a_text_in_two_parts_is_the_whole(kind):
    layer, x = drawn(kind(4, 3)), tokens(2, 11, 4)
    whole, end = layer(x)
    first, state = layer(x[:, :5])
    second, last = layer(x[:, 5:], state)
    torch.testing.assert_close(torch.cat((first, second), dim=1), whole)
    torch.testing.assert_close(last, end)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_seed_repeats_and_all_weights_learn(kind):
    one, other = drawn(kind(4, 3), seed=5), drawn(kind(4, 3), seed=5)
    for (name, weight), (_, same) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(weight, same), name
    one(tokens(2, 6, 4))[0].square().sum().backward()
    for name, weight in one.named_parameters():
        assert float(weight.grad.abs().max()) > 0, name


def test_first_steps_lie_within_their_bounds():
    layer = drawn(FixedLayer(500, 1, 0.01, 0.5), seed=6)
    steps = F.softplus(layer.step.detach())
    assert 0.01 * (1 - 1e-6) < float(steps.min()) < 0.02
    assert 0.25 < float(steps.max()) < 0.5 * (1 + 1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        FixedLayer(0)
    with pytest.raises(ValueError, match="state_size must be at least 1"):
        SelectiveLayer(2, 0)
    with pytest.raises(ValueError, match="step_max"):
        StepLayer(2, 2, 0.5, 0.1)
    for kind in LAYERS:
        layer = kind(3, 2)
        for x in (
            None,
            torch.zeros(2, 3),
            torch.zeros(1, 2, 4),
            torch.zeros(1, 0, 3),
            torch.zeros(1, 2, 3).int(),
            torch.zeros(1, 2, 3).double(),
        ):
            with pytest.raises(ValueError, match=r"x must be a float32 tensor \(B, T, 3\)"):
                layer(x)
        with pytest.raises(ValueError, match="state must be a tensor"):
            layer(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
