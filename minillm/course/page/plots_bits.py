"""Numbers bit by bit (비트): a box for each bit, and a colour for each field.

    plot_bits({"fp16, 1.5": ("0", "01111", "1000000000")}, fields=("sign", "exponent", "fraction"))

Style, `ax=` and errors are as in plots.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minillm._checks import describe
from minillm.course.page.figures import axes_grid, axes_or_new, check_named, write_words
from minillm.course.page.style import PALETTE

COLOURS = (PALETTE[1], PALETTE[5], PALETTE[4], PALETTE[2])
FIELDS = ("sign (부호)", "exponent (지수)", "fraction (가수)")


def plot_bits(
    rows: Mapping[str, Sequence[str]],
    *,
    fields: Sequence[str] = FIELDS,
    notes: Mapping[str, str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> None:
    """rows: name -> texts of 0 and 1, one a field, in the order of `fields`; notes: name -> a word behind its row.

    Raises ValueError for a row with another number of fields, or with anything but 0 and 1 in it.
    """
    check_named(rows, "rows")
    if not 1 <= len(fields) <= len(COLOURS):
        raise ValueError(f"fields must be 1 to {len(COLOURS)} names, got {describe(fields)}")
    for name, texts in rows.items():
        fits = isinstance(texts, (list, tuple)) and len(texts) == len(fields)
        if not fits or not all(isinstance(one, str) and not set(one) - {"0", "1"} for one in texts):
            raise ValueError(f"rows[{name!r}] must be {len(fields)} texts of 0 and 1, got {describe(texts)}")
    longest = max(sum(map(len, texts)) for texts in rows.values())
    ax = axes_grid(1, 1, (8.6, 0.8 + 0.42 * len(rows)))[0, 0] if ax is None else axes_or_new(ax)
    for height, (name, texts) in enumerate(rows.items()):
        place = 0
        for text, colour in zip(texts, COLOURS):
            for bit in text:
                ax.add_patch(Rectangle((place, height - 0.36), 0.94, 0.72, fc=colour, ec="none", alpha=0.55))
                ax.text(place + 0.47, height, bit, ha="center", va="center_baseline", fontsize=8)
                place += 1
        ax.text(place + 0.4, height, (notes or {}).get(name, ""), va="center_baseline", fontsize=9)
    for field, colour in zip(fields, COLOURS):
        ax.add_patch(Rectangle((0, -9), 0, 0, fc=colour, alpha=0.55, label=field))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(fields), fontsize=9)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(xlim=(-0.2, max(longest, 30) + 2), ylim=(len(rows) - 0.45, -0.55), xticks=[])
    ax.tick_params(left=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.grid(False)
    write_words(ax, title, "", "")
