"""A trace as a picture: a waterfall (워터폴 차트) of its spans, each a bar from its begin to its end.

    plot_spans(tracer.read().records)

Rows are spans, a child below its parent and set in; the dark part of a bar is the span's own time, the light part is
its children's. A span that failed is orange. The page of `minillm trace html` shows the same and all values.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from minillm.apps.tracing import Node, SpanRecord, trace_tree
from minillm.apps.tracing.tree import one_line, walk
from minillm.course.page.figures import axes_grid, axes_or_new, write_words
from minillm.course.page.style import PALETTE

MOST = 60  # rows that can be read


def plot_spans(records: Sequence[SpanRecord], *, title: str = "", ax: Axes | None = None) -> None:
    """The spans of one or several traces, times counted from the first one, in milliseconds.

    Raises ValueError for no spans, and for more than 60.
    """
    rows = [(len(path) - 1, node) for path, node in walk(trace_tree(records))]
    if not 0 < len(rows) <= MOST:
        raise ValueError(f"records must hold 1 to {MOST} spans, got {len(rows)}")
    ax = axes_grid(1, 1, (8.6, 0.8 + 0.26 * len(rows)))[0, 0] if ax is None else axes_or_new(ax)
    begin = min(node.record.start for _, node in rows)
    for place, (_, node) in enumerate(rows):
        colour = PALETTE[1] if node.record.status == "error" else PALETTE[0]
        start, end = (node.record.start - begin) / 1e6, (node.record.end - begin) / 1e6
        ax.broken_barh([(start, end - start)], (place - 0.36, 0.72), facecolors=colour, alpha=0.3)
        ax.broken_barh(own_stretches(node, begin), (place - 0.36, 0.72), facecolors=colour)
        ax.annotate(f" {end - start:,.0f} ms", (end, place), va="center", fontsize=8)
    last = max((node.record.end - begin) / 1e6 for _, node in rows)
    ax.set(xlim=(0, 1.12 * last or 1), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(range(len(rows)), ["   " * depth + one_line(node.record.name, 40) for depth, node in rows])
    for label in ax.get_yticklabels():
        label.set_horizontalalignment("left")
    ax.tick_params(axis="y", pad=8 + 6.2 * max(len(label.get_text()) for label in ax.get_yticklabels()))
    ax.grid(axis="y", visible=False)
    write_words(ax, title, "milliseconds", "")


def own_stretches(node: Node, begin: int) -> list[tuple[float, float]]:
    """(start, length) in milliseconds of the times in which no child was running."""
    found, at = [], node.record.start
    for child in sorted(node.children, key=lambda one: one.record.start):
        if child.record.start > at:
            found.append((at, min(child.record.start, node.record.end)))
        at = max(at, child.record.end)
    if node.record.end > at:
        found.append((at, node.record.end))
    return [((start - begin) / 1e6, (end - start) / 1e6) for start, end in found if end > start]
