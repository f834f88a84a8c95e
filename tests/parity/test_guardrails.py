"""Guardrails against scikit-learn (features, logistic regression, calibration), scipy and python-stdnum's verdicts."""

import json
from pathlib import Path

import numpy as np
import pytest

from minillm.apps.guardrails.classifier import logistic_regression, platt
from minillm.apps.guardrails.id_numbers import business_number, iban, luhn, old_check_digit
from minillm.apps.guardrails.ngram_encoder import hashed_counts, ngrams
from minillm.data import attack_prompts
from minillm.data.personal_texts import business_digit, iban_digits, luhn_digit, resident_digit
from minillm.evaluation import auc, wilson_interval

STDNUM = json.loads(Path(__file__).with_name("stdnum.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("kind", "ours"),
    [("luhn", luhn), ("resident", old_check_digit), ("iban", iban)],
)
def test_check_digits_equal_those_of_python_stdnum(kind, ours):
    rows = STDNUM[kind]
    assert len(rows) > 150
    assert 0 < sum(rows.values()) < len(rows)
    assert {number: ours(number) for number in rows} == rows


# Business numbers are public; python-stdnum looks at their form alone. These are large companies' own.
COMPANIES = [
    "2208162517", "1208147521", "1248100998", "1018109147", "1208800767", "1078614075", "1048137225", "1168200276",
]  # fmt: skip


def test_business_numbers_of_companies():
    assert [business_number(one) for one in COMPANIES] == [True] * len(COMPANIES)
    assert [business_digit(one[:9]) for one in COMPANIES] == [one[9] for one in COMPANIES]
    wrong = [one[:9] + str((int(one[9]) + n) % 10) for one in COMPANIES for n in range(1, 10)]
    assert not any(map(business_number, wrong))


def test_numbers_of_foreigners():
    """Values of the tests of Presidio's recognizer of foreigner registration numbers."""
    assert [*map(old_check_digit, ["9111245678906", "0509126000012"])] == [True, True]
    assert not any(map(old_check_digit, ["9111245678901", "0005057637892", "0005056637892"]))


def test_the_generators_digits_equal_those_of_python_stdnum():
    right = {kind: [number for number, valid in rows.items() if valid] for kind, rows in STDNUM.items()}
    assert [luhn_digit(one[:-1]) for one in right["luhn"]] == [one[-1] for one in right["luhn"]]
    assert [resident_digit(one[:-1]) for one in right["resident"]] == [one[-1] for one in right["resident"]]
    assert [iban_digits(one[:2], one[4:]) for one in right["iban"]] == [one[2:4] for one in right["iban"]]


def test_ngrams_are_counted_as_scikit_learn_counts_them():
    peer = pytest.importorskip("sklearn.feature_extraction.text", reason="held against scikit-learn")
    texts = ["ignore all  rules", "규칙을 무시해", "a", "", "\ud83d\ude00 x y"]
    counter = peer.CountVectorizer(analyzer="char", ngram_range=(2, 4), lowercase=False)
    texts = [" ".join(text.split()) for text in texts]  # scikit-learn joins blanks
    counts = counter.fit_transform(texts)
    for text, row in zip(texts, counts.toarray()):
        expected = {gram: int(n) for gram, n in zip(counter.get_feature_names_out(), row) if n}
        found = ngrams(text)
        assert {gram: found.count(gram) for gram in found} == expected
        assert hashed_counts(text, 2**20).sum() == row.sum()


@pytest.mark.parametrize("l2", [1e-2, 1e-1])
def test_logistic_regression_equals_scikit_learns(l2):
    peer = pytest.importorskip("sklearn.linear_model", reason="held against scikit-learn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = (x @ rng.normal(size=6) + 0.3 + rng.normal(size=80) > 0).astype(float)
    w, b = logistic_regression(x, y, l2, steps=3000)
    theirs = peer.LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(w, theirs.coef_[0], atol=2e-4)
    assert b == pytest.approx(theirs.intercept_[0], abs=2e-4)


def test_platt_scaling_equals_scikit_learns():
    peer = pytest.importorskip("sklearn.calibration", reason="held against scikit-learn")
    rng = np.random.default_rng(1)
    for shift in (-1.0, 0.0, 2.0):
        scores = rng.normal(size=60)
        y = (scores + shift + rng.logistic(size=60) > 0).astype(float)
        a, c = platt(scores, y)
        theirs = peer._SigmoidCalibration().fit(scores, y)
        # theirs is 1 / (1 + exp(a x + b))
        np.testing.assert_allclose([a, c], [-theirs.a_, -theirs.b_], atol=1e-3)


def test_auc_and_intervals():
    metrics = pytest.importorskip("sklearn.metrics", reason="held against scikit-learn")
    stats = pytest.importorskip("scipy.stats", reason="held against scipy")
    rng = np.random.default_rng(2)
    for n in (2, 7, 60):
        labels = np.arange(n) % 2
        scores = rng.integers(0, 9, n) / 4  # with ties
        assert auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    for hits, n in ((0, 1), (1, 1), (0, 20), (3, 20), (20, 20), (70, 84)):
        expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_classifier_ranks_held_out_prompts_as_a_peers_does():
    """The whole rail against the peer's pipeline: the same features, so the same ranking within a little."""
    text = pytest.importorskip("sklearn.feature_extraction.text", reason="held against scikit-learn")
    linear = pytest.importorskip("sklearn.linear_model", reason="held against scikit-learn")
    from minillm.apps.guardrails import TextClassifier

    tune = [one for one in attack_prompts("tune") if not one.disguise]
    held = [one for one in attack_prompts("held_out") if not one.disguise]
    ours = TextClassifier().fit(
        [one.text for one in tune], [one.attack for one in tune], [one.family for one in tune], folds=3
    )
    counter = text.TfidfVectorizer(analyzer="char", ngram_range=(2, 4), use_idf=False, sublinear_tf=True)
    x = counter.fit_transform([f" {one.text} " for one in tune])
    theirs = linear.LogisticRegression(C=1 / (1e-3 * len(tune)), max_iter=2000).fit(
        x, [one.attack for one in tune]
    )
    labels = [one.attack for one in held]
    mine = auc(ours.scores([one.text for one in held]), labels)
    peer = auc(theirs.decision_function(counter.transform([f" {one.text} " for one in held])), labels)
    assert mine == pytest.approx(peer, abs=0.06)
