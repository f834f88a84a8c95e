"""Rotary positions beyond the trained window: how fast each pair turns once a text may be longer than that.

    linear    every pair slower by `factor`: positions are squeezed into the trained window
    dynamic   a larger base once the text outgrows the window: slow pairs stretch, fast ones stay
    llama3    pairs that turn rarely inside the old window are slowed, pairs that turn often stay, between: a blend
    yarn      the same idea with other borders, and scores warmed by 0.1 ln(factor) + 1

Book 2.2.3 위치 인코딩, 8.2.3 상대적 위치 인코딩. Papers: Chen et al. 2023 (linear); bloc97 2023 (dynamic NTK); Peng et
al. 2023 (YaRN); Llama 3.1 (llama3). Held against transformers' rotary embeddings. Leaves out: longrope.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, check_number, describe

SCALINGS = {  # rope_type -> the numbers it needs beside `factor`
    "default": (),
    "linear": (),
    "dynamic": ("original_max_position_embeddings",),
    "llama3": ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("original_max_position_embeddings",),
}
OPTIONAL = ("beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate")  # yarn's
UNDERSTOOD = {"rope_type", "rope_theta", "factor", "partial_rotary_factor", *OPTIONAL} | {
    name for names in SCALINGS.values() for name in names
}


def rope_frequencies(dim: int, base: float = 10000.0) -> Tensor:
    """Float32 (D/2,): radians a position adds to pair i, base^(-2i/D); from 1 (fast) down to about 1/base.

    ValueError for an odd D and a base below 1.
    """
    check_int("dim", dim, 2), check_number("base", base, 1.0)
    if dim % 2:
        raise ValueError(f"dim must be even, two coordinates make a pair, got {dim}")
    return 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.int64, device="cpu").float() / dim)


def scaled_frequencies(
    dim: int, base: float, scaling: Mapping[str, Any], length: int
) -> tuple[Tensor, float]:
    """(frequencies (D/2,), factor on cos and sin) after stretching the window as `scaling` says.

    scaling: as `check_scaling` gives it. length: the longest position count in use; only "dynamic" looks at it.
    ValueError for a scaling that is unknown or incomplete, and for "dynamic" with one pair only.
    """
    check_scaling(scaling)
    if not scaling or "rope_type" not in scaling:
        raise ValueError(f"scaling must have a 'rope_type', got {describe(scaling)}")
    kind, factor = scaling["rope_type"], scaling.get("factor", 1.0)
    frequencies = rope_frequencies(dim, base)
    if kind == "linear":
        return frequencies / factor, 1.0
    if kind == "dynamic":
        if dim == 2:
            raise ValueError("dynamic scaling needs dim of at least 4, got 2")
        window = scaling["original_max_position_embeddings"]
        growth = factor * max(length, window) / window - (factor - 1)
        return rope_frequencies(dim, base * growth ** (dim / (dim - 2))), 1.0
    if kind == "llama3":
        return _llama3(frequencies, scaling), 1.0
    if kind == "yarn":
        return _yarn(dim, base, frequencies, scaling)
    return frequencies, 1.0


def _llama3(frequencies: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    window, low, high = (
        scaling[n] for n in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
    )
    turns = window * frequencies / (2 * math.pi)  # full turns inside the old window
    # share of the unscaled frequency: 0 below `low` turns, 1 above `high`
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - keep) * frequencies / scaling["factor"] + keep * frequencies


def _yarn(dim: int, base: float, frequencies: Tensor, scaling: Mapping[str, Any]) -> tuple[Tensor, float]:
    factor = scaling["factor"]
    slow = slowed_share(
        dim,
        base,
        scaling["original_max_position_embeddings"],
        scaling.get("beta_fast") or 32,
        scaling.get("beta_slow") or 1,
        scaling.get("truncate", True),
    )
    frequencies = frequencies / factor * slow + frequencies * (1 - slow)

    def warmth(m: float) -> float:
        return 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0

    given, m, m_all = (scaling.get(n) for n in ("attention_factor", "mscale", "mscale_all_dim"))
    if given is None:
        given = warmth(m) / warmth(m_all) if m and m_all else warmth(1.0)
    return frequencies, float(given)


def slowed_share(
    dim: int, base: float, window: float, fast: float = 32, slow: float = 1, truncate: bool = True
) -> Tensor:
    """YaRN's ramp (D/2,): 0 for pairs of at least `fast` turns in the window, 1 for those of at most `slow` turns.

    truncate: round the borders outwards to whole pairs. ValueError for a base that is not above 1, and for a window or
    numbers of turns that are not above 0.
    """
    check_int("dim", dim, 2)
    for name, value, least in (
        ("base", base, 1),
        ("window", window, 0),
        ("fast", fast, 0),
        ("slow", slow, 0),
    ):
        if check_number(name, value) <= least:
            raise ValueError(f"{name} must be above {least}, got {value}")

    def pair_that_turns(turns: float) -> float:
        """Index of the pair that makes `turns` turns in the old window."""
        return dim * math.log(window / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_that_turns(fast), pair_that_turns(slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    return ((torch.arange(dim // 2) - first) / ((last - first) or 0.001)).clamp(0, 1)


def check_scaling(scaling: Mapping[str, Any] | None) -> dict[str, Any]:
    """The scaling as a dict with "rope_type" in it; ValueError if it is unknown, incomplete or not understood."""
    if scaling is None:
        return {"rope_type": "default"}
    if not isinstance(scaling, Mapping):
        raise ValueError(
            f"scaling must be None or a dict with 'rope_type' and 'factor', got {describe(scaling)}"
        )
    scaling = {name: value for name, value in scaling.items() if value is not None}
    old_name = scaling.pop("type", "default")  # "type" in files before 2024
    kind = scaling.setdefault("rope_type", old_name)
    check_choice("rope_type", kind, tuple(SCALINGS))
    needed = SCALINGS[kind] if kind == "default" else ("factor", *SCALINGS[kind])
    for name in needed:
        if scaling.get(name) is None:
            raise ValueError(f"rope_type {kind!r} needs {', '.join(needed)}; {name} is missing in {scaling}")
        check_number(name, scaling[name], 1.0 if name == "factor" else 0.0)
    if kind == "llama3" and not scaling["low_freq_factor"] < scaling["high_freq_factor"]:
        raise ValueError("low_freq_factor must be below high_freq_factor")
    if unknown := sorted(set(map(str, scaling)) - UNDERSTOOD):
        raise ValueError(f"rotary scaling with {', '.join(unknown)} is not supported: {scaling}")
    if scaling.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(
            f"partial_rotary_factor {scaling['partial_rotary_factor']!r} (turning a part of each head) is not supported"
        )
    return scaling
