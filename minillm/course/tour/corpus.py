"""The text of a tour, as its stages take it. Nothing heavy is imported here: a wrong path is said at once.

Book: 1장 LLM 지도.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minillm.course.tour.settings import TourSettings
from minillm.data import (
    Document,
    HeldOut,
    Passage,
    Question,
    prove_held_out,
    python_docs,
    python_questions,
    read_documents,
    split_passages,
    train_and_held_out,
)

SMALLEST = 10_000  # characters; less text than this teaches no model


@dataclass(frozen=True)
class Corpus:
    """The text of a tour: documents, the same without repeats cut into a training and a held-out part, questions."""

    name: str
    documents: list[Document]
    training_text: str
    held_out_text: str
    questions: list[Question]  # empty for the user's own text: nobody wrote questions for it
    proof: HeldOut  # that no held-out sentence stands in the training text


def load_documents(data: str | Path | None = None) -> list[Document]:
    """Python's own language reference, or the text files at `data`."""
    return python_docs() if data is None else read_documents(data)


def cut_passages(documents: list[Document]) -> list[Passage]:
    """The passages that an index holds, of up to 150 words each. ValueError for fewer than two."""
    passages = split_passages(documents, max_words=150)
    if len(passages) < 2:
        raise ValueError(
            f"an index needs two passages at least, of up to 150 words each, and this text makes {len(passages)}: "
            "add text, or blank lines between its paragraphs"
        )
    return passages


def load_corpus(settings: TourSettings, data: str | Path | None = None) -> Corpus:
    """The documents, cut to train a model on them. ValueError if there is too little text for that."""
    documents = load_documents(data)
    size = sum(len(document.text) for document in documents)
    if size < SMALLEST:
        raise ValueError(
            f"{data} holds {size:,} characters of text, too few to learn from: it needs at least {SMALLEST:,}"
        )
    training_text, held_out_text = train_and_held_out(documents, seed=settings.seed)
    proof = prove_held_out(held_out_text, training_text)
    name = "Python's language reference" if data is None else str(data)
    questions = python_questions() if data is None else []
    return Corpus(name, documents, training_text, held_out_text, questions, proof)
