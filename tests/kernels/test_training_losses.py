"""minillm's losses by the kernels, where `use_kernels` wants them: the same numbers; a trainer learns by them."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("minillm.training", reason="this environment holds the kernels' requirements only")

from minillm._kernels import KERNELS, use_kernels
from minillm.training import CausalLMObjective, cross_entropy, linear_cross_entropy
from tests.training.test_trainer import trainer
from tests.training.toy import COUNTING, ToyLM


@pytest.fixture
def calls(monkeypatch):
    """Names of the kernels that were taken, in turn."""
    taken = []
    for name in ("cross_entropy", "linear_cross_entropy"):
        real = KERNELS[name].kernel
        monkeypatch.setattr(
            KERNELS[name], "kernel", lambda *x, n=name, real=real: taken.append(n) or real(*x)
        )
    return taken


def problem(generator, device, dtype=torch.float32):
    hidden, weight = (torch.randn(n, 16, generator=generator).to(device, dtype) for n in (10, 30))
    targets = torch.randint(0, 30, (10,), generator=generator).to(device)
    targets[3] = -100
    return hidden.requires_grad_(), weight.requires_grad_(), targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_losses_are_the_plain_ones(device, generator, calls, dtype):
    hidden, weight, targets = problem(generator, device, dtype)
    losses = {
        "linear_cross_entropy": lambda: linear_cross_entropy(hidden, weight, targets, label_smoothing=0.1),
        "cross_entropy": lambda: cross_entropy(F.linear(hidden, weight), targets, label_smoothing=0.1),
    }
    for name, loss in losses.items():
        plain, expected = loss(), torch.autograd.grad(loss(), (hidden, weight))
        assert calls == []
        with use_kernels("always"):
            fused = loss()
        assert calls == [name]
        calls.clear()
        assert fused.dtype == torch.float32  # not rounded to bfloat16 on its way
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)
        tolerance = 1e-5 if dtype == torch.float32 else 2e-2
        for got, wanted in zip(torch.autograd.grad(fused, (hidden, weight)), expected):
            assert (got - wanted).norm() <= tolerance * wanted.norm()


def test_autocast_narrows_what_the_fused_loss_is_given(device, generator, calls):
    hidden, weight, targets = problem(generator, device)
    with torch.autocast(device, torch.bfloat16):
        plain = linear_cross_entropy(hidden, weight, targets)
        with use_kernels("always"):
            fused = linear_cross_entropy(hidden, weight, targets)
    assert calls == ["linear_cross_entropy"]
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    assert torch.autograd.grad(fused, weight)[0].dtype == torch.float32


@pytest.mark.parametrize(("fused", "name"), [(False, "cross_entropy"), (True, "linear_cross_entropy")])
def test_a_trainer_learns_by_them(calls, fused, name):
    objective = CausalLMObjective(fused=fused)
    runs = [trainer(ToyLM(dropout=0.0), COUNTING, max_steps=3, objective=objective) for _ in range(2)]
    plain = runs[0].train()
    with use_kernels("always"):
        by_kernel = runs[1].train()
    assert calls == [name] * 3
    for a, b in zip(plain, by_kernel):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-5)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-4)
