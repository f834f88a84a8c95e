"""What comes into the store, checked before anything is written: records, ids, vectors, metadata.

    {"id": "a", "values": [0.1, 0.2], "metadata": {"year": 2024, "tags": ["db", "sql"]}, "sparse_values": {...}}
    {"id": "b", "text": "a sentence", "metadata": {...}}      encoded by the store's encoder; kept as metadata["text"]
    ("a", [0.1, 0.2], {"year": 2024})                         the same as a tuple

Metadata is flat, as in Pinecone: texts, numbers, bools and lists of texts, 40 kB of JSON at most; no None.

Book: 12.4.1 파인콘 클라이언트 사용법. Peer: Pinecone's records and limits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minillm._arrays import plain_item
from minillm._checks import LARGEST, check_text, describe, is_listing
from minillm.search._ids import LONGEST
from minillm.search.store.sparse import check_sparse, unpack
from minillm.search.store.table import Row

LONGEST_ID = 512  # characters
LARGEST_METADATA = 40 * 1024  # bytes of JSON
FIELDS = ("id", "values", "sparse_values", "metadata", "text")


class Record(NamedTuple):
    """A record that may be written. vector: float32 bytes, None while its text is not encoded."""

    id: str
    vector: bytes | None
    sparse: bytes | None
    metadata: dict[str, Any]
    text: str | None = None


def _half_a_pair(text: str) -> bool:
    """Whether a str is no Unicode text. `isprintable` is quick, and false for such a letter."""
    return not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text)


def check_name(name: str, value: Any, empty: bool = False) -> str:
    """An id or a namespace: a str of 1 to 512 characters, with no NUL and no half of a surrogate pair."""
    check_text(name, value)
    if not empty and not value:
        raise ValueError(f"{name} must not be empty")
    if len(value) > LONGEST_ID:
        raise ValueError(f"{name} must have at most {LONGEST_ID} characters, got {len(value)}")
    if "\0" in value or _half_a_pair(value):
        raise ValueError(f"{name} must be Unicode text without NUL, got {value!a:.90}")
    return str.__str__(value)  # a plain str also of numpy's, whose type would be sealed with the record


def check_ids(name: str, ids: Any) -> list[str]:
    """A list of ids, in order, each once."""
    if not is_listing(ids) or isinstance(ids, Mapping):
        raise ValueError(f"{name} must be a list of str, got {describe(ids)}")
    return list(dict.fromkeys(check_name(f"{name}[{place}]", one) for place, one in enumerate(list(ids))))


def check_vector(name: str, values: Any, dim: int, metric: str) -> np.ndarray:
    """`values` as float32 (dim,). ValueError for another shape, text, NaN, infinity, zeros alone under cosine, or a
    length above 2^60: HNSWIndex and IVFIndex refuse it, and one such record would stop all queries of its namespace."""
    try:
        array = np.asarray(values)
        with np.errstate(over="ignore", under="ignore"):  # too long for float32: infinity, refused below
            array = array.astype(np.float32) if array.dtype.kind in "fiu" else None
    except (TypeError, ValueError, RuntimeError):
        array = None
    if array is None or array.shape != (dim,):
        came = describe(values)
        if array is not None and not hasattr(values, "shape"):
            came = f"{' x '.join(map(str, array.shape)) or 'one number'}: {came}"
        raise ValueError(f"{name} must be {dim} numbers, got {came}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite in float32, got NaN or infinity")
    if (length := np.linalg.norm(array.astype(np.float64))) > LONGEST:
        raise ValueError(f"{name} must be of length 2^60 at most, got {length:.3g}")
    if metric == "cosine" and not array.any():
        raise ValueError(f"{name} must not be all zeros: under cosine a zero vector has no direction")
    return array


def pack(vector: np.ndarray) -> bytes:
    """A float32 vector as bytes, the same on every machine."""
    return vector.astype("<f4").tobytes()


def vector_of(data: bytes) -> np.ndarray:
    """The float32 vector in bytes that `pack` made."""
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


def check_metadata(name: str, metadata: Any) -> dict[str, Any]:
    """Metadata as plain Python values. ValueError for a kind that a filter could not ask for, and for over 40 kB."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise ValueError(f"{name} must be a dict, got {describe(metadata)}")
    checked = {}
    for field, value in metadata.items():
        if not isinstance(field, str) or not field or field.startswith("$"):
            raise ValueError(
                f"{name} must have str keys, not empty and without $ in front, got {describe(field)}"
            )
        checked[field] = _check_value(f"{name}[{field!r:.60}]", value)
    text = as_json(checked)
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        came = text[error.start]
        raise ValueError(f"{name} must be Unicode text, got half a surrogate pair, {came!a}") from None
    if size > LARGEST_METADATA:
        raise ValueError(f"{name} must have at most {LARGEST_METADATA} bytes as JSON, got {size}")
    return checked


def _check_value(name: str, value: Any) -> Any:
    value = plain_item(value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return [str(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{name} must fit into 64 bits, got a number of {value.bit_length()} bits")
    if isinstance(value, (bool, str, int, float)):
        return value
    hint = ": leave the key out instead" if value is None else ""
    raise ValueError(
        f"{name} must be a text, a number, a bool or a list of texts, got {describe(value)}{hint}"
    )


def as_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as it is kept."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def with_text(name: str, metadata: dict[str, Any], text: Any) -> dict[str, Any]:
    """Metadata with the text that is encoded; ValueError where another text stands there."""
    if text is None:
        return metadata
    if metadata.get("text", text) != text:
        raise ValueError(f"{name} has a text and another metadata['text']: leave one out")
    return check_metadata(f"{name}: metadata", {**metadata, "text": check_text(f"{name}: text", text)})


def check_record(name: str, record: Any, dim: int, metric: str, whole: bool = True) -> Record:
    """A record as it came, checked. whole=False: it changes another one, so that it needs no vector."""
    if isinstance(record, (tuple, list)) and len(record) in (2, 3):
        record = dict(zip(("id", "values", "metadata"), record))
    if not isinstance(record, Mapping) or "id" not in record:
        raise ValueError(
            f'{name} must be {{"id": ..., "values": [...], "metadata": {{...}}}}, got {describe(record)}'
        )
    if unknown := [key for key in record if key not in FIELDS]:
        raise ValueError(f"{name} must have no keys but {', '.join(FIELDS)}, got {describe(unknown[0])}")
    id = check_name(f"{name}: id", record["id"])
    name, values, text = f"record {id!r:.60}", record.get("values"), record.get("text")
    if values is None and text is None and whole:
        raise ValueError(f"{name} must have values or a text, got neither")
    vector = None if values is None else pack(check_vector(f"{name}: values", values, dim, metric))
    sparse = check_sparse(f"{name}: sparse_values", record.get("sparse_values"))
    if sparse is not None:
        check_hybrid(name, metric)
    metadata = with_text(name, check_metadata(f"{name}: metadata", record.get("metadata")), text)
    return Record(id, vector, sparse, metadata, text if values is None else None)


def check_records(records: Any, dim: int, metric: str) -> list[Record]:
    """All records of a batch, checked; where an id comes twice, the last one counts."""
    if isinstance(records, Mapping) or not isinstance(records, Iterable) or isinstance(records, (str, bytes)):
        raise ValueError(f"vectors must be a list of records, got {describe(records)}")
    checked = (check_record(f"record {place}", one, dim, metric) for place, one in enumerate(records))
    return list({record.id: record for record in checked}.values())


def check_hybrid(name: str, metric: str) -> None:
    """Sparse products can be added to products and cosines, not to distances."""
    if metric == "l2":
        raise ValueError(f"{name} must have no sparse values under metric 'l2': use 'ip' or 'cosine'")


def answer_of(row: Row, values: bool, metadata: bool) -> dict[str, Any]:
    """A record in the shape in which Pinecone answers."""
    found: dict[str, Any] = {"id": row.id}
    if values:
        found["values"] = vector_of(row.vector).tolist()
        if row.sparse is not None:
            found["sparse_values"] = dict(zip(("indices", "values"), unpack(row.sparse)))
    if metadata:
        found["metadata"] = json.loads(row.metadata)
    return found


def score(query: np.ndarray, rows: Sequence[Row], metric: str) -> np.ndarray:
    """Scores of records for a query (D,), float64 (N,): cosine, inner product, or squared distance under l2."""
    x = np.stack([vector_of(row.vector) for row in rows]).astype(np.float64)  # (N, D)
    query = query.astype(np.float64)
    if metric == "l2":
        return ((x - query) ** 2).sum(1)
    products = x @ query
    return products / (np.sqrt((x**2).sum(1)) * np.sqrt(query @ query)) if metric == "cosine" else products
