"""T5's relative bias against transformers' buckets and table, and against its own formula worked out by hand."""

import math

import pytest
import torch

from minillm.nn import MultiHeadAttention, RelativeBias, relative_buckets

SIZES = [(32, 128), (8, 20), (6, 9), (33, 1000)]


def test_buckets_by_hand():
    near = torch.tensor([-8, -7, -1, 0, 1, 7, 8])
    assert relative_buckets(near).tolist() == [8, 7, 1, 0, 17, 23, 24]
    assert relative_buckets(near, bidirectional=False).tolist() == [8, 7, 1, 0, 0, 0, 0]
    # far: half of the buckets grow with the logarithm, the last one holds all from max_distance on
    for distance in (20, 50, 100):
        bucket = 8 + math.floor(math.log(distance / 8) / math.log(128 / 8) * 8)
        assert relative_buckets(torch.tensor([-distance])).item() == bucket
    assert relative_buckets(torch.tensor([-128, -129, -(10**6)])).tolist() == [15, 15, 15]
    assert relative_buckets(torch.tensor([128, 10**6])).tolist() == [31, 31]


@pytest.mark.parametrize(("buckets", "max_distance"), SIZES)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_and_bias_are_those_of_transformers(buckets, max_distance, bidirectional):
    transformers = pytest.importorskip(
        "transformers", reason="the bias is held against T5's: the parity extra"
    )
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-3000, 3001)
    expected = T5Attention._relative_position_bucket(distances, bidirectional, buckets, max_distance)
    assert torch.equal(relative_buckets(distances, buckets, max_distance, bidirectional), expected)
    config = transformers.T5Config(
        num_heads=3,
        d_kv=4,
        d_model=12,
        is_decoder=not bidirectional,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=max_distance,
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = RelativeBias(3, buckets, max_distance, bidirectional)
    ours.table.weight.data = theirs.relative_attention_bias.weight.data
    for queries, keys in ((1, 1), (7, 7), (1, 40), (5, 300)):
        past = keys - queries
        bias = theirs.compute_bias(queries, keys, past_seen_tokens=past)
        assert torch.equal(ours(queries, keys), bias)
        assert torch.equal(ours.at(past, torch.zeros(2, queries, 12), keys).bias(), bias)


def test_a_layer_adds_what_is_handed_down():
    """One scheme for all layers: the layer itself has no position, and gets the bias with each pass."""
    torch.manual_seed(0)
    scheme, layer = RelativeBias(2, 8, 20), MultiHeadAttention(8, 2)
    x = torch.randn(3, 5, 8)
    q, k, v = (
        part(x).view(3, 5, 2, 4).transpose(1, 2) for part in (layer.q_proj, layer.k_proj, layer.v_proj)
    )
    bias = torch.stack(
        [
            torch.stack([scheme.table.weight[relative_buckets(torch.tensor(s - t), 8, 20)] for s in range(5)])
            for t in range(5)
        ]
    ).permute(2, 0, 1)  # (H, T, S), entry by entry
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
    expected = layer.o_proj(expected.transpose(1, 2).flatten(2))
    found = layer(x, positions=scheme.at(0, x, 5))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    found.sum().backward()
    assert scheme.table.weight.grad.abs().max() > 0
    assert not any("table" in name for name in layer.state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelativeBias(0), "heads must be at least 1, got 0"),
        (lambda: RelativeBias(2, 3), "buckets must be at least 4, got 3"),
        (lambda: RelativeBias(2, 1, bidirectional=False), "buckets must be at least 2, got 1"),
        (lambda: RelativeBias(2, 32, 8), "max_distance must be at least 9, got 8"),
        (lambda: RelativeBias(2, bidirectional="no"), "bidirectional must be True or False, got 'no'"),
        (lambda: RelativeBias(2).check_heads(4, 8), "columns for 2 heads, but there are 4"),
        (lambda: relative_buckets([-1, 0]), "distances must be a tensor of whole numbers, got "),
        (lambda: relative_buckets(torch.tensor([0.5])), "distances must be a tensor of whole numbers"),
        (lambda: relative_buckets(torch.tensor([True])), "distances must be a tensor of whole numbers"),
        (lambda: relative_buckets(torch.arange(3), 2), "buckets must be at least 4, got 2"),
        (lambda: relative_buckets(torch.arange(3), -4), "buckets must be at least 4, got -4"),
        (lambda: relative_buckets(torch.arange(3), 32, 3), "max_distance must be at least 9, got 3"),
        (lambda: relative_buckets(torch.arange(3), 1, 8, False), "buckets must be at least 2, got 1"),
        (lambda: RelativeBias(2)(-1, 4), "queries must be at least 0, got -1"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
