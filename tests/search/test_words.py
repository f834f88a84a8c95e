"""search_words: what is one word, in English, in code and in Korean."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.search import content_words, english_words, plain_words, search_words, standard_words
from minillm.search.words import find_operators, singular


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


# The S stemmer of Harman 1991, as printed there: the first rule that fits, and no word of three letters or fewer.
RULES = (
    (r"ies", "y", r"eies|aies"),
    (r"es", "e", r"aes|ees|oes"),
    (r"s", "", r"us|ss"),
)


def by_the_rules(word):
    for ending, becomes, but_not in RULES:
        if re.search(f"{ending}$", word):
            return word if re.search(f"({but_not})$", word) else re.sub(f"{ending}$", becomes, word)
    return word


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("queries", "query"), ("phrases", "phrase"), ("corpus", "corpus"), ("stress", "stress"), ("kings", "king"),
        ("panels", "panel"), ("aerodynamics", "aerodynamic"), ("congress", "congress"), ("serious", "serious"),
        ("theories", "theory"), ("churches", "churche"), ("goes", "goes"), ("trees", "trees"), ("aies", "aies"),
        ("is", "is"), ("gas", "gas"), ("cs", "cs"), ("flow", "flow"), ("", ""), ("토큰s", "토큰s"),
    ],
)  # fmt: skip
def test_plurals_as_published(word, one):
    assert singular(word) == one


@given(st.text("aeiousy", min_size=4, max_size=7))
def test_every_ending_follows_the_rules(word):
    assert singular(word) == by_the_rules(word)


@pytest.mark.parametrize(
    ("text", "standard", "english"),
    [
        ("What are the boundary layers?", ["what", "are", "the", "boundary", "layer"], ["boundary", "layer"]),
        ("어텐션은 flows다", ["어텐", "텐션", "션은", "flow", "다"], ["어텐션은", "flows다"]),
        ("sys.exc_info classes", ["sys", "exc_info", "classe"], ["sys", "exc_info", "classe"]),
        ("with: does it leaves", ["with", "does", "it", "leave"], ["with", "leave"]),
        ("", [], []),
    ],
)
def test_words_of_the_analysers(text, standard, english):
    assert standard_words(text) == standard
    assert english_words(text) == english


def test_the_analysers_refuse_what_is_no_text():
    for words in (standard_words, english_words):
        with pytest.raises(ValueError, match="text must be a str"):
            words(["text"])
