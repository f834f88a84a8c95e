"""The selective scan: the plain version in float64, outputs and all gradients, whatever the shapes and strides."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import selective_scan as room
from kernels.selective_scan import selective_scan, selective_scan_plain
from tests.helpers import soak_count
from tests.kernels.rows import (
    DTYPES,
    assert_exact,
    assert_no_worse,
    assert_repeats,
    distance,
    doubled,
    largest,
    poison,
    some,
    tensors,
    with_gradients,
)


def operands(generator, device, texts, T, D, N, dtype=torch.float32):
    """x, dt, A, B, C, skip, gate, state, and what comes back for y and the last state."""
    token, row = (texts, T, D), (texts, T, N)
    x, dt, B, C, gate, gy = tensors(generator, device, token, token, row, row, token, token, dtype=dtype)
    A, skip, state, glast = tensors(generator, device, (D, N), (D,), (texts, D, N), (texts, D, N))
    A = (-A.detach().exp()).requires_grad_()
    return [x, dt, A, B, C, skip, gate, state], [gy.detach(), glast.detach()]


def assert_like_plain(inputs, upstream):
    got = with_gradients(selective_scan, inputs, upstream)
    expected = with_gradients(selective_scan_plain, doubled(inputs), [one.double() for one in upstream])
    if inputs[0].dtype == torch.float32:
        # a small sum of large terms is measured by the terms: all gradients of one call by their largest
        scale = max(largest(one) for one in expected)
        assert_exact(got, expected, [min(scale, 10 * largest(one) + 1e-3) for one in expected])
    else:
        narrow = [one.detach().clone().requires_grad_() for one in inputs]
        assert_no_worse_of_kinds(got, with_gradients(selective_scan_plain, narrow, upstream), expected)


def assert_no_worse_of_kinds(got, plain, expected):
    """Those in 16 bits no worse than the plain version's; those in float32 (state, A, skip) within 16 bits' reach."""
    narrow = [i for i, one in enumerate(got) if one.dtype != torch.float32]
    assert_no_worse(*([many[i] for i in narrow] for many in (got, plain, expected)))
    for i, (one, other) in enumerate(zip(got, expected)):
        if i not in narrow:
            assert distance(one, other) <= 0.01 * float(other.norm()) + 1e-6, i


@given(st.integers(1, 2), st.integers(1, 18), st.integers(1, 10), st.integers(1, 9), st.integers(0, 99))
@settings(parent=some, max_examples=soak_count(60) - 2)
def test_any_shape_is_the_plain_version_in_float64(device, texts, T, D, N, seed):
    assert_like_plain(*operands(torch.Generator().manual_seed(seed), device, texts, T, D, N))


@pytest.mark.parametrize(("T", "D"), [(16, 3), (33, 9)])
def test_pieces_of_tokens(device, generator, T, D):
    assert_like_plain(*operands(generator, device, 1, T, D, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_within_the_plain_versions(device, generator, dtype):
    assert_like_plain(*operands(generator, device, 1, 12, 12, 5, dtype))


def test_without_a_state_it_starts_from_zeros(device, generator):
    inputs, _ = operands(generator, device, 2, 7, 5, 3)
    given = [one.detach() for one in inputs[:-1]]
    y, last = selective_scan(*given)
    expected = selective_scan_plain(*(one.double() for one in given))
    assert_exact([y, last], list(expected))


def test_a_text_in_two_parts_is_the_whole(device, generator):
    inputs, _ = operands(generator, device, 1, 19, 6, 3)
    x, dt, A, B, C, skip, gate, state = (one.detach() for one in inputs)
    y, last = selective_scan(x, dt, A, B, C, skip, gate, state)
    for cut in (1, 16):
        parts = [[one[:, :cut], one[:, cut:]] for one in (x, dt, B, C, gate)]
        first, middle = selective_scan(*pick(parts, 0, A, skip), state)
        second, end = selective_scan(*pick(parts, 1, A, skip), middle)
        torch.testing.assert_close(torch.cat((first, second), dim=1), y)
        torch.testing.assert_close(end, last)


def pick(parts, which, A, skip):
    x, dt, B, C, gate = (pair[which] for pair in parts)
    return x, dt, A, B, C, skip, gate


def test_parts_of_one_tensor_are_read_where_they_lie(device, generator):
    """As a layer gives them: x beside the gate, B and C behind the rank of Δ."""
    both, picked, dt = tensors(generator, device, (2, 9, 24), (2, 9, 11), (2, 9, 12))
    A, skip = -torch.rand(12, 4, generator=generator), torch.rand(12, generator=generator)

    def call(both, picked, dt):
        (x, gate), (_, B, C) = both.chunk(2, dim=-1), picked.split([3, 4, 4], dim=-1)
        scan = selective_scan if both.dtype == torch.float32 else selective_scan_plain
        return scan(x, dt, A.to(both), B, C, skip.to(both), gate)[0]

    g = torch.randn(2, 9, 12, generator=generator)
    got = with_gradients(call, [both, picked, dt], [g])
    expected = with_gradients(call, doubled([both, picked, dt]), [g.double()])
    assert_exact(got, expected, [largest(one) for one in expected])


def test_large_and_small_steps(device, generator):
    """softplus as torch has it: nothing is lost where it is tiny, and it is x from 20 on."""
    dt = torch.tensor([-60.0, -30, -15, -7, -1, 0, 1, 7, 19.9, 20.1, 80], device=device)[None, :, None]
    rest = torch.ones_like(dt)
    inputs = [rest, dt, torch.tensor([[-1e-3]]), rest, rest, torch.zeros(1), rest, torch.ones(1, 1, 1)]
    inputs = [one.to(device).clone().requires_grad_() for one in inputs]
    got = with_gradients(selective_scan, inputs, [rest, torch.ones(1, 1, 1)])
    expected = with_gradients(
        selective_scan_plain, doubled(inputs), [rest.double(), torch.ones(1, 1, 1).double()]
    )
    for i in (0, 1, 3):  # y, the last state is number 1, the gradient of dt number 3
        torch.testing.assert_close(got[i], expected[i].float(), rtol=2e-5, atol=1e-6)


def test_every_number_is_written_and_repeats(device, generator, monkeypatch):
    inputs, upstream = operands(generator, device, 1, 17, 9, 3)
    poison(monkeypatch)
    assert_like_plain(inputs, upstream)
    assert_repeats(selective_scan, inputs, upstream)


def test_gradients_are_asked_of_what_wants_them(device, generator):
    inputs, _ = operands(generator, device, 1, 5, 4, 2)
    given = [one.detach() for one in inputs]
    y, last = selective_scan(*given)
    assert not y.requires_grad
    given[2].requires_grad_()
    y, last = selective_scan(*given)
    (found,) = torch.autograd.grad(last.sum(), [given[2]])  # y is not asked for
    wide = [one.detach().double() for one in given]
    wide[2].requires_grad_()
    (expected,) = torch.autograd.grad(selective_scan_plain(*wide)[1].sum(), [wide[2]])
    assert_exact([found], [expected])


def test_bad_input():
    x, A, row = torch.zeros(2, 3, 4), torch.zeros(4, 5), torch.zeros(2, 3, 5)
    skip = torch.zeros(4)
    wrong = [
        ((None, x, A, row, row, skip, x), "x must be a tensor"),
        ((x[0], x, A, row, row, skip, x), "x must have 3 axes"),
        ((x.double(), x, A, row, row, skip, x), "x must be of dtype"),
        ((x[:, :0], x[:, :0], A, row[:, :0], row[:, :0], skip, x[:, :0]), "A must be"),
        ((x, x, A[:3], row, row, skip, x), "A must be"),
        ((x, x, torch.zeros(4, 65), row, row, skip, x), "1..64"),
        ((x, x.half(), A, row, row, skip, x), "dt must be of dtype float32"),
        ((x, x[:, :2], A, row, row, skip, x), r"dt must be \(2, 3, 4\)"),
        ((x, x, A, row[..., :4], row, skip, x), r"B must be \(2, 3, 5\)"),
        ((x, x, A, row, x, skip, x), r"C must be \(2, 3, 5\)"),
        ((x, x, A, row, row, skip[:3], x), r"skip must be \(4,\)"),
        ((x, x, A, row, row, skip, row), r"gate must be \(2, 3, 4\)"),
        ((x, x, A, row, row, skip, x, A), "state must have 3 axes"),
        ((x, x, A, row, row, skip, x, torch.zeros(2, 5, 4)), r"state must be \(2, 4, 5\)"),
        ((x, x, A.to("meta"), row, row, skip, x), "A must be on cpu"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            selective_scan(*arguments)


def test_operator(device, generator):
    inputs, _ = operands(generator, device, 1, 3, 4, 2)
    torch.library.opcheck(room._scan, (*inputs, True))
    plain = [one.detach() for one in inputs]
    kept = room._scan(*plain, True)[2]
    gy, glast = torch.ones(1, 3, 4, device=device), torch.ones(1, 4, 2, device=device)
    torch.library.opcheck(room._scan_backward, (*plain[:-1], kept, gy, glast))
    compiled = torch.compile(lambda *a: selective_scan(*a)[0].sum(), fullgraph=True, backend="aot_eager")
    compiled(*inputs).backward()
    wide = doubled(inputs)
    selective_scan_plain(*wide)[0].sum().backward()
    for got, expected in zip(inputs, wide):
        assert distance(got.grad, expected.grad) <= 1e-5 * float(expected.grad.norm()) + 1e-6


def test_a_model_trains_through_it(device):
    """minillm's Mamba with the kernel and without: the same logits, the same gradients."""
    pytest.importorskip("minillm", reason="this environment holds the kernels' requirements only")
    from minillm.models import Mamba, MambaConfig
    from minillm.nn import use_kernels

    config = MambaConfig(vocab_size=11, hidden_size=8, state_size=4, num_hidden_layers=2)
    ids = torch.tensor([[1, 2, 3, 4]], device=device)
    found = []
    for mode in ("never", "always"):
        model = Mamba(config, seed=0).to(device)
        with use_kernels(mode):
            logits = model(ids).logits
        logits.sin().sum().backward()
        found.append([logits, *(one.grad for one in model.parameters())])
    for plain, kernel in zip(*found):
        torch.testing.assert_close(kernel, plain, rtol=1e-4, atol=1e-5)
