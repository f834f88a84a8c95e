"""Instruments: counts against torch's own profiler, and against sizes that follow from the shapes."""

import os
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.course import kept_for_backward, watch, watch_attention, watch_layers
from minillm.models import Llama, LlamaConfig
from minillm.nn import MultiHeadAttention, attention, attention_backend
from minillm.nn.attention import RUN

KILO = 1024


def formula(q, k, v):
    return torch.softmax(q @ k.mT / 8, dim=-1) @ v


def profiled(function, *inputs):
    """How often each aten operation runs, by torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function(*inputs)
    return Counter(event.name.removeprefix("aten::") for event in profile.events())


@pytest.mark.skipif("MINILLM_JITTER" in os.environ, reason="tests/jitter.py adds products of its own to each")
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
    with watch_layers(layer) as (inputs, outputs):
        layer(input=x)  # by its name
    assert torch.equal(inputs[0], x)
    gru = nn.GRU(4, 2)
    with watch_layers(gru) as (inputs, outputs):
        y, _ = gru(x)
    assert torch.equal(outputs[0], y)
    with pytest.raises(KeyError), watch_layers(layer):
        raise KeyError
    assert not layer._forward_hooks


@pytest.mark.parametrize("backend", ["auto", "plain", "sdpa"])
def test_attention_maps_are_those_of_torch_and_the_model_is_left_as_it_was(backend):
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, bias=False)
    ours = MultiHeadAttention(8, 2, bias=False)
    with torch.no_grad():
        for part, weight in zip((ours.q_proj, ours.k_proj, ours.v_proj), theirs.in_proj_weight.chunk(3)):
            part.weight.copy_(weight)
    x, context = torch.randn(3, 4, 8), torch.randn(3, 6, 8)
    before = dict(RUN)
    with attention_backend(backend), watch_attention() as maps:
        y = ours(x)
        ours(x, context)
    assert before == RUN
    assert torch.equal(y, ours(x)) or backend == "plain"
    assert [one.requires_grad for one in maps] == [False, False]
    for found, keys in zip(maps, (x, context)):
        expected = theirs(x, keys, keys, average_attn_weights=False)[1]
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    with pytest.raises(KeyError), watch_attention():
        raise KeyError
    assert before == RUN


def test_attention_maps_of_a_model_with_a_cache_have_a_column_for_each_key():
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2
    )
    model, ids = Llama(config), torch.tensor([[1, 2, 3, 4, 5]])
    cache = model.new_cache(1, 5)
    with torch.no_grad(), watch_attention() as whole:
        model(ids)
    with torch.no_grad(), watch_attention() as parts:
        model(ids[:, :3], cache=cache)
        model(ids[:, 3:], cache=cache)
    assert [tuple(one.shape) for one in parts] == [(1, 2, 3, 3)] * 2 + [(1, 2, 2, 5)] * 2
    assert len(whole) == 2
    torch.testing.assert_close(parts[3], whole[1][:, :, 3:], atol=1e-6, rtol=1e-5)


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
        (lambda: kept_for_backward(lambda x: x + 1, torch.tensor(3)), "float tensors"),
        (lambda: watch().count(3), "name"),
    ],
)
def test_bad_input_is_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        bad()
