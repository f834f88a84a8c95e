"""Copies of weights for passes over a few rows: the same products, whatever happens to the weights meanwhile."""

import copy
import platform
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.nn import fast_cpu
from minillm.nn.fast_cpu import fast_layers
from minillm.training.adamw import AdamW


@pytest.fixture
def copied(monkeypatch):
    """Small layers are worth a copy; the shapes of weights that were copied."""
    shapes, own = [], torch.ops.mkldnn._reorder_linear_weight
    if not fast_cpu.ONE_DNN or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("copies are for oneDNN on x86")
    monkeypatch.setattr(fast_cpu, "LARGE", 1)
    monkeypatch.setattr(fast_cpu, "WORTH_A_COPY", 1)
    monkeypatch.setattr(
        fast_cpu, "_reorder", lambda weight, rows: (shapes.append(tuple(weight.shape)), own(weight, rows))[1]
    )
    return shapes


@pytest.mark.parametrize("rows", [2, 7, 16, 200])
def test_a_weight_that_is_read_again_and_again_is_copied_and_gives_the_same(copied, rows):
    layer, x = nn.Linear(48, 36), torch.randn(rows, 48)
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double())
    with torch.no_grad(), fast_layers(layer, copies=True):
        for passes in range(1, 8):
            torch.testing.assert_close(layer(x).double(), expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(layer(x[None])[0].double(), expected, rtol=1e-4, atol=1e-5)
            assert len(copied) == (2 * passes > fast_cpu.PASSES)
        layer(x[:1])
    assert copied == [(36, 48)]
    with torch.no_grad(), fast_layers(layer):
        for _ in range(8):
            layer(x)
    assert len(copied) == 1


def test_a_copied_weight_that_changes_is_read_anew(copied):
    layer, x = nn.Linear(48, 36), torch.randn(5, 48)
    optimizer = AdamW(layer.parameters(), lr=0.1)

    def by_hand():
        layer.weight.mul_(2)

    def trained():
        layer.zero_grad()
        with torch.enable_grad():
            layer(x).square().sum().backward()
        optimizer.step()

    def replaced():
        layer.weight = nn.Parameter(torch.randn(36, 48))

    with torch.no_grad(), fast_layers(layer, copies=True):
        for change in (by_hand, trained, replaced, by_hand):
            for _ in range(6):
                expected = F.linear(x, layer.weight, layer.bias)
                torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
            change()
    assert len(copied) == 4


def test_memory_of_a_copied_weight_is_nobody_elses_until_the_copy_is_gone(copied):
    """By where a weight stands and how often it changed it is known again; `.to(...)` gives it other memory."""
    layer, x = nn.Linear(48, 36), torch.randn(5, 48)
    numbers = np.random.default_rng(0).normal(size=(36, 48)).astype(np.float32)
    alive = weakref.ref(numbers)
    with torch.no_grad(), fast_layers(layer, copies=True):
        layer.weight.data = torch.from_numpy(numbers)
        del numbers
        for _ in range(6):
            layer(x)
        layer.weight.data = torch.randn(36, 48)
        assert alive() is not None
        expected = F.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
        assert alive() is None


def test_a_model_that_is_copied_meanwhile_gets_no_copies_of_weights(copied):
    model, x = nn.Sequential(nn.Linear(48, 36)), torch.randn(5, 48)
    with torch.no_grad(), fast_layers(model, copies=True):
        for _ in range(6):
            model(x)
        other = copy.deepcopy(model)
        other[0].weight.mul_(2)
        for _ in range(6):
            torch.testing.assert_close(
                other(x), F.linear(x, other[0].weight, other[0].bias), rtol=1e-4, atol=1e-4
            )
    assert len(copied) == 1
    assert fast_cpu.is_own(other[0])


def test_copies_take_no_more_room_than_they_may(copied, monkeypatch):
    model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(5)))
    monkeypatch.setattr(fast_cpu, "COPIED_AT_MOST", 2 * 32 * 32)
    with torch.no_grad(), fast_layers(model, copies=True):
        for _ in range(9):
            model(torch.randn(4, 32))
            model[0].weight.add_(0)  # never the same twice: not worth it
    assert len(copied) == 2
