"""Paged decode against float64 attention on the gathered cache: shapes, options, hostile caches, equal bits."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import paged_attention as module
from kernels.paged_attention import paged_attention, paged_attention_plain
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


def expect(q, cache, slopes=None, **options):
    """The float64 result of every sequence: (B, H, D) and (B, H)."""
    out = torch.zeros_like(q, dtype=torch.float64)
    lse = torch.full(q.shape[:2], -torch.inf, dtype=torch.float64, device=q.device)
    for b, (keys, values) in enumerate(zip(cache.keys, cache.values)):
        if len(keys):
            mine = slopes[b] if slopes is not None and slopes.ndim == 2 else slopes
            o, s = reference(q[b : b + 1], keys, values, slopes=mine, **options)
            out[b], lse[b] = o[0], s[:, 0]
    return out, lse


def shipped(monkeypatch):
    """The settings of a GPU instead of the interpreter's small ones."""
    monkeypatch.setattr(module, "INTERPRETED", False)


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(0, 257), min_size=1, max_size=2),
    heads=st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 5), (1, 17)]),
    D=st.sampled_from([32, 40, 64, 96]),
    block_size=st.sampled_from([8, 10, 16, 24, 64, 256]),
    window=WINDOWS,
    alibi=st.sampled_from([None, "H", "B H"]),
    softcap=st.sampled_from([0.0, 0.0, 3.0, 30.0]),
    scale=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_option(lengths, heads, D, block_size, window, alibi, softcap, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    (K, G), B = heads, len(lengths)
    cache = paged(generator, lengths, K, D, block_size)
    q = random_tensor(generator, B, K * G, D)
    slopes = random_tensor(generator, *([B] if alibi == "B H" else []), K * G).abs() if alibi else None
    options = {"window": window, "softcap": softcap, "scale": scale}
    out, lse = paged_attention(q, *cache.tensors, alibi_slopes=slopes, return_lse=True, **options)
    expected, expected_lse = expect(q, cache, slopes, **options)
    assert out.dtype == q.dtype
    assert_close(out, expected)
    assert_lse_close(lse, expected_lse)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_good_as_torch(generator, dtype):
    cache = paged(generator, [257, 190, 64], K=2, D=64, dtype=dtype)
    q = random_tensor(generator, 3, 8, 64, dtype=dtype)
    out = paged_attention(q, *cache.tensors)
    expected, _ = expect(q, cache)
    torchs = torch.cat([low_precision(q[b : b + 1], cache.keys[b], cache.values[b]) for b in range(3)])
    assert (out.double() - expected).norm() <= 1.5 * (torchs.double() - expected).norm()


@pytest.mark.parametrize(("K", "G", "D"), [(1, 1, 128), (1, 2, 256), (1, 70, 32), (1, 40, 200), (3, 2, 1)])
def test_wide_heads_and_large_groups(generator, monkeypatch, K, G, D):
    cache = paged(generator, [90], K, D)
    q = random_tensor(generator, 1, K * G, D)
    poison(monkeypatch)
    assert_close(paged_attention(q, *cache.tensors), expect(q, cache)[0])


def test_tiles_fill_parts(monkeypatch):
    """What equal bits rest on: a part ends where a tile does, whatever is shipped."""
    shipped(monkeypatch)
    for G, D, dtype in itertools.product((1, 8, 17, 71), range(1, 257), (torch.float16, torch.float32)):
        chosen = module.settings(G, D, dtype)
        assert chosen.PART % chosen.BLOCK_N == 0
        assert min(chosen.BLOCK_M, chosen.BLOCK_N) >= 16


@pytest.mark.parametrize(("D", "dtype"), [(64, torch.float32), (128, torch.float16)])
def test_settings_that_ship(generator, monkeypatch, D, dtype):
    shipped(monkeypatch)
    cache = paged(generator, [1100, 512, 513], K=1, D=D, block_size=32, dtype=dtype)
    q = random_tensor(generator, 3, 4, D, dtype=dtype)
    out, lse = paged_attention(q, *cache.tensors, window=800, return_lse=True)
    expected, expected_lse = expect(q, cache, window=800)
    assert_close(out, expected, 1e-5 if dtype == torch.float32 else 2e-3)
    assert (lse - expected_lse).abs().max() <= (1e-5 if dtype == torch.float32 else 1e-3)


def test_plain_agrees_with_float64(generator):
    cache = paged(generator, [0, 1, 70], K=2, D=32)
    q, slopes = random_tensor(generator, 3, 4, 32), random_tensor(generator, 3, 4).abs()
    for options in ({}, {"window": 9}, {"alibi_slopes": slopes}, {"softcap": 5.0}):
        out, lse = paged_attention_plain(q, *cache.tensors, return_lse=True, **options)
        expected, expected_lse = expect(q, cache, options.pop("alibi_slopes", None), **options)
        assert_close(out, expected)
        assert_lse_close(lse, expected_lse)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 100])
def test_a_sequence_has_the_same_bits_in_any_batch(generator, dtype, window):
    cache = paged(generator, [150, 0, 64, 65], K=1, D=32, dtype=dtype)
    q = random_tensor(generator, 4, 3, 32, dtype=dtype)
    together, lse = paged_attention(q, *cache.tensors, window=window, return_lse=True)
    again = paged_attention(q, *cache.tensors, window=window)
    assert torch.equal(together, again)
    order = [3, 0]
    elsewhere = place(
        generator, [cache.keys[b] for b in order], [cache.values[b] for b in order], 8, spare_columns=9
    )
    assert torch.equal(paged_attention(q[order], *elsewhere.tensors, window=window), together[order])
    for b in range(4):  # alone, and with a table just wide enough: short sequences then need no second kernel
        mine = cache.rows(b)
        mine.block_table = mine.block_table[:, : max(-(-len(mine.keys[0]) // 16), 1)]
        alone, alone_lse = paged_attention(q[b : b + 1], *mine.tensors, window=window, return_lse=True)
        assert torch.equal(alone[0], together[b])
        assert torch.equal(alone_lse[0], lse[b])


def test_every_output_is_written(generator, monkeypatch):
    cache = paged(generator, [0, 1, 150], K=1, D=40)
    q = random_tensor(generator, 3, 3, 40)
    expected, expected_lse = expect(q, cache)
    poison(monkeypatch)
    out, lse = paged_attention(q, *cache.tensors, return_lse=True)
    assert_close(out, expected)
    assert_lse_close(lse, expected_lse)
    assert not out[0].any()
    assert (lse[0] == -torch.inf).all()


def test_strided_inputs(generator):
    cache = paged(generator, [70, 20], K=2, D=32)
    q = random_tensor(generator, 2, 4, 32)
    expected = paged_attention(q, *cache.tensors)
    # keys and values block by block in one tensor, itself one layer of several
    both = torch.stack([cache.key_cache, cache.value_cache], 1)
    layers = torch.stack([torch.full_like(both, float("nan")), both], 2)
    keys, values = layers[:, 0, 1], layers[:, 1, 1]
    table = torch.cat([cache.block_table, cache.block_table], 1)[:, : cache.block_table.shape[1]]
    lengths = torch.stack([cache.lengths, cache.lengths], 1)[:, 0]
    wide = torch.stack([q, q], -1)[..., 0]  # every second number
    assert not wide.is_contiguous()
    assert torch.equal(paged_attention(wide, keys, values, table, lengths), expected)
    heads_apart = q.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(paged_attention(heads_apart, keys, values, table, lengths), expected)
    slopes = torch.full((1,), 0.5, device=DEVICE).expand(4)
    assert torch.equal(
        paged_attention(q, *cache.tensors, alibi_slopes=slopes),
        paged_attention(q, *cache.tensors, alibi_slopes=slopes.contiguous()),
    )
    same = q[:1].expand(2, -1, -1)
    assert torch.equal(
        paged_attention(same, *cache.tensors), paged_attention(same.contiguous(), *cache.tensors)
    )


def test_far_offsets():
    """A block, and a head of q, that lie 2**31 elements away: offsets are 64 bits wide."""
    cache = far_cache()
    table = torch.full((1, 1), 2, dtype=torch.int32, device=DEVICE)
    lengths = torch.tensor([8], dtype=torch.int32, device=DEVICE)
    q = far_heads(cache, 1)
    expected, _ = reference(q, cache[2], cache[2])
    assert_close(paged_attention(q, cache, cache, table, lengths), expected, 2e-3)


def test_values_that_cannot_be_checked_are_kept_within_bounds(generator):
    cache = paged(generator, [40, 40, 40, 40], K=1, D=32, spare_columns=0)
    q = random_tensor(generator, 4, 2, 32)
    cache.lengths = torch.tensor([48, 10**9, -3, 40], dtype=torch.int32, device=DEVICE)
    cache.block_table[3, 1] = 10**9  # within the length, and outside the cache
    cache.key_cache.nan_to_num_(0.0), cache.value_cache.nan_to_num_(0.0)
    out = paged_attention(q, *cache.tensors)
    full = cache.rows(1)
    full.lengths = torch.tensor([48], dtype=torch.int32, device=DEVICE)
    assert torch.equal(out[1], paged_attention(q[1:2], *full.tensors)[0])
    assert not out[2].any()
    assert out.isfinite().all()


def test_hostile_numbers(generator):
    cache = paged(generator, [70], K=2, D=32)
    q = random_tensor(generator, 1, 4, 32)
    expected, expected_lse = expect(1000 * q, cache)
    out, lse = paged_attention(1000 * q, *cache.tensors, return_lse=True)  # scores in the thousands
    assert_close(out, expected, 1e-4)  # a score of 4000 has an ulp of 2.4e-4
    assert torch.allclose(lse.double(), expected_lse, rtol=1e-6)
    # a cap far above the scores leaves them as they are
    assert_close(paged_attention(q, *cache.tensors, softcap=1e5), expect(q, cache, softcap=1e5)[0])
    q[0, 1, 5] = float("nan")  # only its own head
    out = paged_attention(q, *cache.tensors)
    assert torch.equal(out.isnan().any(-1)[0], torch.tensor([False, True, False, False], device=DEVICE))
    zeros = paged_attention(torch.zeros_like(q), *cache.tensors)  # equal scores: the mean of the values
    assert_close(zeros[0, :2], cache.values[0][:, :1].double().mean(0).expand(2, -1))
    one = paged_attention(q[:, :1], *[c[:, :, :1] for c in cache.tensors[:2]], *cache.tensors[2:], window=1)
    assert torch.equal(one[0, 0], cache.values[0][-1, 0])  # a window of one token is that token's value


def test_nan_stays_in_its_sequence(generator):
    cache = paged(generator, [40, 40], K=1, D=32)
    q = random_tensor(generator, 2, 2, 32)
    alone = paged_attention(q, *cache.tensors)
    cache.value_cache[cache.block_table[0, 0], 3] = float("nan")
    out = paged_attention(q, *cache.tensors)
    assert out[0].isnan().all()
    assert torch.equal(out[1], alone[1])
    recent = paged_attention(q, *cache.tensors, window=10)  # and out of sight out of the result
    assert recent.isfinite().all()


def test_nothing_to_do(generator):
    cache = paged(generator, [5], K=2, D=32)
    out, lse = paged_attention(
        torch.empty(0, 4, 32, device=DEVICE),
        cache.key_cache,
        cache.value_cache,
        cache.block_table[:0],
        cache.lengths[:0],
        return_lse=True,
    )
    assert out.shape == (0, 4, 32)
    assert lse.shape == (0, 4)
    out = paged_attention(
        random_tensor(generator, 1, 4, 32),
        cache.key_cache,
        cache.value_cache,
        cache.block_table[:, :0],
        cache.lengths,
    )
    assert out.shape == (1, 4, 32)
    assert not out.any()
    no_blocks = cache.key_cache[:0]
    assert not paged_attention(
        random_tensor(generator, 1, 4, 32),
        no_blocks,
        no_blocks,
        cache.block_table,
        torch.zeros_like(cache.lengths),
    ).any()


@pytest.mark.parametrize("name", bad_calls())
def test_bad_input(generator, name):
    cache = paged(generator, [20, 30], K=2, D=32)
    given_ = dict(
        zip(
            ("q", "key_cache", "value_cache", "block_table", "lengths"),
            (random_tensor(generator, 2, 4, 32), *cache.tensors),
        )
    )
    with pytest.raises(ValueError, match=r".+, got .+|.+between.+"):
        paged_attention(**bad_calls()[name](given_))


def test_wide_heads_are_refused():
    cache = torch.zeros(1, 8, 1, 257, device=DEVICE)
    table = torch.zeros(1, 1, dtype=torch.int32, device=DEVICE)
    with pytest.raises(ValueError, match="256"):
        paged_attention(torch.zeros(1, 1, 257, device=DEVICE), cache, cache, table, table[0])


def test_as_a_torch_operator(generator):
    cache = paged(generator, [20, 70], K=1, D=32, spare_columns=0)
    q, slopes = random_tensor(generator, 2, 2, 32), torch.rand(2, device=DEVICE)
    cache.key_cache.nan_to_num_(), cache.value_cache.nan_to_num_()
    torch.library.opcheck(module._paged_attention, (q, *cache.tensors, slopes, 0.5, 9, 3.0))
    compiled = torch.compile(paged_attention, fullgraph=True, backend="aot_eager")
    options = {"window": 50, "softcap": 3.0, "alibi_slopes": slopes, "return_lse": True}
    for got, expected in zip(
        compiled(q, *cache.tensors, **options), paged_attention(q, *cache.tensors, **options)
    ):
        assert torch.equal(got, expected)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_a_cuda_graph_records_it(generator):
    """One recording serves other lengths and other blocks: nothing waited for a number on the host."""
    cache = paged(generator, [300, 20], K=1, D=64, dtype=torch.float16)
    q = random_tensor(generator, 2, 4, 64, dtype=torch.float16)
    expected = paged_attention(q, *cache.tensors)
    lengths = torch.zeros_like(cache.lengths)
    key_cache, value_cache, table, _ = cache.tensors
    paged_attention(q, key_cache, value_cache, table, lengths)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = paged_attention(q, key_cache, value_cache, table, lengths)
    lengths.copy_(cache.lengths)
    graph.replay()
    assert torch.equal(out, expected)
