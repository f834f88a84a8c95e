"""The table of a semantic cache: its halves, its intervals, its lines."""

import numpy as np

from tests.benchmarks import cache_quality
from tests.benchmarks.cache_quality import GUARD, HEAD, METHODS, halves, lines_of, share


def test_the_halves_share_no_sentence():
    rng = np.random.default_rng(0)
    pairs = [(f"s{rng.integers(60)}", f"s{rng.integers(60) + 20 * (n % 3)}", True) for n in range(50)]
    pairs += [(f"a{n}", f"b{n}", False) for n in range(100)]
    for seed in range(5):
        chooses, reported = halves(pairs, seed)
        assert (chooses ^ reported).all()
        texts = [
            {text for pair, part in zip(pairs, side) if part for text in pair[:2]}
            for side in (chooses, reported)
        ]
        assert not texts[0] & texts[1]
        assert 20 < chooses.sum() < 130


def test_a_share_stands_with_wilsons_interval():
    assert share(3 / 40, 40) == "0.07 [0.03, 0.20]"  # scipy's binomtest(3, 40).proportion_ci(method="wilson")
    assert share(0.0, 30) == "0.00 [0.00, 0.11]"


def test_a_line_a_seed_without_the_guard_and_with_it(monkeypatch):
    method = next(iter(METHODS))
    texts = [(f"plan {n}", f"the plan {n + n % 2}", n % 4 < 2) for n in range(80)]
    monkeypatch.setattr(cache_quality, "pairs_of", lambda data, most=None: texts[:most])
    row = {
        "method": method, "same": [one[2] for one in texts], "numbers": [n % 2 == 0 for n in range(80)],
        "similarities": [0.9 - 0.001 * n for n in range(80)],
    }  # fmt: skip
    lines = lines_of(row, [0, 1])
    assert [line[0] for line in lines] == [
        f"{method}, 0",
        f"{method}{GUARD}, 0",
        f"{method}, 1",
        f"{method}{GUARD}, 1",
    ]
    assert all(len(line) == len(HEAD) for line in lines)
    assert {line[-1] for line in lines} == {""}
    worse = row | {"method": "shared words, English", "similarities": [0.001 * n for n in range(80)]}
    against = [line[-1] for line in lines_of(row, [0], worse)]
    assert all(int(one.split(",")[0]) > 0 for one in against)
