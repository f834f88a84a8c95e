"""Show a web page that a lesson has made inside the lesson: `show_page(transcript_page(run))` as a cell's last line.

The page stands in a frame of its own, so its style and the notebook's stay apart, and the frame runs no script. A
viewer may cut frames out (JupyterLab, until the reader has run the cell): then one line of text stands in its place.
"""

from __future__ import annotations

import html
import re

from minillm._checks import check_int, check_text


class Framed:
    """A page in a frame; `print` gives its title."""

    def __init__(self, page: str, height: int):
        self._page, self._height = page, height

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self._page)}" sandbox="" width="100%" height="{self._height}" '
            'style="background: white; border: 1px solid #bbbbbb">Run this cell to see the page here.</iframe>'
        )

    def __repr__(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self._page, re.DOTALL)
        return f"a web page: {html.unescape(found[1]) if found else 'without a title'}"


def show_page(page: str, height: int = 320) -> Framed:
    """A page of HTML (its text, not its file) as Jupyter shows it, in a frame of `height` pixels.

    Raises ValueError unless page is a text that holds a tag, and height is 100 or more.
    """
    check_text("page", page)
    if "<" not in page:
        raise ValueError(f"show_page shows a page's HTML, and this text has no tag: {page[:60]!r}")
    return Framed(page, check_int("height", height, minimum=100))
