"""int8 products: codes bit for bit the formula's, sums exact, scaling as exact as torch's own; LLM.int8 on top."""

import functools
import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import int8_matmul as product
from kernels import quantize_rows as rows
from kernels.int8_matmul import (
    WIDEST,
    int8_linear,
    int8_linear_plain,
    int8_matmul,
    int8_matmul_plain,
    quantize_rows,
)
from kernels.quantize_rows import quantize_rows_plain

some = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def random_codes(generator, *shape):
    return torch.randint(-128, 128, shape, generator=generator).to(torch.int8)


def absmax(x):
    """Codes and scale of each row by the formula, in torch: (rows, width) int8, (rows, 1) float32."""
    x = x.float()
    scale = (x.abs().amax(dim=1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.round(x / scale).clamp(-127, 127).to(torch.int8), scale


def exact(a, b):
    """The sums of products of codes in int64, which no sum here leaves."""
    return a.cpu().long() @ b.cpu().long().T


def relative(got, expected):
    """‖got - expected‖ / ‖expected‖ in float64 on the CPU."""
    got, expected = got.cpu().double(), expected.cpu().double()
    return float((got - expected).norm() / expected.norm())


@pytest.fixture
def poison(monkeypatch):
    """Fresh memory holds NaN, or 99 in integers: what a kernel leaves unwritten is seen."""
    empty = torch.empty

    def poisoned(*arguments, **options):
        x = empty(*arguments, **options)
        return x.fill_(float("nan") if x.is_floating_point() else 99)

    monkeypatch.setattr(torch, "empty", poisoned)


def shipped(monkeypatch):
    """The block sizes of a GPU, in the interpreter too."""
    monkeypatch.setattr(product, "settings", functools.partial(product.settings, interpreted=False))
    monkeypatch.setattr(rows, "settings", functools.partial(rows.settings, interpreted=False))


# rows to codes


@some
@given(
    height=st.integers(1, 5), width=st.integers(1, 300), size=st.floats(-40, 37), seed=st.integers(0, 999),
    dtype=st.sampled_from(DTYPES),
)  # fmt: skip
def test_codes_are_the_formulas_bit_for_bit(device, poison, height, width, size, seed, dtype):
    if dtype == torch.bfloat16:
        size = max(size, -30)  # Triton's interpreter widens subnormal bfloat16 numbers wrongly
    x = torch.randn(height, width, generator=torch.Generator().manual_seed(seed)) * 10.0**size
    x = x.clamp(-60_000, 60_000).to(dtype) if dtype == torch.float16 else x.to(dtype)
    codes, scale = quantize_rows(x.to(device))
    expected = absmax(x)
    assert torch.equal(codes.cpu(), expected[0])
    assert torch.equal(scale.cpu(), expected[1].view(-1))
    for ours, plain in zip((codes, scale), quantize_rows_plain(x.to(device))):
        assert torch.equal(ours, plain)


def test_ties_go_to_the_even_code_and_rows_of_zeros_stay_zero(device, poison):
    x = torch.tensor([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127.0], [0.0] * 8], device=device)
    codes, scale = quantize_rows(x)
    assert codes.tolist() == [[127, 0, 2, 2, 0, -2, -2, -127], [0] * 8]
    assert scale.tolist() == [1.0, torch.finfo(torch.float32).tiny]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("width", [20, 200])  # one block of a row, or several
def test_a_row_without_a_scale_says_so_and_harms_no_other(device, bad, width):
    x = torch.ones(3, width, device=device)
    x[1, width - 2] = bad
    codes, scale = quantize_rows(x)
    assert torch.isnan(scale).tolist() == [False, True, False]
    assert (codes[[0, 2]] == 127).all()
    assert (codes[1] == 0).all()
    y = int8_linear(x, torch.ones(2, width, dtype=torch.int8, device=device), torch.ones(2, device=device))
    assert torch.isnan(y).tolist() == [[False] * 2, [True] * 2, [False] * 2]


def test_rows_of_any_stride_and_no_rows(device, generator):
    x = torch.randn(40, 6, generator=generator).to(device)
    for view in (x.T, x[::2, 1:], x[:1].expand(4, -1), x[:, :1].expand(-1, 5), x[:0], x[:, :0]):
        for ours, plain in zip(
            quantize_rows(view), quantize_rows_plain(view) if view.numel() else (view, view)
        ):
            assert torch.equal(ours, plain) if view.numel() else ours.shape[0] == view.shape[0]


# the product


@some
@given(
    M=st.integers(1, 40), O=st.integers(1, 70), I=st.integers(1, 257), seed=st.integers(0, 999),
)  # fmt: skip
def test_sums_of_codes_are_exact(device, poison, M, O, I, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = random_codes(generator, M, I), random_codes(generator, O, I)
    ones = torch.ones(M, device=device), torch.ones(O, device=device)
    got = int8_matmul(a.to(device), b.to(device), *ones)
    assert got.dtype == torch.float32
    assert torch.equal(got.cpu().long(), exact(a, b))


def test_the_widest_sum_stays_inside_int32(device, monkeypatch):
    wide = {"BLOCK_M": 16, "BLOCK_O": 32, "BLOCK_I": 4096, "num_warps": 4, "num_stages": 1}
    if device == "cpu":
        monkeypatch.setattr(product, "settings", lambda *_: wide)
    a = torch.full((1, WIDEST), -128, dtype=torch.int8, device=device)
    one = torch.ones(1, device=device)
    assert WIDEST * 128 * 128 < 2**31 <= (WIDEST + 1) * 128 * 128
    assert int8_matmul(a, a, one, one).item() == float(torch.tensor(float(WIDEST * 128 * 128)))
    with pytest.raises(ValueError, match="131071"):
        int8_matmul(*[torch.zeros(1, WIDEST + 1, dtype=torch.int8, device=device)] * 2, one, one)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 2])
def test_scales_and_bias_are_as_exact_as_torchs(device, generator, poison, dtype, columns):
    M, O, I = 33, 48, 200
    a, b = random_codes(generator, M, I), random_codes(generator, O, I)
    a_scale, b_scale = torch.rand(M, generator=generator) + 0.1, 0.01 * torch.rand(O, generator=generator)
    bias = torch.randn(O, generator=generator).to(dtype)
    expected = exact(a, b).double() * a_scale.double()[:, None] * b_scale.double() + bias.double()
    torchs = (torch._int_mm(a, b.T).float() * a_scale[:, None] * b_scale + bias.float()).to(dtype)
    scales = [s.to(device) if columns == 1 else s[:, None].to(device) for s in (a_scale, b_scale)]
    got = int8_matmul(a.to(device), b.to(device), *scales, bias.to(device), dtype)
    assert got.dtype == dtype
    assert relative(got, expected) <= (1e-6 if dtype == torch.float32 else 1.5 * relative(torchs, expected))
    plain = int8_matmul_plain(a, b, a_scale, b_scale, bias, dtype)
    assert relative(plain, expected) <= 1.5 * relative(torchs, expected)


@pytest.mark.parametrize(("M", "O", "I"), [(3, 70, 300), (70, 140, 272), (257, 130, 128)])
def test_the_block_sizes_of_a_gpu(device, generator, monkeypatch, poison, M, O, I):
    shipped(monkeypatch)
    x = torch.randn(M, I, generator=generator)
    a, a_scale = quantize_rows(x.to(device))
    codes, _ = absmax(x)
    assert torch.equal(a.cpu(), codes)
    b = random_codes(generator, O, I)
    got = int8_matmul(a, b.to(device), torch.ones_like(a_scale), torch.ones(O, device=device))
    assert torch.equal(got.cpu().long(), exact(codes, b))


def test_any_stride_is_read_right_and_twice_the_same(device, generator):
    a, b = random_codes(generator, 80, 40).to(device), random_codes(generator, 80, 90).to(device)
    scale = torch.rand(90, 2, generator=generator).to(device)
    views = [
        (a[:, 3:].T, b.T, scale[:37, 0], scale[:, 1]),  # transposed: a row's columns lie far apart
        # one row five times; every other
        (
            a[:1, :32].expand(5, -1),
            b[::2, 5:37],
            scale[:5, 1],
            scale[:40, 1:],
        ),
        # odd addresses
        (
            a.flatten()[1:33].view(2, 16),
            b.flatten()[3:51].view(3, 16),
            scale[:2, :1],
            scale[5:8, 0],
        ),
    ]
    for x, y, x_scale, y_scale in views:
        got = int8_matmul(x, y, x_scale, y_scale)
        scales = x_scale.cpu().double().reshape(-1, 1), y_scale.cpu().double().reshape(-1)
        assert relative(got, exact(x, y) * scales[0] * scales[1]) < 1e-6
        assert torch.equal(got, int8_matmul(x, y, x_scale, y_scale))
        assert torch.equal(got[1:2], int8_matmul(x[1:2], y, x_scale[1:2], y_scale))


@pytest.mark.parametrize(("M", "O", "I"), [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty_products(device, M, O, I):
    zeros = functools.partial(torch.zeros, dtype=torch.int8, device=device)
    bias = torch.ones(O, device=device)
    got = int8_matmul(
        zeros(M, I), zeros(O, I), torch.ones(M, device=device), torch.ones(O, device=device), bias
    )
    assert torch.equal(got, torch.ones(M, O, device=device))
    linears = (int8_linear, int8_linear_plain) if I else (int8_linear,)
    for linear, threshold in itertools.product(linears, (0.0, 6.0)):
        x = torch.zeros(M, 2, I, device=device)
        assert linear(x, zeros(O, I), bias, threshold=threshold).shape == (M, 2, O)


# LLM.int8


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_is_the_product_of_rounded_rows(device, generator, dtype):
    codes, scale = absmax(torch.randn(24, 96, generator=generator))
    bias = torch.randn(24, generator=generator)
    x = torch.randn(2, 9, 96, generator=generator).to(dtype)
    x_codes, x_scale = absmax(x.view(18, 96))
    rounded = (x_codes.double() * x_scale.double()).view(2, 9, 96)
    expected = rounded @ (codes.double() * scale.double()).T + bias.double()
    arguments = [t.to(device) for t in (x, codes, scale, bias)]
    for got in (int8_linear(*arguments), int8_linear_plain(*arguments)):
        assert got.dtype == dtype
        assert relative(got, expected) <= (
            1e-6 if dtype == torch.float32 else relative(expected.to(dtype), expected) * 1.5
        )


def test_outlier_columns_are_multiplied_as_floats(device, generator):
    x = torch.randn(7, 64, generator=generator).clamp(-5, 5)
    x[:, 11] *= 300  # one feature a hundred times the others, as in LLMs from 6.7 billion weights on
    x[3, 40] = 6.0
    codes, scale = absmax(torch.randn(24, 64, generator=generator))
    bias = torch.randn(24, generator=generator)
    expected = x.double() @ (codes.double() * scale.double()).T + bias.double()
    arguments = [t.to(device) for t in (x, codes, scale, bias)]
    coarse, fine = int8_linear(*arguments), int8_linear(*arguments, threshold=6.0)
    assert relative(fine, expected) < 0.1 * relative(coarse, expected)
    assert relative(fine, int8_linear_plain(*arguments, threshold=6.0)) < 1e-6
    # no column is one: the same as without a threshold
    assert relative(int8_linear(*arguments, threshold=1e9), coarse) < 1e-6


def test_the_columns_with_the_largest_values_are_floats_where_there_are_too_many(device, generator):
    x = torch.randn(7, 64, generator=generator) * torch.linspace(1, 30, 64)
    codes, scale = absmax(torch.randn(24, 64, generator=generator))
    for columns in (slice(32, 64), slice(0, 64)):  # all of 32 columns: nothing is rounded; the largest of 64
        part, weight = x[:, columns].to(device), codes[:, columns].to(device)
        got = int8_linear(part, weight, scale.to(device), threshold=1e-9)
        floats = x[:, columns].abs().amax(0) >= x[:, columns].abs().amax(0).sort()[0][-32]
        rest, rest_scale = absmax(x[:, columns].masked_fill(floats, 0.0))
        rounded = torch.where(floats, x[:, columns].double(), rest.double() * rest_scale.double())
        assert relative(got, rounded @ (codes[:, columns].double() * scale.double()).T) < 1e-6
        assert (
            relative(int8_linear_plain(part, weight, scale.to(device), threshold=1e-9), got.double()) < 1e-6
        )


# torch's side


def test_torchs_own_checks_and_compile(device, generator):
    a, b = random_codes(generator, 5, 32).to(device), random_codes(generator, 7, 32).to(device)
    x = torch.randn(5, 32, generator=generator).to(device)
    torch.library.opcheck(torch.ops.minillm_kernels.quantize_rows, (x,))
    scales = torch.full((5,), 0.01, device=device), torch.full((7,), 0.01, device=device)
    torch.library.opcheck(torch.ops.minillm_kernels.int8_matmul, (a, b, *scales, None, torch.float16))
    compiled = torch.compile(int8_linear, fullgraph=True, backend="aot_eager")
    for threshold in (
        0.0,
        2.0,
    ):  # how many outliers there are decides no shape, so that one graph holds them, too
        got = compiled(x, b, scales[1], threshold=threshold)
        assert relative(got, int8_linear(x, b, scales[1], threshold=threshold).double()) < 1e-6


def test_bad_arguments(device):
    a, b = (
        torch.zeros(4, 8, dtype=torch.int8, device=device),
        torch.zeros(6, 8, dtype=torch.int8, device=device),
    )
    m, o = torch.ones(4, device=device), torch.ones(6, device=device)
    bad = [
        ((a, b[:, :7], m, o), r"\(4, 8\).*\(6, 7\)"),
        ((a.float(), b, m, o), "a must be of dtype int8"),
        ((a, b.long(), m, o), "b must be of dtype int8"),
        ((a[0], b, m, o), "2 axes"),
        ((a, None, m, o), "b must be a tensor"),
        ((a, b, m[:3], o), r"a_scale.*\(4, 8\)"),
        ((a, b, m, o.half()), "b_scale must be a float32"),
        ((a, b, m, o[None]), "b_scale"),
        ((a, b, m, 1.0), "b_scale"),
        ((a, b, m, o, o[:5]), "bias"),
        ((a, b, m, o, o.long()), "bias"),
        ((a, b, m, o, None, torch.float64), "out_dtype"),
        ((a, b, m, o, None, "fp16"), "out_dtype"),
        ((a, b.to("meta"), m, o), "b must be on"),
    ]
    for arguments, word in bad:
        with pytest.raises(ValueError, match=word):
            int8_matmul(*arguments)
    x = torch.zeros(4, 8, device=device)
    bad = [
        ((x.double(), b, o), "x must be"),
        (([1.0], b, o), "x must be"),
        ((x[:, :7], b, o), r"\(4, 7\).*\(6, 8\)"),
        ((x, b.float(), o), "codes"),
        ((x, b, o[:5], None, 6.0), "scale"),
        ((x, b, None, None, 6.0), "scale"),
        ((x, b, o, None, -1.0), "threshold"),
        ((x, b, o, None, float("nan")), "threshold"),
    ]
    for arguments, word in bad:
        with pytest.raises(ValueError, match=word):
            int8_linear(*arguments)
    for bad_rows in (x[0], x.double(), None):
        with pytest.raises(ValueError, match="x must"):
            quantize_rows(bad_rows)


def test_aligned_weights_are_read_where_they_are(device):
    codes = torch.zeros(6, 32, dtype=torch.int8, device=device)
    assert product._dense(codes) is codes
    assert product._dense(codes[:, :16]).data_ptr() == codes.data_ptr()
    assert product._dense(codes[:, :20]).shape == (6, 32)
