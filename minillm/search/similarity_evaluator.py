"""How good is an embedding model at telling how alike two texts are: its similarities against what people said.

    EmbeddingSimilarityEvaluator(first, second, scores)(encoder)      {"pearson_cosine": .., "spearman_cosine": ..}

Book: 11.2 언어 모델을 임베딩 모델로 만들기 (KLUE-STS, 스피어만 상관계수).
Held against: sentence_transformers' EmbeddingSimilarityEvaluator. Leaves out: CSV files, several similarities at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._arrays import as_array
from minillm._checks import check_choice, check_number, check_text, describe, is_listing
from minillm.evaluation.correlation import pearson, spearman
from minillm.search._ids import check_texts


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1)


PAIRWISE = {  # of vectors (N, D) and (N, D), the higher the more alike: (N,)
    "cosine": lambda u, v: (u * v).sum(1) / np.maximum(_lengths(u) * _lengths(v), 1e-12),
    "dot": lambda u, v: (u * v).sum(1),
    "euclidean": lambda u, v: -_lengths(u - v),
    "manhattan": lambda u, v: -np.abs(u - v).sum(1),
}


class EmbeddingSimilarityEvaluator:
    """Pairs of texts and how alike people found them: sentences1, sentences2, scores, equally long, two at least.

    main_similarity: "cosine", "dot", "euclidean" or "manhattan" of what `encode` gives. name: stands in front of the
    figures' names. Raises ValueError for anything else.
    """

    def __init__(
        self,
        sentences1: Sequence[str],
        sentences2: Sequence[str],
        scores: Sequence[float],
        main_similarity: str = "cosine",
        name: str = "",
    ) -> None:
        self.first = check_texts("sentences1", sentences1)
        self.second = check_texts("sentences2", sentences2)
        if not is_listing(scores):
            raise ValueError(f"scores must be a list of numbers, got {describe(scores)}")
        self.scores = [check_number(f"scores[{place}]", one) for place, one in enumerate(scores)]
        if not len(self.first) == len(self.second) == len(self.scores) or len(self.scores) < 2:
            raise ValueError(
                "sentences1, sentences2 and scores must be equally long, two at least, got "
                f"{len(self.first)}, {len(self.second)} and {len(self.scores)}"
            )
        self.similarity = check_choice("main_similarity", main_similarity, PAIRWISE)
        self.name = check_text("name", name)

    def similarities(self, encoder: Any) -> np.ndarray:
        """The similarity of each pair (N,), in float64. Raises ValueError for an encoder that does not give N vectors
        of one width."""
        if not callable(getattr(encoder, "encode", None)):
            raise ValueError(f"encoder must have encode(texts), got {describe(encoder)}")
        sides = [as_array(encoder.encode(one)) for one in (self.first, self.second)]
        for one in sides:
            if (
                one.ndim != 2
                or one.dtype.kind not in "fiu"
                or one.shape != (len(self.scores), *sides[0].shape[1:])
            ):
                raise ValueError(
                    f"the encoder must give {len(self.scores)} vectors (N, D) for each side, got {describe(one)}"
                )
        return PAIRWISE[self.similarity](*(one.astype(np.float64) for one in sides))

    def __call__(self, encoder: Any) -> dict[str, float]:
        """The correlation of the similarities with the scores, of their values and of their ranks; NaN where all are
        the same. Raises ValueError for what has no `encode`."""
        alike = self.similarities(encoder)
        front = f"{self.name}_" if self.name else ""
        return {
            f"{front}pearson_{self.similarity}": pearson(alike, self.scores),
            f"{front}spearman_{self.similarity}": spearman(alike, self.scores),
        }
