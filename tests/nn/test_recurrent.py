"""RNN, LSTM and GRU by hand: torch.nn's numbers, gradients, shapes and names of weights."""

import pytest
import torch
from torch import nn

from minillm.nn import GRULayers, LSTMLayers, RNNLayers, gradient_norms

KINDS = {
    "RNN": (RNNLayers, nn.RNN, {}),
    "RNN, relu": (RNNLayers, nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (LSTMLayers, nn.LSTM, {}),
    "GRU": (GRULayers, nn.GRU, {}),
}


def pair(name, *sizes, **options):
    """Ours and torch's with the same weights, in float64."""
    ours, theirs, more = KINDS[name]
    mine, other = (cls(*sizes, **options, **more).double() for cls in (ours, theirs))
    mine.load_state_dict(other.state_dict())
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in other.named_parameters()]
    return mine, other


def listed(state):
    return [state] if isinstance(state, torch.Tensor) else list(state)


@pytest.mark.parametrize("name", KINDS)
def test_equal_to_torch_with_gradients(name):
    generator = torch.Generator().manual_seed(0)
    for layers, bias, first, both in (
        (1, True, False, False),
        (3, True, True, True),
        (2, False, False, True),
    ):
        mine, other = pair(name, 5, 4, num_layers=layers, bias=bias, batch_first=first, bidirectional=both)
        x = torch.randn((3, 7, 5) if first else (7, 3, 5), generator=generator, dtype=torch.float64)
        shape = (layers * (1 + both), 3, 4)
        states = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(mine.kinds)]
        for given in (None, states[0] if len(states) == 1 else tuple(states)):
            found = []
            for layer in (mine, other):
                here = x.clone().requires_grad_()
                layer.flatten_parameters()
                y, last = layer(here, hx=given)
                total = sum(
                    (out * (1 + i + torch.arange(out.numel()).view_as(out).sin())).sum()
                    for i, out in enumerate([y, *listed(last)])
                )
                grads = torch.autograd.grad(total, [here, *layer.parameters()])
                found.append([y, *listed(last), *grads])
            for ours, theirs in zip(*found, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_text_without_a_batch(name):
    mine, other = pair(name, 3, 4, num_layers=2, bidirectional=True)
    for first in (False, True):
        mine.batch_first = other.batch_first = first
        x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        state = torch.ones(4, 4, dtype=torch.float64)
        for given in (None, (state, -state) if mine.kinds == 2 else state):
            (y, last), (expected, other_last) = mine(x, given), other(x, given)
            torch.testing.assert_close(y, expected)
            for ours, theirs in zip(listed(last), listed(other_last), strict=True):
                torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", KINDS)
def test_dropout_is_between_the_layers(name):
    """All of it: the second layer reads zeros, and its own output stays."""
    mine, other = pair(name, 3, 4, num_layers=2, dropout=1.0)
    x = torch.randn(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(mine(x)[0], other(x)[0])
    assert not torch.allclose(mine(x)[0], mine.eval()(x)[0])
    torch.testing.assert_close(mine(x)[0], other.eval()(x)[0])
    half, _ = pair(name, 3, 4, num_layers=2, dropout=0.5)
    assert not torch.equal(half(x)[0], half(x)[0])


def test_first_weights_are_torchs():
    """Even in ±1/√H, which is all that torch says of them."""
    for ours, _, more in KINDS.values():
        weights = torch.cat([p.detach().flatten() for p in ours(40, 64, num_layers=2, **more).parameters()])
        assert weights.abs().max() <= 64**-0.5
        assert abs(float(weights.std()) * 64**0.5 * 3**0.5 - 1) < 0.02
        drawn = [ours(4, 5, **more) for _ in range(2)]
        for layer in drawn:
            layer.draw(torch.Generator().manual_seed(3))
        assert all(torch.equal(a, b) for a, b in zip(*(layer.parameters() for layer in drawn), strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_gradient_norms_are_those_of_the_jacobian(name):
    mine, other = pair(name, 3, 4)
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    jacobian = torch.autograd.functional.jacobian(lambda x: other(x)[0][-1], x)  # (H, T, C)
    expected = jacobian.pow(2).sum(dim=(0, 2)).sqrt()
    torch.testing.assert_close(gradient_norms(mine, x), expected)
    torch.testing.assert_close(gradient_norms(other, x), expected)
    torch.testing.assert_close(gradient_norms(lambda x: mine(x), x), expected)  # 16_3 hands a function in
    with torch.no_grad():
        torch.testing.assert_close(gradient_norms(mine, x), expected)


@pytest.mark.parametrize("name", KINDS)
def test_autocast_makes_one_of_two_floats(name):
    mine, other = (one.float() for one in pair(name, 3, 4))
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(5)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = mine(x)[0]
    torch.testing.assert_close(found.float(), other(x.float())[0], atol=0.03, rtol=0)


def test_bad_input_is_named():
    layer, x = LSTMLayers(3, 4), torch.zeros(5, 2, 3)
    h = torch.zeros(1, 2, 4)
    wrong = [
        (lambda: LSTMLayers(0, 4), "input_size must be at least 1, got 0"),
        (lambda: LSTMLayers(3, 4, num_layers=0), "num_layers"),
        (lambda: LSTMLayers(3, 4, dropout=1.5), "dropout"),
        (lambda: LSTMLayers(3, 4, bias=1), "bias"),
        (lambda: RNNLayers(3, 4, nonlinearity="sin"), "nonlinearity must be one of 'tanh', 'relu'"),
        (lambda: layer(None), r"x must be a tensor \(T, B, C\)"),
        (lambda: layer(torch.zeros(5, 2, 4)), "C = 3, got"),
        (lambda: layer(torch.zeros(0, 2, 3)), "at least one token"),
        (lambda: layer(x, h), r"two tensors \(h, c\) of shape \(1, 2, 4\)"),
        (lambda: layer(x, (h, h[:, :1])), r"\(1, 2, 4\)"),
        (lambda: GRULayers(3, 4)(x, (h, h)), "hx must be a tensor"),
        (lambda: layer(x.double()), "x must be of torch.float32, as the weights are, got"),
        (lambda: layer(x.long()), "x must be of torch.float32, as the weights are, got"),
        (lambda: layer(x, (h, h.double())), "hx must be of torch.float32, as the weights are, got"),
        (lambda: gradient_norms(layer, x), r"x must be a tensor \(T, C\)"),
        (lambda: gradient_norms(layer, x[:, 0].long()), r"x must be a tensor \(T, C\) of floats"),
        (lambda: gradient_norms(LSTMLayers(3, 4, batch_first=True), x[:, 0]), "without batch_first"),
        (lambda: gradient_norms(None, x[:, 0]), "layers must read"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
