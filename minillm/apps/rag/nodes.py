"""Nodes (노드): the pieces of documents that are found, put into a prompt and named as sources.

    node.text == document.text[node.start : node.end]            so that a source can be shown where it stands

Book: 9.1.1 데이터 저장. Peer: LlamaIndex' TextNode and NodeWithScore.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """A piece of a document. id: "document_id#number"; title: its document's; start, end: characters of its document,
    None where they are not known; metadata: its document's."""

    id: str
    document_id: str
    title: str
    text: str
    start: int | None
    end: int | None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def indexed(self) -> str:
        """What is searched: the title, which often names what the text only calls "it", and the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True)
class NodeWithScore:
    """A node that was found, and its score: of the last stage that ordered it."""

    node: Node
    score: float

    @property
    def text(self) -> str:
        """The node's text."""
        return self.node.text

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The node's metadata."""
        return self.node.metadata


class RetrievalError(RuntimeError):
    """The search behind an answer failed; __cause__ is what it raised."""


class GenerationError(RuntimeError):
    """The model behind an answer failed, or said nothing that could be one; __cause__ is what it raised, if it did."""


def failed(error: Exception) -> GenerationError:
    """A model's error by name."""
    return GenerationError(f"the model failed: {type(error).__name__}: {error}")
