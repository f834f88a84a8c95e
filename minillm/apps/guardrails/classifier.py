"""A rail that is learned: logistic regression on hashed n-grams, by hand, with probabilities that can be believed.

    p = sigmoid(w x + b)
    loss = mean of -[y log p + (1 - y) log(1 - p)] + l2/2 |w|^2        gradient  X^T (p - y) / N + l2 w
    calibrated   p' = sigmoid(a (w x + b) + c), with a and c fitted on texts that w has not seen

On texts it was trained on, w x + b tells the labels apart far better than on new ones: a and c fitted there would make
every probability too sure. So the texts are cut into folds, each scored by a classifier of the other folds, and a, c
are fitted on these scores (Platt scaling). Texts of one group (family) stay in one fold, as a near copy is no new
text.

Held against: scikit-learn's LogisticRegression and its sigmoid calibration. Paper: Platt 1999, "Probabilistic Outputs
for Support Vector Machines". Book: 9.3.1 데이터 검증 방식 (분류 모델).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from minillm._checks import check_int, check_number, describe, is_listing
from minillm.apps.guardrails.ngram_encoder import NgramEncoder, windows
from minillm.apps.guardrails.verdict import PASSED, Verdict


def sigmoid(z: Any) -> np.ndarray:
    """1 / (1 + e^-z), without overflow."""
    return 0.5 * (1 + np.tanh(np.asarray(z, float) / 2))


def logistic_regression(
    x: np.ndarray, y: np.ndarray, l2: float = 1e-3, steps: int = 300
) -> tuple[np.ndarray, float]:
    """(w, b) of the least loss, by gradient descent with Nesterov's momentum. x (N, D), rows of length 1; y (N,)."""
    x = np.column_stack([x, np.ones(len(x))]).astype(np.float64)  # the bias is one more weight
    decay = np.append(np.full(x.shape[1] - 1, l2), 0.0)  # which is not held down
    w = ahead = np.zeros(x.shape[1])
    rate = 1 / (0.5 + l2)  # 1 / the steepest the gradient can change: |x|^2 / 4 with |x|^2 = 2
    for step in range(steps):
        p = sigmoid(x @ ahead)
        # X^T (p - y) / N + l2 w
        gradient = x.T @ (p - y) / len(y) + decay * ahead
        before, w = w, ahead - rate * gradient
        ahead = w + step / (step + 3) * (w - before)
    return w[:-1], float(w[-1])


def platt(scores: np.ndarray, y: np.ndarray, steps: int = 50) -> tuple[float, float]:
    """(a, c) with which sigmoid(a score + c) is calibrated, by Newton's method.

    The targets are not 0 and 1 but (N+ + 1) / (N+ + 2) and 1 / (N- + 2): so few texts never make anything certain.
    """
    yes = y.sum()
    target = np.where(y > 0, (yes + 1) / (yes + 2), 1 / (len(y) - yes + 2))
    x = np.column_stack([scores, np.ones(len(scores))])  # (N, 2)
    both = np.array([0.0, np.log((yes + 1) / (len(y) - yes + 1))])
    for _ in range(steps):
        p = sigmoid(x @ both)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (p - target))
        both = both - step / max(1.0, np.abs(step).max())  # never a wild jump
    return float(both[0]), float(both[1])


def fold_numbers(groups: Sequence[Hashable], folds: int) -> np.ndarray:
    """A fold for each text, the same for all texts of a group: groups in turn, by first appearance."""
    order = {group: n for n, group in enumerate(dict.fromkeys(groups))}
    return np.array([order[group] % folds for group in groups])


class TextClassifier:
    """`TextClassifier().fit(texts, labels, groups).probabilities(texts)`: how likely each is to be of label 1."""

    def __init__(self, encoder: Any = None, l2: float = 1e-3, steps: int = 300):
        self.encoder = NgramEncoder() if encoder is None else encoder
        self.l2 = check_number("l2", l2, 1e-8)
        self.steps = check_int("steps", steps, 1)
        self.weights: np.ndarray | None = None

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[Any],
        groups: Sequence[Hashable] | None = None,
        folds: int = 4,
    ) -> TextClassifier:
        """labels: 0 or 1. groups: what stays together when texts are cut into folds; None: every text for itself.
        Afterwards `unseen` (N,) holds the probability of each text by a classifier that had not seen its group: a
        threshold is taken from these.

        ValueError for other labels, lengths that differ, and a fold whose other folds lack a label.
        """
        y = np.asarray(labels, float)
        groups = list(range(len(texts))) if groups is None else list(groups)
        if (
            not len(texts)
            or y.shape != (len(texts),)
            or not np.isin(y, (0, 1)).all()
            or len(groups) != len(y)
        ):
            raise ValueError(
                f"fit needs a label 0 or 1 and a group a text, got {describe(labels)} for {len(texts)} texts"
            )
        fold = fold_numbers(groups, check_int("folds", folds, 2))
        if any(len(set(y[fold != one])) < 2 for one in range(folds)):
            raise ValueError(
                f"each of {folds} folds must leave texts of both labels in the others: fewer folds, more groups"
            )
        x = np.asarray(self.encoder.encode(list(texts)))
        self._fit(x, y, fold)
        return self

    def _fit(self, x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> None:
        unseen = np.empty(len(y))  # the score of each text by a classifier that has not seen its group
        for one in set(fold.tolist()):
            out = fold == one
            w, b = logistic_regression(x[~out], y[~out], self.l2, self.steps)
            unseen[out] = x[out] @ w + b
        self.scale = platt(unseen, y)
        self.unseen = self._calibrated(unseen)
        self.weights, self.bias = logistic_regression(x, y, self.l2, self.steps)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """w x + b, (N,). ValueError before `fit`, and for one str in place of a list."""
        if self.weights is None:
            raise ValueError("fit(texts, labels) comes before predictions")
        if not is_listing(texts):
            raise ValueError(f"texts must be a list of texts, got {describe(texts)}")
        return np.asarray(self.encoder.encode(list(texts))) @ self.weights + self.bias

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities of label 1, (N,)."""
        return self._calibrated(self.scores(texts))

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        a, c = self.scale
        return sigmoid(a * scores + c)


class ClassifierRail:
    """Refuses a text of which a window of 300 characters has a probability of `threshold` or more."""

    name = "classifier"

    def __init__(self, classifier: TextClassifier, threshold: float):
        self.classifier = classifier
        self.threshold = check_number("threshold", threshold, 0, 1)

    def probability(self, text: str) -> float:
        """Of the most suspicious window."""
        return float(self.classifier.probabilities(windows(text)).max())

    def __call__(self, text: str) -> Verdict:
        p = self.probability(text)
        return PASSED if p < self.threshold else Verdict(False, f"{self.name}: probability {p:.2f}")
