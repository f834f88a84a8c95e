"""Softmax over rows: torch's in float64, in one piece and along long rows, forward and backward."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import _rows
from kernels import softmax as room
from kernels.softmax import softmax, softmax_plain
from tests.kernels.rows import (
    DTYPES,
    apart,
    assert_exact,
    assert_like_torch,
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

pytestmark = hostile
PATHS = {"whole rows": 16_384, "long rows": 0}


def of_torch(x):
    return torch.softmax(x, dim=-1)


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Rows that fit into registers, or the loop along rows that do not, whatever their width."""
    monkeypatch.setattr(room, "WIDEST", PATHS[request.param])
    return request.param


@given(st.lists(st.integers(1, 5), max_size=2), st.integers(1, 257), st.integers(0, 99))
@some
def test_any_shape_is_torchs_in_float64(path, device, leading, width, seed):
    generator = torch.Generator().manual_seed(seed)
    (x,), g = (tensors(generator, device, (*leading, width)) for _ in range(2))
    with torch.no_grad():
        x.mul_(4)
    got = with_gradients(softmax, [x], g)
    expected = with_gradients(of_torch, doubled([x]), doubled(g))
    # p · (g - Σ g p) may be a small difference: its error is that of its terms
    assert_exact(got, expected, [1.0, largest(expected[0] * g[0])])


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_within_torchs(path, device, generator, dtype):
    x, g = tensors(generator, device, (16, 120), (16, 120), dtype=dtype)
    assert_like_torch(softmax, of_torch, [x], [g.detach()])


def test_plain_is_the_formula(generator):
    (x,) = tensors(generator, "cpu", (5, 33))
    assert_exact([softmax_plain(x)], [of_torch(x.double())])


def test_hostile_numbers_give_what_torch_gives(path, device):
    inf, nan = float("inf"), float("nan")
    rows = [
        [1e38, -1e38, 3e38, 0.0],
        [inf, 1.0, 2.0, 3.0],
        [-inf, 1.0, -inf, 3.0],
        [-inf] * 4,
        [nan, 1.0, 2.0, -inf],
        [7.0] * 4,
        [1e4, 1e4 + 1, 1e4 - 1, 1e4],
        [88.8, 89.0, 90.0, 0.0],
    ]
    x = torch.tensor(rows, device=device).repeat(1, 20)  # (8, 80)
    torch.testing.assert_close(softmax(x), of_torch(x), rtol=1e-6, atol=1e-9, equal_nan=True)
    late = torch.cat([torch.full((1, 100), -inf), torch.zeros(1, 28)], dim=1).to(device)
    torch.testing.assert_close(softmax(late), of_torch(late))  # lanes that see no finite number


def test_strides(path, device, generator):
    (x,) = tensors(generator, device, (3, 4, 20))
    x = x.detach()
    views = [x.transpose(0, 2), x[:, :, ::2], x[::2, 1:3, 3:], x[:, :1].expand(3, 5, 20), x[0, 0], x[..., :1]]
    for view in views:
        inputs, g = (
            [view.detach().requires_grad_()],
            apart(torch.randn(view.shape, generator=generator).to(device)),
        )
        got = with_gradients(softmax, inputs, [g])
        assert got[0].is_contiguous()
        expected = with_gradients(of_torch, doubled(inputs), [g.double()])
        assert_exact(got, expected, [1.0, largest(expected[0] * g)])
    x = apart(x).requires_grad_()
    softmax(x).sum().backward()  # an expanded gradient comes in
    assert largest(x.grad) < 1e-6  # probabilities add up to 1, whatever x is


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0,), (2, 0, 7)])
def test_nothing_in_nothing_out(path, device, shape):
    x = torch.zeros(shape, device=device, requires_grad=True)
    y = softmax(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == x.shape


def test_every_number_is_written_and_repeats(path, device, generator, monkeypatch):
    x, g = tensors(generator, device, (7, 100), (7, 100))
    expected = with_gradients(of_torch, doubled([x]), [g.detach().double()])
    poison(monkeypatch)
    assert_exact(with_gradients(softmax, [x], [g.detach()]), expected)
    assert_repeats(softmax, [x], [g.detach()])


def test_a_row_does_not_depend_on_its_batch(path, device, generator):
    (x,) = tensors(generator, device, (9, 130))
    batch = softmax(x)
    assert all(torch.equal(softmax(x[i : i + 1])[0], batch[i]) for i in range(9))


@pytest.mark.parametrize(("rows", "width"), [(70, 60), (3, 1000), (2, 5000), (2, 20_000), (1, 50_257)])
def test_block_sizes_of_a_gpu(device, generator, monkeypatch, rows, width):
    ship(monkeypatch, _rows, room)
    x, g = tensors(generator, device, (rows, width), (rows, width))
    assert_like_torch(softmax, of_torch, [x], [g.detach()])


def test_bad_input():
    wrong = [None, [1.0], torch.tensor(1.0), torch.zeros(3, dtype=torch.float64), torch.zeros(3).long()]
    for x in [*wrong, torch.zeros(3).to_sparse()]:
        for function in (softmax, softmax_plain):
            with pytest.raises(ValueError, match="x must be a float16, bfloat16 or float32 tensor"):
                function(x)


def test_operator(device, generator):
    x, g = tensors(generator, device, (3, 5), (3, 5))
    torch.library.opcheck(room._softmax, (x,))
    torch.library.opcheck(room._softmax_backward, (softmax(x).detach(), g.detach()))
    compiled = torch.compile(lambda x: softmax(x * 2).square().sum(), fullgraph=True, backend="aot_eager")
    compiled(x).backward()
    y = doubled([x])[0]
    of_torch(y * 2).square().sum().backward()
    assert distance(x.grad, y.grad) <= 1e-5 * float(y.grad.norm())
