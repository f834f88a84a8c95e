"""BM25: keyword search. A document scores high when it has the rare words of the query, often, and is short.

    score(q, d) = sum over words w of q:  idf(w) * tf / (tf + k1 * (1 - b + b * |d| / average |d|))
    idf(w)      = ln((N - df + 0.5) / (df + 0.5) + 1)

tf: times w occurs in d, df: documents that have w, N: documents, |d|: words in d. k1 bounds what repeating a word
can gain, b says how much a long document pays for its length.

Book: 10.4.1 키워드 검색 방식: BM25. Paper: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework".
Peers: bm25s (variant "lucene") and rank_bm25 (variant "okapi"). The book multiplies every score by the constant
(k1 + 1), as "okapi" does; no ranking changes by that. Left out: adding documents later, stopping early (MaxScore).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from minillm._checks import check_choice, check_int, check_number, describe
from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search._ids import DocumentId, check_document_ids, check_texts
from minillm.search.words import search_words

# --- the plain version: the formula, word by word -----------------------------------------------------------------


def lucene_idf(document_frequency: int, documents: int) -> float:
    """How much a word says: near 0 if it is everywhere, ln(N) if it is in one of N documents. Never negative."""
    # idf(w) = ln((N - df + 0.5) / (df + 0.5) + 1)
    return math.log((documents - document_frequency + 0.5) / (document_frequency + 0.5) + 1)


def okapi_idf(document_frequencies: Iterable[int], documents: int, epsilon: float = 0.25) -> list[float]:
    """The idf of every word as rank_bm25 counts it: ln((N - df + 0.5) / (df + 0.5)), which is below 0 for a word
    that is in more than half of the documents; such a word gets epsilon * (mean idf of all words) instead."""
    plain = [math.log(documents - df + 0.5) - math.log(df + 0.5) for df in document_frequencies]
    floor = epsilon * sum(plain) / max(len(plain), 1)
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
# Where the speed comes from: everything in the formula but the sum is known before the query comes. `fit` stores it
# as postings: for each word, the documents that have it and what it adds to each. A query reads its words' postings,
# nothing else, and looks for the best k among the documents those postings touched, not among all N.

POSTINGS = ("starts", "documents", "impacts")  # the arrays of an index, and their names in its file
SHORT_RESULT = 128  # up to here keeping the best k in order by insertion beats sorting all touched documents


@njit(cache=True)
def _sort_key(score, document):
    """One integer that orders like (score, then lower document first): the float's bits, then ~document."""
    # -0.0 + 0.0 is 0.0: the two are equal, and so must their bits be.
    bits = np.uint64(np.float32(score + np.float32(0.0)).view(np.uint32))
    # Positive floats order like their bits; negative ones in reverse, and below all positive ones.
    bits = bits ^ np.uint64(0xFFFFFFFF) if bits >> np.uint64(31) else bits | np.uint64(0x80000000)
    return (bits << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - np.uint64(document))


@njit(cache=True)
def _document_of(key):
    return np.int64(np.uint64(0xFFFFFFFF) - (key & np.uint64(0xFFFFFFFF)))


@njit(cache=True)
def _add_query(words, starts, documents, impacts, scores, seen, mark, touched):
    """Add the postings of `words` into scores (N,); returns how many documents `touched` lists."""
    count = 0
    for word in words:
        # Unsigned numbers spare the check for negative indices, a third of the time of this loop.
        for at in range(np.uint64(starts[word]), np.uint64(starts[word + 1])):
            document = documents[at]
            if seen[document] != mark:
                seen[document] = mark
                scores[document] = impacts[at]
                touched[np.uint64(count)] = document
                count += 1
            else:
                scores[document] += impacts[at]
    return count


@njit(cache=True)
def _search_all(words, query_starts, starts, documents, impacts, size, k):
    """Best k documents of every query: (Q, k) documents, -1 where there are no more, and (Q, k) scores."""
    queries = len(query_starts) - 1
    found = np.full((queries, k), -1, np.int64)
    found_scores = np.zeros((queries, k), np.float32)
    scores = np.zeros(size, np.float32)
    # The last query that touched a document: nothing is cleared between queries.
    seen = np.zeros(size, np.int32)
    touched = np.empty(size, np.uint32)
    keys = np.empty(size if k > SHORT_RESULT else k, np.uint64)
    for q in range(queries):
        own = words[query_starts[q] : query_starts[q + 1]]
        count = _add_query(own, starts, documents, impacts, scores, seen, q + 1, touched)
        kept = min(count, k)
        if k > SHORT_RESULT:
            for i in range(count):
                keys[i] = _sort_key(scores[touched[i]], touched[i])
            best = np.sort(keys[:count])[::-1]
        else:
            filled = 0
            # The score of the kth best so far: most documents fail against it at once.
            worst = np.float32(-np.inf)
            for i in range(count):
                score = scores[touched[i]]
                if score < worst:
                    continue
                key = _sort_key(score, touched[i])
                if filled == k and key < keys[k - 1]:
                    continue
                at = filled if filled < k else k - 1
                while at > 0 and keys[at - 1] < key:
                    keys[at] = keys[at - 1]
                    at -= 1
                keys[at] = key
                filled = min(filled + 1, k)
                if filled == k:
                    worst = scores[_document_of(keys[k - 1])]
            best = keys
        for rank in range(kept):
            document = _document_of(best[rank])
            found[q, rank] = document
            found_scores[q, rank] = scores[document]
    return found, found_scores


class BM25:
    """A BM25 index over N texts.

    k1 >= 0 and 0 <= b <= 1 as in the formula; `tokenizer` turns a str into a list of str (default `search_words`);
    `variant` "lucene" scores like bm25s, "okapi" like rank_bm25. Raises ValueError for anything else.
    """

    def __init__(
        self,
        k1: float = 1.2,
        b: float = 0.75,
        tokenizer: Callable[[str], list[str]] | None = None,
        variant: str = "lucene",
    ) -> None:
        self.k1 = check_number("k1", k1, minimum=0)
        self.b = check_number("b", b, minimum=0, maximum=1)
        self.variant = check_choice("variant", variant, ("lucene", "okapi"))
        if tokenizer is not None and not callable(tokenizer):
            raise ValueError(f"tokenizer must be a function from str to list[str], got {describe(tokenizer)}")
        self.tokenizer = tokenizer or search_words
        self.ids: list[DocumentId] = []

    def fit(self, corpus: Iterable[str], ids: Sequence[DocumentId] | None = None) -> BM25:
        """Index `corpus` (N texts, N >= 1), replacing what was indexed before; returns self.

        ids: N different str or int names that rankings will use (default 0 .. N-1). Texts may be empty or equal.
        Raises ValueError for an empty corpus, a text that is no str, or ids that do not fit; the index is then as
        it was before the call.
        """
        texts = check_texts("corpus", corpus)
        if not texts:
            raise ValueError("corpus must hold at least one text, got none")
        ids = check_document_ids(ids, len(texts))
        vocabulary: dict[str, int] = {}
        rows: list[int] = []  # one entry a posting: word, document, times the word occurs in it
        columns: list[int] = []
        times: list[int] = []
        lengths = np.zeros(len(texts))
        for document, text in enumerate(texts):
            words = self._words(text)
            lengths[document] = len(words)
            count = Counter(words)
            rows.extend([vocabulary.setdefault(word, len(vocabulary)) for word in count])
            columns.extend([document] * len(count))
            times.extend(count.values())
        row, column, tf = np.array(rows, np.int64), np.array(columns, np.int64), np.array(times, np.float64)
        frequency = np.bincount(row, minlength=len(vocabulary))  # df, (words,)
        average = max(lengths.mean(), 1e-9)  # texts without a single word have no postings to divide
        if self.variant == "okapi":
            idf = np.array(okapi_idf(frequency.tolist(), len(texts))) * (self.k1 + 1)
        else:
            idf = np.array([lucene_idf(df, len(texts)) for df in frequency.tolist()])
        impacts = idf[row] * saturation(tf, lengths[column], average, self.k1, self.b)
        order = np.argsort(row, kind="stable")  # by word; inside a word by document
        self.ids, self._vocabulary = ids, vocabulary
        starts = np.concatenate([[0], np.cumsum(frequency)]).astype(np.int64)  # (words + 1,)
        # The postings of word w are documents[starts[w] : starts[w + 1]] and impacts[...], both (postings,).
        self._postings = starts, column[order].astype(np.uint32), impacts[order].astype(np.float32)
        return self

    def __len__(self) -> int:
        """Number of indexed documents; 0 before `fit`."""
        return len(self.ids)

    def scores(self, query: str) -> np.ndarray:
        """The score of every document for one query, float32 (N,), in the order of the corpus.

        Words that no document has add nothing; a word twice in the query counts twice, as in both peers.
        Raises ValueError when `query` is no str or nothing was indexed.
        """
        self._check_fitted()
        (query,) = check_texts("query", [query])
        scores = np.zeros(len(self), np.float32)
        seen, touched = np.zeros(len(self), np.int32), np.empty(len(self), np.uint32)
        _add_query(np.array(self._known(query), np.int64), *self._postings, scores, seen, 1, touched)
        return scores

    def document_frequency(self, word: str) -> int:
        """How many documents have the word, as the tokenizer writes it; 0 for an unknown one."""
        number = self._vocabulary.get(word)
        starts = self._postings[0]
        return 0 if number is None else int(starts[number + 1] - starts[number])

    def highest_scores(self) -> np.ndarray:
        """What each document would score for a query of all its words, each once: float32 (N,), and 1 for a document
        without words. `scores(query)` divided by it is the share of a document that the query names."""
        self._check_fitted()
        _, documents, impacts = self._postings
        highest = np.bincount(documents, weights=impacts, minlength=len(self)).astype(np.float32)
        return np.where(highest > 0, highest, np.float32(1))

    def search(self, queries: Sequence[str], k: int = 10) -> list[list[tuple[DocumentId, float]]]:
        """The best k documents of each query as [(id, score), ...], best first, equal scores in corpus order.

        Only documents that share a word with the query are listed, so a ranking may be shorter than k, or empty.
        Raises ValueError when `queries` is no list of str, k < 1, or nothing was indexed.
        """
        self._check_fitted()
        queries = check_texts("queries", queries)
        k = min(check_int("k", k, minimum=1), len(self))
        words: list[int] = []  # of all queries: one crossing into compiled code for the whole batch
        query_starts = [0]
        for query in queries:
            words += self._known(query)
            query_starts.append(len(words))
        words, query_starts = np.array(words, np.int64), np.array(query_starts, np.int64)
        found, scores = _search_all(words, query_starts, *self._postings, len(self), k)
        lengths = (found >= 0).sum(axis=1).tolist()
        rows = zip(found.tolist(), scores.tolist(), lengths, strict=True)
        return [list(zip(map(self.ids.__getitem__, row[:n]), values[:n])) for row, values, n in rows]

    def save(self, path: str | Path) -> Path:
        """Write the index as one file, whole or not at all. A tokenizer of your own is not stored: pass it to load.

        Raises ValueError for ids or words that are no text (half a surrogate pair).
        """
        self._check_fitted()
        meta = {
            "k1": self.k1,
            "b": self.b,
            "variant": self.variant,
            "own_tokenizer": self.tokenizer is not search_words,
            "ids": self.ids,
            "words": list(self._vocabulary),
        }
        arrays = dict(zip(POSTINGS, self._postings, strict=True))
        return save_arrays(path, "BM25 index", arrays, meta)

    @classmethod
    def load(cls, path: str | Path, tokenizer: Callable[[str], list[str]] | None = None) -> BM25:
        """The index that `save` wrote; BadFileError (a ValueError) naming the file when it is cut or damaged,
        ValueError when it was built with a tokenizer of your own and none is passed."""
        arrays, meta = load_arrays(path, "BM25 index")
        refusal = f"BM25 index {str(path)!r} is refused"
        try:
            k1, b, variant, ids, words = (meta[name] for name in ("k1", "b", "variant", "ids", "words"))
            own, postings = meta["own_tokenizer"], tuple(arrays[name] for name in POSTINGS)
        except (KeyError, TypeError) as error:
            raise BadFileError(f"{refusal}: it lacks {error}") from None
        if own and tokenizer is None:
            raise ValueError(f"BM25 index {str(path)!r} was built with its own tokenizer: pass tokenizer=")
        index = cls(k1, b, tokenizer, variant)
        index.ids = ids
        index._vocabulary = {word: number for number, word in enumerate(words)}
        starts, documents, impacts = index._postings = postings
        # Compiled code reads what these point at, without looking.
        if (
            tuple(part.dtype for part in postings) != (np.int64, np.uint32, np.float32)
            or len(starts) != len(index._vocabulary) + 1
            or not len(documents) == len(impacts) == starts[-1]
            or starts[0] != 0
            or (np.diff(starts) < 0).any()
            or (len(documents) and documents.max() >= len(index.ids))
        ):
            raise BadFileError(f"{refusal}: its words and postings do not fit")
        return index

    def _words(self, text: str) -> list[str]:
        words = self.tokenizer(text)
        if self.tokenizer is not search_words and not (
            isinstance(words, list) and all(isinstance(word, str) for word in words)
        ):
            raise ValueError(f"tokenizer must return a list of str, got {describe(words)}")
        return words

    def _known(self, query: str) -> list[int]:
        numbers = map(self._vocabulary.get, self._words(query))
        return [number for number in numbers if number is not None]

    def _check_fitted(self) -> None:
        if not self.ids:
            raise ValueError("this BM25 index is empty: call fit(corpus) first")
