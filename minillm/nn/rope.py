"""RoPE, rotary positions (로터리 위치 임베딩): q and k are turned, pair by pair, by angles that grow with the position.

    (a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ),   θ = t · base^(-2i/D) for pair i

q is turned by its position t and k by its position s. q·k then depends on t - s alone: the score knows distances, not
places. Two coordinates make a pair in one of two ways; pairing.py converts weights between them. Longer windows:
rope_scaling.py. Book 2.2.3 위치 인코딩, 8.2.3 상대적 위치 인코딩. Paper: Su et al. 2021. Held against
complex numbers, and transformers' Llama (halves) and GPT-J (neighbours).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int, check_number, describe
from minillm.nn.positions import Position, PositionScheme
from minillm.nn.rope_scaling import check_scaling, scaled_frequencies


def check_angles(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """ValueError unless x is a float tensor (..., D), D even, and cos and sin have D/2 columns and fit to it."""
    if not isinstance(x, Tensor) or x.dim() == 0 or x.shape[-1] % 2 or not x.is_floating_point():
        raise ValueError(f"x must be a float tensor (..., T, D) with an even D, got {describe(x)}")
    for name, one in (("cos", cos), ("sin", sin)):
        fits = isinstance(one, Tensor) and one.dim() > 0 and one.shape[-1] == x.shape[-1] // 2
        if not fits or any(n != m and 1 not in (n, m) for n, m in zip(one.shape[-2::-1], x.shape[-2::-1])):
            raise ValueError(
                f"{name} must be (..., T, {x.shape[-1] // 2}) for x {tuple(x.shape)}, got {describe(one)}"
            )


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + D/2) of x (..., T, D) by angles whose cos and sin are (..., T, D/2).

    ValueError for an odd D and for angles of another width.
    """
    check_angles(x, cos, sin)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotate_neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i + 1) of x (..., T, D) by angles whose cos and sin are (..., T, D/2); errors as there."""
    check_angles(x, cos, sin)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def turning_table(frequencies: Tensor, rows: int, interleaved: bool) -> tuple[Tensor, Tensor]:
    """cos and signed sin (see Rotation) of the positions 0 ... rows - 1, each (rows, D), from frequencies (D/2,).

    ValueError for a negative number of rows, and for frequencies of another shape.
    """
    if not isinstance(frequencies, Tensor) or frequencies.dim() != 1:
        raise ValueError(f"frequencies must be a float tensor (D/2,), got {describe(frequencies)}")
    check_int("rows", rows, 0)
    # θ[t, i] = t · frequency_i, in float32: in 16 bits far positions would fall together
    angles = torch.arange(rows, device=frequencies.device).float()[:, None] * frequencies  # (rows, D/2)
    cos, sin = angles.cos(), angles.sin()
    pair = torch.stack if interleaved else torch.cat
    return pair((cos, cos), dim=-1).flatten(1), pair((-sin, sin), dim=-1).flatten(1)


class Rotation(Position):
    """The turns of one forward pass: cos and signed sin (T, D) or (B, 1, T, D), and which pairs they turn.

    Both are written out for all D coordinates, minus in front of the sin of each pair's first one, so that
    turning is (a, b) · cos + (b, a) · (-sin, sin): three passes over q instead of `rotate_halves`' seven.
    """

    def __init__(self, cos: Tensor, sin: Tensor, interleaved: bool):
        self.cos, self.sin, self.interleaved = cos, sin, interleaved

    def turn(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q (B, H, T, D) and k (B, K, T, D), turned."""
        return self._turn(q), self._turn(k)

    def _turn(self, x: Tensor) -> Tensor:
        if self.interleaved:
            swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)  # (a, b) -> (b, a)
        else:
            swapped = x.roll(x.shape[-1] // 2, dims=-1)
        return torch.addcmul(x * self.cos, swapped, self.sin)


class RoPE(PositionScheme):
    """Rotary positions for heads of even width `dim`.

    Two pairings of coordinates: halves (i, i + D/2) as in Hugging Face models, neighbours (2i, 2i+1) as in the
    paper (`interleaved`). scaling: None or a dict with Hugging Face's keys ("rope_type" of "linear", "dynamic",
    "llama3", "yarn"; "factor"; ...). No parameters: cos and sin are tables that grow on demand. With "dynamic"
    scaling and a cache, keys rotated before the window was outgrown stay as they are (as in transformers).
    Raises ValueError for an odd dim or a scaling that is unknown or incomplete. Leaves out: rotating a part of
    the head only.
    """

    def __init__(
        self,
        dim: int,
        base: float = 10000.0,
        interleaved: bool = False,
        scaling: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if check_int("dim", dim, 2) % 2:
            raise ValueError(f"dim must be even, RoPE turns pairs of coordinates, got {dim}")
        self.dim, self.base = dim, check_number("base", base, 1.0)
        self.scaling = check_scaling(scaling)
        if self.scaling["rope_type"] == "dynamic" and dim == 2:
            raise ValueError("dynamic scaling needs dim of at least 4, got 2")
        self.interleaved = check_flag("interleaved", interleaved)
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[int, Tensor, Tensor]] = {}

    def check_heads(self, heads: int, head_dim: int) -> None:
        """ValueError for heads of another width."""
        if head_dim != self.dim:
            raise ValueError(f"RoPE turns heads of width {self.dim}, but these are {head_dim} wide")

    def table(self, length: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and signed sin (see Rotation) of the first `length` positions or more, each (>= length, D)."""
        rows, cos, sin = self._tables.get((device, dtype), (0, None, None))
        length = max(length, 1)  # a text of no tokens has a table, too
        dynamic = self.scaling["rope_type"] == "dynamic"
        if dynamic:  # the frequencies themselves depend on the length once it outgrows the window
            length = max(length, int(self.scaling["original_max_position_embeddings"]))
        if rows < length or (dynamic and rows != length):
            rows = length if dynamic else max(64, 2 ** math.ceil(math.log2(length)))
            # a table made while generating must serve training
            with torch.inference_mode(False), torch.no_grad():
                frequencies, warmth = scaled_frequencies(self.dim, self.base, self.scaling, rows)
                turns = turning_table(frequencies.to(device), rows, self.interleaved)
                cos, sin = ((warmth * one).to(dtype) for one in turns)
            self._tables[device, dtype] = rows, cos, sin
        return cos, sin

    def at(self, positions: int | Tensor, x: Tensor, keys: int | None = None) -> Rotation:
        """The turns of the tokens of x; see PositionScheme. Given as a tensor, positions are read by the host once."""
        if isinstance(positions, int):
            check_int("positions", positions, 0)
            stop = positions + x.shape[-2]
            cos, sin = self.table(stop, x.device, x.dtype)
            return Rotation(cos[positions:stop], sin[positions:stop], self.interleaved)  # (T, D)
        if (
            not isinstance(positions, Tensor)
            or positions.dtype != torch.int64
            or positions.dim() not in (1, 2)
        ):
            raise ValueError(
                f"positions must be an int or a LongTensor (T,) or (B, T), got {describe(positions)}"
            )
        B, T = x.shape[0], x.shape[-2]
        if positions.shape not in ((T,), (1, T), (B, T)):
            raise ValueError(
                f"positions must be a LongTensor (T,) or (B, T) = {(B, T)}, got {describe(positions)}"
            )
        first, last = (int(n) for n in positions.aminmax()) if positions.numel() else (0, 0)
        check_int("positions", first, 0)
        cos, sin = self.table(last + 1, x.device, x.dtype)
        cos, sin = cos[positions], sin[positions]  # (T, D) or (B, T, D)
        if positions.dim() == 2:
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)  # (B, 1, T, D)
        return Rotation(cos, sin, self.interleaved)

    def forward(self, q: Tensor, k: Tensor, positions: int | Tensor = 0) -> tuple[Tensor, Tensor]:
        """q (B, H, T, D) and k (B, K, T, D), turned.

        positions: the first one, or a LongTensor (T,) or (B, T). ValueError for anything else, and for q and k of
        different B, T or dtype.
        """
        for name, x in (("q", q), ("k", k)):
            if (
                not isinstance(x, Tensor)
                or x.dim() != 4
                or x.shape[-1] != self.dim
                or not x.is_floating_point()
            ):
                raise ValueError(
                    f"{name} must be a float tensor (B, heads, T, {self.dim}), got {describe(x)}"
                )
        if (q.shape[0], q.shape[2], q.dtype) != (k.shape[0], k.shape[2], k.dtype):
            raise ValueError(
                f"q and k must have the same B, T and dtype, got {describe(q)} and {describe(k)}"
            )
        return self.at(positions, q).turn(q, k)
