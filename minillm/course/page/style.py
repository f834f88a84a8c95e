"""The look of every figure of the course: one palette, one size, and a font that has Hangul (한글 글꼴).

The palette is Okabe and Ito's eight colours, which people with any common form of colour blindness can tell apart
(https://jfly.uni-koeln.de/color/). Latin letters come from DejaVu Sans, which matplotlib ships; Hangul falls back,
glyph by glyph, to the first font of HANGUL_FONTS on this machine, else to the NanumGothic file (SIL Open Font
License) inside the package koreanize-matplotlib. Only that file is used: the package's code is never imported.
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

HANGUL_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Nanum Gothic",
    "NanumBarunGothic",
    "Malgun Gothic",  # Windows
    "Apple SD Gothic Neo",  # macOS
    "AppleGothic",
    "Noto Sans CJK JP",  # the CJK families share their Hangul glyphs
    "UnDotum",
    "Baekmuk Gulim",
)


@functools.cache
def hangul_font() -> str | None:
    """The name of a font with Hangul that matplotlib can use here, or None when there is none."""
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    for name in HANGUL_FONTS:
        if name in known:
            return name
    shipped = importlib.util.find_spec("koreanize_matplotlib")  # finds the folder, runs none of its code
    if shipped is None or not shipped.submodule_search_locations:
        return None
    for folder in shipped.submodule_search_locations:
        regular, bold = (Path(folder) / "fonts" / f"NanumGothic{weight}.ttf" for weight in ("", "Bold"))
        if regular.is_file():
            font_manager.fontManager.addfont(str(regular))
            if bold.is_file():
                font_manager.fontManager.addfont(str(bold))
            return font_manager.FontProperties(fname=str(regular)).get_name()
    return None


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
