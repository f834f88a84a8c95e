"""Answers, agreement, drift and ratings, where the truth is known: by hand, by scipy, by simulated arenas."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from minillm.evaluation import (
    auc,
    bradley_terry,
    centroid_distance,
    cohen_kappa,
    elo,
    exact_match,
    f1,
    ks_statistic,
    psi,
    wilson_interval,
)
from minillm.evaluation.ratings import ELO_POINTS, never_beaten, strengths
from tests.helpers import soak_count

# answers


@pytest.mark.parametrize(("prediction", "gold", "language", "exact", "shared"), [
    ("The Cat!", "cat", "en", 1, 1), ("a cat sat", "the cat", "en", 0, 2 / 3), ("cat", ["dog", "cat"], "en", 1, 1),
    ("dog", "cat", "en", 0, 0), ("", "", "en", 1, 1), ("the", "", "en", 1, 1), ("x", "", "en", 0, 0),
    ("cat cat", "cat", "en", 0, 2 / 3), ("학교에", "학교", "en", 0, 0),
    ("학교에", "학교", "ko", 0, 4 / 5), ("《토지》", "토지", "ko", 1, 1), ("서울 시", "서울시", "ko", 0, 1),
])  # fmt: skip
def test_short_answers(prediction, gold, language, exact, shared):
    assert exact_match(prediction, gold, language) == exact
    assert f1(prediction, gold, language) == pytest.approx(shared)


# agreement


def test_kappa_by_hand():
    # 50 items, the textbook's table: 20 both yes, 15 both no, 5 and 10 apart: .7 observed, .5 expected
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert cohen_kappa([1, 2, 3], [1, 2, 3]) == 1
    assert cohen_kappa([0, 1], [1, 0]) == -1
    assert math.isnan(cohen_kappa(["A", "A"], ["A", "A"]))
    always, balanced = ["A"] * 40, ["A", "B"] * 20
    assert cohen_kappa(always, balanced) == 0


def test_auc_by_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(30):
        y = rng.integers(0, 2, 40)
        s = rng.integers(0, 6, 40)  # many ties
        if 0 < y.sum() < 40:
            pairs = [(a > b) + (a == b) / 2 for a in s[y == 1] for b in s[y == 0]]
            assert auc(s, y) == pytest.approx(np.mean(pairs))
    assert auc([1, 2, 3], [0, 1, 1]) == 1
    assert auc([1, 2, 3], [True, True, False]) == 0


def test_shares_have_wilsons_interval():
    for right, n in ((0, 10), (10, 10), (3, 40), (26, 80)):
        theirs = stats.binomtest(right, n).proportion_ci(0.95, "wilson")
        assert wilson_interval(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


# drift


def test_ks_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 9, rng.integers(1, 50)), rng.normal(4, 2, rng.integers(1, 50))
        assert ks_statistic(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_psi_by_its_sum():
    same = list(range(100))
    assert psi(same, same) == pytest.approx(0)
    # halves .5/.5 against .2/.8
    moved = psi([0] * 50 + [1] * 50, [0] * 20 + [1] * 80, bins=2)
    assert moved == pytest.approx((0.2 - 0.5) * math.log(0.2 / 0.5) + (0.8 - 0.5) * math.log(0.8 / 0.5))
    rng = np.random.default_rng(0)
    assert psi(rng.normal(size=20_000), rng.normal(size=20_000)) < 0.01
    assert psi(rng.normal(size=20_000), rng.normal(1, 1, 20_000)) > 0.5
    # a normal one moved by d has (F(b - d) - F(b)) log-ratio sums: against the closed form
    edges = stats.norm.ppf(np.linspace(0, 1, 11))
    e, a = np.full(10, 0.1), np.diff(stats.norm.cdf(edges - 0.5))
    closed = ((a - e) * np.log(a / e)).sum()
    assert psi(rng.normal(size=200_000), rng.normal(0.5, 1, 200_000)) == pytest.approx(closed, rel=0.1)


def test_psi_sees_yes_and_no_change_whichever_is_rare():
    """Every quantile of 95 % yes is the yes: the no below it is a bin of its own."""

    def terms(e, a):
        return sum((y - x) * math.log(y / x) for x, y in zip(e, a))

    for rare, usual in ((0, 1), (1, 0)):
        old = [rare] * 5 + [usual] * 95
        assert psi(old, old) == 0
        assert psi(old, [rare] * 60 + [usual] * 40) == pytest.approx(terms([0.05, 0.95], [0.6, 0.4]))
    for other in (0, 2):  # a number that was always the same, and is not any more
        assert psi([1] * 50, [other] * 50) == pytest.approx(terms([1e-4, 1], [1, 1e-4]))
    rng = np.random.default_rng(0)
    waits = np.maximum(0, rng.normal(size=2000))  # half of them 0
    assert psi(waits, np.maximum(0, rng.normal(size=2000))) < 0.02


def test_centroids():
    a = [[1.0, 0.0], [1.0, 2.0]]
    assert centroid_distance(a, a) == pytest.approx(0)
    assert centroid_distance([[1, 0]], [[0, 3]]) == pytest.approx(1)
    assert centroid_distance([[1, 1]], [[-2, -2]]) == pytest.approx(2)


# ratings


def test_two_players_have_the_closed_form():
    games = [("a", "b", 1)] * 30 + [("b", "a", 1)] * 9 + [("a", "b", 0.5)] * 2
    found = bradley_terry(games, resamples=0)
    assert found["a"] - found["b"] == pytest.approx(math.log(31 / 10))
    assert found["a"] + found["b"] == pytest.approx(0)
    points = bradley_terry(games, points="elo", resamples=0)
    assert points["a"] - points["b"] == pytest.approx(400 * math.log10(31 / 10))
    assert pytest.approx(173.7178) == ELO_POINTS


def test_the_likeliest_strengths_have_no_slope():
    rng = np.random.default_rng(0)
    wins = rng.integers(1, 9, (6, 6)).astype(float)
    np.fill_diagonal(wins, 0)
    s = strengths(wins)
    p = 1 / (1 + np.exp(s[None, :] - s[:, None]))
    expected = ((wins + wins.T) * p).sum(1)  # at the maximum everyone wins as often as the model says
    np.testing.assert_allclose(wins.sum(1), expected, atol=1e-9)
    far = strengths(np.array([[0, 10_000.0], [1, 0]]))
    assert far[0] - far[1] == pytest.approx(math.log(10_000))


def test_elo_by_hand():
    found = elo([("a", "b", 1), ("b", "a", 0.5)], k=32, resamples=0)
    first = 16.0  # 1 - 1/2, times 32
    second = 32 * (0.5 - 1 / (1 + 10 ** (2 * first / 400)))
    assert found["a"] == pytest.approx(1000 + first - second)
    assert found["b"] == pytest.approx(1000 - first + second)
    assert list(found) == ["a", "b"]


def test_elo_depends_on_the_order_and_bradley_terry_does_not():
    games = [("a", "b", 1)] * 20 + [("b", "a", 1)] * 20 + [("a", "c", 1), ("c", "b", 1), ("c", "a", 1)]
    back = games[::-1]
    assert abs(elo(games, k=32, resamples=0)["a"] - elo(back, k=32, resamples=0)["a"]) > 5
    ours, other = bradley_terry(games, resamples=0), bradley_terry(back, resamples=0)
    assert dict(ours) == pytest.approx(dict(other))


def test_who_never_lost_is_named():
    games = [("a", "b", 1), ("b", "c", 1), ("c", "b", 1)]
    with pytest.raises(ValueError, match=r"^a never lost to the others"):
        bradley_terry(games)
    held = bradley_terry(games, alpha=0.1, resamples=0)
    assert next(iter(held)) == "a"
    apart = np.zeros((4, 4))
    apart[0, 1] = apart[1, 0] = apart[2, 3] = apart[3, 2] = 1
    assert never_beaten(apart) in ([0, 1], [2, 3])  # two leagues that never met


def arena(seed, true, games):
    rng = random.Random(seed)
    names = list(true)
    for _ in range(games):
        a, b = rng.sample(names, 2)
        yield a, b, float(rng.random() < 1 / (1 + math.exp(true[b] - true[a])))


@pytest.mark.soak
def test_intervals_hold_the_truth_as_often_as_they_say():
    true = {"a": 0.8, "b": 0.3, "c": -0.1, "d": -1.0}
    arenas, held, of = soak_count(1000), 0, 0
    for seed in range(arenas):
        found = bradley_terry(list(arena(seed, true, 150)), resamples=100, seed=seed)
        held += sum(found[name].low <= true[name] <= found[name].high for name in true)
        of += len(true)
    low, high = wilson_interval(held, of, 0.9999)
    assert low < 0.98 and high > 0.92, (held, of)  # noqa: PT018


def test_an_interval_is_wider_with_fewer_games():
    true = {"a": 1.0, "b": 0.0}
    wide, narrow = (bradley_terry(list(arena(0, true, n)), seed=1)["a"] for n in (40, 1000))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert narrow.low < 0.5 < narrow.high  # half of the difference of 1, as the mean is 0
    assert repr(narrow).endswith("]")
    assert narrow + 1 == float(narrow) + 1


# refusals


@pytest.mark.parametrize(("call", "said"), [
    (lambda: exact_match("a", []), "gold must be"),
    (lambda: f1("a", {"text": ["a"]}), "gold must be"), (lambda: f1("a", "a", "fr"), "language"),
    (lambda: f1(None, "a"), "prediction"), (lambda: cohen_kappa([1], [1, 2]), "same items"),
    (lambda: cohen_kappa([], []), "one at least"), (lambda: cohen_kappa([[1]], [[1]]), "str or numbers"),
    (lambda: auc([1, 2], [1, 1]), "both labels"), (lambda: auc([1], [2]), "0 or 1"),
    (lambda: wilson_interval(3, 2), "hits"), (lambda: psi([], [1]), "at least one number"),
    (lambda: psi([1], [math.nan]), "finite"), (lambda: ks_statistic("ab", [1]), "finite numbers"),
    (lambda: centroid_distance([[1, 2]], [[1]]), "one width"),
    (lambda: centroid_distance([[0, 0]], [[1, 1]]), "length 0"),
    (lambda: centroid_distance([1], [1]), r"\(N, D\)"), (lambda: elo([]), "at least one game"),
    (lambda: elo([("a", "a", 1)]), "two different players"), (lambda: elo([("a", "b", 0.3)]), "1 .a won., 0"),
    (lambda: elo([("a", "b", 1)], k=1e9), "k must be"), (lambda: elo([(math.nan, "b", 1)]), "equal to itself"),
    (lambda: elo([("a", "b")]), "must be .a, b, result."), (lambda: elo("ab"), "list of"),
    (lambda: bradley_terry([("a", "b", 0.5)], points="chess"), "points"),
    (lambda: bradley_terry([("a", "b", 0.5)], resamples=3), "resamples"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
