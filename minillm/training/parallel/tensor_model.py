"""A language model of ours, cut for tensor parallel training in place: its layers by heads, by columns and by words.

    attention      q, k, v by columns, o by rows: H / n heads a rank           tokens   by words
    feed-forward   gate and up by columns, down by rows                        head     by words: logits (B, T, V / n)
    norms          whole on every rank; their gradients are the same everywhere

Book: 5.3 분산 학습과 ZeRO. Paper: Shoeybi et al. 2019. Held against: one process. Leaves out: dropout (each rank would
draw its own), vocabularies that do not divide, caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from minillm._checks import describe
from minillm.models.decoder import CausalLM
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import DecoderBlock, FeedForward, SwiGLU
from minillm.training.objectives import CausalLMObjective
from minillm.training.parallel.group import place, same_start
from minillm.training.parallel.tensor_layers import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabParallelEmbedding,
    copied,
    joined_parts,
    summed,
    vocab_parallel_cross_entropy,
)


def tensor_parallel(model: CausalLM, group: Any = None) -> CausalLM:
    """Cut a GPT2 or Llama in place, from the weights of rank 0; returns it.

    Called with the same ids on every rank, it gives this rank's logits (B, T, V / n), for
    `vocab_parallel_cross_entropy`. ValueError, before anything is cut, for sizes that do not divide by the ranks, for
    dropout, and for another model.
    """
    _check(model, place(group)[1])
    same_start(model, group)
    for block in model.body.blocks:
        _cut_attention(block.attention, group)
        _cut_feed_forward(block.feed_forward, group)
    tied = model.head.weight is model.body.tokens.weight
    model.body.tokens = VocabParallelEmbedding.of(model.body.tokens, group)
    model.head = ColumnParallelLinear.of(model.head, group=group)
    if tied:
        model.head.weight = model.body.tokens.weight
    return model


def tensor_parallel_loss(model: CausalLM, batch: Mapping[str, Tensor], group: Any = None) -> Tensor:
    """The loss of a causal language model that was cut: mean over all targets, in nats, 0-d. As CausalLMObjective."""
    logits = model(**CausalLMObjective().inputs(batch)).logits  # (B, L - 1, V / n)
    return vocab_parallel_cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), group=group)


def whole_state_dict(model: nn.Module, group: Any = None) -> dict[str, Tensor]:
    """The weights of a model that was cut, put together again on every rank. All ranks come here."""
    cut = {
        f"{name}.{part}".lstrip("."): axis
        for name, module in model.named_modules()
        for part, axis in getattr(module, "cut", {}).items()
    }
    return {
        name: joined_parts(tensor, cut[name], group) if name in cut else tensor.detach().clone()
        for name, tensor in model.state_dict().items()
    }


def _cut_attention(attention: MultiHeadAttention, group: Any) -> None:
    _, ranks = place(group)
    attention.register_forward_pre_hook(partial(_copy_first, group))
    for name in ("q_proj", "k_proj", "v_proj"):
        layer = ColumnParallelLinear.of(getattr(attention, name), copies_input=False, group=group)
        setattr(attention, name, layer)
    attention.o_proj = RowParallelLinear.of(attention.o_proj, group=group)
    attention.heads //= ranks
    attention.kv_heads //= ranks
    for norm in (attention.q_norm, attention.k_norm):
        if norm is not None:  # each rank's heads say a part of its gradient
            norm.weight.register_hook(partial(summed, group=group))


def _cut_feed_forward(layer: FeedForward | SwiGLU, group: Any) -> None:
    layer.register_forward_pre_hook(partial(_copy_first, group))
    for name in ("gate_proj", "up_proj"):
        if hasattr(layer, name):
            part = ColumnParallelLinear.of(getattr(layer, name), copies_input=False, group=group)
            setattr(layer, name, part)
    layer.down_proj = RowParallelLinear.of(layer.down_proj, group=group)


def _copy_first(group: Any, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """One copy for all the layers that read x: one sum in the backward pass."""
    return (copied(args[0], group), *args[1:])


def _check(model: Any, ranks: int) -> None:
    if not isinstance(model, CausalLM) or not all(type(one) is DecoderBlock for one in model.body.blocks):
        raise ValueError(f"the model must be a GPT2 or a Llama, got {describe(type(model).__name__)}")
    sizes = {"the vocabulary": model.body.tokens.num_embeddings}
    for number, block in enumerate(model.body.blocks):
        attention, layer = block.attention, block.feed_forward
        if block.cross_attention is not None or not isinstance(layer, (FeedForward, SwiGLU)):
            raise ValueError(
                f"block {number} must have self-attention and a FeedForward or SwiGLU, it has others"
            )
        sizes |= {f"the heads of block {number}": attention.heads}
        sizes |= {f"the key/value heads of block {number}": attention.kv_heads}
        sizes |= {f"the hidden width of block {number}": layer.up_proj.out_features}
        if attention.dropout:
            raise ValueError(
                f"dropout must be 0 in a model that is cut, block {number} has {attention.dropout}"
            )
    wrong = [f"{name} ({size})" for name, size in sizes.items() if size % ranks]
    if wrong:
        raise ValueError(f"sizes must divide by {ranks} ranks, these do not: {', '.join(wrong[:4])}")
    if any(isinstance(one, nn.Dropout) and one.p for one in model.modules()):
        raise ValueError("dropout must be 0 in a model that is cut: each rank would draw its own")
