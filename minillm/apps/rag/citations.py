"""Citations (출처 표시): [1] in an answer names the first source. A model also writes [7] where there are three.

    "It is 412 m long [1][7]."  with 3 sources  ->  "It is 412 m long [1]."   cited (1,)   removed (7,)

The answer may come in pieces, so what could still become a citation is held back: at most a blank and a bracket with
digits. What stands between backticks, on one line or between fences, is code (`a[0]`), and stays as it is.

Book: 9.1.2 프롬프트에 검색 결과 통합. Peer: LlamaIndex' CitationQueryEngine, which does not check. Left out: whether
the source says what the answer says it does.
"""

from __future__ import annotations

import re

from minillm._checks import check_int

_NUMBERS = r"\d{1,9}(?:, ?\d{1,9}){0,19}"
_FOUND = re.compile(rf"(?P<mark>`{{3}}|`{{1,2}}|\n)|(?P<blank>[ ]?)\[(?P<numbers>{_NUMBERS})\]", re.ASCII)
_OPEN = re.compile(rf"(?:[ ]?(?:\[(?:{_NUMBERS}(?:, ?)?)?)?|(?<!`)`+)\Z", re.ASCII)  # may become one, or ```


class CitationCheck:
    """Takes an answer in pieces and gives it back with the citations that exist. sources: how many there are.

    cited: the numbers that were named, in order of their first place; removed: those that name nothing."""

    def __init__(self, sources: int) -> None:
        self.sources = check_int("sources", sources, 0)
        self.cited: list[int] = []
        self.removed: list[int] = []
        self._held, self._code = "", ""  # _code: the mark that opened it

    def feed(self, piece: str) -> str:
        """What can be shown now."""
        text = self._held + piece
        hold = _OPEN.search(text).start()
        self._held = text[hold:]
        return _FOUND.sub(self._replacement, text[:hold])

    def end(self) -> str:
        """What was held back to the end."""
        text, self._held = self._held, ""
        return _FOUND.sub(self._replacement, text)

    def _replacement(self, found: re.Match) -> str:
        if mark := found["mark"]:
            self._code = self._after(mark)
        if mark or self._code:
            return found[0]
        numbers = list(dict.fromkeys(map(int, found["numbers"].split(","))))
        good = [one for one in numbers if 1 <= one <= self.sources]
        self.cited += [one for one in good if one not in self.cited]
        self.removed += [one for one in numbers if one not in good and one not in self.removed]
        return f"{found['blank']}[{', '.join(map(str, good))}]" if good else ""

    def _after(self, mark: str) -> str:
        """The mark that code stands behind now: a fence ends at a fence, a backtick at a backtick or the line's end."""
        if self._code == "```" or mark == "```":
            return ("" if self._code == "```" else "```") if mark == "```" else self._code
        return "" if mark == "\n" or self._code else mark


def check_citations(text: str, sources: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """(the text without citations of what is not there, the numbers cited, the numbers removed)."""
    check = CitationCheck(sources)
    return check.feed(text) + check.end(), tuple(check.cited), tuple(check.removed)
