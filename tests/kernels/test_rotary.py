"""Rotary positions: a complex product in float64, minillm's RoPE, and what transformers does in Llama and GPT-J."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import rotary as room
from kernels.rotary import rotary, rotary_plain
from minillm.nn import RoPE
from tests.kernels.rows import (
    DTYPES,
    again,
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


def turned(x, cos, sin, interleaved):
    """The first R numbers of each head as complex ones, times cos + i sin; the others as they are."""
    if cos.dim() == 3:
        cos, sin = cos[:, None], sin[:, None]
    half = cos.shape[-1]
    head, rest = x[..., : 2 * half], x[..., 2 * half :]
    pairs = head.unflatten(-1, (half, 2)) if interleaved else head.unflatten(-1, (2, half)).transpose(-1, -2)
    product = torch.view_as_complex(pairs.contiguous()) * torch.complex(cos.to(x.dtype), sin.to(x.dtype))
    pairs = torch.view_as_real(product)
    pairs = pairs if interleaved else pairs.transpose(-1, -2)
    return torch.cat([pairs.flatten(-2), rest], dim=-1)


def angles(generator, device, *shape, dtype=torch.float32):
    """cos and sin of angles of any size, as far positions have them."""
    theta = 100 * torch.rand(shape, generator=generator)
    return theta.cos().to(device, dtype), theta.sin().to(device, dtype)


def both(cos, sin, interleaved):
    """(our function of q and k, the complex product of q and k)."""
    return (
        lambda q, k: rotary(q, k, cos, sin, interleaved),
        lambda q, k: (turned(q, cos, sin, interleaved), turned(k, cos, sin, interleaved)),
    )


def case(generator, device, B, H, K, T, D, dtype=torch.float32):
    """(q and k, upstream); q as (B, H, T, D) lies in memory, k as a projection leaves it, (B, T, K, D)."""
    shapes = (B, H, T, D), (B, K, T, D)
    q, k, *g = tensors(generator, device, *shapes, *shapes, dtype=dtype)
    k = k.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    return [q, k], [x.detach() for x in g]


@given(
    st.integers(1, 2), st.integers(1, 10), st.integers(1, 3), st.integers(1, 7), st.integers(1, 40),
    st.integers(0, 9), st.booleans(), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@some
def test_any_shape_is_the_complex_product(device, B, H, K, T, half, rest, interleaved, batched, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs, upstream = case(generator, device, B, H, K, T, 2 * half + rest)
    cos, sin = angles(generator, device, *([B] if batched else []), T, half)
    assert_like_torch(*both(cos, sin, interleaved), inputs, upstream)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_error_is_within_torchs(device, generator, dtype, interleaved):
    """Against x·cos + rotated(x)·sin in 16 bits, which is how it is written in torch."""
    inputs, upstream = case(generator, device, 2, 5, 2, 7, 64, dtype)
    cos, sin = angles(generator, device, 7, 32, dtype=dtype)
    ours, of_torch = both(cos, sin, interleaved)

    def low(q, k):
        axis = -1 if interleaved else -2
        halves = (32, 2) if interleaved else (2, 32)
        full_cos, full_sin = (torch.stack([x, x], dim=axis).flatten(-2) for x in (cos, sin))
        pairs = [x.unflatten(-1, halves).unbind(axis) for x in (q, k)]
        rotated = [torch.stack([-b, a], dim=axis).flatten(-2) for a, b in pairs]
        return [x * full_cos + y * full_sin for x, y in zip((q, k), rotated)]

    got = with_gradients(ours, inputs, upstream)
    expected = with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream])
    assert_no_worse(got, with_gradients(low, again(inputs), upstream), expected)


@pytest.mark.parametrize("interleaved", [False, True])
def test_plain_is_the_formula(generator, interleaved):
    (q, k), _ = case(generator, "cpu", 2, 3, 1, 5, 12)
    cos, sin = angles(generator, "cpu", 2, 5, 4)
    expected = [turned(x.double(), cos, sin, interleaved) for x in (q, k)]
    assert_exact(rotary_plain(q, k, cos, sin, interleaved), expected)
    assert_exact([rotary_plain(q, None, cos, sin, interleaved)], expected[:1])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("positions", [3, torch.tensor([[5, 0, 9, 7], [1, 2, 3, 1000]])])
def test_is_minillms_rope(device, generator, interleaved, positions):
    (q, k), _ = case(generator, device, 2, 4, 2, 4, 16)
    rope = RoPE(16, interleaved=interleaved)
    positions = positions if isinstance(positions, int) else positions.to(device)
    at = torch.arange(3, 7, device=device) if isinstance(positions, int) else positions
    theta = at.float()[..., None] * 10000.0 ** (-torch.arange(0, 16, 2, device=device) / 16)
    got = rotary(q, k, theta.cos(), theta.sin(), interleaved)
    for x, y in zip(got, rope(q, k, positions), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)  # angles of position 1,000 in float32


def test_is_llamas_and_gpt_neoxs(device, generator):
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    (q, k), _ = case(generator, device, 2, 4, 2, 5, 16)
    cos, sin = angles(generator, device, 2, 5, 8)
    expected = llama.apply_rotary_pos_emb(q, k, torch.cat([cos, cos], -1), torch.cat([sin, sin], -1))
    torch.testing.assert_close(rotary(q, k, cos, sin), expected)
    # GPT-NeoX turns the first part of each head
    part = cos[..., :3], sin[..., :3]
    full = [torch.cat([x, x], dim=-1) for x in part]
    first = llama.apply_rotary_pos_emb(q[..., :6], k[..., :6], *full)
    expected = tuple(torch.cat([x, y[..., 6:]], dim=-1) for x, y in zip(first, (q, k)))
    torch.testing.assert_close(rotary(q, k, *part), expected)


def test_is_gpt_js(device, generator):
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    (q, k), _ = case(generator, device, 2, 4, 2, 5, 16)
    cos, sin = angles(generator, device, 2, 5, 8)
    for got, x in zip(rotary(q, k, cos, sin, interleaved=True), (q, k)):
        expected = gptj.apply_rotary_pos_emb(x.transpose(1, 2), sin, cos).transpose(1, 2)
        torch.testing.assert_close(got, expected)


def test_what_is_not_turned_is_copied(device, generator):
    (q, k), _ = case(generator, device, 1, 3, 2, 4, 21)
    with torch.no_grad():
        q[..., 6:] = float("nan")
    got = rotary(q, k, *angles(generator, device, 4, 3))
    assert torch.isfinite(got[0][..., :6]).all()
    assert torch.isnan(got[0][..., 6:]).all()
    assert torch.equal(got[1][..., 6:], k[..., 6:])


def test_q_alone(device, generator):
    inputs, upstream = case(generator, device, 2, 3, 1, 5, 8)
    cos, sin = angles(generator, device, 5, 4)
    got = with_gradients(lambda q: rotary(q, None, cos, sin), inputs[:1], upstream[:1])
    expected = with_gradients(
        lambda q: turned(q, cos, sin, False), doubled(inputs[:1]), [upstream[0].double()]
    )
    assert_exact(got, expected)


def test_gradient_of_one_output_alone_and_of_the_gradient(device, generator):
    (q, k), (_, g) = case(generator, device, 1, 3, 2, 4, 8)
    cos, sin = angles(generator, device, 4, 4)
    of_q, of_k = torch.autograd.grad(rotary(q, k, cos, sin)[1], [q, k], g, allow_unused=True)
    assert of_q is None or not of_q.any()
    back = turned(g.double(), cos, -sin, False)  # the inverse of a turn
    assert_exact([of_k], [back])
    g.requires_grad_()
    (of_k,) = torch.autograd.grad(rotary(q, k, cos, sin)[1], k, g, create_graph=True)
    (twice,) = torch.autograd.grad(of_k, g, g.detach())
    assert_exact([twice], [turned(g.detach().double(), cos, sin, False)])


@hostile
def test_hostile_numbers_stay_in_their_pairs(device):
    q = torch.ones(1, 1, 2, 6, device=device)
    q[0, 0, 0, 1], q[0, 0, 1, 3] = float("inf"), float("nan")
    theta = torch.full((2, 3), 0.5, device=device)
    got = rotary(q, None, theta.cos(), theta.sin())[0, 0]
    assert got.isfinite().tolist() == [[True, False, True] * 2, [False, True, True] * 2]


def test_strides(device, generator):
    x, y = tensors(generator, device, (3, 4, 6, 16), (3, 4, 6, 16))
    x, y = x.detach(), y.detach()
    cos, sin = angles(generator, device, 6, 8)
    views = [
        (x[:, :2], y[:, 2:]),
        (x[:, :1].expand(3, 5, 6, 16), y),
        (x.flip(0), y[:, ::2]),
        (x.transpose(2, 3).contiguous().transpose(2, 3), y),  # the last axis is not contiguous
    ]
    for q, k in views:
        for table in (
            (cos, sin),
            [t.t().contiguous().t() for t in (cos, sin)],
            [t[:1].expand(6, 8) for t in (cos, sin)],
        ):
            got = rotary(q, k, *table)
            assert_exact(got, [turned(t.double(), *table, False) for t in (q, k)])
    x.requires_grad_()
    rotary(x, None, cos, sin).sum(dim=1).sum().backward()  # an expanded gradient comes in
    assert_exact([x.grad], [turned(torch.ones_like(x).double(), cos, -sin, False)])


def test_layout_is_kept(device, generator):
    (q, k), _ = case(generator, device, 2, 3, 4, 5, 8)
    got = rotary(q, k, *angles(generator, device, 5, 4))
    assert got[0].is_contiguous()
    assert got[1].transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4)])
def test_nothing_in_nothing_out(device, shape):
    q = torch.zeros(shape, device=device, requires_grad=True)
    table = torch.ones(shape[2], 2, device=device)
    out, k = rotary(q, q[:, :0], table, table)
    (out.sum() + k.sum()).backward()
    assert out.shape == q.grad.shape == q.shape
    assert k.shape == q[:, :0].shape


@pytest.mark.parametrize("interleaved", [False, True])
def test_every_number_is_written_and_repeats(device, generator, monkeypatch, interleaved):
    inputs, upstream = case(generator, device, 2, 9, 3, 7, 20)
    ours, of_torch = both(*angles(generator, device, 7, 7), interleaved)
    expected = with_gradients(of_torch, doubled(inputs), [g.double() for g in upstream])
    poison(monkeypatch)
    assert_exact(with_gradients(ours, inputs, upstream), expected)
    assert_repeats(ours, inputs, upstream)


def test_a_text_does_not_depend_on_its_batch(device, generator):
    (q, k), _ = case(generator, device, 3, 4, 2, 7, 8)
    cos, sin = angles(generator, device, 3, 7, 4)
    batch = rotary(q, k, cos, sin)
    for i in range(3):
        alone = rotary(q[i : i + 1], k[i : i + 1], cos[i], sin[i])
        assert all(torch.equal(x[0], y[i]) for x, y in zip(alone, batch))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("D", "half"), [(64, 32), (96, 48), (80, 16), (256, 128)])
def test_block_sizes_of_a_gpu(device, generator, monkeypatch, D, half, interleaved):
    ship(monkeypatch, room)
    inputs, upstream = case(generator, device, 1, 9, 2, 20, D)
    assert_like_torch(*both(*angles(generator, device, 20, half), interleaved), inputs, upstream)


def test_lengths_are_kept(device, generator):
    (q, k), _ = case(generator, device, 2, 3, 2, 50, 32)
    out, _ = rotary(q, k, *angles(generator, device, 50, 16))
    assert largest(out.norm(dim=-1) - q.norm(dim=-1)) <= 1e-5 * largest(q.norm(dim=-1))


def test_bad_input():
    q, k, t = torch.zeros(2, 4, 3, 8), torch.zeros(2, 1, 3, 8), torch.zeros(3, 4)
    wrong = [
        ((None, k, t, t), "q must be a tensor"),
        ((q[0], k, t, t), "q must have 4 axes"),
        ((q.double(), k, t, t), "q must be of dtype"),
        ((q, k[0], t, t), "k must have 4 axes"),
        ((q, k[:1], t, t), r"q and k may differ .*\(2, 4, 3, 8\).*\(1, 1, 3, 8\)"),
        ((q, k[..., :6], t, t), r"q and k may differ .*\(2, 4, 3, 8\).*\(2, 1, 3, 6\)"),
        ((q, k.half(), t, t), "q and k may differ"),
        ((q, k.to("meta"), t, t), "k must be on cpu"),
        ((q, k, None, t), "cos must be a tensor"),
        ((q, k, t[:2], t), r"cos must be \(T, R/2\).*\(2, 4, 3, 8\).*\(2, 4\)"),
        ((q, k, t, torch.zeros(3, 5)), r"sin must be \(T, R/2\)"),
        ((q, k, t, t[:, :3]), r"cos and sin must match, .*\(3, 4\).*\(3, 3\)"),
        ((q, k, t, t.half()), "cos and sin must match"),
        ((q, k, t[:, :0], t[:, :0]), r"cos must be \(T, R/2\)"),
        ((q, k, t.expand(3, 3, 4), t.expand(3, 3, 4)), r"cos must be \(T, R/2\)"),
        ((q, k, t.long(), t.long()), "cos must be of dtype"),
        ((q, k, t, t.clone().requires_grad_()), "sin requires a gradient"),
        ((q, k, t, t, 1), "interleaved must be True or False"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            rotary(*arguments)


def test_operator(device, generator):
    (q, k), _ = case(generator, device, 2, 3, 1, 5, 8)
    cos, sin = angles(generator, device, 5, 3)
    torch.library.opcheck(room._rotary, ([q, k], cos, sin, True, False))
    torch.library.opcheck(room._rotary, ([q], cos, sin, False, True))
    ours, of_torch = both(cos, sin, False)

    def loss(function, q, k):
        q, k = function(q * 2, k)
        return (q.sum(dim=1) * k.sum(dim=1)).sum()

    compiled = torch.compile(lambda q, k: loss(ours, q, k), fullgraph=True, backend="aot_eager")
    wide = doubled([q, k])
    compiled(q, k).backward()
    loss(of_torch, *wide).backward()
    for got, expected in zip([q, k], wide):
        assert distance(got.grad, expected.grad) <= 1e-5 * float(expected.grad.norm())
