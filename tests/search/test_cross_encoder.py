"""CrossEncoder on its own: pairs and their types, batches, ranks, and folders that it refuses by their name."""

import json

import numpy as np
import pytest
import torch

from minillm._files import BadFileError
from minillm.models import BERT, BERTConfig, BERTForSequenceClassification, RoBERTaConfig
from minillm.models import RoBERTaForSequenceClassification as RoBERTaClassifier
from minillm.search import CrossEncoder
from tests.search.test_sentence_encoder import ROUNDING, WORDS, tokenizer

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
PAIRS = [
    ("the cat", "cats runs the dog."),
    ("고양이", "고양이가 a dog " * 9),
    ("", ""),
    ("the dog sleeps " * 9, "강아지"),
    ("a " * 40, "🚀 " * 40),
    ("cat", "dog"),
]


def config(**changes):
    sizes = {
        "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 24, "max_position_embeddings": 24, "initializer_range": 0.5, "num_labels": 1,
    }  # fmt: skip
    return BERTConfig(**sizes | changes)


def tiny(seed=0, **changes):
    return BERTForSequenceClassification(config(**changes), seed)


@pytest.fixture
def encoder(tokenizer):
    return CrossEncoder(tiny(), tokenizer)


def test_a_score_is_the_sigmoid_of_the_models_number_for_the_pair(encoder, tokenizer):
    found = encoder.score(PAIRS)
    assert found.shape == (len(PAIRS),)
    assert found.dtype == np.float32
    for (question, text), score, number in zip(PAIRS, found, encoder.score(PAIRS, activation="identity")):
        row = tokenizer([question], [text], truncation="longest_first", max_length=24, return_tensors="pt")
        assert row["token_type_ids"].max() == 1
        with torch.no_grad():
            logit = encoder.model(**row).logits.item()
        assert number == pytest.approx(logit, abs=ROUNDING)
        assert score == pytest.approx(1 / (1 + np.exp(-logit)), abs=ROUNDING)


def test_the_two_texts_are_told_apart_and_their_order_counts(encoder):
    there, back = encoder.score([("cat", "dog"), ("dog", "cat")])
    assert abs(there - back) > 1e-3
    untyped = CrossEncoder(encoder.model, encoder.tokenizer)
    untyped.typed = False
    assert abs(untyped.score([("cat", "dog")])[0] - there) > 1e-3


def test_predict_is_score_under_the_peers_name(encoder):
    scores = encoder.score(PAIRS)
    np.testing.assert_array_equal(
        encoder.predict([list(pair) for pair in PAIRS], show_progress_bar=False), scores
    )
    assert encoder.predict(PAIRS[-1]).shape == ()  # one pair, one number
    assert encoder.predict(PAIRS[-1]) == pytest.approx(scores[-1], abs=ROUNDING)
    assert encoder.predict([]).shape == (0,)
    with pytest.raises(ValueError, match="pairs"):
        encoder.predict(["cat", 5])


def test_the_batch_and_the_order_change_nothing(encoder):
    single = np.concatenate([encoder.score([pair]) for pair in PAIRS])
    for size in (1, 2, 4, 32):
        np.testing.assert_allclose(encoder.score(PAIRS, size), single, atol=ROUNDING)
    np.testing.assert_allclose(encoder.score(PAIRS[::-1]), single[::-1], atol=ROUNDING)
    assert encoder.score([]).shape == (0,)


def test_a_pair_that_is_too_long_loses_of_its_longer_text(encoder):
    short = CrossEncoder(encoder.model, encoder.tokenizer, max_length=7)
    cut = [("cat dog", "the " * 50), ("cat", "the the the")]
    np.testing.assert_allclose(
        short.score(cut), short.score([("cat dog", "the the"), ("cat", "the the the")]), atol=ROUNDING
    )
    assert CrossEncoder(encoder.model, encoder.tokenizer, 10_000).max_length == 24


def test_rank_puts_the_best_first_and_keeps_the_order_of_equals(encoder):
    documents = ["dog", "the cat sleeps.", "dog", "고양이"]
    scores = encoder.score([("cat", one) for one in documents])
    found = encoder.rank("cat", documents)
    assert found == [(i, pytest.approx(scores[i])) for i in sorted(range(4), key=lambda i: (-scores[i], i))]
    assert [one for one, _ in found].index(0) + 1 == [one for one, _ in found].index(2)
    assert encoder.rank("cat", documents, 2) == found[:2]
    assert encoder.rank("cat", documents, 99) == found
    assert encoder.rank("cat", []) == []


def test_a_model_in_training_is_left_in_training(tokenizer):
    encoder = CrossEncoder(tiny(hidden_dropout_prob=0.5), tokenizer)
    expected = encoder.score(PAIRS)
    encoder.model.train()
    np.testing.assert_array_equal(encoder.score(PAIRS), expected)
    assert encoder.model.training


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_a_saved_folder_scores_as_before(tokenizer, tmp_path, activation):
    encoder = CrossEncoder(tiny(), tokenizer, 9, activation)
    again = CrossEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "pairs"))
    assert (again.activation, again.max_length) == (activation, 9)
    last = CrossEncoder.from_pretrained(again.save_pretrained(tmp_path / "again"))
    for opened in (
        again,
        last,
    ):  # the weights to the bit; products of the same numbers may differ in the last one
        for name, weight in encoder.model.state_dict().items():
            torch.testing.assert_close(opened.model.state_dict()[name], weight, rtol=0, atol=0)
        np.testing.assert_allclose(opened.score(PAIRS), encoder.score(PAIRS), rtol=0, atol=1e-6)


def test_roberta_has_one_token_type_and_a_head_of_two_layers(tokenizer, tmp_path):
    sizes = RoBERTaConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=26, initializer_range=0.5, pad_token_id=0, type_vocab_size=1, bos_token_id=None,
        eos_token_id=None, num_labels=1,
    )  # fmt: skip
    encoder = CrossEncoder(RoBERTaClassifier(sizes), tokenizer)
    assert encoder.max_length == sizes.max_length == 25
    single = np.concatenate([encoder.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(encoder.score(PAIRS), single, atol=ROUNDING)
    again = CrossEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "r"))
    np.testing.assert_array_equal(again.score(PAIRS), encoder.score(PAIRS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cat", "dog"), "pairs must be a list of .question, text., got 'cat'"),
        ((5,), "pairs must be a list"),
        ((("cat", "dog"),), "two str each, got 'cat' at position 0"),
        (([("cat", "dog"), ("cat", 3)],), "at position 1"),
        (([("cat", "dog", "a")],), "at position 0"),
        (([["cat", None]],), "at position 0"),
        (([("cat", "dog")], 0), "batch_size must be at least 1"),
        (([("cat", "dog")], 8, "tanh"), "activation must be one of"),
    ],
)
def test_score_says_what_it_needs(encoder, arguments, message):
    with pytest.raises(ValueError, match=message):
        encoder.score(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, ["a"]), "query must be a str"),
        (("a", "text"), "documents must be a list of str"),
        (("a", ["b", None]), "got None at position 1"),
        (("a", ["b"], 0), "k must be at least 1"),
    ],
)
def test_rank_says_what_it_needs(encoder, arguments, message):
    with pytest.raises(ValueError, match=message):
        encoder.rank(*arguments)


def test_parts_that_do_not_fit_are_refused(tokenizer):
    for model, message in (
        (tiny(num_labels=3), r"one number .num_labels 1., got 3"),
        (BERT(config()), "that classifies texts .*, got 'BERT'"),
        (5, "that classifies texts"),
    ):
        with pytest.raises(ValueError, match=message):
            CrossEncoder(model, tokenizer)
    with pytest.raises(ValueError, match="tokenizer must be a Tokenizer"):
        CrossEncoder(tiny(), None)
    with pytest.raises(ValueError, match="do not belong together"):
        CrossEncoder(tiny(vocab_size=5), tokenizer)
    with pytest.raises(ValueError, match="leave room for 3 special tokens"):
        CrossEncoder(tiny(), tokenizer, max_length=2)
    with pytest.raises(ValueError, match="activation must be one of"):
        CrossEncoder(tiny(), tokenizer, activation="relu")


def changed(path, **values):
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(found | values), encoding="utf-8")


TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}, "Tanh"),
        ("config.json", {"sentence_transformers": {"activation_fn": "mine.Sigmoid"}}, "activation is 'mine.Sigmoid'"),
        ("config.json", {"sentence_transformers": {"activation_fn": 3}}, "activation is 3"),
        ("config.json", {"architectures": ["BertModel"]}, "that classifies texts"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "prompt in front of pairs"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "sentence_bert_config.json"),
        ("tokenizer_config.json", {"model_max_length": 2}, "leave room for 3 special tokens"),
    ],
)  # fmt: skip
def test_a_folder_that_asks_for_something_else_is_refused_by_name(encoder, tmp_path, name, values, message):
    folder = encoder.save_pretrained(tmp_path / "pairs")
    (folder / "checksums.json").unlink()
    changed(folder / name, **values)
    with pytest.raises(BadFileError, match=message):
        CrossEncoder.from_pretrained(folder)


def test_modules_of_a_sentence_encoder_are_no_cross_encoder(encoder, tmp_path):
    folder = encoder.save_pretrained(tmp_path / "pairs")
    modules = folder / "modules.json"
    modules.write_text(json.dumps([TRANSFORMER]), encoding="utf-8")
    np.testing.assert_array_equal(CrossEncoder.from_pretrained(folder).score(PAIRS), encoder.score(PAIRS))
    modules.write_text(json.dumps([TRANSFORMER, POOLING]), encoding="utf-8")
    with pytest.raises(
        BadFileError, match="it lists Transformer, Pooling; we have Transformer, in this order"
    ):
        CrossEncoder.from_pretrained(folder)


@pytest.mark.parametrize("name", ["minilm.txt", "missing"])
def test_a_path_without_a_folder_is_refused(tmp_path, name):
    (tmp_path / "minilm.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BadFileError, match="there is no such folder"):
        CrossEncoder.from_pretrained(tmp_path / name)
