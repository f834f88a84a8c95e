"""CrossEncoder against sentence-transformers and against transformers alone, on folders with random weights."""

import json

import numpy as np
import pytest
import torch

from minillm.search import CrossEncoder
from tests.search.test_cross_encoder import PAIRS, RoBERTaClassifier, RoBERTaConfig, tiny
from tests.search.test_sentence_encoder import WORDS, tokenizer

transformers = pytest.importorskip("transformers", reason="held against transformers: the parity extra")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name


def roberta():
    sizes = RoBERTaConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=26, initializer_range=0.5, pad_token_id=0, type_vocab_size=1, bos_token_id=None,
        eos_token_id=None, num_labels=1,
    )  # fmt: skip
    return RoBERTaClassifier(sizes)


def opened(folder):
    library = pytest.importorskip("sentence_transformers", reason="held against sentence-transformers")
    return library.CrossEncoder(str(folder), device="cpu")


def by_transformers(folder, pairs, longest):
    """The numbers before any activation, one pair at a time."""
    read = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        rows = [
            read([list(pair)], truncation=True, max_length=longest, return_tensors="pt") for pair in pairs
        ]
        return np.array([model(**row).logits.item() for row in rows])


@pytest.mark.parametrize("model", [tiny, roberta])
def test_transformers_gives_the_same_numbers(tokenizer, tmp_path, model):
    encoder = CrossEncoder(model(), tokenizer, 12 if model is tiny else None, "identity")
    folder = encoder.save_pretrained(tmp_path / "ours")
    expected = by_transformers(folder, PAIRS, encoder.max_length)
    assert expected.std() > 0.05
    np.testing.assert_allclose(encoder.score(PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
@pytest.mark.parametrize("model", [tiny, roberta])
def test_sentence_transformers_opens_our_folder_and_we_open_theirs(tokenizer, tmp_path, model, activation):
    encoder = CrossEncoder(model(), tokenizer, 12, activation)
    theirs = opened(encoder.save_pretrained(tmp_path / "ours"))
    expected = theirs.predict(PAIRS)
    np.testing.assert_allclose(encoder.score(PAIRS), expected, atol=1e-5)
    documents = [text for _, text in PAIRS]
    ranked = [
        (one["corpus_id"], pytest.approx(one["score"], abs=1e-5)) for one in theirs.rank("the cat", documents)
    ]
    assert encoder.rank("the cat", documents) == ranked
    theirs.save_pretrained(str(tmp_path / "theirs"))
    again = CrossEncoder.from_pretrained(tmp_path / "theirs")
    assert (again.activation, again.max_length) == (activation, 12)
    np.testing.assert_allclose(again.score(PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("named", "activation"),
    [
        ({}, "sigmoid"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, "identity"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "identity"),
        ({"sbert_ce_default_activation_function": None}, "sigmoid"),
    ],
)
def test_the_activation_is_the_one_that_a_folder_names_in_every_age(tokenizer, tmp_path, named, activation):
    folder = CrossEncoder(tiny(), tokenizer).save_pretrained(tmp_path / "ours")
    (folder / "checksums.json").unlink()
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values["sentence_transformers"]
    (folder / "config.json").write_text(json.dumps(values | named), encoding="utf-8")
    ours = CrossEncoder.from_pretrained(folder)
    assert ours.activation == activation
    np.testing.assert_allclose(ours.score(PAIRS), opened(folder).predict(PAIRS), atol=1e-5)


def test_a_tokenizer_that_names_no_token_types_gives_none(tokenizer, tmp_path):
    """Then sentence-transformers reads both texts as of the first type, and so do we."""
    folder = CrossEncoder(tiny(), tokenizer).save_pretrained(tmp_path / "ours")
    (folder / "checksums.json").unlink()
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(values | {"model_input_names": ["input_ids", "attention_mask"]}), encoding="utf-8"
    )
    ours = CrossEncoder.from_pretrained(folder)
    np.testing.assert_allclose(ours.score(PAIRS), opened(folder).predict(PAIRS), atol=1e-5)
    typed = CrossEncoder(ours.model, tokenizer)
    assert abs(typed.score(PAIRS) - ours.score(PAIRS)).max() > 1e-3
