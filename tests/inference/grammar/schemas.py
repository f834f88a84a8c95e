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


def random_text(table, accepting, rng, long=60):
    """A text that the automaton takes; past `long` bytes it goes the shortest way to an end."""
    left = np.where(accepting, 0, len(table))  # bytes to the nearest end
    for _ in range(len(table)):
        nearer = np.minimum(left, np.where(table >= 0, left[table], len(table)).min(axis=1) + 1)
        if (nearer == left).all():
            break
        left = nearer
    state, text = 0, bytearray()
    while not (accepting[state] and (len(text) > long or rng.random() < 0.2 or (table[state] < 0).all())):
        ways = np.flatnonzero(table[state] >= 0)
        if len(text) > long:
            ways = ways[left[table[state, ways]] == left[state] - 1]
        text.append(int(rng.choice(ways)))
        state = table[state, text[-1]]
    return bytes(text)


def compact_json(value, rng):
    """The value as JSON in one of the ways that the grammar writes."""
    comma, colon = rng.choice([",", ", "]), rng.choice([":", ": "])
    return json.dumps(value, ensure_ascii=False, separators=(comma, colon)).encode()
