"""Pictures side by side: what a model was given or has drawn, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from minillm._checks import check_number
from minillm.course.page.figures import check_labels, numbers


def plot_pictures(
    rows: Sequence[Any],
    *,
    names: Sequence[str] = (),
    titles: Sequence[str] = (),
    title: str = "",
    inch: float = 0.9,
) -> None:
    """One line of pictures an entry of `rows`: each (N, 3, H, W), values in 0..1; values outside are cut off. One array
    of that form is one line.

    names: one a row, at its left. titles: one a column, above. inch: the side of a picture. ValueError for a row of
    another form or another number of pictures.
    """
    rows = [rows] if getattr(rows, "ndim", 0) == 4 else rows
    grids = [numbers(f"row {i}", row, 4) for i, row in enumerate(rows)]
    if not grids or any(grid.shape[1] != 3 or len(grid) != len(grids[0]) or not grid.size for grid in grids):
        raise ValueError(f"rows must hold equally many pictures (3, H, W), got {[g.shape for g in grids]}")
    check_number("inch", inch, 0.1, 10)
    if names:
        check_labels("names", names, len(grids))
    if titles:
        check_labels("titles", titles, len(grids[0]))
    tall, wide = len(grids), len(grids[0])
    figure, axes = plt.subplots(tall, wide, figsize=(inch * wide + 0.8, inch * tall + 0.5), squeeze=False)
    for i, grid in enumerate(grids):
        for j, picture in enumerate(grid):
            ax = axes[i][j]
            ax.imshow(picture.clip(0, 1).transpose(1, 2, 0), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            if names and not j:
                ax.set_ylabel(names[i], rotation=0, ha="right", va="center", fontsize=8)
            if titles and not i:
                ax.set_title(titles[j], fontsize=8)
    if title:
        figure.suptitle(title)
