"""Which models, and which passes, go through the one compiled function of fused_decode.py.

It takes one text on a CPU: a GPT2 or a Llama (any of its families) in float32, whole, or with all layers of a kind
quantized alike. A pass that anything else wants to see or change (a hook, a layer with another forward, a mode of
torch, a cache of another kind) goes through the model itself. Book 7.1 언어 모델 추론 이해하기.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _len_torch_function_stack
from torch.utils._python_dispatch import _len_torch_dispatch_stack

from minillm._kernels import kernels_mode
from minillm.inference import fused_decode as compiled
from minillm.inference import fused_layout as layout
from minillm.inference.fused_team import Pace, run_together
from minillm.models.gpt2 import GPT2
from minillm.models.llama import Llama
from minillm.nn.attention import RUN, MultiHeadAttention
from minillm.nn.backends import chosen_backend
from minillm.nn.blocks import GELU_TANH, DecoderBlock, FeedForward, LayerNorm, RMSNorm, SwiGLU
from minillm.nn.cache import KVCache
from minillm.nn.fast_cpu import fast_gelu, is_own
from minillm.nn.lora import adapters_of
from minillm.quantization.codes_linear import FourBitLinear, GroupLinear
from minillm.quantization.linear import Int8Linear
from minillm.quantization.packed import PackedEmbedding, PackedLinear

_OWN_ATTENTION = dict(RUN)
_PACES: WeakKeyDictionary[nn.Module, Pace] = WeakKeyDictionary()


class FusedStep:
    """`step(token)` -> logits (1, V): the model's decode step for one text, as one compiled function.

    Made for one text and its cache, at no cost worth counting; `FusedStep.of(model, cache)` is None for what it does
    not take. It sees weights that are changed in place; one that is replaced while it is in use stays the old one.
    """

    def __init__(self, model: GPT2 | Llama, cache: KVCache, weights: Any) -> None:
        tables: list[np.ndarray] = []
        self.cache, self.vocabulary = cache, model.head.out_features
        self.weights = _as_numbers(weights, tables)
        body, block = model.body, model.body.blocks[0]
        self.run = compiled.llama_step if isinstance(model, Llama) else compiled.gpt2_step
        heads, wide = block.attention, block.feed_forward.up_proj.out_features
        wide_q, wide_k = heads.heads * heads.head_dim, heads.kv_heads * heads.head_dim
        C = model.head.in_features
        sizes = (C, wide_q, wide_k, wide_k, wide_q, C, wide, wide)
        self.shared = layout.Shared(*(np.empty(size, np.float32) for size in sizes))
        self.pace = _PACES.setdefault(model, Pace())
        table = body.tokens
        self.embed = table.weight.detach().__getitem__ if type(table) is nn.Embedding else table.row
        self.places = None if isinstance(model, Llama) else body.positions.weight.detach()
        self.rope = body.rope if isinstance(model, Llama) else None
        # what stands at the addresses must not be freed
        self.where = _as_numbers(
            layout.CacheAt(_addresses(cache.keys), _addresses(cache.values), cache.max_length), tables
        )
        tensors = (*model.parameters(), *model.buffers(), *cache.keys, *cache.values)
        self.kept = [*tables, *(one.detach() for one in tensors)]

    @classmethod
    def of(cls, model: nn.Module, cache: Any) -> FusedStep | None:
        """The step of a model with its cache of one text, or None where the model's own pass must be taken."""
        if type(model) not in (GPT2, Llama) or type(cache) is not KVCache or not plain(model, cache):
            return None
        if adapters_of(model) is not None:  # beside its matrices run the paths of LoRA
            return None
        weights = _weights(model)
        return None if weights is None else cls(model, cache, weights)

    @torch.no_grad()
    def __call__(self, token: int) -> Tensor:
        """Scores (1, V) of what follows `token`, whose keys and values are kept."""
        cache = self.cache
        position = cache.length
        cache.check_room(1)
        x = self.embed(token)
        cos = sin = np.empty(0, np.float32)
        if self.rope is None:
            x = x + self.places[position]
        else:
            rotation = self.rope.at(position, x[None])
            half = rotation.cos.shape[-1] // 2
            cos, sin = rotation.cos[0, :half].numpy(), rotation.sin[0, half:].numpy()
        self.shared.x[:] = x.numpy()
        logits = torch.empty(1, self.vocabulary)
        given = (position, self.weights, self.where, cos, sin, self.shared, logits[0].numpy())
        threads = self.pace.threads(torch.get_num_threads())
        start = perf_counter()
        run_together(self.run, given, threads)
        self.pace.took(threads, perf_counter() - start)
        cache.commit(1)
        return logits


def plain(model: nn.Module, cache: KVCache) -> bool:
    """Whether nothing watches or changes what the layers of the model do, and all stands in float32 on a CPU."""
    if _len_torch_dispatch_stack() or _len_torch_function_stack() or torch.is_autocast_enabled("cpu"):
        return False
    if chosen_backend() != "auto" or dict(RUN) != _OWN_ATTENTION or kernels_mode() == "always":
        return False
    keys = cache.keys[0]
    if (
        cache.batch_size != 1
        or cache.attention_mask is not None
        or keys.dtype != torch.float32
        or keys.device.type != "cpu"
    ):
        return False
    for module in model.modules():
        if module._forward_hooks or module._forward_pre_hooks or not is_own(module):
            return False
    return True


def _weights(model: GPT2 | Llama) -> Any:
    """The addresses of all that a step reads, or None where a layer is of a kind that it has no loop for."""
    body, blocks = model.body, list(model.body.blocks)
    llama = isinstance(model, Llama)
    first = blocks[0].attention
    wanted = (RMSNorm, SwiGLU) if llama else (LayerNorm, FeedForward)
    for block in blocks:
        a, f = block.attention, block.feed_forward
        if (type(block), type(a), type(block.norm1), type(f)) != (
            DecoderBlock,
            MultiHeadAttention,
            wanted[0],
            wanted[1],
        ):
            return None
        if (a.heads, a.kv_heads, a.head_dim) != (first.heads, first.kv_heads, first.head_dim):
            return None
        if f.activation not in ((F.silu,) if llama else (GELU_TANH, fast_gelu)):
            return None
    if llama and (body.rope.interleaved or body.rope.scaling["rope_type"] == "dynamic"):
        return None
    a = [block.attention for block in blocks]
    f = [block.feed_forward for block in blocks]
    lines = {
        "q": [one.q_proj for one in a],
        "k": [one.k_proj for one in a],
        "v": [one.v_proj for one in a],
        "o": [one.o_proj for one in a],
        "up": [one.up_proj for one in f],
        "down": [one.down_proj for one in f],
        "head": [model.head],
    }
    if llama:
        lines["gate"] = [one.gate_proj for one in f]
    parts: dict[str, Any] = {name: _linear(layers) for name, layers in lines.items()}
    if any(part is None or part.matrix is None for part in parts.values()):
        return None
    norms = {
        "norm1": [block.norm1.weight for block in blocks],
        "norm2": [block.norm2.weight for block in blocks],
        "norm": [body.norm.weight],
        "q_norm": [None if one.q_norm is None else one.q_norm.weight for one in a],
        "k_norm": [None if one.k_norm is None else one.k_norm.weight for one in a],
    }
    if not llama:
        norms |= {
            "bias1": [block.norm1.bias for block in blocks],
            "bias2": [block.norm2.bias for block in blocks],
            "bias": [body.norm.bias],
        }
    for name, tensors in norms.items():
        if not _floats(tensors):
            return None
        parts[name] = _addresses(tensors)
    if type(body.tokens) is nn.Embedding and not _floats([body.tokens.weight]):
        return None
    if type(body.tokens) not in (nn.Embedding, PackedEmbedding):
        return None
    far = np.iinfo(np.int64).max // 2
    parts |= {
        "layers": len(blocks),
        "eps": np.float32(body.norm.eps),
        "heads": first.heads,
        "kv_heads": first.kv_heads,
        "head_dim": first.head_dim,
        "windows": np.array([far if window is None else window for window in body.windows]),
        "scales": np.array([one.head_dim**-0.5 if one.scale is None else one.scale for one in a], np.float32),
    }
    return (layout.LlamaAt if llama else layout.GPT2At)(**parts)


def _linear(layers: list[nn.Module]) -> layout.Linear | None:
    """Layers of one kind as the step reads them."""
    kind, shape = type(layers[0]), (layers[0].out_features, layers[0].in_features)
    if any(type(one) is not kind or (one.out_features, one.in_features) != shape for one in layers):
        return None
    if not _floats([one.bias for one in layers]):
        return None
    if kind is nn.Linear:
        tensors = [one.weight for one in layers]
        if not _floats(tensors):
            return None
        matrix: Any = layout.Floats(_addresses(tensors), *shape)
    elif kind is Int8Linear:
        codes, scales = [one.codes for one in layers], [one.scale for one in layers]
        if not _floats(scales) or not _floats(codes, torch.int8):
            return None
        matrix = layout.Bytes(_addresses(codes), _addresses(scales), *shape)
    elif kind is PackedLinear:
        matrix = _packed(layers)
    elif kind in (FourBitLinear, GroupLinear):
        matrix = _codes(layers)
    else:
        return None
    return layout.Linear(matrix, _addresses([one.bias for one in layers]))


def _packed(layers: list[PackedLinear]) -> Any:
    """Packed layers of one kind, which have the same number of bits, or None."""
    parts = [[getattr(one, name) for one in layers] for name in ("codes", "scales", "lows")]
    codes, scales, lows = parts
    if len({(one.shape, one.dtype) for one in codes}) != 1:
        return None
    if not _floats(scales, torch.float16) or not _floats(lows, torch.float16):
        return None
    B, G, _, R = codes[0].shape
    if lows[0] is None:
        return layout.Groups8(_addresses(codes), _addresses(scales), B, G, R)
    return layout.Groups4(*map(_addresses, parts), B, G, R)


def _codes(layers: list[Any]) -> Any:
    """Layers of 4-bit codes whose rows stand side by side, in the same groups, or None."""
    first = layers[0]
    third = "codebook" if type(first) is FourBitLinear else "zeros"
    codes, scales, others = ([getattr(one, name) for one in layers] for name in ("codes", "scales", third))
    if not all(one.has_loops() and one.group_bytes == first.group_bytes for one in layers):
        return None
    if len({one.shape for one in codes}) != 1 or not _floats(scales) or not _floats(codes, torch.uint8):
        return None
    if not _floats(others, torch.float32 if third == "codebook" else torch.uint8):
        return None
    kind = layout.Table4 if third == "codebook" else layout.Even4
    shape, groups = tuple(codes[0].shape), scales[0].shape[1]
    return kind(_addresses(codes), _addresses(scales), _addresses(others), shape, groups, first.group_bytes)


def _floats(tensors: list[Tensor | None], dtype: torch.dtype = torch.float32) -> bool:
    return all(
        t is None or (t.dtype == dtype and t.device.type == "cpu" and t.is_contiguous()) for t in tensors
    )


def _addresses(tensors: list[Tensor | None]) -> np.ndarray:
    return np.array([0 if tensor is None else tensor.data_ptr() for tensor in tensors], np.int64)


def _as_numbers(part: Any, tables: list[np.ndarray]) -> Any:
    """The same with the address of each table of addresses in its place; the tables are put into `tables`.

    Compiled code passes an array on as seven numbers, and counts who holds it: with forty of them, that takes long to
    compile.
    """
    if isinstance(part, np.ndarray) and part.dtype == np.int64:
        tables.append(part)
        return part.ctypes.data
    return type(part)(*(_as_numbers(one, tables) for one in part)) if hasattr(part, "_fields") else part
