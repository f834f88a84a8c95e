"""Folders of every kind that transformers writes open with its logits, cached and not, padded and not, or are refused.

One table: a case is a family, its config, and what is done to the folder after transformers has saved it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from minillm._files import BadFileError
from minillm.inference import SamplingParams, generate
from minillm.models import GPT2Config, LlamaConfig, load_model

transformers = pytest.importorskip(
    "transformers", reason="folders are held against transformers: the parity extra"
)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

V, WINDOW = 61, 48
# (largest difference over 1 + the largest logit, mean difference) of logits with a standard deviation of 1.5.
# In 16 bits two right models differ by as much as each of them differs from float32: on the mean, by less than eight
# roundings.
TOLERANCE = {torch.float32: (1e-5, 5e-6), torch.float16: (0.02, 8 * 2**-11), torch.bfloat16: (0.1, 8 * 2**-8)}
IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LLAMA = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": WINDOW, **IDS,
}  # fmt: skip
GPT2 = {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": WINDOW, **IDS}


@dataclass
class Case:
    """A model of transformers with random weights in a folder."""

    family: str
    options: dict[str, Any] = field(default_factory=dict)
    after: tuple[Callable[[Any], None], ...] = ()  # each changes the folder
    save: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    body: bool = False  # save the body alone

    def write(self, folder):
        sizes = GPT2 if self.family == "GPT2" else LLAMA
        config = getattr(transformers, f"{self.family}Config")(**sizes | json.loads(json.dumps(self.options)))
        heads = "LMHeadModel" if self.family == "GPT2" else "ForCausalLM"
        model = getattr(transformers, self.family + ("Model" if self.body else heads))(config)
        model = spread(model).to(self.dtype)
        model.config.dtype = self.dtype
        model.save_pretrained(folder, **self.save)
        for change in self.after:
            change(folder)


def spread(model):
    """Random weights far enough from zero that every part of the model shows in the logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.25)
            if ("norm" in name or "ln_" in name) and "weight" in name:
                parameter.add_(1)
    return model.eval()


# What is done to a folder


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def set_keys(**values):
    def change(folder):
        (folder / "config.json").write_text(json.dumps(config_of(folder) | values))

    return change


def drop_keys(*names):
    def change(folder):
        kept = {name: value for name, value in config_of(folder).items() if name not in names}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


def tensors(edit):
    """edit: a function from the dict of all tensors to the dict that is stored in their place."""

    def change(folder):
        path = folder / "model.safetensors"
        save_file(
            {k: v.contiguous() for k, v in edit(load_file(path)).items()}, path, metadata={"format": "pt"}
        )

    return change


def renamed(old, new):
    return tensors(
        lambda t: {(new + k.removeprefix(old) if k.startswith(old) else k): v for k, v in t.items()}
    )


def without(*parts):
    return tensors(lambda t: {k: v for k, v in t.items() if not any(part in k for part in parts)})


def recast(part, dtype):
    return tensors(lambda t: {k: v.to(dtype) if part in k else v for k, v in t.items()})


def another_head(name="lm_head.weight", like="embed_tokens"):
    def edit(t):
        table = next(v for k, v in t.items() if like in k or k.endswith("wte.weight"))
        return t | {
            name: torch.randn(table.shape, generator=torch.Generator().manual_seed(9)).to(table.dtype) / 4
        }

    return tensors(edit)


def only_the_head(t):
    table = next(k for k in t if "embed_tokens" in k or "wte" in k)
    return {("lm_head.weight" if k == table else k): v for k, v in t.items()}


def old_rope(**scaling):
    """config.json as it was until 2025: rope_theta, and rope_scaling with "type" or "rope_type"."""

    def change(folder):
        values = config_of(folder)
        theta = values.pop("rope_parameters")["rope_theta"]
        (folder / "config.json").write_text(
            json.dumps(values | {"rope_theta": theta, "rope_scaling": scaling or None})
        )

    return change


def buffers(t):
    """What files of older versions also hold."""
    ones = {"h.0.attn.bias": torch.ones(1, 1, WINDOW, WINDOW), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    prefix = "transformer." if any(k.startswith("transformer.") for k in t) else ""
    if any("self_attn" in k for k in t):
        return t | {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.rand(4) for i in range(2)}
    return t | {prefix + name: tensor for name, tensor in ones.items()}


def rope(kind, theta=1e4, **options):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **options}}


YARN = {"factor": 4.0, "original_max_position_embeddings": 12}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
MIXED = {"attention_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 1}

CASES = {
    "gpt2": Case("GPT2"),
    "gpt2, scale by layer, inner, activation": Case(
        "GPT2", {"scale_attn_by_inverse_layer_idx": True, "n_inner": 20, "activation_function": "relu"}
    ),
    "gpt2, untied": Case("GPT2", {"tie_word_embeddings": False}),
    "gpt2, no scale": Case("GPT2", {"scale_attn_weights": False, "activation_function": "gelu"}),
    "gpt2, body alone": Case("GPT2", body=True),
    "gpt2, body alone, prefix": Case("GPT2", body=True, after=(renamed("", "transformer."),)),
    "gpt2, old buffers": Case("GPT2", after=(tensors(buffers),)),
    "gpt2, tied, another head stored": Case("GPT2", after=(another_head(),)),
    "gpt2, tied, only the head stored": Case("GPT2", after=(tensors(only_the_head),)),
    "gpt2, bf16": Case("GPT2", dtype=torch.bfloat16),
    "gpt2, upcast attention": Case("GPT2", {"reorder_and_upcast_attn": True}),
    "llama, multi-head": Case("Llama", {"num_key_value_heads": 4}),
    "llama, grouped": Case("Llama"),
    "llama, multi-query": Case("Llama", {"num_key_value_heads": 1}),
    "llama, theta and eps": Case("Llama", rope("default", 500.0) | {"rms_norm_eps": 1e-3}),
    "llama, llama3 rope": Case("Llama", rope("llama3", 5000.0, **LLAMA3)),
    "llama, linear rope": Case("Llama", rope("linear", factor=4.0)),
    "llama, dynamic rope": Case("Llama", rope("dynamic", factor=2.0)),
    "llama, dynamic rope, outgrown": Case(
        "Llama", rope("dynamic", 40.0, factor=4.0) | {"max_position_embeddings": 12}
    ),
    "llama, yarn rope": Case("Llama", rope("yarn", **YARN)),
    "llama, yarn rope, mscale": Case(
        "Llama", rope("yarn", **YARN, mscale=0.7, mscale_all_dim=0.4, beta_fast=8)
    ),
    "llama, yarn rope, factor given": Case(
        "Llama", rope("yarn", **YARN, attention_factor=1.3, truncate=False)
    ),
    "llama, tied": Case("Llama", {"tie_word_embeddings": True}),
    "llama, biases": Case("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, wide heads": Case("Llama", {"head_dim": 20}),
    "llama, narrow heads": Case("Llama", {"head_dim": 6, "num_key_value_heads": 1}),
    "llama, geglu": Case("Llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "llama, old rope fields": Case("Llama", rope("default", 700.0), after=(old_rope(),)),
    "llama, old linear rope": Case("Llama", after=(old_rope(type="linear", factor=3.0),)),
    "llama, old dynamic rope": Case("Llama", after=(old_rope(type="dynamic", factor=3.0),)),
    "llama, old llama3 rope": Case("Llama", after=(old_rope(rope_type="llama3", **LLAMA3),)),
    "llama, old yarn rope": Case("Llama", after=(old_rope(rope_type="yarn", **YARN),)),
    "llama, old buffers": Case("Llama", after=(tensors(buffers),)),
    "llama, sharded": Case("Llama", save={"max_shard_size": "15KB"}),
    "llama, bf16": Case("Llama", dtype=torch.bfloat16),
    "llama, fp16": Case("Llama", MIXED, dtype=torch.float16),
    "llama, bf16, one tensor fp32": Case(
        "Llama", dtype=torch.bfloat16, after=(recast("lm_head", torch.float32),)
    ),
    "llama, bf16, norms fp32": Case("Llama", dtype=torch.bfloat16, after=(recast("norm", torch.float32),)),
    "llama, fp32, one tensor half": Case("Llama", after=(recast("q_proj", torch.float16),)),
    "llama, bf16 by the old key": Case(
        "Llama", dtype=torch.bfloat16, after=(drop_keys("dtype"), set_keys(torch_dtype="bfloat16"))
    ),
    "llama, fp16, no dtype key": Case("Llama", dtype=torch.float16, after=(drop_keys("dtype"),)),
    "llama, fp32 stored, config bf16": Case(
        "Llama", after=(set_keys(dtype="bfloat16"),), dtype=torch.float32
    ),
    "llama, body alone, tied": Case("Llama", {"tie_word_embeddings": True}, body=True),
    "llama, body alone, tied, prefix": Case(
        "Llama", {"tie_word_embeddings": True}, body=True, after=(renamed("", "model."),)
    ),
    "llama, tied, another head stored": Case("Llama", {"tie_word_embeddings": True}, after=(another_head(),)),
    "llama, tied, only the head stored": Case(
        "Llama", {"tie_word_embeddings": True}, after=(tensors(only_the_head),)
    ),
    "llama, untied, head equals the table": Case(
        "Llama", after=(tensors(lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()}),)
    ),
    "llama, harmless keys": Case(
        "Llama",
        after=(set_keys(pretraining_tp=1, use_cache=False, attention_dropout=0.0, auto_map={}, zz_custom=1),),
    ),
    "llama, kv heads absent": Case(
        "Llama", {"num_key_value_heads": 4}, after=(drop_keys("num_key_value_heads"),)
    ),
    "mistral, window": Case("Mistral", {"sliding_window": 5}),
    "mistral, no window": Case("Mistral", {"sliding_window": None}),
    "mistral, window absent": Case("Mistral", after=(drop_keys("sliding_window"),)),
    "mistral, layer types": Case(
        "Mistral",
        {"sliding_window": 4},
        after=(set_keys(layer_types=["sliding_attention", "full_attention"]),),
    ),
    "mistral, layer types, all windows": Case(
        "Mistral", {"sliding_window": 4}, after=(set_keys(layer_types=["sliding_attention"] * 2),)
    ),
    "mistral, head_dim": Case("Mistral", {"sliding_window": 3, "head_dim": 12}),
    "qwen2": Case("Qwen2"),
    "qwen2, windows": Case(
        "Qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    ),
    "qwen2, window named and not used": Case("Qwen2", {"use_sliding_window": False, "sliding_window": 4}),
    "qwen2, layer types": Case(
        "Qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "qwen2, tied, bf16": Case("Qwen2", {"tie_word_embeddings": True}, dtype=torch.bfloat16),
    "qwen3": Case("Qwen3", {"head_dim": 16}),
    "qwen3, biases": Case("Qwen3", {"head_dim": 8, "attention_bias": True}),
    "qwen3, windows": Case(
        "Qwen3", {"head_dim": 8, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0}
    ),
    "qwen3, yarn": Case("Qwen3", {"head_dim": 12} | rope("yarn", 1e6, **YARN)),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """name -> (transformers' model, ours, from one folder), made once."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("folder")
            CASES[name].write(folder)
            theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
            made[name] = theirs, load_model(folder), folder
        made[name][0](ids(1, 2))  # "dynamic" frequencies stay in transformers' model until a short text comes
        return made[name]

    return get


def ids(batch=2, length=20, seed=0):
    return torch.randint(0, V, (batch, length), generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    assert found.shape == expected.shape
    largest, mean = TOLERANCE[expected.dtype]
    difference = (found.float() - expected.float()).abs()
    assert difference.max().item() <= largest * (1 + expected.abs().max().item())
    assert difference.mean().item() <= mean


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
