"""WordPiece, Unigram, SentencePiece and CLIP against the given vectors, every string, and against tokenizers on hostile
strings: ids, offsets and decoded text; and both trainers against theirs."""

import base64
import json
import re
import struct

import pytest

from minillm.data import korean_documents, python_docs
from minillm.tokenizer import BPETokenizer, UnigramTokenizer, WordPieceTokenizer, load_tokenizer
from minillm.tokenizer.charsmap import Charsmap, Trie, write_charsmap
from minillm.tokenizer.clip import cleaning_table
from minillm.tokenizer.normalizers import build_normalizer
from minillm.tokenizer.pre_tokenizers import build_pre_tokenizer
from minillm.tokenizer.sentencepiece import BPE_MODEL, SentencePieceModel, build_tokenizer, read_model
from minillm.tokenizer.unigram_train import learn_pieces
from minillm.tokenizer.wordpiece_train import count_words, first_characters
from tests.helpers import soak_count
from tests.tokenizer.hostile import hostile

tokenizers = pytest.importorskip("tokenizers", reason="the peer: pip install -e '.[parity]'")
N, P, M = tokenizers.normalizers, tokenizers.pre_tokenizers, tokenizers.models
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def bert(real_data):
    return WordPieceTokenizer.from_vocab(real_data("tokenizers/bert-base-uncased/vocab.txt"))


def koelectra(real_data):
    return WordPieceTokenizer.from_vocab(real_data("tokenizers/koelectra/vocab.txt"), lowercase=False)


def clip(real_data):
    return load_tokenizer(real_data("tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"))


def sentencepiece(real_data):
    return load_tokenizer(real_data("tokenizers/sentencepiece_test/test_model.model"))


def llama2(real_data):
    """Llama-2's vocabulary, from the metadata of a GGUF file that has it in front of its own tokens."""
    data = real_data("tokenizers/gguf/ggml-vocab-phi-3.gguf").read_bytes()
    key = b"tokenizer.ggml.tokens"
    at = data.index(key) + len(key) + 8
    (many,) = struct.unpack_from("<Q", data, at)
    at, pieces = at + 8, []
    for _ in range(many):
        (size,) = struct.unpack_from("<Q", data, at)
        pieces.append(data[at + 8 : at + 8 + size].decode("utf-8"))
        at += 8 + size
    key = b"tokenizer.ggml.scores"
    scores = struct.unpack_from(f"<{many}f", data, data.index(key) + len(key) + 16)
    types = [
        6 if re.fullmatch("<0x..>", piece) else (2, 3, 3, 1)[min(i, 3)] for i, piece in enumerate(pieces)
    ]
    model = SentencePieceModel(
        pieces[:32000], list(scores[:32000]), types[:32000], BPE_MODEL, byte_fallback=True, strip_blanks=False
    )
    return build_tokenizer(model)


MAKERS = {maker.__name__: maker for maker in (bert, koelectra, clip, sentencepiece, llama2)}
VECTORS = {
    "bert-base-uncased": "bert", "llamacpp_bert-bge": "bert", "koelectra": "koelectra", "clip": "clip",
    "sentencepiece_test": "sentencepiece", "llama2_spm": "llama2", "llamacpp_phi-3": "llama2",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(real_data):
    found = {}

    def make(name):
        if name not in found:
            found[name] = MAKERS[name](real_data)
        return found[name]

    return make


@pytest.mark.parametrize("name", VECTORS)
def test_ids_of_the_vectors(made, real_data, name):
    ours = made(VECTORS[name])
    path = real_data(f"tokenizers/vectors/{name}.shared.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(records) > 30
    allowed = (
        () if VECTORS[name] in ("sentencepiece", "llama2") else "all"
    )  # these find no special tokens in a text
    for record in records:
        assert ours.encode(record["text"], allowed) == record["ids"], record["text"]
        assert ours.encode_with_offsets(record["text"], allowed)[0] == record["ids"]


def check_hostile(ours, file, seeds):
    peer = tokenizers.Tokenizer.from_file(str(ours.save(file)))
    again = load_tokenizer(file)  # as a file says it: SentencePiece's own table is read another way there
    for seed in seeds:
        text = hostile(seed)
        theirs = peer.encode(text, add_special_tokens=False)
        ids, spans = again.encode_with_offsets(text)
        assert (ids, spans) == (theirs.ids, theirs.offsets), (seed, text)
        assert again.encode(text) == ids, (seed, text)
        for skip in (False, True):
            assert again.decode(ids, skip) == peer.decode(ids, skip_special_tokens=skip), (seed, text)
    saved = json.loads(tokenizers.Tokenizer.from_file(str(again.save(file))).to_str())
    assert saved == json.loads(peer.to_str())


@pytest.mark.parametrize("name", MAKERS)
def test_hostile_strings_are_tokenizers(made, tmp_path, name):
    check_hostile(made(name), tmp_path / "tokenizer.json", range(150))


@pytest.mark.soak
@pytest.mark.parametrize("name", MAKERS)
def test_hostile_strings_are_tokenizers_thousands_of_times(made, tmp_path, name):
    check_hostile(made(name), tmp_path / "tokenizer.json", range(10_000, 10_000 + soak_count(50_000)))


@pytest.mark.parametrize(("name", "cased"), [("bert-base-uncased", False), ("koelectra", True)])
def test_berts_own_tokenizer(made, real_data, name, cased):
    transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
    path = real_data(f"tokenizers/{name}/vocab.txt")
    theirs = transformers.BertTokenizerFast(vocab=str(path), do_lower_case=not cased)
    ours = made("koelectra" if cased else "bert")
    rows = [hostile(seed) for seed in range(200)]
    options = {"padding": True, "truncation": True, "max_length": 64}
    assert dict(ours(rows, rows[::-1], **options)) == dict(theirs(rows, rows[::-1], **options))


# --- files of other kinds -----------------------------------------------------------------------------------------


def small_pieces():
    words = sorted({w for d in python_docs()[:6] for w in d.text.split()} | {"한국어는", "조사가", "있다"})
    letters = sorted({c for word in words for c in word} | set("ﬁアéx"))
    return [(f"▁{w}", -9.5) for w in words[:900]] + [(c, -7.25) for c in letters if c != "▁"] + [("▁", -3.5)]


def xlm_roberta(real_data):
    content = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *small_pieces()]
    peer = tokenizers.Tokenizer(M.Unigram(content, 3, False))
    table = read_model(real_data("tokenizers/sentencepiece_test/test_model.model")).charsmap
    peer.normalizer = N.Sequence([N.Precompiled(table), N.Replace(tokenizers.Regex(" {2,}"), " ")])
    peer.pre_tokenizer, peer.decoder = P.Metaspace(), tokenizers.decoders.Metaspace()
    peer.post_processor = tokenizers.processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    peer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    return peer


def t5(real_data):
    content = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *small_pieces()]
    peer = tokenizers.Tokenizer(M.Unigram(content, 2, False))
    peer.normalizer = N.Precompiled(write_charsmap(cleaning_table()))
    peer.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Metaspace()])
    peer.decoder = tokenizers.decoders.Metaspace()
    peer.post_processor = tokenizers.processors.TemplateProcessing(
        "$A </s>", "$A </s> $B </s>", [("</s>", 1)]
    )
    peer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return peer


def with_bytes(real_data):
    content = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256)), *small_pieces()]
    peer = tokenizers.Tokenizer(M.Unigram(content, 0, True))
    peer.normalizer = N.Sequence([N.Nmt(), N.NFKC(), N.Prepend("▁"), N.Replace(" ", "▁")])
    peer.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
        ]
    )
    return peer


def bert_cased(real_data):
    vocab = {
        line: i
        for i, line in enumerate(
            real_data("tokenizers/koelectra/vocab.txt").read_text("utf-8").split("\n")[:-1]
        )
    }
    peer = tokenizers.Tokenizer(M.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=20))
    peer.normalizer = N.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=True
    )
    peer.pre_tokenizer = P.Sequence([P.BertPreTokenizer(), P.Digits(True)])
    peer.decoder = tokenizers.decoders.WordPiece("##", False)
    peer.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"])
    )
    peer.add_special_tokens(SPECIAL)
    peer.add_tokens([tokenizers.AddedToken("lower", normalized=True, lstrip=True)])
    return peer


@pytest.mark.parametrize("make", [xlm_roberta, t5, with_bytes, bert_cased])
def test_files_made_by_tokenizers_open(make, real_data, tmp_path):
    peer = make(real_data)
    peer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    for seed in range(200):
        text, other = hostile(seed), hostile(seed + 1)
        theirs = peer.encode(text, add_special_tokens=False)
        assert ours.encode_with_offsets(text) == (theirs.ids, theirs.offsets), (seed, text)
        assert ours.encode(text) == theirs.ids
        assert ours.decode(theirs.ids) == peer.decode(theirs.ids, skip_special_tokens=False)
        pair = peer.encode(text, other)
        assert (ours(text, other)["input_ids"], ours(text, other)["token_type_ids"]) == (
            pair.ids,
            pair.type_ids,
        )
    saved = tokenizers.Tokenizer.from_file(str(ours.save(tmp_path / "again")))
    assert json.loads(saved.to_str()) == json.loads(peer.to_str())


@pytest.mark.parametrize("table", [cleaning_table(), None])
def test_precompiled_tables_are_tokenizers(table, real_data):
    model = real_data("tokenizers/sentencepiece_test/test_model.model")
    data = read_model(model).charsmap if table is None else write_charsmap(table)
    theirs = N.Precompiled(data)
    ours = build_normalizer(
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode("ascii")}
    )
    for text in map(hostile, range(400)):
        assert ours(text) == theirs.normalize_str(text)
        assert len(ours.origins(text)) == len(ours(text))


def test_sentencepiece_reads_the_longest_key(real_data):
    """Hangul in single letters is composed by SentencePiece, and stays as it is in tokenizers."""
    data = read_model(real_data("tokenizers/sentencepiece_test/test_model.model")).charsmap
    assert Charsmap(Trie(data))("각 e\u0301") == "각 é"
    assert N.Precompiled(data).normalize_str("각") == "각"


# --- every character ----------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize(
    "options", [{}, {"lowercase": False}, {"clean_text": False}, {"strip_accents": False}]
)
def test_berts_normalizer_on_every_character(options):
    ours, theirs = build_normalizer({"type": "BertNormalizer", **options}), N.BertNormalizer(**options)
    pre, peer = build_pre_tokenizer({"type": "BertPreTokenizer"}), P.BertPreTokenizer()
    import unicodedata

    for point in range(0x110000):
        one = chr(point)
        if unicodedata.category(one) in ("Cn", "Cs"):
            continue
        text = f"a{one}\u0301 b"
        assert ours(text) == theirs.normalize_str(text), hex(point)
        assert pre(text) == [piece for piece, _ in peer.pre_tokenize_str(text)], hex(point)


# --- training -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus():
    return [d.text for d in korean_documents(120, seed=3)] + [d.text for d in python_docs()[:15]]


@pytest.mark.parametrize("size", [1500, 4000])
def test_wordpiece_training_is_tokenizers(corpus, size):
    """Their trainer numbers the ## characters in the order of a hash table, anew in each run; given first, in our
    order, its vocabulary is ours, id for id. (Ours cuts texts at special tokens, theirs does not: none may be in.)"""
    corpus = [text for text in corpus if not any(name in text for name in SPECIAL)]
    ours = WordPieceTokenizer.train(corpus, size)
    words = count_words(corpus, (), ours.layout)
    inside = sorted({"##" + character for word in words for character in word[1:]})
    peer = tokenizers.Tokenizer(M.WordPiece(unk_token="[UNK]"))
    peer.normalizer, peer.pre_tokenizer = N.BertNormalizer(), P.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False,
        special_tokens=[*SPECIAL, *first_characters(words), *inside],
    )  # fmt: skip
    peer.train_from_iterator(corpus, trainer)
    assert peer.get_vocab() == ours.vocab


@pytest.mark.parametrize("size", [600, 2500])
def test_unigram_training_is_tokenizers(corpus, size):
    """The same pieces; the scores of all that training kept are equal, too."""
    names = ["<pad>", "</s>", "<unk>"]
    ours = UnigramTokenizer.train(corpus, size)
    peer = tokenizers.Tokenizer(M.Unigram())
    peer.normalizer = N.Sequence([N.NFKC(), N.Replace(tokenizers.Regex(" {2,}"), " ")])
    peer.pre_tokenizer = P.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=size, show_progress=False, special_tokens=names, unk_token="<unk>"
    )
    peer.train_from_iterator(corpus, trainer)
    theirs = dict(map(tuple, json.loads(peer.to_str())["model"]["vocab"]))
    found = dict(ours.model.pieces)
    assert theirs.keys() == found.keys()
    characters = {
        piece for piece in found if len(piece) == 1
    }  # dropped ones score in the order of a hash table
    for piece in found.keys() - characters:
        assert found[piece] == pytest.approx(theirs[piece], abs=1e-6), piece
    assert len(learn_pieces(count_words(corpus, names, ours.layout), size, 3)) == size - 3


def test_byte_level_bpe_offsets(corpus, tmp_path):
    ours = BPETokenizer.train(corpus, 900, ("<|endoftext|>",))
    check_hostile(ours, tmp_path / "tokenizer.json", range(200))
