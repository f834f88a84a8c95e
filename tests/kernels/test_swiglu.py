"""SwiGLU: F.silu(gate) * up in float64, in one piece, in halves of one tensor, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kernels import _rows
from kernels import swiglu as room
from kernels.swiglu import swiglu, swiglu_plain
from tests.kernels.rows import (
    DTYPES,
    again,
    apart,
    assert_exact,
    assert_like_torch,
    assert_repeats,
    distance,
    doubled,
    hostile,
    poison,
    ship,
    some,
    tensors,
    with_gradients,
)


def of_torch(gate, up):
    return F.silu(gate) * up


@given(st.lists(st.integers(1, 6), max_size=2), st.integers(1, 257), st.integers(0, 99))
@some
def test_any_shape_is_torchs_in_float64(device, leading, width, seed):
    generator = torch.Generator().manual_seed(seed)
    gate, up, g = tensors(generator, device, *[(*leading, width)] * 3)
    assert_like_torch(swiglu, of_torch, [gate, up], [g.detach()])


@given(st.integers(1, 9), st.integers(1, 140), st.integers(0, 99))
@some
def test_halves_of_one_tensor_are_read_where_they_lie(device, rows, width, seed):
    packed, g = tensors(torch.Generator().manual_seed(seed), device, (rows, 2 * width), (rows, width))
    got = with_gradients(lambda x: swiglu(*x.chunk(2, dim=-1)), [packed], [g.detach()])
    expected = with_gradients(
        lambda x: of_torch(*x.chunk(2, dim=-1)), doubled([packed]), [g.detach().double()]
    )
    assert_exact(got, expected)


def test_halves_are_not_copied(device, generator, monkeypatch):
    (packed,) = tensors(generator, device, (3, 4, 20))
    gate, up = packed.detach().chunk(2, dim=-1)
    _, _, (rows, more) = room.settings(gate, up)
    assert rows.data_ptr() == packed.data_ptr()
    assert more.data_ptr() == packed.data_ptr() + 40
    assert rows.shape == more.shape == (12, 10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_within_torchs(device, generator, dtype):
    gate, up, g = tensors(generator, device, *[(30, 128)] * 3, dtype=dtype)
    with torch.no_grad():
        gate.mul_(3)
    assert_like_torch(swiglu, of_torch, [gate, up], [g.detach()])


def test_plain_is_the_formula(generator):
    gate, up = tensors(generator, "cpu", (5, 33), (5, 33))
    assert_exact([swiglu_plain(gate, up)], [of_torch(gate.double(), up.double())])


@hostile
def test_hostile_numbers_give_what_torch_gives(device):
    inf, nan = float("inf"), float("nan")
    gate = torch.tensor([inf, -inf, nan, 1e30, -1e30, -100.0, 100.0, 0.0, -0.0], device=device)
    for up in (1.0, -2.0, 0.0, inf, nan):
        inputs = [gate.clone().requires_grad_(), torch.full_like(gate, up).requires_grad_()]
        got = with_gradients(swiglu, inputs, [torch.ones_like(gate)])
        expected = with_gradients(of_torch, again(inputs), [torch.ones_like(gate)])
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-30, equal_nan=True)


def test_strides(device, generator):
    x, y = tensors(generator, device, (6, 4, 40), (6, 4, 40))
    pairs = [(x.transpose(0, 2), y.transpose(0, 2)), (x[:, ::2], y[:, 1::2]), (x[0, 0], y[1, 1])]
    pairs += [
        (apart(x), y),
        (x, apart(y)),
        (x[..., ::2], y[..., ::2]),
        (x[:, :1].expand(6, 4, 40), y),
        (x[..., 3:4], y[..., :1]),
    ]
    for gate, up in pairs:
        inputs = [gate.detach().requires_grad_(), up.detach().requires_grad_()]
        for g in (torch.ones((), device=device).expand(gate.shape), apart(gate.cos())):
            got = with_gradients(swiglu, inputs, [g])
            assert got[0].is_contiguous()
            assert_exact(got, with_gradients(of_torch, doubled(inputs), [g.double()]))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0,)])
def test_nothing_in_nothing_out(device, shape):
    gate, up = (torch.zeros(shape, device=device, requires_grad=True) for _ in range(2))
    y = swiglu(gate, up)
    y.sum().backward()
    assert y.shape == gate.grad.shape == up.grad.shape == torch.Size(shape)


@pytest.mark.parametrize("packed", [False, True])
def test_every_number_is_written_and_repeats(device, generator, monkeypatch, packed):
    x, g = tensors(generator, device, (7, 2, 100), (7, 100))
    x = x.detach()
    inputs = [half if packed else half.contiguous() for half in x.unbind(dim=1)]
    inputs = [half.requires_grad_() for half in inputs]
    expected = with_gradients(of_torch, doubled(inputs), [g.detach().double()])
    poison(monkeypatch)
    assert_exact(with_gradients(swiglu, inputs, [g.detach()]), expected)
    assert_repeats(swiglu, inputs, [g.detach()])


@pytest.mark.parametrize(("rows", "width"), [(70, 60), (3, 2000), (2, 5000)])
@pytest.mark.parametrize("packed", [False, True])
def test_block_sizes_of_a_gpu(device, generator, monkeypatch, rows, width, packed):
    ship(monkeypatch, _rows)
    x, g = tensors(generator, device, (rows, 2, width), (rows, width))
    x = x.detach()
    inputs = [half if packed else half.contiguous() for half in x.unbind(dim=1)]
    assert_like_torch(swiglu, of_torch, [half.requires_grad_() for half in inputs], [g.detach()])


def test_bad_input():
    x = torch.zeros(2, 4)
    wrong = [
        ((None, x), "gate must be"),
        ((x.double(), x.double()), "gate must be"),
        ((torch.tensor(1.0), torch.tensor(1.0)), "gate must be"),
        ((x, None), "up must be"),
        ((x, torch.zeros(2, 5)), r"up must match .*\(2, 4\).*\(2, 5\)"),
        ((x, torch.zeros(4)), r"up must match .*\(2, 4\).*\(4,\)"),
        ((x, x.half()), "up must match .*float32.*float16"),
        ((x, x.to("meta")), "up must match .*cpu.*meta"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            swiglu(*arguments)


def test_operator(device, generator):
    gate, up, g = tensors(generator, device, *[(3, 5)] * 3)
    torch.library.opcheck(room._swiglu, (gate, up))
    torch.library.opcheck(room._swiglu_backward, (gate.detach(), up.detach(), g.detach()))
    compiled = torch.compile(lambda a, b: swiglu(a * 2, b).sum(), fullgraph=True, backend="aot_eager")
    wide = doubled([gate, up])
    compiled(gate, up).backward()
    of_torch(wide[0] * 2, wide[1]).sum().backward()
    for got, expected in zip([gate, up], wide):
        assert distance(got.grad, expected.grad) <= 1e-5 * float(expected.grad.norm())
