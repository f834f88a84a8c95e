"""The language of answers that may call functions: walked at random, each text told apart by Python's own means."""

import json
import random
import re

import numpy as np
import pytest

from minillm.inference.grammar.calls import CallForm, Calls, calls_automaton, text_until
from minillm.inference.grammar.regular import automaton, literal, matches
from minillm.inference.tool_calls import PLAIN

SCHEMA = json.dumps({"type": "object", "properties": {"a": {"enum": [1, "</tool_call>"]}}, "required": ["a"]})
FUNCTIONS = (("f", SCHEMA), ("f_g", json.dumps({"type": "object", "properties": {"b": {"type": "boolean"}}})))
CALL = r'<tool_call>\n\{"name": "(f|f_g)", "arguments": (\{.*?\})\}\n</tool_call>'


@pytest.mark.parametrize("marker", [b"ab", b"aab", b"abab", b"aa"])
@pytest.mark.parametrize("anywhere", [True, False])
def test_text_until_a_marker_holds_what_it_should(marker, anywhere):
    """Every text of up to seven letters, against str.find and startswith."""
    table = automaton(text_until(marker, literal(b"!"), anywhere))
    for number in range(3**7):
        text = bytes(b"ab!"[number // 3**i % 3] for i in range(7))
        for length in (0, 3, 7):
            part = text[:length]
            at = part.find(marker) if anywhere else (0 if part.startswith(marker) else -1)
            expected = at < 0 or part[at + len(marker) :] == b"!"
            assert matches(*table, part) == expected, part


def walked(calls, seed):
    """A text of the language by random bytes, more often those that lead to a call."""
    table, accepting = calls_automaton(calls)
    rng, state, text = random.Random(seed), 0, b""
    while (
        not (accepting[state] and (rng.random() < 0.05 or not (table[state] >= 0).any())) and len(text) < 2000
    ):
        bytes_ = np.flatnonzero(table[state] >= 0).tolist()
        byte = rng.choice(bytes_)
        if 60 in bytes_ and rng.random() < 0.2:
            byte = 60
        follows = PLAIN.marker.encode()
        begun = next((n for n in range(len(follows) - 1, 0, -1) if text.endswith(follows[:n])), 0)
        if begun and follows[begun] in bytes_:
            byte = follows[begun]
        state, text = int(table[state, byte]), text + bytes([byte])
    return text if accepting[state] else None


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("free", [True, False])
def test_every_text_is_free_or_ends_in_whole_calls(several, free):
    calls = Calls(PLAIN, FUNCTIONS, free, several)
    found = [text for seed in range(80) if (text := walked(calls, seed)) is not None]
    numbers = []
    for text in found:
        plain, mark, rest = text.partition(b"<tool_call>")
        if not mark:
            assert free
            numbers.append(0)
            continue
        assert free or not plain
        made = (mark + rest).decode()
        assert re.fullmatch(rf"{CALL}(\n{CALL})*", made, re.DOTALL), made
        ones = re.findall(CALL, made, re.DOTALL)
        assert several or len(ones) == 1
        numbers.append(len(ones))
        for name, arguments in ones:
            value = json.loads(arguments)
            assert value["a"] in (1, "</tool_call>") if name == "f" else set(value) <= {"b"}
    assert len(found) > 40
    assert max(numbers) > 0
    assert (max(numbers) > 1) == several
    assert (min(numbers) == 0) == free


def test_what_the_language_cannot_be_made_of():
    with pytest.raises(ValueError, match="function 'f' will not do"):
        Calls(PLAIN, (("f", '{"type": "strange"}'),))
    unmarked = CallForm("{", "{", ":", "}", None, False)
    with pytest.raises(ValueError, match="no marker"):
        Calls(unmarked, FUNCTIONS, schema='{"type": "object"}')
