"""A JSON schema as a regular language: all texts that are JSON, validate, and are written in one plain way.

    {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}
    {"name": "가람", "age": 7}     {"name":"a"}

Written so: properties in the schema's order, no others; strings in their shortest form; one space or none behind a
comma or colon, no other white space; numbers of at most 15 digits before and behind the point (json_pieces.py). A
text of bounded nesting needs no stack, so a schema that refers to itself is refused. What a keyword of the schema says
is done or refused by name (format and the words that only describe are passed over).

Book 8.4 (structured output). Held against the jsonschema package. Paper: Willard and Louf 2023.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np

from minillm._checks import describe
from minillm.inference.grammar.json_pieces import (
    BOOLEAN,
    COLON,
    DEPTH,
    DIGITS,
    INTEGER,
    NULL,
    NUMBER,
    any_object,
    anything,
    integers,
    items_between,
    members,
    string,
)  # fmt: skip
from minillm.inference.grammar.regular import Piece, automaton, choice, literal, sequence

DESCRIBES = {
    "title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly",
    "format", "$defs", "definitions",
}  # fmt: skip
KEYWORDS: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": set(), "boolean": set(), "null": set(),
}  # fmt: skip


def schema_automaton(schema: Mapping[str, Any] | bool) -> tuple[np.ndarray, np.ndarray]:
    """(table int32 (S, 256), accepting bool (S,)) of the texts of a schema, as `automaton` returns them.

    ValueError for what is no schema, a keyword that is not done, a schema that nothing fulfils or that refers to
    itself, and one that needs too large a table (a long maxLength or maxItems in each other).
    """
    try:
        return automaton(_Reader(schema).value(schema, "schema", ()))
    except RecursionError:
        raise ValueError("the schema is nested too deep") from None


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return not isinstance(value, bool) and (
            whole if kind == "integer" else isinstance(value, (int, float))
        )
    return isinstance(
        value, {"object": Mapping, "array": list, "string": str, "boolean": bool, "null": type(None)}[kind]
    )


class _Reader:
    """Reads a schema; `root` is where its references begin, `where` in messages the way to a part of it."""

    def __init__(self, root: Any):
        self.root = root

    def value(self, schema: Any, where: str, inside: tuple[str, ...]) -> Piece:
        """inside: the references that led here, so that one that comes again is seen."""
        if schema is True or schema == {}:
            return anything()
        if not isinstance(schema, Mapping):
            raise ValueError(f"{where} must be a JSON schema (a dict), got {describe(schema)}")
        schema = {key: value for key, value in schema.items() if key not in DESCRIBES}
        if not schema:
            return anything()
        for key, read in (("$ref", self.reference), ("anyOf", self.any_of), ("allOf", self.all_of)):
            if key in schema:
                self.only(schema, {key}, where)
                return read(schema[key], f"{where}.{key}", inside)
        if "const" in schema or "enum" in schema:
            return self.listed(schema, where)
        kinds = schema.get("type")
        if kinds is None:  # the keywords tell
            kinds = [kind for kind, words in KEYWORDS.items() if words & set(schema)]
            if len(kinds) != 1:
                raise ValueError(f"{where} needs a type, got the keywords {sorted(schema)}")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not isinstance(kinds, list) or not kinds or not all(kind in KEYWORDS for kind in kinds):
            raise ValueError(
                f"{where}.type must be one of {', '.join(KEYWORDS)}, or a list, got {describe(schema['type'])}"
            )
        self.only(schema, {"type"}.union(*(KEYWORDS[kind] for kind in kinds)), where)
        return choice(*(getattr(self, f"a_{kind}")(schema, where, inside) for kind in kinds))

    def only(self, schema: Mapping[str, Any], known: set[str], where: str) -> None:
        """ValueError for a keyword that would be passed over."""
        strange = sorted(set(schema) - known)
        if strange:
            raise ValueError(
                f"{where}: {strange[0]!r} is not done here, known are {', '.join(sorted(known))}"
            )

    def number(self, schema: Mapping[str, Any], key: str, where: str, default: Any = None) -> Any:
        found = schema.get(key, default)
        if found is not default and (not _is(found, "integer") or (found < 0 and not key.endswith("imum"))):
            raise ValueError(f"{where}.{key} must be a whole number, got {describe(found)}")
        return default if found is default else int(found)

    def range(self, schema: Mapping[str, Any], low: str, high: str, where: str) -> tuple[int, int | None]:
        least, most = self.number(schema, low, where, 0), self.number(schema, high, where)
        if most is not None and least > most:
            raise ValueError(f"{where}: {low} is {least}, above {high} {most}")
        return least, most

    # Parts that are not a type

    def reference(self, name: Any, where: str, inside: tuple[str, ...]) -> Piece:
        if not isinstance(name, str) or not name.startswith("#"):
            raise ValueError(f"{where} must point into the schema (#/$defs/...), got {describe(name)}")
        if name in inside:
            raise ValueError(f"{where}: {name!r} refers to itself; give the nesting an end")
        found = self.root
        for part in name.split("/")[1:]:
            part = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or part not in found:
                raise ValueError(f"{where}: nothing stands at {name!r}")
            found = found[part]
        return self.value(found, name, (*inside, name))

    def any_of(self, schemas: Any, where: str, inside: tuple[str, ...]) -> Piece:
        if not isinstance(schemas, list) or not schemas:
            raise ValueError(f"{where} must be a list of schemas, got {describe(schemas)}")
        return choice(*(self.value(one, f"{where}[{i}]", inside) for i, one in enumerate(schemas)))

    def all_of(self, schemas: Any, where: str, inside: tuple[str, ...]) -> Piece:
        if not isinstance(schemas, list) or len(schemas) != 1:
            raise ValueError(f"{where} is done with one schema alone, got {describe(schemas)}")
        return self.value(schemas[0], f"{where}[0]", inside)

    def listed(self, schema: Mapping[str, Any], where: str) -> Piece:
        """const or enum."""
        self.only(schema, {"const", "enum", "type"}, where)
        values = schema.get("enum", [schema.get("const")])
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}.enum must be a list with something in it, got {describe(values)}")
        kinds = schema.get("type", list(KEYWORDS))
        kinds = [kinds] if isinstance(kinds, str) else kinds
        fitting = [one for one in values if any(_is(one, kind) for kind in kinds if kind in KEYWORDS)]
        if "const" in schema:
            fitting = [
                one for one in fitting if one == schema["const"] and type(one) is type(schema["const"])
            ]
        if not fitting:
            raise ValueError(f"{where}: none of its values has its type")
        try:
            texts = [json.dumps(one, ensure_ascii=False, allow_nan=False).encode() for one in fitting]
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"{where}: its values must be JSON, got {describe(values)}") from None
        return choice(*map(literal, texts))

    # Types

    def a_object(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not all(isinstance(name, str) for name in properties):
            raise ValueError(f"{where}.properties must be a dict of schemas, got {describe(properties)}")
        if not isinstance(required, list):
            raise ValueError(f"{where}.required must be a list of names, got {describe(required)}")
        for name in required:
            if not isinstance(name, str) or name not in properties:
                raise ValueError(f"{where}.required names {describe(name)}, which is none of its properties")
        if not properties and schema.get("additionalProperties", True) is not False:
            more = schema.get("additionalProperties", True)
            return any_object(
                anything(DEPTH - 1)
                if more is True
                else self.value(more, f"{where}.additionalProperties", inside)
            )
        fields = []
        for name, one in properties.items():
            key = literal(json.dumps(name, ensure_ascii=False).encode())
            fields.append(
                (sequence(key, COLON, self.value(one, f"{where}.{name}", inside)), name in required)
            )
        return members(fields)

    def a_array(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        least, most = self.range(schema, "minItems", "maxItems", where)
        return items_between(self.value(schema.get("items", True), f"{where}.items", inside), least, most)

    def a_string(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        try:
            return string(*self.range(schema, "minLength", "maxLength", where), schema.get("pattern"))
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None

    def a_integer(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        low, high = self.number(schema, "minimum", where), self.number(schema, "maximum", where)
        if "exclusiveMinimum" in schema:
            low = max(
                low if low is not None else -(10**DIGITS), self.number(schema, "exclusiveMinimum", where) + 1
            )
        if "exclusiveMaximum" in schema:
            high = min(
                high if high is not None else 10**DIGITS, self.number(schema, "exclusiveMaximum", where) - 1
            )
        if low is not None and high is not None and low > high:
            raise ValueError(f"{where}: no whole number is from {low} to {high}")
        return INTEGER if low is high is None else integers(low, high)

    def a_number(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        return NUMBER

    def a_boolean(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        return BOOLEAN

    def a_null(self, schema: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> Piece:
        return NULL
