"""BM25: keyword search. A document scores high when it has the rare words of the query, often, and is short.

    score(q, d) = sum over words w of q:  idf(w) * tf / (tf + k1 * (1 - b + b * |d| / average |d|))
    idf(w)      = ln((N - df + 0.5) / (df + 0.5) + 1)

tf: times w occurs in d, df: documents that have w, N: documents, |d|: words in d. k1 bounds what repeating a word
can gain, b says how much a long document pays for its length.

Book: 10.4.1 키워드 검색 방식: BM25. Paper: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework".
Peers: bm25s (variant "lucene") and rank_bm25 (variant "okapi"). The book multiplies every score by the constant
(k1 + 1), as "okapi" does; no ranking changes by that. The fast version below keeps an inverted index
(bm25_postings.py) of documents that may come and go (bm25_documents.py), and reads no more of it than the best k need:
bm25_small.py for up to some thousand documents, bm25_maxscore.py for more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import check_choice, check_int, check_number, check_text, describe, is_listing
from minillm._files import BadFileError, map_arrays, save_arrays
from minillm.search._ids import DocumentId, check_texts
from minillm.search.bm25_documents import Documents
from minillm.search.bm25_maxscore import search_batch
from minillm.search.bm25_postings import (
    Counts,
    Postings,
    add_all,
    check_postings,
    rare_first,
    with_columns,
    with_impacts,
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
    """The score of every document of `corpus` for `query`, all as lists of words. Reads the whole corpus a query.

    Raises ValueError for a text that is not split, an empty corpus, or another variant.
    """
    check_texts("query", query)
    for words in corpus:
        check_texts("a document of corpus", words)
    if not len(corpus):
        raise ValueError("corpus must hold at least one document, got none")
    check_choice("variant", variant, ("lucene", "okapi"))
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


def short(ids: list[DocumentId]) -> Sequence[DocumentId]:
    """The ids; a range where they are 0, 1, 2, ..."""
    return range(len(ids)) if ids == list(range(len(ids))) else ids


class Ready(NamedTuple):
    """What a search reads; `add` and `remove` leave it alone."""

    postings: Postings
    ids: Sequence[DocumentId]
    vocabulary: dict[str, int]  # may have grown since: what is beyond the postings is not known yet


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
        self._documents = Documents()
        self._ready: Ready | None = None  # None: not up to date
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
        fresh.ready()
        with self._lock:
            vars(self).update(fresh.__getstate__())
        return self

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which copies and other processes cannot share."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=RLock())

    def add(self, documents: Iterable[str | list[str]], ids: Sequence[DocumentId] | None = None) -> None:
        """Take texts in, after those that are there. ids as in `fit`, new to the index; without them the next free
        numbers are given, and those of removed documents are not used again. Raises ValueError as `fit`; then nothing
        was added."""
        with self._lock:
            self._documents.add(documents, ids, self._split)
            self._ready = None

    def remove(self, ids: Iterable[DocumentId]) -> None:
        """Take documents out, with the words that no other document has. Raises ValueError when an id is not there or
        is listed twice; then nothing was removed."""
        with self._lock:
            self._documents.remove(ids)
            self._ready = None

    def __len__(self) -> int:
        """Number of indexed documents; 0 before `fit`."""
        return len(self._documents.places)

    @property
    def ids(self) -> list[DocumentId]:
        """The names of the documents, in the order of the corpus."""
        return list(self._documents.places)

    def scores(self, query: str) -> np.ndarray:
        """The score of every document for one query, float32 (N,), in the order of the corpus.

        Words that no document has add nothing; a word twice in the query counts twice, as in both peers.
        Raises ValueError when `query` is no str.
        """
        (query,) = check_texts("query", [query])
        postings, ids, vocabulary = self.ready()
        words, _ = self._known([query], vocabulary, len(postings.most))
        return add_all(rare_first(words, postings.starts), postings, len(ids))[0]

    def document_frequency(self, word: str) -> int:
        """How many documents have the word, as the tokenizer writes it; 0 for an unknown one. Raises ValueError when
        `word` is no str."""
        check_text("word", word)
        postings, _, vocabulary = self.ready()
        starts, number = postings.starts, vocabulary.get(word, len(postings.most))
        return int(starts[number + 1] - starts[number]) if number < len(postings.most) else 0

    def highest_scores(self) -> np.ndarray:
        """What each document would score for a query of all its words, each once: float32 (N,), and 1 for a document
        without words. `scores(query)` divided by it is the share of a document that the query names."""
        postings, ids, _ = self.ready()
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
        postings, ids, vocabulary = self.ready()
        words, starts = self._known(queries, vocabulary, len(postings.most))
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
            postings, ids, vocabulary = self.ready()
            meta = {
                "k1": self.k1,
                "b": self.b,
                "variant": self.variant,
                "tokenizer": names.get(self.tokenizer),  # None: of your own
                "ids": None if isinstance(ids, range) else ids,
                "next_id": self._documents.next_id,
                "words": list(vocabulary),
            }
            arrays = {**self._documents.counts._asdict(), "impacts": postings.impacts}
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
            index._documents = Documents.restored(counts, words, ids, next_id)
        except (ValueError, TypeError) as error:
            raise BadFileError(f"{refusal}: {error}") from None
        index._ready = Ready(with_columns(counts, impacts), short(index.ids), index._documents.vocabulary)
        return index

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

    def _known(
        self, queries: Iterable[str | list[str]], vocabulary: dict[str, int], words: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the queries' words that are below `words`, one query after the other, int64, and where each
        query's begin and end, (Q + 1,) int64."""
        split = self._split_all(queries)
        ends = np.cumsum([0, *map(len, split)])
        found = map(vocabulary.get, chain.from_iterable(split), repeat(-1))
        numbers = np.fromiter(found, np.int64, ends[-1])
        known = (numbers >= 0) & (numbers < words)
        if known.all():
            return numbers, ends
        return numbers[known], np.concatenate([[0], np.cumsum(known)])[ends]

    def ready(self) -> Ready:
        """What a search reads, after everything that came and went."""
        with self._lock:
            if self._ready is None:
                counts = self._documents.settled()
                postings = with_impacts(counts, *self._weights(counts))
                self._ready = Ready(postings, short(self.ids), self._documents.vocabulary)
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
