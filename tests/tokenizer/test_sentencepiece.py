"""SentencePiece's model files: small ones written here by the rules of protobuf, damaged in every way; and tables of
normalisations written, read and looked up. The real file and the vectors are in tests/parity."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError
from minillm.tokenizer import BPETokenizer, UnigramTokenizer, load_tokenizer
from minillm.tokenizer.charsmap import Charsmap, Trie, write_charsmap
from minillm.tokenizer.sentencepiece import merges_from_scores, read_message
from tests.helpers import cuts

TABLE = {"ﬁ": "fi", "e\u0301": "é", "e": "e", "\u200b": "", "ｱ": "ア", "\t": " ", "한\u0301\u0301": "x"}


def varint(number):
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def entry(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model_bytes(pieces, kind=1, charsmap=b"", trainer=b"", **types):
    data = b""
    for piece, score in pieces:
        content = entry(1, piece.encode()) + entry(2, score)
        default = {"<unk>": 2, "<s>": 3, "</s>": 3}.get(piece, 6 if piece.startswith("<0x") else 1)
        data += entry(1, content + entry(3, types.get(piece, default)))
    data += entry(2, entry(3, kind) + trainer)
    return data + entry(3, entry(1, b"x") + (entry(2, charsmap) if charsmap else b""))


PIECES = [
    ("<unk>", 0.0),
    ("<s>", 0.0),
    ("</s>", 0.0),
    ("▁", -2.0),
    ("a", -3.0),
    ("b", -4.0),
    ("▁ab", -2.5),
    ("ab", -5.0),
]


def write(path, *args, **options):
    path.write_bytes(model_bytes(*args, **options))
    return path


def test_messages():
    """The two examples of protobuf's own guide: field 1 with 150, field 2 with "testing"."""
    assert read_message(b"\x08\x96\x01") == {1: [150]}
    assert read_message(b"\x12\x07testing") == {2: [b"testing"]}
    for data in (b"\x08", b"\x08\x96", b"\x12\x07test", b"\x0d\0\0\0", b"\x0b", b"\xff" * 12):
        with pytest.raises(ValueError, match="cut short or damaged"):
            read_message(data)


def test_unigram(tmp_path):
    tokenizer = load_tokenizer(
        write(tmp_path / "x.model", PIECES, charsmap=write_charsmap({"\t": " ", "Ａ": "a"}))
    )
    assert isinstance(tokenizer, UnigramTokenizer)

    def named(text):
        return [tokenizer.id_to_token(index) for index in tokenizer.encode(text, ())]

    assert named("ab \t Ａz") == ["▁ab", "▁", "a", "<unk>"]
    assert named("  ") == []
    assert named("</s>") == ["▁", "<unk>"]
    assert tokenizer.encode("ab</s>") == [6, 2]
    assert tokenizer.decode(tokenizer.encode("ab a")) == "ab a"


def test_bpe(tmp_path):
    letters = [("▁", -9.0), ("a", -9.1), ("b", -9.2), ("▁a", -1.0), ("ab", -2.0), ("▁ab", -3.0)]
    bytes_ = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    path = write(tmp_path / "x.model", PIECES[:3] + bytes_ + letters, kind=2, trainer=entry(35, 1))
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, BPETokenizer)
    assert [tokenizer.id_to_token(i) for i in tokenizer.encode("ab bab")] == ["▁ab", "▁", "b", "ab"]
    assert [tokenizer.id_to_token(i) for i in tokenizer.encode("é")] == ["▁", "<0xC3>", "<0xA9>"]
    assert merges_from_scores(["a", "b", "ab", "abb", "bb"], [0, 0, -2, -3, -1], [1] * 5) == [
        ("b", "b"), ("a", "b"), ("a", "bb"), ("ab", "b"),
    ]  # fmt: skip


def test_a_file_cut_or_flipped_is_refused_by_name_or_whole(tmp_path):
    data = model_bytes(PIECES, charsmap=write_charsmap(TABLE))
    path = tmp_path / "bad.model"
    refusals = []

    def opens(content):
        path.write_bytes(content)
        try:
            load_tokenizer(path).encode("ﬁ ab\te\u0301 한글")
        except BadFileError as error:
            refusals.append(str(error))
            return False
        return True

    # a protobuf file cut between two fields looks whole; then it is one that lacks what came behind
    assert sum(opens(data[:length]) for length in cuts(data, 400)) < 12
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        opens(bytes(damaged))
    assert len(refusals) > 100
    assert all("bad.model" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": 3}, "model_type 3 is not supported"),
        ({"trainer": entry(24, 1)}, "treat_whitespace_as_suffix is not supported"),
        ({"a": 4}, "user-defined piece 'a' is not supported"),
        ({"a": 2}, "one piece must be the unknown one, 2 are"),
        ({"charsmap": b"\1\0\0\0abc"}, "table of normalisations"),
    ],
)
def test_what_is_not_built_is_named(tmp_path, change, message):
    with pytest.raises(BadFileError, match=message):
        load_tokenizer(write(tmp_path / "x.model", PIECES, **change))


# --- tables of normalisations -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    table=st.dictionaries(
        st.text("aeéﬁ한\u0301x", min_size=1, max_size=4), st.text("ab한", max_size=3), max_size=12
    ),
    text=st.text("aeéﬁ한\u0301x b", max_size=12),
)
def test_a_written_table_is_read_and_the_longest_key_wins(table, text):
    charsmap = Charsmap(Trie(write_charsmap(table)))
    for key, new in table.items():
        assert charsmap.trie.matches(key)[-1] == (len(key), new)
    expected, at = "", 0
    while at < len(text):
        key = max((key for key in table if text.startswith(key, at)), key=len, default=None)
        expected += text[at] if key is None else table[key]
        at += len(key or "x")
    assert charsmap(text) == expected
    assert len(charsmap.origins(text)) == len(expected)


def test_where_the_characters_of_a_table_come_from():
    charsmap = Charsmap(Trie(write_charsmap(TABLE)))
    assert charsmap("aﬁe\u0301\u200bb") == "afiéb"
    assert charsmap.origins("aﬁe\u0301\u200bb") == [0, 1, 1, 2, 5]
    assert charsmap.drops_front("\u200ba")
    assert not charsmap.drops_front("a\u200b")


@pytest.mark.parametrize("table", [{"": "a"}, {"a\0": "b"}, {"a": "\0"}, {"\ud800": "a"}, {"a": 1}])
def test_tables_that_cannot_be_written(table):
    with pytest.raises(ValueError, match=r"cannot be written|surrogate|must be a str"):
        write_charsmap(table)


def test_a_damaged_table_is_refused_or_still_a_table():
    data = write_charsmap(TABLE)
    for length in cuts(data[:-1], 200):
        with pytest.raises(ValueError, match="cut short or damaged"):
            Trie(data[:length])
    rng = random.Random(1)
    for _ in range(400):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            charsmap = Charsmap(Trie(bytes(damaged)))
        except ValueError:
            continue
        charsmap("aﬁe\u0301\u200bb\t한\u0301")
