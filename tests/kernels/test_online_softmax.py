"""Online softmax and the tiled flash attention in plain torch, against torch's own operations in float64."""

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F

from kernels.flash_attention_tiled import flash_attention_tiled, tiles_of
from kernels.online_softmax import finished, online_softmax

SIZES = st.integers(1, 40)


@hypothesis.given(st.integers(0, 2**31), SIZES, SIZES, st.sampled_from([1, 100.0, 3000.0]))
@hypothesis.settings(max_examples=50)
def test_any_blocks_give_softmax_and_every_state_is_that_of_its_prefix(seed, keys, block, spread):
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(3, keys, generator=generator, dtype=torch.float64)
    scores[torch.rand(3, keys, generator=generator) < 0.2] = -torch.inf
    values = torch.randn(3, keys, 4, generator=generator, dtype=torch.float64)
    for number, state in enumerate(online_softmax(scores, values, block), 1):
        seen = min(number * block, keys)
        out, lse = finished(state)
        weights = torch.softmax(scores[:, :seen], -1).nan_to_num(0.0)  # torch gives NaN where all are hidden
        torch.testing.assert_close(out, (weights[:, None] @ values[:, :seen])[:, 0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(lse, torch.logsumexp(scores[:, :seen], -1), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(state.maximum, scores[:, :seen].amax(-1), rtol=0, atol=0)


def test_one_set_of_values_serves_many_rows(generator):
    scores, values = torch.randn(2, 5, 9, generator=generator), torch.randn(9, 3, generator=generator)
    out, _ = finished(online_softmax(scores, values, 4)[-1])
    torch.testing.assert_close(out, scores.softmax(-1) @ values)


@pytest.mark.parametrize(
    ("scores", "values", "block", "said"),
    [
        (torch.zeros(3), torch.zeros(4, 2), 1, r"shape \(3,\).*shape \(4, 2\)"),
        (torch.zeros(3), torch.zeros(3), 1, "S, D"),
        (torch.zeros(0), torch.zeros(0, 2), 1, "S >= 1"),
        (torch.zeros(3), torch.zeros(3, 2), 0, "at least 1"),
        (torch.zeros(3), torch.zeros(3, 2), 1.0, "integer"),
        ([0.0], torch.zeros(1, 2), 1, "float tensor"),
        (torch.zeros(3, dtype=torch.int64), torch.zeros(3, 2), 1, "float tensor"),
        (torch.zeros(3).to_sparse(), torch.zeros(3, 2), 1, "dense float tensor.*sparse_coo"),
        (torch.zeros(2, 3), torch.zeros(4, 3, 2), 1, r"broadcast.*shape \(2, 3\).*shape \(4, 3, 2\)"),
        (torch.zeros(3), torch.zeros(3, 2).half(), 1, "share dtype.*float32.*float16"),
        (torch.zeros(3), torch.zeros(3, 2, device="meta"), 1, "share dtype and device.*cpu.*meta"),
    ],
)
def test_bad_input_of_online_softmax(scores, values, block, said):
    with pytest.raises(ValueError, match=said):
        online_softmax(scores, values, block)


@hypothesis.given(
    st.integers(0, 2**31), st.integers(1, 70), st.integers(1, 70), SIZES, SIZES,
    st.sampled_from([(1, 1), (4, 2), (3, 1), (6, 3)]), st.booleans(), st.sampled_from([None, 0.3]),
)  # fmt: skip
@hypothesis.settings(max_examples=60)
def test_tiled_equals_torch(seed, T, S, block_q, block_k, heads, causal, scale):
    generator = torch.Generator().manual_seed(seed)
    H, K = heads
    q = torch.randn(2, H, T, 8, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, 2, K, S, 8, generator=generator, dtype=torch.float64)
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T) if causal else torch.ones(T, S, dtype=torch.bool)
    out, lse = flash_attention_tiled(q, k, v, block_q, block_k, causal, scale)
    theirs = F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=True)
    torch.testing.assert_close(out, theirs.nan_to_num(0.0), rtol=1e-10, atol=1e-12)
    scores = (scale or 8**-0.5) * (q @ k.repeat_interleave(H // K, 1).mT)
    torch.testing.assert_close(
        lse, scores.masked_fill(~mask, -torch.inf).logsumexp(-1), rtol=1e-10, atol=1e-12
    )


@hypothesis.given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_the_tiles_are_those_of_the_picture(T, S, block_q, block_k, causal):
    """Against the drawn mask: a tile is computed if any of it is visible, masked if any of it is not."""
    sees = torch.ones(T, S, dtype=torch.bool)
    sees = sees.tril(S - T) if causal else sees
    expected = []
    for i in range(0, T, block_q):
        for j in range(0, S, block_k):
            tile = sees[i : i + block_q, j : j + block_k]
            if tile.any():
                expected.append((i, j, not tile.all().item()))
    assert tiles_of(T, S, block_q, block_k, causal) == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tiled_is_as_exact_as_its_dtype_allows(dtype, generator):
    q, k, v = torch.randn(3, 1, 4, 100, 32, generator=generator).to(dtype)
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    out, lse = flash_attention_tiled(q, k, v, causal=True)
    assert (out.dtype, lse.dtype) == (dtype, torch.float32)
    assert (out - exact).norm() <= 1.5 * (theirs - exact).norm()


def test_tiled_without_queries_or_keys():
    q, k = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 0, 4)
    out, lse = flash_attention_tiled(q, k, k)
    assert torch.equal(out, torch.zeros(2, 3, 5, 4))
    assert torch.equal(lse, torch.full((2, 3, 5), -torch.inf))
    out, lse = flash_attention_tiled(k, q, q)
    assert (out.shape, lse.shape) == ((2, 3, 0, 4), (2, 3, 0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"q": torch.zeros(1, 3, 5, 8)}, r"\(1, 3, 5, 8\).*\(1, 2, 6, 8\)"),
        ({"k": torch.zeros(1, 2, 6, 4)}, r"\(1, 4, 5, 8\).*\(1, 2, 6, 4\)"),
        ({"v": torch.zeros(1, 2, 7, 8)}, r"\(1, 2, 6, 8\).*\(1, 2, 7, 8\)"),
        ({"k": torch.zeros(1, 2, 6, 8).half()}, "float32.*float16"),
        ({"q": torch.zeros(4, 5, 8)}, "4 axes"),
        ({"q": None}, "must be a tensor"),
        ({"block_q": 0}, "at least 1"),
        ({"causal": 1}, "True or False"),
        ({"scale": float("nan")}, "finite"),
        ({"scale": 10**400}, "finite"),
        ({"q": torch.zeros(1, 4, 5, 8).to_sparse()}, "q must be a dense tensor.*sparse_coo"),
    ],
)
def test_bad_input_of_tiled(changes, said):
    good = {"q": torch.zeros(1, 4, 5, 8), "k": torch.zeros(1, 2, 6, 8), "v": torch.zeros(1, 2, 6, 8)}
    with pytest.raises(ValueError, match=said):
        flash_attention_tiled(**good | changes)
