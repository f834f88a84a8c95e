"""Encoding: compiled against plain, whole against streamed, and nothing lost on the way back."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.tokenizer import GPT4_PATTERN, BPETokenizer
from minillm.tokenizer.bpe_plain import decode_plain, encode_plain
from minillm.tokenizer.special import special_parts
from minillm.tokenizer.streaming import encode_stream
from tests.benchmarks.bench_tokenizer_fuzz import lost
from tests.tokenizer.samples import KOREAN, SAMPLES, TEXTS

END, SEP = "<|endoftext|>", "<|end"
CORPUS = [*SAMPLES * 3, "the theme of the theory they there", KOREAN * 5]


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(CORPUS, 600)


@pytest.fixture(scope="module")
def two_specials():
    return BPETokenizer.train(CORPUS, 500, special_tokens=(END, SEP, "<|", "한국"), pattern=GPT4_PATTERN)


def plain_ids(tokenizer, text, special_tokens=()):
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    first = len(tokenizer.special_tokens)
    vocab = {tokenizer.decode_bytes([index]): index for index in range(first, tokenizer.vocab_size)}
    special = {name: tokenizer.special_tokens[name] for name in special_tokens}
    return encode_plain(text, vocab, ranks, special, tokenizer.pattern)


@given(text=TEXTS)
def test_compiled_is_plain_and_nothing_is_lost(tokenizer, text):
    ids = tokenizer.encode(text, ())
    assert ids == plain_ids(tokenizer, text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_bytes(text.encode()) == ids
    assert tokenizer.encode(text, ()) == ids  # a second time, from the cache


@given(data=st.binary(max_size=60))
def test_any_bytes_come_back(tokenizer, data):
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@given(data=st.data())
def test_any_ids_decode(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    joined = tokenizer.decode_bytes(ids)
    assert joined == b"".join(tokenizer.decode_bytes([index]) for index in ids)
    assert tokenizer.decode(ids) == joined.decode("utf-8", "replace")


def test_twenty_thousand_random_strings(tokenizer):
    assert lost(tokenizer, 20_000, seed=1) == 0


@pytest.mark.parametrize("length", [99, 100, 101, 102, 400])
@pytest.mark.parametrize("letters", ["a", "the", "한국", "ab \n"])
def test_long_pieces_use_the_heap_and_agree(tokenizer, length, letters):
    rng = random.Random(length)
    for text in (letters * length, "".join(rng.choices(letters, k=length))):
        assert tokenizer.encode(text) == plain_ids(tokenizer, text)


def test_the_heap_skips_pairs_that_were_merged_away():
    rng = random.Random(3)
    texts = ["".join(rng.choices("abc한", k=60)) for _ in range(80)]  # every letter meets every other
    dense = BPETokenizer.train(texts, 600, special_tokens=(END,), pattern=r".+")
    for length in (101, 150, 400):
        text = "".join(rng.choices("abc한", k=length))
        assert dense.encode(text) == plain_ids(dense, text)


def test_a_megabyte_without_a_blank_takes_no_quadratic_time(tokenizer):
    start = time.perf_counter()
    text = "the" * 350_000
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert time.perf_counter() - start < 20  # half a second when alone; a scan would take hours


def test_the_cache_forgets_and_stays_right(tokenizer):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(60_000)]  # more than the cache has slots
    text = " ".join(words)
    ids = tokenizer.encode(text)
    assert tokenizer.encode(text) == ids
    assert [i for word in words[:300] for i in plain_ids(tokenizer, f" {word}")] == tokenizer.encode(
        " " + " ".join(words[:300])
    )


# --- special tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", END, f"{END}{END}한국<|{SEP}of", "a<|b<|endoftext|>", " <|end <| "])
def test_plain_and_compiled_find_the_same_special_tokens(two_specials, text):
    for names in ((), (END,), (SEP, "<|"), tuple(two_specials.special_tokens)):
        ids = plain_ids(two_specials, text, names)
        assert ids == two_specials.encode(text, set(names))
        assert "".join(special_parts(text, frozenset(names))) == text


@given(data=st.data())
def test_plain_decoding_is_compiled_decoding(two_specials, data):
    ids = data.draw(st.lists(st.integers(0, two_specials.vocab_size - 1), max_size=20))
    tokens = [two_specials.decode_bytes([index]) for index in range(two_specials.vocab_size)]
    assert decode_plain(ids, tokens) == two_specials.decode(ids)


def test_special_tokens_are_one_id_and_never_meet_a_merge(tokenizer):
    end = tokenizer.special_tokens[END]
    assert tokenizer.encode(f"the{END}theme{END}{END}") == [
        *tokenizer.encode("the"), end, *tokenizer.encode("theme"), end, end,
    ]  # fmt: skip
    ordinary = tokenizer.encode(f"a{END}", allowed_special=())
    assert end not in ordinary
    assert tokenizer.decode(ordinary) == f"a{END}"
    trained = BPETokenizer.train([f"xy{END}xy{END}xy"] * 9, 300)
    assert trained.merges == [(b"x", b"y")]


def test_allowed_special_is_all_some_or_none(two_specials):
    text = f"a{END}b{SEP}c"
    ids = two_specials.special_tokens
    assert [i for i in two_specials.encode(text) if i in ids.values()] == [ids[END], ids[SEP]]
    assert [i for i in two_specials.encode(text, {SEP}) if i in ids.values()] == [ids[SEP], ids[SEP]]
    assert not set(two_specials.encode(text, set())) & set(ids.values())
    assert two_specials.decode(two_specials.encode(text), skip_special_tokens=True) == "abc"
    for bad in ("none", {"<x>"}, [1], None, 7):
        with pytest.raises(ValueError, match="allowed_special"):
            two_specials.encode("a", bad)


# --- streams ----------------------------------------------------------------------------------------------------


def cut_at_random(text, rng):
    chunks, at = [], 0
    while at < len(text):
        step = rng.choice([1, 1, 2, 3, 7, 30])
        chunks.append(text[at : at + step])
        at += step
    return chunks


@settings(max_examples=200)
@given(
    texts=st.lists(TEXTS | st.sampled_from([END, SEP, "<|endof", "<|", "한국", "'r", "e", " \n"]), max_size=8)
)
def test_a_stream_gives_the_ids_of_the_whole(tokenizer, two_specials, texts):
    whole = "".join(texts)
    chunks = cut_at_random(whole, random.Random(len(whole)))
    for some in (tokenizer, two_specials):
        for allowed in (frozenset(some.special_tokens), frozenset()):
            expected = some.encode(whole, allowed)
            assert list(encode_stream(some, chunks, allowed, chunk=1)) == expected
            assert list(encode_stream(some, chunks, allowed, chunk=8)) == expected
            assert list(some.encode_iterable(chunks, allowed)) == expected


def test_lines_of_a_file_give_the_ids_of_the_file(tokenizer, tmp_path):
    text = "\n".join(SAMPLES[2:8]) * 200 + "\n\n   \n x\n" * 50
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    with path.open(encoding="utf-8", newline="") as lines:
        assert list(tokenizer.encode_iterable(lines)) == tokenizer.encode(text)


def test_a_stream_starts_before_its_end_and_keeps_little(tokenizer):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield "the theory of lines\n"

    ids = tokenizer.encode_iterable(endless())
    first = [next(ids) for _ in range(1000)]
    assert tokenizer.decode(first).startswith("the theory of lines\n")
    assert taken < 10_000
