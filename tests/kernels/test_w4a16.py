"""Products with 4-bit weights against float64 products with the same weights, and no less exact than torch's own."""

import functools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import _w4a16, w4a16, w4a16_gemv
from kernels.w4a16 import FEW_ROWS, w4a16_linear, w4a16_matmul, w4a16_plain

gemv = w4a16_gemv.w4a16_gemv
some = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
both = pytest.mark.parametrize("product", [gemv, w4a16_matmul], ids=["gemv", "matmul"])
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
KINDS = ["symmetric", "zeros", "bytes", "codebook"]


def quantized(generator, O, I, group_size, kind, device="cpu"):
    """(packed, scales, group_size, zeros, codebook) with random codes, and the weight they stand for in float64."""
    codes = torch.randint(0, 16, (O, I), generator=generator)
    groups = -(-I // group_size)
    scales = torch.rand(O, groups, generator=generator) + 0.1
    zeros = codebook = None
    if kind == "zeros":
        zeros = 15 * torch.rand(O, groups, generator=generator)
    elif kind == "bytes":
        zeros = torch.randint(0, 16, (O, groups), generator=generator).to(torch.uint8)
    elif kind == "codebook":
        codebook = torch.randn(16, generator=generator).sort().values
    group = torch.arange(I) // group_size  # the group of each column
    values = codes.double() - (8 if zeros is None else zeros.double()[:, group])
    if codebook is not None:
        values = codebook.double()[codes]
    packed = (16 * codes[:, 0::2] + codes[:, 1::2]).to(torch.uint8)  # the earlier code in the high half
    arguments = [packed, scales, group_size, zeros, codebook]
    moved = [x.to(device) if isinstance(x, torch.Tensor) else x for x in arguments]
    return moved, values * scales.double()[:, group]


def relative(got, expected):
    """‖got - expected‖ / ‖expected‖ in float64 on the CPU."""
    got, expected = got.detach().cpu().double(), expected.detach().cpu().double()
    return float((got - expected).norm() / expected.norm())


@pytest.fixture
def poison(monkeypatch):
    """Fresh memory holds NaN: what a kernel leaves unwritten is seen."""
    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *sizes, **options: empty(*sizes, **options).fill_(float("nan"))
    )


@both
@some
@given(
    M=st.integers(1, 24), O=st.integers(1, 70), half=st.integers(1, 128), group=st.sampled_from([16, 32, 48, 64, 999]),
    kind=st.sampled_from(KINDS), with_bias=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_any_shape_in_float32(device, poison, product, M, O, half, group, kind, with_bias, seed):
    generator = torch.Generator().manual_seed(seed)
    weights, dense = quantized(generator, O, 2 * half, group, kind, device)
    x = torch.randn(1 + M % 3 if product is gemv else M, 2 * half, generator=generator)
    bias = torch.randn(O, generator=generator) if with_bias else None
    expected = F.linear(x.double(), dense, None if bias is None else bias.double())
    got = product(x.to(device), *weights, None if bias is None else bias.to(device))
    assert (got.shape, got.dtype) == ((len(x), O), torch.float32)
    assert relative(got, expected) <= 1e-5
    assert (got.cpu() - expected).abs().max() <= 1e-5 * expected.abs().max()


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_as_exact_as_torchs(device, generator, poison, product, dtype, kind):
    M, O, I = (4 if product is gemv else 24), 96, 320
    weights, dense = quantized(generator, O, I, 64, kind)
    if kind in ("zeros", "codebook"):  # scales in half precision too
        rounded = weights[1].to(dtype)
        dense = dense * (rounded.double() / weights[1].double()).repeat_interleave(64, dim=1)
        weights[1] = rounded
    x, bias = torch.randn(M, I, generator=generator).to(dtype), torch.randn(O, generator=generator).to(dtype)
    expected = F.linear(x.double(), dense, bias.double())
    torchs = F.linear(x, dense.to(dtype), bias)
    moved = [t.to(device) if isinstance(t, torch.Tensor) else t for t in (x, *weights, bias)]
    got = product(*moved)
    assert got.dtype == dtype
    assert relative(got, expected) <= 1.5 * relative(torchs, expected)
    assert relative(w4a16_plain(*moved), expected) <= 1.5 * relative(torchs, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("M", "O", "I", "group", "kind"),
    [
        (5, 70, 1024, 64, "codebook"),
        (40, 70, 544, 32, "zeros"),
        (70, 140, 160, 16, "symmetric"),
        (257, 140, 96, 48, "zeros"),
    ],
)
def test_the_block_sizes_of_a_gpu(device, generator, monkeypatch, poison, dtype, M, O, I, group, kind):
    for module in (w4a16, w4a16_gemv):
        monkeypatch.setattr(module, "settings", functools.partial(module.settings, interpreted=False))
    weights, dense = quantized(generator, O, I, group, kind, device)
    x = torch.randn(M, I, generator=generator).to(dtype)
    torchs = relative(F.linear(x, dense.to(dtype)), expected := F.linear(x.double(), dense))
    assert relative(w4a16_matmul(x.to(device), *weights), expected) <= 1.5 * torchs
    assert relative(gemv(x[:2].to(device), *weights), expected[:2]) <= 1.5 * torchs


def test_programs_share_the_columns_of_a_few_tiles(device, generator, monkeypatch, poison):
    weights, dense = quantized(generator, 40, 2048, 128, "symmetric", device)
    x = torch.randn(3, 2048, generator=generator)
    grids = []
    if device == "cpu":  # the interpreter's launches can be watched
        kernel = w4a16._w4a16_matmul_kernel
        watched = type("Watched", (), {"__getitem__": lambda self, grid: grids.append(grid) or kernel[grid]})
        monkeypatch.setattr(w4a16, "_w4a16_matmul_kernel", watched())
    bias = 100 * torch.randn(40, generator=generator)
    got = w4a16_matmul(x.to(device), *weights, bias.to(device))
    assert relative(got, F.linear(x.double(), dense, bias.double())) <= 1e-5
    assert all(shares > 1 for _, shares in grids)
    assert torch.equal(got, w4a16_matmul(x.to(device), *weights, bias.to(device)))


# rows and strides


@pytest.mark.parametrize("kind", ["zeros", "codebook"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_is_the_same_in_every_batch(device, generator, kind, dtype):
    weights, _ = quantized(generator, 19, 160, 32, kind, device)
    x = torch.randn(7, 160, generator=generator).to(dtype).to(device)
    together = gemv(x, *weights)
    assert torch.equal(together, gemv(x, *weights))
    for row in range(7):
        assert torch.equal(gemv(x[row : row + 1], *weights)[0], together[row])
    product = w4a16_matmul(x, *weights)
    other = x.clone()
    other[1:] = float("nan")
    assert torch.equal(w4a16_matmul(other, *weights)[0], product[0])


@both
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_in_its_row(device, generator, product, bad):
    weights, dense = quantized(generator, 9, 128, 32, "symmetric", device)
    x = torch.randn(3, 128, generator=generator)
    x[1, 77] = bad
    got = product(x.to(device), *weights).cpu()
    assert torch.isfinite(got).all(dim=1).tolist() == [True, False, True]
    assert not torch.isfinite(got[1]).any()
    assert relative(got[[0, 2]], x[[0, 2]].double() @ dense.T) <= 1e-5


@both
def test_any_stride_is_read_right(device, generator, product):
    weights, dense = quantized(generator, 7, 96, 32, "bytes", device)
    packed, scales, group_size, zeros, _ = weights
    bias = torch.randn(7, 2, generator=generator)
    x = torch.randn(96, 4, generator=generator).to(device)
    wide = torch.zeros(7, 77, dtype=torch.uint8, device=device)
    wide[:, 5:53] = packed
    shifted = torch.cat([packed.new_zeros(1), packed.flatten()])[1:].view(7, 48)  # at an odd address
    spread = torch.stack([scales, zeros.float()], dim=-1)
    for view in (x.T, x.T[::2], x.T[:1].expand(5, -1), x.T[:, :1].expand(-1, 96)):
        expected = F.linear(view.cpu().double(), dense, bias[:, 1].double())
        for codes in (packed, wide[:, 5:53], shifted):
            got = product(
                view, codes, spread[..., 0], group_size, spread[..., 1], None, bias[:, 1].to(device)
            )
            assert relative(got, expected) <= 1e-5


@both
def test_scales_of_every_size(device, generator, product):
    weights, dense = quantized(generator, 24, 256, 32, "symmetric")
    factor = 10.0 ** torch.randint(-30, 31, (24, 1), generator=generator)
    weights[1], dense = (weights[1] * factor).to(device), dense * factor.double()
    weights[0] = weights[0].to(device)
    x = torch.randn(4, 256, generator=generator)
    got, expected = product(x.to(device), *weights), x.double() @ dense.T
    for o in range(24):  # each output has a size of its own
        assert relative(got[:, o], expected[:, o]) <= 1e-5


@both
@pytest.mark.parametrize(("M", "O", "I"), [(0, 3, 32), (2, 0, 32), (2, 3, 0)])
def test_empty_products(device, generator, product, M, O, I):
    weights, _ = quantized(generator, O, I, 16, "symmetric", device)
    bias = torch.ones(O, device=device)
    assert torch.equal(
        product(torch.ones(M, I, device=device), *weights, bias), torch.ones(M, O, device=device)
    )


def test_linear_takes_the_kernel_for_its_rows_and_any_leading_axes(device, generator, monkeypatch):
    taken = []
    for name in ("w4a16_gemv", "w4a16_matmul"):
        real = getattr(w4a16, name)
        monkeypatch.setattr(w4a16, name, lambda *a, name=name, real=real: taken.append(name) or real(*a))
    weights, dense = quantized(generator, 9, 64, 32, "codebook", device)
    for shape in [(64,), (1, FEW_ROWS, 64), (FEW_ROWS + 1, 64), (2, 3, 5, 64), (0, 2, 64)]:
        x = torch.randn(shape, generator=generator)
        got = w4a16_linear(x.to(device), *weights)
        assert got.shape == (*shape[:-1], 9)
        if x.numel():
            assert relative(got, x.double() @ dense.T) <= 1e-5
    assert taken == ["w4a16_gemv", "w4a16_gemv", "w4a16_matmul", "w4a16_matmul", "w4a16_gemv"]


# torch's side


@both
@pytest.mark.parametrize("kind", ["zeros", "codebook"])
def test_gradients_of_x_and_bias(device, generator, product, kind):
    weights, dense = quantized(generator, 24, 96, 32, kind, device)
    x, bias, g = (torch.randn(shape, generator=generator) for shape in ((3, 2, 96), (24,), (3, 2, 24)))
    wide = [t.double().requires_grad_() for t in (x, bias)]
    F.linear(wide[0], dense, wide[1]).backward(g.double())
    ours = [t.to(device).requires_grad_() for t in (x, bias)]
    product(ours[0], *weights, ours[1]).backward(g.to(device))
    for got, expected in zip(ours, wide):
        assert relative(got.grad, expected.grad) <= 1e-5


def test_torchs_own_checks_and_compile(device, generator):
    weights, _ = quantized(generator, 9, 64, 32, "bytes", device)
    x = torch.randn(3, 64, generator=generator).to(device)
    bias = torch.randn(9, generator=generator).to(device).requires_grad_()
    for name in ("w4a16_gemv", "w4a16_matmul"):
        operator = getattr(torch.ops.minillm_kernels, name)
        torch.library.opcheck(operator, (x.requires_grad_(), *weights, bias))
    compiled = torch.compile(w4a16_linear, fullgraph=True, backend="aot_eager")
    for rows in (x[:1], x):
        assert torch.equal(compiled(rows, *weights, bias), w4a16_linear(rows, *weights, bias))


def test_bad_arguments(device):
    x = torch.zeros(3, 64, device=device)
    packed = torch.zeros(5, 32, dtype=torch.uint8, device=device)
    scales, book = torch.ones(5, 2, device=device), torch.zeros(16, device=device)
    bad = [
        ((None, packed, scales, 32), "x must be"),
        ((x.double(), packed, scales, 32), "x must be"),
        ((torch.tensor(1.0, device=device), packed, scales, 32), "x must be"),
        ((x[:, :63], packed, scales, 32), r"even I.*\(3, 63\).*\(5, 32\)"),
        ((x, packed[:, :31], scales, 32), r"\(3, 64\).*\(5, 31\)"),
        ((x, packed.int(), scales, 32), "packed must be of dtype uint8"),
        ((x, packed[0], scales, 32), "packed must have 2 axes"),
        ((x, packed, scales, 24), "multiple of 16"),
        ((x, packed, scales, 0), "group_size"),
        ((x, packed, scales, 32.0), "group_size"),
        ((x, packed, scales, 16), r"scales.*\(5, 4\).*\(5, 2\)"),
        ((x, packed, scales[:4], 32), r"scales.*\(5, 2\).*\(4, 2\)"),
        ((x, packed, scales.half(), 32), "float32 or of the dtype of x"),
        ((x, packed, scales, 32, scales[:, :1]), r"zeros.*\(5, 2\).*\(5, 1\)"),
        ((x, packed, scales, 32, scales.int()), "zeros must be of dtype"),
        ((x, packed, scales, 32, None, book[:15]), "16 values"),
        ((x, packed, scales, 32, scales, book), "no zeros"),
        ((x, packed, scales, 32, None, book.half()), "codebook must be of dtype float32"),
        ((x, packed, scales, 32, None, None, book), r"bias.*\(5, 32\).*\(16,\)"),
        ((x, packed.to("meta"), scales, 32), "packed must be on"),
    ]
    for product in (w4a16_linear, w4a16_matmul, gemv):
        for arguments, word in bad:
            with pytest.raises(ValueError, match=word):
                product(*arguments)


def test_aligned_weights_are_read_where_they_are(device):
    x, packed = torch.zeros(3, 64, device=device), torch.zeros(5, 32, dtype=torch.uint8, device=device)
    same = _w4a16.aligned(x, packed)
    assert same[0] is x
    assert same[1] is packed
    padded = _w4a16.aligned(x[:, :34], packed[:, :17])
    assert [t.shape for t in padded] == [(3, 64), (5, 32)]
