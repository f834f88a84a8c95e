"""Naive Bayes on characters: the baseline that a classifier of texts has to beat, learned by counting alone.

    log p(label | text) = log p(label) + sum over the n-grams g of the text of  log p(g | label)  + constant
    p(g | label) = (count of g in the label's texts + a) / (all n-grams there + a * different n-grams)

"Naive", since it takes the n-grams for independent: their order beyond n characters, and what goes with what, are lost.
Characters suit Korean, where particles and endings stick to the word; texts are composed (NFC) first, so that Hangul of
one code point a syllable and of three is the same.

Book: 3.4 모델 학습시키기 (the task; the baseline is ours). Source: Manning, Raghavan and Schütze 2008, chapter 13.
Held against: scikit-learn's MultinomialNB on CountVectorizer(analyzer="char").
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from minillm._arrays import plain_items
from minillm._checks import check_int, check_number, check_text, describe, is_listing


def character_ngrams(text: str, longest: int = 3) -> list[str]:
    """Every run of 1 to `longest` characters: ("새 책", 2) -> ["새", " ", "책", "새 ", " 책"]; as the text is spelled.

    ValueError for what is no text, and for a `longest` below 1.
    """
    check_text("text", text)
    check_int("longest", longest, 1)
    return [text[i : i + n] for n in range(1, longest + 1) for i in range(len(text) - n + 1)]


class CharacterNaiveBayes:
    """`CharacterNaiveBayes().fit(texts, labels).predict(texts)`.

    longest: of the character n-grams. smoothing: a above. `labels` are the different labels, sorted, after `fit`.
    """

    def __init__(self, longest: int = 3, smoothing: float = 1.0) -> None:
        self.longest = check_int("longest", longest, 1)
        self.smoothing = check_number("smoothing", smoothing, 1e-10)
        self.labels: list[Hashable] = []

    def fit(self, texts: Iterable[str], labels: Iterable[Hashable]) -> CharacterNaiveBayes:
        """Count the n-grams of each label. ValueError for no texts, too few or many labels, or two types of them."""
        texts = _checked_texts(texts)
        if not is_listing(labels):
            raise ValueError(f"labels must be a list, one a text, got {describe(labels)}")
        labels = plain_items(labels)
        if not texts or len(texts) != len(labels):
            raise ValueError(f"fit needs one label a text, got {len(texts)} texts and {len(labels)} labels")
        try:
            self.labels = sorted(set(labels))
        except TypeError:
            raise ValueError(f"labels must be all str or all int, got {describe(labels)}") from None
        self._count(texts, labels)
        return self

    def _count(self, texts: Sequence[str], labels: Sequence[Hashable]) -> None:
        counts = {label: Counter() for label in self.labels}
        for text, label in zip(texts, labels):
            counts[label].update(character_ngrams(text, self.longest))
        grams = sorted(set().union(*counts.values()))
        self.places = {gram: place for place, gram in enumerate(grams)}
        table = np.array([[counts[label][gram] for gram in grams] for label in self.labels])  # (K, G)
        table = table + self.smoothing
        # log p(g | label)
        self.log_likelihood = np.log(table / table.sum(axis=1, keepdims=True))
        # log p(label)
        self.log_prior = np.log([labels.count(label) / len(labels) for label in self.labels])

    def log_scores(self, texts: Iterable[str]) -> np.ndarray:
        """log p(label) + sum of log p(g | label), (N, K) float64; n-grams that were never seen are left out.

        Raises ValueError before `fit`.
        """
        if not self.labels:
            raise ValueError("fit(texts, labels) comes before predictions")
        scores = []
        for text in _checked_texts(texts):
            places = [self.places[g] for g in character_ngrams(text, self.longest) if g in self.places]
            scores.append(self.log_prior + self.log_likelihood[:, places].sum(axis=1))
        return np.array(scores).reshape(-1, len(self.labels))

    def predict(self, texts: Iterable[str]) -> list[Hashable]:
        """The likeliest label of each text."""
        return [self.labels[place] for place in self.log_scores(texts).argmax(axis=1)]


def _checked_texts(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise ValueError(f"texts must be a collection of str, got {describe(texts)}")
    return [unicodedata.normalize("NFC", check_text("text", text)) for text in texts]
