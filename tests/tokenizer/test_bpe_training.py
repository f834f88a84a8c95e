"""Two trainers, one answer: the whiteboard version and the compiled one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tokenizer.bpe_plain import (
    best_pair,
    count_pairs,
    count_words,
    decode_plain,
    encode_plain,
    encode_word_plain,
    merge_pair,
    train_bpe_plain,
)
from minillm.tokenizer.bpe_train_fast import learn_merges_fast
from minillm.tokenizer.special import special_parts
from minillm.tokenizer.splitting import GPT4_PATTERN, cut_at, split_plain
from minillm.tokenizer.word_table import WordTable, count_words_fast
from tests.tokenizer.samples import KOREAN, SAMPLES, TEXTS

WORDS = st.dictionaries(
    st.one_of(st.binary(min_size=1, max_size=12), st.text("ab", min_size=1, max_size=20).map(str.encode)),
    st.integers(1, 5),
    max_size=8,
)


def compiled(words, *args):
    return learn_merges_fast(WordTable.from_dict(words), *args)


def test_the_example_of_the_paper():
    # Sennrich, Haddow and Birch 2016, section 3.2, without their end-of-word sign: "es" and "est" come first.
    words = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    assert count_pairs(([bytes([c]) for c in word], n) for word, n in words.items())[b"e", b"s"] == 9
    # (s, t) and (e, s) both occur 9 times: the greater pair of byte strings goes first
    assert train_bpe_plain(words, 4) == [(b"s", b"t"), (b"e", b"st"), (b"o", b"w"), (b"l", b"ow")]


def test_ties_go_to_the_greatest_pair_of_byte_strings():
    # From the training assignment of Stanford CS336: ("BA", "A") beats ("A", "B"), ("A", "C") and ("B", "ZZ").
    counts = {(b"A", b"B"): 4, (b"A", b"C"): 4, (b"B", b"ZZ"): 4, (b"BA", b"A"): 4, (b"Z", b"Z"): 1}
    assert best_pair(counts) == (b"BA", b"A")
    for words in ({b"ab": 1, b"cd": 1, b"\xff\x00": 1}, {b"aab": 1, b"ab": 1, b"aa": 1}):
        assert compiled(words, 3) == train_bpe_plain(words, 3)


@pytest.mark.parametrize(
    ("text", "merged"), [("aaa", ["aa", "a"]), ("aaaa", ["aa", "aa"]), ("baab", ["b", "aa", "b"])]
)
def test_overlapping_pairs_merge_from_the_left(text, merged):
    tokens = [character.encode() for character in text]
    assert merge_pair(tokens, (b"a", b"a")) == [token.encode() for token in merged]


@given(WORDS, st.integers(0, 30), st.integers(0, 4))
def test_both_trainers_agree(words, merges, min_frequency):
    assert compiled(words, merges, min_frequency) == train_bpe_plain(words, merges, min_frequency)


def test_both_trainers_agree_on_words_that_repeat_themselves():
    rng = random.Random(0)
    for _ in range(300):
        letters = "ab" if rng.random() < 0.5 else "abc한"
        words = {
            "".join(rng.choices(letters, k=rng.randint(1, 40))).encode(): rng.randint(1, 3) for _ in range(6)
        }
        assert compiled(words, 25) == train_bpe_plain(words, 25)


def test_many_words_grow_every_table():
    rng = random.Random(1)
    words = {rng.randbytes(rng.randint(1, 40)): rng.randint(1, 9) for _ in range(30_000)}
    merges = compiled(words, 600)
    assert len(set(merges)) == 600
    assert merges[0] == best_pair(count_pairs(([bytes([b]) for b in word], n) for word, n in words.items()))


def test_one_merge_a_step_until_nothing_is_left():
    words = {b"abcabc": 3}
    # ties: (b, c) beats (a, b); then a + bc; then abc + abc, and no pair remains
    assert train_bpe_plain(words, 99) == [(b"b", b"c"), (b"a", b"bc"), (b"abc", b"abc")]
    assert compiled(words, 99) == train_bpe_plain(words, 99)
    for words in ({}, {b"x": 7}):
        assert compiled(words, 5) == train_bpe_plain(words, 5) == []


@given(st.lists(TEXTS, max_size=5))
def test_compiled_counts_are_the_plain_counts(texts):
    plain = count_words(texts)
    table = count_words_fast(iter(texts))
    assert table.as_dict() == plain
    assert len(table) == len(plain)
    assert WordTable.from_dict(plain).as_dict() == plain
    assert count_words_fast(texts, GPT4_PATTERN).as_dict() == count_words(texts, GPT4_PATTERN)


def test_counting_joins_texts_into_batches_without_joining_their_words(monkeypatch):
    monkeypatch.setattr("minillm.tokenizer.word_table._BATCH_BYTES", 20)
    texts = [*SAMPLES, KOREAN, "hel", "lo", "hel"] * 3
    assert count_words_fast(texts).as_dict() == count_words(texts)


@pytest.mark.parametrize(
    "bad", [{"num_merges": -1}, {"num_merges": 2.0}, {"min_frequency": -1}, {"ties": "first"}]
)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        learn_merges_fast(WordTable(), **{"num_merges": 3, **bad})


def test_a_count_beyond_the_cells_is_refused():
    with pytest.raises(ValueError, match="2147483648"):
        learn_merges_fast(WordTable.from_dict({b"ab": 1 << 31}), 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count_words("한국"), "iterable of str"),
        (lambda: count_words_fast("한국"), "iterable of str"),  # its letters would pass for texts
        (lambda: count_words_fast([None]), "must be a str, got None"),
        (lambda: count_pairs({b"ab": 2}), "iterable of"),
        (lambda: count_pairs([(b"ab", 2)]), "list of tokens"),
        (lambda: best_pair({}), "nothing is left to merge"),
        (
            lambda: merge_pair([b"a", b"b"], [b"a", b"b"]),
            "tuple of two",
        ),  # a list equals no pair: nothing would merge
        (lambda: merge_pair(b"ab", (b"a", b"b")), "list of byte strings"),
        (lambda: train_bpe_plain({"ab": 2}, 3), "bytes as keys"),
        (lambda: train_bpe_plain([b"ab"], 3), "dict from byte strings"),
        (lambda: train_bpe_plain({b"ab": 2}, 1.5), "num_merges"),
        (lambda: train_bpe_plain({b"ab": -2}, 1), "count of a word"),
        (lambda: encode_word_plain("ab", {}), "word must be bytes"),
        (lambda: encode_plain("ab", {b"a": 0}, {}, {}), "255 of them have none"),
        (lambda: decode_plain([-1], [b"a", b"b"]), "id -1 is out of range"),  # not the last one
        (lambda: decode_plain(iter([0]), [b"a"]), "list of int"),
        (lambda: learn_merges_fast({b"ab": 2}, 3), "WordTable"),
        (lambda: split_plain(b"ab"), "must be a str"),
        (lambda: cut_at("ab", [(-1, 2)]), "0 to 2"),
        (lambda: special_parts("ab", "a"), "frozenset"),
        (lambda: special_parts("ab", frozenset([""])), "non-empty"),
    ],
)
def test_bad_input_is_refused_with_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()
