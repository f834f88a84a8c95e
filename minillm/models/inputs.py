"""What comes into a model, checked before any work: tokens, where they stand, which of them are padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm._kernels import autocast_dtype
from minillm.nn.attention import padding_mask

if TYPE_CHECKING:
    from minillm.models.base import PretrainedModel


def check_ids(name: str, ids: Tensor | None) -> tuple[int, int]:
    """B and T of ids (B, T) int64; ValueError if they are none."""
    if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2:
        raise ValueError(f"{name} must be a LongTensor (B, T), got {describe(ids)}")
    if not ids.numel():
        raise ValueError(f"{name} must hold at least one token, got shape {tuple(ids.shape)}")
    return ids.shape


def check_tokens(
    model: PretrainedModel,
    ids: Tensor | None,
    embeds: Tensor | None,
    position_ids: Tensor | None = None,
    past: int = 0,
    places: int | None = None,
) -> tuple[int, int]:
    """B and T of ids (B, T) int64, or of embeds (B, T, C) in their place, that follow `past` tokens.

    position_ids: None or int64 (T,), (1, T) or (B, T), each below `places` (the model's longest text). Raises
    ValueError for anything the model cannot take; of the ids themselves `look_up` says it.
    """
    if (ids is None) == (embeds is None):
        raise ValueError(
            f"give either input_ids or inputs_embeds, got {describe(ids)} and {describe(embeds)}"
        )
    if embeds is None:
        check_ids("input_ids", ids)
    elif (
        not isinstance(embeds, Tensor)
        or not embeds.is_floating_point()
        or embeds.dim() != 3
        or embeds.shape[2] != model.config.width
    ):
        raise ValueError(
            f"inputs_embeds must be a float tensor (B, T, {model.config.width}), got {describe(embeds)}"
        )
    elif embeds.dtype != model.dtype and autocast_dtype(embeds) is None:
        raise ValueError(f"inputs_embeds must have the model's dtype {model.dtype}, got {describe(embeds)}")
    B, T = shape = (ids if embeds is None else embeds).shape[:2]
    if not B * T:
        raise ValueError(f"input_ids must hold at least one token, got shape {tuple(shape)}")
    longest = model.config.max_length
    if past + T > longest:
        raise ValueError(f"{past + T} tokens do not fit into the context window of {longest}")
    if position_ids is not None:
        if (
            not isinstance(position_ids, Tensor)
            or position_ids.dtype != torch.int64
            or position_ids.shape not in ((T,), (1, T), shape)
        ):
            raise ValueError(
                f"position_ids must be a LongTensor {tuple(shape)}, got {describe(position_ids)}"
            )
        low, high = (int(n) for n in position_ids.aminmax())
        places = longest if places is None else places
        if low < 0 or high >= places:
            raise ValueError(f"position_ids must lie in 0..{places - 1}, got {low}..{high}")
    return B, T


def check_padding(
    attention_mask: Tensor | None, B: int, S: int, name: str = "attention_mask"
) -> Tensor | None:
    """Bool (B, 1, 1, S), True = token, of an attention_mask (B, S) of 0 and 1; None if nothing is hidden."""
    if attention_mask is None:
        return None
    padding = padding_mask(attention_mask)  # (B, 1, 1, S)
    if padding.shape != (B, 1, 1, S):
        raise ValueError(f"{name} must have shape {(B, S)}, got {tuple(attention_mask.shape)}")
    return None if bool(padding.all()) else padding  # nothing is hidden: keep the fast path


def check_pairs(mask: Tensor, B: int, T: int, S: int) -> Tensor:
    """A mask that says for each pair of tokens whether one may see the other: bool (B, 1, T, S), or ValueError."""
    if mask.dtype != torch.bool or mask.shape != (B, 1, T, S):
        raise ValueError(f"a mask of pairs must be a bool tensor {(B, 1, T, S)}, got {describe(mask)}")
    return mask


def look_up(table: nn.Embedding, ids: Tensor, name: str = "ids") -> Tensor:
    """The table's rows (B, T, C) of ids (B, T); ValueError for ids that it does not have."""
    try:
        return table(ids)
    except IndexError:
        low, high = (int(n) for n in ids.aminmax())
        raise ValueError(f"{name} must lie in 0..{table.num_embeddings - 1}, got {low}..{high}") from None
