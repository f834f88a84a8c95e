"""WordPiece: the examples of BERT's own repository, words worked by hand, a trainer that counts everything anew, and
what is refused. Equality with tokenizers and with the given vectors is in tests/parity."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError
from minillm.tokenizer import WordPieceTokenizer, load_tokenizer
from minillm.tokenizer.wordpiece import WordPiece, longest_match, read_vocab
from minillm.tokenizer.wordpiece_train import first_characters, learn_wordpieces
from tests.helpers import cuts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [
    *SPECIAL,
    "want",
    "##want",
    "##ed",
    "wa",
    "un",
    "runn",
    "##ing",
    ",",
    "low",
    "lowest",
    "한국",
    "##어",
    "a",
]
VOCAB = {token: index for index, token in enumerate(TOKENS)}


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer.from_vocab(VOCAB)


@pytest.mark.parametrize(
    ("word", "tokens"),  # the first three stand in the tests of google-research/bert
    [
        ("unwanted", ["un", "##want", "##ed"]),
        ("running", ["runn", "##ing"]),
        ("unwantedX", None),
        ("lowest", ["lowest"]),
        ("한국어", ["한국", "##어"]),
        ("", []),
    ],
)
def test_the_longest_token_wins(word, tokens):
    assert longest_match(word, VOCAB) == tokens


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ab", "xaby"), "vocab must hold tokens"),  # a text holds "ab", but it is no list of tokens
        (("ab", None), "vocab must hold tokens"),
        ((b"ab", {"ab"}), "word must be a str"),
        (("ab", {"ab"}, None), "prefix must be a str"),
    ],
)
def test_what_the_rule_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        longest_match(*arguments)


def test_long_words_are_unknown():
    model = WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, {"max_input_chars_per_word": 100})
    assert model.encode_piece("a" * 100) == [1] + [2] * 99
    assert model.encode_piece("a" * 101) == [0]
    assert WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, {"max_input_chars_per_word": 2}).encode_piece("aaa") == [
        0
    ]


@settings(deadline=None)
@given(st.text("abn##", max_size=12))
def test_the_model_is_the_rule(word):
    vocab = {
        t: i for i, t in enumerate(["[UNK]", "a", "ab", "##b", "##bn", "##a", "ban", "##nab", "#", "###"])
    }
    model = WordPiece(vocab)
    tokens = longest_match(word, vocab)
    assert model.encode_piece(word) == ([0] if tokens is None else [vocab[token] for token in tokens])
    assert [index for index, _, _ in model.trace(word)] == model.encode_piece(word)


def test_calling_adds_the_special_tokens(tokenizer):
    def named(ids):
        return [tokenizer.id_to_token(index) for index in ids]

    assert named(tokenizer.encode("UNwantéd, running")) == ["un", "##want", "##ed", ",", "runn", "##ing"]
    batch = tokenizer("low", "lowest a")
    assert named(batch["input_ids"]) == ["[CLS]", "low", "[SEP]", "lowest", "a", "[SEP]"]
    assert batch["token_type_ids"] == [0, 0, 0, 1, 1, 1]
    assert tokenizer.decode(batch["input_ids"], skip_special_tokens=True) == "low lowest a"
    assert named(tokenizer.encode("[CLS] low", allowed_special=())) == ["[UNK]", "[UNK]", "[UNK]", "low"]
    assert tokenizer.pad_token_id == 0


def test_options_of_the_normalizer():
    cased = WordPieceTokenizer.from_vocab({**VOCAB, "A": 18, "e": 19, "é": 20}, lowercase=False)
    assert cased.encode("A é a") == [18, 20, 17]
    lower = WordPieceTokenizer.from_vocab({**VOCAB, "A": 18, "e": 19, "é": 20}, strip_accents=False)
    assert lower.encode("A É a") == [17, 20, 17]
    stripped = WordPieceTokenizer.from_vocab(
        {**VOCAB, "A": 18, "e": 19, "é": 20}, lowercase=False, strip_accents=True
    )
    assert stripped.encode("A é") == [18, 19]


def test_what_is_remembered_changes_nothing(tokenizer, monkeypatch):
    fresh = WordPieceTokenizer.from_vocab(VOCAB)
    texts = ["low a low", "lów\u200b want\u3000a", "x" * 40 + " low"] * 3
    monkeypatch.setattr("minillm.tokenizer.wordpiece._REMEMBERED", 2)
    for text in texts:
        normal = tokenizer.normalizer(text)
        assert fresh.encode(text) == tokenizer.model.encode(normal, tokenizer.pre_tokenizer)


def test_files(tmp_path, tokenizer):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    assert read_vocab(path) == VOCAB
    assert WordPieceTokenizer.from_vocab(path).vocab == VOCAB
    assert load_tokenizer(tmp_path).encode("LOW") == [VOCAB["low"]]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    assert load_tokenizer(tmp_path).encode("LOW") == [VOCAB["[UNK]"]]
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_vocab(path) == VOCAB
    again = load_tokenizer(tokenizer.save(tmp_path / "saved"))
    assert isinstance(again, WordPieceTokenizer)
    assert again.to_json() == tokenizer.to_json()


def test_a_saved_file_cut_anywhere_is_refused_by_name(tokenizer, tmp_path):
    data = tokenizer.save(tmp_path / "tokenizer.json").read_bytes()
    bad = tmp_path / "bad.json"
    for length in cuts(data, 200):
        bad.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"bad\.json"):
            load_tokenizer(bad)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'\\[CLS\\]' is not in the vocabulary"),
        (b"[PAD]\n[UNK]\n[CLS]\n", "'\\[SEP\\]' is not in the vocabulary"),
        (b"[UNK]\n[CLS]\n[SEP]\na\na\n", "line 5 repeats line 4"),
        (b"[UNK]\n[CLS]\n\n[SEP]\n", "line 3 is empty"),
        (b"[UNK]\n[CLS]\n[SEP]\n\xff\n", "no UTF-8 at byte 18"),
    ],
)
def test_bad_vocabularies_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=message) as error:
        WordPieceTokenizer.from_vocab(path)
    assert "vocab.txt" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "ab"}, "texts must be"),
        ({"texts": ["a", 1]}, "text 1 must be a str"),
        ({"texts": ["ab", "ab"], "vocab_size": 7}, "vocab_size must be at least 8"),
        ({"vocab_size": 2.5}, "vocab_size"),
        ({"special_tokens": ["[UNK]", "[CLS]"]}, "'\\[SEP\\]'"),
        ({"special_tokens": ["[CLS]", "[SEP]"]}, "'\\[UNK\\]'"),
        ({"limit_alphabet": 0}, "limit_alphabet"),
        ({"min_frequency": -1}, "min_frequency"),
        ({"lowercase": 1}, "lowercase"),
    ],
)
def test_what_training_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.train(**{"texts": ["ab ab"], "vocab_size": 50, **arguments})


# --- training -----------------------------------------------------------------------------------------------------


def learn_anew(words, vocab_size, first, min_frequency):
    """The same vocabulary by counting every pair of every word before each merge."""
    alphabet = sorted(set("".join(words)))
    names = [*first, *alphabet, *sorted({"##" + c for word in words for c in word[1:]})]
    rows = {word: ["##" * (i > 0) + c for i, c in enumerate(word)] for word in words}
    while len(names) < vocab_size:
        counts = Counter()
        for word, row in rows.items():
            for pair in pairwise(row):
                counts[pair] += words[word]
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], [-names.index(part) for part in pair]))
        if counts[best] < min_frequency:
            break
        token = best[0] + best[1].removeprefix("##")
        if token not in names:
            names.append(token)
        for word, row in rows.items():
            joined = []
            for part in row:
                if joined and (joined[-1], part) == best:
                    joined[-1] = token
                else:
                    joined.append(part)
            rows[word] = joined
    return names


@settings(deadline=None, max_examples=60)
@given(
    words=st.dictionaries(st.text("abc한", min_size=1, max_size=7), st.integers(1, 5), max_size=8),
    size=st.integers(0, 40),
    floor=st.integers(1, 3),
)
def test_keeping_the_counts_gives_the_vocabulary_of_counting_anew(words, size, floor):
    assert learn_wordpieces(words, size, SPECIAL, floor) == learn_anew(words, size, SPECIAL, floor)


def test_the_alphabet_can_be_limited():
    words = {"aab": 5, "ac": 1, "d": 2}
    assert first_characters(words) == ["a", "b", "c", "d"]
    assert first_characters(words, 2) == ["a", "b"]
    names = learn_wordpieces(words, 100, ["[UNK]"], 2, limit_alphabet=2)
    assert names == ["[UNK]", "a", "b", "##a", "##b", "aa", "aab"]


def test_training_reads_once_and_cuts_at_special_tokens():
    texts = (text for text in ["Hug[SEP]hug hugs", "HÚG pug hugs pug"] * 3)
    tokenizer = WordPieceTokenizer.train(texts, 40)
    assert next(texts, None) is None
    assert list(tokenizer.vocab)[:5] == SPECIAL
    assert {"hug", "hugs", "pug"} <= tokenizer.vocab.keys()
    assert tokenizer.token_to_id("[") is None
    assert tokenizer.decode(tokenizer.encode("Hugs pug")) == "hugs pug"


def test_names_that_are_no_tokens_are_refused(tokenizer):
    for call in (
        lambda: tokenizer.convert_ids_to_tokens([10**6]),
        lambda: tokenizer.convert_ids_to_tokens("5"),
        lambda: tokenizer.convert_ids_to_tokens([1.5]),
        lambda: tokenizer.convert_ids_to_tokens([1], skip_special_tokens=1),
        lambda: tokenizer.convert_tokens_to_ids(5),
        lambda: tokenizer.convert_tokens_to_ids(["[CLS]", 5]),
        lambda: tokenizer.tokenize(None),
    ):
        with pytest.raises(ValueError, match=r"must be|out of range"):
            call()
    assert tokenizer.convert_ids_to_tokens(torch.tensor([0, 1])) == tokenizer.convert_ids_to_tokens([0, 1])
