"""Flash attention, forward and backward, against torch's own attention in float64."""

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from kernels import _flash_launch, flash_backward, flash_dkv, flash_dq, flash_forward
from kernels import flash_attention as module
from kernels.flash_attention import flash_attention, flash_attention_plain
from tests.kernels.flash import GPUS, assert_exact, exact, inputs, random, results

SIDES = st.integers(-1, 300)


@st.composite
def problems(draw):
    """(sizes, options): any lengths, odd and grouped heads, windows, ALiBi and a soft cap, alone and together."""
    H, K = draw(st.sampled_from([(1, 1), (2, 1), (2, 2), (3, 1)]))
    sizes = (
        1,
        H,
        K,
        draw(st.integers(1, 257)),
        draw(st.integers(1, 257)),
        draw(st.sampled_from([1, 8, 20, 33, 64])),
    )
    options = draw(
        st.fixed_dictionaries(
            {"causal": st.booleans()},
            optional={
                "window": st.tuples(SIDES, SIDES),
                "alibi_slopes": st.builds(lambda n: random(H, seed=n).abs() / 8, st.integers(0, 9)),
                "softcap": st.sampled_from([1.0, 30.0]),
                "scale": st.sampled_from([0.3, 1.0, -0.2]),
            },
        )
    )
    return sizes, options, draw(st.integers(0, 2**20))


@hypothesis.given(problems())
@hypothesis.settings(max_examples=6)
def test_any_shape_and_options_within_1e_5_of_float64(problem):
    sizes, options, seed = problem
    check(sizes, options, seed)


def check(sizes, options, seed=0, error=1e-5):
    q, k, v = inputs(*sizes, seed=seed)
    upstream, upstream_lse = random(*q.shape, seed=seed + 3), random(*q.shape[:3], seed=seed + 4)
    ours = results(
        lambda *x: flash_attention(*x, **options, return_lse=True), q, k, v, upstream, upstream_lse
    )
    truth = results(
        lambda *x: exact(*x, **options),
        *(x.double() for x in (q, k, v)),
        upstream.double(),
        upstream_lse.double(),
    )
    assert_exact(ours, truth, q, k, v, upstream, options.get("scale"), error)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((1, 1, 1, 1, 1, 16), {"causal": True}),
        ((1, 2, 1, 130, 257, 16), {"causal": True}),  # several blocks on both sides of the diagonal
        ((1, 2, 1, 257, 70, 16), {"causal": True}),  # queries before every key see nothing
        ((1, 1, 1, 66, 128, 16), {"causal": True}),  # the diagonal passes the last key of a block
        ((1, 1, 1, 200, 200, 16), {"window": (3, 0)}),  # a window narrower than a block
        ((1, 1, 1, 60, 250, 16), {"window": (-1, 20)}),
        ((1, 1, 1, 150, 30, 16), {"window": (2, 1)}),  # most queries stand before the first key
        ((1, 1, 1, 70, 130, 16), {"window": (10**12, 10**12)}),
        ((1, 1, 1, 70, 130, 16), {"scale": 0.0}),
        ((2, 4, 2, 40, 70, 16), {"alibi_slopes": torch.rand(2, 4), "causal": True}),
        ((1, 1, 1, 40, 70, 16), {"softcap": 1e4}),  # a cap far away changes nothing, and loses no digits
        ((1, 1, 1, 40, 70, 16), {"softcap": 0.1}),  # a cap that every score reaches
        ((1, 1, 1, 40, 30, 256), {"causal": True}),
    ],
)
def test_the_corners(sizes, options, device):
    options = {name: x.to(device) if isinstance(x, torch.Tensor) else x for name, x in options.items()}
    check(sizes, options)


@pytest.fixture
def shipped(monkeypatch):
    """A function that makes the interpreter run the tiles, and the descriptors, of a GPU that is not here."""

    def use(gpu):
        for file in (flash_forward, flash_dq, flash_dkv):
            monkeypatch.setattr(file, "INTERPRETED", False)
        for file in (module, flash_backward):
            monkeypatch.setattr(file, "capability", lambda x: GPUS[gpu])

    return use


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("D", [64, 128, 256])
def test_the_tiles_that_ship_to_gpus(gpu, D, shipped):
    shipped(gpu)
    q, k, v = inputs(1, 2, 1, 70, 140, D, dtype=torch.float16)
    upstream = random(*q.shape, dtype=torch.float16)
    options = {"window": (70, 0), "softcap": 5.0} if D == 64 else {"causal": True}
    ours = results(lambda *x: flash_attention(*x, **options, return_lse=True), q, k, v, upstream)
    truth = results(lambda *x: exact(*x, **options), *(x.double() for x in (q, k, v, upstream)))
    for x, y in zip(ours, truth):
        assert (x - y).norm() <= 1e-3 * y.norm()


@pytest.mark.parametrize("gpu", GPUS)
def test_the_tiles_that_ship_to_gpus_for_float32(gpu, shipped):
    shipped(gpu)
    check((1, 1, 1, 33, 40, 64), {"causal": True})


def torchs(q, k, v, causal):
    """torch's own attention, repeated heads, as (output, something)."""
    G = q.shape[1] // k.shape[1]
    out = F.scaled_dot_product_attention(
        q, k.repeat_interleave(G, 1), v.repeat_interleave(G, 1), is_causal=causal
    )
    return out, out.float().sum(-1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("heads", "length", "D", "causal"), [((2, 2), 200, 64, True), ((4, 1), 97, 128, False)]
)
def test_16_bit_errors_are_at_most_half_as_large_again_as_torchs(dtype, heads, length, D, causal):
    q, k, v = inputs(1, *heads, length, length, D, dtype=dtype)
    upstream = random(*q.shape, seed=5, dtype=dtype)
    truth = results(lambda *x: torchs(*x, causal), *(x.double() for x in (q, k, v, upstream)))
    theirs = results(lambda *x: torchs(*x, causal), q, k, v, upstream)
    ours = results(lambda *x: flash_attention(*x, causal=causal, return_lse=True), q, k, v, upstream)
    for n in (0, 2, 3, 4):
        assert ours[n].dtype == dtype
        assert (ours[n] - truth[n]).norm() <= 1.5 * (theirs[n] - truth[n]).norm(), n


@pytest.mark.parametrize("S", [7, 20])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True, "softcap": 2.0},
        {"window": (3, 2), "alibi_slopes": torch.rand(2, 4)},
        {"window": (0, 0), "scale": -2.0},
    ],
)
def test_plain_is_the_formula(options, S):
    q, k, v = (x.cpu().double() for x in inputs(2, 4, 2, 13, S, 5))
    upstream, upstream_lse = torch.rand_like(q), torch.rand_like(q[..., 0])
    ours = results(
        lambda *x: flash_attention_plain(*x, **options, return_lse=True), q, k, v, upstream, upstream_lse
    )
    truth = results(lambda *x: exact(*x, **options), q, k, v, upstream, upstream_lse)
    for x, y in zip(ours, truth):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_plain_keeps_the_dtype_and_takes_no_keys():
    assert flash_attention_plain(*inputs(1, 1, 1, 3, 3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    out, lse = flash_attention_plain(*inputs(1, 2, 1, 3, 0, 4), return_lse=True)
    assert out.abs().max() == 0
    assert torch.isneginf(lse).all()


# Which blocks are loaded, and which without a mask


@triton.jit
def ask_reach(
    Results, Questions, BLOCK: tl.constexpr, HAS_BEFORE: tl.constexpr, HAS_AFTER: tl.constexpr
):  # fmt: skip
    question = Questions + tl.program_id(0) * 6
    first, last, shift = tl.load(question), tl.load(question + 1), tl.load(question + 2)
    before, after, length = tl.load(question + 3), tl.load(question + 4), tl.load(question + 5)
    begin, clean, resume, end = flash_forward.reach(
        first, last, shift, before, after, length, BLOCK, HAS_BEFORE, HAS_AFTER
    )
    result = Results + tl.program_id(0) * 4
    tl.store(result, begin)
    tl.store(result + 1, clean)
    tl.store(result + 2, resume)
    tl.store(result + 3, end)


@pytest.mark.parametrize(
    ("has_before", "has_after"), [(False, False), (False, True), (True, False), (True, True)]
)
def test_blocks_are_loaded_if_any_row_sees_them_and_masked_unless_all_do(
    has_before, has_after, generator, device
):
    BLOCK, count = 4, 60
    ask = lambda low, high: torch.randint(low, high, (count,), generator=generator)  # noqa: E731
    first, length = ask(0, 20), ask(0, 20)
    questions = torch.stack([first, first + ask(0, 6), ask(-12, 12), ask(0, 12), ask(0, 12), length], 1)
    answers = torch.full((count, 4), -9, dtype=torch.int32, device=device)
    ask_reach[(count,)](answers, questions.int().to(device), BLOCK, has_before, has_after)
    for (first, last, shift, before, after, length), answer in zip(questions.tolist(), answers.tolist()):
        some, every = [], []
        for block in range((length + BLOCK - 1) // BLOCK):
            pairs = [
                (not has_before or c >= r + shift - before)
                and (not has_after or c <= r + shift + after)
                and c < length
                for r in range(first, last + 1)
                for c in range(block * BLOCK, (block + 1) * BLOCK)
            ]
            some += [block] if any(pairs) else []
            every += [block] if all(pairs) else []
        begin, clean, resume, end = answer
        assert begin <= clean <= resume <= end
        assert list(range(begin, end)) == some or (not some and end - begin <= 1)
        assert list(range(clean, resume)) == every


@triton.jit
def ask_tanh(Results, Questions, SIZE: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(Results + at, flash_forward.tanh(tl.load(Questions + at)))


@pytest.mark.filterwarnings("ignore:overflow")  # numpy's, of 2^x beyond float32, where 1 - 2 / inf is right
def test_tanh_keeps_the_digits_of_float32_near_0_and_far_from_it(device):
    x = torch.cat([torch.linspace(-1, 1, 1024), torch.linspace(-100, 100, 512), torch.logspace(-30, 30, 512)])
    x = x.to(device)
    answers = torch.full_like(x, torch.nan)
    ask_tanh[(1,)](answers, x, len(x))
    truth = torch.tanh(x.double())
    assert ((answers - truth).abs() <= 1e-6 * truth.abs()).all()


# Hostile values


def test_huge_scores_pick_the_largest_and_equal_scores_take_the_mean():
    q, k, v = (x.detach() for x in inputs(1, 1, 1, 70, 130, 16))
    out, lse = flash_attention(300 * q, 300 * k, v, return_lse=True)
    assert torch.isfinite(out).all()
    truth = exact(300 * q.double(), 300 * k.double(), v.double())
    assert (lse - truth[1]).abs().max() <= 1e-6 * truth[1].abs().max()
    sure = (torch.softmax(300 * q.double() @ (300 * k.double()).mT / 4, -1).amax(-1) > 1 - 1e-9)[..., None]
    assert sure.float().mean() > 0.9
    torch.testing.assert_close((out * sure).double(), truth[0] * sure)
    same = flash_attention(q, torch.ones_like(k), v)
    torch.testing.assert_close(same, v.mean(2, keepdim=True).expand_as(same))


def test_a_query_that_sees_no_key_gives_zero_and_minus_infinity_and_no_gradient():
    q, k, v = inputs(1, 2, 1, 150, 20, 16)
    out, lse = flash_attention(q, k, v, causal=True, return_lse=True)
    assert out[:, :, :130].abs().max() == 0
    assert torch.isneginf(lse[:, :, :130]).all()
    assert torch.isfinite(lse[:, :, 130:]).all()
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), random(*out.shape))
    assert dq[:, :, :130].abs().max() == 0
    assert all(torch.isfinite(x).all() and x.abs().max() > 0 for x in (dq, dk, dv))


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:All-NaN")  # of rows beyond T, which nobody reads
def test_scores_of_minus_infinity_weigh_nothing():
    q, k, v = (x.detach() for x in inputs(1, 1, 1, 9, 130, 16))
    q = q.abs() + 0.1
    k[:, :, ::2] = -torch.inf
    out, lse = flash_attention(q, k, v, return_lse=True)
    kept = exact(q.double(), k[:, :, 1::2].double(), v[:, :, 1::2].double())
    torch.testing.assert_close(out.double(), kept[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lse.double(), kept[1], rtol=1e-5, atol=1e-6)
    out, lse = flash_attention(q, torch.full_like(k, -torch.inf), v, return_lse=True)
    assert out.abs().max() == 0
    assert torch.isneginf(lse).all()


def test_nan_stays_in_the_rows_that_see_it():
    q, k, v = (x.detach() for x in inputs(1, 2, 1, 150, 150, 16))
    good = flash_attention(q, k, v, causal=True)
    q[0, 1, 40, 3] = torch.nan
    out = flash_attention(q, k, v, causal=True)
    assert out[0, 1, 40].isnan().all()
    good[0, 1, 40] = out[0, 1, 40] = 0
    assert torch.equal(out, good)
    q[0, 1, 40, 3] = 0.0
    k[0, 0, 100, 0] = torch.nan
    good, out = flash_attention(q, k.nan_to_num(0.0), v, causal=True), flash_attention(q, k, v, causal=True)
    assert torch.equal(out[:, :, :100], good[:, :, :100])
    assert out[:, :, 100:].isnan().all()
    # nor does a gradient
    q, k, v = inputs(1, 1, 1, 150, 150, 16)
    upstream = random(1, 1, 150, 16)
    upstream[0, 0, 40] = torch.nan
    dq, _, _ = torch.autograd.grad(flash_attention(q, k, v, causal=True), (q, k, v), upstream)
    assert dq[0, 0, 40].isnan().all()
    dq[0, 0, 40] = 0
    assert torch.isfinite(dq).all()


# The same bits


def test_two_launches_give_equal_bits_and_the_order_of_programs_changes_none(monkeypatch):
    q, k, v = inputs(1, 3, 3, 70, 70, 24, dtype=torch.float16)
    upstream = random(*q.shape, dtype=torch.float16)

    def run():
        return results(lambda *x: flash_attention(*x, causal=True, return_lse=True), q, k, v, upstream)

    first = run()
    assert all(torch.equal(x, y) for x, y in zip(first, run()))
    monkeypatch.setattr(_flash_launch, "CACHE", 1)  # one head after the other instead of all side by side
    assert all(torch.equal(x, y) for x, y in zip(first, run()))
    monkeypatch.setattr(_flash_launch, "CACHE", 0)
    monkeypatch.setattr(module, "section_of", lambda *x: 2)  # two, and then the one that is left
    assert all(torch.equal(x, y) for x, y in zip(first, run()))


def test_a_sequence_alone_equals_itself_in_a_batch_bit_for_bit():
    q, k, v = inputs(2, 2, 1, 70, 140, 24)
    upstream = random(*q.shape)

    def run(rows):
        return results(
            lambda *x: flash_attention(*x, causal=True, softcap=3.0, return_lse=True), q[rows], k[rows], v[rows],
            upstream[rows],
        )  # fmt: skip

    together = run([0, 1])
    for n in range(2):
        assert all(torch.equal(x[n : n + 1], y) for x, y in zip(together, run([n])))
