"""Dense search (의미 검색): texts and questions become vectors, and the nearest vectors are the answer.

Book: 10.3 실습: 의미 검색 구현하기. The two parts are exchangeable: any encoder with `encode(texts) -> (N, D)` and
`dim`, any index with the methods of ExactIndex, HNSWIndex and IVFIndex among them. An encoder that was trained with
other prompts for questions than for texts has `encode_query` and `encode_document`, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_int, check_path, describe
from minillm._files import BadFileError, kind_of_file, read_json, write_json
from minillm.data import REAL_MODELS
from minillm.search._ids import DocumentId, Ranking, check_document_ids, check_texts
from minillm.search.encoder_sources import open_encoder
from minillm.search.exact import ExactIndex, check_vectors
from minillm.search.sentence_encoder import SentenceEncoder

NAMED = "encoder.json"  # the name of a real model; null for an encoder that cannot be stored
INDEXES = {
    "HNSW index": "HNSWIndex",
    "NSW index": "NSWIndex",
    "IVF index": "IVFIndex",
}  # by what a file calls itself


class DenseRetriever:
    """An encoder and an index behind the same two calls as BM25: `fit(corpus)`, `search(queries, k)`.

    index: an empty index of the encoder's width (default ExactIndex(encoder.dim, "cosine")).
    Raises ValueError for an encoder without `encode`, or an index that is not empty or not as wide.
    """

    def __init__(self, encoder: Any, index: Any = None) -> None:
        if not callable(getattr(encoder, "encode", None)) or not hasattr(encoder, "dim"):
            raise ValueError(f"encoder must have encode(texts) and dim, got {describe(encoder)}")
        index = ExactIndex(encoder.dim, "cosine") if index is None else index
        if getattr(index, "dim", None) != encoder.dim or len(index):
            raise ValueError(f"index must be empty and of width {encoder.dim}, got {describe(index)}")
        self.encoder, self.index = encoder, index
        self._empty: Any = copy.deepcopy(index)  # what a second `fit` starts from
        self.ids: list[DocumentId] = []

    def __len__(self) -> int:
        """Number of indexed documents; 0 before `fit`."""
        return len(self.ids)

    def fit(self, corpus: Iterable[str], ids: Sequence[DocumentId] | None = None) -> DenseRetriever:
        """Encode and index `corpus` (N texts, N >= 1), replacing what was there; returns self.

        ids: N different str or int names that rankings will use (default 0 .. N-1). Raises ValueError as BM25.fit.
        """
        texts = check_texts("corpus", corpus)
        if not texts:
            raise ValueError("corpus must hold at least one text, got none")
        ids = check_document_ids(ids, len(texts))
        vectors = self._encode(texts, "document")
        index = self._new_index() if len(self.index) else self.index
        index.add(vectors, range(len(texts)))
        self.index, self.ids = index, ids  # in place together: what fails before leaves the old ones
        return self

    def _new_index(self) -> Any:
        """An empty index like the one that this retriever began with, or was loaded with."""
        index = copy.deepcopy(self.index if self._empty is None else self._empty)
        if len(index):
            index.remove(range(len(index)))
        return index

    def scores(self, query: str) -> np.ndarray:
        """The similarity of every document to one query, float32 (N,), in the order of the corpus; the score of
        `search`. All 0 for a query without any known token. Raises ValueError as BM25.scores."""
        texts = check_texts("query", [query])
        if not self.ids:
            return np.zeros(0, np.float32)
        vector, scores = self._encode(texts, "query"), np.zeros(len(self), np.float32)
        if vector.any():
            places, distances = self.index.search(vector, len(self))
            there = places[0] >= 0
            scores[places[0, there]] = (0.0 if self.index.metric == "l2" else 1.0) - distances[0, there]
        return scores

    def search(self, queries: Sequence[str], k: int = 10) -> list[Ranking]:
        """The best k documents of each query as [(id, score), ...], best first, equal scores in corpus order.

        The score is the similarity: the cosine, the inner product, or minus the squared distance, by the index's
        metric. A query without any known token gets [], and so does every query before `fit`. Raises ValueError as
        BM25.search.
        """
        queries = check_texts("queries", queries)
        k = min(check_int("k", k, minimum=1), len(self))
        if not k or not queries:
            return [[] for _ in queries]
        vectors = self._encode(queries, "query")
        known = vectors.any(axis=1)
        found = self.index.search(vectors[known], k)  # HNSWIndex and IVFIndex refuse zeros under cosine
        highest = 0.0 if self.index.metric == "l2" else 1.0  # distance = 1 - similarity for cosine and ip
        rows = zip(*(part.tolist() for part in found), strict=True)
        return [
            [(self.ids[place], highest - distance) for place, distance in zip(*next(rows)) if place >= 0]
            if there
            else []
            for there in known
        ]

    def _encode(self, texts: list[str], kind: str) -> np.ndarray:
        """Vectors of texts that are a "query" or a "document", by the encoder's own call for them if it has one:
        float32 (N, D), of an encoder that gives lists or tensors, too."""
        found = getattr(self.encoder, f"encode_{kind}", self.encoder.encode)(texts)
        vectors = check_vectors("the encoder's vectors", found, self.index.dim)
        if len(vectors) != len(texts):
            raise ValueError(f"the encoder must give a vector a text, got {len(vectors)} for {len(texts)}")
        return vectors

    def save(self, folder: str | Path) -> Path:
        """Write encoder/, vectors.safetensors and documents.json into `folder`, each file whole or not at all.

        Of a real model that has a name ("e5") the name is written, in encoder.json, and not its hundreds of megabytes.
        An encoder without `save_pretrained` is not stored: pass it to `load`.
        """
        if not self.ids:
            raise ValueError("this retriever is empty: call fit(corpus) first")
        folder = check_path("folder", folder)
        name = getattr(self.encoder, "name", None)
        if name is None and callable(getattr(self.encoder, "save_pretrained", None)):
            self.encoder.save_pretrained(folder / "encoder")
            (folder / NAMED).unlink(missing_ok=True)
        else:
            write_json(folder / NAMED, {"name": name})
        self.index.save(folder / "vectors.safetensors")
        write_json(folder / "documents.json", {"ids": self.ids})
        return folder

    @classmethod
    def load(cls, folder: str | Path, encoder: Any = None) -> DenseRetriever:
        """The retriever that `save` wrote, with its index; BadFileError (a ValueError) naming what is missing, cut or
        damaged. encoder: one that is open already, in place of its own; ValueError where it was not stored and none is
        passed."""
        folder = check_path("folder", folder)
        retriever = cls(_open_encoder(folder) if encoder is None else encoder)
        index = _open_index(folder / "vectors.safetensors")
        names = read_json(folder / "documents.json", "list of documents")
        ids = names.get("ids") if isinstance(names, dict) else None
        if not isinstance(ids, list) or len(ids) != len(index) or index.dim != retriever.encoder.dim:
            raise BadFileError(f"search folder {str(folder)!r} is refused: its files do not belong together")
        try:
            retriever.index, retriever.ids = index, check_document_ids(ids, len(index))
            retriever._empty = None  # made of the index where it is needed: it keeps its options
        except ValueError as error:
            raise BadFileError(f"search folder {str(folder)!r} is refused: {error}") from None
        return retriever


def _open_index(path: Path) -> Any:
    """The index in a file, of the kind that the file names."""
    kind = kind_of_file(path)
    if kind not in INDEXES:
        return ExactIndex.load(path)
    from minillm.search import ann  # only for those who use it: it compiles its kernels

    return getattr(ann, INDEXES[kind]).load(path)


def _open_encoder(folder: Path) -> Any:
    """The encoder of a search folder: the real model that it names, or what stands in encoder/."""
    if (folder / NAMED).exists():
        named = read_json(folder / NAMED, "name of an encoder")
        name = named.get("name") if isinstance(named, dict) else None
        if named == {"name": None}:
            raise ValueError(f"search folder {str(folder)!r} was built with its own encoder: pass encoder=")
        if not isinstance(name, str) or name not in REAL_MODELS:
            raise BadFileError(
                f"{str(folder / NAMED)!r} must name one of {', '.join(REAL_MODELS)}, got {describe(name)}"
            )
        return SentenceEncoder.from_pretrained(name)
    read_json(folder / "encoder" / "modules.json", "list of modules")  # one that we wrote has it
    return open_encoder(folder / "encoder")
