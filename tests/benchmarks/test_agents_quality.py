"""The table of agents: levels one by one, seeds one below the other, wins and losses against the right line."""

from tests.benchmarks.agents_quality import BOTH, HEAD, LETTERS, lines_of


def row(done):
    return {
        "done": done, "level": [1, 1, 2, 3], "forbidden": [0, 0, 1, 1], "steps": [1, 1, 2, 4],
        "tokens": [0, 0, 4, 4], "seconds": 1.6,
    }  # fmt: skip


def test_a_line_counts_each_level_and_compares_the_same_seed():
    lines = lines_of(
        {(LETTERS, 1): row([1, 0, 0, 0]), (LETTERS, 0): row([1, 1, 0, 0]), (BOTH, 0): row([1, 0, 1, 1])}
    )
    letters, both = lines
    assert [len(line) for line in lines] == [len(HEAD)] * 2
    assert letters[0] == LETTERS
    assert letters[1] == "4<br>4"
    assert [part[:6] for part in letters[2].split("<br>")] == ["2 of 2", "1 of 2"]
    assert letters[5:7] == ["2<br>2", "2.0, 2<br>2.0, 2"]
    assert letters[7] == "<br>"
    assert both[2].startswith("1 of 2 [0.09, 0.91]")  # Wilson: z^2 = 3.84, half = sqrt(z^2 / (n + z^2)) / 2
    assert both[7].startswith("2, 1; +0.250 ")
    assert both[7].endswith(f"against {LETTERS}")
    assert both[8] == "2"
