"""A rail by meaning: how near is a text to topics that are blocked?

    score = max over the sentences s of the text and the examples t of  cos(encode(s), encode(t))

An encoder of sentences (`SentenceEncoder.from_pretrained("e5")`) finds a blocked topic in other words and in another
language. It is near as well to a question about the topic that is fine. The threshold is taken from data
(`evaluation.threshold_at`): cosines of e5 lie between .7 and 1, and those of other encoders elsewhere.

Book: 9.3.1 데이터 검증 방식 (임베딩 유사도 기반). Peer: semantic-router.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._checks import check_number, check_text, describe, is_listing
from minillm.apps.guardrails.ngram_encoder import windows
from minillm.apps.guardrails.verdict import PASSED, Verdict
from minillm.apps.guardrails.views import joined_view, without_surrogates
from minillm.data.proof import sentences


def unit_vectors(encoder: Any, texts: Sequence[str]) -> np.ndarray:
    """(N, D) of length 1. What only looks like a letter is that letter, and half characters are no text."""
    shown = [without_surrogates(joined_view(text).text) or " " for text in texts]
    rows = np.asarray(encoder.encode(shown), np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def pieces(text: str) -> list[str]:
    """The whole beginning of the text, and its sentences, long ones in windows."""
    return list(dict.fromkeys([text[:300], *(part for one in sentences(text) for part in windows(one))]))


def across_groups(
    encoder: Any, texts: Sequence[str], groups: Sequence[Any], examples: Sequence[bool]
) -> np.ndarray:
    """(N,) the cosine of each text to the nearest example of another group: what a threshold is taken from."""
    vectors, groups, examples = unit_vectors(encoder, texts), np.asarray(groups), np.asarray(examples, bool)
    found = np.empty(len(texts))
    for n, text in enumerate(texts):
        others = vectors[examples & (groups != groups[n])]
        found[n] = (unit_vectors(encoder, pieces(text)) @ others.T).max(initial=-1.0)
    return found


class TopicRail:
    """Refuses a text with a sentence that is as near to one of the examples as `threshold`, a cosine."""

    def __init__(self, encoder: Any, examples: Sequence[str], threshold: float, name: str = "topic"):
        if not is_listing(examples) or not len(examples):
            raise ValueError(f"examples must be one text or more, got {describe(examples)}")
        self.examples = [check_text("example", one) for one in examples]
        self.encoder, self.name = encoder, check_text("name", name)
        self.threshold = check_number("threshold", threshold, -1, 1.01)
        self.vectors = unit_vectors(encoder, self.examples)  # (E, D)

    def nearest(self, text: str) -> tuple[float, str]:
        """(cosine, example) of the nearest example to any sentence of the text."""
        near = unit_vectors(self.encoder, pieces(text)) @ self.vectors.T  # (S, E)
        return float(near.max()), self.examples[int(near.max(0).argmax())]

    def __call__(self, text: str) -> Verdict:
        cosine, example = self.nearest(text)
        if cosine < self.threshold:
            return PASSED
        return Verdict(False, f"{self.name}: as near as {cosine:.2f} to {example!r}")
