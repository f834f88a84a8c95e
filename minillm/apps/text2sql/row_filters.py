"""What is wrong with a training row, as far as running its query can tell.

    fault_of(box, sql)                  "does not run", "finds nothing", or None: the row stays
    fault_of(box, sql, second)          ... or "disagrees": a second query to the same question finds other rows

Running finds a query that is broken. It says nothing of one that answers another question. A second writer who errs at
other places does: two wrong queries seldom find the same rows. One who errs at the same places does not.
Book: 6.1.3 합성 데이터 활용, 6.3.3 학습 데이터 정제와 미세 조정. Paper: Wang et al. 2023 (self-consistency). Left
out: rows that are nearly the same; a judge that reads the question (judge.py).
"""

from __future__ import annotations

from minillm.apps.text2sql.execution import compare_execution
from minillm.sandbox import SandboxError, SQLSandbox

BROKEN, EMPTY, OTHER = "does not run", "finds nothing", "disagrees"


def fault_of(box: SQLSandbox, sql: str, second: str | None = None) -> str | None:
    """Why a row with this query should go, None where nothing speaks against it. second: another query to its question.

    A query finds nothing where it gives no rows, or only NULL: in this any two queries that find nothing agree. So a
    question whose honest answer is nothing goes, too; a COUNT of 0 stays. Both queries agree as in execution match: in
    any order of the columns, and of the rows unless `sql` orders them.
    """
    try:
        rows = box.run(sql)
    except SandboxError:
        return BROKEN
    if all(value is None for row in rows for value in row):
        return EMPTY
    if second is not None and not compare_execution(box, second, sql).match:
        return OTHER
    return None
