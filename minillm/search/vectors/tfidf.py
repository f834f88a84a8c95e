"""TF-IDF: counts of words, each made heavier the fewer texts have the word, and each text brought to length 1.

    idf(w)    = ln((1 + N) / (1 + df)) + 1       N texts, df of them have w; smooth: as if one more text had every word
    weight    = tf * idf(w)                      tf: times w occurs in the text; sublinear: 1 + ln(tf)
    vector    = weights / |weights|              so that the inner product of two texts is their cosine

A word of every text says nothing about which text it is, yet its weight is 1, not 0: scikit-learn's "+ 1". The
textbooks' ln(N / df) lacks it.

Book: 10.1.4 TF-IDF. Paper: Sparck Jones 1972, "A Statistical Interpretation of Term Specificity". Peer: scikit-learn's
TfidfVectorizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from minillm._checks import check_choice, check_flag
from minillm.search.vectors.bag_of_words import BagOfWords
from minillm.search.vectors.sparse_rows import SparseRows


def inverse_frequency(frequency: np.ndarray, texts: int, smooth: bool = True) -> np.ndarray:
    """idf of words that `frequency` (V,) of `texts` texts have, float64 (V,)."""
    # idf(w) = ln((1 + N) / (1 + df)) + 1
    return np.log((texts + smooth) / (np.asarray(frequency, np.float64) + smooth)) + 1


class TfIdf(BagOfWords):
    """Texts to weighted counts of words. norm: "l2" (length 1), "l1" (sum 1) or None; use_idf, smooth_idf and
    sublinear_tf as in the formula; everything else as in BagOfWords. Raises ValueError for anything else."""

    def __init__(
        self,
        tokenizer: Callable[[str], list[str]] | str | None = None,
        ngram_range: tuple[int, int] = (1, 1),
        min_df: int | float = 1,
        max_df: int | float = 1.0,
        max_features: int | None = None,
        vocabulary: Sequence[str] | Mapping[str, int] | None = None,
        binary: bool = False,
        norm: str | None = "l2",
        use_idf: bool = True,
        smooth_idf: bool = True,
        sublinear_tf: bool = False,
    ) -> None:
        super().__init__(tokenizer, ngram_range, min_df, max_df, max_features, vocabulary, binary)
        self.norm = check_choice("norm", norm, ("l2", "l1", None))
        self.use_idf, self.smooth_idf = check_flag("use_idf", use_idf), check_flag("smooth_idf", smooth_idf)
        self.sublinear_tf = check_flag("sublinear_tf", sublinear_tf)
        self.idf: np.ndarray | None = None  # (V,) float64, after `fit`; ones without use_idf

    def fit_transform(self, texts: Iterable[str]) -> SparseRows:
        """`fit` and `transform` with one reading of the texts."""
        counts = super().fit_transform(texts)
        frequency = np.bincount(counts.indices, minlength=counts.width)
        if self.use_idf and not self.smooth_idf and not frequency.all():
            raise ValueError(
                f"smooth_idf=False needs each word in a text, {self.words[frequency.argmin()]!r} is in none"
            )
        ones = np.ones(counts.width)
        self.idf = inverse_frequency(frequency, len(counts), self.smooth_idf) if self.use_idf else ones
        return self._weigh(counts)

    def transform(self, texts: Iterable[str]) -> SparseRows:
        """Weights (N, V) float32, one row a text; a text without known words is a row of zeros. ValueError before
        `fit`."""
        if self.idf is None:
            raise ValueError("this TfIdf has counted no texts: call fit(texts) first")
        return self._weigh(super().transform(texts))

    def _weigh(self, counts: SparseRows) -> SparseRows:
        weights = counts.data.astype(np.float64)
        if self.sublinear_tf:
            weights = 1 + np.log(weights)
        weights *= self.idf[counts.indices]
        if self.norm is not None:
            rows = counts.rows()
            sums = np.bincount(rows, weights if self.norm == "l1" else weights**2, len(counts))
            weights /= (sums if self.norm == "l1" else np.sqrt(sums))[rows]
        return SparseRows(counts.indptr, counts.indices, weights.astype(np.float32), counts.width)
