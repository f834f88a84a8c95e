"""An arena (아레나): people see two answers, do not know whose they are, and say which is better.

    arena = Arena("votes.db")
    arena.add("What is a tensor?", {"model one": "...", "model two": "..."})
    ballot = arena.next("voter 7")            a question and two texts, no names
    arena.vote(ballot.id, "voter 7", "left")
    bradley_terry(arena.games())

Blind: names never leave the file, and a page shows none. (Ids are counted, sides a checksum: who has this source and
wants to cheat can tell which ballots compare the same two.) Fair: the pair with the fewest votes comes next, and a
checksum of voter and pair decides who stands left, so that each model stands left as often as right. Once: a voter has
one vote on a pair; a second one is refused. One SQLite file; a vote that was acknowledged survives kill -9.

Book: 13.3.3 정성적 지표 (사람이 직접 평가하는 방식). Paper: Chiang et al. 2024 (Chatbot Arena).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_path, check_text, describe

CHOICES = {"left": 1.0, "right": 0.0, "tie": 0.5}
LONGEST = 100_000  # characters of a question or an answer
SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS answers (
    question INTEGER NOT NULL REFERENCES questions (id), model TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (question, model)
);
CREATE TABLE IF NOT EXISTS pairs (
    id INTEGER PRIMARY KEY, question INTEGER NOT NULL, one TEXT NOT NULL, other TEXT NOT NULL,
    UNIQUE (question, one, other)
);
CREATE TABLE IF NOT EXISTS votes (
    pair INTEGER NOT NULL REFERENCES pairs (id), voter TEXT NOT NULL, swapped INTEGER NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie')), PRIMARY KEY (pair, voter)
);
"""
# the pair with the fewest votes, of those on which this voter has none; of equal ones by a checksum of voter and pair
NEXT = """
SELECT pairs.id, (SELECT count(*) FROM votes WHERE votes.pair = pairs.id) AS seen FROM pairs
WHERE NOT EXISTS (SELECT 1 FROM votes WHERE votes.pair = pairs.id AND votes.voter = ?)
ORDER BY seen, draw(?, pairs.id) LIMIT 1
"""


@dataclass(frozen=True)
class Ballot:
    """What a voter sees: nothing of whose the texts are."""

    id: int
    question: str
    left: str
    right: str


class Arena:
    """Questions, answers and votes in one file. Several processes may use it at the same time."""

    def __init__(self, path: str | Path) -> None:
        self.path = check_path("path", path)
        with self._open() as base:
            base.executescript(SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            base = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        except sqlite3.Error as error:
            raise ValueError(f"{self.path} cannot be opened as an arena: {error}") from None
        try:
            base.create_function("draw", 2, draw, deterministic=True)
            yield base
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise ValueError(f"{self.path} is no SQLite file") from None
            if str(error).startswith(
                ("no such column", "no such table")
            ):  # another program's tables of these names
                raise ValueError(f"{self.path} is no arena: {error}") from None
            raise
        finally:
            base.close()

    def add(self, question: str, answers: Mapping[str, str]) -> None:
        """A question with the answer of each model, two at least; a question that is there gets more of them.

        Raises ValueError for texts that are none or too long, and for another answer of a model that has one; then
        nothing is added.
        """
        _text("question", question)
        if not isinstance(answers, Mapping) or not answers:
            raise ValueError(f"answers must be a dict from model to text, got {describe(answers)}")
        for model, text in answers.items():
            _text("a model's name", model), _text(f"the answer of {model!r}", text)
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            base.execute("INSERT OR IGNORE INTO questions (text) VALUES (?)", (question,))
            (number,) = base.execute("SELECT id FROM questions WHERE text = ?", (question,)).fetchone()
            there = dict(base.execute("SELECT model, text FROM answers WHERE question = ?", (number,)))
            for model, text in answers.items():
                if there.get(model, text) != text:
                    raise ValueError(f"{model!r} has another answer to {describe(question)} already")
            there |= answers
            if len(there) < 2:
                raise ValueError(f"a question needs the answers of two models, got {list(there)}")
            rows = [(number, model, text) for model, text in answers.items()]
            base.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)
            names = sorted(there)
            pairs = [(number, one, other) for i, one in enumerate(names) for other in names[i + 1 :]]
            base.executemany("INSERT OR IGNORE INTO pairs (question, one, other) VALUES (?, ?, ?)", pairs)
            base.execute("COMMIT")

    def next(self, voter: str) -> Ballot | None:
        """The pair that needs a vote most, as this voter sees it; None when the voter has judged all."""
        _text("voter", voter)
        with self._open() as base:
            found = base.execute(NEXT, (voter, voter)).fetchone()
        return None if found is None else self._ballot_of(voter, found[0])

    def _ballot_of(self, voter: str, pair: int) -> Ballot:
        with self._open() as base:
            question, text, one, other = base.execute(
                "SELECT q.id, text, one, other FROM pairs JOIN questions q ON q.id = question WHERE pairs.id = ?",
                (pair,),
            ).fetchone()
            said = dict(base.execute("SELECT model, text FROM answers WHERE question = ?", (question,)))
        left, right = (other, one) if swapped(voter, pair) else (one, other)
        return Ballot(pair, text, said[left], said[right])

    def vote(self, ballot: int, voter: str, choice: str) -> bool:
        """Store a vote, "left", "right" or "tie". True if it counts, False if this voter had judged the pair before.

        Raises ValueError for a ballot that there is not, and another choice.
        """
        _text("voter", voter), check_choice("choice", choice, tuple(CHOICES))
        number = ballot if type(ballot) is int and 0 < ballot < 2**63 else 0  # SQLite holds 64 bits
        with self._open() as base:
            if base.execute("SELECT 1 FROM pairs WHERE id = ?", (number,)).fetchone() is None:
                raise ValueError(f"there is no ballot {describe(ballot)}")
            row = (number, voter, int(swapped(voter, number)), choice)
            return base.execute("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?)", row).rowcount == 1

    def games(self) -> list[tuple[str, str, float]]:
        """The votes as games (a, b, result for a) of `elo` and `bradley_terry`, in the order in which they came."""
        with self._open() as base:
            rows = base.execute(
                "SELECT one, other, swapped, choice FROM votes JOIN pairs ON pairs.id = votes.pair ORDER BY votes.rowid"
            ).fetchall()
        return [
            (other, one, CHOICES[choice]) if turned else (one, other, CHOICES[choice])
            for one, other, turned, choice in rows
        ]

    def stats(self) -> dict[str, Any]:
        """{"questions", "pairs", "votes", "voters", "left": the share of votes that went left, ties half}."""
        with self._open() as base:
            count = {
                name: base.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                for name in ("questions", "pairs", "votes")
            }
            (voters,) = base.execute("SELECT count(DISTINCT voter) FROM votes").fetchone()
            choices = [CHOICES[choice] for (choice,) in base.execute("SELECT choice FROM votes")]
        return {**count, "voters": voters, "left": sum(choices) / len(choices) if choices else None}


def draw(voter: str, pair: int) -> int:
    """A number of 32 bits that voter and pair decide, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{pair}/{voter}".encode()).digest()[:4], "big")


def swapped(voter: str, pair: int) -> bool:
    """Whether this voter sees the pair's second model on the left."""
    return draw(f"side/{voter}", pair) % 2 == 1


def _text(name: str, value: Any) -> str:
    broken = any("\ud800" <= character <= "\udfff" for character in check_text(name, value))
    if broken or not value.strip() or len(value) > LONGEST:
        raise ValueError(f"{name} must be a text of 1 to {LONGEST:,} characters, got {describe(value)}")
    return value
