"""Our ids against tiktoken, tokenizers and transformers, for the same vocabulary and for GPT-2's."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.data import korean_documents, python_docs
from minillm.tokenizer import GPT2_PATTERN, GPT4_PATTERN, BPETokenizer, load_tokenizer
from minillm.tokenizer.bpe_plain import decode_plain, encode_plain
from minillm.tokenizer.byte_alphabet import to_bytes
from minillm.tokenizer.splitting import split
from tests.tokenizer.samples import KOREAN, SAMPLES, TEXTS

tiktoken = pytest.importorskip("tiktoken", reason="the peer: pip install -e '.[parity]'")
tokenizers = pytest.importorskip("tokenizers", reason="the peer: pip install -e '.[parity]'")
END = "<|endoftext|>"
NO_DEADLINE = settings(deadline=None)


def known_to_all(text):
    """Unicode versions differ between the libraries; characters this Python does not know yet are left out."""
    return "".join(character for character in text if unicodedata.category(character) != "Cn")


def as_tiktoken(tokenizer):
    """tiktoken wants the rank order: bytes in any order first, merges after, special tokens last."""
    first = len(tokenizer.special_tokens)
    names = list(tokenizer.vocab)[first:]
    return tiktoken.Encoding(
        "ours",
        pat_str=tokenizer.pattern,
        mergeable_ranks={to_bytes(name): rank for rank, name in enumerate(names)},
        special_tokens={name: len(names) + index for name, index in tokenizer.special_tokens.items()},
    )


@pytest.fixture(scope="module", params=[GPT2_PATTERN, GPT4_PATTERN], ids=["gpt2", "gpt4"])
def trained(request, tmp_path_factory):
    texts = [*SAMPLES * 3, *(document.text for document in korean_documents(60, seed=2))]
    texts += [document.text for document in python_docs()[:10]]
    ours = BPETokenizer.train(texts, 1200, pattern=request.param)
    path = ours.save(tmp_path_factory.mktemp("tokenizer"))
    return ours, as_tiktoken(ours), tokenizers.Tokenizer.from_file(str(path))


@NO_DEADLINE
@given(text=TEXTS)
def test_ids_are_tiktokens_and_tokenizers(trained, text):
    ours, tik, rust = trained
    text = known_to_all(text)
    ids = ours.encode(text, ())
    assert [index - 1 for index in ids] == tik.encode_ordinary(text)
    assert ours.encode(text) == rust.encode(text).ids
    assert rust.decode(ids, skip_special_tokens=False) == text == ours.decode(ids)


@NO_DEADLINE
@given(text=TEXTS, marks=st.lists(st.sampled_from(["", END, "한"]), max_size=3))
def test_the_whiteboard_version_is_tiktoken(trained, text, marks):
    ours, tik, _ = trained
    text = known_to_all(text.join(["", *marks]))
    ranks = {pair: rank for rank, pair in enumerate(ours.merges)}
    vocab = {tik.decode_single_token_bytes(index): index for index in range(ours.vocab_size - 1)}
    special = {END: ours.vocab_size - 1}  # tiktoken's last id
    ids = encode_plain(text, vocab, ranks, special, ours.pattern)
    assert ids == tik.encode(text, allowed_special="all")
    assert decode_plain(ids, [*vocab, END.encode()]) == tik.decode(ids)


def test_long_real_texts(trained):
    ours, tik, rust = trained
    texts = [document.text for document in python_docs()]
    texts += [document.text for document in korean_documents(200, seed=3)]
    texts += [unicodedata.normalize("NFD", text) for text in texts[-100:]]
    ids = ours.encode_batch(texts)
    assert [[index - 1 for index in row] for row in ids] == tik.encode_ordinary_batch(texts, num_threads=1)
    assert ids == [encoding.ids for encoding in rust.encode_batch(texts)]


@pytest.mark.parametrize("allowed", ["all", set(), {END}])
def test_allowed_special_is_tiktokens(trained, allowed):
    ours, tik, _ = trained
    for text in (f"a{END}b", f"{END}{END}", f"한{END} 국", "<|endof text|>", "plain"):
        expected = tik.encode(text, allowed_special=allowed, disallowed_special=())
        expected = [0 if index == ours.vocab_size - 1 else index + 1 for index in expected]
        assert ours.encode(text, allowed) == expected


@NO_DEADLINE
@given(data=st.binary(max_size=40), text=TEXTS)
def test_decoding_is_tiktokens(trained, data, text):
    ours, tik, _ = trained
    ids = ours.encode_bytes(data) + ours.encode(text, ())
    assert ours.decode_bytes(ids) == tik.decode_bytes([index - 1 for index in ids])
    assert ours.decode(ids) == tik.decode([index - 1 for index in ids], errors="replace")


def test_the_plain_splitter_is_tokenizers_on_every_known_character():
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for point in range(0x110000):
        if unicodedata.category(chr(point)) in ("Cn", "Cs"):
            continue
        text = f"a{chr(point)}1 {chr(point)}"
        lengths = [len(piece) for piece in split(text)]
        assert lengths == [end - start for _, (start, end) in byte_level.pre_tokenize_str(text)], hex(point)


# --- GPT-2's own vocabulary -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2(real_data):
    vocab = real_data("tokenizers/gpt2/vocab.json")
    return BPETokenizer.from_files(vocab, real_data("tokenizers/gpt2/merges.txt"))


@pytest.mark.parametrize("name", ["gpt2", "llamacpp_gpt-2"])
def test_ids_of_the_vectors(gpt2, real_data, name):
    path = real_data(f"tokenizers/vectors/{name}.shared.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(records) > 30
    for record in records:
        text = record["text"]
        assert gpt2.encode(text, ()) == record["ids"], text
        assert gpt2.decode(record["ids"]) == text
        assert list(gpt2.encode_iterable(text.splitlines(keepends=True), ())) == record["ids"]
        assert list(gpt2.encode_iterable(list(text), ())) == record["ids"]


def test_gpt2_goes_through_tokenizer_json(gpt2, tmp_path):
    path = gpt2.save(tmp_path)
    again = load_tokenizer(tmp_path)
    rust = tokenizers.Tokenizer.from_file(str(path))
    for text in [*SAMPLES, *(document.text for document in python_docs()[:5])]:
        assert again.encode(text) == gpt2.encode(text) == rust.encode(text).ids
    assert gpt2.vocab_size == 50257
    assert gpt2.encode(f"a{END}")[-1] == 50256
    assert gpt2.encode("Hello, world!") == [15496, 11, 995, 0]  # OpenAI's ids


def test_stories260k(real_data):
    ours = load_tokenizer(real_data("models/stories260K/tok512.bin"))
    lines = real_data("models/stories260K/vectors.shared.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 30
    for record in map(json.loads, lines):
        ids = ours.encode(record["text"], bos=True)
        assert ids[:512] == record["ids"]  # run.c's context ends there
        assert ours.decode(ids, skip_special_tokens=True) == record["text"]


# --- transformers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair_of_tokenizers(tmp_path_factory):
    transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
    ours = BPETokenizer.train([*SAMPLES, KOREAN] * 3, 500, special_tokens=(END, "<pad>"))
    folder = tmp_path_factory.mktemp("hf")
    ours.save(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    theirs.pad_token = "<pad>"
    return ours, theirs


@NO_DEADLINE
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    pairs=st.booleans(),
    padding=st.sampled_from([False, True, "max_length"]),
    truncation=st.booleans(),
    max_length=st.integers(1, 30),
)
def test_calling_is_transformers(pair_of_tokenizers, texts, pairs, padding, truncation, max_length):
    ours, theirs = pair_of_tokenizers
    texts = [known_to_all(text) for text in texts]
    seconds = [text[::-1] for text in texts] if pairs else None
    options = {"padding": padding, "truncation": truncation}
    if truncation or padding == "max_length":
        options["max_length"] = max_length
    expected = theirs(texts, seconds, return_token_type_ids=True, **options)
    assert ours(texts, seconds, **options) == dict(expected)
    one = theirs(texts[0], return_token_type_ids=True)
    assert ours(texts[0]) == dict(one)


def test_transformers_opens_ours(pair_of_tokenizers):
    ours, theirs = pair_of_tokenizers
    assert theirs.eos_token == END
    assert len(theirs) == ours.vocab_size
    for text in [*SAMPLES, f"a{END}b"]:
        ids = ours.encode(text)
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == ours.decode(ids)
        assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(ids, skip_special_tokens=True)
    batch, expected = (some(SAMPLES, padding=True, return_tensors="pt") for some in (ours, theirs))
    assert batch["input_ids"].equal(expected["input_ids"])
    assert batch["attention_mask"].equal(expected["attention_mask"])
