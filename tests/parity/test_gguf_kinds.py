"""Vocabularies of the kinds llama, t5 and bert in GGUF files: llama.cpp's own files and ids, files that the gguf
package wrote, ids of the tokenizers they came from on hostile strings, and ours written and read again."""

import json

import gguf
import numpy as np
import pytest
import tokenizers

from minillm.data.gguf import read_gguf, write_gguf
from minillm.tokenizer import UnigramTokenizer, WordPieceTokenizer, load_tokenizer
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.gguf import gguf_vocabulary, tokenizer_from
from minillm.tokenizer.sentencepiece import read_model
from minillm.tokenizer.wordpiece import WordPiece
from tests.helpers import soak_count
from tests.tokenizer.hostile import hostile

HOSTILE = [hostile(seed) for seed in range(soak_count(2000))]


def vectors(real_data, name):
    lines = (
        (real_data("tokenizers/vectors") / f"{name}.shared.jsonl").read_text(encoding="utf-8").splitlines()
    )
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("file", ["phi-3", "bert-bge"])
def test_ids_of_llama_cpps_files(real_data, file):
    ours = load_tokenizer(real_data("tokenizers/gguf") / f"ggml-vocab-{file}.gguf")
    source, allowed = {"phi-3": ("llama2_spm", ()), "bert-bge": ("bert-base-uncased", "all")}[file]
    for name in (source, f"llamacpp_{file}"):
        rows = vectors(real_data, name)
        assert len(rows) > 30
        for row in rows:
            assert ours.encode(row["text"], allowed_special=allowed) == row["ids"], row["text"]


def package_file(path, model, metadata, tokens, scores=None, kinds=None):
    """A file as llama.cpp's converter makes it, by the gguf package."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    if scores is not None:
        writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    for name, value in metadata.items():
        if name == "cls_token_id":  # which the package has no method for
            writer.add_uint32("tokenizer.ggml.cls_token_id", value)
        else:
            getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_a_unigram_file_of_the_gguf_package(real_data, tmp_path):
    source = real_data("tokenizers/sentencepiece_test") / "test_model.model"
    model, theirs = read_model(source), load_tokenizer(source)
    metadata = {
        "precompiled_charsmap": model.charsmap, "add_space_prefix": model.dummy_prefix, "bos_token_id": 1,
        "remove_extra_whitespaces": model.strip_blanks, "eos_token_id": 2, "unk_token_id": 0, "add_eos_token": True,
    }  # fmt: skip
    pads = 5  # the converter fills up to the rows of the model
    tokens = [*model.pieces, *(f"[PAD{i}]" for i in range(pads))]
    path = package_file(
        tmp_path / "x.gguf",
        "t5",
        metadata,
        tokens,
        [*model.scores, *[-10000.0] * pads],
        [*model.types, *[5] * pads],
    )
    ours = load_tokenizer(path)
    for text in HOSTILE:
        assert ours.encode(text, allowed_special=()) == theirs.encode(text, allowed_special=()), ascii(text)
    for row in vectors(real_data, "sentencepiece_test"):
        assert ours.encode(row["text"], allowed_special=()) == row["ids"]
    assert ours("a")["input_ids"] == [*theirs.encode("a"), 2]
    assert ours.roles == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    assert ours.decode(ours.encode("한국어 text")) == theirs.decode(theirs.encode("한국어 text"))


def test_a_wordpiece_file_of_the_gguf_package(real_data, tmp_path):
    source = real_data("tokenizers/bert-base-uncased")
    lines = (source / "vocab.txt").read_text(encoding="utf-8").splitlines()
    kinds = [3 if line in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") else 1 for line in lines]
    marked = [  # as the converter marks them since 2025: all but control tokens
        line if kind == 3 else line[2:] if line.startswith("##") else "▁" + line
        for line, kind in zip(lines, kinds)
    ]
    ids = {"unk": 100, "sep": 102, "cls": 101, "mask": 103, "pad": 0}
    path = package_file(
        tmp_path / "x.gguf", "bert", {f"{name}_token_id": i for name, i in ids.items()}, marked, None, kinds
    )
    ours, theirs = (
        load_tokenizer(path),
        tokenizers.BertWordPieceTokenizer(str(source / "vocab.txt"), lowercase=True),
    )
    for text in HOSTILE:
        assert ours(text)["input_ids"] == theirs.encode(text).ids, ascii(text)
    pair = theirs.encode("Ein Satz", "und noch einer")
    assert (ours("Ein Satz", "und noch einer")["input_ids"], ours("Ein Satz", "und noch einer")["token_type_ids"]) == (
        pair.ids, pair.type_ids,
    )  # fmt: skip
    assert ours.roles["cls_token"] == "[CLS]"


def test_a_llama_file_of_the_gguf_package(real_data, tmp_path):
    """Tokens of a user are found in a text; control tokens only where they are allowed; </s> goes behind on demand."""
    old = read_gguf(real_data("tokenizers/gguf") / "ggml-vocab-phi-3.gguf").metadata
    tokens, scores = old["tokenizer.ggml.tokens"][:32000], old["tokenizer.ggml.scores"][:32000]
    kinds = old["tokenizer.ggml.token_type"][:32000].copy()
    kinds[0], kinds[2] = 2, 3
    metadata = {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unk_token_id": 0,
        "add_bos_token": True,
        "add_eos_token": True,
    }
    path = package_file(
        tmp_path / "x.gguf",
        "llama",
        metadata,
        [*tokens, "<user>"],
        [*scores.tolist(), 0.0],
        [*kinds.tolist(), 4],
    )
    ours = load_tokenizer(path)
    for row in vectors(real_data, "llama2_spm"):
        assert ours.encode(row["text"], allowed_special=()) == row["ids"]
    assert ours("a")["input_ids"] == [1, *ours.encode("a"), 2]
    assert ours.encode("a<user></s>", allowed_special=())[1] == 32000
    assert 2 not in ours.encode("a</s>", allowed_special=())
    assert 2 in ours.encode("a</s>")
    assert ours.decode(ours.encode(" 한글  a\n")) == " 한글  a\n"
    unprefixed = tokenizer_from(read_gguf(path).metadata | {"tokenizer.ggml.add_space_prefix": False})
    assert unprefixed.id_to_token(unprefixed.encode("the")[0]) == "the"


def written(tokenizer, path, rows=0):
    metadata = gguf_vocabulary(tokenizer, tokenizer.vocab_size + rows)
    return load_tokenizer(write_gguf(path, metadata, {}))


def test_each_kind_is_written_and_read_again(real_data, tmp_path):
    sources = [
        *sorted(real_data("tokenizers/gguf").glob("*.gguf")),
        real_data("tokenizers/bert-base-uncased"), real_data("tokenizers/sentencepiece_test") / "test_model.model",
    ]  # fmt: skip
    assert len(sources) == 5  # phi-3, bert-bge, gpt-2, BERT's own, SentencePiece's own
    for source in sources:
        theirs = load_tokenizer(source)
        ours = written(theirs, tmp_path / "x.gguf", rows=3)
        assert ours.vocab_size == theirs.vocab_size + 3
        assert list(ours.vocab)[: theirs.vocab_size] == list(theirs.vocab)
        for text in HOSTILE[:500]:
            assert ours(text)["input_ids"] == theirs(text)["input_ids"], (source, ascii(text))
        assert ours.chat_template == theirs.chat_template
        again = gguf_vocabulary(written(ours, tmp_path / "y.gguf"), ours.vocab_size)
        kept = gguf_vocabulary(ours, ours.vocab_size)
        assert again.keys() == kept.keys()
        assert all(np.array_equal(again[name], kept[name]) for name in kept)


def test_named_templates_go_both_ways(tmp_path):
    tokenizer = load_tokenizer_with({"default": "a", "tool_use": "b"})
    ours = written(tokenizer, tmp_path / "x.gguf")
    assert ours.chat_template == {"default": "a", "tool_use": "b"}
    assert read_gguf(tmp_path / "x.gguf").metadata["tokenizer.chat_templates"] == ["tool_use"]
    theirs = gguf.GGUFReader(tmp_path / "x.gguf")
    assert theirs.get_field("tokenizer.chat_template").contents() == "a"
    assert theirs.get_field("tokenizer.chat_template.tool_use").contents() == "b"


def load_tokenizer_with(templates):
    from minillm.tokenizer import BPETokenizer

    tokenizer = BPETokenizer.train(["ab"], 260)
    tokenizer.chat_template = templates
    return tokenizer


def small(kind):
    """The metadata of a small file of a kind."""
    if kind == "bert":
        vocab = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "b"])}
        return gguf_vocabulary(WordPieceTokenizer.from_vocab(vocab), 8)
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("a", -3.0), ("▁a", -1.0)]
    if kind == "llama":
        pieces[3:3] = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    metadata = {
        "model": kind, "tokens": [piece for piece, _ in pieces], "scores": np.array([s for _, s in pieces], np.float32),
        "token_type": np.array([2, 3, 3, *[6] * (len(pieces) - 6), 1, 1, 1], np.int32), "unknown_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    return {f"tokenizer.ggml.{name}": value for name, value in metadata.items()}


@pytest.mark.parametrize("kind", ["llama", "t5", "bert"])
def test_metadata_of_any_kind_make_a_tokenizer_or_are_refused(kind):
    """Each value changed for others, or left out: a tokenizer that works, or a ValueError."""
    metadata = small(kind)
    assert tokenizer_from(metadata).encode("a")
    refused = 0
    for name in (*metadata, "tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.add_space_prefix"):
        for value in (
            None, "x", -1, 1 << 40, float("nan"), [], ["a"], ["a", "a"], True, np.zeros(3, np.float32), np.arange(7),
            np.full(len(metadata["tokenizer.ggml.tokens"]), np.nan, np.float32), np.arange(9, dtype=np.uint8),
            np.full(len(metadata["tokenizer.ggml.tokens"]), 77, np.int32), np.array([]),
        ):  # fmt: skip
            changed = {**metadata, name: value}
            if value is None:
                del changed[name]
            try:
                tokenizer_from(changed).encode("ab a 한")
            except ValueError as error:
                refused += len(str(error)) > 0
    assert refused > 20


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("llama", {"scores": np.zeros(3, np.float32)}, "scores must give a number for each of 262 tokens"),
        ("llama", {"model": "rwkv"}, "vocabulary of a 'rwkv' tokenizer; we read gpt2, llama, t5, bert"),
        ("llama", {"tokens": ["a"] * 262}, "a token comes twice"),
        ("t5", {"unknown_token_id": 9}, "unk_token must be between 0 and 5, got 9"),
        ("t5", {"precompiled_charsmap": np.arange(9)}, "precompiled_charsmap must be bytes"),
        ("bert", {"tokens": ["[PAD]"] * 8}, r"the token '\[PAD\]' comes twice"),
        ("bert", {"cls_token_id": 300}, "cls_token must be between 0 and 7"),
    ],
)
def test_what_is_refused_is_named(kind, change, message):
    with pytest.raises(ValueError, match=message):
        tokenizer_from(small(kind) | {f"tokenizer.ggml.{name}": value for name, value in change.items()})


def test_what_a_file_cannot_hold_is_not_written(real_data):
    cased = WordPieceTokenizer.from_vocab(
        real_data("tokenizers/bert-base-uncased") / "vocab.txt", lowercase=False
    )
    with pytest.raises(ValueError, match="lowers letters and cuts words as BERT's uncased one"):
        gguf_vocabulary(cased, cased.vocab_size)
    odd = WordPieceTokenizer.from_vocab(
        {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "##▁"])}
    )
    with pytest.raises(ValueError, match="no form for the token '##▁'"):
        gguf_vocabulary(odd, 8)
    nfkc = UnigramTokenizer.from_vocab([("<unk>", 0.0), ("▁a", -1.0)])
    with pytest.raises(ValueError, match="normalises or cuts text in a way"):
        gguf_vocabulary(nfkc, 8)
    assert isinstance(odd.model, WordPiece)
    llama = tokenizer_from(small("llama"))
    with pytest.raises(ValueError, match="order that no scores"):
        gguf_vocabulary(_with_merges(llama, [("a", "▁")]), 300)


def _with_merges(tokenizer, merges):
    from minillm.tokenizer import BPETokenizer
    from minillm.tokenizer.bpe_encode import BPE

    vocab = {**tokenizer.model.vocab, "a▁": tokenizer.vocab_size}
    added = [AddedToken(t.id, t.content) for t in tokenizer.added_tokens.values()]
    return BPETokenizer.from_parts(
        BPE(vocab, [*tokenizer.model.merges, *merges, *merges], tokenizer.model.options),
        added,
        tokenizer.layout,
    )
