"""Documents, passages and questions: the plain records of every search, training text and answer.

A Document is a text with a name. A Passage is a piece of it, short enough to rank and to quote, that still
knows where it came from. A Question knows which documents answer it, so that a search engine can be judged.

Book: 9.1 검색 증강 생성(RAG).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minillm._checks import check_text, describe, is_listing


@dataclass(frozen=True)
class Document:
    """One text with a name: `id` is unique in its collection, `title` is for people, `text` is everything. metadata:
    what else is known of it, to filter by ({"year": 2024})."""

    id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        _check_texts(self, "id", "title", "text")
        if not isinstance(self.metadata, Mapping):
            raise ValueError(f"metadata of a Document must be a dict, got {describe(self.metadata)}")


@dataclass(frozen=True)
class Passage:
    """A piece of a document: `id` is "document_id#number", `title` its nearest heading, `text` what is ranked."""

    id: str
    document_id: str
    title: str
    text: str

    def __post_init__(self) -> None:
        _check_texts(self, "id", "document_id", "title", "text")


@dataclass(frozen=True)
class Question:
    """A question with what answers it.

    gold: ids of the documents that contain the answer (any of them counts as found).
    evidence: phrases of the answer; a passage of a gold document that holds one of them answers the question.
    kind: how it was asked, for example "paraphrase" or "symptom" ("" when nobody said).
    """

    text: str
    gold: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    kind: str = ""

    def __post_init__(self) -> None:
        _check_texts(self, "text", "kind")
        for name, ids in (("gold", self.gold), ("evidence", self.evidence)):
            if not isinstance(ids, tuple) or not all(isinstance(value, str) for value in ids):
                raise ValueError(f"{name} of a Question must be a tuple of str, got {describe(ids)}")

    def answered_by(self, passage: Passage) -> bool:
        """Whether the passage's document is gold and, where there is evidence, a phrase of it stands in the text."""
        if passage.document_id not in self.gold:
            return False
        text = plain_words(passage.text)
        return not self.evidence or any(plain_words(phrase) in text for phrase in self.evidence)


def _check_texts(record: object, *names: str) -> None:
    for name in names:
        check_text(f"{name} of a {type(record).__name__}", getattr(record, name))


def plain_words(text: str) -> str:
    """The text in lower case, every run of white space one space, its letters composed (NFC): equal for copies that are
    wrapped anew, and for Hangul in one code point a syllable or in three."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def check_passages(passages: Iterable[Passage], least: int = 0) -> list[Passage]:
    """The passages as a list; ValueError if one is not a Passage, two share an id, or there are fewer than `least`."""
    checked = list(passages) if is_listing(passages) else []
    if (
        not is_listing(passages)
        or not all(isinstance(one, Passage) for one in checked)
        or len(checked) < least
    ):
        at_least = {0: "", 2: "at least two "}.get(least, f"at least {least} ")
        raise ValueError(f"passages must be a list of {at_least}Passages, got {describe(passages)}")
    names = [one.id for one in checked]
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ValueError(f"passage ids must differ, {twice!r} came twice")
    return checked


def check_documents(documents: Iterable[Document]) -> list[Document]:
    """The documents as a list; ValueError if one is not a Document or two share an id."""
    if isinstance(documents, Document) or not is_listing(documents):
        raise ValueError(f"documents must be a list of Documents, got {describe(documents)}")
    checked = list(documents)
    seen: set[str] = set()
    for document in checked:
        if not isinstance(document, Document):
            raise ValueError(f"documents must be a list of Documents, found {describe(document)} in it")
        if document.id in seen:
            raise ValueError(f"document ids must differ, {document.id!r} came twice")
        seen.add(document.id)
    return checked
