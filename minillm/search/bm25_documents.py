"""Documents that come and go: the words of each, counted once, whatever an index makes of the counts.

`add` and `remove` only note what changed; `settled` brings the counts up to date in one pass over all postings, without
splitting a text again. They are then what they would be if the documents that are there had come in this order.
Numbers of words and documents follow each other without gaps, so words that nobody has any more are forgotten.

Peer: none; bm25s builds its index anew.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np

from minillm._checks import check_int, describe, is_listing
from minillm.search._ids import DocumentId, check_document_ids
from minillm.search.bm25_postings import Counts, count_words, join, without_unused


class Vocabulary(dict):
    """Word -> number, in the order in which words were first seen; a word that is looked up in [] is put in."""

    def __missing__(self, word: str) -> int:
        if not isinstance(word, str):
            raise ValueError(f"words must be str, got {describe(word)}")
        self[word] = number = len(self)
        return number


class Documents:
    """N documents under different ids, in the order in which they came.

    places: id -> number of the document; counts and vocabulary: those of `settled`, until something changes.
    """

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        self.places: dict[DocumentId, int] = {}  # a place in counts, then in what is new
        self.counts = Counts(
            np.zeros(1, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.int64)
        )
        self.next_id = 0
        self._new_words, self._new_lengths = array("i"), array("q")  # of documents that came since
        self._removed: list[int] = []  # numbers of documents that went since

    @classmethod
    def restored(cls, counts: Counts, words: list[str], ids: Any, next_id: Any) -> Documents:
        """The documents that were saved; ValueError for parts that do not fit."""
        documents = cls()
        ids = check_document_ids(ids, len(counts.lengths))
        documents.next_id = check_int("next_id", next_id, 0)
        if documents._numbers([words], list)[0].tolist() != list(range(len(words))):
            raise ValueError("its words must be different")
        documents.places, documents.counts = {one: place for place, one in enumerate(ids)}, counts
        return documents

    def add(
        self, documents: Iterable[Any], ids: Sequence[DocumentId] | None, split: Callable[[str], list[str]]
    ) -> None:
        """Take documents in, texts for `split` or lists of words. Without ids the next free numbers are given, and
        those of removed documents are not used again. ValueError for what does not fit; then nothing was added."""
        if not is_listing(documents) or isinstance(documents, Mapping):  # a dict would be read by its keys
            raise ValueError(f"corpus must be a list of str, got {describe(documents)}")
        documents = list(documents)
        if ids is None:
            ids = range(self.next_id, self.next_id + len(documents))
        ids = check_document_ids(ids, len(documents))
        if there := [one for one in ids if one in self.places]:
            raise ValueError(f"ids must be new, got {there[0]!r} which is already there")
        words, lengths = self._numbers(documents, split)
        first = len(self.counts.lengths) + len(self._new_lengths)
        self.places.update(zip(ids, range(first, first + len(ids))))
        self.next_id = max([self.next_id, *(one + 1 for one in ids if isinstance(one, int))])
        self._new_words += words
        self._new_lengths += lengths

    def remove(self, ids: Iterable[DocumentId]) -> None:
        """Take documents out. ValueError when an id is not there or is listed twice; then nothing was removed."""
        if not is_listing(ids):
            raise ValueError(f"ids must be a list of str or int, got {describe(ids)}")
        ids = list(ids)
        ids = check_document_ids(ids, len(ids))
        if missing := [one for one in ids if one not in self.places]:
            raise ValueError(f"ids must be in the index, got {missing[0]!r} which is not")
        self._removed += [self.places.pop(one) for one in ids]

    def settled(self) -> Counts:
        """The counts of the documents that are there, after everything that came and went."""
        if self._new_lengths or self._removed:
            words, lengths = np.array(self._new_words, np.int32), np.array(self._new_lengths, np.int64)
            counts = join(self.counts, count_words(words, lengths, len(self.vocabulary)), self._removed)
            counts, stays = without_unused(counts)
            if not stays.all():
                kept = compress(self.vocabulary, stays)
                # A new one: a search in another thread reads on in the old one.
                self.vocabulary = Vocabulary(zip(kept, range(len(self.vocabulary))))
            self.places = dict(zip(self.places, range(len(self.places))))
            self.counts = counts
            self._new_words, self._new_lengths, self._removed = array("i"), array("q"), []
        return self.counts

    def _numbers(self, documents: list[Any], split: Callable[[str], list[str]]) -> tuple[array, array]:
        """The words of all documents as numbers, one document after the other, and how many words each has. New words
        are put into the vocabulary; not if one document is refused."""
        known, words, lengths = len(self.vocabulary), array("i"), array("q")
        try:
            for position, document in enumerate(documents):
                if not isinstance(document, (str, list, tuple)):
                    raise ValueError(
                        f"corpus must hold texts or lists of words, got {describe(document)} at position {position}"
                    )
                own = split(document) if isinstance(document, str) else document
                try:
                    words.fromlist(list(map(self.vocabulary.__getitem__, own)))
                except TypeError:  # a list, say, which is no key
                    raise ValueError(f"words must be str, got {describe(own)}") from None
                lengths.append(len(own))
        except BaseException:
            while len(self.vocabulary) > known:
                self.vocabulary.popitem()
            raise
        return words, lengths
