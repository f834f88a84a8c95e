"""Where sentences end, in English and Korean, by rules.

    ends       a mark . ! ? … and what closes behind it, before white space     "Stop." He went.
               a mark that Korean writes without the blank behind it            끝났다.그리고 나는 ...
               a blank line; a line end after a Korean ending (다 요 까 죠 ...) or before a point of a list
    does not   after Mr. Dr. e.g. or an initial; between numbers (2024. 3. 5., 3.5); in "갔다."라고, where it goes on

Left out: sentences that end without any mark in the middle of a line, which only a model of the language finds.
"""

from __future__ import annotations

import re

_END = re.compile(
    r"""(?<![.!?…])[.!?…]+["'”’」』)\]》]*(?=\s|$)"""  # from the first mark of a run: linear in its length
    r"""|(?<=[다요죠까네음함])[.!?]+(?=[가-힣])"""
    r"""|[。！？]+["'”’」』)\]》]*"""
    r"""|\n[ \t]*(?=\n)"""
    r"""|(?<=[다요죠까네음함])[ \t]*(?=\n)"""
    r"""|(?=\n[ \t]*(?:[-*•·]|\d{1,3}[.)])[ \t])"""
)
_DATE = re.compile(r"\d{4}\. ?\d{1,2}\. ?\d{1,2}$")  # 2024. 3. 5
# what stands before a full stop that ends nothing
_SHORT = re.compile(
    r"(?:(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|Fig|No|vs|cf|e\.g|i\.e|[A-Z])|(?:^|\n)[ \t]*\d{1,3})$"
)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of the sentences of a text, in order, without the white space around them; nothing else is left
    out."""
    spans, start = [], 0
    for end in [*(match.end() for match in _END.finditer(text) if not _goes_on(text, match)), len(text)]:
        piece = text[start:end]
        if piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            spans.append((first, first + len(piece.strip())))
        start = max(start, end)
    return spans


def _goes_on(text: str, match: re.Match) -> bool:
    """Whether a full stop is part of an abbreviation, an initial, the number of a list or a Korean date."""
    if match[0] != ".":
        return False
    before, after = (
        text[max(0, match.start() - 14) : match.start()],
        text[match.end() : match.end() + 4].lstrip(),
    )
    number = before[-1:].isdigit() and after[:1].isdigit()
    return number or bool(_SHORT.search(before) or _DATE.search(before))
