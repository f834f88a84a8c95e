"""Who sat in which slot of a batch, step by step: a Gantt chart (간트 차트).

    plot_slots([[0, 1], [0, 1], [2, 1]], ended=[0, 2, 2])     request 0 has its last token at step 0 and stays one more

Rows are slots, columns are steps. A bar is a request, with its number where there is room; the hatched end of a bar is
a text that is done and keeps its slot. Style, `ax=` and errors are as in plots.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minillm.course.page.figures import axes_grid, axes_or_new, numbers, write_words
from minillm.course.page.style import PALETTE

KEPT = "#bbbbbb"


def plot_slots(
    slots: Any,
    ended: Sequence[int] | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> None:
    """slots (steps, slots): the number of the request in each slot at each step, -1 for an empty one.

    ended: for each request the step of its last token; None draws no ends. names: what is written on each request's
    bars in place of its number; names that begin with the same letter have one colour. Raises ValueError for numbers
    that are not whole, and for a request without an end or a name.
    """
    grid = numbers("slots", slots, 2)
    ends = None if ended is None else numbers("ended", ended, 1)
    if not np.array_equal(grid, np.round(grid)) or grid.min() < -1:
        raise ValueError("slots must hold the numbers of requests, 0 or more, and -1 for an empty slot")
    if ends is not None and grid.max() >= len(ends):
        raise ValueError(f"slots name request {int(grid.max())}, and ended has {len(ends)}")
    if names is not None and grid.max() >= len(names):
        raise ValueError(f"slots name request {int(grid.max())}, and names has {len(names)}")
    words = list(map(str, range(int(grid.max()) + 1))) if names is None else list(names)
    letters = list(dict.fromkeys(word[:1] for word in words))
    steps, places = grid.shape
    ax = axes_grid(1, 1, (8.6, 0.7 + 0.24 * places))[0, 0] if ax is None else axes_or_new(ax)
    letter = 0.1 * steps / ax.figure.get_size_inches()[0]  # steps that a digit takes
    for slot, number, start, stop in _stays(grid.astype(int)):
        done = stop if ends is None else int(np.clip(ends[number] + 1, start, stop))
        word = words[number]
        colour = PALETTE[(number if names is None else letters.index(word[:1])) % 6]
        ax.add_patch(
            Rectangle((start, slot - 0.42), done - start, 0.84, fc=colour, ec="white", lw=0.5, alpha=0.55)
        )
        if done < stop:
            ax.add_patch(
                Rectangle((done, slot - 0.42), stop - done, 0.84, fc="white", ec=KEPT, lw=0.5, hatch="/////")
            )
        if done - start > letter * len(word):
            ax.text(
                (start + done) / 2,
                slot,
                word,
                ha="center",
                va="center_baseline",
                fontsize=8,
                clip_on=True,
            )
    ax.set(xlim=(0, steps), ylim=(places - 0.5, -0.5))
    ax.set_yticks(range(places))
    ax.grid(False)
    write_words(ax, title, "step (스텝)", "slot (슬롯)")


def _stays(grid: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """(slot, request, first step, step after the last) of each stay."""
    for slot, column in enumerate(grid.T):
        borders = [0, *(np.flatnonzero(np.diff(column)) + 1).tolist(), len(column)]
        for start, stop in pairwise(borders):
            if column[start] >= 0:
                yield slot, int(column[start]), start, stop
