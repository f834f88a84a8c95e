"""Random JSON schemas, and random texts of an automaton."""

import json

import numpy as np

STRINGS = ("a", "이름", "two words", 'with "quotes"', "back\\slash", "new\nline", "é", "🚀")


def random_schema(rng, depth=2):
    """A schema of what grammar/json_schema.py does; `depth` levels of lists and objects."""
    kind = rng.choice(
        ["object", "array"] if depth == 2 else ["string", "number", "enum", "any_of", "object", "array"]
    )
    if depth == 0 and kind in ("object", "array", "any_of"):
        kind = "string"
    if kind == "object":
        names = rng.permutation(len(STRINGS))[: rng.integers(0, 5)]
        properties = {STRINGS[i]: random_schema(rng, depth - 1) for i in names}
        required = [name for name in properties if rng.random() < 0.5]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    if kind == "array":
        least = int(rng.integers(0, 3))
        sizes = {"minItems": least, "maxItems": least + int(rng.integers(0, 3))}
        return {"type": "array", "items": random_schema(rng, depth - 1)} | (
            sizes if rng.random() < 0.6 else {}
        )
    if kind == "any_of":
        return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.integers(1, 4))]}
    if kind == "enum":
        values = [1, -2.5, None, True, *STRINGS]
        return {"enum": [values[i] for i in rng.permutation(len(values))[: rng.integers(1, 5)]]}
    if kind == "number":
        low = int(rng.integers(-500, 500))
        bounds = [
            {},
            {"minimum": low},
            {"maximum": low},
            {"minimum": low, "exclusiveMaximum": low + 1 + int(rng.integers(1, 999))},
        ]
        return [
            {"type": "integer"} | bounds[rng.integers(4)],
            {"type": "number"},
            {"type": ["boolean", "null"]},
        ][rng.integers(3)]
    least = int(rng.integers(0, 4))
    lengths = {"minLength": least, "maxLength": least + int(rng.integers(0, 6))}
    patterns = ["^[A-Z]{2}-\\d+$", "^(ab|c)*$", "x", '^[^"\\\\]?한?', "^\\w+\\s\\S$"]
    return [
        {"type": "string"}, {"type": "string"} | lengths, {"type": "string", "pattern": str(rng.choice(patterns))}
    ][rng.integers(3)]  # fmt: skip


HOSTILE = (
    "", "\0", "\x1f", "\x7f", "\u2028", '"', "\\", "\\u0041", "/", "</s>", "{}", "e\u0301", "\ue000", "\uffff",
    "👨‍👩‍👧", "값\n", "$ref", "true", "\t" * 9, "긴 이름 " * 5,
)  # fmt: skip
PATTERNS = (
    "^[가-힣]{2,4}$", '^"+\\\\?$', "^[^\\s]*$", "(a|b)+c?", "^\\d{3}-\\d{4}$", "^$", "\\n", "^.{0,3}$",
    "[\\u0000-\\u001f]", "^(?:x|yy|zzz){1,3}$", "\\W", "^[\\w.]+@[a-z]+$", "^[😀-🙏]", "a|", "^-?(0|[1-9]\\d*)$",
)  # fmt: skip


def hostile_schema(rng, depth=3):
    """A schema with the rarer parts: references, const, values of any kind in enum, types in a list, additional
    properties, patterns with lengths (which may leave no text at all), bounds at the edge of 15 digits.
    """
    kinds = ["string", "pattern", "integer", "enum", "const", "types", "any"]
    if depth:
        kinds = ["object", "array", "map", "any_of", "all_of", "ref"] * (2 if depth == 3 else 1) + kinds
    kind = str(rng.choice(kinds))

    def inner():
        return hostile_schema(rng, depth - 1)

    names = [HOSTILE[i] for i in rng.permutation(len(HOSTILE))[: rng.integers(0, 5)]]
    if kind == "object":
        found = {"type": "object", "properties": {name: inner() for name in names}}
        found["required"] = [name for name in names[::-1] if rng.random() < 0.5]
        return found | [{}, {"additionalProperties": bool(rng.integers(2))}][rng.integers(2)]
    if kind == "map":
        return {"type": "object", "additionalProperties": inner()}
    if kind == "array":
        least = int(rng.integers(0, 3))
        return {
            "type": "array",
            "items": inner(),
            "minItems": least,
            "maxItems": least + int(rng.integers(0, 2)),
        }
    if kind == "any_of":
        return {"anyOf": [inner() for _ in range(rng.integers(1, 4))], "title": "x"}
    if kind == "all_of":
        return {"allOf": [inner()]}
    if kind == "ref":
        return {"$ref": "#/$defs/" + str(rng.choice(["a~1b", "c%25d", "%ED%95%9C"]))}
    if kind == "string":
        least = int(rng.integers(0, 9))
        return {"type": "string", "minLength": least, "maxLength": least + int(rng.integers(0, 30))}
    if kind == "pattern":
        lengths = {} if rng.random() < 0.7 else {"minLength": int(rng.integers(0, 3)), "maxLength": 5}
        return {"type": "string", "pattern": str(rng.choice(PATTERNS))} | lengths
    if kind == "integer":
        low = int(rng.integers(-(10 ** int(rng.integers(1, 17))), 10 ** int(rng.integers(1, 17))))
        words = rng.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], rng.integers(0, 3))
        return {"type": "integer"} | {str(word): low + int(rng.integers(-5, 6)) for word in words}
    values = [
        None,
        True,
        0,
        -0.0,
        1.0,
        1e300,
        -1e-7,
        10**20,
        [],
        {},
        [1, ["값", None]],
        {"a": {"b": [True]}},
        *HOSTILE,
    ]
    some = [values[i] for i in rng.permutation(len(values))[: rng.integers(1, 6)]]
    if kind == "enum":
        return {"enum": some}
    if kind == "const":
        return {"const": some[0]}
    if kind == "types":
        return {
            "type": [
                str(one) for one in rng.choice(["string", "null", "boolean", "number", "integer"], 2, False)
            ]
        }
    return [{}, True, {"description": "whatever"}][rng.integers(3)]


def hostile_root(rng):
    """Such a schema with what its references point at."""
    found = hostile_schema(rng)
    if not isinstance(found, dict):
        found = {}
    return found | {
        "$defs": {"a/b": hostile_schema(rng, 0), "c%d": hostile_schema(rng, 0), "한": hostile_schema(rng, 0)}
    }


def random_texts(table, accepting, rng, many, long=60):
    """Texts that the automaton takes; past `long` bytes each goes the shortest way to an end."""
    left = np.where(accepting, 0, len(table))  # bytes to the nearest end
    for _ in range(len(table)):
        nearer = np.minimum(left, np.where(table >= 0, left[table], len(table)).min(axis=1) + 1)
        if (nearer == left).all():
            break
        left = nearer
    for _ in range(many):
        state, text = 0, bytearray()
        while not (accepting[state] and (len(text) > long or rng.random() < 0.2 or (table[state] < 0).all())):
            ways = np.flatnonzero(table[state] >= 0)
            if len(text) > long:
                ways = ways[left[table[state, ways]] == left[state] - 1]
            text.append(int(rng.choice(ways)))
            state = table[state, text[-1]]
        yield bytes(text)


def compact_json(value, rng):
    """The value as JSON in one of the ways that the grammar writes."""
    comma, colon = rng.choice([",", ", "]), rng.choice([":", ": "])
    return json.dumps(value, ensure_ascii=False, separators=(comma, colon)).encode()
