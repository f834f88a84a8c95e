"""Layer norm with and without a bias and a residual: F.layer_norm in float64, outputs and every gradient."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kernels import _rows
from kernels import layer_norm as room
from kernels.layer_norm import layer_norm, layer_norm_plain
from tests.kernels.rows import (
    DTYPES,
    apart,
    assert_exact,
    assert_like_torch,
    assert_no_worse,
    assert_repeats,
    distance,
    doubled,
    hostile,
    largest,
    poison,
    ship,
    some,
    tensors,
    with_gradients,
)

EPS = 1e-5


def ours(x, weight, bias=None, residual=None):
    return layer_norm(x, weight, bias, EPS, residual)


def plain(x, weight, bias=None, residual=None):
    return layer_norm_plain(x, weight, bias, EPS, residual)


def of_torch(x, weight, bias=None, residual=None):
    s = x if residual is None else x + residual
    bias = None if bias is None else bias.to(s.dtype)
    y = F.layer_norm(s, s.shape[-1:], weight.to(s.dtype), bias, EPS)
    return y if residual is None else (y, s)


def case(generator, device, shape, residual, dtype=torch.float32, weights=None):
    """(inputs, upstream): x, weight and bias, with the residual behind them if there is one."""
    weight, bias = tensors(generator, device, shape[-1:], shape[-1:], dtype=weights or dtype)
    x, r, g, g_sum = tensors(generator, device, shape, shape, shape, shape, dtype=dtype)
    # two nearly equal numbers in a narrow row would leave nothing but their rounding: a slope keeps them apart
    with torch.no_grad():
        x += torch.linspace(-3, 3, shape[-1], device=device)
    if not residual:
        return [x, weight, bias], [g.detach()]
    return [x, weight, bias, r], [g.detach(), g_sum.detach()]


def scales(inputs, upstream):
    """The terms whose differences the outputs and gradients are: y, (sum,) ∂x, ∂w, ∂b, (∂residual)."""
    x, weight, _, *residual = doubled(inputs)
    s = x + residual[0] if residual else x
    r = torch.rsqrt(s.var(dim=-1, keepdim=True, correction=0) + EPS)
    g = upstream[0].double()
    dx = largest(g * weight * r)
    dw, db = (largest(x.abs().flatten(end_dim=-2).sum(dim=0)) for x in (g * s * r, g))
    return [1.0, 1.0, dx, dw, db, dx] if residual else [1.0, dx, dw, db]


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=2),
    st.integers(1, 257),
    st.booleans(),
    st.integers(0, 99),
)
@some
def test_any_shape_is_torchs_in_float64(device, leading, width, residual, seed):
    inputs, upstream = case(torch.Generator().manual_seed(seed), device, (*leading, width), residual)
    got = with_gradients(ours, inputs, upstream)
    expected = with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream])
    assert_exact(got, expected, scales(inputs, upstream))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_within_torchs(device, generator, dtype, residual):
    inputs, upstream = case(generator, device, (40, 96), residual, dtype)
    assert_like_torch(ours, of_torch, inputs, upstream)


def test_without_bias(device, generator):
    (x, weight, _, residual), upstream = case(generator, device, (8, 50), True)
    assert_like_torch(ours, of_torch, [x, weight], upstream[:1])
    got = with_gradients(lambda x, w, r: ours(x, w, None, r), [x, weight, residual], upstream)
    wide, sent = doubled([x, weight, residual]), [g.double() for g in upstream]
    assert_exact(got, with_gradients(lambda x, w, r: of_torch(x, w, None, r), wide, sent))


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_float32_weights_of_16_bit_rows(device, generator, dtype):
    """float32 weights are used as they are, and their gradients are as exact as float32 is."""
    inputs, upstream = case(generator, device, (40, 96), False, dtype, torch.float32)
    y, dx, *gradients = with_gradients(ours, inputs, upstream)
    expected = with_gradients(of_torch, doubled(inputs), [upstream[0].double()])
    low = with_gradients(of_torch, inputs, upstream)
    assert_no_worse([y, dx], low[:2], expected[:2])
    assert_exact(gradients, expected[2:])


def test_plain_is_the_formula(generator):
    for residual in (False, True):
        inputs, upstream = case(generator, "cpu", (5, 33), residual)
        got = with_gradients(plain, inputs, upstream)
        assert_exact(got, with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream]))


def test_a_large_mean_costs_no_variance(device, generator):
    """Beside a mean of 4,096, mean of s² - mean² would be off by more than the variance; mean of (s - mean)² is not."""
    (x, weight, bias), _ = case(generator, device, (4, 64), False)
    x = (x.detach() * 2**10).round() / 2**10 + 4096  # exact in float32
    error = ours(x, weight, bias).double() - of_torch(x.double(), weight.double(), bias.double())
    # what is left is that the mean itself is a float32: half of 2^-11, and a little from the sum
    assert largest(error) <= 2**-10 * largest(weight)


def test_the_sum_is_the_one_that_is_normed(device, generator):
    """In bfloat16 the sum is rounded once: the norm of what goes on as the residual is y, bit for bit."""
    (x, weight, bias, residual), _ = case(generator, device, (9, 50), True, torch.bfloat16)
    y, s = ours(x, weight, bias, residual)
    assert torch.equal(s, x + residual)
    assert torch.equal(y, ours(s, weight, bias))


def test_gradient_of_one_output_alone(device, generator):
    inputs, upstream = case(generator, device, (4, 20), True)
    for i in range(2):
        x, residual = inputs[0], inputs[3]
        got = torch.autograd.grad(ours(*inputs)[i], [x, residual], upstream[i])
        wide = doubled(inputs)
        expected = torch.autograd.grad(of_torch(*wide)[i], [wide[0], wide[3]], upstream[i].double())
        assert_exact(got, expected)


@hostile
def test_hostile_numbers_give_what_torch_gives(device):
    inf, nan = float("inf"), float("nan")
    rows = [[inf, 1, 2, 3], [nan, 1, 2, 3], [0] * 4, [5] * 4, [1e-30, 0, 0, 0], [1e15, -1e15, 1, 2]]
    x = torch.tensor(rows, device=device, dtype=torch.float32)
    weight = torch.tensor([1.0, -2.0, 0.5, 0.0], device=device)
    expected = F.layer_norm(x, (4,), weight, None, EPS)
    torch.testing.assert_close(
        layer_norm(x, weight, None, EPS), expected, rtol=1e-5, atol=1e-9, equal_nan=True
    )


def test_strides(device, generator):
    x, weight, bias = tensors(generator, device, (6, 5, 24), (48,), (48,))
    x, weight, bias = x.detach(), weight.detach()[::2], bias.detach()[1::2]
    for view in (x.transpose(0, 1), x[:, ::2], x[:, :1].expand(6, 4, 24), x[0, 0]):
        # three strides: of x, of the residual, and of ...
        inputs = [
            view.detach(),
            weight,
            bias,
            apart(view + 1),
        ]
        upstream = [apart(apart(view - 1)), view.cos()]  # ... what comes in for y
        got = with_gradients(ours, [x.detach().requires_grad_() for x in inputs], upstream)
        assert_exact(got, with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream]))
    columns = x.transpose(0, 2)  # the last axis is not contiguous
    expected = F.layer_norm(columns.double(), (6,), weight[:6].double())
    assert_exact([layer_norm(columns, weight[:6])], [expected])
    x.requires_grad_()
    ours(x, weight, bias, x.expand(6, 5, 24))[0].sum().backward()  # an expanded gradient comes in
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0,)])
def test_nothing_in_nothing_out(device, shape):
    x = torch.zeros(shape, device=device, requires_grad=True)
    weight, bias = (torch.ones(shape[-1:], device=device, requires_grad=True) for _ in range(2))
    y, s = ours(x, weight, bias, x)
    (y.sum() + s.sum()).backward()
    assert y.shape == s.shape == x.grad.shape == x.shape
    assert not weight.grad.any()
    assert not bias.grad.any()


@pytest.mark.parametrize("residual", [False, True])
def test_every_number_is_written_and_repeats(device, generator, monkeypatch, residual):
    inputs, upstream = case(generator, device, (23, 100), residual)
    expected = with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream])
    poison(monkeypatch)
    assert_exact(with_gradients(ours, inputs, upstream), expected)
    assert_repeats(ours, inputs, upstream)


def test_a_row_does_not_depend_on_its_batch(device, generator):
    (x, weight, bias), _ = case(generator, device, (9, 30), False)
    batch = ours(x, weight, bias)
    assert all(torch.equal(ours(x[i], weight, bias), batch[i]) for i in range(9))


@pytest.mark.parametrize(("rows", "width"), [(70, 60), (5, 1000), (3, 5000), (2, 12_000)])
def test_block_sizes_of_a_gpu(device, generator, monkeypatch, rows, width):
    ship(monkeypatch, _rows)
    inputs, upstream = case(generator, device, (rows, width), True)
    assert_like_torch(ours, of_torch, inputs, upstream)


def test_rows_too_wide_for_a_program_take_the_plain_path(device, generator, monkeypatch):
    monkeypatch.setattr(room, "WIDEST", 16)
    monkeypatch.setattr(room, "_layer_norm", None)
    inputs, upstream = case(generator, device, (3, 17), True)
    assert_like_torch(ours, of_torch, inputs, upstream)


def test_bad_input():
    x, w = torch.zeros(2, 4), torch.ones(4)
    wrong = [
        ((None, w), "x must be"),
        ((x.double(), w), "x must be"),
        ((x, None), "weight must be a tensor"),
        ((x, torch.ones(5)), r"weight must be as wide as x, .*\(2, 4\).*\(5,\)"),
        ((x, w, torch.ones(5)), r"bias must be as wide as x, .*\(2, 4\).*\(5,\)"),
        ((x, w, torch.ones(1, 4)), "bias must have 1 axes"),
        ((x, w, w.long()), "bias must be of dtype"),
        ((x, w, w, float("nan")), "eps must be a finite number"),
        ((x, w, w, -1e-5), "eps must be between 0"),
        ((x, w, w, 1e-5, torch.zeros(2, 5)), r"residual must match .*\(2, 4\).*\(2, 5\)"),
        ((x, w, None, 1e-5, x.half()), "residual must match .*float32.*float16"),
        ((x, w.to("meta")), "weight must be on cpu"),
    ]
    for arguments, message in wrong:
        for norm in (layer_norm, layer_norm_plain):
            with pytest.raises(ValueError, match=message):
                norm(*arguments)


def test_operator(device, generator):
    inputs, (g, g_sum) = case(generator, device, (3, 5), True)
    x, weight, bias, residual = inputs
    torch.library.opcheck(room._layer_norm, (x, weight, bias, residual, EPS))
    torch.library.opcheck(room._layer_norm, (x, weight, None, None, EPS))
    mean, r = torch.zeros(3, device=device), torch.ones(3, device=device)
    torch.library.opcheck(room._layer_norm_backward, (x.detach(), weight.detach(), mean, r, g, g_sum))

    def loss(norm, x, *rest):
        y, s = norm(x * 2, *rest)
        return (y * s).sum()

    compiled = torch.compile(lambda *inputs: loss(ours, *inputs), fullgraph=True, backend="aot_eager")
    wide = doubled(inputs)
    compiled(*inputs).backward()
    loss(of_torch, *wide).backward()
    for got, expected in zip(inputs, wide):
        assert distance(got.grad, expected.grad) <= 1e-5 * float(expected.grad.norm())
