"""Patterns of tokenizer.json in another engine: what is translated, and what is refused by its name."""

import time

import pytest

from minillm.tokenizer.oniguruma import translate
from minillm.tokenizer.splitting import compile_pattern, find_matches, split


def found(pattern, text):
    return [text[start:end] for start, end in find_matches(compile_pattern(pattern), text)]


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"\w+", "10m² b½ Ⅷ x_y", ["10m²", "b½", "Ⅷ", "x_y"]),  # Oniguruma's documented classes, doc/RE
        (r"[\w]+", "m²", ["m"]),
        (r"^.", "a\nb\n", ["a", "b"]),  # no line begins behind the last line end
        (r".$", "a\nb\n", ["a", "b"]),
        (r"(?m:a.b)", "a\nb", ["a\nb"]),
        (r"(?m)a.b|c", "a\nb", ["a\nb"]),
        (r"a(?i)b|c", "aB aC b", ["aB", "aC"]),  # (?i) reaches over the | to the end of the group
        (r"(?i:s)", "sSſ", ["s", "S", "ſ"]),
        (r"(?i:[k-l])", "kKK", ["k", "K", "K"]),
        (r"\h+", "xBEEF", ["BEEF"]),
        (r"a{2}+", "aaaaa", ["aaaa"]),
        (r"a{2}?b", "b aab", ["b", "aab"]),
        (r"a{,2}b", "aaab", ["aab"]),
        (r"a++ab|a", "aab", ["a", "a"]),
        (r"a{x}", "a{x}", ["a{x}"]),
        (r"[a-z&&[^aeiou]]+", "hello", ["h", "ll"]),
        (r"[[:punct:]]", "a+$.", ["+", "$", "."]),
        (r"\p{Punct}", "a+$.", ["."]),
        (r"[^[ab]c]", "abcd", ["d"]),
        (r"\R", "\r\n\n", ["\r\n", "\n"]),
        (r"a*", "baac", ["", "aa", ""]),
        (r"(?<=a)b|\Ac", "cab", ["c", "b"]),
        (r"\x41\u0042\x{AC00}\t", "AB가\t", ["AB가\t"]),
        (r"a(?#what)b", "ab", ["ab"]),
        (r"[!\-./]", "a-b", ["-"]),
    ],
)
def test_matches(pattern, text, matches):
    assert found(pattern, text) == matches


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(a)\1", r"\\1 at"),
        (r"a\Kb", r"\\K"),
        (r"\Ga", r"\\G"),
        (r"\X", r"\\X"),
        (r"(?<a>b)\g<a>", r"\\g"),
        (r"(?~ab)", r"\(\?~"),
        (r"(?s:.)", r"\(\?s"),
        (r"(?P<a>b)", r"\(\?P"),
        (r"(?x: a)", r"\(\?x"),
        (r"(?i:ß)", "ß"),
        (r"(?i:ss)", "one letter also folds to"),
        (r"(?i:\p{L})", "cased letters"),
        (r"(?<=a+)b", "repetition in a look-behind"),
        (r"(?<!\R)b", r"\\R"),
        (r"\b.+x", "repeated . behind an anchor"),
        (r"(?=a)(?:(?m:.)*)", "repeated . behind an anchor"),
        (r"a|$(?m).*", "repeated . behind an anchor"),
        (r"(?i:[^[^a]])", "class of classes"),
        (r"(?i:[a&&b])", "class of classes"),
        (r"\p{Klingon}", "Klingon"),
        (r"\pL", r"without \{name\}"),
        (r"[[:wide:]]", "wide"),
        (r"[]a]", "empty class"),
        (r"[a", "ends inside"),
        (r"[z-a]", "ends before"),
        (r"(a", r"missing \)"),
        (r"a)", r"unmatched \)"),
        (r"*a", "nothing to repeat"),
        (r"(?:a*)*", "can match nothing"),
        (r"^*", "anchor that is repeated"),
        (r"a{3,1}", "number of repetitions"),
        (r"\xff", "no character"),
        (r"\u12", "without its digits"),
        ("(" * 500 + "a" + ")" * 500, "nested groups"),
        ("[" * 500 + "a" + "]" * 500, "nested classes"),
    ],
)
def test_refused_by_name(pattern, message):
    with pytest.raises(ValueError, match=message):
        translate(pattern)


def test_what_lies_between_matches_is_kept():
    assert split("10m² b½!", r"\w+") == ["10m²", " ", "b½", "!"]
    assert split("baac", r"a*") == ["b", "aa", "c"]


@pytest.mark.parametrize("cut", [split, lambda text, pattern: find_matches(compile_pattern(pattern), text)])
def test_a_search_that_would_take_for_ever_is_given_up(monkeypatch, cut):
    monkeypatch.setattr("minillm.tokenizer.splitting._LONGEST_SEARCH", 0.1)
    with pytest.raises(ValueError, match=r"more than 0.1 seconds for a text of 61 characters"):
        cut("a" * 60 + "b", r"(?:a|aa|aaa)+$")


@pytest.mark.parametrize("pattern", [r"\s+$", r"[ \t]+$", r"[^ab\n]+$"])
def test_a_long_run_before_a_letter_takes_linear_time(pattern):
    r"""DeepSeek's `\s+$`. Tried from every blank of the run it took minutes."""
    began = time.process_time()
    assert split(" " * 40_000 + "a b", pattern) == [" " * 40_000 + "a b"]
    assert time.process_time() - began < 10


def test_a_quadratic_search_is_given_up_too(monkeypatch):
    monkeypatch.setattr("minillm.tokenizer.splitting._LONGEST_SEARCH", 0.1)
    with pytest.raises(ValueError, match=r"more than 0.1 seconds"):
        split("1" * 20_000, r"\d+(?=px)")
