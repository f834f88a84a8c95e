"""The cosine schedule against its closed form, gradient clipping against torch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.training import clip_gradients, cosine_schedule, gradient_norm


def test_schedule_by_hand():
    # peak 8, floor 2, warm-up of 4 steps, then a half wave over 6
    values = [cosine_schedule(step, 10, 8.0, 4, 2.0) for step in (0, 1, 2, 4, 7, 10, 99)]
    assert values == pytest.approx([0, 2, 4, 8, 5, 2, 2])
    assert cosine_schedule(6, 10, 8.0, 4, 2.0) == pytest.approx(2 + 6 * (1 + math.cos(math.pi / 3)) / 2)


@given(st.integers(1, 300), st.data())
def test_schedule_rises_then_falls_and_stays_in_range(max_steps, data):
    warmup = data.draw(st.integers(0, max_steps))
    values = [cosine_schedule(step, max_steps, 1.0, warmup, 0.1) for step in range(max_steps + 2)]
    assert all(
        a <= b
        for a, b in zip(values[:warmup], values[1 : warmup + 1] if warmup < max_steps else values[1:warmup])
    )
    assert all(a >= b for a, b in zip(values[warmup:], values[warmup + 1 :]))
    assert 0 <= min(values) <= max(values) <= 1
    assert values[max_steps] == 0.1


@pytest.mark.parametrize(
    "arguments",
    [
        (-1, 10),
        (0, 0),
        (1.5, 10),
        (0, 10, -1.0),
        (0, 10, 1.0, 11),
        (0, 10, 1.0, 0, 2.0),
        (None, 10),
        (0, "10"),
        (True, 3),
    ],
)
def test_schedule_refuses(arguments):
    with pytest.raises(ValueError):
        cosine_schedule(*arguments)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=5),
    st.floats(1e-3, 1e3),
    st.integers(0, 999),
)
def test_clipping_equals_torch(shapes, limit, seed):
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for shape in shapes:
        gradient = torch.randn(shape, generator=generator) * 10
        pair = [torch.nn.Parameter(torch.zeros(shape)) for _ in range(2)]
        pair[0].grad, pair[1].grad = gradient.clone(), gradient.clone()
        pairs.append(pair)
    ours, theirs = zip(*pairs)
    assert gradient_norm(ours).item() == pytest.approx(
        torch.cat([p.grad.flatten() for p in ours]).norm().item(), rel=1e-5
    )
    norm = torch.nn.utils.clip_grad_norm_(theirs, limit)
    assert clip_gradients(ours, limit).item() == pytest.approx(norm.item(), rel=1e-6)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-8)
    assert gradient_norm(ours) <= limit * (1 + 1e-5)


def test_a_short_gradient_stays_bit_for_bit():
    w = torch.nn.Parameter(torch.zeros(3))
    w.grad = torch.tensor([0.1, 0.2, 0.3])
    assert clip_gradients([w], 5.0).item() == pytest.approx(math.sqrt(0.14))
    assert torch.equal(w.grad, torch.tensor([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_gradient_that_is_no_number_is_reported_and_left_as_it_is(bad):
    w, u = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    w.grad, u.grad = torch.tensor([1.0, bad]), torch.tensor([3.0, 4.0])
    assert not math.isfinite(clip_gradients([w, u], 1.0))
    assert torch.equal(u.grad, torch.tensor([3.0, 4.0]))


def test_no_gradients_have_length_zero():
    w = torch.nn.Parameter(torch.zeros(2))
    assert clip_gradients([w], 1.0) == 0 == gradient_norm(w) == gradient_norm([])


@pytest.mark.parametrize(
    ("parameters", "limit"), [([], 0), ([], -1), ([], float("nan")), (None, 1), ([1], 1), ("ab", 1)]
)
def test_clipping_refuses(parameters, limit):
    with pytest.raises(ValueError):
        clip_gradients(parameters, limit)
