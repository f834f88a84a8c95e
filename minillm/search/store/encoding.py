"""The encoder that a store was given: texts to vectors, and a probe that tells this encoder from another.

A store whose vectors came from one encoder gives nonsense when it is asked with another one of the same width. The
vector of one fixed text is kept with the first text that is encoded; an encoder that makes another one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._checks import describe
from minillm.search.store.records import check_vector, pack, vector_of


class TextEncoder:
    """`encoder` with encode(texts), and perhaps encode_document, encode_query and dim. ValueError otherwise."""

    def __init__(self, encoder: Any) -> None:
        if not callable(getattr(encoder, "encode", None)) or isinstance(encoder, str):  # a str has one, too
            raise ValueError(f"encoder must have encode(texts), got {describe(encoder)}")
        self.encoder = encoder
        self._probe: bytes | None = None
        self._checked = False

    def encode(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """Vectors of texts, one a text. kind: "document" or "query", which encoders with prompts treat differently."""
        found = np.asarray(getattr(self.encoder, f"encode_{kind}", self.encoder.encode)(list(texts)))
        if found.ndim != 2 or len(found) != len(texts):
            raise ValueError(
                f"encoder must give a vector a text, got {describe(found)} for {len(texts)} texts"
            )
        return found

    def probe(self) -> bytes:
        """The packed vector of the text that all encoders are told apart by."""
        from minillm.search.kept_vectors import PROBE

        if self._probe is None:
            vector = self.encode([PROBE], "document")[0]
            self._probe = pack(check_vector("the encoder's vector", vector, len(vector), "ip"))
        return self._probe

    def check(self, dim: int, probe: bytes | None, store: str, kind: str = "vector store") -> None:
        """ValueError where this encoder's vectors have not the width `dim`, or it is not the one that made `probe`."""
        width = getattr(self.encoder, "dim", dim)
        if width != dim:
            raise ValueError(f"encoder must give vectors of the store's dim {dim}, got {width}")
        if probe is not None and not self._checked:
            from minillm.search.kept_vectors import SAME

            ours, kept = vector_of(self.probe()), vector_of(probe)
            if ours.shape != kept.shape or np.abs(ours - kept).max() > SAME:
                raise ValueError(
                    f"{kind} {store} was filled by another encoder, got {describe(self.encoder)}"
                )
            self._checked = True
