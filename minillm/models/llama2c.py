"""Models of llama2.c (.bin, its first format): seven integers, then every weight in a row as float32.

    header  int32 dim, hidden, layers, heads, kv_heads, vocabulary (negative: output not tied), longest text
    then    E, [norm1], [Wq], [Wk], [Wv], [Wo], [norm2], [gate], [down], [up], norm, rotary tables, (output)

[W] is a stack over the layers. Peer: karpathy/llama2.c (run.c); TinyStories: Eldan and Li 2023.
llama2.c turns neighbouring coordinates; the rows of Wq and Wk are reordered here so that halves can be turned
instead and the model is an ordinary Llama that saves to a Hugging Face folder.
Leaves out: the later formats with a magic number (version 1 and 2, quantized).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from minillm._files import BadFileError, read_bytes
from minillm._tensors import check_place
from minillm.models.llama import Llama, LlamaConfig
from minillm.nn.pairing import to_halves

HEADER = ("dim", "hidden", "layers", "heads", "kv_heads", "vocabulary", "longest")


def load_llama2c(
    path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Llama:
    """The Llama of a llama2.c file, in evaluation mode; BadFileError if it is cut, too long or no such file.

    dtype, device: of the weights, None for float32 on the CPU; ValueError for one that cannot be.
    """
    check_place(dtype, device)
    data = read_bytes(path, "llama2.c model")
    refusal = f"llama2.c model {str(path)!r} is refused"
    if len(data) < 28:
        raise BadFileError(f"{refusal}: {len(data)} bytes are too few for its header of 28")
    dim, hidden, layers, heads, kv_heads, signed_vocabulary, longest = header = np.frombuffer(
        data, "<i4", 7
    ).tolist()
    vocabulary, tied = abs(signed_vocabulary), signed_vocabulary > 0
    sizes = (dim, hidden, layers, heads, kv_heads, vocabulary, longest)
    if min(sizes) < 1 or dim % heads or heads % kv_heads or (dim // heads) % 2:
        raise BadFileError(f"{refusal}: no model has the header {dict(zip(HEADER, header))}")
    head_dim = dim // heads
    shapes = {
        "tokens": (vocabulary, dim),
        "input_layernorm": (layers, dim),
        "self_attn.q_proj": (layers, heads * head_dim, dim),
        "self_attn.k_proj": (layers, kv_heads * head_dim, dim),
        "self_attn.v_proj": (layers, kv_heads * head_dim, dim),
        "self_attn.o_proj": (layers, dim, heads * head_dim),
        "post_attention_layernorm": (layers, dim),
        "mlp.gate_proj": (layers, hidden, dim),
        "mlp.down_proj": (layers, dim, hidden),
        "mlp.up_proj": (layers, hidden, dim),
        "norm": (dim,),
        "rotary": (2, longest, head_dim // 2),  # cos and sin, which RoPE makes itself
    } | ({} if tied else {"head": (vocabulary, dim)})
    expected = 28 + 4 * sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
    if len(data) != expected:
        raise BadFileError(f"{refusal}: its header promises {expected} bytes, it has {len(data)}")
    numbers, start, parts = np.frombuffer(data, "<f4", offset=28), 0, {}
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        parts[name] = torch.from_numpy(numbers[start:stop].astype(np.float32)).reshape(shape)
        start = stop
    tensors = {"model.embed_tokens.weight": parts.pop("tokens"), "model.norm.weight": parts.pop("norm")}
    del parts["rotary"]
    if not tied:
        tensors["lm_head.weight"] = parts.pop("head")
    for name, stack in parts.items():
        for i, weight in enumerate(stack):
            if name.endswith(("q_proj", "k_proj")):
                weight = to_halves(weight, heads if name.endswith("q_proj") else kv_heads)
            tensors[f"model.layers.{i}.{name}.weight"] = weight.clone()
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=longest,
        rms_norm_eps=1e-5,  # fixed in run.c
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=tied,
    )
    return Llama.from_tensors(config, tensors, f"llama2.c model {str(path)!r}", dtype, device)
