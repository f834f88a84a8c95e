"""Naive Bayes on characters: by hand on three words, and scikit-learn's log probabilities."""

import unicodedata

import numpy as np
import pytest
import torch

from minillm.evaluation import CharacterNaiveBayes, character_ngrams


def test_ngrams():
    assert character_ngrams("새 책", 2) == ["새", " ", "책", "새 ", " 책"]
    assert character_ngrams("ab", 3) == ["a", "b", "ab"]
    assert character_ngrams("", 3) == []


def test_by_hand():
    """Two texts "aa", one "ab": p(a | x) = (4 + 1) / (4 + 2), p(b | x) = 1 / 6; p(a | y) = p(b | y) = 2 / 4."""
    model = CharacterNaiveBayes(longest=1).fit(["aa", "aa", "ab"], ["x", "x", "y"])
    assert model.labels == ["x", "y"]
    wanted = [np.log(2 / 3) + np.log(5 / 6) + np.log(1 / 6), np.log(1 / 3) + 2 * np.log(1 / 2)]
    np.testing.assert_allclose(model.log_scores(["ab"])[0], wanted, rtol=1e-12)
    np.testing.assert_allclose(model.log_scores(["?"])[0], np.log([2 / 3, 1 / 3]))  # never seen: the prior
    assert model.predict(["aa", "bb"]) == ["x", "y"]


@pytest.mark.parametrize("longest", [1, 2, 3])
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_scikit_learn_says_the_same(longest, smoothing):
    text, bayes = (
        pytest.importorskip("sklearn.feature_extraction.text"),
        pytest.importorskip("sklearn.naive_bayes"),
    )
    rng = np.random.default_rng(longest)
    texts = ["".join(rng.choice(list("가나다라 "), 12)).strip() or "가" for _ in range(60)]
    texts = [" ".join(t.split()) for t in texts]  # scikit-learn makes runs of blanks one
    labels = rng.integers(0, 3, 60).tolist()
    counter = text.CountVectorizer(analyzer="char", ngram_range=(1, longest), lowercase=False)
    peer = bayes.MultinomialNB(alpha=smoothing).fit(counter.fit_transform(texts[:40]), labels[:40])
    ours = CharacterNaiveBayes(longest, smoothing).fit(texts[:40], labels[:40]).log_scores(texts[40:])
    theirs = peer.predict_joint_log_proba(counter.transform(texts[40:]))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="before predictions"):
        CharacterNaiveBayes().predict(["a"])
    for texts, labels in (([], []), (["a"], []), ("ab", [1, 2]), ([1], [1]), (["a", "b"], ["x", 1])):
        with pytest.raises(ValueError):
            CharacterNaiveBayes().fit(texts, labels)
    for options in ({"longest": 0}, {"smoothing": 0}, {"smoothing": "1"}):
        with pytest.raises(ValueError):
            CharacterNaiveBayes(**options)
    for arguments in ((None,), ("ab", 0), ("ab", 1.5), (["ab"],)):
        with pytest.raises(ValueError, match=r"(text|longest) must be"):
            character_ngrams(*arguments)


def test_hangul_of_single_letters_is_the_same_text():
    model = CharacterNaiveBayes().fit(["책상", "야구공", "책장", "야구장"], [0, 1, 0, 1])
    assert model.predict([unicodedata.normalize("NFD", text) for text in ("책", "야구")]) == [0, 1]


def test_labels_may_be_a_tensor():
    """Each number of a tensor is an object of its own, and two equal ones were two classes."""
    model = CharacterNaiveBayes().fit(["a", "b", "a"], torch.tensor([0, 1, 0]))
    assert model.labels == [0, 1]
    with pytest.raises(ValueError, match="labels must be a list"):
        CharacterNaiveBayes().fit(["a"], torch.tensor(0))
