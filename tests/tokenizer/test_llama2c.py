"""llama2.c's tokenizer file: a small one written by hand, and the file of stories260K where the real data is."""

import struct

import pytest
from hypothesis import given

from minillm._files import BadFileError
from minillm.tokenizer import Llama2cTokenizer, load_tokenizer
from tests.helpers import cuts
from tests.tokenizer.samples import TEXTS

PIECES = [b" t", b"he", b" the", b"en", b"\xed\x95\x9c", b" ", b"t", b"h", b"e", b"n", b"a"]


def file_bytes(pieces=PIECES, size=512, longest=None):
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256)), *pieces]
    tokens += [b"[%d]" % number for number in range(size - len(tokens))]
    scores = [0.0] * 259 + [-float(number) for number in range(size - 259)]
    longest = longest or max(map(len, tokens))
    return struct.pack("<i", longest) + b"".join(
        struct.pack("<fi", score, len(token)) + token for score, token in zip(scores, tokens)
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("llama2c") / "tok.bin"
    path.write_bytes(file_bytes())
    return load_tokenizer(path)


def test_the_best_score_merges_first(tokenizer):
    def names(text):
        return [tokenizer.id_to_token(index) for index in tokenizer.encode(text)]

    assert names("the") == [" the"]  # " t" has the best score, then "he", then both
    assert names("then") == [" the", "n"]
    assert names("ten") == [" t", "en"]
    assert names("한a") == [" ", "한", "a"]
    assert names("글") == [" ", "<0xEA>", "<0xB8>", "<0x80>"]
    assert names("") == []


def test_special_ids(tokenizer):
    assert tokenizer.encode("a", bos=True, eos=True) == [1, *tokenizer.encode("a"), 2]
    assert tokenizer.encode("", bos=True) == [1]
    assert tokenizer.encode("<s>") != [1]
    assert tokenizer.decode([1, *tokenizer.encode("the"), 2]) == "<s>the</s>"
    assert tokenizer.decode([1, *tokenizer.encode("the"), 2], skip_special_tokens=True) == "the"
    assert (tokenizer.token_to_id("</s>"), tokenizer.token_to_id("<0x0A>"), tokenizer.token_to_id("?")) == (
        2,
        13,
        None,
    )
    assert tokenizer(["the", "한"], padding=True)["attention_mask"] == [[1, 0], [1, 1]]


@given(text=TEXTS)
def test_nothing_is_lost(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == (b" " + text.encode() if text else b"")
    assert tokenizer.encode_batch([text, "the"]) == [ids, tokenizer.encode("the")]


def test_bytes_of_new_tokens_go_on_from_what_was_there(tokenizer):
    """`decode` drops the first blank of a text; in `decode_bytes` a continuation keeps it, so " the" is found."""
    prompt, new = tokenizer.encode("a", bos=True), tokenizer.encode("the")
    assert tokenizer.decode(new) == "the"
    assert tokenizer.decode_bytes(new) == b" the"
    assert tokenizer.decode_bytes(prompt + new) == tokenizer.decode_bytes(prompt) + b" the"
    assert tokenizer.decode_bytes([1, *new, 2], skip_special_tokens=True) == b" the"


@pytest.mark.parametrize("bad", [None, 3, b"x", ["a"], "\ud800"])
def test_bad_text_is_refused(tokenizer, bad):
    with pytest.raises(ValueError, match="text"):
        tokenizer.encode(bad)


@pytest.mark.parametrize("bad", [[512], [-1], [1.0], "1", None])
def test_bad_ids_are_refused(tokenizer, bad):
    with pytest.raises(ValueError, match="id"):
        tokenizer.decode(bad)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    data = file_bytes()
    path = tmp_path / "cut.bin"
    ends = [4]
    while ends[-1] < len(data):  # also between two tokens, where every record is whole
        ends.append(ends[-1] + 8 + struct.unpack_from("<i", data, ends[-1] + 4)[0])
    for length in {*cuts(data, 400), *ends[:-1]}:
        path.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"cut\.bin"):
            load_tokenizer(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file_bytes(longest=99), "promises a token of 99 bytes"),
        (file_bytes(size=300), "300 tokens, expected 512 or 32000"),
        (file_bytes()[:4] + struct.pack("<fi", 0.0, -1) + file_bytes()[12:], "damaged at byte 4"),
        (file_bytes().replace(b"<0x41>", b"<0x42>"), "must be the byte <0x41>"),
        (b"", "cut short at byte 4"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, data, message):
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    with pytest.raises(BadFileError, match=message):
        load_tokenizer(path)


def test_another_size_can_be_named(tmp_path):
    path = tmp_path / "tok.bin"
    path.write_bytes(file_bytes(size=300))
    assert Llama2cTokenizer.from_file(path, vocab_size=300).vocab_size == 300
    with pytest.raises(BadFileError, match="300 tokens, expected 301"):
        Llama2cTokenizer.from_file(path, vocab_size=301)
    with pytest.raises(ValueError, match="vocab_size"):
        Llama2cTokenizer.from_file(path, vocab_size=3)
    with pytest.raises(ValueError, match="cannot be saved"):
        Llama2cTokenizer.from_file(path, vocab_size=300).save(tmp_path / "x")
