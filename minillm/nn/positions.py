"""Where a token stands (위치 인코딩): a vector added to the input, and what attention may ask of positions.

    sinusoid:  P[t, 2i] = sin(t / 10000^(2i/C)),  P[t, 2i+1] = cos(t / 10000^(2i/C))        x + P
    learned:   P[t] = a row of a trained table                                              x + P

Attention alone cannot tell orders of words apart. Relative positions work inside attention: rope.py turns q and k,
alibi.py adds a bias to the scores; both are a PositionScheme.
Book 2.2 텍스트를 임베딩으로 변환하기 (2.2.3 위치 인코딩). Paper: Vaswani et al. 2017. Held against closed forms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minillm._checks import check_int, check_number, describe

# Added to the input


def sinusoids(length: int, width: int, base: float = 10000.0) -> Tensor:
    """Float32 (length, width): column pairs (sin, cos) of wavelengths from 2π to base·2π tokens."""
    check_int("length", length, 1)
    if check_int("width", width, 2) % 2:
        raise ValueError(f"width must be even, one sine and one cosine a wavelength, got {width}")
    check_number("base", base, 1.0)
    # angle[t, i] = t / base^(2i / C). On the CPU by name: a model that is opened is built without memory ("meta")
    # first, and what no file stores must be real from the start.
    frequencies = base ** (-torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)  # (C/2,)
    angles = torch.arange(length, dtype=torch.float64, device="cpu")[:, None] * frequencies  # (T, C/2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()  # (T, C)


def _check_hidden(x: Tensor, start: int, length: int, width: int) -> None:
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != width or not x.is_floating_point():
        raise ValueError(f"x must be a float tensor (B, T, {width}), got {describe(x)}")
    if check_int("start", start) < 0 or start + x.shape[1] > length:
        raise ValueError(
            f"positions {start} to {start + x.shape[1] - 1} do not fit into the {length} there are"
        )


class SinusoidalPosition(nn.Module):
    """Adds fixed waves to x (B, T, C); nothing is learned. ValueError past `max_length` positions."""

    def __init__(self, max_length: int, width: int):
        super().__init__()
        self.register_buffer("table", sinusoids(max_length, width), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (B, T, C) + P[start : start + T] -> (B, T, C)."""
        _check_hidden(x, start, *self.table.shape)
        return x + self.table[start : start + x.shape[1]].to(x.dtype)


class LearnedPosition(nn.Module):
    """Adds a trained row per position to x (B, T, C), as GPT-2 does. ValueError past `max_length` positions."""

    def __init__(self, max_length: int, width: int):
        super().__init__()
        self.table = nn.Embedding(check_int("max_length", max_length, 1), check_int("width", width, 1))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (B, T, C) + P[start : start + T] -> (B, T, C)."""
        _check_hidden(x, start, self.table.num_embeddings, self.table.embedding_dim)
        return x + self.table.weight[start : start + x.shape[1]]


# What attention asks of positions


class Position:
    """Where the tokens of one forward pass stand. A model makes one and hands it to all its layers."""

    def turn(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q (B, H, T, D) and k (B, K, T, D) with their positions in them; here: as they came."""
        return q, k

    def bias(self) -> Tensor | None:
        """What is added to the scores, broadcastable to (B, H, T, S); here: nothing."""
        return None


class ScoreBias(Position):
    """What the distances of one forward pass add to the scores."""

    def __init__(self, added: Tensor):
        self.added = added

    def bias(self) -> Tensor:
        """(1, H, T, S)."""
        return self.added


class PositionScheme(nn.Module):
    """A way to say where tokens stand, made once; `at` applies it to the tokens of one forward pass."""

    def check_heads(self, heads: int, head_dim: int) -> None:
        """ValueError if a layer with so many heads of this width cannot use it."""
        raise NotImplementedError

    def at(self, positions: int | Tensor, x: Tensor, keys: int) -> Position:
        """The Position of the T tokens of x (..., T, width).

        positions: of the first token, or a LongTensor (T,) or (B, T). keys: S, the tokens that will be looked at,
        those of x the last of them. Device and dtype are those of x. ValueError for other positions.
        """
        raise NotImplementedError
