"""Pairs to learn from and an examination that was not seen, from one's own documents or one's own pairs.

    documents   a fifth of the documents is held out. From the others come pairs: a title and its text, a sentence and
                the passage that it was taken out of. From the held-out ones come the questions of the examination,
                by the same rule as an index grades itself (self_grading.py).
    pairs       what shares an anchor or a positive stays on one side; a fifth of these groups is the examination.

Every question must find its text among all texts, those of the training among them. What shares a sentence with the
training is not asked, and that nothing is shared is proven, not assumed (data/proof.py).

Book: 11.3 임베딩 모델 미세 조정하기. Paper: Lee, Chang & Toutanova 2019 (a sentence as the question for the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from minillm._checks import check_int, check_number, describe
from minillm.data import HeldOut, Passage, prove_held_out
from minillm.data.documents import plain_words
from minillm.data.proof import sentences, shared_sentences
from minillm.search.pairs import Pair, as_pairs
from minillm.search.self_grading import hold_out, take_sentence

FEWEST_DOCUMENTS = 5  # with fewer, sections are held out in their place


@dataclass(frozen=True)
class OwnData:
    """training: pairs. queries, gold: the examination, and for each query the ids of the texts that answer it.
    corpus: id -> text, of both sides. proof: that nothing of the examination stands in the training. left_out:
    questions that were not asked because they share a sentence with the training."""

    training: list[Pair]
    queries: list[str]
    gold: list[set[str]]
    corpus: dict[str, str]
    proof: HeldOut
    left_out: int = 0
    passages: list[Passage] = field(default_factory=list)  # what the training pairs were made from


def pairs_of_passages(passages: Sequence[Passage], sentences_each: int = 2, seed: int = 0) -> list[Pair]:
    """Questions that the passages themselves hold, each with its answer: a title and the text under it, and up to
    `sentences_each` sentences of a passage, each with the passage without most of its words."""
    generator = np.random.default_rng(check_int("seed", seed, 0))
    found: dict[tuple[str, str], Pair] = {}  # a sentence that is drawn twice is one pair
    for passage in passages:
        if passage.title.strip():
            found[passage.id, passage.title] = Pair(passage.title, passage.text)
        for _ in range(check_int("sentences_each", sentences_each, 0)):
            taken = take_sentence(passage, generator)
            if taken:
                sentence, rest = taken
                found[passage.id, sentence] = Pair(sentence, f"{rest.title}\n{rest.text}")
    return [one for one in found.values() if one.positive.strip()]


def data_of_passages(
    passages: Sequence[Passage], held_out: float = 0.2, sentences_each: int = 2, seed: int = 0
) -> OwnData:
    """Training pairs and an examination from passages. held_out: the share of the documents, or, of fewer than five, of
    their sections. Raises ValueError where nothing is left to learn from or to ask."""
    share, seed = check_number("held_out", held_out, 0.01, 0.9), check_int("seed", seed, 0)
    passages = list(passages)
    if not passages or not all(isinstance(one, Passage) for one in passages):
        raise ValueError(f"passages must be a list of Passages, got {describe(passages)}")
    few = len({one.document_id for one in passages}) < FEWEST_DOCUMENTS
    group_of = {one.id: (one.document_id, one.title if few else "") for one in passages}
    chosen = draw_share(sorted(set(group_of.values())), share, seed)
    exam = [one for one in passages if group_of[one.id] in chosen]
    taught = [one for one in passages if group_of[one.id] not in chosen]
    training = pairs_of_passages(taught, sentences_each, seed)
    if len(training) < 2:
        raise ValueError(
            f"too little text to learn from: {len(taught)} passages that are not held out make {len(training)} pairs"
        )
    held = hold_out(exam, seed)
    taught_texts = [f"{one.title}\n\n{one.text}" for one in taught]
    known = sentences_of(taught_texts)
    # short ones too, which `shared_sentences` lets pass, and titles
    whole = {plain_words(text) for text in (*known, *(one.anchor for one in training))}
    original = {one.id: one.text for one in exam}
    leaked = set(shared_sentences([*held.queries, *sentences_of(list(original.values()))], known))
    asked = [
        plain_words(query) not in whole
        and leaked.isdisjoint([query, *sentences_of([original[one] for one in gold])])
        for query, gold in zip(held.queries, held.gold)
    ]
    queries = [query for query, fit in zip(held.queries, asked) if fit]
    gold = [right for right, fit in zip(held.gold, asked) if fit]
    if not queries:
        raise ValueError(
            f"nothing to ask: {len(exam)} held-out passages give {len(held.queries)} questions, and all of them share "
            "a sentence with the text to learn from; more text, or paragraphs of three sentences, would give some"
        )
    evaluation = [*queries, *(original[one] for one in sorted(set().union(*gold)))]
    return OwnData(
        training,
        queries,
        gold,
        {one.id: f"{one.title}\n{one.text}" for one in [*held.passages, *taught]},
        prove_held_out(evaluation, taught_texts),
        len(asked) - len(queries),
        taught,
    )


def data_of_pairs(pairs: Sequence[Pair], held_out: float = 0.2, seed: int = 0) -> OwnData:
    """Training pairs and an examination from pairs. held_out: the share of the pairs. Raises ValueError where nothing
    is left to learn from or to ask."""
    share, seed = check_number("held_out", held_out, 0.01, 0.9), check_int("seed", seed, 0)
    rows = list(dict.fromkeys(as_pairs(pairs)))
    groups = connected(rows)
    chosen = draw_share(groups, share, seed, sizes=groups)
    exam = [one for one, group in zip(rows, groups) if group in chosen]
    training = [one for one, group in zip(rows, groups) if group not in chosen]
    asked_texts = {plain_words(text) for one in exam for text in one[:2]}
    training = [
        one._replace(negatives=tuple(text for text in one.negatives if plain_words(text) not in asked_texts))
        for one in training
    ]
    if len(training) < 2:
        raise ValueError(f"too few pairs to learn from: {len(training)} of {len(rows)} are not held out")
    taught_texts = list(dict.fromkeys(text for one in training for text in (*one[:2], *one.negatives)))
    of_exam = {one: sentences_of(one[:2]) for one in exam}
    leaked = set(shared_sentences(chain(*of_exam.values()), sentences_of(taught_texts)))
    asked = [one for one in exam if leaked.isdisjoint(of_exam[one])]
    if not asked:
        raise ValueError(
            f"nothing to ask: all of the {len(exam)} held-out pairs share a sentence with those to learn from"
        )
    texts: dict[str, str] = {}  # one of those that are equal up to white space and letter case
    for one in rows:
        for text in (one.positive, *one.negatives):
            texts.setdefault(plain_words(text), text)
    ids = {key: str(number) for number, key in enumerate(texts)}
    right: dict[str, set[str]] = {}
    for one in rows:
        right.setdefault(plain_words(one.anchor), set()).add(ids[plain_words(one.positive)])
    queries = list({plain_words(one.anchor): one.anchor for one in asked}.values())
    return OwnData(
        training,
        queries,
        [right[plain_words(query)] for query in queries],
        {ids[key]: text for key, text in texts.items()},
        prove_held_out([text for one in asked for text in one[:2]], taught_texts),
        len(exam) - len(asked),
    )


def sentences_of(texts: Sequence[str]) -> list[str]:
    """The sentences of all texts."""
    return [sentence for text in texts for sentence in sentences(text)]


def draw_share(groups, share: float, seed: int, sizes: Sequence | None = None) -> set:
    """A seeded choice of groups that hold about `share` of all, at least one, and not all.

    sizes: a list in which each group stands once for every row that it has; by default each group counts once.
    """
    order = list(dict.fromkeys(groups))
    rows = list(groups if sizes is None else sizes)
    if len(order) < 2:
        raise ValueError(
            "nothing can be held out: everything belongs together (one section, or pairs that all share a text)"
        )
    counts = dict.fromkeys(order, 0)
    for one in rows:
        counts[one] += 1
    chosen, size = set(), 0
    for place in np.random.default_rng(seed).permutation(len(order))[:-1]:
        if size >= share * len(rows):
            break
        chosen.add(order[place])
        size += counts[order[place]]
    return chosen


def connected(pairs: Sequence[Pair]) -> list[int]:
    """For each pair the number of its group: pairs that share an anchor or a positive, at one or more removes.

    [("a", "x"), ("b", "y"), ("c", "x"), ("b", "z")] -> [0, 1, 0, 1].
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]  # halves the way for the next one
            key = parent[key]
        return key

    keys = [tuple(map(plain_words, one[:2])) for one in pairs]
    for anchor, positive in keys:
        parent[root(positive)] = root(anchor)
    numbers: dict[str, int] = {}
    return [numbers.setdefault(root(anchor), len(numbers)) for anchor, _ in keys]
