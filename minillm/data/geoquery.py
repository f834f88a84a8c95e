"""GeoQuery made ready for a small model: short queries, and names of places replaced by what kind they are.

    how long is the mississippi river        SELECT LENGTH FROM RIVER WHERE RIVER_NAME = "mississippi"
    how long is the state river #0 river     select length from river where river_name = '#0'

A name is found by comparing with the texts of the database (`GeoLinker`), in the question alone: no query is looked at.
One name may be of several kinds (mississippi is a state, too). Queries lose their aliases where the short form finds
the same rows, which is tried out; what differs keeps short ones.
Book: 6.1.1 대표적인 Text2SQL 데이터셋. Papers: Zelle and Mooney 1996; Finegan-Dollak et al. 2018 (the split).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minillm.data.sql_prompts import sql_prompt
from minillm.sandbox import SandboxError, SQLSandbox

# a LoRA adapter: what SmolLM2 learned of the parts train and validation (tests/benchmarks/geoquery_lora.py, seed 0)
ADAPTER = Path(__file__).with_name("geoquery_adapter")
KINDS = {  # what a name may be: where it stands
    "state": ("state", "state_name"), "city": ("city", "city_name"), "river": ("river", "river_name"),
    "mountain": ("mountain", "mountain_name"), "lake": ("lake", "lake_name"), "country": ("state", "country_name"),
    "point": ("highlow", "highest_point"), "capital": ("state", "capital"),
}  # fmt: skip
OPPOSITES = {
    "largest": "smallest", "biggest": "smallest", "most": "least", "longest": "shortest", "smallest": "largest",
    "least": "most", "shortest": "longest", "fewest": "most", "greatest": "least",
}  # fmt: skip
IDLE = frozenset(
    (
        "a",
        "all",
        "are",
        "called",
        "do",
        "does",
        "in",
        "is",
        "me",
        "named",
        "of",
        "that",
        "the",
        "there",
        "which",
    )
)
_ALIAS = re.compile(r"\b([A-Z_]+)alias(\d+)\b")


class GeoTask(NamedTuple):
    """question and sql as they are, short: the same query without aliases; linked_*: names replaced by places."""

    question: str
    sql: str
    short: str
    linked_question: str
    linked_sql: str
    names: tuple[str, ...]


class GeoLinker:
    """Finds the names of a database in a question."""

    def __init__(self, box: SQLSandbox) -> None:
        self.kinds: dict[str, list[str]] = {}
        for kind, (table, column) in KINDS.items():
            for (name,) in box.run(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"):
                self.kinds.setdefault(str(name).lower(), []).append(kind)
        names = sorted((name for name in self.kinds if len(name) > 2), key=len, reverse=True)
        self.pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")

    def link(self, question: str) -> tuple[str, tuple[str, ...]]:
        """("how long is the state river #0 river", ("mississippi",))."""
        names: list[str] = []

        def word(found: re.Match[str]) -> str:
            if found[0] not in names:
                names.append(found[0])
            return f"{' '.join(self.kinds[found[0]])} #{names.index(found[0])}"

        return self.pattern.sub(word, question), tuple(names)


def linked_sql(sql: str, names: Sequence[str]) -> str:
    """The query with each of these texts replaced by its place: 'texas' -> '#0'."""
    for place, name in enumerate(names):
        sql = sql.replace(f"'{name}'", f"'#{place}'")
    return sql


def filled(sql: str, names: Sequence[str]) -> str:
    """The query with its places replaced by the names."""
    return re.sub(
        r"#(\d+)", lambda found: names[int(found[1])] if int(found[1]) < len(names) else found[0], sql
    )


def short_sql(box: SQLSandbox, sql: str) -> str:
    """The query without aliases, in small letters, if it finds the same rows; else with short ones."""
    plain = re.sub(r'"([^"]*)"', r"'\1'", sql.strip().rstrip(";").strip())
    expected = box.run(plain)
    numbered = _ALIAS.sub(lambda found: f"{found[1]}{found[2]}", plain)
    without = re.sub(r"\bAS\s+[A-Z_]+\d+", "", re.sub(r"\b[A-Z_]+\d+\s*\.\s*", "", numbered))
    for form in (without, numbered):
        form = " ".join(_lower(form).split())
        try:
            if box.run(form) == expected:
                return form
        except SandboxError:
            continue
    return plain


def _lower(sql: str) -> str:
    return "".join(part if i % 2 else part.lower() for i, part in enumerate(re.split(r"('[^']*')", sql)))


def geo_tasks(rows: Sequence[Any], box: SQLSandbox) -> list[GeoTask]:
    """The tasks of load_dataset("geoquery", split) whose query runs, with the database in a sandbox."""
    linker, found = GeoLinker(box), []
    for row in rows:
        try:
            short = short_sql(box, row["sql"])
        except SandboxError:
            continue
        question, names = linker.link(row["question"])
        found.append(GeoTask(row["question"], row["sql"], short, question, linked_sql(short, names), names))
    return found


def geo_schema(box: SQLSandbox) -> str:
    """A line a table: "lake(lake_name, area, country_name, state_name)"."""
    names = box.run("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    columns = [box.query(f'SELECT * FROM "{name}" LIMIT 0').columns for (name,) in names]
    return "\n".join(f"{name}({', '.join(own)})" for (name,), own in zip(names, columns, strict=True))


def geo_chat(schema: str, question: str) -> list[dict[str, str]]:
    """What SmolLM2 is taught to answer with a query: the schema and the question as people wrote it."""
    return [{"role": "user", "content": sql_prompt(schema, question, "Write one SQLite query.")}]


def opposite(task: GeoTask) -> GeoTask | None:
    """The task with its one superlative turned round: largest and max, smallest and min. None where it has not one."""
    words, functions = task.linked_question.split(), set(re.findall(r"\b(max|min)\s*\(", task.linked_sql))
    places = [i for i, word in enumerate(words) if word in OPPOSITES]
    if len(places) != 1 or len(functions) != 1:
        return None
    words[places[0]] = OPPOSITES[words[places[0]]]
    (old,) = functions
    sql = re.sub(rf"\b{old}(?=\s*\()", "min" if old == "max" else "max", task.linked_sql)
    return task._replace(linked_question=" ".join(words), linked_sql=sql)


def varied(tasks: Sequence[GeoTask], copies: int, seed: int = 0) -> list[GeoTask]:
    """Each task and its opposite so many times, small words of the question left out at random: more to learn from."""
    rng, found = random.Random(seed), []
    both = [*tasks, *(one for one in map(opposite, tasks) if one is not None)]
    for _ in range(copies):
        for task in both:
            words = [word for word in task.linked_question.split() if word not in IDLE or rng.random() > 0.3]
            found.append(task._replace(linked_question=" ".join(words)))
    return found
