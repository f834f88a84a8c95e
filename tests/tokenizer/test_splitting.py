"""The compiled splitter against the pattern it stands for, on all of Unicode."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tokenizer.bpe_encode import piece_ends
from minillm.tokenizer.splitting import GPT2_PATTERN, GPT4_PATTERN, cut_at, split, split_plain
from tests.tokenizer.samples import SAMPLES, TEXTS


def fast(text: str) -> list[str]:
    data = text.encode()
    ends = [0, *piece_ends(data).tolist()]
    return [data[a:b].decode() for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello,  world", ["Hello", ",", " ", " world"]),
        ("it's we'll 'r", ["it", "'s", " we", "'ll", " '", "r"]),
        ("a \n\n b", ["a", " \n\n", " b"]),
        ("tail  ", ["tail", "  "]),
        ("한글 123글", ["한글", " 123", "글"]),
        ("\t x", ["\t", " x"]),
    ],
)
def test_the_rule_on_examples(text, pieces):
    assert split(text) == pieces
    assert fast(text) == pieces


@pytest.mark.parametrize("frame", ["a{}b", " {}1", "  {}\n", "'{}", "{0}{0} {0}"])
def test_every_character_of_unicode_is_cut_as_the_pattern_cuts_it(frame):
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    texts = [frame.format(chr(point)) for point in points[:: 1 if frame == "a{}b" else 7]]
    data = "".join(texts).encode()
    limits = np.cumsum([len(text.encode()) for text in texts], dtype=np.int64)
    ends = iter(piece_ends(data, limits).tolist())
    start = 0
    for text in texts:
        for piece in split(text):
            start += len(piece.encode())
            assert next(ends) == start, (hex(ord(text[1])), text)
    assert next(ends, None) is None


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN, r"a*", r"\d", r"x+|(?=b)"])
@given(text=TEXTS)
def test_the_whiteboard_version_cuts_alike(pattern, text):
    assert split_plain(text, pattern) == split(text, pattern)


def test_cutting_at_spans_loses_nothing():
    assert cut_at("abcd", [(1, 2)]) == ["a", "b", "cd"]
    assert cut_at("abcd", []) == ["abcd"]
    assert cut_at("", [(0, 0)]) == []
    assert cut_at("abcd", [(0, 2), (2, 4)]) == ["ab", "cd"]


@given(TEXTS)
def test_compiled_and_plain_agree(text):
    assert fast(text) == split(text)


@given(st.lists(TEXTS, max_size=6))
def test_no_piece_crosses_a_limit(texts):
    data = "".join(texts).encode()
    limits = np.cumsum([len(text.encode()) for text in texts], dtype=np.int64)
    lengths = [len(piece.encode()) for text in texts for piece in split(text)]
    assert piece_ends(data, limits).tolist() == np.cumsum(lengths, dtype=np.int64).tolist()


@given(TEXTS, st.sampled_from([GPT2_PATTERN, GPT4_PATTERN, r"\w+", r"(a)|(b)", r"x*", r"\d"]))
def test_no_pattern_loses_a_character(text, pattern):
    pieces = split(text, pattern)
    assert "".join(pieces) == text
    assert "" not in pieces


def test_what_the_pattern_leaves_out_becomes_a_piece():
    assert split("ab, cd!", r"\w+") == ["ab", ", ", "cd", "!"]
    assert split(SAMPLES[2], r"(\w)(\w)") == split(SAMPLES[2], r"\w\w")


@pytest.mark.parametrize("bad", [None, 3, b"x", ["a"]])
def test_bad_text_is_refused(bad):
    with pytest.raises(ValueError, match="text must be a str"):
        split(bad)


@pytest.mark.parametrize("bad", ["(", "[a", None, 5, "*"])
def test_bad_pattern_is_refused(bad):
    with pytest.raises(ValueError, match="pattern"):
        split("a", bad)
