"""Weights of transformers' models, their heads reordered for the other pairing of RoPE, give transformers' numbers."""

import pytest
import torch
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb

from minillm.nn import RoPE, convert_pairing, rope_frequencies, to_interleaved
from tests.parity.folders import close, ids, opener


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opener(tmp_path_factory)


def turned_the_other_way(model, state):
    """The model on the weights of `state`, every head of it turned as neighbours."""
    config = model.config
    rope = RoPE(config.head_dim, config.rope_theta, interleaved=True, scaling=config.rope_scaling)
    model.load_state_dict(state)
    model.body.rope = rope
    for block in model.body.blocks:
        block.attention.position = rope
    return model


@pytest.mark.parametrize("name", ["llama, grouped", "qwen2", "qwen3, yarn"])
@torch.no_grad()
def test_logits_of_the_converted_model(opened, name):
    theirs, ours, _ = opened(name)
    config, expected = ours.config, theirs(ids()).logits
    before = {key: t.clone() for key, t in ours.state_dict().items()}
    wrong = turned_the_other_way(ours, before)(ids()).logits
    assert (wrong - expected).abs().max() > 0.1
    converted = convert_pairing(before, config.num_attention_heads, config.kv_heads, interleaved=True)
    assert sum(not torch.equal(converted[key], before[key]) for key in before) >= 2 * config.num_layers
    close(turned_the_other_way(ours, converted)(ids()).logits, expected)


def test_gptj_turns_what_the_converter_makes():
    x, weight = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0)), torch.eye(12)
    angles = torch.arange(5)[:, None] * rope_frequencies(6)
    heads = (x @ to_interleaved(weight, 2).T).unflatten(-1, (2, 6))  # (B, T, H, D), as GPT-J has them
    theirs = apply_rotary_pos_emb(heads, angles.sin()[None], angles.cos()[None])
    halves = x.unflatten(-1, (2, 6)).transpose(1, 2)
    ours = RoPE(6)(halves, halves)[0].transpose(1, 2)  # pairs (i, i + 3)
    torch.testing.assert_close(
        theirs, to_interleaved(ours.movedim(-1, 0)).movedim(0, -1), atol=1e-6, rtol=1e-5
    )
