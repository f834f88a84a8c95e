"""The course's one list of terms, terms.toml: English, Korean, and one plain sentence. Glossaries draw from it.

A lesson's glossary is a table with one term a row; an author writes only `| token |`, and `author run` fills the row
in from the list. The rule `glossary` holds every row to the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minillm._files import BadFileError, read_bytes

TERMS = Path(__file__).with_name("terms.toml")
HEADER = "| English | 한국어 | meaning |\n|---|---|---|"


@dataclass(frozen=True)
class Term:
    """One entry of the list."""

    english: str
    korean: str
    meaning: str

    @property
    def row(self) -> str:
        return f"| {self.english} | {self.korean} | {self.meaning} |"


@lru_cache(maxsize=1)
def load_terms(path: Path = TERMS) -> dict[str, Term]:
    """The list by English term; BadFileError when it is damaged, lacks a field, or has a term twice."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    text = read_bytes(path, "list of terms").decode("utf-8", errors="replace")
    try:
        terms = [Term(**entry) for entry in tomllib.loads(text).get("term", [])]
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise BadFileError(f"list of terms {path.name} is refused: {error}") from None
    found: dict[str, Term] = {}
    for term in terms:
        if term.english in found:
            raise BadFileError(f"list of terms {path.name} has {term.english!r} twice")
        if not all(isinstance(one, str) and one and "|" not in one for one in vars(term).values()):
            raise BadFileError(f"list of terms {path.name}: {term.english!r} needs three texts without |")
        found[term.english] = term
    return found


def rows_of(markdown: str) -> Iterator[tuple[str, str, str]]:
    """(English, Korean, meaning) of every row under `## Glossary`; missing cells are empty."""
    for line in _glossary(markdown).split("\n"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if (
            line.lstrip().startswith("|")
            and cells[0] not in {"English", ""}
            and not re.fullmatch(r":?-+:?", cells[0])
        ):
            english, korean, meaning = [*cells, "", ""][:3]
            yield english, korean, meaning


def filled(markdown: str) -> str:
    """The same text with each glossary row that names only its English term written out from the list."""
    glossary = _glossary(markdown)
    terms = load_terms()
    lines = glossary.split("\n")
    for index, line in enumerate(lines):
        for english, korean, meaning in rows_of(f"## Glossary\n{line}"):
            if not korean and not meaning and english in terms:
                lines[index] = terms[english].row
    return markdown.replace(glossary, "\n".join(lines)) if glossary else markdown


def _glossary(markdown: str) -> str:
    found = re.search(r"^## Glossary[^\n]*\n(.*?)(?=^#|\Z)", markdown, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""
