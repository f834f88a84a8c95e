"""Texts that stand in JSON: a notebook's cells, and files of one JSON object a line.

    notebook (.ipynb)   Markdown cells as they are, code cells in a fence; what the code printed is left out
    .jsonl              {"text": "...", "title": "...", "id": "..."} a line; title and id may be missing

Book: 10.3 실습: 의미 검색 구현하기. Left out: notebooks of format 3 and older, which jupyter converts.
"""

from __future__ import annotations

import json
from typing import Any

from minillm._checks import describe
from minillm.data.documents import Document
from minillm.data.python_modules import code_fence


def notebook_text(source: str) -> str:
    """The text of a notebook. ValueError, saying why, for anything but a notebook of format 4."""
    found = _parsed(source)
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError("it is no notebook of format 4: it has no list of cells")
    parts = []
    for number, cell in enumerate(cells, 1):
        text = cell.get("source", "")
        lines = text if isinstance(text, list) else [text]
        if not all(isinstance(line, str) for line in lines):
            raise ValueError(f"the source of its cell {number} is {describe(text)}")
        text = _text("".join(lines))
        parts.append(code_fence(text.split("\n")) if cell.get("cell_type") == "code" else text)
    return "\n\n".join(part for part in parts if part.strip())


def jsonl_documents(source: str, name: str) -> list[Document]:
    """A Document for every line that holds one, called "name:id", or "name:3" for the third line where it has no id.

    An id may be a text or a whole number. ValueError, naming the line, for one that is no JSON object with a text, and
    for an id that came before.
    """
    documents: dict[str, Document] = {}
    for number, line in enumerate(source.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = _parsed(line)
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError(f"expected an object with a text under 'text', got {describe(row)}")
            own = row.get("id", row.get("_id", number))  # "_id" as the BEIR collections have it
            if isinstance(own, bool) or not isinstance(own, (str, int)):
                raise ValueError(f"its id must be a text or a whole number, got {describe(own)}")
            title = row.get("title") or ""
            if not isinstance(title, str):
                raise ValueError(f"its title must be a text, got {describe(title)}")
            one = f"{name}:{_text(str(own))}"
            if one in documents:
                raise ValueError(f"its id {own!r} came before")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if row["text"].strip():
            documents[one] = Document(one, _text(title), _text(row["text"]))
    return list(documents.values())


def _parsed(source: str) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from None


def _text(text: str) -> str:
    """`text`, with "\\n" for every line end."""
    return check_characters(text).replace("\r\n", "\n").replace("\r", "\n")


def check_characters(text: str) -> str:
    """`text`, if it is whole: JSON can hold half a surrogate pair, which is no character. ValueError for such."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"it holds half a surrogate pair: {text[max(0, error.start - 9) : error.end]!a}"
        ) from None
    return text
