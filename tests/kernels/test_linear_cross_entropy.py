"""The last layer's loss in chunks: as float64 has it, whatever the chunk, and never with all logits in memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import _cross_entropy as inner
from kernels import linear_cross_entropy as module
from kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_plain

some = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HALVES = [torch.float16, torch.bfloat16]


def problem(generator, N, C, V, dtype=torch.float32, device="cpu", bias=True, ignored=()):
    """([hidden, weight, bias or None], targets), with logits of moderate size."""
    shapes = [(N, C), (V, C), (V,)][: 2 + bias]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[1] /= C**0.5
    tensors = [x.to(dtype).to(device) for x in tensors]
    targets = torch.randint(V, (N,), generator=generator).to(device)
    targets[list(ignored)] = -100
    return [*tensors, *[None] * (not bias)], targets


def torchs(hidden, weight, targets, bias=None, **options):
    return F.cross_entropy(F.linear(hidden, weight, bias), targets, **options)


def with_gradients(function, tensors, targets, factor=1.0, **options):
    """[loss, ∂hidden, ∂weight, ∂bias] in float64 on the CPU; the gradients are of factor · loss."""
    hidden, weight, bias = [None if x is None else x.detach().clone().requires_grad_() for x in tensors]
    loss = function(hidden, weight, targets, bias, **options)
    (loss * factor).backward()
    found = [loss.detach(), *[x.grad for x in (hidden, weight, bias) if x is not None]]
    return [x.cpu().double() for x in found]


def exact(tensors, targets, factor=1.0, **options):
    """What torch's own operations give in float64."""
    wide = [None if x is None else x.cpu().double() for x in tensors]
    return with_gradients(torchs, wide, targets.cpu(), factor, **options)


def relative(got, expected):
    return float((got - expected).norm() / expected.norm().clamp(min=1e-30))


def assert_close(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected):
        assert got.shape == wanted.shape
        if wanted.numel():
            assert float((got - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


@some
@given(
    N=st.integers(6, 33), C=st.integers(3, 24), V=st.integers(5, 90), chunk=st.sampled_from([None, 1, 5, 16, 100]),
    bias=st.booleans(), reduction=st.sampled_from(["mean", "sum"]), smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_loss_and_gradients_in_any_chunks(
    device, monkeypatch, N, C, V, chunk, bias, reduction, smoothing, seed
):
    monkeypatch.setattr(inner, "WIDEST", 50)  # wider rows are long ones
    if chunk == 1:
        N = N % 8 + 4
    generator = torch.Generator().manual_seed(seed)
    tensors, targets = problem(generator, N, C, V, device=device, bias=bias, ignored=[1])
    options = {"label_smoothing": smoothing, "reduction": reduction}
    expected = exact(tensors, targets, 3.0, **options)
    assert_close(
        with_gradients(linear_cross_entropy, tensors, targets, 3.0, chunk_rows=chunk, **options), expected
    )
    hidden, weight, bias = tensors
    plain = linear_cross_entropy_plain(hidden, weight, targets, bias, **options)
    assert_close([plain.cpu().double()], expected[:1])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_low_precision_errs_no_more_than_torch(device, generator, dtype, reduction):
    tensors, targets = problem(generator, 40, 48, 150, dtype, device, ignored=[7, 20])
    options = {"reduction": reduction, "label_smoothing": 0.1}
    wanted = exact(tensors, targets, **options)
    ours = with_gradients(linear_cross_entropy, tensors, targets, chunk_rows=16, **options)
    theirs = with_gradients(torchs, tensors, targets, **options)
    # The loss is one number, which torch may hit by luck: then it counts what nobody can avoid, to round the logits
    # and the loss itself.
    logits = F.linear(*[x.cpu().double() for x in tensors]).to(dtype).double()
    best = F.cross_entropy(logits, targets.cpu(), **options).to(dtype).double()
    bound = max(
        1.5 * relative(theirs[0], wanted[0]), 1.01 * relative(best, wanted[0]) + torch.finfo(dtype).eps
    )
    assert relative(ours[0], wanted[0]) <= bound
    for got, peer, expected in zip(ours[1:], theirs[1:], wanted[1:]):
        assert relative(got, expected) <= 1.5 * relative(peer, expected)
    # what is lost by rounding the loss comes back, and nothing else changes
    wide = with_gradients(
        linear_cross_entropy, tensors, targets, chunk_rows=16, out_dtype=torch.float32, **options
    )
    exactly = F.cross_entropy(logits, targets.cpu(), **options)
    assert relative(wide[0], exactly) <= 1e-5
    assert all(torch.equal(x, y) for x, y in zip(wide[1:], ours[1:]))


def test_float16_sums_over_many_tokens_neither_overflow_nor_vanish(device):
    # 1,024 tokens of one class: their sum of ∂weight is 100 · 1024, more than float16 holds; the mean is 100
    hidden = torch.full((1024, 4), 100.0, dtype=torch.float16, device=device)
    weight = torch.zeros(8, 4, dtype=torch.float16, device=device)
    targets = torch.zeros(1024, dtype=torch.long, device=device)
    tensors = [hidden, weight, None]
    found = with_gradients(linear_cross_entropy, tensors, targets)
    assert_close(found, exact(tensors, targets), 1e-3)
    # tokens whose gradient is 3e-8 in the mean survive under a loss scale
    weight += 3e-4 * torch.arange(8, device=device)[:, None]
    scaled = with_gradients(linear_cross_entropy, tensors, targets, 8192.0)
    assert relative(scaled[1], exact(tensors, targets, 8192.0)[1]) < 2e-3


# gradients, shapes and edges


def test_only_the_gradients_that_someone_wants_are_made(device, generator):
    (hidden, weight, bias), targets = problem(generator, 6, 4, 9, device=device)
    made = []
    operator = module._linear_cross_entropy

    def spy(*arguments):
        made.append(operator(*arguments))
        return made[-1]

    module._linear_cross_entropy = spy
    try:
        for wanted in ([0], [1], [2], [0, 1], []):
            given = [x.clone().requires_grad_(i in wanted) for i, x in enumerate((hidden, weight, bias))]
            loss = linear_cross_entropy(given[0], given[1], targets, given[2])
            assert [i for i, x in enumerate(made[-1][2:]) if x.numel()] == wanted
            if wanted:
                loss.backward()
            assert [i for i, x in enumerate(given) if x.grad is not None] == wanted
        with torch.no_grad():
            linear_cross_entropy(hidden.clone().requires_grad_(), weight, targets)
        assert not any(x.numel() for x in made[-1][2:])
    finally:
        module._linear_cross_entropy = operator


def test_leading_axes_and_any_strides(device, generator):
    (hidden, weight, bias), targets = problem(generator, 24, 10, 30, device=device)
    cases = [
        (hidden.view(2, 12, 10), weight, bias, targets.view(2, 12)),
        (hidden.view(2, 12, 10).transpose(0, 1), weight, bias, targets.view(12, 2)),
        (hidden[:, ::2], weight[:, 5:], bias, targets),
        (
            hidden[:1].expand(24, 10),
            weight[:, :1].expand(30, 10),
            bias[:1].expand(30),
            targets[:1].expand(24),
        ),
        (hidden.T.contiguous().T, weight.T.contiguous().T, bias, targets),
        (hidden[0], weight, bias, targets[0]),
    ]
    for h, w, b, t in cases:
        given = [x.detach().requires_grad_() for x in (h, w, b)]
        loss = linear_cross_entropy(*given[:2], t, given[2], chunk_rows=9)
        found = [loss, *torch.autograd.grad(loss, given)]
        flat = [h.reshape(-1, h.shape[-1]), w, b]
        expected = exact(flat, t.reshape(-1))
        assert found[1].shape == h.shape
        assert_close([x.detach().cpu().double().reshape(y.shape) for x, y in zip(found, expected)], expected)


def test_no_rows_no_width_and_nothing_that_counts(device, generator):
    (hidden, weight, bias), targets = problem(generator, 5, 4, 9, device=device)
    for reduction, value in (("mean", "nan"), ("sum", "0.0")):
        for h, t in ((hidden[:0], targets[:0]), (hidden, torch.full_like(targets, -100))):
            found = with_gradients(linear_cross_entropy, [h, weight, bias], t, reduction=reduction)
            assert str(found[0].item()) == value
            assert not any(x.any() for x in found[1:])
    thin = [hidden[:, :0], weight[:, :0], bias]
    assert_close(with_gradients(linear_cross_entropy, thin, targets), exact(thin, targets))
    targets[2] = 3
    assert_close(
        with_gradients(linear_cross_entropy, [hidden, weight, bias], targets, ignore_index=3),
        exact([hidden, weight, bias], targets, ignore_index=3),
    )


def test_unwritten_memory_is_never_read(device, monkeypatch, generator):
    tensors, targets = problem(generator, 20, 8, 70, device=device)
    expected = exact(tensors, targets)
    empty, new_empty = torch.empty, torch.Tensor.new_empty

    def poisoned(x):
        return x.fill_(float("nan")) if x.is_floating_point() else x

    monkeypatch.setattr(torch, "empty", lambda *a, **k: poisoned(empty(*a, **k)))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, **k: poisoned(new_empty(*a, **k)))
    assert_close(with_gradients(linear_cross_entropy, tensors, targets, chunk_rows=8), expected)


def test_the_same_bits_every_time_and_a_second_backward(device, generator):
    tensors, targets = problem(generator, 20, 8, 70, torch.bfloat16, device)
    first, second = (with_gradients(linear_cross_entropy, tensors, targets, 3.0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    given = [x.clone().requires_grad_() for x in tensors]
    loss = linear_cross_entropy(*given[:2], targets, given[2])
    once = torch.autograd.grad(loss * 3, given, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(once, torch.autograd.grad(loss * 3, given)))


# as an operator


def test_the_operators_are_registered_right(device, generator):
    (hidden, weight, bias), targets = problem(generator, 5, 4, 9, device=device)
    h, w, b = (x.requires_grad_() for x in (hidden, weight, bias))
    torch.library.opcheck(
        module._linear_cross_entropy, (h, w, targets, b, -100, 0.1, "mean", 3, [True, False, True])
    )
    torch.library.opcheck(
        inner.scaled, (torch.ones(3, 5, device=device), torch.tensor(2.0, device=device), torch.float16)
    )


def test_it_compiles_into_one_graph(device, generator):
    tensors, targets = problem(generator, 5, 4, 9, device=device)

    def loss(hidden, weight, targets, bias):
        return linear_cross_entropy(2 * hidden, weight, targets, bias)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(*(with_gradients(f, tensors, targets, 3.0) for f in (compiled, loss)), 1e-6)


def test_bad_input_is_refused(device):
    h, w, t = (
        torch.zeros(3, 5, device=device),
        torch.zeros(7, 5, device=device),
        torch.zeros(3, dtype=torch.long, device=device),
    )
    table = [
        ((h.double(), w, t), {}, "hidden must be"),
        ((h, w[:, :4], t), {}, r"weight must be \(V, 5\).*\(3, 5\).*\(7, 4\)"),
        ((h, w.half(), t), {}, "float16"),
        ((h, w[:0], t), {}, r"\(0, 5\)"),
        ((h, w[0], t), {}, "2 axes"),
        ((h, w.to("meta"), t), {}, "meta"),
        ((h, w, t, w[:6, 0]), {}, r"bias must be \(7,\).*\(6,\)"),
        ((h, w, t, w[:, 0].half()), {}, "float16"),
        ((h, w, t[:2]), {}, r"\(3,\).*\(2,\)"),
        ((h, w, t.int()), {}, "int64"),
        ((h, w, t), {"reduction": "none"}, "mean, sum"),
        ((h, w, t), {"chunk_rows": 0}, "chunk_rows"),
        ((h, w, t), {"chunk_rows": 2.0}, "chunk_rows"),
        ((h, w, t), {"chunk_rows": 2**63}, "chunk_rows"),
        ((h, w, t), {"label_smoothing": -0.1}, "label_smoothing"),
        ((h, w, t), {"ignore_index": None}, "ignore_index"),
        ((h, w, t), {"out_dtype": "float32"}, "out_dtype"),
    ]  # fmt: skip
    for arguments, options, message in table:
        with pytest.raises(ValueError, match=message):
            linear_cross_entropy(*arguments, **options)
