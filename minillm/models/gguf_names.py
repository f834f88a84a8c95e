"""How GGUF calls what Hugging Face calls otherwise: tensors, sizes, and what must be neutral, for each architecture.

    blk.3.attn_q.weight  <->  model.layers.3.self_attn.q_proj.weight        qwen3.block_count  <->  num_hidden_layers

Book 3.3.1 모델 활용하기. Held against the gguf package's tables and llama.cpp. What is done with them: gguf.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from minillm.models.base import PretrainedModel
from minillm.models.bert import BERT
from minillm.models.gpt2 import GPT2
from minillm.models.llama import Llama

FREQUENCIES = "rope_freqs.weight"  # how much slower Llama 3.1 turns each pair
FULL = ("position_embd.weight", "token_types.weight")  # tables that llama.cpp wants in full


class Family(NamedTuple):
    """How an architecture stands in a file. names: theirs there -> Hugging Face's. keys: of sizes -> a config's.

    neutral: further keys of the architecture with the values that change nothing (None: any value).
    """

    model_class: type[PretrainedModel]
    names: Mapping[str, str]
    keys: Mapping[str, str]
    neutral: Mapping[str, Any]
    transposed: tuple[str, ...] = ()


_LLAMA_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.{i}.attn_norm": "model.layers.{i}.input_layernorm",
    **{f"blk.{{i}}.attn_{part}": f"model.layers.{{i}}.self_attn.{part}_proj" for part in "qkv"},
    "blk.{i}.attn_output": "model.layers.{i}.self_attn.o_proj",
    "blk.{i}.attn_q_norm": "model.layers.{i}.self_attn.q_norm",
    "blk.{i}.attn_k_norm": "model.layers.{i}.self_attn.k_norm",
    "blk.{i}.ffn_norm": "model.layers.{i}.post_attention_layernorm",
    **{f"blk.{{i}}.ffn_{part}": f"model.layers.{{i}}.mlp.{part}_proj" for part in ("gate", "up", "down")},
}
_LLAMA_KEYS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
_NEUTRAL = {
    "vocab_size": None,
    "tensor_data_layout": None,
    "use_parallel_residual": (False, True),  # of GPT-NeoX; other architectures do not look at it
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.value_length": None,  # held against the shape of v by its tensor
    "rope.dimension_count": None,  # held against head_dim in `_sizes`
    "rope.scaling.type": None,  # read in `_scaling`, with the rest of its name
    "rope.scaling.factor": None,
    "rope.scaling.original_context_length": None,
    "rope.scaling.finetuned": None,
    "rope.scale_linear": None,
}
_ENCODER_KEYS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_epsilon": "layer_norm_eps",
}
LLAMA = Family(Llama, _LLAMA_NAMES, _LLAMA_KEYS, _NEUTRAL)
FAMILIES: dict[str, Family] = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gpt2": Family(
        GPT2,
        {
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
            "blk.{i}.attn_norm": "transformer.h.{i}.ln_1",
            "blk.{i}.attn_qkv": "transformer.h.{i}.attn.c_attn",
            "blk.{i}.attn_output": "transformer.h.{i}.attn.c_proj",
            "blk.{i}.ffn_norm": "transformer.h.{i}.ln_2",
            "blk.{i}.ffn_up": "transformer.h.{i}.mlp.c_fc",
            "blk.{i}.ffn_down": "transformer.h.{i}.mlp.c_proj",
        },
        {
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "block_count": "n_layer",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        {"vocab_size": None, "tensor_data_layout": None},
        ("c_attn.weight", "c_proj.weight", "c_fc.weight"),
    ),
    "bert": Family(
        BERT,
        {
            "token_embd": "embeddings.word_embeddings",
            "position_embd": "embeddings.position_embeddings",
            "token_types": "embeddings.token_type_embeddings",
            "token_embd_norm": "embeddings.LayerNorm",
            **{
                f"blk.{{i}}.attn_{part[0]}": f"encoder.layer.{{i}}.attention.self.{part}"
                for part in ("query", "key", "value")
            },
            "blk.{i}.attn_output": "encoder.layer.{i}.attention.output.dense",
            "blk.{i}.attn_output_norm": "encoder.layer.{i}.attention.output.LayerNorm",
            "blk.{i}.ffn_up": "encoder.layer.{i}.intermediate.dense",
            "blk.{i}.ffn_down": "encoder.layer.{i}.output.dense",
            "blk.{i}.layer_output_norm": "encoder.layer.{i}.output.LayerNorm",
        },
        _ENCODER_KEYS,
        {"vocab_size": None, "attention.causal": (False,), "pooling_type": None},
    ),
}
