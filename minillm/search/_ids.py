"""Checks that every retriever shares: texts are lists of str, document ids are different strs or ints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minillm._arrays import plain_item
from minillm._checks import describe, is_listing

DocumentId = str | int  # what a ranking names a document by
Ranking = list[tuple[DocumentId, float]]  # best first
METRICS = ("l2", "cosine", "ip")  # of vector indexes; always as a distance: smaller is nearer
LONGEST = 2.0**60  # of vectors: up to here no square or product overflows float32


def check_texts(name: str, texts: Any) -> list[str]:
    """`texts` as a list of str; ValueError for one str, for a dict, whose keys would be the texts, for something not
    iterable, or for an item that is no str."""
    if not is_listing(texts) or isinstance(texts, Mapping):
        raise ValueError(f"{name} must be a list of str, got {describe(texts)}")
    texts = list(texts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{name} must hold str only, got {describe(text)} at position {position}")
    return texts


def check_document_ids(ids: Sequence[DocumentId] | None, count: int) -> list[DocumentId]:
    """`ids` as a list of `count` different str or int, or 0 .. count-1 for None; ValueError otherwise."""
    if ids is None:
        return list(range(count))
    if not is_listing(ids):
        raise ValueError(f"ids must be a list of str or int, got {describe(ids)}")
    ids = [plain_item(i) for i in ids]
    for position, document in enumerate(ids):
        if isinstance(document, bool) or not isinstance(document, (str, int)):
            raise ValueError(
                f"ids must hold str or int only, got {describe(document)} at position {position}"
            )
    if len(ids) != count:
        raise ValueError(f"ids must name every text: got {len(ids)} ids for {count} texts")
    if len(set(ids)) != count:
        twice = next(document for position, document in enumerate(ids) if document in ids[:position])
        raise ValueError(f"ids must be different, got {twice!r} more than once")
    return ids
