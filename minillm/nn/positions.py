"""Where a token stands (위치 인코딩): added to the input, added to the scores, or turned into q and k.

    sinusoid:  P[t, 2i] = sin(t / 10000^(2i/C)),  P[t, 2i+1] = cos(t / 10000^(2i/C))        x + P
    learned:   P[t] = a row of a trained table                                              x + P
    ALiBi:     score(t, s) - slope_h · (t - s),   slope_h = 2^(-8h/H)                       bias
    RoPE:      (a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ),   θ = t · base^(-2i/D)     turned q and k

Attention alone cannot tell orders of words apart; these say where a token stands. RoPE turns q by t and k by s, and
q·k then depends on t - s alone: the score knows distances, not places. Longer windows: rope_scaling.py.
Book 2.2 텍스트를 임베딩으로 변환하기 (2.2.3 위치 인코딩). Papers: Vaswani et al. 2017; Press et al. 2021 (ALiBi); Su et
al. 2021 (RoPE). Held against closed forms, transformers' Bloom slopes and rotary embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, check_number, describe
from minillm.nn.rope_scaling import check_scaling, scaled_frequencies

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
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != width:
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


class Slopes(Position):
    """ALiBi's straight lines for one forward pass."""

    def __init__(self, lines: Tensor):
        self.lines = lines

    def bias(self) -> Tensor:
        """(1, H, T, S)."""
        return self.lines


def alibi_slopes(heads: int) -> Tensor:
    """Float32 (H,): 2^(-8h/H) for h = 1..H; for H no power of two, the odd steps of the next one fill up.

    alibi_slopes(4) -> [1/4, 1/16, 1/64, 1/256]
    """
    power = 2 ** math.floor(math.log2(check_int("heads", heads, 1)))  # the greatest power of two up to H
    slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    slopes += [2 ** (-4 * h / power) for h in range(1, 2 * (heads - power) + 1, 2)]
    return torch.tensor(slopes, device="cpu")


class ALiBi(PositionScheme):
    """A straight line on the scores: each head forgets with distance, at its own slope. No parameters."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def check_heads(self, heads: int, head_dim: int) -> None:
        """ValueError for another number of heads."""
        if heads != self.heads:
            raise ValueError(f"ALiBi has slopes for {self.heads} heads, but there are {heads}")

    def forward(self, queries: int, keys: int) -> Tensor:
        """The bias of `attention`, (1, H, T, S); the last query is aligned with the last key."""
        check_int("queries", queries, 0), check_int("keys", keys, 0)
        # bias[h, t, s] = -slope_h · (t - s)
        t = torch.arange(keys - queries, keys, device=self.slopes.device)
        s = torch.arange(keys, device=self.slopes.device)
        return -self.slopes[:, None, None] * (t[:, None] - s).abs()[None, None]  # (1, H, T, S)

    def at(self, positions: int | Tensor, x: Tensor, keys: int) -> Slopes:
        """Only distances count here: padding on the left moves queries and keys alike, so S and T say it all."""
        return Slopes(self(x.shape[-2], keys))


# Rotary positions


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + D/2) of x (..., T, D) by angles whose cos and sin are (..., T, D/2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotate_neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i + 1) of x (..., T, D) by angles whose cos and sin are (..., T, D/2)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


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
        dynamic = self.scaling["rope_type"] == "dynamic"
        if dynamic:  # the frequencies themselves depend on the length once it outgrows the window
            length = max(length, int(self.scaling["original_max_position_embeddings"]))
        if rows < length or (dynamic and rows != length):
            rows = length if dynamic else max(64, 2 ** math.ceil(math.log2(length)))
            # a table made while generating must serve training
            with torch.inference_mode(False), torch.no_grad():
                frequencies, warmth = scaled_frequencies(self.dim, self.base, self.scaling, rows)
                # θ[t, i] = t · frequency_i, in float32: in 16 bits far positions would fall together
                angles = torch.arange(rows, device=device).float()[:, None] * frequencies.to(device)
                cos, sin = warmth * angles.cos(), warmth * angles.sin()  # (L, D/2)
                pair = torch.stack if self.interleaved else torch.cat
                cos, sin = (pair(halves, dim=-1).flatten(1).to(dtype) for halves in ((cos, cos), (-sin, sin)))
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
        first, last = (int(n) for n in positions.aminmax())
        check_int("positions", first, 0)
        cos, sin = self.table(last + 1, x.device, x.dtype)
        cos, sin = cos[positions], sin[positions]  # (T, D) or (B, T, D)
        if positions.dim() == 2:
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)  # (B, 1, T, D)
        return Rotation(cos, sin, self.interleaved)

    def forward(self, q: Tensor, k: Tensor, positions: int | Tensor = 0) -> tuple[Tensor, Tensor]:
        """q (B, H, T, D) and k (B, K, T, D), turned.

        positions: the first one, or a LongTensor (T,) or (B, T). ValueError for anything else.
        """
        for name, x in (("q", q), ("k", k)):
            if not isinstance(x, Tensor) or x.dim() != 4 or x.shape[-1] != self.dim:
                raise ValueError(
                    f"{name} must be a float tensor (B, heads, T, {self.dim}), got {describe(x)}"
                )
        return self.at(positions, q).turn(q, k)
