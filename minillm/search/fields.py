"""Keyword search over fields (필드): a word in the title says more about a text than one somewhere in it.

    score(q, d) = sum over fields f of  weight_f * BM25_f(q, d)

Each field has a BM25 of its own, so a word that is common in texts but rare in titles ("with") counts in the title.
A field can be read as a whole (`whole`): its score then counts by the share of the field that the query names. Asked
about "the with statement", the title "The with statement" is all there, of "With Statement Context Managers" half is.
Peer: Elasticsearch's multi_match of type "most_fields". Left out: BM25F (Robertson et al. 2004), which adds the fields'
term frequencies before k1 bounds them.

Book: 10.4.1 키워드 검색 방식: BM25.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from minillm._checks import check_int, check_number, describe, is_listing
from minillm._files import BadFileError
from minillm.search._ids import DocumentId, Ranking, check_document_ids, check_texts
from minillm.search.bm25 import BM25
from minillm.search.bm25_best import best_of

MOST_WEIGHT = 1e9  # scores times weights stay far inside float32


class FieldSearch:
    """The weighted sum of one BM25 a field.

    weights: field name -> weight from 0 to 1e9, for example {"text": 1.0, "title": 0.5}; tokenizer as in BM25;
    whole: names of the fields that are read as a whole. Raises ValueError for anything else.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        tokenizer: Callable[[str], list[str]] | None = None,
        whole: Collection[str] = (),
    ) -> None:
        if (
            not isinstance(weights, Mapping)
            or not weights
            or not all(isinstance(name, str) for name in weights)
        ):
            raise ValueError(f"weights must be a dict from field name to number, got {describe(weights)}")
        self.weights = {
            name: check_number(f"weights[{name!r}]", weight, 0, MOST_WEIGHT)
            for name, weight in weights.items()
        }
        if isinstance(whole, str) or not is_listing(whole) or not set(whole) <= set(self.weights):
            raise ValueError(f"whole must list fields among {sorted(self.weights)}, got {describe(whole)}")
        self.whole = frozenset(whole)
        self.fields = {name: BM25(tokenizer=tokenizer) for name in self.weights}
        self.ids: list[DocumentId] = []
        self._highest = {name: self.fields[name].highest_scores() for name in self.whole}

    def __len__(self) -> int:
        """Number of indexed documents; 0 before `fit`."""
        return len(self.ids)

    def fit(
        self, fields: Mapping[str, Iterable[str]], ids: Sequence[DocumentId] | None = None
    ) -> FieldSearch:
        """Index N documents given as field name -> N texts; ids as in BM25. ValueError if fields do not fit."""
        if not isinstance(fields, Mapping) or set(fields) != set(self.weights):
            raise ValueError(f"fields must be a dict with {sorted(self.weights)}, got {describe(fields)}")
        texts = {name: check_texts(f"fields[{name!r}]", column) for name, column in fields.items()}
        sizes = {name: len(column) for name, column in texts.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"every field must have one text a document, got {sizes}")
        ids = check_document_ids(ids, next(iter(sizes.values())))
        # New parts, put in place together: a text that is refused leaves the index as it was.
        self._take(
            {
                name: BM25(tokenizer=field.tokenizer).fit(texts[name], ids)
                for name, field in self.fields.items()
            }
        )
        return self

    def _take(self, fields: dict[str, BM25]) -> None:
        self.fields, self.ids = fields, next(iter(fields.values())).ids
        self._highest = {name: fields[name].highest_scores() for name in self.whole}

    def scores(self, query: str) -> np.ndarray:
        """The score of every document for one query, float32 (N,). Raises ValueError as BM25.scores."""
        # score(q, d) = sum over fields f of  weight_f * BM25_f(q, d) * (f is read as a whole: the share q names)
        total = np.zeros(len(self), np.float32)
        for name, field in self.fields.items():
            found = field.scores(query)
            if name in self.whole:
                found = found * np.minimum(1, found / self._highest[name])
            total += np.float32(self.weights[name]) * found
        return total

    def search(self, queries: Sequence[str], k: int = 10) -> list[Ranking]:
        """The best k documents of each query as [(id, score), ...], best first, equal scores in corpus order.

        Only documents that share a word with the query are listed. Raises ValueError as BM25.search.
        """
        k = check_int("k", k, 1)
        rankings = []
        for query in check_texts("queries", queries):
            scores = self.scores(query)
            best = best_of(scores, k)
            rankings.append(list(zip(map(self.ids.__getitem__, best.tolist()), scores[best].tolist())))
        return rankings

    def save(self, folder: str | Path) -> Path:
        """Write one file a field into `folder`, each whole or not at all."""
        for name, field in self.fields.items():
            field.save(Path(folder) / f"{name}.bm25")
        return Path(folder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        weights: Mapping[str, float],
        tokenizer: Callable[[str], list[str]] | None = None,
        whole: Collection[str] = (),
    ) -> FieldSearch:
        """What `save` wrote, opened with the same options; BadFileError naming a missing or damaged file, or fields
        that are not of the same documents."""
        index = cls(weights, tokenizer, whole)
        fields = {name: BM25.load(Path(folder) / f"{name}.bm25", tokenizer) for name in index.weights}
        first = next(iter(fields))
        for name, field in fields.items():
            if field.ids != fields[first].ids:
                raise BadFileError(
                    f"search folder {str(folder)!r} is refused: its fields {first!r} and {name!r} do not belong "
                    f"together, they hold {len(fields[first])} and {len(field)} documents or other ids"
                )
        index._take(fields)
        return index
