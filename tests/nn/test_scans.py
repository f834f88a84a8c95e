"""The selective scans: one recurrence, computed in several ways, with the same answers and the same gradients."""

from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
import torch

from minillm.nn import (
    mamba_scan_plain,
    scan_associative,
    scan_chunked,
    scan_compiled,
    scan_loop,
    scan_tree,
    selective_scan,
    ssd_chunked,
    ssd_loop,
    ssd_matrix,
)
from minillm.nn.mamba import causal_conv
from minillm.nn.scan_compiled import exp_of
from minillm.nn.scans import join, states_by_pairs
from minillm.nn.ssd import segment_sums
from tests.helpers import soak_count

LENGTHS = (1, 2, 15, 16, 17, 31, 33, 64)


def inputs(seed, T, texts=2, D=3, N=2, state=True, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    dt = torch.rand(texts, T, D, generator=g)
    A = -torch.rand(D, N, generator=g) * 2
    given = [
        torch.randn(texts, T, D, generator=g), dt, A, torch.randn(texts, T, N, generator=g),
        torch.randn(texts, T, N, generator=g), torch.randn(texts, D, N, generator=g) if state else None,
    ]  # fmt: skip
    return [None if one is None else one.to(dtype).requires_grad_() for one in given]


def with_gradients(scan, given, **options):
    """What comes out, then the gradients of what went in."""
    y, last = scan(*given, **options)
    weights = [torch.arange(out.numel()).to(out).view_as(out).sin() for out in (y, last)]
    total = (y * weights[0]).sum() + (last * weights[1]).sum()
    return [
        y,
        last,
        *torch.autograd.grad(total, [one for one in given if one is not None], materialize_grads=True),
    ]


def close(found, expected, tolerance):
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape, i
        assert float((a - b).abs().max()) <= tolerance * (1 + float(b.abs().max())), i


def doubled(given):
    return [None if one is None else one.detach().double().requires_grad_() for one in given]


def test_the_loop_is_the_definition():
    """One channel, one number of state, in plain Python."""
    x, dt, A, B, C, state = (one.detach() for one in inputs(0, 5, texts=1, D=1, N=1))
    y, last = scan_loop(x, dt, A, B, C, state)
    h = float(state)
    for t in range(5):
        h = np.exp(float(dt[0, t]) * float(A)) * h + float(dt[0, t]) * float(x[0, t]) * float(B[0, t])
        assert abs(float(y[0, t]) - float(C[0, t]) * h) < 1e-12
    assert abs(float(last) - h) < 1e-12


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("state", [False, True])
def test_all_are_the_loop_with_gradients(T, state):
    given = inputs(T, T, state=state)
    expected = with_gradients(scan_loop, given)
    for scan in (scan_associative, scan_tree):
        close(with_gradients(scan, given), expected, 1e-11)
    for chunk in (1, 2, 7, 16, 100):
        close(with_gradients(scan_chunked, given, chunk=chunk), expected, 1e-11)
    for scan in (scan_compiled, selective_scan):
        narrow = inputs(T, T, state=state, dtype=torch.float32)
        close(with_gradients(scan, narrow), with_gradients(scan_loop, doubled(narrow)), 2e-5)


def test_any_length_and_any_chunk():
    rng = np.random.default_rng(0)
    for number in range(soak_count(150)):
        T = int(rng.integers(1, 1026 if number % 4 == 0 else 100))
        sizes = {name: int(rng.integers(1, top)) for name, top in (("texts", 3), ("D", 4), ("N", 4))}
        given = inputs(number, T, state=bool(number % 2), **sizes)
        expected = with_gradients(scan_loop, given)
        close(with_gradients(scan_tree if number % 2 else scan_associative, given), expected, 1e-10)
        close(with_gradients(scan_chunked, given, chunk=int(rng.integers(1, 1100))), expected, 1e-10)
        narrow = inputs(number, T, state=bool(number % 2), dtype=torch.float32, **sizes)
        close(with_gradients(scan_compiled, narrow), with_gradients(scan_loop, doubled(narrow)), 1e-4)


def test_steps_join_in_any_grouping():
    """Exactly, in fractions; and a text's steps, joined, are the text: a of all and h of the last token."""
    rng = np.random.default_rng(2)
    steps = [tuple(Fraction(int(n), int(m)) for n, m in rng.integers(1, 50, (2, 2))) for _ in range(9)]
    for p, q, r in zip(steps, steps[1:], steps[2:]):
        assert join(join(p, q), r) == join(p, join(q, r))
    product, h = Fraction(1), Fraction(0)
    for a, b in steps:
        product, h = a * product, a * h + b
    assert reduce(join, steps) == (product, h)


@pytest.mark.parametrize("scan", [scan_loop, scan_associative, scan_tree, scan_chunked])
def test_gradients_are_finite_differences(scan):
    assert torch.autograd.gradcheck(scan, inputs(11, 5, texts=1, D=2))


@pytest.mark.parametrize("scan", [scan_associative, scan_tree, scan_chunked, scan_compiled])
def test_a_token_that_resets_spoils_nothing(scan):
    """exp(Δ A) is 0 for one token, near 1 for those behind it."""
    given = [one.detach() for one in inputs(12, 40, dtype=torch.float32)]
    given[1] = given[1] * 0.01
    given[1][:, 7], given[0][:, 7] = 1e5, 0.0
    close(scan(*given), scan_loop(*(one.double() for one in given)), 1e-5)


@pytest.mark.parametrize("D", [63, 64, 65, 130])
def test_the_compiled_scan_in_blocks_of_channels(D):
    narrow = inputs(D, 20, D=D, N=5, dtype=torch.float32)
    close(with_gradients(scan_compiled, narrow), with_gradients(scan_loop, doubled(narrow)), 2e-5)


def test_the_compiled_scan_leaves_what_it_reads():
    given = [one.detach() for one in inputs(1, 9, dtype=torch.float32)]
    before = [one.clone() for one in given]
    scan_compiled(*given)
    assert all(torch.equal(a, b) for a, b in zip(given, before))
    wide = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(2))
    x, dt = wide[..., :3], wide[..., 3:6].abs()  # parts of one tensor, with strides
    found = scan_compiled(x, dt, *given[2:])
    close(found, scan_loop(x, dt, *given[2:]), 1e-5)


def test_the_polynomial_is_an_exponential():
    x = np.concatenate([np.linspace(-87, 87, 20_001), [0.0, -0.0, 1e-30, -1e-30, 0.34657, -0.34658]])
    x, y = x.astype(np.float32), np.empty(len(x), np.float32)
    for i in range(len(x)):
        y[i] = exp_of(x[i])
    expected = np.exp(x.astype(np.float64))
    assert np.abs(y / expected - 1).max() < 2e-5  # k ln 2 in float32 costs as much, far from 0
    near = np.abs(x) < 4
    assert np.abs(y / expected - 1)[near].max() < 1e-6
    assert 0 < exp_of(np.float32(-1e30)) < 1e-37
    assert np.isnan(exp_of(np.float32(np.nan)))


# Mamba-2


def ssd_inputs(seed, T, texts=2, H=4, P=3, G=2, N=5, state=True):
    g = torch.Generator().manual_seed(seed)
    shapes = [(texts, T, H, P), (texts, T, H), (H,), (texts, T, G, N), (texts, T, G, N), (texts, H, P, N)]
    given = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes[: 6 if state else 5]]
    given[1], given[2] = given[1].abs(), -given[2].abs()
    return [one.requires_grad_() for one in given] + [None] * (not state)


@pytest.mark.parametrize("T", LENGTHS)
def test_ssd_is_its_loop_with_gradients(T):
    for groups, state in ((1, True), (2, False), (4, True)):
        given = ssd_inputs(T, T, G=groups, state=state)
        expected = with_gradients(ssd_loop, given)
        for chunk in (1, 3, 16, 64):
            close(with_gradients(ssd_chunked, given, chunk=chunk), expected, 1e-10)


def test_ssd_of_any_length_and_chunk():
    rng = np.random.default_rng(1)
    for number in range(soak_count(100)):
        T = int(rng.integers(1, 1026 if number % 4 == 0 else 100))
        given = ssd_inputs(number, T, texts=1, state=bool(number % 2))
        found = with_gradients(ssd_chunked, given, chunk=int(rng.integers(1, 300)))
        close(found, with_gradients(ssd_loop, given), 1e-9)


def test_ssd_is_a_selective_scan_whose_channels_share_a_decay():
    x, dt, A, B, C, state = ssd_inputs(3, 21, G=1)
    y, last = ssd_loop(x, dt, A, B, C, state)
    flat = scan_loop(
        x.flatten(2), dt.repeat_interleave(3, dim=2), A.repeat_interleave(3)[:, None].expand(12, 5),
        B[:, :, 0], C[:, :, 0], state.flatten(1, 2),
    )  # fmt: skip
    close((y.flatten(2), last.flatten(1, 2)), flat, 1e-12)


def test_ssd_is_attention_with_a_fading_mask():
    x, dt, A, B, C, _ = ssd_inputs(4, 13, state=False)
    y, _ = ssd_loop(x, dt, A, B, C)
    found = ssd_matrix(dt, A, B, C) @ (dt[..., None] * x).transpose(1, 2)  # (B, H, T, T) @ (B, H, T, P)
    close([found.transpose(1, 2)], [y], 1e-12)


def test_a_long_chunk_does_not_overflow():
    """Above the diagonal exp would be of +2,000."""
    x, dt, A, B, C, _ = (None if one is None else one.detach() for one in ssd_inputs(5, 200, state=False))
    dt = torch.full_like(dt, 5.0)
    close(ssd_chunked(x, dt, A * 0 - 2, B, C, chunk=200), ssd_loop(x, dt, A * 0 - 2, B, C), 1e-10)


def test_ssd_behind_a_token_that_resets():
    """The difference of two running sums of 10⁵ would have lost what stands behind the point."""
    given = [one.detach().float() for one in ssd_inputs(10, 48)]
    given[1] = given[1] * 0.01
    given[1][:, 5], given[0][:, 5] = 1e5, 0.0
    close(ssd_chunked(*given, chunk=48), ssd_loop(*(one.double() for one in given)), 1e-5)


def test_the_tree_of_no_tokens_and_the_matrix_of_bad_ones():
    assert states_by_pairs(torch.ones(1, 0, 2), torch.ones(1, 0, 2)).shape == (1, 0, 2)
    _, dt, A, B, C, _ = (one.detach() for one in ssd_inputs(1, 4))
    for arguments, message in (
        ((None, A, B, C), "dt must be a float tensor"),
        ((dt[:, :0], A, B, C), "dt must be a float tensor"),
        ((dt, A[:1], B, C), "A must be a tensor"),
        ((dt, A, B[:, 1:], C), "B must be a tensor"),
        ((dt, A, B, C[..., :1]), "C must be a tensor"),
    ):
        with pytest.raises(ValueError, match=message):
            ssd_matrix(*arguments)


def test_segment_sums_are_sums():
    steps = torch.arange(1.0, 6.0)
    found = segment_sums(steps)
    for t in range(5):
        for s in range(5):
            assert float(found[t, s]) == (sum(steps[s + 1 : t + 1].tolist()) if s <= t else -np.inf)


# What stands around a scan


def test_causal_conv_is_torchs():
    g = torch.Generator().manual_seed(6)
    for K in (1, 2, 4):
        x, before = torch.randn(2, 7, 3, generator=g), torch.randn(2, K - 1, 3, generator=g)
        weight, bias = torch.randn(3, K, generator=g), torch.randn(3, generator=g)
        padded = torch.cat((before, x), dim=1).transpose(1, 2)
        expected = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=3).transpose(1, 2)
        y, last = causal_conv(x, weight, bias, before)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(last, padded.transpose(1, 2)[:, 7:])


def test_the_scan_of_a_layer_keeps_its_dtype():
    x, dt, A, B, C, state = (one.detach() for one in inputs(7, 6, dtype=torch.float32))
    skip, gate = torch.ones(3), torch.ones(2, 6, 3)
    expected, _ = mamba_scan_plain(*(one.double() for one in (x, dt, A, B, C, skip, gate, state)))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)):
        narrow = [one.to(dtype) for one in (x, dt, A, B, C, skip, gate)]
        narrow[2] = A
        y, last = mamba_scan_plain(*narrow, state)
        assert (y.dtype, last.dtype) == (dtype, torch.float32)
        assert float((y.double() - expected).abs().max()) < tolerance * (1 + float(expected.abs().max()))


def test_bad_input_is_named():
    x, dt, A, B, C, state = (one.detach() for one in inputs(8, 4))
    wrong = [
        ((None, dt, A, B, C), {}, r"x must be a float tensor \(B, T, D\)"),
        ((x[:, :0], dt[:, :0], A, B[:, :0], C[:, :0]), {}, "at least one token"),
        ((x, dt[:, :2], A, B, C), {}, r"dt must be a tensor \(2, 4, 3\)"),
        ((x, dt, A[:2], B, C), {}, r"A must be a tensor \(3, N\)"),
        ((x, dt, A, B[..., :1], C), {}, r"B must be a tensor \(2, 4, 2\)"),
        ((x, dt, A, B, None), {}, "C must be a tensor"),
        ((x, dt, A, B, C), {"state": state[:1]}, "state must be a tensor"),
    ]
    for scan in (scan_loop, scan_associative, scan_tree, scan_chunked, scan_compiled, selective_scan):
        for arguments, options, message in wrong:
            with pytest.raises(ValueError, match=message):
                scan(*arguments, **options)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        scan_chunked(x, dt, A, B, C, chunk=0)
    with pytest.raises(ValueError, match="float32 on a CPU"):
        scan_compiled(x, dt, A, B, C)
    x, dt, A, B, C, state = (one.detach() for one in ssd_inputs(9, 4))
    for arguments, message in [
        ((x[0], dt, A, B, C), "x must be a float tensor"),
        ((x, dt[..., :1], A, B, C), "dt must be a tensor"),
        ((x, dt, A[:1], B, C), "A must be a tensor"),
        ((x, dt, A, B[:, :, [0, 0, 1]], C), "heads must go evenly into groups, got 4 and 3"),
        ((x, dt, A, B, C[..., :1]), "C must be a tensor"),
        ((x, dt, A, B, C, state[..., :1]), "state must be a tensor"),
    ]:
        for scan in (ssd_loop, ssd_chunked):
            with pytest.raises(ValueError, match=message):
                scan(*arguments)
