"""search_words: what is one word, in English, in code and in Korean."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.search import content_words, plain_words, search_words
from minillm.search.words import find_operators


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The with-statement", ["the", "with", "statement"]),
        ("sys.exc_info() and __enter__", ["sys", "exc_info", "and", "__enter__"]),
        ("어텐션은", ["어텐", "텐션", "션은"]),
        ("GPT는 토큰을 읽는다", ["gpt", "는", "토큰", "큰을", "읽는", "는다"]),
        ("2024년 3월", ["2024", "년", "3", "월"]),
        ("ＬＬＭ ﬁne", ["llm", "fine"]),  # full-width letters and a ligature
        ("naïve café", ["naïve", "café"]),
        ("東京都", ["東京", "京都"]),
        ("👍🏽 🙂", []),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words_of_a_text(text, words):
    assert search_words(text) == words


def test_a_particle_leaves_common_words():
    assert set(search_words("어텐션")) < set(search_words("어텐션은"))
    assert not set(plain_words("어텐션")) & set(plain_words("어텐션은"))


def test_decomposed_hangul_is_the_same_text():
    text = "토크나이저가 한글을 자른다"
    assert unicodedata.normalize("NFD", text) != text
    assert search_words(unicodedata.normalize("NFD", text)) == search_words(text)


@given(st.text(st.characters(exclude_categories=["Cs", "Cn"])))  # not yet assigned: tables differ
def test_words_hold_every_letter_digit_and_mark_once(text):
    even = unicodedata.normalize("NFKC", text).lower()
    letters = [one for one in even if unicodedata.category(one)[0] in "LMN" or one == "_"]
    assert "".join(plain_words(text)) == "".join(letters)
    assert set("".join(search_words(text))) == set(letters)
    for word in plain_words(text):
        assert word in even


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["a"]])
def test_only_text_has_words(bad):
    with pytest.raises(ValueError, match="text must be a str"):
        search_words(bad)


@pytest.mark.parametrize(
    ("text", "operators"),
    [
        ("f(*args, **kwargs)", ["*", "**"]),
        ('If the form "*identifier" is present', ["*"]),
        ("what does := do, and == or !=?", [":=", "==", "!="]),
        ("2 ** 3, 7//2, x**y, a -> b", ["**", "//", "**", "->"]),
        ("the three dots ...", ["..."]),
        ("*emphasis* and **strong words** here", []),  # plain text and Markdown
        ("with_stmt ::= x", []),  # a grammar
        ("Title\n=====\n-----\n*******", []),  # rulers
        ("https://example.org", []),
        ("a = b + c * d", []),  # a single sign says too little
        ("어텐션", []),
    ],
)
def test_operators_of_code_are_words(text, operators):
    assert [word for word in content_words(text) if not word[0].isalnum() and word[0] != "_"] == operators
    assert all(text[start:end] == word for start, end, word in find_operators(text))
