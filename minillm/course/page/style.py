"""The look of every figure of the course: one palette, one size, and a font that has Hangul (한글 글꼴).

The palette is Okabe and Ito's eight colours, which people with any common form of colour blindness can tell apart
(https://jfly.uni-koeln.de/color/). Latin letters come from DejaVu Sans, which matplotlib ships. Hangul comes, glyph
by glyph, from NanumGothic (SIL Open Font License), so a figure looks the same on every machine. The font is a file
inside the package koreanize-matplotlib; only that file is used, and the package's code is never imported.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager

# Okabe-Ito, the darkest first: black text on the light ones, white on the dark ones stays readable.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
HEAT = "cividis"  # a colour map whose lightness alone carries the value


@functools.cache
def font_file(weight: str = "") -> Path | None:
    """The file of NanumGothic in this weight ("" or "Bold"), or None when koreanize-matplotlib is not installed."""
    package = importlib.util.find_spec("koreanize_matplotlib")  # finds the folder, runs none of its code
    folders = package.submodule_search_locations or [] if package else []
    files = (Path(folder) / "fonts" / f"NanumGothic{weight}.ttf" for folder in folders)
    return next((file for file in files if file.is_file()), None)


@functools.cache
def hangul_font() -> str | None:
    """The name by which matplotlib knows the font with Hangul, or None when there is no such file."""
    regular = font_file()
    if regular is None:
        return None
    for file in filter(None, (regular, font_file("Bold"))):
        font_manager.fontManager.addfont(str(file))
    return font_manager.FontProperties(fname=str(regular)).get_name()


def style() -> dict[str, Any]:
    """matplotlib's rcParams of the course."""
    fonts = ["DejaVu Sans"]
    if (hangul := hangul_font()) is not None:
        fonts.append(hangul)
    return {
        "font.family": fonts,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.prop_cycle": mpl.cycler(color=PALETTE),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#555555",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
        "legend.frameon": False,
        "figure.figsize": (6.4, 3.4),
        "figure.dpi": 100,
        "savefig.dpi": 100,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "image.cmap": HEAT,
        "svg.fonttype": "none",
    }


def use_style() -> None:
    """Make the course's look the default of every figure from here on; be quiet about missing glyphs and weights."""
    mpl.rcParams.update(style())
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font without a bold is no news
    warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
