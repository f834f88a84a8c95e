"""Which two coordinates RoPE turns together, and how weights made for one pairing are made fit for the other.

    halves       (0, D/2), (1, D/2 + 1), ...     Hugging Face's Llama and its family
    neighbours   (0, 1), (2, 3), ...             the paper, Meta's own Llama files, llama2.c, GPT-J

    halves -> neighbours:   rows 0, D/2, 1, D/2 + 1, ...      neighbours -> halves:   rows 0, 2, 4, ... 1, 3, 5, ...

q·k adds up products of coordinates, so it does not mind in which order they stand, if q and k have the same order. The
rows of W_q and W_k decide the order: moved rows and the other pairing give the same scores. With the rows left as they
are, the model loads without an error and predicts badly. Values and W_o are not turned, and stay.
Book 8.2.3 상대적 위치 인코딩. Held against complex numbers and transformers' Llama, Qwen2 and Qwen3.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from minillm._checks import check_flag, check_int, describe


def to_interleaved(weight: Tensor, heads: int = 1) -> Tensor:
    """Rows (heads · D, ...) of a projection made for halves, in the order for neighbours: 0, D/2, 1, D/2 + 1, ...

    A bias (heads · D,) and the weight (D,) of a norm of heads are reordered likewise. ValueError for rows that are
    not `heads` times an even D.
    """
    _check_rows(weight, heads)
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def to_halves(weight: Tensor, heads: int = 1) -> Tensor:
    """The way back: rows made for neighbours, in the order for halves: 0, 2, 4, ... 1, 3, 5, ... inside each head."""
    _check_rows(weight, heads)
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _check_rows(weight: Tensor, heads: int) -> None:
    check_int("heads", heads, 1)
    if not isinstance(weight, Tensor) or weight.dim() < 1 or not len(weight) or len(weight) % (2 * heads):
        raise ValueError(f"weight must have {heads} times an even number of rows, got {describe(weight)}")


def convert_pairing(
    state: Mapping[str, Tensor], heads: int, kv_heads: int | None = None, *, interleaved: bool
) -> dict[str, Tensor]:
    """The tensors of an attention layer, or of a whole model, made for the other pairing.

    state: names as in a state_dict or a Hugging Face folder. What ends in q_proj.weight, q_proj.bias, q_norm.weight,
    and the same of k, is reordered; the rest is handed on as it is. interleaved: True goes from halves to neighbours,
    False back. kv_heads: of k_proj, as many as `heads` by default. ValueError as above, or if nothing is reordered.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"state must be a dict of tensors, got {describe(state)}")
    turn = to_interleaved if check_flag("interleaved", interleaved) else to_halves
    counts = {"q_proj": heads, "k_proj": heads if kv_heads is None else kv_heads, "q_norm": 1, "k_norm": 1}
    converted = dict(state)
    for name, tensor in state.items():
        part, _, kind = name.rpartition(".")
        part = part.rpartition(".")[-1]
        if part in counts and kind in ("weight", "bias"):
            converted[name] = turn(tensor, counts[part])
    if all(converted[name] is tensor for name, tensor in state.items()):
        raise ValueError(f"state must hold q_proj and k_proj of an attention layer, got {sorted(state)[:5]}")
    return converted
