"""Word2vec: words that keep the same company get similar vectors, learned by guessing who stands beside whom.

    CBOW        the neighbours together guess the word:      (the, ___, sat)  -> cat
    skip-gram   each neighbour alone guesses the word:        the -> cat,  sat -> cat

CBOW takes one step a word, skip-gram one a pair, so it is several times slower and learns rare words better. Words are
numbered by how often they occur; a step is `negative_sampling.step_plain`.

Book: 10.1.5 워드투벡. Papers: Mikolov et al. 2013 (both). Peer: gensim's Word2Vec, whose defaults these are. Left out:
hierarchical softmax, training on after `fit`, several threads (one gives the same vectors every time).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minillm._checks import check_choice, check_flag, check_int, check_number, describe, is_listing
from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search.exact import check_vectors
from minillm.search.vectors.negative_sampling import keep_limits, noise_table, train
from minillm.search.vectors.word_vectors import WordVectors

KIND = "word2vec model"
WORDS_A_CALL = 200_000  # of compiled code, between which Ctrl-C is heard
OPTIONS = (
    "mode", "dim", "window", "negative", "min_count", "sample",
    "epochs", "alpha", "min_alpha", "ns_exponent", "cbow_mean", "seed",
)  # fmt: skip
MOST_DIMENSIONS, LONGEST_WINDOW, MOST_NEGATIVES = 65_536, 10_000, 10_000


class Corpus(NamedTuple):
    """Sentences as numbers: sentence i is words[starts[i] : starts[i + 1]]; word 0 occurs most."""

    vocabulary: list[str]
    counts: np.ndarray  # (V,) int64
    words: np.ndarray  # (words,) int32, those below min_count left out
    starts: np.ndarray  # (sentences + 1,) int64


def number_words(sentences: Iterable[Iterable[str]], min_count: int) -> Corpus:
    """Read the sentences once. Raises ValueError for text where lists of words are expected, or no word left."""
    if not is_listing(sentences):
        raise ValueError(f"sentences must be lists of words, got {describe(sentences)}")
    number: dict[str, int] = defaultdict(lambda: len(number))
    found, ends = array("i"), array("q", [0])
    for at, sentence in enumerate(sentences):
        try:
            if not is_listing(sentence):
                raise TypeError
            found.extend(map(number.__getitem__, sentence))
        except TypeError:  # or a word that cannot be looked up
            raise ValueError(f"sentence {at} must be a list of words, got {describe(sentence)}") from None
        ends.append(len(found))
    for word in number:
        if not isinstance(word, str):
            raise ValueError(f"a word must be a str, got {describe(word)}")
    words, ends = np.frombuffer(found, np.int32), np.frombuffer(ends, np.int64)
    counts = np.bincount(words, minlength=len(number))
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts >= min_count)]
    if not len(order):
        most = counts.max(initial=0)
        raise ValueError(
            f"sentences must hold a word {min_count} times (min_count), the commonest occurs {most} times"
        )
    place = np.full(len(number), -1, np.int32)
    place[order] = np.arange(len(order))
    words = place[words]
    kept = words >= 0
    starts = np.concatenate([[0], np.cumsum(kept)])[ends]
    names = list(number)
    return Corpus([names[i] for i in order], counts[order], words[kept], starts)


class Word2Vec(WordVectors):
    """Vectors of words, learned from sentences.

    mode: "cbow" or "skipgram". dim: numbers a vector has. window: how many words to each side are neighbours, at most.
    negative: random words a step. min_count: rarer words are left out. sample: how large a share of the text a word
    may have before its occurrences are dropped at random, 0 for any. epochs: readings of the text, during which the
    rate falls from alpha to min_alpha. ns_exponent: random words are drawn by count to this power. cbow_mean: CBOW
    takes the mean of the neighbours, not their sum. Raises ValueError for anything else.

    After `fit`: words (V), counts (V,), vectors (V, dim), and outputs (V, dim), which stand for words as guesses.
    """

    def __init__(
        self,
        mode: str = "cbow",
        dim: int = 100,
        window: int = 5,
        negative: int = 5,
        min_count: int = 5,
        sample: float = 1e-3,
        epochs: int = 5,
        alpha: float = 0.025,
        min_alpha: float = 0.0001,
        ns_exponent: float = 0.75,
        cbow_mean: bool = True,
        seed: int = 0,
    ) -> None:
        self.mode = check_choice("mode", mode, ("cbow", "skipgram"))
        self.dim = check_int("dim", dim, 1, MOST_DIMENSIONS)
        self.window = check_int("window", window, 1, LONGEST_WINDOW)
        self.negative = check_int("negative", negative, 1, MOST_NEGATIVES)
        self.min_count, self.epochs = check_int("min_count", min_count, 1), check_int("epochs", epochs, 1)
        self.sample = check_number("sample", sample, 0)
        self.alpha = check_number("alpha", alpha, 0)
        self.min_alpha = check_number("min_alpha", min_alpha, 0, self.alpha)
        self.ns_exponent = check_number("ns_exponent", ns_exponent)
        self.cbow_mean = check_flag("cbow_mean", cbow_mean)
        self.seed = check_int("seed", seed, 0)
        self.counts, self.outputs = np.zeros(0, np.int64), np.zeros((0, self.dim), np.float32)
        self._set([], np.zeros((0, self.dim), np.float32))

    def fit(self, sentences: Iterable[Iterable[str]]) -> Word2Vec:
        """Learn from sentences, each a list of words, read once (a generator will do); returns self.

        The same sentences, options and seed give the same vectors. What was learned before is replaced; on an error
        or Ctrl-C it stays. Raises ValueError for text instead of lists of words, no word of min_count occurrences, or
        an alpha so large that the vectors overflow.
        """
        corpus = number_words(sentences, self.min_count)
        size = len(corpus.vocabulary), self.dim
        vectors = np.random.default_rng(self.seed).random(size, np.float32) * 2 - 1
        vectors /= np.float32(self.dim)
        outputs = np.zeros(size, np.float32)
        keep, noise = keep_limits(corpus.counts, self.sample), noise_table(corpus.counts, self.ns_exponent)
        total = self.epochs * max(len(corpus.words), 1)
        fall = (self.alpha - self.min_alpha) / total  # of the rate, a word
        state, done, starts = np.uint64(self.seed), 0, corpus.starts
        for _ in range(self.epochs):
            first = 0
            while first < len(starts) - 1:
                # whole sentences, at least one
                last = max(int(np.searchsorted(starts, starts[first] + WORDS_A_CALL, "right")) - 1, first + 1)
                state = np.uint64(
                    train(
                        corpus.words,
                        starts[first : last + 1],
                        vectors,
                        outputs,
                        keep,
                        noise,
                        self.mode == "skipgram",
                        self.window,
                        self.negative,
                        self.cbow_mean,
                        self.alpha - fall * done,
                        fall,
                        state,
                    )
                )
                done += int(starts[last] - starts[first])
                first = last
        if not (np.isfinite(vectors).all() and np.isfinite(outputs).all()):
            raise ValueError(f"the vectors overflow at alpha={self.alpha:g}: choose a smaller one")
        self.counts, self.outputs = corpus.counts, outputs
        self._set(corpus.vocabulary, vectors)
        return self

    def save(self, path: str | Path) -> Path:
        """Write the model as one file with a checksum, whole or not at all. Raises ValueError before `fit`."""
        if not self.words:
            raise ValueError("this Word2Vec has no words: call fit(sentences) first")
        arrays = {"vectors": self.vectors, "outputs": self.outputs, "counts": self.counts}
        return save_arrays(
            path,
            KIND,
            arrays,
            {"words": self.words, "options": {name: getattr(self, name) for name in OPTIONS}},
        )

    @classmethod
    def load(cls, path: str | Path) -> Word2Vec:
        """The model that `save` wrote; BadFileError (a ValueError) naming the file when it is cut or damaged."""
        arrays, meta = load_arrays(path, KIND)
        try:
            model = cls(**meta["options"])
            loaded = WordVectors(meta["words"], arrays["vectors"])
            outputs, counts = check_vectors("outputs", arrays["outputs"], model.dim), arrays["counts"]
            if loaded.vectors.shape != outputs.shape or counts.shape != outputs.shape[:1]:
                raise ValueError("its arrays do not fit each other")
        except (KeyError, TypeError, ValueError) as error:
            raise BadFileError(f"{KIND} {str(path)!r} is refused: {error}") from None
        model.counts, model.outputs = counts, outputs
        model._set(loaded.words, loaded.vectors)
        return model
