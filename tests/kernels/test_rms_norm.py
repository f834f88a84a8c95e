"""RMS norm with and without a residual: F.rms_norm in float64, outputs and every gradient."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kernels import _rows
from kernels import rms_norm as room
from kernels.rms_norm import rms_norm, rms_norm_plain
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


def ours(x, weight, residual=None):
    return rms_norm(x, weight, EPS, residual)


def of_torch(x, weight, residual=None):
    s = x if residual is None else x + residual
    y = F.rms_norm(s, s.shape[-1:], weight.to(s.dtype), EPS)
    return y if residual is None else (y, s)


def case(generator, device, shape, residual, dtype=torch.float32, weights=None):
    """(inputs, upstream): x and weight, with the residual behind them if there is one."""
    shapes = [shape] * (4 if residual else 2)
    x, *rest = tensors(generator, device, *shapes, dtype=dtype)
    (weight,) = tensors(generator, device, shape[-1:], dtype=weights or dtype)
    if not residual:
        return [x, weight], [rest[0].detach()]
    return [x, weight, rest[0]], [g.detach() for g in rest[1:]]


def scales(inputs, upstream):
    """The terms whose differences the outputs and gradients are: y, (sum,) ∂x, ∂w, (∂residual)."""
    x, weight, *residual = doubled(inputs)
    s = x + residual[0] if residual else x
    r = torch.rsqrt(s.square().mean(dim=-1, keepdim=True) + EPS)
    g = upstream[0].double()
    dx, dw = largest(g * weight * r), largest((g * s * r).abs().flatten(end_dim=-2).sum(dim=0))
    return [1.0, 1.0, dx, dw, dx] if residual else [1.0, dx, dw]


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


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_float32_weights_of_16_bit_rows(device, generator, dtype):
    """A float32 weight is used as it is, and its gradient is as exact as float32 is."""
    (x, weight), upstream = case(generator, device, (40, 96), False, dtype, torch.float32)
    y, dx, dw = with_gradients(ours, [x, weight], upstream)
    wide = doubled([x, weight])
    expected = with_gradients(of_torch, wide, [upstream[0].double()])
    low = with_gradients(of_torch, [x, weight], upstream)
    assert_no_worse([y, dx], low[:2], expected[:2])
    assert_exact([dw], expected[2:])


def test_plain_is_the_formula(generator):
    for residual in (False, True):
        inputs, upstream = case(generator, "cpu", (5, 33), residual)
        got = with_gradients(lambda x, w, r=None: rms_norm_plain(x, w, EPS, r), inputs, upstream)
        assert_exact(got, with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream]))


def test_the_sum_is_the_one_that_is_normed(device, generator):
    """In bfloat16 the sum is rounded once: the norm of what goes on as the residual is y, bit for bit."""
    (x, weight, residual), _ = case(generator, device, (9, 50), True, torch.bfloat16)
    y, s = rms_norm(x, weight, EPS, residual)
    assert torch.equal(s, x + residual)
    assert torch.equal(y, rms_norm(s, weight, EPS))


def test_gradient_of_one_output_alone(device, generator):
    (x, weight, residual), (g, g_sum) = case(generator, device, (4, 20), True)
    for output, upstream in ((0, g), (1, g_sum)):
        got = torch.autograd.grad(ours(x, weight, residual)[output], [x, residual], upstream)
        wide = doubled([x, weight, residual])
        expected = torch.autograd.grad(of_torch(*wide)[output], [wide[0], wide[2]], upstream.double())
        assert_exact(got, expected)


@hostile
def test_hostile_numbers_give_what_torch_gives(device):
    inf, nan = float("inf"), float("nan")
    rows = [
        [inf, 1, 2, 3],
        [-inf, 1, 2, 3],
        [nan, 1, 2, 3],
        [0] * 4,
        [1e-30] * 4,
        [1e30, 1, 2, 3],
        [1e18] * 4,
    ]
    x = torch.tensor(rows, device=device, dtype=torch.float32)
    weight = torch.tensor([1.0, -2.0, 0.5, 0.0], device=device)
    torch.testing.assert_close(
        rms_norm(x, weight, EPS), F.rms_norm(x, (4,), weight, EPS), rtol=1e-6, atol=0, equal_nan=True
    )


def test_strides(device, generator):
    x, weight = tensors(generator, device, (6, 5, 24), (48,))
    x, weight = x.detach(), weight.detach()[::2]
    for view in (x.transpose(0, 1), x[:, ::2], x[:, :1].expand(6, 4, 24), x[0, 0]):
        inputs = [view.detach(), weight, apart(view + 1)]  # three strides: of x, of the residual, and of ...
        upstream = [apart(apart(view - 1)), view.cos()]  # ... what comes in for y
        got = with_gradients(ours, [x.detach().requires_grad_() for x in inputs], upstream)
        assert_exact(got, with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream]))
    columns = x.transpose(0, 2)  # the last axis is not contiguous
    assert_exact(
        [rms_norm(columns, weight[:6])], [F.rms_norm(columns.double(), (6,), weight[:6].double(), 1e-6)]
    )
    x.requires_grad_()
    rms_norm(x, weight, EPS, x.expand(6, 5, 24))[0].sum().backward()  # an expanded gradient comes in
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0,)])
def test_nothing_in_nothing_out(device, shape):
    x, weight = torch.zeros(shape, device=device, requires_grad=True), torch.ones(shape[-1:], device=device)
    weight.requires_grad_()
    y, s = rms_norm(x, weight, EPS, x)
    (y.sum() + s.sum()).backward()
    assert y.shape == s.shape == x.grad.shape == x.shape
    assert torch.equal(weight.grad, torch.zeros_like(weight))


@pytest.mark.parametrize("residual", [False, True])
def test_every_number_is_written_and_repeats(device, generator, monkeypatch, residual):
    inputs, upstream = case(generator, device, (23, 100), residual)
    expected = with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream])
    poison(monkeypatch)
    assert_exact(with_gradients(ours, inputs, upstream), expected)
    assert_repeats(ours, inputs, upstream)


def test_a_row_does_not_depend_on_its_batch(device, generator):
    (x, weight), _ = case(generator, device, (9, 30), False)
    batch = rms_norm(x, weight)
    assert all(torch.equal(rms_norm(x[i], weight), batch[i]) for i in range(9))


@pytest.mark.parametrize(("rows", "width"), [(70, 60), (5, 1000), (3, 5000), (2, 12_000)])
def test_block_sizes_of_a_gpu(device, generator, monkeypatch, rows, width):
    ship(monkeypatch, _rows)
    inputs, upstream = case(generator, device, (rows, width), True)
    assert_like_torch(ours, of_torch, inputs, upstream)


def test_rows_too_wide_for_a_program_take_the_plain_path(device, generator, monkeypatch):
    monkeypatch.setattr(room, "WIDEST", 16)
    monkeypatch.setattr(room, "_rms_norm", None)
    inputs, upstream = case(generator, device, (3, 17), True)
    assert_like_torch(ours, of_torch, inputs, upstream)


def test_bad_input():
    x, w = torch.zeros(2, 4), torch.ones(4)
    wrong = [
        ((None, w), "x must be"),
        ((x.double(), w), "x must be"),
        ((torch.tensor(1.0), w), "x must be"),
        ((x, None), "weight must be a tensor"),
        ((x, torch.ones(2, 4)), "weight must have 1 axes"),
        ((x, torch.ones(5)), r"weight must be as wide as x, .*\(2, 4\).*\(5,\)"),
        ((x, w.long()), "weight must be of dtype"),
        ((x, w, -1.0), "eps must be between 0"),
        ((x, w, "1e-6"), "eps must be a finite number"),
        ((x, w, 1e-6, torch.zeros(2, 5)), r"residual must match .*\(2, 4\).*\(2, 5\)"),
        ((x, w, 1e-6, torch.zeros(4)), r"residual must match .*\(2, 4\).*\(4,\)"),
        ((x, w, 1e-6, x.half()), "residual must match .*float32.*float16"),
        ((x, w.to("meta")), "weight must be on cpu"),
        ((x, w, 10**400), "eps must be a finite number"),
        ((x.to_sparse(), w), "x must be.*sparse_coo"),
        ((x, w.to_sparse()), "weight must be a dense tensor"),
    ]
    for arguments, message in wrong:
        for norm in (rms_norm, rms_norm_plain):
            with pytest.raises(ValueError, match=message):
                norm(*arguments)


def test_operator(device, generator):
    (x, weight, residual), (g, g_sum) = case(generator, device, (3, 5), True)
    torch.library.opcheck(room._rms_norm, (x, weight, residual, EPS))
    torch.library.opcheck(room._rms_norm, (x, weight, None, EPS))
    s, w = x.detach(), weight.detach()
    torch.library.opcheck(room._rms_norm_backward, (s, w, torch.ones(3, device=device), g, g_sum))

    def loss(norm, x, weight, residual):
        y, s = norm(x * 2, weight, residual)
        return (y * s).sum()

    compiled = torch.compile(lambda *inputs: loss(ours, *inputs), fullgraph=True, backend="aot_eager")
    wide = doubled([x, weight, residual])
    compiled(x, weight, residual).backward()
    loss(of_torch, *wide).backward()
    for got, expected in zip([x, weight, residual], wide):
        assert distance(got.grad, expected.grad) <= 1e-5 * float(expected.grad.norm())
