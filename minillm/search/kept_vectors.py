"""An encoder that encodes no text twice: vectors are kept by the sha256 of their text, in memory and in a folder.

    kept = KeptVectors(encoder, folder);   kept.encode_document(texts)      encodes what is new, part by part
    stopped by Ctrl-C, called again:       the parts that were finished are read, the rest is encoded

So a passage that did not change keeps its vector wherever it moved to, and a run that was stopped loses one part at
most. A probe, the vector of one fixed text, stands in every file: vectors of another encoder, or of the same one with
another prompt, are not taken.

Book: 10.3 실습: 의미 검색 구현하기. Left out: the parts of other processes that write into the same folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_path, describe
from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search._ids import check_texts
from minillm.search.exact import check_vectors

PART = 64  # texts encoded and written at a time
KIND = "kept vectors"
PROBE = "A sentence that tells one encoder from another. 인코더를 가려내는 문장."
SAME = 1e-4  # of a probe's numbers: an encoder rounds by less, and two encoders differ by more


class KeptVectors:
    """`encoder` (with encode(texts) and dim), and the vectors that it made.

    folder: where parts are written as they are finished, and read again; None keeps them in memory alone. Files there
    that are damaged, or of another encoder, are ignored. on_texts: called with the number of texts of each part.
    """

    def __init__(
        self,
        encoder: Any,
        folder: str | Path | None = None,
        on_texts: Callable[[int], None] = lambda count: None,
    ) -> None:
        if not callable(getattr(encoder, "encode", None)) or not hasattr(encoder, "dim"):
            raise ValueError(f"encoder must have encode(texts) and dim, got {describe(encoder)}")
        self.encoder, self.on_texts = encoder, on_texts
        self.folder = None if folder is None else check_path("folder", folder)
        self.documents: dict[bytes, np.ndarray] = {}  # sha256 of a text -> its vector (D,)
        self.queries: dict[bytes, np.ndarray] = {}
        if self.folder is not None:
            if self.folder.exists() and not self.folder.is_dir():
                raise ValueError(f"folder must be a folder, {str(self.folder)!r} is a file")
            _ = self.probe  # before anything is written
            for path in sorted(self.folder.glob("*.vectors")):
                self._read(path)

    @cached_property
    def probe(self) -> np.ndarray:
        """The vector (D,) of the text that all encoders are told apart by."""
        return self._ask([PROBE], "document")[0]

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return self.encoder.dim

    def is_made_by_same(self, probe: Any) -> bool:
        """Whether `probe` is what this encoder makes of the text that all encoders are told apart by."""
        try:
            found = np.asarray(probe, np.float32)
        except (TypeError, ValueError):
            return False
        return found.shape == self.probe.shape and bool(np.abs(found - self.probe).max() <= SAME)

    def take(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors (N, D) that this encoder made of N texts at another time. Raises ValueError for others."""
        texts, vectors = check_texts("texts", texts), np.asarray(vectors)
        if len(texts) != len(vectors) or (texts and vectors.shape != (len(texts), self.dim)):
            raise ValueError(f"vectors must be ({len(texts)}, {self.dim}), got {describe(vectors)}")
        self.documents.update(zip(map(_key, texts), vectors, strict=True))

    def missing(self, texts: Iterable[str]) -> int:
        """How many different texts are still to be encoded."""
        return len({_key(text) for text in check_texts("texts", texts)} - self.documents.keys())

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `encode_document`."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32 (N, D). Raises ValueError for vectors that are not finite or not (N, D)."""
        return self._encode(texts, "document", self.documents)

    def encode_query(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of questions, float32 (N, D), kept in memory alone."""
        return self._encode(texts, "query", self.queries)

    def _encode(self, texts: Sequence[str], kind: str, known: dict[bytes, np.ndarray]) -> np.ndarray:
        texts = check_texts("texts", texts)
        keys = [_key(text) for text in texts]
        new = {key: text for key, text in zip(keys, texts) if key not in known}
        # like lengths together: a short text is not padded to a long one
        order = sorted(new.items(), key=lambda item: -len(item[1]))
        for start in range(0, len(order), PART):
            part = order[start : start + PART]
            vectors = self._ask([text for _, text in part], kind)
            if kind == "document" and self.folder is not None:
                self._write([key for key, _ in part], vectors)
            known.update(zip((key for key, _ in part), vectors))
            self.on_texts(len(part))
        return np.stack([known[key] for key in keys]) if keys else np.zeros((0, self.dim), np.float32)

    def _ask(self, texts: list[str], kind: str) -> np.ndarray:
        found = getattr(self.encoder, f"encode_{kind}", self.encoder.encode)(texts)
        vectors = check_vectors("the encoder's vectors", found, self.dim)
        if len(vectors) != len(texts):
            raise ValueError(f"the encoder must give a vector a text, got {len(vectors)} for {len(texts)}")
        return vectors

    # --- parts ------------------------------------------------------------------------------------------------

    def _write(self, keys: list[bytes], vectors: np.ndarray) -> None:
        digest = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        arrays = {
            "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32),
            "vectors": vectors,
            "probe": self.probe,
        }
        save_arrays(self.folder / f"{digest}.vectors", KIND, arrays)

    def _read(self, path: Path) -> None:
        try:
            arrays, _ = load_arrays(path, KIND)
            keys, vectors, probe = arrays["keys"], arrays["vectors"], arrays["probe"]
        except (BadFileError, KeyError):  # cut or damaged: its texts are encoded again
            return
        if (
            keys.shape == (len(vectors), 32)
            and vectors.shape[1:] == (self.dim,)
            and self.is_made_by_same(probe)
        ):
            self.documents.update(zip((key.tobytes() for key in keys), vectors))


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
