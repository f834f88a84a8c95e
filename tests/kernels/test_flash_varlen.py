"""Packed sequences of different lengths: each of them exactly as if it were alone."""

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from kernels.flash_attention import flash_attention, flash_attention_varlen, flash_attention_varlen_plain
from tests.kernels.flash import assert_exact, exact, random, results


def starts(lengths, device) -> torch.Tensor:
    return torch.tensor([0, *lengths], device=device).cumsum(0).to(torch.int32)


def packed(lengths_q, lengths_k, H, K, D, dtype=torch.float32):
    """q, k, v, upstream gradients, and what flash_attention_varlen needs to know of the lengths."""
    q, k, v = (
        random(sum(n), heads, D, seed=seed, dtype=dtype)
        for seed, (n, heads) in enumerate(((lengths_q, H), (lengths_k, K), (lengths_k, K)))
    )
    upstream, upstream_lse = random(*q.shape, seed=3, dtype=dtype), random(H, len(q), seed=4)
    sizes = (starts(lengths_q, q.device), starts(lengths_k, q.device), max(lengths_q), max(lengths_k))
    return q, k, v, upstream, upstream_lse, sizes


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": (5, 0), "softcap": 3.0, "alibi": True}])
def test_the_plain_version_is_each_sequence_alone(options):
    q, k, v, *_, sizes = packed((3, 0, 12), (9, 4, 0), 4, 2, 8, torch.float64)
    slopes = random(3, 4, seed=5).abs() if options.pop("alibi", False) else None
    out, lse = flash_attention_varlen_plain(
        *(q, k, v), *sizes, alibi_slopes=slopes, return_lse=True, **options
    )
    assert torch.equal(out, flash_attention_varlen_plain(*(q, k, v), *sizes, alibi_slopes=slopes, **options))
    for n in range(3):
        rows, keys = slice(*sizes[0][n : n + 2].tolist()), slice(*sizes[1][n : n + 2].tolist())
        more = options | ({} if slopes is None else {"alibi_slopes": slopes[n]})
        truth = exact(*(x.transpose(0, 1)[None] for x in (q[rows], k[keys], v[keys])), **more)
        torch.testing.assert_close(out[rows].transpose(0, 1)[None], truth[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(lse[:, rows][None].double(), truth[1], rtol=1e-6, atol=1e-6)


LENGTHS = st.lists(
    st.tuples(st.integers(0, 140), st.integers(0, 140)) | st.just((0, 0)) | st.just((1, 1)),
    min_size=1,
    max_size=3,
)


@hypothesis.given(
    LENGTHS,
    st.sampled_from([(1, 1), (2, 1)]),
    st.fixed_dictionaries(
        {"causal": st.booleans()},
        optional={
            "window": st.tuples(st.integers(-1, 80), st.integers(-1, 80)),
            "alibi": st.booleans(),
            "softcap": st.just(5.0),
        },
    ),
)
@hypothesis.settings(max_examples=4)
def test_every_sequence_equals_itself_alone_bit_for_bit(lengths, heads, options):
    lengths_q, lengths_k = zip(*lengths)
    q, k, v, upstream, upstream_lse, sizes = packed(lengths_q, lengths_k, *heads, 16)
    slopes = random(len(lengths), heads[0], seed=5).abs() if options.pop("alibi", False) else None
    together = results(
        lambda *x: flash_attention_varlen(*x, *sizes, **options, alibi_slopes=slopes, return_lse=True),
        q, k, v, upstream, upstream_lse,
    )  # fmt: skip
    for n in range(len(lengths)):
        rows, keys = slice(*sizes[0][n : n + 2].tolist()), slice(*sizes[1][n : n + 2].tolist())
        more = options | ({} if slopes is None else {"alibi_slopes": slopes[n]})
        one = [
            x[part].transpose(0, 1)[None] for x, part in ((q, rows), (k, keys), (v, keys), (upstream, rows))
        ]
        alone = results(
            lambda *x, more=more: flash_attention(*x, **more, return_lse=True),
            *one,
            upstream_lse[None, :, rows],
        )
        of_pack = [
            together[0][rows],
            together[1][:, rows],
            together[2][rows],
            together[3][keys],
            together[4][keys],
        ]
        for i, (x, y) in enumerate(zip(of_pack, alone)):
            assert torch.equal(x, y[0] if i == 1 else y[0].transpose(0, 1)), i


def test_packed_sequences_within_1e_5_of_float64():
    lengths_q, lengths_k = (70, 0, 1, 130), (100, 9, 0, 130)
    q, k, v, upstream, upstream_lse, sizes = packed(lengths_q, lengths_k, 2, 1, 24)
    ours = results(
        lambda *x: flash_attention_varlen(*x, *sizes, causal=True, return_lse=True),
        q,
        k,
        v,
        upstream,
        upstream_lse,
    )
    for n in (0, 2, 3):
        rows, keys = slice(*sizes[0][n : n + 2].tolist()), slice(*sizes[1][n : n + 2].tolist())
        one = [
            x[part].transpose(0, 1)[None] for x, part in ((q, rows), (k, keys), (v, keys), (upstream, rows))
        ]
        wide = [x.double() for x in (*one, upstream_lse[None, :, rows])]
        truth = results(lambda *x: exact(*x, causal=True), *wide)
        parts = [ours[0][rows], ours[1][:, rows], ours[2][rows], ours[3][keys], ours[4][keys]]
        parts = [x[None] if i == 1 else x.transpose(0, 1)[None] for i, x in enumerate(parts)]
        assert_exact(parts, truth, *one)
    assert ours[3][100:109].abs().max() == 0  # keys of a sequence without queries


def test_a_neighbour_full_of_nan_changes_nothing():
    q, k, v, _, _, sizes = packed((40, 30, 40), (40, 30, 40), 1, 1, 16)
    good = flash_attention_varlen(q, k, v, *sizes)
    for x in (q, k, v):
        x[40:70] = torch.nan
    out = flash_attention_varlen(q, k, v, *sizes)
    assert out[40:70].isnan().all()
    assert torch.equal(out[:40], good[:40])
    assert torch.equal(out[70:], good[70:])


@pytest.mark.parametrize("lengths", [(), (0,), (0, 0, 0)])
def test_nothing_at_all(lengths, device):
    sizes = (starts(lengths, device), starts(lengths, device), 0, 0)
    q = random(0, 2, 16).requires_grad_()
    out, lse = flash_attention_varlen(q, q, q, *sizes, return_lse=True)
    assert (out.shape, lse.shape) == ((0, 2, 16), (2, 0))
    assert torch.autograd.grad(out.sum(), q)[0].shape == (0, 2, 16)


def test_a_longest_length_that_is_too_long_costs_time_only():
    q, k, v, upstream, upstream_lse, sizes = packed((30, 40), (20, 50), 1, 1, 16)
    exactly, more = (
        results(
            lambda *x, s=s: flash_attention_varlen(*x, *s, return_lse=True), q, k, v, upstream, upstream_lse
        )
        for s in (sizes, (*sizes[:2], 300, 300))
    )
    assert all(torch.equal(x, y) for x, y in zip(exactly, more))


Q, KV = torch.zeros(7, 4, 8), torch.zeros(9, 2, 8)
CU_Q, CU_K = torch.tensor([0, 3, 7], dtype=torch.int32), torch.tensor([0, 9, 9], dtype=torch.int32)
GOOD = {
    **{"q": Q, "k": KV, "v": KV, "cu_seqlens_q": CU_Q, "cu_seqlens_k": CU_K},
    **{"max_seqlen_q": 4, "max_seqlen_k": 9},
}


def call_with(changes, device):
    """The arguments of a good call, some of them changed."""
    return {name: x.to(device) if isinstance(x, torch.Tensor) else x for name, x in (GOOD | changes).items()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"q": Q[None]}, r"3 axes.*\(1, 7, 4, 8\)"),
        ({"q": "문장"}, "q must be a tensor.*문장"),
        ({"k": KV[..., :4]}, r"\(7, 4, 8\).*\(9, 2, 4\)"),
        ({"v": KV[:8]}, r"\(9, 2, 8\).*\(8, 2, 8\)"),
        ({"q": Q[:, :3]}, r"multiple of K.*\(7, 3, 8\).*\(9, 2, 8\)"),
        ({"cu_seqlens_q": CU_Q.long()}, "int32.*int64"),
        ({"cu_seqlens_q": CU_Q[None]}, r"1 axes.*\(1, 3\)"),
        ({"cu_seqlens_k": CU_K[:2]}, r"\(3,\).*\(2,\)"),
        ({"cu_seqlens_q": CU_Q[:0], "cu_seqlens_k": CU_K[:0]}, r"N \+ 1"),
        ({"cu_seqlens_k": [0, 9, 9]}, "must be a tensor"),
        ({"max_seqlen_q": 4.0}, "max_seqlen_q must be an integer"),
        ({"max_seqlen_k": -1}, "max_seqlen_k must be between"),
        ({"alibi_slopes": torch.zeros(3, 4)}, r"\(2, 4\).*\(3, 4\)"),
        ({"window": (1,)}, "window"),
    ],
)
def test_bad_input_is_refused_with_both_shapes(changes, said, device):
    call = call_with(changes, device)
    with pytest.raises(ValueError, match=said):
        flash_attention_varlen(**call)


@pytest.mark.parametrize(
    "changes",
    [
        {"cu_seqlens_q": torch.tensor([0, 5, 4], dtype=torch.int32)},
        {"cu_seqlens_q": torch.tensor([1, 3, 7], dtype=torch.int32)},
        {"cu_seqlens_q": torch.tensor([0, 8, 7], dtype=torch.int32)},
        {"cu_seqlens_k": torch.tensor([0, 9, 10], dtype=torch.int32)},
        {"cu_seqlens_k": torch.tensor([0, 9, 8], dtype=torch.int32)},
        {"max_seqlen_q": 3},
        {"max_seqlen_k": 8},
    ],
)
def test_wrong_lengths_are_refused_where_they_can_be_read(changes, device):
    call = call_with(changes, device)
    if device == "cpu":
        with pytest.raises(ValueError, match=r"cu_seqlens_. must rise from 0 to"):
            flash_attention_varlen(**call)
    else:
        flash_attention_varlen(**call)  # wrong rows, but no crash
        torch.cuda.synchronize()
