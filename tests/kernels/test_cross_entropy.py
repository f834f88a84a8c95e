"""Cross-entropy and its gradient: torch's own in float64, for short rows (one tile) and long ones (a loop)."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import _cross_entropy as inner
from kernels import _rows
from kernels import cross_entropy as module
from kernels.cross_entropy import REDUCTIONS, cross_entropy, cross_entropy_plain

some = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HALVES = [torch.float16, torch.bfloat16]
KINDS = ["short", "long"]


def use(monkeypatch, kind):
    """Send rows of any width to the kernel for long rows, or leave them."""
    monkeypatch.setattr(inner, "WIDEST", 0 if kind == "long" else _rows.WIDEST)


@pytest.fixture
def poison(monkeypatch):
    """Fresh memory holds NaN: what a kernel leaves unwritten is seen."""
    empty, new_empty = torch.empty, torch.Tensor.new_empty

    def poisoned(x):
        return x.fill_(float("nan")) if x.is_floating_point() else x

    monkeypatch.setattr(torch, "empty", lambda *a, **k: poisoned(empty(*a, **k)))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, **k: poisoned(new_empty(*a, **k)))


def problem(generator, N, V, dtype=torch.float32, device="cpu", size=3.0, ignored=()):
    logits = (torch.randn(N, V, generator=generator) * size).to(dtype).to(device)
    targets = torch.randint(V, (N,), generator=generator).to(device)
    targets[list(ignored)] = -100
    return logits, targets


def with_gradient(function, logits, targets, upstream=None, **options):
    """(loss, gradient of the logits) in float64 on the CPU."""
    logits = logits.detach().clone().requires_grad_()
    loss = function(logits, targets, **options)
    loss.backward(None if upstream is None else upstream.to(loss))
    return loss.detach().cpu().double(), logits.grad.cpu().double()


def exact(logits, targets, upstream=None, **options):
    """What torch's own cross-entropy gives in float64."""
    return with_gradient(F.cross_entropy, logits.cpu().double(), targets.cpu(), upstream, **options)


def relative(got, expected):
    """‖got - expected‖ / ‖expected‖ in float64 on the CPU."""
    got, expected = got.detach().cpu().double(), expected.detach().cpu().double()
    return float((got - expected).norm() / expected.norm().clamp(min=1e-30))


def assert_close(got, expected, tolerance=1e-5):
    """Within `tolerance` of the largest number; what should be NaN or infinite is. NaN is close to nothing else."""
    assert got.shape == expected.shape
    finite = expected.isfinite()
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got[expected.isinf()], expected[expected.isinf()])
    if finite.any():
        largest = expected[finite].abs().max()
        assert float((got - expected)[finite].abs().max()) <= tolerance * float(largest)


# against float64


@some
@given(
    N=st.integers(4, 9), V=st.integers(1, 257), kind=st.sampled_from(KINDS), reduction=st.sampled_from(REDUCTIONS),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]), ignored=st.sets(st.integers(0, 3), max_size=2), seed=st.integers(0, 99),
)  # fmt: skip
def test_loss_and_gradient_of_any_shape(
    device, poison, monkeypatch, N, V, kind, reduction, smoothing, ignored, seed
):
    use(monkeypatch, kind)
    generator = torch.Generator().manual_seed(seed)
    # several rows of moderate size: p - 1 has the rounding error of 1, and must not itself be as small as 1e-3
    logits, targets = problem(generator, N, V, device=device, size=1.0, ignored=ignored)
    upstream = torch.randn(N if reduction == "none" else (), generator=generator)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    loss, gradient = with_gradient(cross_entropy, logits, targets, upstream, **options)
    expected = exact(logits, targets, upstream, **options)
    assert_close(loss, expected[0])
    if V > 1:
        assert_close(gradient, expected[1])
    else:  # of one class it is 1 - 1
        assert float(gradient.abs().max()) <= 1e-7 * float(upstream.abs().max())
    assert_close(cross_entropy_plain(logits, targets, **options).cpu().double(), expected[0])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_low_precision_errs_no_more_than_torch(device, monkeypatch, generator, dtype, kind):
    use(monkeypatch, kind)
    logits, targets = problem(generator, 10, 201, dtype, device, ignored=[2, 9])
    upstream = torch.randn(10, generator=generator)
    for reduction, sent in (("mean", None), ("sum", None), ("none", upstream.to(dtype))):
        options = {"label_smoothing": 0.1, "reduction": reduction}
        ours = with_gradient(cross_entropy, logits, targets, sent, **options)
        torchs = with_gradient(F.cross_entropy, logits, targets, sent, **options)
        wanted = exact(logits, targets, sent, **options)
        rounding = relative(wanted[0].to(dtype), wanted[0])  # one number: torch may hit it by luck
        assert relative(ours[0], wanted[0]) <= max(1.5 * relative(torchs[0], wanted[0]), 1.001 * rounding)
        assert relative(ours[1], wanted[1]) <= 1.5 * relative(torchs[1], wanted[1])


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_loss_in_float32_keeps_the_digits_that_half_precision_drops(device, generator, overwrite):
    logits, targets = problem(generator, 10, 201, torch.float16, device)
    expected = exact(logits, targets)
    loss, gradient = with_gradient(
        lambda x, *rest: cross_entropy(x * 1, *rest, overwrite_logits=overwrite, out_dtype=torch.float32),
        *(logits, targets),
    )
    assert_close(loss, expected[0], 1e-5)
    assert relative(gradient, expected[1]) < 1e-3
    assert cross_entropy(logits, targets, out_dtype=torch.float32).dtype == torch.float32
    assert cross_entropy(logits, targets).dtype == torch.float16


def test_float16_gradients_survive_the_division_by_many_tokens(device, generator):
    # p / N is about 2e-5 / 1024, which float16 cannot hold; a loss scale saves it, and must find it still there
    logits, targets = problem(generator, 1024, 16, torch.float16, device, size=1.0)
    logits[:, :8] -= 8  # p of 2e-5
    upstream = torch.tensor(8192.0)
    gradient = with_gradient(cross_entropy, logits, targets, upstream)[1]
    expected = exact(logits, targets, upstream)[1]
    unlikely = expected.abs() < 1e-3
    assert unlikely.sum() > 1000
    assert relative(gradient[unlikely], expected[unlikely]) < 1e-3


@pytest.mark.parametrize("V", [16_384, 50_257, 131_072])
def test_shipped_block_sizes(device, monkeypatch, generator, V):
    monkeypatch.setattr(_rows, "INTERPRETED", False)
    monkeypatch.setattr(inner, "INTERPRETED", False)
    logits, targets = problem(generator, 4, V, device=device, ignored=[1])
    targets[3] = V - 1
    loss, gradient = with_gradient(cross_entropy, logits, targets, label_smoothing=0.1)
    expected = exact(logits, targets, label_smoothing=0.1)
    assert_close(loss, expected[0])
    assert_close(gradient, expected[1])


@pytest.mark.parametrize(
    ("offset", "stride"), [(0, 137), (0, 138), (0, 142), (1, 138), (3, 137), (4, 142), (8, 139)]
)
def test_long_rows_at_any_address(device, monkeypatch, generator, offset, stride):
    # rows of 133 numbers in the middle of others, which are NaN: whole 16 bytes are read, but not those
    use(monkeypatch, "long")
    memory = torch.full((4 * stride + offset + 8,), torch.nan, device=device)
    logits = memory[offset:].as_strided((4, 133), (stride, 1))
    values, targets = problem(generator, 4, 133, device=device)
    logits.copy_(values)
    untouched = memory.isnan()
    loss, gradient = with_gradient(cross_entropy, values, targets)
    assert_close(loss, exact(values, targets)[0])
    ours = cross_entropy(logits.requires_grad_(), targets)
    assert ours.item() == loss.item()
    assert_close(torch.autograd.grad(ours, logits)[0].cpu().double(), gradient)
    cross_entropy(logits.detach(), targets, overwrite_logits=True)
    assert_close(logits.detach().cpu().double(), gradient)
    assert torch.equal(memory.isnan(), untouched)


# values that are no ordinary logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits_are_torchs(device, monkeypatch, kind, smoothing):
    use(monkeypatch, kind)
    inf, nan = float("inf"), float("nan")
    logits = torch.zeros(9, 130, device=device)
    logits[1] = 2.0**100
    logits[2, 70:] = -1e30
    logits[3, :100] = -inf  # masked classes
    logits[4, 0] = -inf  # the target itself is masked
    logits[5] = -inf
    logits[6, 129] = inf
    logits[7, 65] = nan
    logits[8] = torch.linspace(-80_000, 80_000, 130)
    targets = torch.tensor([0, 1, 2, 120, 0, 0, 0, 0, 129], device=device)
    options = {"reduction": "none", "label_smoothing": smoothing}
    upstream = torch.ones(9)
    loss, gradient = with_gradient(cross_entropy, logits, targets, upstream, **options)
    expected = exact(logits, targets, upstream, **options)
    for row in range(9):
        assert_close(loss[row], expected[0][row])
        assert_close(gradient[row], expected[1][row])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_an_offset_of_all_logits_changes_nothing(device, monkeypatch, generator, kind, dtype):
    use(monkeypatch, kind)
    # float16 holds 65,504 at most and, there, multiples of 32 only
    size, offset = (3.0, 1e6) if dtype == torch.float32 else (40.0, -60_000)
    logits, targets = problem(generator, 5, 500, device=device, size=size)
    logits = (logits + offset).to(dtype)
    options = {"label_smoothing": 0.1}
    loss, gradient = with_gradient(cross_entropy, logits, targets, **options)
    expected = exact(logits, targets, **options)
    assert_close(loss, expected[0], 1e-5 if dtype == torch.float32 else 2**-11)
    assert_close(gradient, expected[1], 1e-5 if dtype == torch.float32 else 2**-11)


@pytest.mark.parametrize("kind", KINDS)
def test_ignored_rows_are_not_read_and_any_number_may_mean_them(device, poison, monkeypatch, generator, kind):
    use(monkeypatch, kind)
    logits, targets = problem(generator, 6, 90, device=device)
    targets[[1, 4]] = 7
    expected = exact(logits, targets, ignore_index=7)
    logits[targets == 7] = torch.nan
    loss, gradient = with_gradient(cross_entropy, logits, targets, ignore_index=7)
    assert_close(loss, expected[0])
    assert_close(gradient, expected[1])
    none = torch.full_like(targets, 7)
    loss, gradient = with_gradient(cross_entropy, logits, none, ignore_index=7)
    assert loss.isnan()
    assert not gradient.any()
    assert float(cross_entropy(logits, none, ignore_index=7, reduction="sum")) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_target_that_is_no_class_gives_nan_where_it_cannot_raise(
    device, poison, monkeypatch, generator, kind, overwrite
):
    use(monkeypatch, kind)
    monkeypatch.setattr(inner, "_check_range", lambda *_: None)  # as on a GPU
    logits, targets = problem(generator, 5, 80, device=device)
    targets[1], targets[3] = 80, -1
    logits.requires_grad_()
    losses = cross_entropy(logits * 1, targets, reduction="none", overwrite_logits=overwrite)
    losses.sum().backward()
    assert losses.isnan().tolist() == [False, True, False, True, False]
    assert logits.grad.isnan().all(dim=1).tolist() == [False, True, False, True, False]
    assert logits.grad.isnan().any(dim=1).tolist() == [False, True, False, True, False]


def test_a_target_that_is_no_class_raises_on_the_cpu(generator):
    logits, targets = problem(generator, 4, 10)
    if _rows.INTERPRETED:
        for wrong in (10, -1, -99):
            targets[2] = wrong
            with pytest.raises(ValueError, match=f"between 0 and 9 or -100, got {wrong}"):
                cross_entropy(logits, targets)


# shapes, strides, memory


def test_leading_axes_and_any_strides(device, monkeypatch, generator):
    base = torch.randn(3, 4, 50, generator=generator).to(device)
    views = (base, base.transpose(0, 1), base[:, ::2], base[..., ::3], base[..., 7:40], base[:1].expand(2, 4, 50),
             base[..., :1].expand(3, 4, 9), base[0, 0], base[:0])  # fmt: skip
    for view in views:
        targets = torch.randint(view.shape[-1], view.shape[:-1], generator=generator).to(device)
        for kind in KINDS if view is base else ["long"]:  # both kernels address rows alike
            use(monkeypatch, kind)
            logits = view.detach().requires_grad_()
            losses = cross_entropy(logits, targets, reduction="none")
            assert losses.shape == targets.shape
            upstream = torch.randn(targets.shape, generator=generator)
            (gradient,) = torch.autograd.grad(losses, logits, upstream.to(device))
            flat = view.reshape(-1, view.shape[-1]), targets.reshape(-1), upstream.reshape(-1)
            if not targets.numel():
                assert gradient.shape == view.shape
                continue
            expected = exact(*flat, reduction="none")
            assert_close(losses.detach().cpu().double().reshape(-1), expected[0])
            assert_close(gradient.cpu().double().reshape(expected[1].shape), expected[1])
    nothing = torch.zeros(0, 5, device=device)
    no_targets = torch.zeros(0, dtype=torch.long, device=device)
    assert cross_entropy(nothing, no_targets).isnan()
    assert float(cross_entropy(nothing, no_targets, reduction="sum")) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_every_time(device, monkeypatch, generator, kind):
    use(monkeypatch, kind)
    logits, targets = problem(generator, 5, 200, torch.bfloat16, device)
    first, second = (with_gradient(cross_entropy, logits, targets) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_without_a_gradient_none_is_written(device, monkeypatch, generator):
    logits, targets = problem(generator, 8, 100, device=device)
    made, empty, new_empty = [], torch.empty, torch.Tensor.new_empty

    def seen(x):
        made.append(x.numel())
        return x

    monkeypatch.setattr(torch, "empty", lambda *a, **k: seen(empty(*a, **k)))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, **k: seen(new_empty(*a, **k)))
    cross_entropy(logits, targets)
    with torch.no_grad():
        cross_entropy(logits.clone().requires_grad_(), targets)
    assert made
    assert max(made) <= 8
    cross_entropy(logits.requires_grad_(), targets)
    assert max(made) == 800


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_may_take_the_place_of_the_logits(device, monkeypatch, generator, dtype, kind):
    use(monkeypatch, kind)
    values, targets = problem(generator, 6, 101, dtype, device, ignored=[3])
    for reduction in REDUCTIONS:
        upstream = torch.randn(6 if reduction == "none" else (), generator=generator)
        options = {"label_smoothing": 0.1, "reduction": reduction}
        expected = with_gradient(cross_entropy, values, targets, upstream, **options)
        source = values.clone().requires_grad_()
        logits = source * 1
        loss = cross_entropy(logits, targets, overwrite_logits=True, **options)
        assert not torch.equal(logits, values)
        (gradient,) = torch.autograd.grad(loss, logits, upstream.to(loss))
        assert gradient.data_ptr() == logits.data_ptr()
        assert torch.equal(loss.detach().cpu().double(), expected[0])
        assert torch.equal(gradient.cpu().double(), expected[1])


def test_overwriting_what_cannot_be_is_refused(device):
    targets = torch.zeros(4, dtype=torch.long, device=device)
    base = torch.zeros(4, 8, device=device)
    for logits in (base[:1].expand(4, 8), torch.zeros(8, 4, device=device).T, base[:, ::2]):
        with pytest.raises(ValueError, match="rows of contiguous numbers"):
            cross_entropy(logits, targets, overwrite_logits=True)
    # its gradient would be the leaf itself
    with pytest.raises(ValueError, match="a leaf that requires a gradient"):
        cross_entropy(base.clone().requires_grad_(), targets, overwrite_logits=True)
    # what another operation kept for its own gradient is not spoiled unnoticed
    source = base.clone().requires_grad_()
    loss = cross_entropy(source.exp(), targets, overwrite_logits=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_backward_is_refused(device, generator, overwrite):
    logits, targets = problem(generator, 3, 10, device=device)
    loss = cross_entropy(logits.requires_grad_() * 1, targets, overwrite_logits=overwrite)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="cross_entropy gave its gradient away in the first backward pass"):
        loss.backward()


# as an operator


def test_the_operators_are_registered_right(device, generator):
    logits, targets = problem(generator, 3, 10, device=device)
    arguments = (targets, -100, 0.1, "none")
    logits = logits.requires_grad_()
    torch.library.opcheck(module._cross_entropy, (logits, *arguments, True))
    torch.library.opcheck(module._cross_entropy_overwrite, (logits.detach(), *arguments))


@pytest.mark.parametrize("overwrite", [False, True])
def test_it_compiles_into_one_graph(device, generator, overwrite):
    logits, targets = problem(generator, 4, 12, device=device)

    def loss(x):
        return 3 * cross_entropy(2 * x, targets, overwrite_logits=overwrite)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found, expected = (
        torch.autograd.grad(f(x), x)[0] for f in (compiled, loss) for x in [logits.clone().requires_grad_()]
    )
    assert_close(found.cpu().double(), expected.cpu().double(), 1e-6)


def test_bad_input_is_refused(device):
    x, t = torch.zeros(3, 5, device=device), torch.zeros(3, dtype=torch.long, device=device)
    table = [
        (([[1.0]], t), {}, "logits must be"),
        ((x.double(), t), {}, "float64"),
        ((x[:, :0], t), {}, "one class at least"),
        ((torch.zeros((), device=device), t), {}, "logits must be"),
        ((x, t[:2]), {}, r"\(3,\).*got a int64 tensor of shape \(2,\)"),
        ((x, t.int()), {}, "int64"),
        ((x, t[:, None]), {}, r"\(3, 1\)"),
        ((x, t.to("meta")), {}, "meta"),
        ((x, None), {}, "None"),
        ((x, t), {"ignore_index": 1.5}, "ignore_index"),
        ((x, t), {"label_smoothing": 1.1}, "label_smoothing"),
        ((x, t), {"label_smoothing": float("nan")}, "label_smoothing"),
        ((x, t), {"reduction": "average"}, "mean, sum, none"),
        ((x, t), {"overwrite_logits": 1}, "overwrite_logits"),
        ((x, t), {"out_dtype": torch.float64}, "out_dtype"),
    ]  # fmt: skip
    for arguments, options, message in table:
        with pytest.raises(ValueError, match=message):
            cross_entropy(*arguments, **options)
