"""Monitoring and choosing: against scipy, the alarm that was asked for, and figures by hand."""

import numpy as np
import pytest

from minillm.apps.ops import (
    Monitor,
    Option,
    break_even_requests,
    chance_distance,
    own_cost,
    pareto,
    token_cost,
)
from minillm.evaluation import psi

stats = pytest.importorskip("scipy.stats")


def test_the_distance_is_scipys_and_the_threshold_its_quantile():
    rng = np.random.default_rng(1)
    reference = rng.normal(size=4000)
    monitor = Monitor({"length": reference}, window=100, alarm=0.05, draws=600)
    # Kolmogorov's distribution for a window of 100 beside a large sample
    assert abs(monitor.thresholds["length"] - stats.kstwo.ppf(0.95, 100)) < 0.015
    shifted = rng.normal(0.8, 1, size=100)
    alerts = [alert for value in shifted for alert in monitor.add({"length": value})]
    assert [(a.window, a.measure) for a in alerts] == [(0, "length")]
    assert abs(alerts[0].distance - stats.ks_2samp(reference, shifted).statistic) < 1e-12


def test_false_alerts_come_as_often_as_asked():
    rng = np.random.default_rng(2)
    monitor = Monitor({"x": rng.normal(size=3000)}, window=50, alarm=0.1, draws=400)
    for value in rng.normal(size=50 * 300):
        monitor.add({"x": value})
    assert monitor.windows == 300
    assert 0.04 < len(monitor.alerts) / 300 < 0.18


def test_vectors_move_and_numbers_do_not():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(400, 8)) + 1
    monitor = Monitor({"length": rng.normal(size=400), "embedding": vectors}, window=60, alarm=0.01)
    middle = np.array([1.0, 1, 1, 1, -1, -1, -1, -1])
    for number, vector in zip(rng.normal(size=60), rng.normal(size=(60, 8)) + middle):
        monitor.add({"length": number, "embedding": vector})
    assert [alert.measure for alert in monitor.alerts] == ["embedding"]


def test_a_bad_request_is_not_counted():
    monitor = Monitor({"x": np.arange(40.0)}, window=2)
    for bad in ({"x": float("nan")}, {"y": 1.0}, {"x": [1.0]}, {"x": "one"}, 3, {}):
        with pytest.raises(ValueError):
            monitor.add(bad)
    monitor.add({"x": 1.0})
    assert monitor.windows == 0
    monitor.add({"x": 1.0})
    assert monitor.windows == 1
    for bad in ({}, {"x": np.arange(3.0)}, {"x": np.arange(40.0), "y": np.arange(41.0)}, {"x": [[[1.0]]]}):
        with pytest.raises(ValueError):
            Monitor(bad, window=2)


def test_a_window_that_is_refused_is_not_counted():
    rng = np.random.default_rng(5)
    monitor = Monitor({"vector": rng.normal(size=(60, 3)) + 1}, window=2, draws=100)
    monitor.add({"vector": np.zeros(3)})
    for _ in range(3):  # a mean of length 0 has no direction
        with pytest.raises(ValueError, match="length 0"):
            monitor.add({"vector": np.zeros(3)})
    assert (monitor.windows, monitor.alerts) == (0, [])
    monitor.add({"vector": -np.ones(3)})
    assert (monitor.windows, len(monitor.alerts)) == (1, 1)


def test_an_alarm_that_the_draws_cannot_tell_is_refused():
    numbers = np.arange(100.0)
    with pytest.raises(ValueError, match="1000 draws"):
        Monitor({"x": numbers}, window=10, alarm=0.001, draws=400)
    with pytest.raises(ValueError, match="20 draws"):
        chance_distance(numbers, 10, 0.05, 19, 0)
    for bad in (
        ([], 1, 0.1, 20, 0), ("one", 1, 0.1, 20, 0), (numbers, 100, 0.1, 20, 0), (numbers, 10, np.nan, 20, 0),
        (numbers, 10, 0.1, 20, -1), (numbers, 10, 0.1, 20, 0, 3),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            chance_distance(*bad)


def test_psi_of_chance_is_chi_squares():
    # n * PSI of k bins is about chi-squared with k - 1 degrees, where the reference is much larger than the window
    bound = chance_distance(np.random.default_rng(6).normal(size=8000), 200, 0.05, 300, 0, psi)
    assert bound == pytest.approx(stats.chi2.ppf(0.95, 9) / 200, rel=0.2)


def test_costs_by_hand():
    assert token_cost(1_000_000, 500_000, 2.0, 8.0) == pytest.approx(6.0)
    # 100 tokens a second all the time: 360,000 an hour for 3.6
    assert own_cost(1000, 3.6, 100, 1.0) == pytest.approx(0.01)
    assert own_cost(1000, 3.6, 100, 0.1) == pytest.approx(0.1)
    assert break_even_requests(3.6, 0.01) == pytest.approx(360)


def test_pareto_against_trying_all_weights():
    rng = np.random.default_rng(4)
    options = [Option(str(i), *rng.integers(0, 6, 3).astype(float)) for i in range(40)]
    front = pareto(options)
    # whoever is best for some weights above 0 is beaten by nobody
    for weights in rng.uniform(0.05, 1, (200, 3)):
        values = [w @ v for w, v in ((weights, np.array([o.quality, -o.cost, -o.seconds])) for o in options)]
        best = max(values)
        assert {o.name for o, v in zip(options, values) if v > best - 1e-12} <= {o.name for o in front}
    assert 0 < len(front) < len(options)
    for bad in ([Option("a", float("nan"), 0, 0)], [("a", 1, 1, 1)], 3, None):
        with pytest.raises(ValueError):
            pareto(bad)
