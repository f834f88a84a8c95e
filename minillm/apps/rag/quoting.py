"""Answers without a model: the sentence of the sources that says most of the question, quoted, with its number.

    share(q, s) = sum of idf(w) over the words w of q that the sentence s says / sum of idf(w) over all words of q

Of equal sentences, one that holds the kind of thing that is asked for comes first: a number for "how long". It invents
nothing and works in Korean, where a small model fails; it cannot put two sentences together, and what the question
calls by other words it does not find. Words of a title count for all sentences below it.

Book: 9.1 검색 증강 생성(RAG). Peer: the extractive readers of 3.5 (question answering), which are trained.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from minillm.apps.rag.nodes import Node
from minillm.apps.rag.sentences import sentence_spans
from minillm.search.bm25 import lucene_idf
from minillm.search.confidence import share_named
from minillm.search.words import content_words, singular

# what kind of thing a question asks for, and what such a thing looks like
_ASKED = [
    (re.compile(r"(?i)how (?:many|much|long|old|far|high|heavy|wide|large)|몇|얼마"), re.compile(r"\d")),
    (re.compile(r"(?i)\bwhen\b|which (?:year|month|day)|언제|며칠"), re.compile(r"\d|요일|day\b|January|February|"
     r"March|April|May|June|July|August|September|October|November|December")),
]  # fmt: skip


class Weighed(NamedTuple):
    """A sentence of the sources: the share of the question that it says, whether it holds the kind of thing that is
    asked for, its text, and the number of its source, from 1."""

    share: float
    fits: bool
    text: str
    source: int


def quote(question: str, nodes: Sequence[Node]) -> str:
    """The best sentence and its source, "It is 412 metres long. [1]"; of equal ones the one that holds what is asked
    for, or the first. "" where no sentence shares a word with the question."""
    best = max(weigh_sentences(question, nodes), key=lambda one: one[:2], default=None)
    return f"{best.text} [{best.source}]" if best and best.share else ""


def weigh_sentences(question: str, nodes: Sequence[Node]) -> list[Weighed]:
    """Every sentence of the nodes, in order. How rare a word is (idf) is counted over these sentences."""
    sentences = [
        (number, node.title, node.text[start:end])
        for number, node in enumerate(nodes, 1)
        for start, end in sentence_spans(node.text)
    ]
    said = [words_of(f"{title}\n{text}") for _, title, text in sentences]
    counts = Counter(word for words in said for word in words)
    asked = words_of(question)
    wanted = [form for kind, form in _ASKED if kind.search(question)]
    found = []
    for (number, _, text), words in zip(sentences, said):
        share = share_named(asked, words, lambda word: lucene_idf(counts[word], len(sentences)))
        share = round(share, 9)  # words come in any order, and sums of any order are one
        fits = any(form.search(text) for form in wanted)
        found.append(Weighed(share, fits, " ".join(text.split()), number))
    return found


def words_of(text: str) -> set[str]:
    """The words that count, English ones in their singular."""
    return {singular(word) for word in content_words(text)}
