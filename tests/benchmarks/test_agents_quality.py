"""The table of agents: levels one by one, seeds one below the other, wins and losses against the right line."""

from minillm.data.agent_checks import agent_checks
from minillm.inference import ScriptedChat
from tests.benchmarks.agent_checks_quality import HEAD as CHECKS_HEAD
from tests.benchmarks.agent_checks_quality import NEUTRAL, beyond
from tests.benchmarks.agent_checks_quality import line_of as line_of_checks
from tests.benchmarks.agents_quality import BOTH, HEAD, LETTERS, lines_of


def row(done):
    return {
        "done": done, "level": [1, 1, 2, 3], "forbidden": [0, 0, 1, 1], "calls": [1, 1, 2, 4],
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


def test_the_checks_of_behaviour_are_counted_by_kind_and_language():
    checks = agent_checks()
    shorter = [float(len(one.better) < len(one.worse)) for one in checks]
    social = {
        "method": "x",
        "better": [float(one.kind == "social") for one in checks],
        "A": 1.0,
        "seconds": 2.4,
    }
    line = line_of_checks(social, checks, shorter)
    assert len(line) == len(CHECKS_HEAD)
    assert line[2] == "10 of 20 [0.30, 0.70]"  # Wilson at one half: z^2 / (n + z^2) = 0.161, its root 0.401
    assert line[3:7] == ["10 of 10", "0 of 10", "5 of 10", "5 of 10"]
    wins = sum(one.kind == "social" and len(one.better) >= len(one.worse) for one in checks)
    assert line[7].startswith(f"{wins}, ")
    assert line[8:] == ["1.00", "2"]


def test_what_the_situation_adds_is_counted_and_not_what_is_likely_anyway():
    check = agent_checks()[0]

    class Odds(ScriptedChat):
        def __init__(self, asked):
            super().__init__([""])
            self.odds = asked

        def choose(self, messages, options):
            better = {NEUTRAL: 0.9}.get(messages[0]["content"], self.odds)
            return int(better < 0.5), [better, 1 - better]

    assert beyond(Odds(0.95), check) == 1.0
    assert beyond(Odds(0.85), check) == 0.0  # still the likelier one, but less than it is anyway
    assert beyond(Odds(1.0), check) == 1.0  # the other is 0: no error
