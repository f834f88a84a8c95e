"""Text to learn from and text to be examined on, with no paragraph in both.

A language model that has seen its exam only recites. Python's reference repeats whole sections between
topics, and real corpora are no better (Lee et al. 2021, "Deduplicating Training Data Makes Language Models
Better"), so:
1. every paragraph is kept once, in the first document that has it;
2. documents are cut into stretches of neighbouring paragraphs, and a seeded choice of stretches is held out;
3. a held-out paragraph that is still the same or nearly the same as training text is dropped: one that shares a
   sentence, or more than a tenth of its word 8-grams, with it.
What is left is proven by `prove_held_out` (proof.py), which counts instead of trusting the steps above.

Book: 2.8 주요 사전 학습 메커니즘, 13.3 LLM 평가하기.
Left out: MinHash and suffix arrays, which find near copies in corpora too large to hold in one set.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from minillm._checks import check_int, check_number, check_text, describe
from minillm.data.documents import Document, check_documents, plain_words
from minillm.data.ngrams import word_ngrams
from minillm.data.proof import sentences, shared_sentences

_SHORT = 40  # characters; "See also:" may stand twice, it teaches nobody the exam


def paragraphs_once(documents: Iterable[Document]) -> list[list[str]]:
    """The paragraphs of each document, each long one in the first document that has it and nowhere else.

    Two paragraphs are the same when their words are (white space and letter case aside). A repeated short
    paragraph (under 40 characters: a heading, "See also:") goes only where the paragraph before it went, so
    that kept text stays readable and a removed section leaves no skeleton.
    """
    seen: set[str] = set()
    kept: list[list[str]] = []
    for document in check_documents(documents):
        kept.append([])
        previous_removed = False
        for paragraph in document.text.split("\n\n"):
            key = plain_words(paragraph)
            if not key:
                continue
            repeated = key in seen and (len(key) >= _SHORT or previous_removed)
            seen.add(key)
            if not repeated:
                kept[-1].append(paragraph.strip("\n"))
            previous_removed = repeated
    return kept


def train_and_held_out(
    documents: Iterable[Document], held_out: float = 0.1, seed: int = 0, stretch: int = 2000
) -> tuple[str, str]:
    """(training text, held-out text) of the documents, without repeats and with no paragraph in both.

    held_out: the share of the characters to hold out, at least 0.001 and at most 0.5; about that share comes
    back (a little less after near copies are dropped). stretch: characters of neighbouring text that stay
    together; a paragraph that is longer (a text without blank lines) is cut at line ends, or else at spaces.
    The same documents and seed give the same split. Raises ValueError when there is too little text for two sides.
    """
    share = check_number("held_out", held_out, 0.001, 0.5)
    seed = check_int("seed", seed, 0)
    stretch = check_int("stretch", stretch, 1)
    stretches: list[list[str]] = []
    for paragraphs in paragraphs_once(documents):
        size = stretch  # a document opens its own stretch
        for piece in (piece for paragraph in paragraphs for piece in _cut(paragraph, stretch)):
            if size >= stretch:
                stretches.append([])
                size = 0
            stretches[-1].append(piece)
            size += len(piece)
    if len(stretches) < 2:
        raise ValueError(
            f"too little text to hold some out: {len(stretches)} stretch(es) of about {stretch} characters, "
            "expected at least 2"
        )
    order = random.Random(seed).sample(range(len(stretches)), len(stretches))
    wanted = share * sum(len(paragraph) for piece in stretches for paragraph in piece)
    chosen: set[int] = set()
    size = 0
    for index in order[:-1]:  # at least one stretch stays to learn from
        if size >= wanted:
            break
        chosen.add(index)
        size += sum(map(len, stretches[index]))
    training = [p for index, piece in enumerate(stretches) if index not in chosen for p in piece]
    exam = [p for index in sorted(chosen) for p in stretches[index]]
    taught, taught_whole = word_ngrams("\n\n".join(training)), set(map(plain_words, training))
    taught_sentences = sentences("\n\n".join(training))
    leaked = set(shared_sentences([s for paragraph in exam for s in sentences(paragraph)], taught_sentences))
    exam = [
        paragraph
        for paragraph in exam
        if plain_words(paragraph) not in taught_whole
        and leaked.isdisjoint(sentences(paragraph))
        and _share_in(word_ngrams(paragraph), taught) <= 0.1
    ]
    if not exam:
        raise ValueError("nothing is left to hold out: every held-out paragraph nearly repeats training text")
    return "\n\n".join(training) + "\n", "\n\n".join(exam) + "\n"


def _cut(paragraph: str, stretch: int) -> list[str]:
    """The paragraph, or, where it is longer than a stretch, quarters of one, cut at line ends or else at spaces."""
    if len(paragraph) <= stretch:
        return [paragraph]
    steps = re.findall(r".*\n|.+", paragraph) if "\n" in paragraph else re.findall(r"\s*\S+", paragraph)
    pieces = [""]
    for step in steps:
        if pieces[-1] and len(pieces[-1]) + len(step) > stretch // 4:
            pieces.append("")
        pieces[-1] += step
    return [piece.strip("\n") for piece in pieces if piece.strip()]


def overlap(text: str, taught: str, n: int = 8) -> float:
    """The share of the word n-grams of `text` that stand in `taught` too, from 0 (none) to 1 (all)."""
    check_text("text", text)
    check_text("taught", taught)
    n = check_int("n", n, 1)
    return _share_in(word_ngrams(text, n), word_ngrams(taught, n))


def repeated_share(documents: Iterable[Document]) -> float:
    """The share of the characters of the documents that `paragraphs_once` removes as repeats, 0 to 1."""
    checked = check_documents(documents)
    total = sum(len("".join(document.text.split())) for document in checked)
    if not total:
        raise ValueError(f"documents hold no text, got {describe(checked)}")
    kept = sum(len("".join(p.split())) for paragraphs in paragraphs_once(checked) for p in paragraphs)
    return 1 - kept / total


def _share_in(ngrams: set[tuple[str, ...]], taught: set[tuple[str, ...]]) -> float:
    return len(ngrams & taught) / len(ngrams) if ngrams else 0.0
