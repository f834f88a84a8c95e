"""The one list of terms, English and Korean (terms.toml), from which the glossaries of the lessons are drawn.

    terms()["KV cache"]                    Term("KV cache", "KV 캐시", "the keys and values of the tokens so far, ...")
    print(glossary("token", "KV cache"))   the markdown table

python -m minillm.course.lessons.terms token "KV cache"      the same on the command line
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from minillm._checks import check_text
from minillm._files import BadFileError, read_bytes

HEADER = "| English | 한국어 | meaning |\n|---|---|---|"
_LIST = Path(__file__).with_name("terms.toml")


class Term(NamedTuple):
    """One entry: the English term, the Korean one, what it means in plain words."""

    english: str
    korean: str
    meaning: str


@functools.cache
def terms(path: str | Path = _LIST) -> dict[str, Term]:
    """All terms by their English name, in the order of the file; BadFileError for a damaged or doubled entry."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    text = read_bytes(path, "list of terms").decode("utf-8", errors="replace")
    found: dict[str, Term] = {}
    try:
        for section in tomllib.loads(text).values():
            for english, (korean, meaning) in section.items():
                if english in found:
                    raise ValueError(f"{english!r} stands twice")
                found[english] = Term(english, check_text("korean", korean), check_text("meaning", meaning))
    except (tomllib.TOMLDecodeError, ValueError, TypeError, AttributeError) as error:
        raise BadFileError(f"list of terms {str(path)!r} is refused: {error}") from None
    return found


def glossary(*names: str) -> str:
    """The markdown table of these terms, in this order; ValueError for a name that is not on the list."""
    return "\n".join([HEADER, *(row(term(name)) for name in names)])


def term(name: str) -> Term:
    """One term; ValueError that names close ones when it is not on the list."""
    known = terms()
    if check_text("term", name) not in known:
        close = get_close_matches(name, known, n=3)
        hint = f"; close ones: {', '.join(close)}" if close else ""
        raise ValueError(f"no term is named {name!r} in terms.toml{hint}")
    return known[name]


def row(one: Term) -> str:
    """A row of the table; | inside a cell is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in one) + " |"


def glossary_problems(markdown: str) -> list[str]:
    """What in a glossary's markdown is not on the list word for word; an empty list when all is well."""
    found = []
    if re.search(r"^\|", markdown, re.MULTILINE) and HEADER not in markdown:
        found.append(f"rows without a head are no table: begin it with {HEADER!r}")
    for line in markdown.splitlines():
        if not line.startswith("|") or line in HEADER.splitlines():
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        try:
            right = term(cells[0] if cells else "")
        except ValueError as error:
            found.append(str(error))
            continue
        if tuple(cells) != tuple(right):
            found.append(f"the row of {right.english!r} must be: {row(right)}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command line; prints the table, or all terms when none is named."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.lessons.terms", description=__doc__.split("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="English terms; none: all of them")
    options = parser.parse_args(arguments)
    try:
        print(glossary(*(options.names or terms())))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
