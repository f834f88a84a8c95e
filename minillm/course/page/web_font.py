"""Hangul on a web page without a Korean font on the reader's machine: NanumGothic, cut to the letters of one page.

The whole font is 4.7 MB; the syllables of a short page are a few thousand bytes, so they travel inside the page. The
SIL Open Font License allows a document to carry a font. fonttools does the cutting.
"""

from __future__ import annotations

import base64
import io
import re

from fontTools import subset

from minillm._checks import check_text
from minillm.course.page.style import font_file

FAMILY = "Hangul"  # the name to put into `font-family`
_LETTERS = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"  # jamo, compatibility jamo, syllables
# all that a browser needs to draw
_TABLES = ("cmap", "glyf", "head", "hhea", "hmtx", "loca", "maxp", "name", "OS/2", "post")
_RANGES = "U+1100-11FF, U+3130-318F, U+AC00-D7A3"


def hangul_css(text: str) -> str:
    """A `@font-face` rule, named FAMILY, with the glyphs of the Hangul in `text`; "" when there is none (or no font).

    The rule is for Hangul alone: every other letter stays in the page's own font. Raises ValueError unless text is str.
    """
    letters = "".join(sorted(set(re.findall(f"[{_LETTERS}]", check_text("text", text)))))
    file = font_file()
    if not letters or file is None:
        return ""
    options = subset.Options(flavor="woff", hinting=False, layout_features=[])
    font = subset.load_font(str(file), options)
    options.drop_tables = [table for table in font.keys() if table not in _TABLES]  # noqa: SIM118 - not a dict
    cutter = subset.Subsetter(options)
    cutter.populate(text=letters)
    cutter.subset(font)
    buffer = io.BytesIO()
    subset.save_font(font, buffer, options)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'@font-face {{ font-family: "{FAMILY}"; unicode-range: {_RANGES}; '
        f'src: url("data:font/woff;base64,{data}") format("woff"); }}'
    )
