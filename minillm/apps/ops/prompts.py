"""Prompts under version, each with its scores item by item: the tuning of an LLM is often a change of a text.

    version 1, 2, ...        a text that is there already keeps its number
    scores of a version      one number an item of a data version, so that two versions can be compared in pairs

Two averages do not say which prompt is better; `compare` gives wins, losses and an interval (evaluation/paired.py).

Book: 13.2.2 모델 최적화 방법의 변화. Peer: MLflow's prompt registry (versions; it keeps no scores beside them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from minillm._checks import check_int, check_text
from minillm.apps.ops.records import Records, check_name, check_records
from minillm.evaluation.correlation import finite_numbers
from minillm.evaluation.paired import Paired, paired


class Prompts:
    """The prompts of a project."""

    def __init__(self, records: Records) -> None:
        self.records = check_records(records)

    def add(self, name: str, template: str, message: str = "") -> int:
        """The version of a text: a new one, or the one it has."""
        check_name("a prompt's name", name), check_text("template", template), check_text("message", message)
        with self.records.transaction(write=True) as rows:
            there = rows.execute(
                "SELECT version FROM prompts WHERE name = ? AND template = ?", (name, template)
            ).fetchone()
            if there is not None:
                return there[0]
            query = "SELECT coalesce(max(version), 0) + 1 FROM prompts WHERE name = ?"
            (version,) = rows.execute(query, (name,)).fetchone()
            rows.execute("INSERT INTO prompts VALUES (?, ?, ?, ?)", (name, version, template, message))
        return version

    def get(self, name: str, version: int) -> str:
        """The text of a version; ValueError where there is none."""
        check_name("a prompt's name", name)
        version = check_int("version", version, 1)
        with self.records.transaction() as rows:
            query = "SELECT template FROM prompts WHERE name = ? AND version = ?"
            found = rows.execute(query, (name, version)).fetchone()
        if found is None:
            raise ValueError(f"there is no version {version} of the prompt {name!r}")
        return found[0]

    def log(self, name: str) -> list[tuple[int, str]]:
        """(version, message) of every version, oldest first; [] for a name that was never added."""
        check_name("a prompt's name", name)
        query = "SELECT version, message FROM prompts WHERE name = ? ORDER BY version"
        with self.records.transaction() as rows:
            return rows.execute(query, (name,)).fetchall()

    def score(self, name: str, version: int, data: str, scores: Sequence[float]) -> None:
        """Keep one score for each item of the data version `data`; ValueError where other scores are kept already."""
        self.get(name, version), check_name("data", data)
        version = check_int("version", version, 1)
        text = json.dumps(finite_numbers("scores", scores).tolist())
        if text == "[]":
            raise ValueError("scores must hold at least one number, got none")
        with self.records.transaction(write=True) as rows:
            rows.execute("INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?)", (name, version, data, text))
            if json.dumps(_scores(rows, name, version, data)) != text:
                raise ValueError(f"version {version} of {name!r} has other scores on this data already")

    def scores(self, name: str, version: int, data: str) -> list[float]:
        """The scores that are kept; ValueError where there are none."""
        check_name("a prompt's name", name), check_name("data", data)
        version = check_int("version", version, 1)
        with self.records.transaction() as rows:
            return _scores(rows, name, version, data)

    def compare(self, name: str, new: int, old: int, data: str) -> Paired:
        """Wins, losses and interval of the new version against the old one, item by item, on the same data."""
        return paired(self.scores(name, new, data), self.scores(name, old, data))


def _scores(rows, name: str, version: int, data: str) -> list[float]:
    query = "SELECT scores FROM scores WHERE name = ? AND version = ? AND data = ?"
    found = rows.execute(query, (name, version, data)).fetchone()
    if found is None:
        raise ValueError(f"version {version} of {name!r} has no scores on data {data!r}")
    return json.loads(found[0])
