"""Filters answered for all records at once: an inverted index (역색인) of metadata, as BM25 has one of words.

    values["lang"][("text", "ko")] = {3, 8, 21}        which records hold this value
    $eq, $in    union of such sets         $ne, $nin    everyone with the field, less that union
    $gt ...     the field's different numbers, sorted; bisect finds where the range begins and ends
    $and, $or   intersection, union

Asking N records one by one costs N steps whatever the answer is; here the cost is the size of the sets that take part.
Answers equal those of `filters.matches`, record by record.

Book: 12.4.3 파인콘에서 메타데이터 필터링. Left out: compressed sets (Roaring bitmaps), which large databases keep.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from minillm._checks import describe
from minillm.search.store.filters import AllOf, AnyOf, Condition, Filter, Key, check_facts, keys_of


class MetadataIndex:
    """The metadata of records that are called by numbers."""

    def __init__(self) -> None:
        self.metadata: dict[int, Mapping[str, Any]] = {}
        self.having: dict[str, set[int]] = {}  # field -> who has it
        self.values: dict[str, dict[Key, set[int]]] = {}  # field -> value -> who has that
        self._numbers: dict[str, list[float]] = {}  # field -> its numbers, ascending

    def put(self, number: int, metadata: Mapping[str, Any]) -> None:
        """Take a record in, or its new metadata. Raises ValueError for metadata that are no dict."""
        check_facts(metadata)
        self.drop([number])
        self.metadata[number] = metadata
        for field, value in metadata.items():
            self.having.setdefault(field, set()).add(number)
            values = self.values.setdefault(field, {})
            for key in keys_of(value):
                if key not in values:
                    values[key] = set()
                    self._numbers.pop(field, None)
                values[key].add(number)

    def drop(self, numbers: Iterable[int]) -> None:
        """Take records out; those that are not there are passed over."""
        for number in numbers:
            for field, value in self.metadata.pop(number, {}).items():
                self.having[field].discard(number)
                for key in keys_of(value):
                    self.values[field][key].discard(number)
                    if not self.values[field][key]:
                        del self.values[field][key]
                        self._numbers.pop(field, None)
                if not self.having[field]:
                    del self.having[field], self.values[field]

    def select(self, filter: Filter) -> set[int]:
        """The numbers of the records that satisfy a filter that `parse_filter` gave. ValueError for another one."""
        if isinstance(filter, AllOf):
            sets = sorted((self.select(part) for part in filter.parts), key=len)
            return sets[0].intersection(*sets[1:]) if sets else set(self.metadata)
        if isinstance(filter, AnyOf):
            return set().union(*(self.select(part) for part in filter.parts))
        if not isinstance(filter, Condition):
            raise ValueError(f"filter must be what parse_filter gives, got {describe(filter)}")
        having = self.having.get(filter.field, set())
        if filter.operator == "$exists":
            return set(having) if filter.operand else self.metadata.keys() - having
        values = self.values.get(filter.field, {})
        if filter.operator in ("$eq", "$in", "$ne", "$nin"):
            found = set().union(*(values.get(key, ()) for key in filter.operand))
            return found if filter.operator in ("$eq", "$in") else having - found
        return set().union(*(values["number", value] for value in self._in_range(filter)))

    def _in_range(self, condition: Condition) -> list[float]:
        """The field's different numbers that a comparison lets through."""
        field, name, bound = condition
        if field not in self._numbers:
            keys = self.values.get(field, {})
            self._numbers[field] = sorted(value for kind, value in keys if kind == "number")
        numbers = self._numbers[field]
        if name in ("$gt", "$gte"):
            return numbers[(bisect_right if name == "$gt" else bisect_left)(numbers, bound) :]
        return numbers[: (bisect_left if name == "$lt" else bisect_right)(numbers, bound)]
