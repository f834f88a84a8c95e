"""A table of model folders of every kind: a family, its config, and what is done after transformers has saved it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from minillm.models import load_model

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
BERT = {
    "vocab_size": V, "hidden_size": 30, "intermediate_size": 44, "num_hidden_layers": 3, "num_attention_heads": 5,
    "max_position_embeddings": 37, "type_vocab_size": 2, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
SIZES = {"GPT2": GPT2, "Bert": BERT, "Roberta": BERT, "XLMRoberta": BERT}  # of the others: Llama's


@dataclass
class Case:
    """A model of transformers with random weights in a folder."""

    family: str
    options: dict[str, Any] = field(default_factory=dict)
    after: tuple[Callable[[Any], None], ...] = ()  # each changes the folder
    save: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    body: bool = False  # save the body alone
    head: str | None = None  # how transformers' class is named after the family; None: a language model

    def write(self, folder):
        sizes = SIZES.get(self.family, LLAMA)
        config = getattr(transformers, f"{self.family}Config")(**sizes | json.loads(json.dumps(self.options)))
        head = self.head or ("LMHeadModel" if self.family == "GPT2" else "ForCausalLM")
        model = getattr(transformers, self.family + ("Model" if self.body else head))(config)
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
            if ("norm" in name.lower() or "ln_" in name) and "weight" in name:
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
    "llama, both rope fields": Case(
        "Llama", rope("default", 5000.0), after=(set_keys(rope_scaling={"type": "linear", "factor": 3.0}),)
    ),
    "llama, old rope fields, theta inside": Case(
        "Llama", after=(old_rope(type="linear", factor=3.0, rope_theta=500.0),)
    ),
    "llama, llama3 rope, window outside": Case(
        "Llama",
        rope("llama3", 5000.0, **LLAMA3),
        after=(set_keys(original_max_position_embeddings=40),),
    ),
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


def opener(tmp_path_factory, cases=CASES, peer=lambda folder: transformers.AutoModelForCausalLM):
    """A function from a name of `cases` to (transformers' model, ours, their folder); each is made once.

    peer: the class of transformers that opens a folder.
    """
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("folder")
            cases[name].write(folder)
            theirs = peer(folder).from_pretrained(folder, dtype="auto").eval()
            made[name] = theirs, load_model(folder), folder
        made[name][0](ids(1, 2))  # "dynamic" frequencies stay in transformers' model until a short text comes
        return made[name]

    return get


def ids(batch=2, length=20, seed=0):
    return torch.randint(0, V, (batch, length), generator=torch.Generator().manual_seed(seed))


def architecture(folder):
    """The class of transformers that a folder names."""
    return getattr(transformers, config_of(folder)["architectures"][0])


def close(found, expected):
    assert found.shape == expected.shape
    largest, mean = TOLERANCE[expected.dtype]
    difference = (found.float() - expected.float()).abs()
    assert difference.max().item() <= largest * (1 + expected.abs().max().item())
    assert difference.mean().item() <= mean
