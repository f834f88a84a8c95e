"""Chunked prefill over a paged cache against float64 attention: shapes, options, chunks, batches, hostile caches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import paged_prefill as module
from kernels.paged_prefill import paged_prefill, paged_prefill_plain
from tests.kernels.conftest import DEVICE
from tests.kernels.paged import (
    WINDOWS,
    assert_close,
    assert_lse_close,
    bad_calls,
    far_cache,
    far_heads,
    low_precision,
    paged,
    place,
    poison,
    random_tensor,
    reference,
)


def starts(*q_lens: int) -> torch.Tensor:
    return torch.tensor([0, *q_lens], device=DEVICE).cumsum(0).to(torch.int32)


def prefill(q, cache, q_lens, **options):
    key_cache, value_cache, table, lengths = cache.tensors
    return paged_prefill(q, key_cache, value_cache, table, starts(*q_lens), lengths, max(q_lens), **options)


def expect(q, cache, q_lens, slopes=None, **options):
    """The float64 result of every sequence, one after another: (total_q, H, D) and (H, total_q)."""
    outs, sums = [], []
    for n, (rows, keys, values) in enumerate(zip(q.split(list(q_lens)), cache.keys, cache.values)):
        mine = slopes[n] if slopes is not None and slopes.ndim == 2 else slopes
        out, lse = reference(rows, keys, values, slopes=mine, **options)
        outs.append(out), sums.append(lse)
    return torch.cat(outs), torch.cat(sums, 1)


@st.composite
def sequences(draw):
    """(length, q_len) of a few sequences; some of them have no new token, some no old one."""
    pairs = []
    for _ in range(draw(st.integers(1, 2))):
        length = draw(st.integers(1, 257))
        pairs.append((length, draw(st.sampled_from([0, 1, length, min(length, 9), min(length, 100)]))))
    return pairs


@settings(max_examples=10)
@given(
    pairs=sequences(),
    heads=st.sampled_from([(1, 1), (1, 3), (2, 2)]),
    D=st.sampled_from([32, 40, 64]),
    block_size=st.sampled_from([8, 10, 16, 24, 256]),
    window=WINDOWS,
    alibi=st.sampled_from([None, "H", "B H"]),
    softcap=st.sampled_from([0.0, 0.0, 3.0, 30.0]),
    scale=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_option(pairs, heads, D, block_size, window, alibi, softcap, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    (K, G), lengths, q_lens = heads, [p[0] for p in pairs], [p[1] for p in pairs]
    cache = paged(generator, lengths, K, D, block_size)
    q = random_tensor(generator, sum(q_lens), K * G, D)
    slopes = (
        random_tensor(generator, *([len(pairs)] if alibi == "B H" else []), K * G).abs() if alibi else None
    )
    options = {"window": window, "softcap": softcap, "scale": scale}
    out, lse = prefill(q, cache, q_lens, alibi_slopes=slopes, return_lse=True, **options)
    expected, expected_lse = expect(q, cache, q_lens, slopes, **options)
    assert out.dtype == q.dtype
    assert_close(out, expected)
    assert_lse_close(lse, expected_lse)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_good_as_torch(generator, dtype):
    cache = paged(generator, [150, 60], K=1, D=64, dtype=dtype)
    q = random_tensor(generator, 50 + 60, 2, 64, dtype=dtype)
    out, (expected, _) = prefill(q, cache, (50, 60)), expect(q, cache, (50, 60))
    torchs = [low_precision(*x) for x in zip(q.split([50, 60]), cache.keys, cache.values)]
    assert (out.double() - expected).norm() <= 1.5 * (torch.cat(torchs).double() - expected).norm()


@pytest.mark.parametrize(("K", "G", "D"), [(1, 1, 256), (1, 70, 32), (1, 7, 200), (3, 2, 1)])
def test_wide_heads_and_large_groups(generator, monkeypatch, K, G, D):
    cache = paged(generator, [70], K, D)
    q = random_tensor(generator, 12, K * G, D)
    poison(monkeypatch)
    assert_close(prefill(q, cache, [12]), expect(q, cache, [12])[0])


@pytest.mark.parametrize(("D", "dtype"), [(64, torch.float16), (128, torch.float32)])
def test_settings_that_ship(generator, monkeypatch, D, dtype):
    monkeypatch.setattr(module, "INTERPRETED", False)
    cache = paged(generator, [200, 70], K=1, D=D, dtype=dtype)
    q = random_tensor(generator, 50 + 20, 3, D, dtype=dtype)
    out = prefill(q, cache, (50, 20))
    assert_close(out, expect(q, cache, (50, 20))[0], 1e-5 if dtype == torch.float32 else 2e-3)


def test_plain_agrees_with_float64(generator):
    cache, q_lens = paged(generator, [30, 1, 70], K=2, D=32), (30, 0, 9)
    q, slopes = random_tensor(generator, 39, 4, 32), random_tensor(generator, 3, 4).abs()
    key_cache, value_cache, table, lengths = cache.tensors
    for options in ({}, {"window": 9}, {"alibi_slopes": slopes}, {"softcap": 5.0}):
        out, lse = paged_prefill_plain(
            q, key_cache, value_cache, table, starts(*q_lens), lengths, 30, return_lse=True, **options
        )
        expected, expected_lse = expect(q, cache, q_lens, options.pop("alibi_slopes", None), **options)
        assert_close(out, expected)
        assert_lse_close(lse, expected_lse)


def assert_same_bits(got, expected):
    """On a GPU. The interpreter multiplies by numpy, whose last bit depends on a row's place in a tile on some CPUs."""
    if DEVICE == "cuda":
        assert torch.equal(got, expected)
    else:
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"window": 70, "softcap": 20.0}])
def test_a_token_has_the_same_bits_in_any_batch_and_chunk(generator, dtype, options):
    cache, q_lens = paged(generator, [150, 20, 66], K=1, D=32, dtype=dtype), (150, 0, 40)
    q = random_tensor(generator, 190, 3, 32, dtype=dtype)
    together, lse = prefill(q, cache, q_lens, return_lse=True, **options)
    assert torch.equal(together, prefill(q, cache, q_lens, **options))
    # alone, in other blocks of another size, with a wider table
    alone = place(generator, cache.keys[2:], cache.values[2:], 24, spare_columns=5)
    out, alone_lse = prefill(q[150:], alone, (40,), return_lse=True, **options)
    assert_same_bits(out, together[150:])
    assert_same_bits(alone_lse, lse[:, 150:])
    # the first prompt in chunks, as an engine would run it: the cache grows chunk by chunk
    chunks, done = [], 0
    for size in (1, 70, 79):
        part = cache.rows(0)
        part.lengths = torch.tensor([done + size], dtype=torch.int32, device=DEVICE)
        chunks.append(prefill(q[done : done + size], part, (size,), **options))
        done += size
    assert_same_bits(torch.cat(chunks), together[:150])


def test_every_output_is_written(generator, monkeypatch):
    cache, q_lens = paged(generator, [5, 70], K=1, D=40), (0, 30)
    q = random_tensor(generator, 30 + 45, 3, 40)  # 45 rows pad the batch
    expected, expected_lse = expect(q[:30], cache, q_lens)
    poison(monkeypatch)
    out, lse = prefill(q, cache, q_lens, return_lse=True)
    assert_close(out[:30], expected)
    assert_lse_close(lse[:, :30], expected_lse)
    assert torch.equal(out[30:], torch.zeros_like(q[30:]))
    assert (lse[:, 30:] == -torch.inf).all()


def test_more_new_tokens_than_cached_ones(generator):
    """Rows before position 0 (the caller forgot to store them) see nothing."""
    cache = paged(generator, [10], K=1, D=32)
    q = random_tensor(generator, 14, 2, 32)
    out, lse = prefill(q, cache, (14,), return_lse=True)
    assert not out[:4].any()
    assert (lse[:, :4] == -torch.inf).all()
    assert_close(out[4:], expect(q[4:], cache, (10,))[0])


def test_strided_inputs(generator):
    cache, q_lens = paged(generator, [40, 20], K=2, D=32), (20, 3)
    q = random_tensor(generator, 23, 4, 32)
    expected = prefill(q, cache, q_lens)
    both = torch.stack([cache.key_cache, cache.value_cache], 1)
    layers = torch.stack([torch.full_like(both, float("nan")), both], 2)
    cache.key_cache, cache.value_cache = layers[:, 0, 1], layers[:, 1, 1]
    cache.block_table = torch.cat([cache.block_table, cache.block_table], 1)[:, : cache.block_table.shape[1]]
    cache.lengths = torch.stack([cache.lengths, cache.lengths], 1)[:, 0]
    assert torch.equal(prefill(torch.stack([q, q], -1)[..., 0], cache, q_lens), expected)
    assert torch.equal(prefill(q.transpose(0, 1).contiguous().transpose(0, 1), cache, q_lens), expected)
    slopes = torch.full((1,), 0.5, device=DEVICE).expand(2, 4)
    contiguous = prefill(q, cache, q_lens, alibi_slopes=slopes.contiguous())
    assert torch.equal(prefill(q, cache, q_lens, alibi_slopes=slopes), contiguous)
    same = q[:1].expand(23, -1, -1)
    assert torch.equal(prefill(same, cache, q_lens), prefill(same.contiguous(), cache, q_lens))


def test_far_offsets():
    """A block, and a head of q, that lie 2**31 elements away: offsets are 64 bits wide."""
    cache = far_cache()
    table = torch.full((1, 1), 2, dtype=torch.int32, device=DEVICE)
    q = far_heads(cache, 8)
    out = paged_prefill(q, cache, cache, table, starts(8), starts(8)[1:], 8)
    assert_close(out, reference(q, cache[2], cache[2])[0], 2e-3)


def test_values_that_cannot_be_checked_are_kept_within_bounds(generator):
    cache = paged(generator, [40, 40], K=1, D=32, spare_columns=0)
    cache.key_cache.nan_to_num_(0.0), cache.value_cache.nan_to_num_(0.0)
    cache.lengths = torch.tensor([10**9, -3], dtype=torch.int32, device=DEVICE)
    cache.block_table[0, 1] = 10**9  # within the length, and outside the cache
    out = prefill(random_tensor(generator, 10, 2, 32), cache, (5, 5))
    assert out.isfinite().all()
    assert not out[5:].any()
    key_cache, value_cache, table, lengths = cache.tensors
    for bounds in ([0, 5, 10**6], [0, 10**6, 10**6], [7, 9, 10], [-4, 3, 10]):
        cu = torch.tensor(bounds, dtype=torch.int32, device=DEVICE)  # rows of q that are not there
        paged_prefill(random_tensor(generator, 10, 2, 32), key_cache, value_cache, table, cu, lengths, 5)


def test_nan_stays_in_its_row(generator):
    cache, q_lens = paged(generator, [40, 40], K=1, D=32), (10, 10)
    q = random_tensor(generator, 20, 2, 32)
    q[3, 1, 5] = float("nan")
    out = prefill(q, cache, q_lens)
    assert out[3, 1].isnan().all()
    assert out.isnan().sum() == 32
    cache.value_cache[cache.block_table[0, 0], 3] = float("nan")
    out = prefill(q, cache, q_lens)
    assert out[:10].isnan().all()
    assert out[10:].isfinite().all()


def test_nothing_to_do(generator):
    cache = paged(generator, [5], K=2, D=32)
    empty = random_tensor(generator, 0, 4, 32)
    out, lse = prefill(empty, cache, (0,), return_lse=True)
    assert out.shape == (0, 4, 32)
    assert lse.shape == (4, 0)
    key_cache, value_cache, table, lengths = cache.tensors
    q = random_tensor(generator, 3, 4, 32)  # rows of no sequence at all
    assert not paged_prefill(q, key_cache, value_cache, table[:0], starts(), lengths[:0], 0).any()


def bad_prefills():
    calls = {name: change for name, change in bad_calls().items() if name != "another batch"}

    def change(name, f):
        return lambda a: {**a, name: f(a) if callable(f) else f}

    return calls | {
        "cu_seqlens_q of int64": change("cu_seqlens_q", lambda a: a["cu_seqlens_q"].long()),
        "cu_seqlens_q too short": change("cu_seqlens_q", lambda a: a["cu_seqlens_q"][:2]),
        "cu_seqlens_q a list": change("cu_seqlens_q", [0, 3, 5]),
        "max_seqlen_q below 0": change("max_seqlen_q", -1),
        "max_seqlen_q a float": change("max_seqlen_q", 3.0),
    }


@pytest.mark.parametrize("name", bad_prefills())
def test_bad_input(generator, name):
    cache = paged(generator, [20, 30], K=2, D=32)
    names = ("q", "key_cache", "value_cache", "block_table", "lengths")
    given_ = dict(zip(names, (random_tensor(generator, 5, 4, 32), *cache.tensors)))
    with pytest.raises(ValueError, match=r".+, got .+|.+between.+"):
        paged_prefill(**bad_prefills()[name]({**given_, "cu_seqlens_q": starts(2, 3), "max_seqlen_q": 3}))


def test_as_a_torch_operator(generator):
    cache = paged(generator, [20, 40], K=1, D=32, spare_columns=0)
    cache.key_cache.nan_to_num_(), cache.value_cache.nan_to_num_()
    q, slopes, cu = random_tensor(generator, 8, 2, 32), torch.rand(2, device=DEVICE), starts(3, 5)
    key_cache, value_cache, table, lengths = cache.tensors
    torch.library.opcheck(
        module._paged_prefill, (q, key_cache, value_cache, table, cu, lengths, slopes, 0.5, 9, 3.0)
    )
    compiled = torch.compile(paged_prefill, fullgraph=True, backend="aot_eager")
    options = {"window": 50, "softcap": 3.0, "alibi_slopes": slopes, "return_lse": True}
    for rows, cu in ((8, starts(3, 5)), (7, starts(1, 6))):  # numbers that change from call to call
        inputs = (q[:rows], key_cache, value_cache, table, cu, lengths, rows - 3)
        for got, expected in zip(compiled(*inputs, **options), paged_prefill(*inputs, **options)):
            assert torch.equal(got, expected)
