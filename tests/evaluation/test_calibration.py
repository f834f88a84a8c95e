"""Expected calibration error where it can be said beforehand."""

import numpy as np
import pytest

from minillm.evaluation import expected_calibration_error


def test_known_errors():
    assert expected_calibration_error([1.0, 0.0], [1, 0]) == 0
    assert expected_calibration_error([1.0, 0.0], [0, 1]) == 1
    assert expected_calibration_error([0.7] * 10, [1] * 7 + [0] * 3) == pytest.approx(0)
    assert expected_calibration_error([0.9] * 10, [True] * 7 + [False] * 3) == pytest.approx(0.2)
    # two bins, weighed by their items: 3 that are .2 off, 1 that is .5 off
    assert expected_calibration_error([0.2, 0.2, 0.2, 0.5], [0, 0, 0, 1], 2) == pytest.approx(
        0.75 * 0.2 + 0.25 * 0.5
    )


def test_a_coin_that_is_said_to_be_one_is_calibrated():
    outcomes = np.random.default_rng(0).random(20_000) < 0.5
    assert expected_calibration_error(np.full(20_000, 0.5), outcomes) < 0.02


def test_what_is_no_prediction_is_refused():
    for p, y in (
        ([], []),
        ([0.5], [1, 0]),
        ([1.5], [1]),
        ([0.5], [2]),
        ([float("nan")], [1]),
        ("ab", [1, 0]),
    ):
        with pytest.raises(ValueError, match=r"expected|must be"):
            expected_calibration_error(p, y)
    with pytest.raises(ValueError, match="bins must be at least 1"):
        expected_calibration_error([0.5], [1], 0)
