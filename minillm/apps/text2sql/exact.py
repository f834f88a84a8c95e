"""Exact match: a predicted query is right if it is the gold query, written in another way at most.

    SELECT name FROM people WHERE age > 30 AND city = 'Ulm'
    select p.name from people as p where p.city = "Ulm" and p.age > 30       the same, clause by clause

What counts as the same is clauses.py's: the order of conditions does not, an alias does not. A query that finds the
same rows in another way is wrong here; and where copies of one table are joined, or a value is masked, a query that
means something else can be called the same. Execution match (execution.py) errs where other rows happen to be equal.

Book: 6.2.1 Text2SQL 평가 방식. Paper: Yu et al. 2018, whose evaluator compares clause by clause, too.
Held against: the verdicts of Spider's evaluator on pairs of its own queries. Left out: columns that a foreign key makes
equal.
"""

from __future__ import annotations

from minillm._checks import check_flag, check_text, describe
from minillm.apps.text2sql.clauses import Schema, read_sql


def exact_match_sql(predicted: str, gold: str, schema: Schema | None = None, masked: bool = False) -> bool:
    """Whether both are the same query, clause by clause. A prediction that cannot be read is wrong.

    schema: {table: [columns]}, for columns without their table in a query of several. masked: as in Spider's published
    figures, values and DISTINCT do not count. ValueError where the gold query cannot be read.
    """
    check_flag("masked", masked), check_text("predicted", predicted), check_text("gold", gold)
    try:
        expected = read_sql(gold, schema, masked)
    except ValueError as error:
        raise ValueError(f"the gold query {describe(gold)} cannot be read: {error}") from None
    try:
        return read_sql(predicted, schema, masked) == expected
    except ValueError:
        return False


def differing_clauses(
    predicted: str, gold: str, schema: Schema | None = None, masked: bool = False
) -> list[str]:
    """The names of the clauses in which two queries differ; ValueError where one cannot be read."""
    one, other = read_sql(predicted, schema, masked), read_sql(gold, schema, masked)
    return [clause for clause in {**one, **other} if one.get(clause) != other.get(clause)]
