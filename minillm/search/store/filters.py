"""Metadata filters (메타데이터 필터): a small language for which records a query may find.

    {"year": {"$gte": 2020, "$lt": 2024}, "lang": "ko"}       every condition must hold; a bare value means $eq
    {"$or": [{"tags": {"$in": ["db", "sql"]}}, {"draft": {"$exists": False}}]}

    $eq $ne $in $nin    texts, numbers, True and False; 1 equals 1.0, but neither "1" nor True
    $gt $gte $lt $lte   numbers; a text is above no number and below none
    $exists             True or False: whether the record has the field
    $and $or            lists of filters

A list of texts holds each of its texts: it equals "db" if "db" is in it, and differs from "db" if it is not. A record
without the field satisfies nothing but {"$exists": False}: not even $ne. (MongoDB counts it as different, Pinecone
does not; {"$or": [{"f": {"$ne": 1}}, {"f": {"$exists": False}}]} asks for both.)

`parse_filter` checks all of a filter before anything runs, `matches` asks one record. MetadataIndex (inverted.py) gives
the same answers for a whole namespace at once.

Book: 12.4.3 파인콘에서 메타데이터 필터링. Peer: Pinecone's filters, which follow MongoDB's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

from minillm._arrays import plain_item
from minillm._checks import describe

COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
OPERATORS = ("$eq", "$ne", *COMPARISONS, "$in", "$nin", "$exists")
DEEPEST = 32  # filters inside filters
Key = tuple[str, Any]  # ("number", 1.0): Python alone would call 1 and True equal


class Condition(NamedTuple):
    """One operator on one field. operand: a frozenset of keys for $eq, $ne, $in and $nin, else the number or bool."""

    field: str
    operator: str
    operand: Any


class AllOf(NamedTuple):
    """Every part must hold."""

    parts: tuple[Filter, ...]


class AnyOf(NamedTuple):
    """One part must hold."""

    parts: tuple[Filter, ...]


Filter = Condition | AllOf | AnyOf


def key_of(value: Any) -> Key | None:
    """What a value is compared by; None for what is no text, no finite number and no bool."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, str):
        return "text", value
    if isinstance(value, (int, float)) and (isinstance(value, int) or math.isfinite(value)):
        return "number", value
    return None


def keys_of(value: Any) -> set[Key]:
    """What a field's value is found by: `["a", "b"] -> {("text", "a"), ("text", "b")}`."""
    return {("text", text) for text in value} if isinstance(value, list) else {key_of(value)}


def check_facts(metadata: Any) -> None:
    """ValueError unless a record's metadata are a dict."""
    if not isinstance(metadata, Mapping):
        raise ValueError(f"metadata must be a dict, got {describe(metadata)}")


def matches(filter: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether a record's metadata satisfies a filter that `parse_filter` gave. ValueError for another one, and for
    metadata that are no dict."""
    check_facts(metadata)
    if isinstance(filter, AllOf):
        return all(matches(part, metadata) for part in filter.parts)
    if isinstance(filter, AnyOf):
        return any(matches(part, metadata) for part in filter.parts)
    if not isinstance(filter, Condition):
        raise ValueError(f"filter must be what parse_filter gives, got {describe(filter)}")
    field, name, operand = filter
    if name == "$exists":
        return (field in metadata) == operand
    if field not in metadata:
        return False
    keys = keys_of(metadata[field])
    if name in ("$eq", "$in"):
        return not keys.isdisjoint(operand)
    if name in ("$ne", "$nin"):
        return keys.isdisjoint(operand)
    return any(kind == "number" and COMPARISONS[name](value, operand) for kind, value in keys)


def parse_filter(filter: Any) -> Filter:
    """A filter as it is written, checked whole. Raises ValueError that names what it does not know or take."""
    return _parse(filter, 0)


def _parse(filter: Any, depth: int) -> Filter:
    if not isinstance(filter, Mapping):
        raise ValueError(f'filter must be a dict like {{"year": {{"$gte": 2020}}}}, got {describe(filter)}')
    if depth > DEEPEST:
        raise ValueError(f"filter must not hold filters more than {DEEPEST} deep")
    parts: list[Filter] = []
    for name, value in filter.items():
        if not isinstance(name, str):
            raise ValueError(f"filter must have str keys, got {describe(name)}")
        if name in ("$and", "$or"):
            if not isinstance(value, (list, tuple)) or not value:
                raise ValueError(f"{name} must be a list of filters, got {describe(value)}")
            inner = tuple(_parse(one, depth + 1) for one in value)
            parts.append(AllOf(inner) if name == "$and" else AnyOf(inner))
        elif name.startswith("$"):
            raise _unknown(name, ("$and", "$or"), "where a field or one of", filter)
        elif isinstance(value, Mapping):
            if not value:
                raise ValueError(f"filter on {name!r} must hold an operator, got {{}}")
            parts += [_condition(name, operator, operand) for operator, operand in value.items()]
        else:
            parts.append(_condition(name, "$eq", value))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _unknown(name: Any, known: tuple[str, ...], where: str, filter: Any) -> ValueError:
    return ValueError(
        f"unknown filter operator {describe(name)}, {where} {', '.join(known)} was expected: {describe(filter)}"
    )


def _condition(field: str, name: Any, operand: Any) -> Condition:
    if name not in OPERATORS:
        raise _unknown(name, OPERATORS, f"on field {field!r} one of", operand)
    operand = plain_item(operand)
    if name == "$exists":
        if not isinstance(operand, bool):
            raise ValueError(f"$exists on {field!r} must be True or False, got {describe(operand)}")
        return Condition(field, name, operand)
    if name in COMPARISONS:
        if (key_of(operand) or ("", 0))[0] != "number":
            raise ValueError(f"{name} on {field!r} must be a finite number, got {describe(operand)}")
        return Condition(field, name, operand)
    if name in ("$in", "$nin"):
        if not isinstance(operand, (list, tuple, set, frozenset)):
            raise ValueError(f"{name} on {field!r} must be a list of values, got {describe(operand)}")
        values = [plain_item(one) for one in operand]
    else:
        values = [operand]
    keys = [key_of(value) for value in values]
    if None in keys:
        came = values[keys.index(None)]
        raise ValueError(f"{name} on {field!r} must be a text, a number or a bool, got {describe(came)}")
    return Condition(field, name, frozenset(keys))
