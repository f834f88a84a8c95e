"""One-hot: word number i of V is a vector with a single 1, at place i.

    "school", "study" of (school, study, workout)  ->  [1, 0, 0], [0, 1, 0]

Every two words are equally far apart, which is the trouble: nothing says that "study" is closer to "school" than
"workout" is. Book: 10.1.2 원핫 인코딩. Peer: scikit-learn's OneHotEncoder, for one column. Left out: several columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minillm._checks import check_choice
from minillm.search._ids import check_texts
from minillm.search.vectors.sparse_rows import SparseRows


class OneHot:
    """unknown: what `transform` does with a word that `fit` never saw: "error", or "ignore" for a row of zeros."""

    def __init__(self, unknown: str = "error") -> None:
        self.unknown = check_choice("unknown", unknown, ("error", "ignore"))
        self.words: list[str] = []  # word of each column, in alphabetical order

    def fit(self, words: Sequence[str]) -> OneHot:
        """Give each different word a column; returns self. Raises ValueError for no words, or one that is no str."""
        found = sorted(set(check_texts("words", words)))
        if not found:
            raise ValueError("words must hold at least one word, got none")
        self.words = found
        return self

    def transform(self, words: Sequence[str]) -> SparseRows:
        """One row a word, (N, V) float32. Raises ValueError before `fit`, and for a word it did not see."""
        if not self.words:
            raise ValueError("this OneHot has no words: call fit(words) first")
        words = check_texts("words", words)
        column = {word: number for number, word in enumerate(self.words)}
        places = np.array([column.get(word, -1) for word in words], np.int32)
        known = places >= 0
        if self.unknown == "error" and not known.all():
            raise ValueError(
                f"words must have been seen by fit, got {words[int(np.argmin(known))]!r} (or pass unknown='ignore')"
            )
        indptr = np.concatenate([[0], np.cumsum(known)]).astype(np.int64)
        return SparseRows(indptr, places[known], np.ones(known.sum(), np.float32), len(self.words))

    def inverse_transform(self, rows: SparseRows) -> list[str | None]:
        """The word of each row, None for a row of zeros. Raises ValueError for rows of another width."""
        if not isinstance(rows, SparseRows) or rows.width != len(self.words):
            raise ValueError(f"rows must be SparseRows of {len(self.words)} columns, got {rows!r}")
        firsts = [rows.row(number)[0] for number in range(len(rows))]
        return [self.words[first[0]] if len(first) else None for first in firsts]
