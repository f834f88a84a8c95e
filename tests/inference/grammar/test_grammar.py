"""Automata against Python's re and against jsonschema: what they take is right, and what is right they take."""

import json
import re

import jsonschema
import numpy as np
import pytest

from minillm.inference.grammar.json_pieces import integers
from minillm.inference.grammar.json_schema import schema_automaton
from minillm.inference.grammar.patterns import pattern
from minillm.inference.grammar.regular import (
    automaton,
    between,
    both,
    characters,
    choice,
    literal,
    matches,
    optional,
    sequence,
    smallest,
    star,
    times,
)  # fmt: skip
from tests.helpers import soak_count
from tests.inference.grammar.schemas import STRINGS, compact_json, hostile_root, random_schema, random_texts

A, B = literal(b"a"), literal(b"b")


@pytest.mark.parametrize(
    ("piece", "expression"),
    [
        (A, b"a"), (sequence(), b""), (sequence(A, B), b"ab"), (choice(A, literal(b"ba")), b"a|ba"),
        (optional(A), b"a?"), (star(choice(A, sequence(B, B))), b"(a|bb)*"), (times(A, 2, 4), b"a{2,4}"),
        (times(choice(A, sequence()), 2, None), b"a*"), (choice(star(A), B), b"a*|b"),
        (sequence(star(A), star(B)), b"a*b*"), (star(star(A)), b"a*"), (times(A, 0, 0), b""),
        (sequence(optional(literal(b"-")), choice(literal(b"0"), sequence(between(49, 57), star(between(48, 57))))),
         rb"-?(0|[1-9][0-9]*)"),
    ],
)  # fmt: skip
def test_pieces_are_regular_expressions(piece, expression):
    table, accepting = automaton(piece)
    small = smallest(table, accepting)
    assert len(small[0]) <= len(table)
    texts = [bytes(t) for n in range(6) for t in np.ndindex(*(2,) * n)]
    texts = [t.replace(b"\0", b"a").replace(b"\1", b"b") for t in texts] + [b"0", b"-0", b"01", b"-10", b"-"]
    for text in texts:
        assert (
            matches(table, accepting, text) == matches(*small, text) == bool(re.fullmatch(expression, text))
        )


def test_a_product_takes_what_both_take():
    table = both(automaton(star(sequence(A, B))), automaton(times(choice(A, B), 0, 4)))
    for text in (b"", b"ab", b"abab", b"ababab", b"aba", b"bb"):
        assert matches(*table, text) == bool(re.fullmatch(rb"(ab){0,2}", text))
    with pytest.raises(ValueError, match="no text at all"):
        both(automaton(A), automaton(B))


def test_code_points_are_utf_8():
    rng = np.random.default_rng(0)
    borders = [0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
    for _ in range(60):
        low, high = sorted(rng.choice(borders + [int(x) for x in rng.integers(0x110000, size=9)], 2).tolist())
        if low >= 0xD800 and high <= 0xDFFF:
            continue
        table, accepting = automaton(characters([(low, high)]))
        for code in [low - 1, low, high, high + 1, *borders, *rng.integers(0x110000, size=20).tolist()]:
            if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                assert matches(table, accepting, chr(code).encode()) == (low <= code <= high)


PARTS = [
    "a",
    "b",
    "[ab]",
    "[^a]",
    ".",
    "\\d",
    "\\W",
    "\\s",
    "\\.",
    "[a-c\\d]",
    '"',
    "\\\\",
    "é",
    "한",
    "\\n",
    "\\u0041",
]


def random_expression(rng, depth=0):
    part = rng.random()
    if depth > 3 or part < 0.4:
        return str(rng.choice(PARTS))
    first, second = random_expression(rng, depth + 1), random_expression(rng, depth + 1)
    if part < 0.6:
        return first + second
    if part < 0.75:
        return f"({first}|{second})"
    return f"(?:{first})" + str(rng.choice(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"]))


def test_patterns_are_those_of_re():
    """Of a text that is not ASCII: what we take, re takes with ASCII classes and with Unicode's."""
    rng, found = np.random.default_rng(5), 0
    letters = list('abcdA1 ."\\é한\n\x01_')
    for _ in range(soak_count(1000)):
        inside, front, back = random_expression(rng), "^" * rng.integers(2), rng.integers(2)
        table, accepting = automaton(pattern(front + inside + "$" * back))
        peers = [re.compile(front + inside + r"\Z" * back, flag) for flag in (re.ASCII, re.UNICODE)]
        for _ in range(40):
            text = "".join(rng.choice(letters, rng.integers(6)))
            right = [peer.search(text) is not None for peer in peers]
            found += all(right)
            written = json.dumps(text, ensure_ascii=False).encode()[1:-1]
            took = matches(table, accepting, written)
            assert took == right[0] if text.isascii() else all(right) or not took, (peers[0].pattern, text)
    assert found > 100


@pytest.mark.parametrize(
    "expression",
    ["(", ")", "a)", "[a", "[", "a**", "*", "(?=a)", "(?P<x>a)", "\\1", "\\b", "a{3,2}", "a^b", "$a", "\\",
     "[]", "[z-a]", "[\\d-z]", "a++", "(" * 99 + ")" * 99],
)  # fmt: skip
def test_patterns_that_are_not_read_are_refused(expression):
    with pytest.raises(ValueError, match="pattern"):
        pattern(expression)


def test_ranges_of_whole_numbers():
    rng = np.random.default_rng(1)
    for _ in range(80):
        low = int(rng.integers(-3000, 3000))
        high = low + int(rng.choice([0, 1, 5, 37, 500, 4000, 123456]))
        for bounds in ((low, high), (low, None), (None, high)):
            table, accepting = automaton(integers(*bounds))
            for x in [low, high, low - 1, high + 1, 0, *rng.integers(-200000, 200000, size=20).tolist()]:
                right = (bounds[0] is None or low <= x) and (bounds[1] is None or x <= high)
                assert matches(table, accepting, str(x).encode()) == right, (bounds, x)
            assert not matches(table, accepting, b"-0") or bounds == (None, None)


def test_what_the_automaton_takes_validates():
    rng = np.random.default_rng(2)
    for _ in range(soak_count(1000)):
        schema = random_schema(rng)
        jsonschema.Draft202012Validator.check_schema(schema)
        table, accepting = schema_automaton(schema)
        validator = jsonschema.Draft202012Validator(schema)
        for text in random_texts(table, accepting, rng, 5):
            validator.validate(json.loads(text.decode()))


@pytest.mark.timeout(900)
def test_what_the_automaton_takes_of_schemas_with_rare_parts_validates():
    rng, refused, many = np.random.default_rng(4), 0, soak_count(300)
    for _ in range(many):
        schema = hostile_root(rng)
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        try:
            table, accepting = schema_automaton(schema)
        except ValueError:  # no text at all, or too many states
            refused += 1
            continue
        for text in random_texts(table, accepting, rng, 5):
            validator.validate(json.loads(text.decode()))
    assert refused < many // 4


def random_value(schema, rng):
    """A value that may or may not fulfil the schema: mostly right, so that both are met."""
    if rng.random() < 0.05:
        return [None, 0, "a", [], {}, 1.5][rng.integers(6)]
    if "anyOf" in schema:
        return random_value(schema["anyOf"][rng.integers(len(schema["anyOf"]))], rng)
    if "enum" in schema:
        return schema["enum"][rng.integers(len(schema["enum"]))]
    kind = schema["type"]
    if kind == "object":
        kept = {k: random_value(v, rng) for k, v in schema["properties"].items() if rng.random() < 0.9}
        return kept
    if kind == "array":
        return [random_value(schema["items"], rng) for _ in range(rng.integers(0, 5))]
    if kind == "string":
        return str(rng.choice(["AB-12", "ab", "abc", "x", "한", "", "word !", *STRINGS]))
    return [int(rng.integers(-999, 999)), float(rng.integers(-99, 99)) / 4, True, None][rng.integers(4)]


def test_what_validates_is_taken():
    rng, right, wrong = np.random.default_rng(3), 0, 0
    for _ in range(soak_count(2000)):
        schema = random_schema(rng)
        table, accepting = schema_automaton(schema)
        validator = jsonschema.Draft202012Validator(schema)
        for _ in range(20):
            value = random_value(schema, rng)
            if value is not None and ".0" in json.dumps(value):
                continue  # 2.0 is an integer to a schema; the grammar writes it as 2
            valid = validator.is_valid(value)
            assert matches(table, accepting, compact_json(value, rng)) == valid, (schema, value)
            right, wrong = right + valid, wrong + (not valid)
    assert min(right, wrong) > 100


def test_references_and_what_pydantic_writes():
    schema = {
        "$defs": {
            "Place": {
                "title": "Place", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]
            }
        },
        "type": "object", "title": "Trip", "required": ["to"],
        "properties": {
            "to": {"$ref": "#/$defs/Place"}, "back": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None}
        },
    }  # fmt: skip
    table = schema_automaton(schema)
    percents = {"$defs": {"장소 a/b": {"type": "null"}}, "$ref": "#/$defs/%EC%9E%A5%EC%86%8C%20a~1b"}
    assert matches(*schema_automaton(percents), b"null")
    assert matches(*table, '{"to": {"name": "가람내"}, "back": null}'.encode())
    assert matches(*table, b'{"to":{"name":""}}')
    assert not matches(*table, b'{"back": true}')


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (5, "must be a JSON schema"), ({"type": "strange"}, "type must be one of"),
        ({"type": []}, "type must be one of"),
        ({"type": "string", "minItems": 2}, "'minItems' is not done"), ({"oneOf": []}, "needs a type"),
        ({"type": "number", "minimum": 2}, "'minimum' is not done"), ({"enum": []}, "something in it"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "above maxLength"), ({"$ref": "#"}, "refers to itself"),
        ({"type": "string", "maxLength": -1}, "whole number"), ({"type": "array", "minItems": 1.5}, "whole number"),
        ({"$ref": "http://x/y"}, "must point into"), ({"$ref": "#/$defs/x"}, "nothing stands"),
        ({"type": "object", "required": ["x"]}, "none of its properties"),
        ({"type": "object", "properties": {"x": {}}, "required": [["x"]]}, "none of its properties"),
        ({"enum": [1], "type": "string"}, "none of its values"),
        ({"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "refers to itself"),
        ({"type": "string", "pattern": "^a{3}$", "maxLength": 2}, "no text at all"), ({"anyOf": []}, "list of schemas"),
        ({"type": "string", "maxLength": 10**6}, "more than"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no whole number"),
        ({"type": "array", "items": {"type": "string", "maxLength": 900}, "maxItems": 90}, "more than"),
        ({"type": "string", "pattern": "^(a?){9999}$"}, "more than"),
        ({"type": "string", "pattern": "^((a?){99}){99}$"}, "more than"),
    ],
)  # fmt: skip
def test_schemas_that_are_not_done_are_refused(schema, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        schema_automaton(schema)
