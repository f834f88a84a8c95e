"""Rotary positions (RoPE): turn each pair of coordinates of q and k by an angle that grows with the position.

    (a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ),   θ = t · base^(-2i/D)

A turn by t and a turn by s leave q·k depending on t - s alone: the score knows distances, not places.
Book 2.2.3 위치 인코딩 (its modern form). Papers: Su et al. 2021; Chen et al. 2023 (linear); bloc97 2023
(dynamic NTK); Peng et al. 2023 (YaRN); Llama 3.1 (llama3). Held against transformers' rotary embeddings.

Two pairings of coordinates: halves (i, i + D/2) as in Hugging Face models, neighbours (2i, 2i+1) as in the
paper. Leaves out: longrope, rotating a part of the head only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe

SCALINGS = {  # rope_type -> the numbers it needs beside `factor`
    "default": (),
    "linear": (),
    "dynamic": ("original_max_position_embeddings",),
    "llama3": ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("original_max_position_embeddings",),
}


def rope_frequencies(dim: int, base: float = 10000.0) -> Tensor:
    """Float32 (D/2,): radians a position adds to pair i, base^(-2i/D); from 1 (fast) down to about 1/base."""
    check_int("dim", dim, 2), check_number("base", base, 1.0)
    return 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim)


def scaled_frequencies(
    dim: int, base: float, scaling: Mapping[str, Any], length: int
) -> tuple[Tensor, float]:
    """(frequencies (D/2,), factor on cos and sin) after stretching the window as `scaling` says.

    `length` is the longest position count in use; only "dynamic" looks at it.
    """
    kind, factor = scaling["rope_type"], scaling.get("factor", 1.0)
    frequencies = rope_frequencies(dim, base)
    if kind == "linear":  # positions squeezed into the trained window: t -> t / factor
        return frequencies / factor, 1.0
    if (
        kind == "dynamic"
    ):  # a larger base once the text outgrows the window: slow pairs stretch, fast ones stay
        window = scaling["original_max_position_embeddings"]
        growth = factor * max(length, window) / window - (factor - 1)
        return rope_frequencies(dim, base * growth ** (dim / (dim - 2))), 1.0
    if kind == "llama3":
        return _llama3(frequencies, scaling), 1.0
    if kind == "yarn":
        return _yarn(dim, base, frequencies, scaling)
    return frequencies, 1.0


def _llama3(frequencies: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Waves longer than the old window / low are slowed by `factor`, shorter than / high kept, between: a blend."""
    window, low, high = (
        scaling[n] for n in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
    )
    turns = window * frequencies / (2 * math.pi)  # full turns inside the old window
    # share of the unscaled frequency: 0 below `low` turns, 1 above `high`
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - keep) * frequencies / scaling["factor"] + keep * frequencies


def _yarn(dim: int, base: float, frequencies: Tensor, scaling: Mapping[str, Any]) -> tuple[Tensor, float]:
    """Pairs that turn often are kept, pairs that turn rarely are slowed by `factor`; scores warmed by 0.1 ln
    f + 1.
    """
    window = scaling["original_max_position_embeddings"]
    factor = scaling["factor"]

    def pair_that_turns(
        turns: float,
    ) -> float:  # index of the pair that makes `turns` turns in the old window
        return dim * math.log(window / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = (
        pair_that_turns(scaling.get("beta_fast") or 32),
        pair_that_turns(scaling.get("beta_slow") or 1),
    )
    if scaling.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    slow = ((torch.arange(dim // 2) - first) / ((last - first) or 0.001)).clamp(0, 1)
    frequencies = frequencies / factor * slow + frequencies * (1 - slow)

    def warmth(m: float) -> float:
        return 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0

    given, m, m_all = (scaling.get(n) for n in ("attention_factor", "mscale", "mscale_all_dim"))
    if given is None:
        given = warmth(m) / warmth(m_all) if m and m_all else warmth(1.0)
    return frequencies, float(given)


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + D/2) of x (..., T, D) by angles whose cos and sin are (..., T, D/2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotate_neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i + 1) of x (..., T, D) by angles whose cos and sin are (..., T, D/2)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def _swap_halves(x: Tensor) -> Tensor:
    return x.roll(x.shape[-1] // 2, dims=-1)


def _swap_neighbours(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


class RoPE(nn.Module):
    """Rotary positions for heads of even width `dim`.

    interleaved: pair neighbours instead of halves. scaling: None or a dict with Hugging Face's keys ("rope_type"
    of "linear", "dynamic", "llama3", "yarn"; "factor"; ...). No parameters: cos and sin are tables that grow on
    demand. With "dynamic" scaling and a cache, keys rotated before the window was outgrown stay as they are
    (as in transformers). Raises ValueError for an odd dim or a scaling that is unknown or incomplete.
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
        self._swap = _swap_neighbours if interleaved else _swap_halves
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[int, Tensor, Tensor]] = {}

    def table(self, length: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and signed sin of the first `length` positions or more, each (>= length, D).

        Both are written out for all D coordinates, minus in front of the sin of each pair's first one.
        """
        rows, cos, sin = self._tables.get((device, dtype), (0, None, None))
        dynamic = self.scaling["rope_type"] == "dynamic"
        if dynamic:  # the frequencies themselves depend on the length once it outgrows the window
            length = max(length, self.scaling["original_max_position_embeddings"])
        if rows < length or (dynamic and rows != length):
            rows = length if dynamic else max(64, 2 ** math.ceil(math.log2(length)))
            with (
                torch.inference_mode(False),
                torch.no_grad(),
            ):  # a table made while generating must serve training
                frequencies, warmth = scaled_frequencies(self.dim, self.base, self.scaling, rows)
                # θ[t, i] = t · frequency_i, in float32: in 16 bits far positions would fall together
                angles = torch.arange(rows, device=device).float()[:, None] * frequencies.to(device)
                cos, sin = warmth * angles.cos(), warmth * angles.sin()  # (L, D/2)
                pair = torch.stack if self.interleaved else torch.cat
                cos, sin = (pair(halves, dim=-1).flatten(1).to(dtype) for halves in ((cos, cos), (-sin, sin)))
            self._tables[device, dtype] = rows, cos, sin
        return cos, sin

    def forward(self, q: Tensor, k: Tensor, positions: int | Tensor = 0) -> tuple[Tensor, Tensor]:
        """q (B, H, T, D) and k (B, K, T, D), turned.

        positions: the first one, or a LongTensor (T,) or (B, T). ValueError for anything else.
        """
        for name, x in (("q", q), ("k", k)):
            if not isinstance(x, Tensor) or x.dim() != 4 or x.shape[-1] != self.dim:
                raise ValueError(
                    f"{name} must be a float tensor (B, heads, T, {self.dim}), got {describe(x)}"
                )
        if isinstance(positions, int):
            check_int("positions", positions, 0)
            stop = positions + q.shape[2]
            cos, sin = self.table(stop, q.device, q.dtype)
            cos, sin = cos[positions:stop], sin[positions:stop]  # (T, D)
        else:
            if (
                not isinstance(positions, Tensor)
                or positions.dtype != torch.int64
                or positions.dim() not in (1, 2)
            ):
                found = describe(positions)
                raise ValueError(f"positions must be an int or a LongTensor (T,) or (B, T), got {found}")
            first, last = (int(n) for n in positions.aminmax())
            check_int("positions", first, 0)
            cos, sin = self.table(last + 1, q.device, q.dtype)
            cos, sin = cos[positions], sin[positions]  # (T, D) or (B, T, D)
            if positions.dim() == 2:
                cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)  # (B, 1, T, D)
        return self.turn(q, cos, sin), self.turn(k, cos, sin)

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The rotation of `rotate_halves` or `rotate_neighbours` with full-width tables: (a, b)·cos + (b,
        a)·(-sin, sin).

        Faster because it passes over x three times instead of seven.
        """
        return torch.addcmul(x * cos, self._swap(x), sin)


def check_scaling(scaling: Mapping[str, Any] | None) -> dict[str, Any]:
    """The scaling as a dict with "rope_type" in it; ValueError if it is unknown or incomplete."""
    if scaling is None:
        return {"rope_type": "default"}
    if not isinstance(scaling, Mapping):
        raise ValueError(
            f"scaling must be None or a dict with 'rope_type' and 'factor', got {describe(scaling)}"
        )
    scaling = dict(scaling)
    kind = scaling.setdefault("rope_type", scaling.get("type", "default"))  # "type" in files before 2024
    check_choice("rope_type", kind, tuple(SCALINGS))
    needed = SCALINGS[kind] if kind == "default" else ("factor", *SCALINGS[kind])
    for name in needed:
        if scaling.get(name) is None:
            raise ValueError(f"rope_type {kind!r} needs {', '.join(needed)}; {name} is missing in {scaling}")
        check_number(name, scaling[name], 1.0 if name == "factor" else 0.0)
    if kind == "llama3" and not scaling["low_freq_factor"] < scaling["high_freq_factor"]:
        raise ValueError("low_freq_factor must be below high_freq_factor")
    return scaling
