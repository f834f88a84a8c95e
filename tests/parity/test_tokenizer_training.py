"""Our merges against trainers we did not write: tokenizers' BpeTrainer, and the reference of Stanford's CS336."""

import json

import pytest

from minillm.data import korean_documents, python_docs
from minillm.tokenizer import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer, load_tokenizer
from minillm.tokenizer.bpe_train_fast import learn_merges_fast
from minillm.tokenizer.byte_alphabet import to_bytes
from minillm.tokenizer.word_table import count_words_fast
from tests.tokenizer.samples import SAMPLES

tokenizers = pytest.importorskip("tokenizers", reason="the peer: pip install -e '.[parity]'")
END = "<|endoftext|>"


def theirs(texts, vocab_size, pattern=GPT2_PATTERN, min_frequency=0):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=pattern == GPT2_PATTERN
    )
    if pattern == GPT2_PATTERN:
        tokenizer.pre_tokenizer = byte_level
    else:
        cut = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([cut, byte_level])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def merges_of(tokenizer):
    return [tuple(map(to_bytes, pair)) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def corpus(name, real_data):
    if name == "python":
        return [document.text for document in python_docs()]
    if name == "korean":
        return [document.text for document in korean_documents(300, seed=0)]
    return [real_data("tokenizers/minbpe/taylorswift.txt").read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("name", "vocab_size", "pattern"),
    [
        ("python", 4096, GPT2_PATTERN),
        ("python", 2000, GPT4_PATTERN),
        ("korean", 3000, GPT2_PATTERN),
        ("korean", 1500, GPT4_PATTERN),
        ("taylorswift", 2000, GPT4_PATTERN),
    ],
)
def test_every_merge_is_tokenizers_merge_under_its_tie_rule(name, vocab_size, pattern, real_data):
    texts = corpus(name, real_data)
    expected = merges_of(theirs(texts, vocab_size, pattern))
    assert learn_merges_fast(count_words_fast(texts, pattern), vocab_size - 257, ties="ids") == expected


def test_our_tie_rule_changes_ties_only():
    """Under either rule the k-th merge joins a pair of the same corpus, and most merges are common to both."""
    texts = [document.text for document in python_docs()]
    expected = merges_of(theirs(texts, 1500))
    ours = BPETokenizer.train(texts, 1500).merges
    assert ours[:20] == expected[:20]  # the commonest pairs have no equals
    assert len(set(ours) & set(expected)) > 0.9 * len(expected)


@pytest.mark.parametrize("min_frequency", [1, 2, 5, 50])
def test_min_frequency_stops_where_tokenizers_stops(min_frequency):
    texts = [*SAMPLES, "the cat sat on the mat " * 7, "한국어 한국말 " * 5]
    expected = merges_of(theirs(texts, 5000, min_frequency=min_frequency))
    assert learn_merges_fast(count_words_fast(texts), 5000, min_frequency, ties="ids") == expected


def test_the_vocabulary_has_tokenizers_layout():
    """Where a corpus has no ties the two files are the same, token by token."""
    texts = ["aaaa bbb cc " * 4 + "aaaa"]
    peer = theirs(texts, 257 + 1)
    ours = BPETokenizer.train(texts, 257 + 1)
    assert ours.vocab == peer.get_vocab()
    assert ours.vocab_size == peer.get_vocab_size()


def test_the_reference_of_cs336(real_data):
    text = real_data("tokenizers/cs336_bpe_training/corpus.en").read_text(encoding="utf-8")
    folder = real_data("tokenizers/cs336_bpe_training")
    lines = (folder / "train-bpe-reference-merges.txt").read_text(encoding="utf-8").splitlines()
    expected = [tuple(map(to_bytes, line.split(" "))) for line in lines]
    vocab = json.loads((folder / "train-bpe-reference-vocab.json").read_text(encoding="utf-8"))
    ours = BPETokenizer.train([text], 500, special_tokens=[END])
    assert ours.merges == expected
    assert ours.vocab == vocab


@pytest.mark.parametrize("name", ["tinystories_sample.txt", "german.txt", "address.txt"])
def test_special_tokens_bound_the_words(name, real_data):
    """Training on a text with special tokens is training on the parts between them."""
    text = real_data(f"tokenizers/cs336_bpe_training/{name}").read_text(encoding="utf-8")
    whole = BPETokenizer.train([text], 600, special_tokens=[END])
    parts = BPETokenizer.train(text.split(END), 600, special_tokens=[END])
    assert whole.merges == parts.merges
    assert not any(END[:4].encode() in left + right for left, right in whole.merges)
    expected = merges_of(theirs(text.split(END), 600))
    words = count_words_fast(text.split(END))
    assert learn_merges_fast(words, 600 - 257, ties="ids") == expected


def test_the_example_of_wikipedia():
    """aaabdaaabac, as in the article on byte-pair encoding: three merges leave (aaab)d(aaab)ac."""
    tokenizer = BPETokenizer.train(["aaabdaaabac"], 256 + 3, special_tokens=(), pattern=r".+")
    assert tokenizer.merges == [(b"a", b"a"), (b"aa", b"a"), (b"aaa", b"b")]
    names = [tokenizer.id_to_token(index) for index in tokenizer.encode("aaabdaaabac")]
    assert names == ["aaab", "d", "aaab", "a", "c"]


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN])
def test_files_that_tokenizers_wrote_open_with_equal_ids(tmp_path, pattern):
    texts = [*SAMPLES * 4, *(document.text for document in korean_documents(40, seed=1))]
    peer = theirs(texts, 900, pattern)
    peer.decoder = tokenizers.decoders.ByteLevel()
    peer.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    peer.add_special_tokens(["<|later|>"])
    peer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert ours.vocab == peer.get_vocab()
    assert ours.pattern == pattern
    for text in [*texts, f"a{END}b<|later|>"]:
        assert ours.encode(text) == peer.encode(text).ids
        assert ours.decode(ours.encode(text)) == text
