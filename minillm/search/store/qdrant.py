"""Past one machine: a store as a collection of Qdrant, a database that is served, sharded and replicated; and back.

    store.to_qdrant(client, "notes")              client: qdrant_client.QdrantClient(url) or, for a try, (":memory:")
    client.query_points("notes", query=vector, using="dense", query_filter=qdrant_filter({"year": {"$gte": 2020}}))
    VectorStore.from_qdrant(client, "notes", path="notes.db")

A point has the vectors "dense" and, where there is one, "sparse"; its payload is {"id", "namespace", "metadata",
"fields"}, the last the names of the metadata's fields, which $exists asks for. Qdrant takes numbers as ids, so a
point's is made of namespace and id (UUID 5): the same record always lands on the same point.

What is lost on the way: access tokens; under cosine the lengths, since Qdrant keeps directions; in filters the
difference between whole numbers beyond 2^53, which Qdrant compares as 64-bit floats.

Peers: qdrant-client (an extra: pip install 'minillm[qdrant]'). Other ways up: pgvector, OpenSearch.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from minillm._checks import check_text, describe
from minillm.search.store.filters import AllOf, AnyOf, Filter, parse_filter
from minillm.search.store.records import answer_of
from minillm.search.store.table import Row

DISTANCES = {"cosine": "Cosine", "ip": "Dot", "l2": "Euclid"}  # our metric -> Qdrant's name
POINTS = 256  # sent at a time
ROOT = uuid.UUID("6d6c7673-0000-5000-8000-000000000000")  # under which points get their ids


def _models() -> Any:
    try:
        from qdrant_client import models
    except ImportError:
        raise ImportError("Qdrant needs its client: pip install 'minillm[qdrant]'") from None
    return models


def point_id(namespace: str, id: str) -> str:
    """The id of a record's point."""
    return str(uuid.uuid5(ROOT, f"{namespace}\0{id}"))


# --- filters --------------------------------------------------------------------------------------------------


def qdrant_filter(filter: Any, namespace: str | None = None) -> Any:
    """A filter of ours as a qdrant_client.models.Filter, in one namespace or in all. Raises ValueError as the store."""
    models = _models()
    parts = [] if filter is None else [_translate(models, parse_filter(filter))]
    if namespace is not None:
        parts.append(models.FieldCondition(key="namespace", match=models.MatchValue(value=namespace)))
    return models.Filter(must=parts)


def _translate(models: Any, filter: Filter) -> Any:
    if isinstance(filter, AllOf):
        return models.Filter(must=[_translate(models, part) for part in filter.parts])
    if isinstance(filter, AnyOf):
        return models.Filter(should=[_translate(models, part) for part in filter.parts])
    has = models.FieldCondition(key="fields", match=models.MatchValue(value=filter.field))
    if filter.operator == "$exists":
        return models.Filter(must=[has] if filter.operand else [], must_not=[] if filter.operand else [has])
    key = _path(filter.field)
    if filter.operator in ("$eq", "$in", "$ne", "$nin"):
        equal = [_equal(models, key, *one) for one in filter.operand]
        if filter.operator in ("$ne", "$nin"):
            return models.Filter(must=[has], must_not=equal)
        return models.Filter(should=equal) if equal else models.Filter(must=[has], must_not=[has])
    return models.FieldCondition(key=key, range=models.Range(**{filter.operator[1:]: filter.operand}))


def _equal(models: Any, key: str, kind: str, value: Any) -> Any:
    if kind == "number":  # a match would tell 1 from 1.0
        return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _path(field: str) -> str:
    """The field's place in a payload, in Qdrant's words, where a dot goes one level down unless it is quoted."""
    if '"' in field:
        raise ValueError(f'a field with " in its name cannot be asked for in Qdrant, got {describe(field)}')
    return f"metadata.{field}" if re.fullmatch("[A-Za-z0-9_-]+", field) else f'metadata."{field}"'


# --- collections ----------------------------------------------------------------------------------------------


def write_points(client: Any, collection: str, dim: int, metric: str, rows: Iterator[tuple[str, Row]]) -> int:
    """Put records, as (namespace, row), into a collection, which is made where there is none; how many there were.

    Raises ValueError for a collection of another width or distance.
    """
    models, count = _models(), 0
    check_text("collection", collection)
    if not client.collection_exists(collection):
        distance = models.Distance(DISTANCES[metric])
        client.create_collection(
            collection,
            vectors_config={"dense": models.VectorParams(size=dim, distance=distance)},
            sparse_vectors_config={"sparse": models.SparseVectorParams()},
        )
    if (found := read_shape(client, collection)) != (dim, metric):
        raise ValueError(f"collection {collection!r} must have dim and metric {dim, metric}, got {found}")
    points: list[Any] = []
    for namespace, row in rows:
        answer = answer_of(row, True, True)
        vectors = {"dense": answer["values"]}
        if "sparse_values" in answer:
            vectors["sparse"] = models.SparseVector(**answer["sparse_values"])
        payload = {"id": row.id, "namespace": namespace, "metadata": answer["metadata"]}
        payload["fields"] = sorted(answer["metadata"])
        points.append(models.PointStruct(id=point_id(namespace, row.id), vector=vectors, payload=payload))
        count += 1
        if len(points) == POINTS:
            client.upsert(collection, points)
            points = []
    if points:
        client.upsert(collection, points)
    return count


def read_shape(client: Any, collection: str) -> tuple[int, str]:
    """(dim, metric) of a collection that `write_points` made; ValueError for another one."""
    check_text("collection", collection)
    if not client.collection_exists(collection):
        raise ValueError(f"collection must be there, got {collection!r} which is not")
    vectors = client.get_collection(collection).config.params.vectors
    dense = vectors.get("dense") if isinstance(vectors, dict) else None
    metrics = {distance: metric for metric, distance in DISTANCES.items()}
    metric = metrics.get(str(getattr(dense and dense.distance, "value", None)))
    if metric is None:
        raise ValueError(f"collection {collection!r} must have a vector 'dense' of cosine, dot or euclid")
    return dense.size, metric


def read_points(client: Any, collection: str) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The points of a collection as records, namespace -> records, a few hundred at a time."""
    after = None
    while True:
        points, after = client.scroll(
            collection, limit=POINTS, offset=after, with_payload=True, with_vectors=True
        )
        found: dict[str, list[dict[str, Any]]] = {}
        for point in points:
            payload, vectors = point.payload or {}, point.vector
            if not {"id", "namespace", "metadata"} <= payload.keys() or "dense" not in vectors:
                raise ValueError(
                    f"point {point.id} must be one that to_qdrant wrote, got {describe(payload)}"
                )
            record = {"id": payload["id"], "values": vectors["dense"], "metadata": payload["metadata"]}
            if (sparse := vectors.get("sparse")) is not None:
                record["sparse_values"] = {"indices": sparse.indices, "values": sparse.values}
            found.setdefault(payload["namespace"], []).append(record)
        yield found
        if after is None:
            return
