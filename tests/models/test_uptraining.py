"""Fewer key heads in a trained model: against transformers' own Llama, and the paper's two ways to pool."""

import numpy as np
import pytest
import torch

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.models.uptraining import first_of_heads, mean_of_heads, with_kv_heads
from minillm.quantization import quantize


def _llama(kv_heads=8, **more):
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=kv_heads, max_position_embeddings=64, **more,
    )  # fmt: skip
    return Llama(config, seed=0).eval()


@pytest.mark.parametrize("groups", [8, 4, 2, 1])
@pytest.mark.parametrize("columns", [(), (6,)])
def test_pooled_rows_by_hand(groups, columns):
    weight = np.random.default_rng(groups).normal(size=(8 * 3, *columns)).astype(np.float32)
    heads = [weight[h * 3 : (h + 1) * 3] for h in range(8)]
    size = 8 // groups
    mean = np.concatenate([sum(heads[g * size : (g + 1) * size]) / size for g in range(groups)])
    first = np.concatenate([heads[g * size] for g in range(groups)])
    given = torch.tensor(weight)
    np.testing.assert_allclose(mean_of_heads(given, 8, groups), mean, atol=1e-6)
    np.testing.assert_array_equal(first_of_heads(given, 8, groups), first)


@pytest.mark.parametrize("pool", [mean_of_heads, first_of_heads])
@pytest.mark.parametrize("bias", [False, True])
def test_equal_heads_of_a_group_pool_to_the_same_model(pool, bias):
    """A grouped model written out as MHA (its heads repeated) comes back as it was."""
    small = _llama(2, attention_bias=bias)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    wide = _llama(8, attention_bias=bias)
    written_out = {
        name: weight.unflatten(0, (2, 4)).repeat_interleave(4, dim=0).flatten(0, 1)
        if ".k_proj." in name or ".v_proj." in name
        else weight
        for name, weight in small.state_dict().items()
    }
    wide.load_state_dict(written_out)
    ids = torch.arange(12)[None]
    before = {name: weight.clone() for name, weight in wide.state_dict().items()}
    pooled = with_kv_heads(wide, 2, pool)
    with torch.no_grad():
        assert (pooled(ids).logits - small(ids).logits).abs().max() < 1e-5
        assert (pooled(ids).logits - wide(ids).logits).abs().max() < 1e-4
    assert pooled.config.kv_heads == 2
    assert wide.config.kv_heads == 8
    assert all(torch.equal(weight, before[name]) for name, weight in wide.state_dict().items())


def test_the_copy_shares_nothing_and_is_complete():
    model = _llama(8, tie_word_embeddings=True)
    same = with_kv_heads(model, 8)
    ids = torch.arange(5)[None]
    with torch.no_grad():
        assert torch.equal(same(ids).logits, model(ids).logits)
        for parameter in same.parameters():
            parameter.zero_()
        assert model(ids).logits.abs().max() > 0
    assert same.head.weight.data_ptr() == same.state_dict()["body.tokens.weight"].data_ptr()


def test_the_copy_ends_its_texts_where_the_model_does():
    model = _llama(8)
    model.generation_config = {"eos_token_id": [3, 5]}
    small = with_kv_heads(model, 2)
    assert small.eos_token_ids == model.eos_token_ids == (3, 5)
    small.generation_config["eos_token_id"] = 7
    assert model.eos_token_ids == (3, 5)


def test_bad_input():
    for call, message in (
        (lambda: mean_of_heads([1.0, 2.0], 2, 1), "float tensor"),
        (lambda: mean_of_heads(torch.tensor(1.0), 1, 1), "float tensor"),
        (lambda: mean_of_heads(torch.arange(8), 4, 2), "float tensor"),
        (lambda: with_kv_heads(_llama(), 2, "mean"), "pool must be a function"),
        (lambda: with_kv_heads(_llama(), 2, lambda weight, *_: weight), "pool must make"),
        (lambda: with_kv_heads(_llama(), 2, lambda *_: None), "pool must make"),
        (lambda: with_kv_heads(quantize(_llama()), 2), "float layers"),
        (lambda: mean_of_heads(torch.ones(8, 2), 4, 3), "divisible"),
        (lambda: first_of_heads(torch.ones(9, 2), 4, 2), "divisible"),
        (lambda: with_kv_heads(_llama(), 3), "equal groups"),
        (lambda: with_kv_heads(_llama(2), 4), "kv_heads"),
        (
            lambda: with_kv_heads(
                GPT2(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2), seed=0), 1
            ),
            "Llama",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
