"""The index of a RAG system: documents in, retrievers and query engines out; names as in LlamaIndex.

    index = VectorStoreIndex.from_documents(documents, encoder="e5")       split, encoded, stored: one transaction
    index.as_retriever(similarity_top_k=3).retrieve("...")                 or mode="bm25", "hybrid"
    index.as_query_engine(llm).query("...").source_nodes

The nodes live in a VectorStore, in memory or in one SQLite file, and nowhere else: what the file holds after a crash is
the index. A document is replaced by writing its new nodes first, its surplus ones are deleted then; one that was caught
in between still has nodes of its old text, and `refresh_ref_docs` writes it again.

Book: 9.1.3 실습: 라마인덱스로 RAG 구현하기. Peer: LlamaIndex' VectorStoreIndex. Left out: other kinds of index, access
rights of readers (namespaces of the store have tokens), one store with two splitters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_text, describe
from minillm.apps.rag.nodes import Node
from minillm.apps.rag.query_engine import Answer, QueryEngine
from minillm.apps.rag.retriever import Retriever, StoreSearch
from minillm.apps.rag.splitter import SentenceSplitter
from minillm.data import Document, available
from minillm.data.documents import check_documents
from minillm.data.real_models import how_to_fetch
from minillm.search import BM25, HybridSearch, VectorStore, open_encoder

OWN = (
    "document",
    "title",
    "text",
    "start",
    "end",
    "sha256",
)  # fields of a record that a document may not bring
MODES = ("dense", "bm25", "hybrid")
SPECIAL = 16  # tokens that an encoder puts around a text, its prompt among them


class VectorStoreIndex:
    """An index over a VectorStore that has an encoder. splitter: None for SentenceSplitter in the encoder's tokens."""

    def __init__(self, store: VectorStore, encoder: Any, splitter: SentenceSplitter | None = None) -> None:
        splitter = splitter_for(encoder, splitter)
        self.store, self.encoder, self.splitter = store, encoder, splitter
        self._words: BM25 | None = None  # of the nodes that the store held in state `_seen`
        self._seen: Any = None

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        encoder: Any = None,
        splitter: SentenceSplitter | None = None,
        path: str | Path | None = None,
    ) -> VectorStoreIndex:
        """A new index of documents. encoder: with encode(texts) and dim, or a name or folder; None is e5.

        path: a file that does not hold an index yet; None keeps it in memory. Raises ValueError for documents without
        text or with one id, for metadata that a store cannot keep, and where e5 was not fetched; nothing is stored
        then.
        """
        documents, encoder = check_documents(documents), open_reader(encoder)
        fresh = path is not None and not Path(path).exists()
        index = cls.open(path, encoder, splitter)
        if there := len(index):
            index.store.close()
            raise ValueError(f"path must be a new file, {str(path)!r} holds {there} nodes: open it with load")
        try:
            index._write(documents)
        except BaseException:
            index.store.close()
            for end in ("", "-wal", "-shm") if fresh else ():
                Path(f"{path}{end}").unlink(missing_ok=True)
            raise
        return index

    @classmethod
    def open(cls, path: str | Path | None, encoder: Any, splitter: Any = None) -> VectorStoreIndex:
        """An index in a file that may be there; None for one in memory."""
        splitter = splitter_for(encoder, splitter)  # refused before a file is made
        return cls(VectorStore(encoder.dim, path=path, encoder=encoder), encoder, splitter)

    @classmethod
    def load(cls, path: str | Path, encoder: Any = None, splitter: Any = None) -> VectorStoreIndex:
        """The index that lies in a file. BadFileError for no such file, ValueError for another encoder's."""
        encoder = open_reader(encoder)
        splitter = splitter_for(encoder, splitter)
        return cls(VectorStore.open(path, encoder), encoder, splitter)

    def persist(self, path: str | Path) -> Path:
        """Copy the index into one file, whole or not at all; `load` opens it."""
        return self.store.backup(path)

    # --- documents that come, change and go -------------------------------------------------------------------

    def insert(self, document: Document) -> None:
        """Add a document, or put it in the place of the one that had its id."""
        self._write(check_documents([document]))

    def refresh_ref_docs(self, documents: Iterable[Document]) -> list[bool]:
        """Insert what is new or was changed; which of the documents were. What is the same is not encoded again."""
        documents = check_documents(documents)
        changed = [self._kept_sums(one.id) != {checksum(one)} for one in documents]
        self._write([one for one, new in zip(documents, changed) if new])
        return changed

    def delete_ref_doc(self, document_id: str) -> int:
        """Take a document out; how many nodes it had. ValueError where there is none of this id."""
        ids = self._ids(check_text("document_id", document_id))
        if not ids:
            raise ValueError(f"document_id must be in the index, got {document_id!r} which is not")
        self.store.delete(ids)
        return len(ids)

    def _write(self, documents: list[Document]) -> None:
        nodes = self.splitter.get_nodes_from_documents(documents)
        sums = {one.id: checksum(one) for one in documents}
        records = [as_record(node, sums[node.document_id]) for node in nodes]
        before = {id for one in documents for id in self._ids(one.id)}
        if records:
            self.store.upsert(records)
        if surplus := sorted(before - {node.id for node in nodes}):
            self.store.delete(surplus)

    def _ids(self, document_id: str) -> list[str]:
        """The ids of a document's nodes: of "a", "a#1" and not "a#1#0"."""
        start = f"{document_id}#"
        return [one for one in self.store.list(start) if one[len(start) :].isdigit()]

    def _kept_sums(self, document_id: str) -> set[str]:
        records = self.store.fetch(self._ids(document_id))["vectors"].values()
        return {one["metadata"]["sha256"] for one in records}

    # --- what is in it ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of nodes."""
        return self.store.stats()["total_vector_count"]

    def nodes(self, ids: Iterable[str] | None = None) -> dict[str, Node]:
        """The nodes of these ids, or all of them, by id."""
        records = self.store.fetch(self.store.list() if ids is None else ids)["vectors"]
        return {id: as_node(id, record["metadata"]) for id, record in records.items()}

    def ref_docs(self) -> list[str]:
        """The ids of the documents, in order."""
        return sorted({id.rpartition("#")[0] for id in self.store.list()})

    # --- what it is for ---------------------------------------------------------------------------------------

    def as_retriever(
        self, similarity_top_k: int = 4, mode: str = "dense", filters: Any = None, **options: Any
    ) -> Retriever:
        """A retriever by vectors, by words ("bm25") or both ("hybrid", RRF). filters: {"year": 2024} and whatever else
        the store's filters can say, for "dense" alone. options: as Retriever (similarity_cutoff, reranker)."""
        check_choice("mode", mode, MODES)
        if filters is not None and mode != "dense":
            raise ValueError(f"filters are the vector store's: mode must be 'dense', got {mode!r}")
        source: Any = StoreSearch(self.store, filters)
        if mode != "dense":
            words = WordSearch(self)
            source = words if mode == "bm25" else HybridSearch(words, source)
        return Retriever(source, self.nodes, similarity_top_k, **options)

    def as_query_engine(self, llm: Any = None, **options: Any) -> QueryEngine:
        """Retriever and model in one. llm: a ChatModel; None quotes the best sentence. options: of `as_retriever`, and
        of QueryEngine (context_window, max_tokens, prompt)."""
        own = {name: options.pop(name) for name in QueryEngine.OPTIONS if name in options}
        return QueryEngine(self.as_retriever(**options), llm, **own)

    def query(self, question: str, llm: Any = None, **options: Any) -> Answer:
        """The answer to one question: `as_query_engine(llm, **options).query(question)`, whose errors these are."""
        return self.as_query_engine(llm, **options).query(question)

    def words(self) -> BM25:
        """Keyword search over the same nodes, made anew where anyone has written to the store since, this process or
        another."""
        state = self.store.state()
        if self._words is None or state != self._seen:
            nodes, words = self.nodes(), BM25()
            words.add([node.indexed for node in nodes.values()], list(nodes))
            self._words, self._seen = words, state
        return self._words


class WordSearch:
    """The words of an index as a `Search`: of what the index holds when it is asked."""

    def __init__(self, index: VectorStoreIndex) -> None:
        self.index = index

    def search(self, queries: Any, k: int = 10) -> Any:
        """As BM25's."""
        return self.index.words().search(queries, k)


def open_reader(encoder: Any) -> Any:
    """An encoder; of a name or a folder, the one that lies there. None: e5, where it was fetched."""
    if encoder is None:
        if not available("e5"):
            raise ValueError(
                f"encoder must be given, or e5 be there: {how_to_fetch('e5')} brings it. HashedWords() needs no file "
                "and knows words, not meaning"
            )
        encoder = "e5"
    if isinstance(encoder, (str, Path)):
        return open_encoder(encoder)
    if not callable(getattr(encoder, "encode", None)) or not hasattr(encoder, "dim"):
        raise ValueError(f"encoder must have encode(texts) and dim, or be a name, got {describe(encoder)}")
    return encoder


def splitter_for(encoder: Any, splitter: SentenceSplitter | None) -> SentenceSplitter:
    """The splitter, by default in the encoder's tokens; ValueError for nodes that the encoder would cut off."""
    splitter = SentenceSplitter(tokenizer=encoder) if splitter is None else splitter
    longest = getattr(encoder, "max_length", None)
    if longest is not None and splitter.chunk_size + SPECIAL > longest:
        raise ValueError(
            f"chunk_size must leave {SPECIAL} of the {longest} tokens that the encoder reads to its prompt and the "
            f"title, got {splitter.chunk_size}: the end of a node would not be found"
        )
    return splitter


def checksum(document: Document) -> str:
    """What changes where a document changed: its text, title or metadata."""
    parts = (document.title, document.text, repr(sorted(document.metadata.items())))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def as_record(node: Node, sha256: str) -> dict[str, Any]:
    """A node as a record of the store. Its "text" is what is encoded, the title in front."""
    if taken := sorted(set(OWN) & set(node.metadata)):
        raise ValueError(
            f"metadata of document {node.document_id!r} must not use {taken}: they are the index's own"
        )
    own = (node.document_id, node.title, node.indexed, node.start, node.end, sha256)
    return {"id": node.id, "text": node.indexed, "metadata": {**node.metadata, **dict(zip(OWN, own))}}


def as_node(id: str, metadata: dict[str, Any]) -> Node:
    """The node of a record. ValueError for one that is none of ours."""
    if missing := [name for name in OWN if name not in metadata]:
        raise ValueError(f"record {id!r} of the store is no node: it lacks {', '.join(missing)}")
    document, title, text, start, end, _ = (metadata[name] for name in OWN)
    rest = {name: value for name, value in metadata.items() if name not in OWN}
    return Node(id, document, title, text[len(title) + 1 if title else 0 :], start, end, rest)
