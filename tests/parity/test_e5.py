"""multilingual-e5-small's file against transformers, tokenizers and the engine that it was made for.

What small files can show is shown on small files; the real one skips where it was not fetched.
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from minillm.commands.models import convert
from minillm.data import fetch, korean_documents, python_docs
from minillm.data.e5s1 import read_e5s1
from minillm.models import BERT, load_model
from minillm.search import SentenceEncoder
from minillm.tokenizer import load_tokenizer
from tests.e5s1 import PIECES, REPLACED, WIDTH, e5s1_bytes
from tests.helpers import needs_model

transformers = pytest.importorskip("transformers", reason="held against transformers: the parity extra")
tokenizers = pytest.importorskip("tokenizers", reason="held against tokenizers: the parity extra")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

needs_e5 = needs_model("e5")


def converted(source, target):
    """The folder that `minillm convert` writes."""

    class Options:
        type, json = None, False

    options = Options()
    options.source, options.target = Path(source), Path(target)
    convert(options)
    return target


def hidden_states(folder, ids):
    """transformers' last hidden states (T, C) of one text."""
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return theirs(torch.tensor([ids])).last_hidden_state[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small file, and the folder made of it."""
    path = tmp_path_factory.mktemp("e5") / "small.bin"
    path.write_bytes(e5s1_bytes())
    return path, converted(path, path.with_name("folder"))


def test_the_model_of_a_file_is_transformers_bert(small):
    path, folder = small
    ids = [0, 10, 5, 20, 33, 7, 2]
    ours = load_model(path)
    assert type(ours) is BERT
    assert transformers.AutoConfig.from_pretrained(folder).architectures == ["BertModel"]
    with torch.no_grad():
        found = ours(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(found, hidden_states(folder, ids), atol=1e-5, rtol=0)
    expected = read_e5s1(path).read("l1.fo.w").reshape(WIDTH, -1)
    np.testing.assert_array_equal(ours.state_dict()["blocks.1.feed_forward.down_proj.weight"], expected)
    with torch.no_grad():
        half = load_model(path, dtype=torch.bfloat16)(torch.tensor([ids])).last_hidden_state
    assert half.dtype == torch.bfloat16


TEXTS = [
    "hello world", "  a  b ", "", "query: 서울 한국어는", "\t①ﬁＡ½\x07 hello", "한국\u3000서울", "the cat 🚀🚀 xyz",
    "<mask> a</s>b",
]  # fmt: skip


def test_the_tokenizer_of_a_file_is_what_tokenizers_reads(small):
    path, folder = small
    peer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for ours in (load_tokenizer(path), load_tokenizer(folder)):
        for text in TEXTS:
            theirs = peer.encode(text)
            assert ours(text)["input_ids"] == theirs.ids
            assert ours(text, text[::-1])["input_ids"] == peer.encode(text, text[::-1]).ids
            inner = peer.encode(text, add_special_tokens=False)
            assert ours.encode_with_offsets(text) == (inner.ids, inner.offsets)
            assert ours.decode(theirs.ids, skip_special_tokens=True) == peer.decode(theirs.ids)
    assert peer.encode("①").tokens == ["<s>", "▁1", "</s>"]
    assert load_tokenizer(path).pad_token_id == PIECES.index("<pad>")
    assert load_tokenizer(path).model_max_length == 20
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert (theirs.cls_token, theirs.sep_token, theirs.pad_token) == ("<s>", "</s>", "<pad>")
    assert (theirs.unk_token, theirs.mask_token) == ("<unk>", "<mask>")
    assert theirs("서울", "hello")["input_ids"] == load_tokenizer(path)("서울", "hello")["input_ids"]


def test_a_letter_of_the_table_with_a_mark_is_where_the_two_differ(small):
    path, folder = small
    ours, peer = load_tokenizer(path), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "½\u0301"  # five bytes: tokenizers drops the mark with the letter
    assert load_tokenizer(folder)(text)["input_ids"] == peer.encode(text).ids
    assert len(ours.encode(text)) == len(ours.encode("½")) + 1
    assert set(REPLACED) > {"½"}


# --- the real one -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def e5(tmp_path_factory):
    """(the file, the folder that `minillm convert e5 FOLDER` writes)."""
    return fetch("e5"), converted("e5", tmp_path_factory.mktemp("real") / "e5")


@pytest.fixture(scope="module")
def encoder(e5):
    return SentenceEncoder.from_pretrained("e5")


@needs_e5
def test_vectors_of_the_files_own_engine(encoder, real_data):
    recorded = json.loads(real_data("models/e5_small/engine_vectors.json").read_text(encoding="utf-8"))
    found = [encoder.encode_query(recorded["queries"]), encoder.encode_document(recorded["passages"])]
    expected = np.array(recorded["query_vectors"] + recorded["passage_vectors"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    cosines = (np.concatenate(found) * expected).sum(1)
    assert cosines.shape == (32,)
    assert cosines.min() >= 0.9998


@needs_e5
def test_transformers_gives_the_vectors_of_the_folder(e5, encoder):
    _, folder = e5
    texts = ["query: 한국의 수도는 어디인가요?", "passage: Seoul is the capital of Korea.", "query: 🚀 ①"]
    ours = encoder.encode(texts, normalize=False)
    peer = transformers.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(texts, ours):
        theirs = hidden_states(folder, peer(text)["input_ids"]).mean(0).numpy()
        np.testing.assert_allclose(vector, theirs, atol=1e-5, rtol=0)


def mixed_texts(count, codes, seed=0):
    """Korean and English cut at random places, characters that the table rewrites, emoji, blanks of all kinds."""
    draw = random.Random(seed)
    korean, english = [d.text for d in korean_documents(100, seed=2)], [d.text for d in python_docs()[:50]]
    blanks, emoji = ["", " ", "   ", "\n", "\u3000", "\u200b"], [*"🚀😀🇰❤👍✈", "👩\u200d👩\u200d👧"]
    found = []
    for _ in range(count):
        parts = [draw.choice(emoji), draw.choice(codes), draw.choice(blanks)]
        for texts in (korean, english):
            text = draw.choice(texts)
            start = draw.randrange(len(text))
            parts.append(text[start : start + draw.randrange(60)])
        draw.shuffle(parts)
        found.append("".join(parts))
    return found


@needs_e5
def test_ids_of_the_folder_are_tokenizers_on_mixed_texts(e5):
    path, folder = e5
    ours, peer = load_tokenizer(folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    codes = list(read_e5s1(path).replacements)
    assert len(codes) == 4837
    texts = [f"{code} 한국어{code}의 x{code}y" for code in codes] + mixed_texts(1000, codes)
    for text in texts:
        assert ours(text)["input_ids"] == peer.encode(text).ids, repr(text)


@needs_e5
def test_sentence_transformers_opens_the_folder(e5, encoder):
    library = pytest.importorskip("sentence_transformers", reason="held against sentence-transformers")
    theirs = library.SentenceTransformer(str(e5[1]), device="cpu")
    assert theirs.max_seq_length == encoder.max_length == 512
    questions, texts = ["한국의 수도는?", "capital of Korea"], ["서울은 대한민국의 수도이다.", "word " * 700]
    np.testing.assert_allclose(encoder.encode_query(questions), theirs.encode_query(questions), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_document(texts), theirs.encode_document(texts), atol=1e-5)


@needs_e5
def test_a_korean_question_finds_its_text(encoder):
    texts = [
        "김치와 돼지고기를 볶다가 물을 붓고 20분 끓인다.",
        "서울은 대한민국의 수도이다.",
        "내일은 오후에 비가 온다.",
    ]
    for question, right in (
        ("What is the capital of Korea?", 1),
        ("날씨가 어떨까?", 2),
        ("kimchi stew recipe", 0),
    ):
        similar = encoder.encode_document(texts) @ encoder.encode_query([question])[0]
        assert similar.argmax() == right
