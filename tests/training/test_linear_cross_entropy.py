"""The last layer and its loss in one, against F.cross_entropy(F.linear()) in float64."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from minillm.training import linear_cross_entropy, linear_cross_entropy_plain

module = sys.modules["minillm.training.linear_cross_entropy"]


def problem(N=37, C=6, V=11, bias=True, ignored=0.3):
    generator = torch.Generator().manual_seed(N)
    tensors = [torch.randn(shape, generator=generator) for shape in ((N, C), (V, C), (V,))]
    targets = torch.randint(0, V, (N,), generator=generator)
    targets[torch.rand(N, generator=generator) < ignored] = -100
    return tensors if bias else [*tensors[:2], None], targets


def torchs(hidden, weight, targets, bias=None, ignore_index=-100, label_smoothing=0.0):
    return F.cross_entropy(
        F.linear(hidden, weight, bias), targets, ignore_index=ignore_index, label_smoothing=label_smoothing
    )


def with_gradients(function, tensors, targets, factor=3.0, dtype=torch.float32, **options):
    """[loss, gradients of factor * loss], float64."""
    hidden, weight, bias = (
        None if x is None else x.to(dtype).detach().clone().requires_grad_() for x in tensors
    )
    loss = function(hidden, weight, targets, bias, **options)
    (loss * factor).backward()
    return [loss.detach().double(), *(x.grad.double() for x in (hidden, weight, bias) if x is not None)]


@pytest.mark.parametrize("function", [linear_cross_entropy, linear_cross_entropy_plain])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("rows", [1, 8, 37])  # of a chunk
def test_loss_and_gradients_equal_torch(monkeypatch, function, bias, smoothing, rows):
    monkeypatch.setattr(module, "FEWEST_ROWS", rows)
    tensors, targets = problem(bias=bias, V=400)  # so large a vocabulary that a chunk has the fewest rows
    options = {"label_smoothing": smoothing}
    expected = with_gradients(torchs, tensors, targets, dtype=torch.float64, **options)
    for got, wanted in zip(with_gradients(function, tensors, targets, **options), expected):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_leading_axes_and_another_ignore_index():
    (hidden, weight, bias), targets = problem(N=12, ignored=0)
    expected = torchs(hidden, weight, targets, bias, ignore_index=3)
    got = linear_cross_entropy(hidden.view(3, 4, 6), weight, targets.view(3, 4), bias, ignore_index=3)
    torch.testing.assert_close(got, expected)


def test_gradients_nobody_wants_are_not_made():
    (hidden, weight, bias), targets = problem()
    linear_cross_entropy(hidden, weight.requires_grad_(), targets, bias).backward()
    assert hidden.grad is None
    assert bias.grad is None
    expected = with_gradients(torchs, problem()[0], targets, factor=1.0)[2]
    torch.testing.assert_close(weight.grad.double(), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, targets, bias).requires_grad


def test_autocast_narrows_the_product_as_it_does_for_a_linear_layer():
    tensors, targets = problem(N=64, C=32, V=50)
    with torch.autocast("cpu", torch.bfloat16):
        expected = with_gradients(torchs, tensors, targets)
        got = with_gradients(linear_cross_entropy, tensors, targets)
    assert got[0] == pytest.approx(float(expected[0]), rel=1e-3)
    for ours, theirs in zip(got[1:], expected[1:]):
        assert (ours - theirs).norm() <= 0.02 * theirs.norm()
    exact = with_gradients(torchs, tensors, targets)
    assert not torch.equal(got[1], exact[1])  # it was narrowed


class Largest(TorchDispatchMode):
    """The most numbers that any tensor made inside holds."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.size = max(self.size, result.numel())
        return result


def test_the_logits_are_never_there_as_a_whole():
    tensors, targets = problem(N=2048, C=4, V=1000)
    sizes = []
    for function in (linear_cross_entropy, torchs):
        with Largest() as largest:
            with_gradients(function, tensors, targets)
        sizes.append(largest.size)
    assert sizes == [256 * 1000, 2048 * 1000]


def test_all_ignored_is_nan_as_in_torch():
    (hidden, weight, bias), targets = problem(ignored=2)
    assert linear_cross_entropy(hidden, weight, targets, bias).isnan()
    assert torchs(hidden, weight, targets, bias).isnan()


def test_no_number_is_asked_of_another_device():
    """A meta tensor has no numbers: whoever reads one raises. On a GPU reading one would wait for the GPU."""
    (hidden, weight, bias), targets = problem()
    hidden, weight, bias, targets = (x.to("meta") for x in (hidden, weight, bias, targets))
    loss = linear_cross_entropy(hidden.requires_grad_(), weight.requires_grad_(), targets, bias)
    loss.backward()
    assert hidden.grad.shape == hidden.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": torch.zeros(3, 5)}, "must fit together"),
        ({"hidden": None}, "hidden must be a float tensor"),
        ({"weight": torch.zeros(7, 6, dtype=torch.float16)}, "weight must be torch.float32"),
        ({"weight": torch.zeros(6)}, "weight must be a float tensor"),
        ({"bias": torch.zeros(6)}, "must fit together"),
        ({"targets": torch.zeros(2, dtype=torch.int64)}, r"targets must be an int64 tensor \(3,\)"),
        ({"targets": torch.zeros(3)}, "int64"),
        ({"targets": torch.tensor([0, 7, 1])}, "below 7, got 7"),
        ({"targets": torch.tensor([0, -1, 1])}, "below 7, got -1"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
    ],
)
def test_bad_input(change, message):
    given = {
        "hidden": torch.zeros(3, 6), "weight": torch.zeros(7, 6), "targets": torch.zeros(3, dtype=torch.int64)
    } | change  # fmt: skip
    for function in (linear_cross_entropy, linear_cross_entropy_plain):
        with pytest.raises(ValueError, match=message):
            function(**given)
