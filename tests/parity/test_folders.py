"""Folders of every kind open with transformers' logits, cached and not, padded and not, or are refused by name."""

import json
from dataclasses import fields

import pytest
import torch

from minillm._files import BadFileError
from minillm.inference import SamplingParams, generate
from minillm.models import GPT2Config, LlamaConfig, load_model
from tests.parity.folders import (
    CASES,
    Case,
    close,
    ids,
    old_rope,
    opener,
    recast,
    set_keys,
    tensors,
    transformers,
    without,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opener(tmp_path_factory)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_logits(opened, name):
    theirs, ours, _ = opened(name)
    found, expected = ours(ids()).logits, theirs(ids()).logits
    assert found.dtype == expected.dtype
    assert {p.dtype for p in ours.parameters()} == {expected.dtype}
    assert expected.std() > 0.5  # there is something to compare
    close(found, expected)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", [[1] * 20, [6, 1, 1, 5, 7], [19, 1]])
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated")  # the only name that 5.0 knows
@torch.no_grad()
def test_cached_logits(opened, name, sizes):
    theirs, ours, _ = opened(name)
    cache, past, found, expected = ours.new_cache(2, 20), None, [], []
    for piece in ids().split(sizes, dim=1):
        found.append(ours(piece, cache=cache).logits)
        theirs_piece = theirs(piece, past_key_values=past, use_cache=True)
        past = theirs_piece.past_key_values
        expected.append(theirs_piece.logits)
    close(torch.cat(found, 1), torch.cat(expected, 1))
    assert cache.length == 20
    if "outgrown" not in name:  # its frequencies depend on how the text came
        close(torch.cat(found, 1), ours(ids()).logits)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padded_logits(opened, name, side):
    theirs, ours, _ = opened(name)
    x, mask = ids(3, 12), torch.ones(3, 12, dtype=torch.long)
    mask[1, :5] = mask[2, :10] = 0
    mask = mask if side == "left" else mask.flip(1)
    real = mask.bool()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    for options in ({}, {"position_ids": positions}):
        theirs(ids(1, 2))
        expected = theirs(x, attention_mask=mask, **options).logits
        found = ours(x, attention_mask=mask, **options).logits
        close(found[real], expected[real])
        assert torch.isfinite(found).all()
    cache, pieces = ours.new_cache(3, 12), []
    for piece, seen, places in zip(x.split(4, 1), mask.split(4, 1), positions.split(4, 1)):
        pieces.append(ours(piece, attention_mask=seen, cache=cache, position_ids=places).logits)
    close(torch.cat(pieces, 1)[real], expected[real])


# in 16 bits scores lie too close together for two programs to choose alike
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.dtype == torch.float32 and "16" not in name]
)
def test_greedy_tokens(opened, name):
    theirs, ours, _ = opened(name)
    prompt, options = ids(1, 8), {"do_sample": False, "pad_token_id": 0, "max_new_tokens": 16}
    expected = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **options)[0, 8:].tolist()
    assert generate(ours, prompt[0].tolist(), SamplingParams(max_tokens=16, temperature=0)) == expected


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_what_we_write_opens_in_transformers(opened, name, tmp_path):
    theirs, ours, _ = opened(name)
    ours.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    expected = theirs(ids()).logits
    close(again(ids()).logits, expected)
    assert torch.equal(load_model(tmp_path)(ids()).logits, ours(ids()).logits)


# Refusals

CHANGED = {
    "partial_rotary_factor": 0.5,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "logit_scale": 0.0625,
    "logits_scaling": 8.0,
    "clip_qkv": 8.0,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.015625,
    "scale_emb": 12,
    "scale_depth": 1.4,
    "dim_model_base": 256,
    "query_pre_attn_scalar": 224,
    "use_qk_norm": True,
    "qk_layernorm": True,
    "use_parallel_residual": True,
    "parallel_attn": True,
    "alibi": True,
    "num_local_experts": 8,
    "num_experts": 8,
    "n_routed_experts": 8,
    "no_rope_layers": [1, 0],
    "rope_interleave": True,
    "rotary_pct": 0.25,
    "quantization_config": {"quant_method": "gptq", "bits": 4},
    "is_encoder_decoder": True,
    "attention_value_scale": 2.0,
    "attn_temperature_tuning": True,
    "is_causal": False,
}
REFUSED = {
    **{name: (Case("Llama", after=(set_keys(**{name: value}),)), name) for name, value in CHANGED.items()},
    "partial rotary in rope_parameters": (
        Case("Llama", after=(set_keys(rope_parameters={"rope_theta": 1e4, "partial_rotary_factor": 0.5}),)),
        "partial_rotary_factor",
    ),
    "partial rotary in rope_scaling": (
        Case("Llama", after=(old_rope(type="linear", factor=2.0, partial_rotary_factor=0.5),)),
        "partial_rotary_factor",
    ),
    "unknown rope": (Case("Llama", after=(old_rope(rope_type="longrope", short_factor=[1.0]),)), "longrope"),
    "unknown activation": (Case("Llama", after=(set_keys(hidden_act="xielu"),)), "xielu"),
    "unknown layer type": (
        Case("Qwen2", after=(set_keys(layer_types=["linear_attention", "full_attention"]),)),
        "linear_attention",
    ),
    "chunked layers": (
        Case("Mistral", after=(set_keys(layer_types=["chunked_attention", "full_attention"]),)),
        "chunked_attention",
    ),
    "cross-attention": (Case("GPT2", after=(set_keys(add_cross_attention=True),)), "add_cross_attention"),
    "another family": (Case("Llama", after=(set_keys(model_type="gemma2"),)), "gemma2"),
    "a missing tensor": (Case("Llama", after=(without("layers.1.mlp.up_proj"),)), "layers.1.mlp.up_proj"),
    "a tensor without a place": (
        Case(
            "Llama", after=(tensors(lambda t: t | {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}),)
        ),
        "q_proj.bias",
    ),
    "another shape": (Case("Llama", after=(set_keys(intermediate_size=48),)), "shape"),
    "no floats": (Case("Llama", after=(recast("down_proj", torch.int8),)), "int8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_model_is_refused_by_name(tmp_path, name):
    case, message = REFUSED[name]
    case.write(tmp_path)
    with pytest.raises(BadFileError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize("family", ["GPT2", "Llama"])
@torch.no_grad()
def test_a_body_that_is_not_tied_opens_as_a_body(tmp_path, family):
    Case(family, {"tie_word_embeddings": False}, body=True).write(tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    ours = load_model(tmp_path)
    assert not hasattr(ours, "head")
    close(ours(ids()).last_hidden_state, theirs(ids()).last_hidden_state)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "qwen3"])
def test_a_key_that_is_absent_means_what_it_means_to_transformers(tmp_path, family):
    """Every name that decides about numbers and that no tensor's shape gives away."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    ours = (GPT2Config if family == "gpt2" else LlamaConfig).from_dict({"model_type": family})
    names = """num_attention_heads rms_norm_eps hidden_act attention_bias mlp_bias tie_word_embeddings
        n_head n_inner layer_norm_epsilon activation_function scale_attn_weights scale_attn_by_inverse_layer_idx"""
    for name in names.split():
        if hasattr(ours, name) and name in theirs.to_dict():
            found, expected = getattr(ours, name), getattr(theirs, name)
            assert found == expected, f"{name}: {found} here, {expected} there"
    if family != "gpt2":
        assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
        assert set(ours.windows) == {getattr(theirs, "sliding_window", None)}


@pytest.mark.parametrize("family", ["Llama", "Mistral", "Qwen2", "Qwen3"])
def test_a_key_that_a_file_leaves_out_has_transformers_value(family):
    theirs = getattr(transformers, f"{family}Config")()
    ours = LlamaConfig.from_dict({"model_type": family.lower()})
    names = {field.name for field in fields(LlamaConfig)} & theirs.to_dict().keys()
    names -= {"rope_parameters", "layer_types", "use_sliding_window", "max_window_layers", "sliding_window"}
    assert len(names) >= 14
    for name in names:
        assert getattr(ours, name) == getattr(theirs, name), name
    windows = [theirs.sliding_window] * 32 if family == "Mistral" else [None] * 32
    assert [*ours.windows] == windows
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 128)


def test_a_key_that_a_gpt2_file_leaves_out_has_transformers_value():
    theirs, ours = transformers.GPT2Config(), GPT2Config.from_dict({"model_type": "gpt2"})
    names = {field.name for field in fields(GPT2Config)} & theirs.to_dict().keys()
    names -= {"resid_pdrop", "embd_pdrop", "attn_pdrop"}  # 0 here unless asked for
    assert len(names) >= 14
    for name in names:
        assert getattr(ours, name) == getattr(theirs, name), name
