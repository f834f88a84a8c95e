"""Bag of words: a text as the number of times each word of the vocabulary occurs in it. Order is thrown away.

    vocabulary (cat, mat, sat, the):    "The cat sat: the mat"  ->  [1, 1, 1, 2]

Two texts are close when they say the same words, whatever they say with them: "the dog bit the man" and "the man bit
the dog" are one vector (n-grams, runs of words, give a part of the order back).

Book: 10.1.3 백오브워즈. Peer: scikit-learn's CountVectorizer. Left out: runs of letters, lists of stop words (the
tokenizer "english" leaves them out).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from minillm._checks import check_choice, check_flag, check_int, check_number, describe, is_listing
from minillm.search._ids import check_texts
from minillm.search.vectors.sparse_rows import SparseRows
from minillm.search.words import TOKENIZERS

LONGER_WORD = re.compile(r"\b\w\w+\b")


def longer_words(text: str) -> list[str]:
    """Lower-cased runs of two or more letters, digits and underscores: scikit-learn's rule. "A cat." -> ["cat"]."""
    return LONGER_WORD.findall(text.lower())


def ngrams(words: Sequence[str], shortest: int, longest: int) -> list[str]:
    """Runs of words, joined by spaces: ["a", "b", "c"], 1, 2 -> ["a", "b", "c", "a b", "b c"]."""
    runs = range(shortest, longest + 1)
    return [" ".join(words[i : i + n]) for n in runs for i in range(len(words) - n + 1)]


class BagOfWords:
    """Texts to counts of words.

    tokenizer: "standard", "english", "korean" (as in BM25), a function from str to list[str], or None for
    `longer_words`. ngram_range: the shortest and the longest run of words that is counted. min_df, max_df: a word is
    left out when fewer, or more, texts have it: an int is a number of texts, a float a share of them. max_features:
    keep only so many words, those that occur most (equal ones in alphabetical order). vocabulary: the words to count,
    a list in the order of the columns or a dict from word to column; `fit` then learns none. binary: 1 instead of
    counts. Raises ValueError for anything else.
    """

    def __init__(
        self,
        tokenizer: Callable[[str], list[str]] | str | None = None,
        ngram_range: tuple[int, int] = (1, 1),
        min_df: int | float = 1,
        max_df: int | float = 1.0,
        max_features: int | None = None,
        vocabulary: Sequence[str] | Mapping[str, int] | None = None,
        binary: bool = False,
    ) -> None:
        if isinstance(tokenizer, str):
            tokenizer = TOKENIZERS[check_choice("tokenizer", tokenizer, TOKENIZERS)]
        if tokenizer is not None and not callable(tokenizer):
            raise ValueError(
                f"tokenizer must be a function from str to list[str], or a name, got {describe(tokenizer)}"
            )
        self.tokenizer = tokenizer or longer_words
        if not isinstance(ngram_range, (tuple, list)) or len(ngram_range) != 2:
            raise ValueError(f"ngram_range must be two integers, got {describe(ngram_range)}")
        shortest = check_int("the first of ngram_range", ngram_range[0], minimum=1)
        self.ngram_range = shortest, check_int("the second of ngram_range", ngram_range[1], minimum=shortest)
        self.min_df, self.max_df = _check_limit("min_df", min_df), _check_limit("max_df", max_df)
        self.max_features = None if max_features is None else check_int("max_features", max_features, 1)
        self.binary = check_flag("binary", binary)
        self.words: list[str] = []  # word of each column: alphabetical, unless a vocabulary was given
        self._given = vocabulary is not None
        if vocabulary is not None:
            self.words = _check_vocabulary(vocabulary)
        self._column = {word: number for number, word in enumerate(self.words)}

    def fit(self, texts: Iterable[str]) -> BagOfWords:
        """Learn the vocabulary of `texts`; returns self.

        Raises ValueError when there is no text, one is no str, or no word is left; nothing has changed then.
        """
        self.fit_transform(texts)
        return self

    def fit_transform(self, texts: Iterable[str]) -> SparseRows:
        """`fit` and `transform` with one reading of the texts."""
        texts = check_texts("texts", texts)
        if not texts:
            raise ValueError("texts must hold at least one text, got none")
        counted = [self._count(text) for text in texts]
        if not self._given:
            self.words = self._choose_words(counted)
            self._column = {word: number for number, word in enumerate(self.words)}
        return self._rows(counted)

    def transform(self, texts: Iterable[str]) -> SparseRows:
        """Counts (N, V) int64, one row a text; words outside the vocabulary count nowhere. ValueError before `fit`."""
        if not self.words:
            raise ValueError(f"this {type(self).__name__} has no words: call fit(texts) first")
        return self._rows([self._count(text) for text in check_texts("texts", texts)])

    def _count(self, text: str) -> Counter[str]:
        words = self.tokenizer(text)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"tokenizer must return a list of str, got {describe(words)}")
        return Counter(words if self.ngram_range == (1, 1) else ngrams(words, *self.ngram_range))

    def _choose_words(self, counted: list[Counter[str]]) -> list[str]:
        total = len(counted)
        low = self.min_df if isinstance(self.min_df, int) else self.min_df * total
        high = self.max_df if isinstance(self.max_df, int) else self.max_df * total
        if low > high:
            raise ValueError(
                f"max_df allows at most {high:g} texts a word, min_df asks for {low:g}: no word is left"
            )
        frequency = Counter(chain.from_iterable(counted))  # texts that have the word
        words = sorted(word for word, count in frequency.items() if low <= count <= high)
        if self.max_features is not None and len(words) > self.max_features:
            occurs: Counter[str] = Counter()
            for count in counted:
                occurs.update(count)
            words = sorted(sorted(words, key=lambda word: -occurs[word])[: self.max_features])
        if not frequency:
            short = " (the usual one leaves out words of one character, such as 물)"
            usual = self.tokenizer is longer_words
            raise ValueError(f"texts must hold words, the tokenizer found none{short if usual else ''}")
        if not words:
            raise ValueError(f"texts must hold words: of {len(frequency)} none is left by min_df and max_df")
        return words

    def _rows(self, counted: list[Counter[str]]) -> SparseRows:
        indptr, indices, data = [0], [], []
        for count in counted:
            found = sorted((self._column[word], n) for word, n in count.items() if word in self._column)
            indices += [column for column, _ in found]
            data += [1 if self.binary else n for _, n in found]
            indptr.append(len(indices))
        return SparseRows(
            np.array(indptr, np.int64), np.array(indices, np.int32), np.array(data, np.int64), len(self.words)
        )


def _check_limit(name: str, value: int | float) -> int | float:
    if isinstance(value, (float, np.floating)):
        return check_number(name, value, 0, 1)
    return check_int(name, value, 1)


def _check_vocabulary(vocabulary: Sequence[str] | Mapping[str, int]) -> list[str]:
    """The words in the order of their columns."""
    words = list(vocabulary) if is_listing(vocabulary) else []
    if not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f"vocabulary must list words, at least one, got {describe(vocabulary)}")
    if isinstance(vocabulary, Mapping):
        if sorted(vocabulary.values(), key=str) != sorted(range(len(words)), key=str):
            raise ValueError(f"vocabulary must give its words the columns 0 to {len(words) - 1}, each once")
        words.sort(key=vocabulary.get)
    if len(set(words)) != len(words):
        twice = next(word for word, times in Counter(words).items() if times > 1)
        raise ValueError(f"vocabulary must list different words, got {twice!r} more than once")
    return words
