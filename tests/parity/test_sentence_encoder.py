"""SentenceEncoder against sentence-transformers: folders both ways, every pooling, and the real MiniLM."""

import random

import numpy as np
import pytest

from minillm.data import fetch, korean_documents, python_docs
from minillm.search import SentenceEncoder
from tests.helpers import needs_model, soak_count
from tests.search.test_sentence_encoder import TEXTS, tiny, tokenizer

library = pytest.importorskip("sentence_transformers", reason="held against sentence-transformers")
transformers = pytest.importorskip("transformers", reason="sentence-transformers opens models with it")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
PROMPTS = {"query": "query: ", "document": "passage: "}


def opened(folder):
    return library.SentenceTransformer(str(folder), device="cpu")


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_sentence_transformers_opens_our_folder(tokenizer, tmp_path, pooling):
    encoder = SentenceEncoder(tiny(), tokenizer, pooling, 12, PROMPTS, "query")
    theirs = opened(encoder.save_pretrained(tmp_path / "ours"))
    assert theirs.max_seq_length == 12
    for name in ("encode", "encode_query", "encode_document"):
        np.testing.assert_allclose(
            getattr(encoder, name)(TEXTS), getattr(theirs, name)(TEXTS), atol=1e-5, err_msg=name
        )
    for given in ({"prompt_name": "document"}, {"prompt": "a "}):
        np.testing.assert_allclose(encoder.encode(TEXTS, **given), theirs.encode(TEXTS, **given), atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_a_folder_that_sentence_transformers_saved_is_opened(tokenizer, tmp_path, pooling):
    ours = SentenceEncoder(tiny(seed=1), tokenizer, pooling, 7, PROMPTS).save_pretrained(tmp_path / "ours")
    theirs = opened(ours)
    theirs.save(str(tmp_path / "theirs"))
    again = SentenceEncoder.from_pretrained(tmp_path / "theirs")
    assert (again.pooling, again.max_length, again.prompts) == (pooling, 7, PROMPTS)
    np.testing.assert_allclose(again.encode_query(TEXTS), theirs.encode_query(TEXTS), atol=1e-5)


def test_a_plain_model_is_averaged_by_both(tokenizer, tmp_path):
    tiny(seed=2).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    ours, theirs = SentenceEncoder.from_pretrained(tmp_path), opened(tmp_path)
    np.testing.assert_allclose(ours.encode(TEXTS), theirs.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(ours.encode(TEXTS, normalize=False), theirs.encode(TEXTS), atol=1e-5)


@needs_model("minilm")
def test_the_real_minilm_gives_the_same_vectors():
    english = [part[:200] for d in python_docs() for part in d.text.split("\n\n") if len(part) > 30][:420]
    korean = [d.text[:150] for d in korean_documents(60, seed=1)]
    odd = [
        "🚀🚀 emoji 👩\u200d👩\u200d👧 ❤\ufe0f",
        "",
        "  blanks \t\n ",
        "한글 ㄱㄴ \u1112\u1161\u11ab",
        "Ünïcödé ﬁ ①",
        "word " * 400,
    ]
    texts = [*english, *korean, *odd * 4][:500]
    assert len(texts) == 500
    texts = random.Random(0).sample(texts, max(100, soak_count(500)))  # they are of all lengths and kinds
    ours, theirs = SentenceEncoder.from_pretrained("minilm"), opened(fetch("minilm"))
    assert ours.max_length == theirs.max_seq_length == 256
    found, expected = ours.encode(texts), theirs.encode(texts)
    assert (found * expected).sum(1).min() > 0.99999
    np.testing.assert_allclose(ours.encode(texts[-3:]), found[-3:], atol=1e-6)
