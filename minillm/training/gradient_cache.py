"""Gradient caching: the loss of a large batch, of which only a small piece is in memory at a time.

    1.  u, v = embed(every piece), without a graph                    only the vectors are kept
    2.  L = loss(u, v);   g = dL/du, dL/dv                            the graph of the loss alone, which is small
    3.  for each piece:  embed it again, with its graph;  backward from g[piece]

A contrastive loss cannot be cut as others can: every text of the batch is a wrong answer to all others, so half a batch
has half of the wrong answers. But it sees texts through their vectors alone, and by the chain rule
dL/dw = sum over texts i of dL/du_i du_i/dw: once the first factor is known, the texts may come one after the other.
The price is a second forward pass. Dropout draws the same in both: the state of the random generators is kept.

Book: 11.3 임베딩 모델 미세 조정하기. Paper: Gao, Zhang, Han and Callan 2021 (GradCache).
Held against: sentence_transformers' CachedMultipleNegativesRankingLoss. Leaves out: pieces by number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_int, describe
from minillm.training.surroundings import Surroundings

Column = Mapping[str, Tensor]  # tensors of one text a row: ids (B, T), mask (B, T), ...


def cached_loss(
    embed: Callable[[Column], Tensor],
    columns: Sequence[Column],
    loss: Callable[..., Tensor],
    size: int,
) -> Tensor:
    """loss(*[embed(column) for column in columns]): the same value and the same gradients, in pieces of `size` rows.

    columns: dicts of tensors (B, ...), B texts each; every column has a B of its own. embed: a column of B texts to
    vectors (B, D); float32, even under autocast, as the first gradients are made before a loss is scaled. loss: of the
    vectors of each column, a scalar. The gradients of embed's weights are added to their `.grad` when `backward` is
    called on what comes back, whatever it was multiplied by; nothing else may be asked of its graph. Without gradients
    (evaluation) it is only computed in pieces. Raises ValueError for a size below 1, columns that are none, vectors
    that are not one row of floats a text, and a loss that is no scalar.
    """
    size = check_int("size", size, 1)
    for name, function in (("embed", embed), ("loss", loss)):
        if not callable(function):
            raise ValueError(f"{name} must be a function, got {describe(function)}")
    listed = isinstance(columns, Sequence) and len(columns) > 0
    if not listed or not all(map(is_column, columns)):
        raise ValueError(
            "columns must be dicts of tensors, one a column, whose tensors have a row for every text, got "
            f"{describe(columns)}"
        )
    pieces = [cut(column, size) for column in columns]
    # 1. the vectors alone
    vectors, states = zip(*(embed_without_graph(embed, column) for column in pieces))
    trains = torch.is_grad_enabled()
    # 2. how the loss changes with each vector
    value = loss(*(one.requires_grad_(trains) for one in vectors))
    if not isinstance(value, Tensor) or value.ndim or value.requires_grad != trains:
        raise ValueError(f"loss must give a scalar tensor that depends on the vectors, got {describe(value)}")
    if not trains:
        return value
    gradients = torch.autograd.grad(value, vectors, materialize_grads=True)

    def way_back(upstream: Tensor) -> None:  # 3. piece by piece
        for column, known, gradient in zip(pieces, states, gradients):
            for piece, state, part in zip(column, known, gradient.split(size)):
                with state.again():
                    again = embed(piece)
                if again.requires_grad:  # where every weight is frozen it does not
                    again.backward(part * upstream)

    result = value.detach().requires_grad_()
    result.register_hook(way_back)
    return result


def is_column(value: Any) -> bool:
    """Whether `value` is a dict of tensors that all have the same number of rows, at least one."""
    tensors = list(value.values()) if isinstance(value, Mapping) else []
    rows = {len(one) if isinstance(one, Tensor) and one.ndim else 0 for one in tensors}
    return len(rows) == 1 and 0 not in rows


def cut(column: Column, size: int) -> list[dict[str, Tensor]]:
    """The column in pieces of at most `size` rows."""
    rows = len(next(iter(column.values())))
    return [
        {name: tensor[start : start + size] for name, tensor in column.items()}
        for start in range(0, rows, size)
    ]


@torch.no_grad()
def embed_without_graph(
    embed: Callable[[Column], Tensor], pieces: Sequence[Column]
) -> tuple[Tensor, list[Surroundings]]:
    """(vectors (B, D) of all pieces, what each piece's pass depended on besides its inputs)."""
    parts, states = [], []
    for piece in pieces:
        states.append(Surroundings(next(iter(piece.values())).device))
        parts.append(check_vectors(embed(piece), piece))
    return torch.cat(parts), states


def check_vectors(vectors: Any, piece: Column) -> Tensor:
    """`vectors` if they are floats (b, D), a row for each of a piece's b texts."""
    rows = len(next(iter(piece.values())))
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != rows:
        raise ValueError(f"embed must give vectors ({rows}, D) of {rows} texts, got {describe(vectors)}")
    if not vectors.is_floating_point():
        raise ValueError(f"embed must give vectors of floats, got {describe(vectors)}")
    return vectors
