"""Training a cross-encoder, and search in two stages that returns k."""

import math

import numpy as np
import pytest
import torch

from minillm.evaluation import hit_at_k
from minillm.search import BM25, CrossEncoder, TwoStageSearch, labelled_pairs, train_cross_encoder
from minillm.training import TrainingArguments
from tests.search.test_cross_encoder import tiny
from tests.search.test_sentence_encoder import tokenizer

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
TRIPLES = [
    ("cat", "고양이", "the dog runs"),
    ("dog", "강아지 a 강아지", "cats"),
    ("runs", "sleeps", "a"),
    ("the cats", "dogs .", "🚀"),
    ("query", "passage the the the", "고양이가"),
]
ARGS = {"num_train_epochs": 30, "per_device_train_batch_size": 5, "learning_rate": 3e-3, "device": "cpu"}


@pytest.fixture
def encoder(tokenizer):
    return CrossEncoder(tiny(), tokenizer)


def test_what_was_right_is_told_from_what_was_wrong(encoder, tmp_path):
    pairs = labelled_pairs(TRIPLES)
    history = train_cross_encoder(encoder, pairs, TrainingArguments(**ARGS), eval_pairs=None)
    assert history[-1]["train_loss"] < math.log(2) / 3
    scores = encoder.score([pair[:2] for pair in pairs])
    assert scores[::2].min() > 0.7
    assert scores[1::2].max() < 0.3
    again = CrossEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "trained"))
    np.testing.assert_allclose(again.score([pair[:2] for pair in pairs]), scores, atol=1e-6)


def test_labels_between_are_learned_and_the_first_loss_is_the_formula(encoder):
    pairs = [("cat", "dog", 0.3), ("dog", "cat", 0.9)]
    numbers = encoder.score([pair[:2] for pair in pairs], activation="identity")
    p = 1 / (1 + np.exp(-numbers))
    labels = np.array([0.3, 0.9])
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
    history = train_cross_encoder(encoder, pairs, TrainingArguments(**ARGS | {"max_steps": 1}))
    assert history[0]["train_loss"] == pytest.approx(expected, abs=1e-5)
    train_cross_encoder(encoder, pairs, TrainingArguments(**ARGS | {"num_train_epochs": 100}))
    np.testing.assert_allclose(encoder.score([pair[:2] for pair in pairs]), labels, atol=0.05)


def test_only_the_named_part_changes_and_the_usual_settings_do(encoder):
    before = {name: one.clone() for name, one in encoder.model.state_dict().items()}
    for only, first in (
        (["classifier"], ("classifier.",)),
        (1, ("classifier.", "body.pooler.", "body.blocks.1.")),
    ):
        train_cross_encoder(encoder, labelled_pairs(TRIPLES), only=only)
        state = encoder.model.state_dict()
        changed = {name for name, one in state.items() if not torch.equal(one, before[name])}
        assert {one for one in first if any(name.startswith(one) for name in changed)} == set(first)
        assert all(name.startswith(first) for name in changed)
    assert all(one.requires_grad for one in encoder.model.parameters())


def test_the_types_of_an_untyped_model_are_left_out(encoder):
    encoder.typed = False
    pairs = labelled_pairs(TRIPLES)
    before = encoder.score([pair[:2] for pair in pairs], activation="identity")
    labels = np.array([pair.score for pair in pairs])
    expected = (np.log1p(np.exp(before)) - labels * before).mean()
    args = TrainingArguments(**ARGS | {"max_steps": 1, "per_device_train_batch_size": 10})
    assert train_cross_encoder(encoder, pairs, args)[0]["train_loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([("a", "b")], {}, r"pairs\[0\] must be .text, text, score."),
        ([("a", "b", -0.5)], {}, "the score of pairs.0. must be between 0 and 1"),
        ([("a", "b", 1)], {"args": 5}, "args must be TrainingArguments"),
        ([("a", "b", 1)], {"eval_pairs": []}, "eval_pairs must hold at least one"),
        ([("a", "b", 1)], {"only": 9}, "only must be at most the model's 2 layers"),
    ],
)
def test_bad_input_is_named(encoder, pairs, options, message):
    with pytest.raises(ValueError, match=message):
        train_cross_encoder(encoder, pairs, **options)
    with pytest.raises(ValueError, match="encoder must be a CrossEncoder"):
        train_cross_encoder(None, [("a", "b", 1)])


# --- two stages


class Longest:
    """A judge that likes long texts, and counts what it was asked."""

    asked = 0

    def score(self, pairs):
        self.asked += len(pairs)
        return np.array([len(text) for _, text in pairs], dtype=np.float32)


TEXTS = ["a cat", "a cat and a dog", "cat", "the dog", "a cat a cat a cat", "bird"]


def test_k_are_given_of_the_n_that_the_first_stage_brings():
    judge = Longest()
    both = TwoStageSearch(BM25().fit(TEXTS), judge, TEXTS, n=3)
    rankings = both.search(["cat", "dog", "zebra"], k=2)
    assert [len(one) for one in rankings] == [2, 2, 0]
    assert judge.asked == 3 + 2
    candidates = [place for place, _ in BM25().fit(TEXTS).search(["cat"], 3)[0]]
    expected = sorted(candidates, key=lambda place: -len(TEXTS[place]))[:2]
    assert rankings[0] == [(place, float(len(TEXTS[place]))) for place in expected]
    assert both.search(["cat"], k=1) == [rankings[0][:1]]
    assert len(both.search(["cat"], k=4)[0]) == 4  # more than n are asked for


def test_the_second_stage_cannot_find_what_the_first_did_not_bring():
    first = BM25().fit(TEXTS)
    gold = [{4}]
    assert hit_at_k(first.search(["cat"], 4), gold, 4) == 1
    for n in (1, 2, 4):
        hit = hit_at_k(TwoStageSearch(first, Longest(), TEXTS, n).search(["cat"], 1), gold, 1)
        assert hit <= hit_at_k(first.search(["cat"], n), gold, n)
    assert hit == 1


def test_a_cross_encoder_orders_as_its_rank_does(encoder):
    ids = {f"text {place}": text for place, text in enumerate(TEXTS)}
    first = BM25().fit(list(ids.values()), list(ids))
    (found,) = TwoStageSearch(first, encoder, ids, n=6).search(["a cat dog"], 6)
    names = [one for one, _ in first.search(["a cat dog"], 6)[0]]
    ranked = encoder.rank("a cat dog", [ids[one] for one in names])
    expected = [(names[place], pytest.approx(score, abs=1e-5)) for place, score in ranked]
    assert found == expected


class Fixed:
    """A judge that takes no empty list, and says what it is told to say."""

    def __init__(self, say):
        self.say = say

    def score(self, pairs):
        assert pairs
        return self.say(len(pairs))


def test_nobody_is_asked_about_nothing_and_what_is_no_score_is_named():
    first = BM25().fit(TEXTS)
    assert TwoStageSearch(first, Fixed(np.ones), TEXTS).search(["zebra", "ox"]) == [[], []]
    assert TwoStageSearch(first, Fixed(np.ones), TEXTS).search([]) == []
    learned = torch.ones((), requires_grad=True)
    half = torch.bfloat16
    for say in (
        lambda n: [2.0] * n, torch.ones, np.ones, lambda n: learned * torch.ones(n), lambda n: torch.ones(n, dtype=half)
    ):  # fmt: skip
        assert len(TwoStageSearch(first, Fixed(say), TEXTS).search(["cat"], 2)[0]) == 2
    wrong = (
        lambda n: np.ones((n, 1)), lambda n: np.ones(n - 1), lambda n: None, lambda n: np.full(n, np.nan),
        lambda n: ["high"] * n, lambda n: torch.ones(n) > 0,
    )  # fmt: skip
    for say in wrong:
        with pytest.raises(
            ValueError, match="the cross-encoder must give a finite number for each of 4 pairs"
        ):
            TwoStageSearch(first, Fixed(say), TEXTS).search(["cat"])


def test_two_stages_say_what_they_need():
    first = BM25().fit(TEXTS)
    for arguments, message in (
        ((5, Longest(), TEXTS), "first must have a method search, got 5"),
        ((first, 5, TEXTS), "cross_encoder must have a method score, got 5"),
        ((first, Longest(), 5), "texts must be a list of str, got 5"),
        ((first, Longest(), {0: 5}), "texts must hold str only, got 5"),
        ((first, Longest(), TEXTS, 0), "n must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            TwoStageSearch(*arguments)
    both = TwoStageSearch(first, Longest(), {0: "a cat"})
    with pytest.raises(ValueError, match="texts must hold the text of every document, there is none for"):
        both.search(["cat"])
    with pytest.raises(ValueError, match="k must be at least 1"):
        both.search(["cat"], 0)
    with pytest.raises(ValueError, match="queries must be a list of str, got 'cat'"):
        both.search("cat")
