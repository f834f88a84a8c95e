"""BM25: keyword search. A document scores high when it has the rare words of the query, often, and is short.

    score(q, d) = sum over words w of q:  idf(w) * tf / (tf + k1 * (1 - b + b * |d| / average |d|))
    idf(w)      = ln((N - df + 0.5) / (df + 0.5) + 1)

tf: times w occurs in d, df: documents that have w, N: documents, |d|: words in d. k1 bounds what repeating a word
can gain, b says how much a long document pays for its length.

Book: 10.4.1 키워드 검색 방식: BM25. Paper: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework".
Peers: bm25s (variant "lucene") and rank_bm25 (variant "okapi"). The book multiplies every score by the constant
(k1 + 1), as "okapi" does; no ranking changes by that. The fast version below keeps an inverted index
(bm25_postings.py) and reads no more of it than the best k need (bm25_maxscore.py).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, compress, repeat
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int, check_number, describe, is_listing
from minillm._files import BadFileError, map_arrays, save_arrays
from minillm.search._ids import DocumentId, check_document_ids, check_texts
from minillm.search.bm25_maxscore import search_batch
from minillm.search.bm25_postings import (
    Counts,
    Postings,
    add_all,
    check_postings,
    count_words,
    join,
    rare_first,
    with_columns,
    with_impacts,
    without_unused,
)
from minillm.search.words import TOKENIZERS, standard_words

KIND = "BM25 index"  # of file

# --- the plain version: the formula, word by word -----------------------------------------------------------------


def lucene_idf(document_frequency: int, documents: int) -> float:
    """How much a word says: near 0 if it is everywhere, ln(N) if it is in one of N documents. Never negative."""
    # idf(w) = ln((N - df + 0.5) / (df + 0.5) + 1)
    return math.log((documents - document_frequency + 0.5) / (document_frequency + 0.5) + 1)


def okapi_idf(document_frequencies: Iterable[int], documents: int, epsilon: float = 0.25) -> list[float]:
    """The idf of every word as rank_bm25 counts it: ln((N - df + 0.5) / (df + 0.5)), which is below 0 for a word
    that is in more than half of the documents; such a word gets epsilon * (mean idf of all words) instead."""
    plain = [math.log(documents - df + 0.5) - math.log(df + 0.5) for df in document_frequencies]
    floor = epsilon * math.fsum(plain) / max(len(plain), 1)
    return [floor if idf < 0 else idf for idf in plain]


def saturation(tf: Any, length: Any, average: float, k1: float = 1.2, b: float = 0.75) -> Any:
    """The share, 0 to 1, of its idf that a word adds to a document of `length` words that has it tf >= 1 times;
    numbers or arrays."""
    return tf / (tf + k1 * (1 - b + b * length / average))


def bm25_plain(
    corpus: Sequence[Sequence[str]],
    query: Sequence[str],
    k1: float = 1.2,
    b: float = 0.75,
    variant: str = "lucene",
) -> list[float]:
    """The score of every document of `corpus` for `query`, all as lists of words. Reads the whole corpus a query."""
    counts = [Counter(words) for words in corpus]
    average = sum(len(words) for words in corpus) / len(corpus)
    frequency = Counter(word for count in counts for word in count)  # df: documents that have the word
    if variant == "okapi":
        idf = dict(zip(frequency, okapi_idf(frequency.values(), len(corpus)), strict=True))
    else:
        idf = {word: lucene_idf(df, len(corpus)) for word, df in frequency.items()}
    gain = k1 + 1 if variant == "okapi" else 1.0
    scores = []
    for words, count in zip(corpus, counts, strict=True):
        score = 0.0
        for word in query:
            if tf := count[word]:
                # idf(w) * tf / (tf + k1 * (1 - b + b * |d| / average |d|))
                score += gain * idf[word] * saturation(tf, len(words), average, k1, b)
        scores.append(score)
    return scores


# --- the fast version ---------------------------------------------------------------------------------------------


class _Vocabulary(dict):
    """Word -> number, in the order in which words were first seen; a word that is looked up in [] is put in."""

    def __missing__(self, word: str) -> int:
        if not isinstance(word, str):
            raise ValueError(f"words must be str, got {describe(word)}")
        self[word] = number = len(self)
        return number


def short(ids: list[DocumentId]) -> Sequence[DocumentId]:
    """The ids; a range where they are 0, 1, 2, ..."""
    return range(len(ids)) if ids == list(range(len(ids))) else ids


NO_DOCUMENTS = Counts(
    np.zeros(1, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.int64)
)


class BM25:
    """A BM25 index over N texts, which may change.

    k1 >= 0 and 0 <= b <= 1 as in the formula; `variant` "lucene" scores like bm25s, "okapi" like rank_bm25;
    `tokenizer` turns a str into a list of str: "english", "korean", a function, or None for `standard_words`, which
    suits both languages and code (words.py). Raises ValueError for anything else.

    Every document that comes or goes changes the idf of words and the average length, and so every stored impact.
    `add` and `remove` therefore only note what changed. The next search brings the index up to date, in one pass over
    all postings without splitting a text again: it then holds what `fit` on the same texts would. Take many documents
    in or out before you search again. Threads may search beside each other, and beside `add` and `remove`.
    """

    def __init__(
        self,
        k1: float = 1.2,
        b: float = 0.75,
        tokenizer: Callable[[str], list[str]] | str | None = None,
        variant: str = "lucene",
    ) -> None:
        self.k1 = check_number("k1", k1, minimum=0)
        self.b = check_number("b", b, minimum=0, maximum=1)
        self.variant = check_choice("variant", variant, ("lucene", "okapi"))
        if isinstance(tokenizer, str):
            tokenizer = TOKENIZERS[check_choice("tokenizer", tokenizer, TOKENIZERS)]
        if tokenizer is not None and not callable(tokenizer):
            raise ValueError(
                f"tokenizer must be a function from str to list[str], or a name, got {describe(tokenizer)}"
            )
        self.tokenizer = tokenizer or standard_words
        self._vocabulary = _Vocabulary()
        self._places: dict[DocumentId, int] = {}  # id -> number: a place in _counts, then in what is new
        self._counts = NO_DOCUMENTS
        self._new_words, self._new_lengths = array("i"), array("q")  # of documents that came since _counts
        self._removed: list[int] = []  # numbers of documents that went since
        self._next_id = 0
        self._ready: tuple[Postings, Sequence[DocumentId]] | None = (
            None  # what a search reads; None: not up to date
        )
        self._lock = RLock()  # a search beside `add` finds what was there before it, or after

    def fit(self, corpus: Iterable[str | list[str]], ids: Sequence[DocumentId] | None = None) -> BM25:
        """Index `corpus` (N texts, N >= 1), replacing what was indexed before; returns self.

        A text may be a list of words that is already split. ids: N different str or int names that rankings will use
        (default 0 .. N-1). Texts may be empty or equal. Raises ValueError for an empty corpus, a text that is none,
        or ids that do not fit; the index is then as it was before the call.
        """
        fresh = BM25(self.k1, self.b, self.tokenizer, self.variant)
        fresh.add(corpus, ids)
        if not len(fresh):
            raise ValueError("corpus must hold at least one text, got none")
        fresh._up_to_date()
        with self._lock:
            vars(self).update({name: value for name, value in vars(fresh).items() if name != "_lock"})
        return self

    def add(self, documents: Iterable[str | list[str]], ids: Sequence[DocumentId] | None = None) -> None:
        """Take texts in, after those that are there. ids as in `fit`, new to the index; without them the next free
        numbers are given, and those of removed documents are not used again. Raises ValueError as `fit`; then nothing
        was added."""
        if not is_listing(documents):
            raise ValueError(f"corpus must be a list of str, got {describe(documents)}")
        documents = list(documents)
        with self._lock:
            if ids is None:
                ids = range(self._next_id, self._next_id + len(documents))
            ids = check_document_ids(ids, len(documents))
            if there := [one for one in ids if one in self._places]:
                raise ValueError(f"ids must be new, got {there[0]!r} which is already there")
            words, lengths = self._numbers(documents)
            first = len(self._counts.lengths) + len(self._new_lengths)
            self._places.update(zip(ids, range(first, first + len(ids))))
            self._next_id = max([self._next_id, *(one + 1 for one in ids if isinstance(one, int))])
            self._new_words += words
            self._new_lengths += lengths
            self._ready = None

    def remove(self, ids: Iterable[DocumentId]) -> None:
        """Take documents out, with the words that no other document has. Raises ValueError when an id is not there or
        is listed twice; then nothing was removed."""
        if not is_listing(ids):
            raise ValueError(f"ids must be a list of str or int, got {describe(ids)}")
        ids = list(ids)
        ids = check_document_ids(ids, len(ids))
        with self._lock:
            if missing := [one for one in ids if one not in self._places]:
                raise ValueError(f"ids must be in the index, got {missing[0]!r} which is not")
            self._removed += [self._places.pop(one) for one in ids]
            self._ready = None

    def __len__(self) -> int:
        """Number of indexed documents; 0 before `fit`."""
        return len(self._places)

    @property
    def ids(self) -> list[DocumentId]:
        """The names of the documents, in the order of the corpus."""
        return list(self._places)

    def scores(self, query: str) -> np.ndarray:
        """The score of every document for one query, float32 (N,), in the order of the corpus.

        Words that no document has add nothing; a word twice in the query counts twice, as in both peers.
        Raises ValueError when `query` is no str.
        """
        (query,) = check_texts("query", [query])
        postings, ids = self._up_to_date()
        words, _ = self._known([query], postings)
        return add_all(rare_first(words, postings.starts), postings, len(ids))[0]

    def document_frequency(self, word: str) -> int:
        """How many documents have the word, as the tokenizer writes it; 0 for an unknown one."""
        with self._lock:
            starts, number = self._up_to_date()[0].starts, self._vocabulary.get(word)
        return 0 if number is None else int(starts[number + 1] - starts[number])

    def highest_scores(self) -> np.ndarray:
        """What each document would score for a query of all its words, each once: float32 (N,), and 1 for a document
        without words. `scores(query)` divided by it is the share of a document that the query names."""
        postings, ids = self._up_to_date()
        highest = np.bincount(postings.documents, weights=postings.impacts, minlength=len(ids))
        return np.where(highest > 0, highest, 1).astype(np.float32)

    def search(self, queries: Sequence[str | list[str]], k: int = 10) -> list[list[tuple[DocumentId, float]]]:
        """The best k documents of each query as [(id, score), ...], best first, equal scores in corpus order.

        A query may be a list of words that is already split. Only documents that share a word with the query are
        listed, so a ranking may be shorter than k, or empty. Raises ValueError when `queries` is no list of str or of
        lists of str, or k < 1.
        """
        if not is_listing(queries):
            raise ValueError(f"queries must be a list of str, got {describe(queries)}")
        k = check_int("k", k, minimum=1)
        postings, ids = self._up_to_date()
        words, starts = self._known(queries, postings)
        found, scores, lengths = search_batch(words, starts, postings, len(ids), k)
        # Python's own numbers and pairs for all queries at once: one by one they would take longer than the search.
        names = found.ravel().tolist()
        if not isinstance(ids, range):  # a place is no id
            names = map(ids.__getitem__, names)
        pairs, width = list(zip(names, scores.ravel().tolist())), found.shape[1]
        return [pairs[first : first + n] for first, n in zip(range(0, len(pairs), width), lengths.tolist())]

    def save(self, path: str | Path) -> Path:
        """Write the index as one file, whole or not at all. A tokenizer of your own is not stored: pass it to load.

        Raises ValueError for ids or words that are no text (half a surrogate pair).
        """
        names = {function: name for name, function in TOKENIZERS.items()}
        with self._lock:
            postings, ids = self._up_to_date()
            meta = {
                "k1": self.k1,
                "b": self.b,
                "variant": self.variant,
                "tokenizer": names.get(self.tokenizer),  # None: of your own
                "ids": None if isinstance(ids, range) else ids,
                "next_id": self._next_id,
                "words": list(self._vocabulary),
            }
            arrays = {**self._counts._asdict(), "impacts": postings.impacts}
        return save_arrays(path, KIND, arrays, meta)

    @classmethod
    def load(cls, path: str | Path, tokenizer: Callable[[str], list[str]] | str | None = None) -> BM25:
        """The index that `save` wrote, its postings mapped from the file: they are read where they are used.

        Raises BadFileError (a ValueError) naming the file when it is cut or damaged, ValueError when it was built with
        a tokenizer of your own and none is passed.
        """
        arrays, meta = map_arrays(path, KIND)
        refusal = f"{KIND} {str(path)!r} is refused"
        try:
            k1, b, variant, own, ids, next_id, words = (
                meta[name] for name in ("k1", "b", "variant", "tokenizer", "ids", "next_id", "words")
            )
            counts, impacts = Counts(*(arrays[name] for name in Counts._fields)), arrays["impacts"]
        except (KeyError, TypeError) as error:
            raise BadFileError(f"{refusal}: it lacks {error}") from None
        if own is None and tokenizer is None:
            raise ValueError(f"{KIND} {str(path)!r} was built with its own tokenizer: pass tokenizer=")
        index = cls(k1, b, own if tokenizer is None else tokenizer, variant)
        try:
            check_postings(counts, impacts, len(words))
            ids = check_document_ids(ids, len(counts.lengths))
            index._next_id = check_int("next_id", next_id, 0)
            if index._numbers([words])[0].tolist() != list(range(len(words))):
                raise ValueError("its words must be different")
        except (ValueError, TypeError) as error:
            raise BadFileError(f"{refusal}: {error}") from None
        index._places, index._counts = {one: place for place, one in enumerate(ids)}, counts
        index._ready = with_columns(counts, impacts), short(ids)
        return index

    def _numbers(self, documents: list[str | list[str]]) -> tuple[array, array]:
        """The words of all documents as numbers, one document after the other, and how many words each has. New words
        are put into the vocabulary; not if one document is refused."""
        known, words, lengths = len(self._vocabulary), array("i"), array("q")
        try:
            for position, document in enumerate(documents):
                if not isinstance(document, (str, list, tuple)):
                    raise ValueError(
                        f"corpus must hold texts or lists of words, got {describe(document)} at position {position}"
                    )
                split = self._split(document) if isinstance(document, str) else document
                try:
                    words.fromlist(list(map(self._vocabulary.__getitem__, split)))
                except TypeError:  # a list, say, which is no key
                    raise ValueError(f"words must be str, got {describe(split)}") from None
                lengths.append(len(split))
        except BaseException:
            while len(self._vocabulary) > known:
                self._vocabulary.popitem()
            raise
        return words, lengths

    def _split(self, text: str) -> list[str]:
        words = self.tokenizer(text)
        if not isinstance(words, list):
            raise ValueError(f"tokenizer must return a list of str, got {describe(words)}")
        return words

    def _split_all(self, queries: Iterable[str | list[str]]) -> list[list[str]]:
        """The words of each query, which may be split already."""
        split = []
        for position, query in enumerate(queries):
            if isinstance(query, str):
                query = self._split(query)
            elif not isinstance(query, (list, tuple)):
                raise ValueError(
                    f"queries must hold str or lists of words, got {describe(query)} at position {position}"
                )
            split.append(query)
        for kind in set(map(type, chain.from_iterable(split))):
            if not issubclass(kind, str):
                raise ValueError(f"queries must hold words that are str, got one of type {kind.__name__}")
        return split

    def _known(self, queries: Iterable[str | list[str]], postings: Postings) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the queries' words that stand in the postings, one query after the other, int64, and where
        each query's begin and end, (Q + 1,) int64."""
        split = self._split_all(queries)
        ends = np.cumsum([0, *map(len, split)])
        found = map(self._vocabulary.get, chain.from_iterable(split), repeat(-1))
        numbers = np.fromiter(found, np.int64, ends[-1])
        known = (numbers >= 0) & (numbers < len(postings.most))
        if known.all():
            return numbers, ends
        return numbers[known], np.concatenate([[0], np.cumsum(known)])[ends]

    def _up_to_date(self) -> tuple[Postings, Sequence[DocumentId]]:
        """The postings with their impacts, and the documents' ids, after everything that came and went."""
        with self._lock:
            if self._ready is None:
                counts, vocabulary = self._counts, self._vocabulary
                if self._new_lengths or self._removed:
                    words, lengths = (
                        np.array(self._new_words, np.int32),
                        np.array(self._new_lengths, np.int64),
                    )
                    counts = join(counts, count_words(words, lengths, len(vocabulary)), self._removed)
                    counts, stays = without_unused(counts)
                    if not stays.all():
                        vocabulary = _Vocabulary(zip(compress(vocabulary, stays), range(len(vocabulary))))
                ids = short(list(self._places))
                ready = with_impacts(counts, *self._weights(counts)), ids
                self._places = dict(zip(ids, range(len(ids))))
                self._counts, self._vocabulary, self._ready = counts, vocabulary, ready
                self._new_words, self._new_lengths, self._removed = array("i"), array("q"), []
            return self._ready

    def _weights(self, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
        """What each word weighs (W,), and k1 * (1 - b + b * |d| / average |d|) of each document (N,), float64."""
        frequencies, documents = np.diff(counts.starts), len(counts.lengths)
        if self.variant == "okapi":
            idf = np.array(okapi_idf(frequencies.tolist(), documents)) * (self.k1 + 1)
        else:
            different, which = np.unique(frequencies, return_inverse=True)
            idf = np.array([lucene_idf(df, documents) for df in different.tolist()])[which]
        # texts without a single word have no postings to divide
        average = max(counts.lengths.sum() / max(documents, 1), 1e-9)
        return idf.astype(np.float64), self.k1 * (1 - self.b + self.b * counts.lengths / average)
