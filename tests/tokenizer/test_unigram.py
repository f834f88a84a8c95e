"""Unigram: the best spelling and the expected counts against all spellings listed, training's parts against closed
forms, and what is refused. Equality with tokenizers is in tests/parity."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError
from minillm.tokenizer import UnigramTokenizer, load_tokenizer
from minillm.tokenizer.unigram import Unigram, viterbi
from minillm.tokenizer.unigram_train import _expected, digamma, lattices, learn_pieces, seed_pieces
from minillm.tokenizer.unigram_trie import PieceTrie
from tests.helpers import cuts

SCORES = {"a": -1.0, "b": -2.3, "ab": -2.5, "ba": -4.1, "aba": -4.2, "bb": -3.7, "한": -3.1, "abb": -9.0}
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁a", -1.5), *SCORES.items()]


@pytest.fixture(scope="module")
def tokenizer():
    return UnigramTokenizer.from_vocab(PIECES)


def spellings(text, pieces):
    """Every way to spell `text`: lists of pieces, any single character among them."""
    if not text:
        return [[]]
    heads = [text[:n] for n in range(1, len(text) + 1) if n == 1 or text[:n] in pieces]
    return [[head, *rest] for head in heads for rest in spellings(text[len(head) :], pieces)]


@settings(deadline=None)
@given(st.text("ab한x", max_size=8))
def test_the_likeliest_spelling(text):
    def score(pieces):
        return sum(SCORES.get(piece, -19.0) for piece in pieces)

    found = viterbi(text, SCORES, -19.0)
    assert "".join(found) == text
    assert score(found) == pytest.approx(max(map(score, spellings(text, SCORES))))


@settings(deadline=None)
@given(st.lists(st.text("ab한x🚀", min_size=1, max_size=12), max_size=6))
def test_the_compiled_version_spells_alike(words):
    assert PieceTrie(SCORES, -19.0).spell(words) == [viterbi(word, SCORES, -19.0) for word in words]


def test_what_is_remembered_changes_nothing(monkeypatch):
    tokenizer = UnigramTokenizer.from_vocab(PIECES)
    monkeypatch.setattr("minillm.tokenizer.unigram._REMEMBERED", 2)
    for text in ("a ab ba aba", "a b", "bab abb x", "a ab"):
        assert (
            tokenizer.encode(text) == tokenizer.encode_with_offsets(text)[0]
        )  # that one asks the plain version


def test_unknown_characters_and_bytes(tokenizer):
    def named(ids):
        return [tokenizer.id_to_token(index) for index in ids]

    assert named(tokenizer.encode("a  bz글x한")) == ["▁a", "▁", "b", "<unk>", "한"]  # neighbours are one
    assert tokenizer.encode("") == []
    assert tokenizer("a")["input_ids"] == [4, 1]
    assert tokenizer("a", "b")["input_ids"] == [4, 1, 3, 6, 1]
    assert tokenizer.decode([4, 3, 6, 1], skip_special_tokens=True) == "a b"
    assert named(tokenizer.encode("</s>", ())) == ["▁", "<unk>"]  # nobody can end a prompt
    with_bytes = [*PIECES, *((f"<0x{byte:02X}>", -30.0) for byte in range(256))]
    fallback = UnigramTokenizer.from_vocab(with_bytes, byte_fallback=True)
    ids = fallback.encode("a글")
    assert [fallback.id_to_token(index) for index in ids] == ["▁a", "<0xEA>", "<0xB8>", "<0x80>"]
    assert Unigram([("<unk>", 0.0), ("a", -3.0)], 0).unknown_score == -13.0  # the lowest less 10
    with pytest.raises(ValueError, match="has no unknown token"):
        Unigram([("a", -1.0)]).trace("b")


def test_files(tokenizer, tmp_path):
    again = load_tokenizer(tokenizer.save(tmp_path / "tokenizer.json"))
    assert isinstance(again, UnigramTokenizer)
    assert again.to_json() == tokenizer.to_json()
    data, bad = (tmp_path / "tokenizer.json").read_bytes(), tmp_path / "bad.json"
    for length in cuts(data, 200):
        bad.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"bad\.json"):
            load_tokenizer(bad)


@pytest.mark.parametrize(
    ("pieces", "options", "message"),
    [
        ([], {}, "unk_token '<unk>' is not among the 0 pieces"),
        ("ab", {}, "not among"),
        ([], {"unk_token": None}, "has no pieces"),
        ([("a", -1.0), ("a", -2.0)], {"unk_token": None}, "'a' is listed twice"),
        ([("<unk>", 0), ("a", math.nan)], {}, "piece 1 must be"),
        ([("<unk>", 0), ("a", "b")], {}, "piece 1 must be"),
        ([("<unk>", 0), (b"a", 1.0)], {}, "piece 1 must be"),
        ([("<unk>", 0), ("\ud800", 1.0)], {}, "lone surrogate"),
        ([("<unk>", 0)], {"byte_fallback": 1}, "byte_fallback"),
        ([("<unk>", 0)], {"normalizer": {"type": "x"}}, "normalizer x"),
    ],
)
def test_bad_pieces_are_refused(pieces, options, message):
    with pytest.raises(ValueError, match=message):
        UnigramTokenizer.from_vocab(pieces, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "ab"}, "texts must be"),
        ({"texts": []}, "no character"),
        ({"vocab_size": 5}, "vocab_size must be at least 6"),
        ({"unk_token": "<x>"}, "not among the special tokens"),
        ({"max_piece_length": 0}, "max_piece_length"),
    ],
)
def test_what_training_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        UnigramTokenizer.train(**{"texts": ["ab ab"], "vocab_size": 50, **arguments})


# --- training -----------------------------------------------------------------------------------------------------


def test_digamma():
    """Values of the tables of Abramowitz and Stegun, and -gamma."""
    assert digamma(1.0) == pytest.approx(-0.5772156649015329, abs=1e-9)
    assert digamma(2.0) == pytest.approx(0.4227843350984671, abs=1e-9)
    assert digamma(0.5) == pytest.approx(-1.9635100260214235, abs=1e-9)
    assert digamma(1000.0) == pytest.approx(6.907255195648812, abs=1e-12)


def test_seed_pieces():
    """A substring is one if it occurs twice and goes on in two ways, the end of the word being one."""
    seeds = seed_pieces({"hugs": 2, "hug": 1, "pugs": 5})
    assert [piece for piece in seeds if len(piece) == 1] == ["u", "g", "s", "p", "h"]
    assert {piece: score for piece, score in seeds.items() if len(piece) > 1} == {"ug": 6, "hug": 6}
    assert (seeds["u"], seeds["h"]) == (8, 3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("ab한", min_size=1, max_size=7), min_size=1, max_size=3, unique=True))
def test_expected_counts_are_those_of_all_spellings(words):
    names = ["", *SCORES]
    scores = np.array([-np.inf, *SCORES.values()])
    weights = np.arange(1.0, len(words) + 1)
    ids = {name: index for index, name in enumerate(names) if index}
    expected = dict.fromkeys(names, 0.0)
    for weight, word in zip(weights, words):
        ways = [(math.exp(sum(SCORES[p] for p in way)), way) for way in spellings(word, SCORES)]
        whole = sum(chance for chance, _ in ways)
        for chance, way in ways:
            for piece in way:
                expected[piece] += weight * chance / whole
    found = _expected(*lattices(words, ids), weights, scores)
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-9)


def test_training_finds_the_words():
    texts = ["hug pug pun bun hugs"] * 10 + ["hugs hug"] * 20
    tokenizer = UnigramTokenizer.train(iter(texts), 18)
    assert tokenizer.vocab_size <= 18
    assert "▁hug" in tokenizer.vocab
    assert tokenizer.decode(tokenizer.encode("hugs bun pug")) == "hugs bun pug"
    pieces = learn_pieces({"▁hug": 30, "▁hugs": 30, "▁bun": 10}, 40)
    assert [score for _, score in pieces] == sorted((score for _, score in pieces), reverse=True)
    assert {piece for piece, _ in pieces} >= set("▁hugsbn")
