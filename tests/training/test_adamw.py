"""AdamW against torch.optim.AdamW, its three ways to update against each other, and its state."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.training import AdamW
from minillm.training.adamw import adamw_compiled, adamw_foreach, adamw_plain

SHAPES = [(7, 5), (3,), (2, 3, 4), (1,), (129,)]


def parameters(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def set_gradients(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in params:
        scale = 10.0 ** torch.randint(-6, 4, (1,), generator=generator)
        parameter.grad = (torch.randn(parameter.shape, generator=generator) * scale).to(parameter.dtype)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lr=st.floats(1e-5, 1e-1),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0.5, 0.9999),
    eps=st.sampled_from([1e-8, 1e-6, 1e-3]),
    decay=st.floats(0, 0.5),
)
def test_equals_torch_over_many_updates(seed, lr, beta1, beta2, eps, decay):
    ours, theirs = parameters(seed), parameters(seed)
    kw = {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": decay}
    a, b = AdamW(ours, **kw), torch.optim.AdamW(theirs, **kw)
    for step in range(12):
        set_gradients(ours, seed + step)
        set_gradients(theirs, seed + step)
        a.step()
        b.step()
    for x, y in zip(ours, theirs):
        # a few float32 roundings an update, each of the size of the weight or of the step of about lr
        torch.testing.assert_close(x, y, rtol=3e-6, atol=3e-6 * lr + 3e-7)


@pytest.mark.parametrize("fast", [adamw_foreach, adamw_compiled])
def test_fast_ways_equal_the_plain_one(fast):
    weights = [parameters(0), parameters(0)]
    states = [[[torch.zeros(s) for s in SHAPES] for _ in "mv"] for _ in range(2)]
    for step in range(1, 30):
        set_gradients(weights[0], step)
        gradients = [p.grad for p in weights[0]]
        with torch.no_grad():
            for update, w, (m, v) in zip((adamw_plain, fast), weights, states):
                update(w, gradients, m, v, step, 1e-2, (0.9, 0.99), 1e-8, 0.1)
    for x, y in zip(weights[0], weights[1]):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


def test_bfloat16_and_strided_parameters_take_the_plain_way():
    for make in (lambda: torch.randn(4, 6).bfloat16(), lambda: torch.randn(6, 4).t()):
        torch.manual_seed(0)
        start = make()
        ours, theirs = (
            torch.nn.Parameter(start.clone(memory_format=torch.preserve_format)) for _ in range(2)
        )
        a, b = AdamW([ours], lr=0.1), torch.optim.AdamW([theirs], lr=0.1)
        for _ in range(5):
            gradient = torch.randn_like(ours)
            ours.grad, theirs.grad = gradient.clone(), gradient.clone()
            a.step()
            b.step()
        tolerance = 2e-2 if start.dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_the_first_step_is_the_learning_rate_whatever_the_gradient():
    w = torch.nn.Parameter(torch.zeros(3))
    w.grad = torch.tensor([1e-3, 5.0, -2e4])
    AdamW([w], lr=0.25, weight_decay=0).step()
    torch.testing.assert_close(w.detach(), torch.tensor([-0.25, -0.25, 0.25]), rtol=1e-4, atol=0)


def test_decay_does_not_pass_through_the_averages():
    w = torch.nn.Parameter(torch.tensor([2.0]))
    w.grad = torch.zeros(1)
    optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert w.item() == pytest.approx(2.0 * (1 - 0.05))
    assert optimizer.state[w]["m"].item() == 0


def test_groups_have_their_own_settings_and_schedules_may_change_them():
    ours, theirs = parameters(3), parameters(3)
    split = lambda p: [{"params": p[:2], "weight_decay": 0.3}, {"params": p[2:], "lr": 0.5}]  # noqa: E731
    a, b = AdamW(split(ours), lr=0.01), torch.optim.AdamW(split(theirs), lr=0.01)
    for step in range(4):
        for optimizer, params in ((a, ours), (b, theirs)):
            set_gradients(params, step)
            optimizer.param_groups[0]["lr"] = 0.1 * (step + 1)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_parameters_without_gradient_are_left_alone_and_count_their_own_updates():
    ours, theirs = parameters(1), parameters(1)
    a, b = AdamW(ours, lr=0.1), torch.optim.AdamW(theirs, lr=0.1)
    for step in range(4):
        for optimizer, params in ((a, ours), (b, theirs)):
            set_gradients(params, step)
            if step < 2:
                params[0].grad = None
            optimizer.step()
    assert a.state[ours[0]]["step"] == 2
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    a.zero_grad()
    assert all(p.grad is None for p in ours)


def test_gradients_are_forgotten_or_made_zero_as_in_torch():
    params = parameters(0)[:2]
    optimizer = AdamW(params, lr=0.1, weight_decay=0.0)
    set_gradients(params[:1], 1)
    optimizer.zero_grad(set_to_none=False)
    assert params[0].grad.shape == params[0].shape
    assert not params[0].grad.any()
    assert params[1].grad is None
    optimizer.zero_grad(set_to_none=True)
    assert params[0].grad is None
    with pytest.raises(ValueError, match="set_to_none must be True or False, got 1"):
        optimizer.zero_grad(set_to_none=1)
    with pytest.raises(ValueError, match="step takes no closure: call backward"):
        optimizer.step(lambda: 1.0)


def test_state_goes_into_another_optimizer_bit_for_bit():
    one, other = parameters(5), parameters(6)
    a, b = AdamW(one, lr=0.1), AdamW(other, lr=0.3)
    set_gradients(one, 0)
    a.step()
    state = copy.deepcopy(a.state_dict())
    b.load_state_dict(state)
    with torch.no_grad():
        for x, y in zip(one, other):
            y.copy_(x)
    for step in range(3):
        for optimizer, params in ((a, one), (b, other)):
            set_gradients(params, 10 + step)
            optimizer.step()
    assert all(torch.equal(x, y) for x, y in zip(one, other))
    # the given state is not written to
    assert torch.equal(state["state"][0]["m"], copy.deepcopy(state)["state"][0]["m"])
    assert b.param_groups[0]["lr"] == 0.1


def test_a_state_that_does_not_fit_changes_nothing():
    a = AdamW(parameters(0), lr=0.1)
    set_gradients(a.param_groups[0]["params"], 0)
    a.step()
    before = copy.deepcopy(a.state_dict())
    small = AdamW([torch.nn.Parameter(torch.zeros(2))])
    wrong_shape = copy.deepcopy(before)
    wrong_shape["state"][2]["m"] = torch.zeros(1)
    for bad in (small.state_dict(), wrong_shape, None, {}, {"state": {}, "param_groups": 3}):
        with pytest.raises(ValueError):
            a.load_state_dict(bad)
    after = a.state_dict()
    assert all(torch.equal(after["state"][i]["m"], before["state"][i]["m"]) for i in range(len(SHAPES)))


@pytest.mark.parametrize(
    ("params", "kw"),
    [
        ([], {}),
        (None, {}),
        ("weights", {}),
        (torch.zeros(3), {}),
        ([3], {}),
        ([torch.zeros(2, dtype=torch.int64)], {}),
        ([{"parameters": []}], {}),
        ([{"params": [torch.nn.Parameter(torch.zeros(1))], "momentum": 1}], {}),
        ("ok", {"lr": -1}),
        ("ok", {"lr": float("nan")}),
        ("ok", {"lr": None}),
        ("ok", {"betas": (0.9, 1.0)}),
        ("ok", {"betas": 0.9}),
        ("ok", {"eps": -1e-8}),
        ("ok", {"weight_decay": "0.1"}),
    ],
)
def test_bad_arguments(params, kw):
    given_params = (
        [torch.nn.Parameter(torch.zeros(1))] if params == "ok" and isinstance(params, str) else params
    )
    with pytest.raises(ValueError):
        AdamW(given_params, **kw)


def test_a_parameter_given_twice_and_one_that_is_no_leaf():
    w = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="twice"):
        AdamW([w, w])
    with pytest.raises(ValueError, match="leaf"):
        AdamW([w * 2])


def test_a_state_of_torch_is_refused_by_the_names_in_it():
    weight = torch.nn.Parameter(torch.ones(3))
    theirs = torch.optim.AdamW([weight])
    weight.sum().backward()
    theirs.step()
    groups = AdamW([weight]).state_dict()["param_groups"]
    with pytest.raises(
        ValueError, match="parameter 0 must have step, m and v, got step, exp_avg, exp_avg_sq"
    ):
        AdamW([weight]).load_state_dict({"state": theirs.state_dict()["state"], "param_groups": groups})
