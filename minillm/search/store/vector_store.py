"""A vector database (벡터 데이터베이스) in one file: Pinecone's verbs, SQLite underneath, an index in memory on top.

    upsert -> check all records -> one transaction in the table (sqlite_file.py, table.py) -> acknowledged
    query  -> filter: numbers of the records that may be found (inverted.py)
           -> index: the nearest of them (ExactIndex, or another one)      + inverted lists of sparse values (sparse.py)
           -> table: the records of the winners, with exact scores

The table is the truth. What is in memory (views.py) takes up every commit, of this process or another, before it is
asked. The whole of a query sees one state.

Book: 12.1 벡터 데이터베이스란, 12.4 실습: 파인콘으로 벡터 검색 구현하기.
Peer: Pinecone's client. Left out: servers, shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minillm._checks import check_flag, check_int, describe
from minillm.search.store import access
from minillm.search.store.filters import parse_filter
from minillm.search.store.records import (
    FIELDS,
    answer_of,
    as_json,
    check_hybrid,
    check_ids,
    check_metadata,
    check_name,
    check_record,
    check_records,
    check_vector,
    pack,
    vector_of,
)
from minillm.search.store.sparse import check_sparse
from minillm.search.store.table import Row, read_by, read_namespaces, read_settings, write_settings
from minillm.search.store.views import MetadataView
from minillm.search.store.whole import WholeStore

Token = access.Token
Answer = dict[str, Any]
PAGE = 100  # ids on a page of list_paginated


class VectorStore(WholeStore):
    """Records of vectors (dim,) and metadata, in namespaces.

    metric: "cosine", "ip" or "l2". path: a SQLite file, made where there is none; None keeps all in memory.
    encoder: with encode(texts) (encode_document and encode_query are preferred), for records and queries that are text.
    index: makes the search index, called with (dim, metric): `VectorStore(384, index=HNSWIndex)`.
    read_only: for readers beside a writer; they see its commits. verify: read the whole file once and check it; for a
    large one that is opened often, verify=False opens at once, and each record is still checked when it is read.

    Threads may share one object, and take turns. Processes each open the file; a fork must open it again.

    Every verb takes namespace="" and token=None: where `set_token` was called, only that token is served. A verb that
    raises leaves the store as it was. Raises ValueError for bad input, BadFileError (one, too) for a damaged file,
    PermissionError for a wrong token, TimeoutError where another process holds the file for half a minute.
    """

    # --- verbs that write -------------------------------------------------------------------------------------

    def upsert(self, vectors: Iterable[Any], namespace: str = "", token: Token = None) -> Answer:
        """Write records, all of them or none; one whose id is there is replaced whole. {"upserted_count": n}.

        vectors: [{"id": str, "values": (dim,), "metadata": {...}, "sparse_values": {...}}, ...], or with "text" instead
        of values, or tuples (id, values, metadata); see records.py. Where an id comes twice, the last one counts.
        """
        namespace = check_name("namespace", namespace, empty=True)
        records = check_records(vectors, self.dim, self.metric)
        self._check_access(namespace, token)
        texts = [record.text for record in records if record.vector is None]
        if texts:
            encoded = iter(self._encode(texts))
            records = [
                record._replace(vector=record.vector or self._pack_encoded(record.id, next(encoded)))
                for record in records
            ]
        with self._engine.writing(namespace, token) as changes:
            old = changes.find([record.id for record in records])
            for record in records:
                metadata = as_json(record.metadata)
                changes.put(old.get(record.id), record.id, record.vector, record.sparse, metadata)
            if texts:
                self._keep_probe(changes.connection)
        return {"upserted_count": len(records)}

    def update(
        self,
        id: str,
        values: Any = None,
        set_metadata: Any = None,
        sparse_values: Any = None,
        text: str | None = None,
        namespace: str = "",
        token: Token = None,
    ) -> Answer:
        """Change parts of one record: its vector (dim,), fields of its metadata, its sparse values, its text. Gives {}.

        What is not named stays. So a field is not taken away here, as in Pinecone: `upsert` the record without it.
        Raises ValueError for an id that is not there, and for a field that is None.
        """
        id, namespace = check_name("id", id), check_name("namespace", namespace, empty=True)
        name = f"record {id!r:.60}"
        if values is None and set_metadata is None and sparse_values is None and text is None:
            raise ValueError(f"update of {name} must change something, got nothing")
        if isinstance(set_metadata, Mapping) and (empty := [k for k, v in set_metadata.items() if v is None]):
            raise ValueError(
                f"{name}: set_metadata[{empty[0]!r:.60}] must not be None: upsert the record without the field"
            )
        given = dict(zip(FIELDS, (id, values, sparse_values, set_metadata, text)))
        change = check_record(name, given, self.dim, self.metric, whole=False)
        self._check_access(namespace, token)
        if change.text is not None:
            change = change._replace(vector=self._pack_encoded(id, self._encode([text])[0]))
        with self._engine.writing(namespace, token) as changes:
            old = changes.find([id]).get(id)
            if old is None:
                raise ValueError(f"id must be in namespace {namespace!r}, got {id!r} which is not")
            merged = check_metadata(f"{name}: metadata", {**json.loads(old.metadata), **change.metadata})
            changes.put(old, id, change.vector or old.vector, change.sparse or old.sparse, as_json(merged))
            if change.text is not None:
                self._keep_probe(changes.connection)
        return {}

    def delete(
        self,
        ids: Iterable[str] | None = None,
        delete_all: bool = False,
        filter: Any = None,
        namespace: str = "",
        token: Token = None,
    ) -> Answer:
        """Delete records: those of these ids (one that is not there is no error, as in Pinecone), those that a filter
        lets through, or all of a namespace. Raises ValueError for none of the three, or two."""
        namespace = check_name("namespace", namespace, empty=True)
        check_flag("delete_all", delete_all)
        if (ids is not None) + delete_all + (filter is not None) != 1:
            raise ValueError("delete takes one of ids, filter and delete_all=True, got none or several")
        ids = None if ids is None else check_ids("ids", ids)
        parsed = None if filter is None else parse_filter(filter)
        if filter is not None and not filter:
            raise ValueError("filter must hold a condition, got {}: delete_all=True deletes everything")
        if (
            filter is not None
        ):  # read the metadata now, so that the transaction below keeps nobody waiting for it
            with self._engine.reading() as connection:
                if (found := self._engine.namespace(connection, namespace, token)) is not None:
                    self._engine.view(connection, found, MetadataView)
        with self._engine.writing(namespace, token) as changes:
            rows: Iterable[Row] = ()
            if ids is not None:
                rows = changes.find(ids).values()
            elif filter is not None:
                view = self._engine.view(changes.connection, changes.namespace, MetadataView)
                rows = changes.find(view.index.select(parsed), "number").values()
            elif changes.namespace.count:
                changes.clear()
            for row in rows:
                changes.delete(row)
        return {}

    def set_token(
        self, namespace: str, new: str | None = None, *, token: Token = None, remove: bool = False
    ) -> str | None:
        """Let a namespace be served to those alone who show a token: `new`, of at least 16 characters, or a random one,
        which is returned. token: the one that is in force, if there is one. remove: serve everyone again."""
        namespace, remove = check_name("namespace", namespace, empty=True), check_flag("remove", remove)
        if remove and new is not None:
            raise ValueError("set_token takes a new token or remove=True, got both")
        new = access.new_token() if new is None and not remove else new
        salt, kept = (None, None) if remove else access.hashed(new)
        with self._engine.writing(namespace, token, salt=salt, token=kept):
            pass
        return new

    # --- verbs that read --------------------------------------------------------------------------------------

    def query(
        self,
        vector: Any = None,
        top_k: int = 10,
        filter: Any = None,
        namespace: str = "",
        include_values: bool = False,
        include_metadata: bool = True,
        *,
        id: str | None = None,
        sparse_vector: Any = None,
        token: Token = None,
    ) -> Answer:
        """The top_k best records: {"matches": [{"id", "score", "metadata", ...}, ...], "namespace": ""}, best first.

        vector: (dim,) numbers, or a text for the store's encoder; or `id`: of the record whose vector is the query.
        score: cosine or inner product, larger is better; under "l2" the squared distance, smaller is better. With
        sparse_vector={"indices": [...], "values": [...]} the inner product of the sparse parts is added. Fewer records
        than top_k: all of them. Raises ValueError for another width, NaN, a zero vector under cosine, an unknown id.
        """
        check_name("namespace", namespace, empty=True)
        check_flag("include_values", include_values)
        check_flag("include_metadata", include_metadata)
        top_k = check_int("top_k", top_k, minimum=1)
        if (vector is None) == (id is None):
            raise ValueError("query takes a vector or an id, got " + ("neither" if id is None else "both"))
        parsed = None if filter is None else parse_filter(filter)
        sparse = check_sparse("sparse_vector", sparse_vector)
        if sparse is not None:
            check_hybrid("query", self.metric)
        if id is not None:
            check_name("id", id)
        self._check_access(namespace, token)
        is_text = isinstance(vector, str)
        if is_text:
            vector = self._encode([vector], "query")[0]
        if vector is not None:
            vector = check_vector("vector", vector, self.dim, self.metric)
        with self._engine.reading() as connection:
            found = self._engine.namespace(connection, namespace, token)
            if is_text:  # the first text may have come from another process, with another encoder
                self._encoder.check(self.dim, read_settings(connection).probe, str(self._engine.file))
            if id is not None:
                rows = read_by(connection, "id", [id], found.number) if found else {}
                if id not in rows:
                    raise ValueError(f"id must be in namespace {namespace!r}, got {id!r} which is not")
                vector = vector_of(rows[id].vector)
            best = self._engine.best(connection, found, vector, top_k, parsed, sparse)
        matches = []
        for row, points in best:
            answer = answer_of(row, include_values, include_metadata)
            matches.append({"id": answer.pop("id"), "score": points, **answer})
        return {"matches": matches, "namespace": namespace}

    def fetch(self, ids: Iterable[str], namespace: str = "", token: Token = None) -> Answer:
        """Records by id: {"vectors": {id: {"id", "values", "metadata", ...}}, "namespace": ""}; unknown ids are not in
        the answer."""
        namespace, ids = check_name("namespace", namespace, empty=True), check_ids("ids", ids)
        with self._engine.reading() as connection:
            found = self._engine.namespace(connection, namespace, token)
            rows = read_by(connection, "id", ids, found.number) if found else {}
        answers = {id: answer_of(rows[id], True, True) for id in ids if id in rows}
        return {"vectors": answers, "namespace": namespace}

    def list(self, prefix: str = "", namespace: str = "", token: Token = None) -> list[str]:
        """The ids that begin with `prefix`, in order of their code points."""
        return self._ids(prefix, namespace, token, "", None)

    def list_paginated(
        self,
        prefix: str = "",
        limit: int = PAGE,
        pagination_token: str | None = None,
        namespace: str = "",
        token: Token = None,
    ) -> Answer:
        """A page of ids: {"vectors": [{"id": ...}], "namespace": "", "pagination": {"next": ...} or None}.

        The next page is asked for with pagination_token=next; what is written in between does not shift the pages.
        """
        limit = check_int("limit", limit, minimum=1)
        after = (
            "" if pagination_token is None else check_name("pagination_token", pagination_token, empty=True)
        )
        ids = self._ids(prefix, namespace, token, after, limit + 1)
        more = {"next": ids[limit - 1]} if len(ids) > limit else None
        return {"vectors": [{"id": id} for id in ids[:limit]], "namespace": namespace, "pagination": more}

    def stats(self, token: Token = None) -> Answer:
        """{"dimension", "metric", "total_vector_count", "namespaces": {name: {"vector_count": n}}}. A namespace whose
        token was not shown is left out and not counted."""
        with self._engine.reading() as connection:
            counts = {
                one.name: {"vector_count": one.count}
                for one in read_namespaces(connection)
                if one.count and access.opens(one.name, one.salt, one.token, token)
            }
        total = sum(one["vector_count"] for one in counts.values())
        shape = {"dimension": self.dim, "metric": self.metric}
        return {**shape, "total_vector_count": total, "namespaces": counts}

    # --- inside -----------------------------------------------------------------------------------------------

    def _ids(self, prefix: str, namespace: str, token: Token, after: str, limit: int | None) -> list[str]:
        check_name("prefix", prefix, empty=True)
        check_name("namespace", namespace, empty=True)
        ids: list[str] = []
        with self._engine.reading() as connection:
            found = self._engine.namespace(connection, namespace, token)
            command = "SELECT id FROM records WHERE namespace = ? AND id >= ? AND id > ? ORDER BY id"
            for (id,) in connection.execute(command, (found.number if found else -1, prefix, after)):
                if not id.startswith(prefix) or len(ids) == limit:
                    break
                ids.append(id)
        return ids

    def _check_access(self, namespace: str, token: Token) -> None:
        """Before an encoder is set to work; each transaction checks again."""
        with self._engine.reading() as connection:
            self._engine.namespace(connection, namespace, token)

    def _encode(self, texts: Sequence[str], kind: str = "document") -> np.ndarray:
        if self._encoder is None:
            raise ValueError(f"a text needs VectorStore(..., encoder=...), got {describe(texts[0])} and none")
        self._encoder.probe()  # now, before a transaction keeps others waiting
        return self._encoder.encode(texts, kind)

    def _pack_encoded(self, id: str, vector: np.ndarray) -> bytes:
        return pack(check_vector(f"the encoder's vector of {id!r:.60}", vector, self.dim, self.metric))

    def _keep_probe(self, connection: Any) -> None:
        """Remember which encoder the first text was encoded by."""
        settings = read_settings(connection)
        if settings.probe is None:
            write_settings(connection, settings._replace(probe=self._encoder.probe()))
        else:
            self._encoder.check(self.dim, settings.probe, str(self._engine.file))
