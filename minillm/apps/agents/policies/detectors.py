"""Which tools does a request call for? One ridge regression for all of them, in closed form.

    W = X^T (X X^T + l2 I)^-1 Y        X (N, D) the requests' vectors, Y (N, K) 1 where a tool is called for, centred
    score = (x - mean) W + mean of Y   called for where the score is above 0.5

X is what the request's letters say (hashed n-grams), its words and pairs of words, and what it means where there is a
sentence encoder. Each tool is asked for by itself, so sets of tools that no dialogue has can come out. l2, the weights
and the threshold were chosen on ways of asking that were left out of the dialogues.

Book: 15.1.2 에이전트의 두뇌. Held against: scikit-learn's Ridge. Left out: probabilities (guardrails/classifier.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.apps.agents.policies.spans import masked
from minillm.apps.guardrails.ngram_encoder import NgramEncoder
from minillm.search import HashedWords

L2, THRESHOLD = 0.2, 0.5
PAIRS = 0.5  # of words and pairs of words beside the letters
WEIGHT = 2.0  # of an encoder's vectors beside the letters', which are longer once they are centred


def ridge(x: np.ndarray, y: np.ndarray, l2: float = L2) -> tuple[np.ndarray, np.ndarray]:
    """(W (D, K), b (K,)) with x W + b nearest to y in squares, and l2 |W|^2 added. x (N, D); y (N, K)."""
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    # W = X^T (X X^T + l2 I)^-1 Y: N equations, however wide the vectors are
    w = x.T @ np.linalg.solve(x @ x.T + l2 * np.eye(len(x), dtype=x.dtype), y)
    return w, y_mean - x_mean @ w


class WordPairs(HashedWords):
    """Words, and words with the one before: "not the price" -> not, the, price, ^ not, not the, the price."""

    @staticmethod
    def words(text: str) -> list[str]:
        """All that count, in no order."""
        words = text.split()
        return words + [f"{before} {word}" for before, word in zip(("^", *words), words)]


class RequestVectors:
    """`encode(requests)`: (N, D) float32. encoder: a SentenceEncoder, or None for the letters alone."""

    def __init__(self, encoder: Any = None) -> None:
        self.letters, self.pairs, self.encoder = NgramEncoder(8192, 2, 3), WordPairs(4096), encoder

    def encode(self, requests: Sequence[str]) -> np.ndarray:
        """What a request is about (files, numbers, quoted texts) is hidden: it says nothing about the tool."""
        texts = [hidden(one) for one in requests]
        parts = [self.letters.encode(texts), PAIRS * self.pairs.encode(texts)]
        if self.encoder is not None:
            named = {"prompt_name": "query"} if "query" in getattr(self.encoder, "prompts", {}) else {}
            parts.append(WEIGHT * self.encoder.encode(texts, **named))
        return np.hstack(parts).astype(np.float32)


def hidden(request: str) -> str:
    """'Write "hi" into a.txt.' -> 'write <quoted> into <file>'."""
    return " ".join(masked(request))
