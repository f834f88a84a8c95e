"""An arena counts every vote once, shows no names, and keeps what it has acknowledged."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from minillm.apps.judging import Arena
from minillm.evaluation import bradley_terry
from tests.helpers import ROOT, soak_count

MODELS = ("alpha-model", "beta-model", "gamma-model")


@pytest.fixture
def arena(tmp_path):
    made = Arena(tmp_path / "votes.db")
    for number in range(4):
        made.add(f"question {number}", {model: f"answer {number} by letter {model[0]}" for model in MODELS})
    return made


def test_every_pair_comes_once_and_the_one_with_fewest_votes_first(arena):
    seen = []
    while (ballot := arena.next("me")) is not None:
        seen.append(ballot.id)
        assert arena.vote(ballot.id, "me", "tie")
    assert len(seen) == len(set(seen)) == 4 * 3
    first = arena.next("you")
    arena.vote(first.id, "you", "left")
    assert arena.next("another").id != first.id  # all others have one vote
    counts = Counter()
    for voter in range(11):
        ballot = arena.next(f"voter {voter}")
        counts[ballot.id] += 1
        arena.vote(ballot.id, f"voter {voter}", "left")
    assert set(counts.values()) == {1}


def test_a_ballot_is_blind_and_the_same_when_it_is_asked_for_again(arena):
    ballot = arena.next("me")
    assert not any(model in str(ballot) for model in MODELS)
    assert arena.next("me") == ballot
    lefts = Counter()
    for voter in range(300):
        one = arena._ballot_of(f"voter {voter}", 1)
        lefts[one.left] += 1
    assert len(lefts) == 2
    assert min(lefts.values()) > 110  # of 300, by a checksum


def test_games_are_the_votes(arena):
    ballot = arena.next("me")
    left = f"{ballot.left[-1]}"
    arena.vote(ballot.id, "me", "left")
    ((a, b, result),) = arena.games()
    assert a.startswith(left)
    assert b.startswith(ballot.right[-1])
    assert result == 1
    second = arena.next("me")
    arena.vote(second.id, "me", "right")
    assert arena.games()[1][2] == 0


def test_a_vote_counts_once_also_from_many_threads(arena):
    ballot = arena.next("me")
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda n: arena.vote(ballot.id, "me", ("left", "right")[n % 2]), range(24)))
    assert sum(counted) == 1
    assert arena.stats()["votes"] == 1


def test_better_models_come_out_first(arena):
    worth = {"a": 2, "b": 1, "g": 0}
    for voter in range(5):
        while (ballot := arena.next(f"voter {voter}")) is not None:
            better = worth[ballot.left[-1]] > worth[ballot.right[-1]]
            upset = voter == 4  # one voter sees it the other way round
            arena.vote(ballot.id, f"voter {voter}", "left" if better != upset else "right")
    assert list(bradley_terry(arena.games(), resamples=0)) == list(MODELS)
    assert arena.stats() == {
        "questions": 4,
        "pairs": 12,
        "votes": 60,
        "voters": 5,
        "left": arena.stats()["left"],
    }


def test_another_opening_sees_what_was_stored(arena):
    arena.vote(arena.next("me").id, "me", "tie")
    again = Arena(arena.path)
    assert again.games() == arena.games()
    again.add("question 0", {"delta-model": "late"})
    assert again.stats()["pairs"] == 4 * 3 + 3


def test_what_is_refused_changes_nothing(arena, tmp_path):
    before = arena.stats(), arena.games()
    for call, said in (
        (lambda: arena.add("question 9", {"a": "x"}), "two models"),
        (lambda: arena.add("question 9", {}), "must be a dict"),
        (lambda: arena.add("", {"a": "x", "b": "y"}), "question must be a text"),
        (lambda: arena.add("q", {"a": "x", "b": " "}), "answer of 'b'"),
        (lambda: arena.add("q", {"a": "x" * 100_001, "b": "y"}), "100,000"),
        (lambda: arena.add("question 0", {"new": "x", MODELS[0]: "other"}), "another answer"),
        (lambda: arena.vote(999, "me", "left"), "no ballot 999"),
        (lambda: arena.vote("1", "me", "left"), "no ballot"),
        (lambda: arena.vote(True, "me", "left"), "no ballot"),
        (lambda: arena.vote(2**80, "me", "left"), "no ballot"),
        (lambda: arena.vote(1, "me", "middle"), "choice must be"),
        (lambda: arena.next(""), "voter must be"),
        (lambda: arena.next("\ud800"), "voter must be"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    assert (arena.stats(), arena.games()) == before
    (tmp_path / "text").write_text("no data base, but a text that is long enough to be read as one" * 20)
    with pytest.raises(ValueError, match="no SQLite file"):
        Arena(tmp_path / "text")
    with pytest.raises(ValueError, match="cannot be opened"):
        Arena(tmp_path / "no folder" / "votes.db")
    with sqlite3.connect(tmp_path / "other.db") as base:  # another program's, which has a table of this name
        base.execute("CREATE TABLE votes (party TEXT)")
    base.close()
    with pytest.raises(ValueError, match=r"other\.db is no arena: no such column"):
        Arena(tmp_path / "other.db").stats()


KILLED = """
import sys
from minillm.apps.judging.arena import Arena
arena = Arena(sys.argv[1])
number = 0
while True:
    ballot = arena.next(f"voter {number}")
    assert arena.vote(ballot.id, f"voter {number}", "left")
    print(number, flush=True)
    number += 1
"""


def test_an_acknowledged_vote_survives_a_kill(arena):
    for _ in range(soak_count(50)):
        start = arena.stats()["votes"]
        code = KILLED.replace("voter {number}", f"{start}/{{number}}")
        with subprocess.Popen(
            [sys.executable, "-c", code, str(arena.path)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ) as process:  # fmt: skip
            told = [process.stdout.readline() for _ in range(7)]
            process.send_signal(signal.SIGKILL)
            told += process.stdout.readlines()
        whole = sum(line.endswith("\n") for line in told)
        assert whole >= 7
        assert arena.stats()["votes"] - start in (whole, whole + 1)  # one may be stored and not told any more
