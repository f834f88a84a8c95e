"""The table of chapter 4's methods: best of n from sixteen answers, and what a line says of each seed."""

import numpy as np
import pytest

from minillm.training import best_of_n_probabilities
from tests.benchmarks import alignment_quality as table


def run(method, seed, scores, kl=0.5, seconds=3.0, each=4):
    """A recorded run with the same scores for each of its instructions."""
    return {"method": method, "seed": seed, "kl": kl, "seconds": seconds} | {
        name: np.full((30, each), scores.get(name, 0.0)).tolist()
        for name in ("proxy", "true", "passed", "readable")
    }


def test_best_of_n_has_the_mean_that_its_closed_form_has():
    """Two kinds of answer, one of a higher proxy and a lower true score."""
    rng = np.random.default_rng(0)
    liked = rng.random((4000, 16)) < 0.3
    scores = {
        "proxy": liked * 1.0,
        "true": np.where(liked, 0.2, 0.9),
        "passed": liked * 1.0,
        "readable": liked * 1.0,
    }
    found = table.best_rows({name: values.tolist() for name, values in scores.items()})
    for n, rows in found.items():
        p = best_of_n_probabilities([0.7, 0.3], [0.0, 1.0], n)
        assert rows["true"].mean() == pytest.approx(p @ [0.9, 0.2], abs=0.01)
        assert rows["true"].shape == (4000,)


def test_a_line_holds_every_seed_and_the_change_from_its_own_sft_model():
    done = {
        (one["method"], one["seed"]): one
        for one in [
            run(table.SFT, 0, {"true": 0.4, "proxy": 0.0}, kl=0.0, each=16),
            run(table.SFT, 1, {"true": 0.5, "proxy": 0.1}, kl=0.0, each=16),
            run(
                "DPO, beta 0.3, stopped by validation", 1, {"true": 0.45, "proxy": 1.2}, kl=1.25, seconds=7.0
            ),
            run("DPO, beta 0.3, stopped by validation", 0, {"true": 0.55, "proxy": 1.0}, kl=1.5, seconds=6.0),
        ]
    }
    lines = {line[0]: line[1:] for line in table.lines_of(done)}
    assert lines["DPO, beta 0.3, stopped by validation"] == [
        "1.000<br>1.200", "0.550<br>0.450", "+0.150 [+0.150, +0.150]<br>-0.050 [-0.050, -0.050]", "0.000<br>0.000",
        "0.000<br>0.000", "1.50<br>1.25", "6<br>7",
    ]  # fmt: skip
    assert lines[table.SFT][2] == "<br>"
    assert lines["best of 4 by the proxy"][5] == "0.64<br>0.64"  # log 4 - 3/4
    assert set(lines) <= set(table.order())
