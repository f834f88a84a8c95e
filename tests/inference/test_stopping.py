"""Stops: end tokens, sequences, strings across tokens and characters, and the text that is left for the reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.inference import SamplingParams
from minillm.inference.stopping import Stopper, continuation
from minillm.tokenizer import Llama2cTokenizer


class Model:
    """All that a Stopper asks of a model."""

    eos_token_ids = (2,)


class Bytes:
    """A tokenizer of one byte an id, with one special token, 256."""

    def decode(self, ids, skip_special_tokens=False):
        spelled = [
            b"" if skip_special_tokens and i == 256 else b"<|x|>" if i == 256 else bytes([i]) for i in ids
        ]
        return b"".join(spelled).decode("utf-8", "replace")


@pytest.fixture(scope="module")
def llama2c():
    """The smallest vocabulary in llama2.c's form: 3 special tokens, 256 bytes, and some words."""
    words = [b" a", b"a", b" ", b"b", b" b", b" stop", b" the", b"the", b" end."]
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % i for i in range(256)), *words]
    return Llama2cTokenizer(tokens, [0.0] * len(tokens))


def ids_of(tokenizer, *words):
    return [tokenizer.token_to_id(word) for word in words]


def run(tokenizer, prompt, new, **settings):
    """(how many of the new tokens were taken, the text)."""
    stop = Stopper(Model(), SamplingParams(max_tokens=50, **settings), tokenizer, prompt)
    for taken, token in enumerate(new, 1):
        if stop(token):
            return taken, stop.text()
    return len(new), stop.text()


@pytest.mark.parametrize("prompt", [["<s>"], ["<s>", " the"], ["b"], [" the", "<0x0A>"], []])
def test_a_blank_in_front_of_the_first_token_is_seen(llama2c, prompt):
    prompt, new = ids_of(llama2c, *prompt), ids_of(llama2c, " a", " b", " a")
    assert run(llama2c, prompt, new, stop=" a") == (1, "")
    assert run(llama2c, prompt, new, stop=" b")[0] == 2
    assert run(llama2c, prompt, new, stop=["nothing", " b a"])[0] == 3
    assert run(llama2c, prompt, new, stop="no")[0] == 3


def test_the_text_reads_on_from_the_prompt(llama2c):
    prompt, new = ids_of(llama2c, "<s>", " the"), ids_of(llama2c, " a", " b")
    assert run(llama2c, prompt, new)[1] == " a b"
    assert run(llama2c, prompt, new, stop=" b")[1] == " a"
    # behind <s> alone a text begins: its first blank is the tokenizer's own
    assert run(llama2c, prompt[:1], new)[1] == "a b"
    assert run(llama2c, prompt[:1], new, stop=" b")[1] == "a"
    assert run(llama2c, prompt[:1], new, stop="b")[1] == "a "


def test_a_prompt_may_end_within_a_character():
    syllable = list("가".encode())
    assert run(Bytes(), [97, *syllable[:2]], [syllable[2], 98])[1] == "가b"
    assert run(Bytes(), [97, *syllable[:2]], [syllable[2], 98, 99], stop="가b") == (2, "")
    assert run(Bytes(), [97, *syllable[:1]], [98])[1] == "b"
    assert continuation(Bytes(), syllable[:2], syllable[2:]) == "가"


def test_what_the_prompt_says_is_no_stop():
    assert run(Bytes(), list(b"end"), list(b"x end y"), stop="end") == (5, "x ")
    assert run(Bytes(), list(b"en"), list(b"d, en"), stop="end") == (5, "d, en")


def test_special_tokens_are_seen_and_left_out():
    assert run(Bytes(), [97], [98, 256, 99], stop="<|x|>") == (2, "b")
    assert run(Bytes(), [97], [98, 256, 99, 100], stop="c") == (3, "b")
    assert run(Bytes(), [97], [98, 99, 256, 100], stop="c<|x|>") == (3, "b")
    assert run(Bytes(), [97], [98, 256, 99], stop="x|") == (2, "b")
    assert run(Bytes(), [256], [98, 2], stop="zz") == (2, "b\x02")  # 2 is the model's end token


@given(
    st.text("ab가é😀 ", min_size=1, max_size=12),
    st.text("ab가é😀 ", min_size=1, max_size=4),
    st.integers(0, 4),
)
def test_stop_strings_end_a_text_where_they_first_stand_whole(text, stop, least):
    data = text.encode()
    taken, seen = run(Bytes(), list(b"p"), list(data), stop=stop, min_tokens=least)
    ends = [n for n in range(least + 1, len(data) + 1) if data[:n].endswith(stop.encode())]
    assert taken == (ends[0] if ends else len(data))
    assert seen == (data[: ends[0] - len(stop.encode())].decode() if ends else text)


def test_end_tokens_and_sequences():
    for settings, taken in (
        ({}, 2),
        ({"ignore_eos": True}, 5),
        ({"ignore_eos": True, "stop": 7}, 3),
        ({"ignore_eos": True, "stop_token_ids": [9, 7]}, 3),
        ({"ignore_eos": True, "stop": [(7, 8)]}, 4),
        ({"ignore_eos": True, "stop": [(8, 7), (2, 7, 8, 9)]}, 5),
        ({"min_tokens": 1}, 2),
        ({"min_tokens": 2, "stop_token_ids": [8]}, 4),
        ({"min_tokens": 3, "stop": [(2, 7)]}, 5),
    ):
        stop = Stopper(Model(), SamplingParams(max_tokens=5, **settings))
        assert next((n for n, token in enumerate([5, 2, 7, 8, 9], 1) if stop(token)), 5) == taken, settings
