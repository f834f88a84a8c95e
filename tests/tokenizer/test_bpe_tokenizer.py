"""The tokenizer as its user meets it: layout of ids, the vocabulary, and what it refuses."""

import numpy as np
import pytest
import torch

from minillm.tokenizer import GPT4_PATTERN, BPETokenizer
from minillm.tokenizer.byte_alphabet import ALPHABET, BYTE_TO_CHARACTER, to_bytes, to_characters
from tests.tokenizer.samples import KOREAN, SAMPLES

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train([*SAMPLES, KOREAN] * 3, 400)


def test_the_byte_alphabet_is_gpt2s():
    # Examples from GPT-2's vocab.json: blank, line end, delete, soft hyphen, and the bytes of 한.
    assert [BYTE_TO_CHARACTER[byte] for byte in (32, 10, 127, 173, 33, 255)] == ["Ġ", "Ċ", "ġ", "Ń", "!", "ÿ"]
    assert to_characters("한".encode()) == "íķľ"
    assert to_bytes("Ġthe") == b" the"
    assert sorted(ALPHABET) == list(range(256))
    with pytest.raises(ValueError, match="stands for no byte"):
        to_bytes("a b")


def test_ids_are_special_tokens_then_bytes_then_merges(tokenizer):
    assert tokenizer.special_tokens == {END: 0}
    assert [tokenizer.id_to_token(index) for index in (0, 1, 2, 189)] == [END, "!", '"', "Ā"]
    assert tokenizer.decode_bytes(range(1, 257)) == ALPHABET
    left, right = tokenizer.merges[0]
    assert tokenizer.decode_bytes([257]) == left + right
    assert tokenizer.vocab_size == 400 == len(tokenizer.vocab)
    for token, index in tokenizer.vocab.items():
        assert tokenizer.token_to_id(token) == index
        assert tokenizer.id_to_token(index) == token
    assert tokenizer.token_to_id("nothing like it") is None
    assert "400" in repr(tokenizer)


def test_training_reads_a_generator_once_and_gives_the_same_again(tokenizer):
    again = BPETokenizer.train((text for text in [*SAMPLES, KOREAN] * 3), 400)
    assert again.merges == tokenizer.merges
    assert again.vocab == tokenizer.vocab


def test_a_small_or_empty_corpus_gives_a_small_vocabulary():
    for texts, size in (([], 257), ([""], 257), (["a"], 257), (["ab"], 258), (["ab ab"], 259)):
        tokenizer = BPETokenizer.train(texts, 1000)
        assert tokenizer.vocab_size == size
        assert tokenizer.decode(tokenizer.encode(KOREAN)) == KOREAN
    assert BPETokenizer.train(["abc"], 256, special_tokens=()).vocab_size == 256


def test_min_frequency_stops_early():
    assert BPETokenizer.train(["ab ab cd"], 999, min_frequency=2).merges == [(b"a", b"b")]
    assert len(BPETokenizer.train(["ab ab cd"], 999).merges) == 4  # ab, cd and both with the blank


def test_a_pattern_decides_what_may_merge():
    digits = BPETokenizer.train(["12345678 " * 5], 300, pattern=GPT4_PATTERN)
    assert max(len(token) for token in map(to_bytes, list(digits.vocab)[1:])) <= 3
    whole = BPETokenizer.train(["12345678 " * 5], 300)
    assert whole.encode("12345678") != digits.encode("12345678")


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, torch.tensor, iter, lambda ids: (np.int64(i) for i in ids)]
)
def test_decode_takes_any_sequence_of_integers(tokenizer, kind):
    ids = tokenizer.encode(KOREAN)
    assert tokenizer.decode(kind(ids)) == KOREAN


def test_a_character_cut_in_two_decodes_to_the_replacement_character():
    tokenizer = BPETokenizer.train([], 257)
    ids = tokenizer.encode("한")
    assert tokenizer.decode(ids[:2]) == "\ufffd"
    assert tokenizer.decode_bytes(ids[:2]) == "한".encode()[:2]


@pytest.mark.parametrize("bad", [None, 3, 3.5, b"ab", ["a"], {"a": 1}, np.zeros(2)])
def test_encode_refuses_what_is_no_text(tokenizer, bad):
    with pytest.raises(ValueError, match="text must be a str"):
        tokenizer.encode(bad)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused_by_name(tokenizer, text):
    for call in (
        tokenizer.encode,
        lambda text: tokenizer.encode_batch(["fine", text]),
        lambda text: list(tokenizer.encode_iterable([text])),
        lambda text: BPETokenizer.train([text], 300),
        tokenizer,
    ):
        with pytest.raises(ValueError, match="lone surrogate U\\+D"):
            call(text)


@pytest.mark.parametrize("bad", ["a text", b"bytes", 5, None, [1], ["a", None], [["a"]]])
def test_texts_must_be_an_iterable_of_str(tokenizer, bad):
    for call in (
        tokenizer.encode_batch,
        lambda texts: list(tokenizer.encode_iterable(texts)),
        lambda texts: BPETokenizer.train(texts, 300),
    ):
        with pytest.raises(ValueError, match=r"must be (an iterable of )?(a )?str"):
            call(bad)


@pytest.mark.parametrize(
    "bad", [[-1], [400], [1.0], [True], ["1"], "12", 5.0, None, [[1, 2]], np.array([0.5]), [1 << 70]]
)
def test_bad_ids_are_refused(tokenizer, bad):
    for call in (tokenizer.decode, tokenizer.decode_bytes):
        with pytest.raises(ValueError, match=r"ids?\b"):
            call(bad)


@pytest.mark.parametrize("bad", [None, "a", [1], 3])
def test_encode_bytes_refuses_what_is_no_bytes(tokenizer, bad):
    with pytest.raises(ValueError, match="data must be bytes"):
        tokenizer.encode_bytes(bad)


@pytest.mark.parametrize("bad", [-1, 400, 1.0, None, "the", True])
def test_id_to_token_refuses(tokenizer, bad):
    with pytest.raises(ValueError, match="id must be"):
        tokenizer.id_to_token(bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256}, "at least 257"),
        ({"vocab_size": -5}, "at least 257"),
        ({"vocab_size": 300.0}, "vocab_size must be an integer"),
        ({"vocab_size": None}, "vocab_size must be an integer"),
        ({"vocab_size": 300, "min_frequency": -1}, "min_frequency"),
        ({"vocab_size": 300, "min_frequency": "2"}, "min_frequency"),
        ({"vocab_size": 300, "special_tokens": END}, "special_tokens must be a list"),
        ({"vocab_size": 300, "special_tokens": None}, "special_tokens must be a list"),
        ({"vocab_size": 300, "special_tokens": [""]}, "non-empty"),
        ({"vocab_size": 300, "special_tokens": [3]}, "non-empty"),
        ({"vocab_size": 300, "special_tokens": [END, END]}, "differ"),
        ({"vocab_size": 300, "special_tokens": ["\ud800"]}, "lone surrogate"),
        ({"vocab_size": 300, "special_tokens": ["a"]}, "also an ordinary token"),
        ({"vocab_size": 300, "pattern": "("}, "regular expression"),
        ({"vocab_size": 300, "pattern": None}, "pattern must be a str"),
    ],
)
def test_training_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        BPETokenizer.train(["some text"], **options)


@pytest.mark.parametrize(
    ("tokens", "merges", "message"),
    [
        ([bytes([byte]) for byte in range(255)], [], "lacks 1 of the 256 bytes .first: 0xff"),
        ([bytes([byte]) for byte in range(256)] + [b"a"], [], "two ids"),
        ([bytes([byte]) for byte in range(256)], [(b"a", b"b")], "needs a token"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(tokens, merges, message):
    with pytest.raises(ValueError, match=message):
        BPETokenizer(tokens, merges, {})
