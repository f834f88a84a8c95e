"""`--store PATH` of `index` and `search`: the vectors of an index in a vector store, beside whatever else lies there.

A passage is a record: its id, its vector, and as metadata what it is (KIND), where it comes from and what it says.
Other programs can ask for it, with filters. `index` takes away only records that are passages.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

KIND = "passage"
AT_ONCE = 500  # records read and written at a time
LONGEST = (
    6000,
    300,
)  # characters of a text and of a title that are kept: 40 kB are allowed, whatever the letters


def check_store(options: Namespace) -> None:
    """Refuse what `keep_passages` would refuse, before minutes of work: no store, or a namespace that has a token."""
    from minillm.search.store import VectorStore

    path = options.store
    if path.is_dir() or (path.exists() and path.stat().st_size):  # an empty file is a new store
        with VectorStore.open(path, read_only=True, verify=False) as store:
            store.fetch([], options.namespace or "")


def keep_passages(index: Any, folder: Path, options: Namespace) -> dict[str, int]:
    """Bring the store up to date with an index that lies in `folder`: how many passages are there, were written, were
    taken away, and have no vector: of no word that the encoder knows, which a cosine cannot compare."""
    from minillm.search.store import VectorStore

    passages, vectors = list(index.passages.values()), vectors_of(folder)
    space = options.namespace or ""
    known = [(one, vector) for one, vector in zip(passages, vectors, strict=True) if vector.any()]
    written, gone = 0, []
    with VectorStore(index.dense.index.dim, index.dense.index.metric, options.store) as store:
        for start in range(0, len(known), AT_ONCE):
            records = [as_record(*one) for one in known[start : start + AT_ONCE]]
            there = store.fetch([record["id"] for record in records], space)["vectors"]
            new = [record for record in records if there.get(record["id"]) != record]
            store.upsert(new, space)
            written += len(new)
        listed, ours = store.list(namespace=space), {one.id for one, _ in known}
        others = [id for id in listed if id not in ours]
        for start in range(0, len(others), AT_ONCE):
            there = store.fetch(others[start : start + AT_ONCE], space)["vectors"]
            gone += [id for id, record in there.items() if record["metadata"].get("kind") == KIND]
        store.delete(gone, namespace=space)
    return {
        "kept": len(known),
        "written": written,
        "removed": len(gone),
        "without": len(passages) - len(known),
    }


def as_record(passage: Any, vector: Any) -> dict[str, Any]:
    """A passage as a record of the store."""
    title, text = passage.title[: LONGEST[1]], passage.text[: LONGEST[0]]
    metadata = {"kind": KIND, "document": passage.document_id, "title": title, "text": text}
    return {"id": passage.id, "values": vector.tolist(), "metadata": metadata}


def vectors_of(folder: Path) -> Any:
    """The vectors (N, D) of an index folder, in the order of its passages."""
    from minillm._files import load_arrays

    return load_arrays(folder / "dense" / "vectors.safetensors", "exact index")[0]["vectors"]


def in_words(path: Path, counts: dict[str, int]) -> str:
    """What became of the store, in one line."""
    line = f"{path}: {counts['kept']:,} vectors kept, {counts['written']:,} of them written now"
    for name, meaning in (("removed", "taken away"), ("without", "passages without a vector")):
        line += f", {counts[name]:,} {meaning}" if counts[name] else ""
    return line


def search_store(index: Any, folder: Path, options: Namespace) -> list[tuple[Any, float]]:
    """The best passages by their vectors in the store, with their scores; with --filter, of those that it lets through.

    Raises ValueError for another --mode, and where the store was filled from another index than the one in `folder`.
    """
    from minillm.search.store import VectorStore
    from minillm.search.store.encoding import TextEncoder

    if options.method not in ("auto", "dense"):
        raise ValueError(f"--store ranks by vectors: --mode dense, got --mode {options.method}")
    wanted = read_filter(options.filter)
    query = TextEncoder(index.dense.encoder).encode([options.query], "query")[0]
    if not query.any():  # of no word that the encoder knows
        return []
    own = {"kind": KIND} if wanted is None else {"$and": [{"kind": KIND}, wanted]}
    with VectorStore.open(options.store, read_only=True) as store:
        matches = store.query(query, options.k, own, options.namespace or "", include_values=True)["matches"]
    vectors = dict(zip(index.passages, vectors_of(folder)))
    for match in matches:
        if match["id"] not in vectors or match["values"] != vectors[match["id"]].tolist():
            raise ValueError(
                f"store {str(options.store)!r} was filled from another index than {str(folder)!r}: passage "
                f"{match['id']!r} differs; run `minillm index ... --out {folder} --store {options.store}` again"
            )
    return [(index.passages[match["id"]], match["score"]) for match in matches]


def read_filter(typed: str | None) -> Any:
    """The filter that was typed as JSON; ValueError for what is none."""
    from minillm.search.store import parse_filter

    if typed is None:
        return None
    try:
        wanted = json.loads(typed)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'--filter must be JSON like {{"document": "with"}}: {error}') from None
    parse_filter(wanted)
    return wanted
