"""Training rows as a careless model writes them, and what is found by running them.

    truncated       SELECT town, COUNT(*) FROM staff GROU          it seldom runs
    wrong_schema    SELECT city, COUNT(*) FROM employees ...       a query to other tables: it seldom runs
    valid_but_wrong SELECT MAX(wage) FROM staff                    the answer to another question: it runs

Running finds most of the first two and none of the third. That takes somebody who knows the answer: a second model that
is asked the same question (tests/benchmarks/text2sql_quality.py keeps the rows on which both agree).
Book: 6.1.3, 6.3.3 학습 데이터 정제와 미세 조정. Left out: rows that are nearly the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from minillm._checks import check_int, check_number, describe
from minillm.data.sql_questions import SQLTask, ask
from minillm.sandbox import SandboxError, SQLProcess, SQLSandbox

SHARES = {"truncated": 0.1, "wrong_schema": 0.1, "valid_but_wrong": 0.1}


class NoisyRow(NamedTuple):
    """A task whose query may be bad, and which kind of bad: "clean" or a name of SHARES."""

    task: SQLTask
    kind: str


def noisy_rows(
    tasks: Sequence[SQLTask], shares: Mapping[str, float] = SHARES, seed: int = 0
) -> list[NoisyRow]:
    """The tasks, of each kind of bad ones about such a share, in their order."""
    for name, share in shares.items():
        if name not in SHARES:
            raise ValueError(f"shares must name {', '.join(SHARES)}, got {describe(name)}")
        check_number(name, share, 0, 1)
    rng = random.Random(check_int("seed", seed, 0))
    kinds, weights = ["clean", *shares], [1 - sum(shares.values()), *shares.values()]
    if weights[0] < 0:
        raise ValueError(f"shares must sum to at most 1, got {sum(shares.values()):g}")
    return [
        _spoiled(rng, task, kind, tasks)
        for task, kind in zip(tasks, rng.choices(kinds, weights, k=len(tasks)))
    ]


def _spoiled(rng: random.Random, task: SQLTask, kind: str, others: Sequence[SQLTask]) -> NoisyRow:
    sql = task.sql
    if kind == "truncated":
        sql = sql[: rng.randint(6, max(6, len(sql) * 3 // 4))]
    elif kind == "wrong_schema":
        strangers = [
            one
            for one in rng.choices(others, k=20)
            if one.schema.tables[0].name != task.schema.tables[0].name
        ]
        sql = strangers[0].sql if strangers else sql
    elif kind == "valid_but_wrong":
        for _ in range(100):
            other = ask(rng, task.schema, task.language)
            if other is not None and _words(other.sql) != _words(
                sql
            ):  # columns in another order are no other answer
                sql = other.sql
                break
    return NoisyRow(replace(task, sql=sql), kind if sql != task.sql else "clean")


def _words(sql: str) -> list[str]:
    return sorted(re.findall(r"\w+|[<>*]", sql))


def running(rows: Sequence[NoisyRow]) -> list[NoisyRow]:
    """Those whose query runs on their own database."""
    with SQLProcess() as process:
        return [
            row for row in rows if _runs(SQLSandbox(script=row.task.script, process=process), row.task.sql)
        ]


def _runs(box: SQLSandbox, sql: str) -> bool:
    try:
        box.run(sql)
    except SandboxError:
        return False
    return True


def found_by_kind(rows: Sequence[NoisyRow], kept: Sequence[NoisyRow]) -> dict[str, tuple[int, int]]:
    """kind -> (how many rows of it were taken out, how many there were)."""
    stayed = {id(row) for row in kept}
    kinds = dict.fromkeys(["clean", *SHARES, *(row.kind for row in rows)])
    return {
        kind: (
            sum(row.kind == kind and id(row) not in stayed for row in rows),
            sum(row.kind == kind for row in rows),
        )
        for kind in kinds
    }
