"""Instruments: counts against torch's own profiler, and against sizes that follow from the shapes."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.course import kept_for_backward, watch, watch_layers
from minillm.nn import attention

KILO = 1024


def formula(q, k, v):
    return torch.softmax(q @ k.mT / 8, dim=-1) @ v


def profiled(function, *inputs):
    """How often each aten operation runs, by torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function(*inputs)
    return Counter(event.name.removeprefix("aten::") for event in profile.events())


@pytest.mark.parametrize(
    "function",
    [formula, F.scaled_dot_product_attention, lambda q, k, v: F.layer_norm(q, (64,)) + F.gelu(k) * v.exp()],
)
def test_each_operation_is_counted_as_often_as_the_profiler_counts_it(function):
    inputs = [torch.randn(2, 3, 16, 64) for _ in range(3)]
    with watch() as seen:
        function(*inputs)
    assert seen.launches > 0
    there = profiled(function, *inputs)
    for name, times in Counter(one.name for one in seen.operations).items():
        assert there[name] == times, name


def test_bytes_read_and_written_follow_from_the_shapes():
    x, w = torch.randn(64, 32), torch.randn(32, 16)
    with watch() as seen:
        y = x @ w
        y.t().view(16, 64)  # views move nothing
        y.add_(1.0)
    assert seen.operations == [("mm", 64 * 32 * 4 + 32 * 16 * 4, 64 * 16 * 4), ("add_", 4096, 4096)]
    assert (seen.launches, seen.bytes_moved) == (2, 64 * 32 * 4 + 32 * 16 * 4 + 3 * 4096)
    assert seen.count("mm", "bmm") == 1


def test_the_peak_is_what_is_held_at_once():
    x = torch.randn(KILO, 64)  # 256 kB
    size = x.nbytes
    with watch() as seen:
        a = x + 1  # one
        b = a * 2  # two
        del a  # one
        c = b.exp()  # two
        b[0] = c[0]  # views and writing in place make no memory
    assert seen.peak_bytes == 2 * size
    assert seen.alive_bytes == 2 * size
    del b, c
    assert seen.alive_bytes == 0


def test_plain_attention_holds_two_squares_and_the_fused_one_none():
    q, k, v = (torch.randn(1, 1, 512, 64) for _ in range(3))
    square = 512 * 512 * 4
    with watch() as plain:
        attention(q, k, v, backend="plain")
    with watch() as fused:
        F.scaled_dot_product_attention(q, k, v)
    assert plain.peak_bytes >= 2 * square
    assert fused.peak_bytes < square
    assert plain.count("mm", "bmm") == 2
    assert fused.launches == 1


def test_layers_give_what_went_in_and_came_out_and_are_left_as_they_were():
    layer = nn.Linear(4, 2)
    x = torch.randn(3, 5, 4)
    with watch_layers(layer) as (inputs, outputs):
        y = layer(x)
        layer(x[:, :1])
    layer(x)
    assert [one.shape[1] for one in inputs] == [5, 1]
    assert torch.equal(outputs[0], y)
    assert not layer._forward_hooks
    with pytest.raises(KeyError), watch_layers(layer):
        raise KeyError
    assert not layer._forward_hooks


def test_what_backward_needs_follows_from_the_shapes():
    x, w = torch.randn(100, 50), torch.randn(50, 20)
    assert kept_for_backward(lambda x, w: x @ w, x, w) == x.nbytes + w.nbytes
    assert kept_for_backward(lambda x: x.exp(), x) == x.nbytes  # its own output
    assert kept_for_backward(lambda x: x + 1, x) == 0
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: watch_layers().__enter__(), "at least one layer"),
        (lambda: watch_layers(3).__enter__(), "torch modules"),
        (lambda: kept_for_backward(None), "function"),
        (lambda: watch().count(3), "name"),
    ],
)
def test_bad_input_is_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        bad()
