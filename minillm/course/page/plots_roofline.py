"""The roofline (루프라인): how fast a computation can be, from how many operations it does for each byte it moves.

    rate in reach = min(peak, operations per byte * bandwidth)

Left of the corner the memory is the limit, right of it the arithmetic. Williams, Waterman and Patterson 2009,
"Roofline: An Insightful Visual Performance Model". Book: 7.1.3 GPU 구조와 최적의 배치 크기. Style as in plots.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from minillm._checks import check_number, describe, is_listing
from minillm.course.page.figures import (
    MARKERS,
    axes_grid,
    axes_or_new,
    check_labels,
    check_named,
    log_ticks,
    numbers,
    write_words,
)
from minillm.course.page.style import PALETTE


def plot_roofline(
    intensity: Mapping[str, float],
    peak: float,
    bandwidth: float,
    groups: Sequence[str] | None = None,
    moves: Sequence[tuple[str, str]] = (),
    *,
    title: str = "Roofline (루프라인)",
    ax: Axes | None = None,
) -> None:
    """Each computation, name -> operations per byte, on the roof of a machine.

    peak: operations a second; bandwidth: bytes a second. groups: a word for each computation, which colours it.
    moves: pairs of names, drawn as an arrow from the first to the second ("fused" from "plain").
    """
    check_named(intensity, "intensity")
    check_number("peak", peak, 1)
    check_number("bandwidth", bandwidth, 1)
    check_labels("groups", groups, len(intensity))
    xs = numbers("intensity", list(intensity.values()), 1)
    if np.any(xs <= 0):
        raise ValueError(f"intensity must be above 0, got {xs.min():g}")
    for move in moves:
        if not is_listing(move) or len(move) != 2 or any(name not in intensity for name in move):
            raise ValueError(f"moves must be pairs of names of computations, got {describe(move)}")
    ax = axes_grid(1, 1, (7.8, 4.2))[0, 0] if ax is None else axes_or_new(ax)
    corner = peak / bandwidth
    ends = np.array([min(xs.min(), corner) / 3, corner, max(xs.max(), corner) * 12])
    ax.plot(ends, np.minimum(peak, ends * bandwidth) / 1e12, color="#555555", zorder=1)
    ys = np.minimum(peak, xs * bandwidth) / 1e12
    kinds = list(dict.fromkeys(groups)) if groups is not None else [None]
    for index, kind in enumerate(kinds):
        mine = [kind is None or group == kind for group in (groups or [None] * len(xs))]
        marker = MARKERS[index % len(MARKERS)]
        ax.scatter(xs[mine], ys[mine], s=34, marker=marker, color=PALETTE[index % 8], label=kind, zorder=3)
    ax.set(xscale="log", yscale="log")
    ax.set_xlim(ends[0], ends[-1])
    ax.set_ylim(min(ys.min() / 3, ends[0] * bandwidth / 1e12), peak / 1e12 * 4)
    flat = 0
    for place in np.argsort(xs):
        name, under = list(intensity)[place], ys[place] < peak / 1e12 * 0.999
        # beside the slope, to its right and under it; under or over the flat roof in turn
        offset = (9, -3) if under else (0, (-13, 9, -25)[flat % 3])
        flat += not under
        ax.annotate(
            name, (xs[place], ys[place]), xytext=offset, textcoords="offset points", fontsize=9,
            ha="left" if under else "center", va="top" if under or offset[1] < 0 else "bottom",
            bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8}, zorder=2,
        )  # fmt: skip
    points = dict(zip(intensity, zip(xs, ys)))
    for before, after in moves:
        style = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.35", "color": "#333333"}
        ax.annotate("", points[after], points[before], arrowprops=style, zorder=4)
    log_ticks(ax, "x")
    log_ticks(ax, "y")
    write_words(ax, title, "operations per byte (산술 강도)", "TFLOP/s in reach")
    if groups is not None:
        ax.legend(loc="upper left")
