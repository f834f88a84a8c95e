"""Calibration (보정): what the linear layers of a model see on real text, block by block.

    second = mean of x xᵀ  (I, I)        size = mean of |x|  (I,)        over all tokens x (I,) that reach a layer

GPTQ and AWQ need no more than these two. They are gathered for one block at a time: its inputs for all calibration
text are kept, the block is quantized, and its outputs are the next block's inputs.

    sequential        the outputs of the quantized block: later layers are fitted to what they will really see
    otherwise         the outputs of the float block: every layer is quantized as if it were the only one

Book: 7.2 양자화로 모델 용량 줄이기. Held against the inputs of torch's own forward hooks on the whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minillm._checks import describe, is_listing
from minillm.models.decoder import CausalLM

LENGTH = 512  # tokens of a window of calibration text, if the model takes as many
BATCH = 4  # windows a pass


class Moments(NamedTuple):
    """What is known of the inputs of a layer: second (I, I), size (I,), both float32, and of how many tokens."""

    second: Tensor
    size: Tensor
    tokens: int


class _Reached(Exception):
    """The first block has been reached, the others are not needed."""


def calibration_windows(model: nn.Module, calibration: Any, tokenizer: Any = None) -> Tensor:
    """Token ids (N, T) of calibration text: ids, a row of ids for each text, or texts and their tokenizer."""
    if not isinstance(model, CausalLM):
        raise ValueError(f"calibration takes a GPT2 or Llama with its head, got {describe(model)}")
    texts = [calibration] if isinstance(calibration, str) else calibration
    if texts is None or not is_listing(texts) or not len(texts):
        raise ValueError(f"calibration must be token ids or texts, got {describe(calibration)}")
    if all(isinstance(text, str) for text in texts):
        if not hasattr(tokenizer, "encode"):
            raise ValueError(f"texts need the model's tokenizer, got tokenizer={describe(tokenizer)}")
        texts = [tokenizer.encode(text) for text in texts]
    try:
        rows = [torch.as_tensor(row).reshape(-1) for row in texts]
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"calibration must be token ids or texts, got {describe(calibration)}") from None
    ids = torch.cat(rows)
    vocabulary = model.config.vocab_size
    if (
        ids.dtype not in (torch.int64, torch.int32)
        or not len(ids)
        or ids.min() < 0
        or ids.max() >= vocabulary
    ):
        raise ValueError(
            f"calibration must hold token ids from 0 to {vocabulary - 1}, got {describe(calibration)}"
        )
    length = min(LENGTH, model.config.max_length, len(ids))
    whole = len(ids) // length * length
    return ids[:whole].long().view(-1, length)


def visit_blocks(
    model: CausalLM,
    windows: Tensor,
    names: Sequence[str],
    visit: Callable[[str, list[list[str]], dict[str, Moments]], None],
    sequential: bool,
    staged: bool,
) -> None:
    """Call `visit(block, stages, moments)` for every block from first to last; visit may replace its layers.

    block: its name. stages: its layers among `names`, those that share an input together, in order of use. moments:
    by the name of each layer. staged: stage by stage instead of the whole block at once, so that (if sequential)
    layers see what the quantized ones before them in the block give.
    """
    states, keywords = _inputs_of_blocks(model, windows)
    for number, block in enumerate(model.body.blocks):
        prefix = f"body.blocks.{number}"
        inside = [name.removeprefix(f"{prefix}.") for name in names if name.startswith(f"{prefix}.")]
        stages = _stages(block, inside, states[0], keywords[number])
        after = None if sequential else _run(block, states, keywords[number])
        for part in [[stage] for stage in stages] if staged else [stages]:
            moments = _moments(block, part, states, keywords[number])
            full = [[f"{prefix}.{name}" for name in stage] for stage in part]
            visit(prefix, full, {f"{prefix}.{name}": found for name, found in moments.items()})
        states = _run(block, states, keywords[number]) if after is None else after


def _inputs_of_blocks(model: CausalLM, windows: Tensor) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """What enters the first block, a batch each, and what every block is given beside it."""
    blocks, states, keywords = model.body.blocks, [], []

    def first(_: nn.Module, arguments: tuple[Tensor, ...], __: dict[str, Any]) -> None:
        states.append(arguments[0])
        if len(states) > 1:
            raise _Reached

    def each(_: nn.Module, __: tuple[Tensor, ...], given: dict[str, Any]) -> None:
        keywords.append(given)  # no padding: the same for every batch

    hooks = [block.register_forward_pre_hook(each, with_kwargs=True) for block in blocks]
    hooks.append(blocks[0].register_forward_pre_hook(first, with_kwargs=True, prepend=True))
    device = next(model.parameters()).device
    try:
        for batch in windows.to(device).split(BATCH):
            with suppress(_Reached):
                model.body(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return states, keywords


def _stages(block: nn.Module, names: list[str], x: Tensor, keywords: dict[str, Any]) -> list[list[str]]:
    """The layers called `names`, in order of use, together where they are given the very same tensor."""
    seen: list[tuple[Tensor, list[str]]] = []

    def remember(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            for given, together in seen:
                if given is arguments[0]:
                    together.append(name)
                    return
            seen.append((arguments[0], [name]))

        return hook

    hooks = [block.get_submodule(name).register_forward_pre_hook(remember(name)) for name in names]
    try:
        block(x[:1], **keywords)
    finally:
        for handle in hooks:
            handle.remove()
    return [together for _, together in seen]


def _moments(
    block: nn.Module, stages: list[list[str]], states: list[Tensor], keywords: dict[str, Any]
) -> dict[str, Moments]:
    """The moments of the inputs of all layers in `stages`, worked out once for those that share them."""
    sums: dict[str, list[Any]] = {stage[0]: [0, 0, 0] for stage in stages}

    def add(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            x = arguments[0].flatten(0, -2).float()  # (tokens, I)
            total = sums[name]
            total[0], total[1], total[2] = total[0] + x.T @ x, total[1] + x.abs().sum(0), total[2] + len(x)

        return hook

    hooks = [block.get_submodule(name).register_forward_pre_hook(add(name)) for name in sums]
    try:
        _run(block, states, keywords)
    finally:
        for handle in hooks:
            handle.remove()
    found = {}
    for stage in stages:
        second, size, tokens = sums[stage[0]]
        if not second.isfinite().all():
            raise ValueError(
                f"calibration makes inf or NaN of what reaches {stage[0]}: are the weights finite?"
            )
        found |= dict.fromkeys(stage, Moments(second / tokens, size / tokens, tokens))
    return found


def _run(block: nn.Module, states: list[Tensor], keywords: dict[str, Any]) -> list[Tensor]:
    return [block(x, **keywords) for x in states]
