"""Questions, in English or Korean, with the SQL that answers them: an endless number, drawn from a seed.

    What is the name of the employees whose city is Seoul?      도시가 서울인 직원의 이름은 무엇인가요?
    SELECT full_name FROM staff WHERE town = 'Seoul'

    sql_tasks(8000, "train", seed=0)

Fourteen forms over one table and five over two or three (FORMS). Held out by construction: a task stands in "test" only
where both its schema and its question are of "test", and in "train" only where both are of "train"; so neither is in
both. What may be: the form, and a query that happens to be written the same. Every query finds something.
Book: 6.1.3 합성 데이터 활용. Left out: subqueries, HAVING, typing mistakes, other words.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from minillm._checks import check_choice, check_int, describe, is_listing
from minillm.data.sql_forms import ONE, Asked, DoesNotFit
from minillm.data.sql_join_forms import JOINS, join_both
from minillm.data.sql_schemas import Schema, part_of_text, random_schema

PARTS, LANGUAGES, COUNTS = ("train", "validation", "test"), ("en", "ko"), (1, 2, 3)
EACH = 4  # questions to one schema
SHARES = {1: 0.4, 2: 0.3, 3: 0.3}  # of databases with so many tables
FORMS = {form.__name__: form for form in (*ONE, *JOINS, join_both)}


@dataclass(frozen=True)
class SQLTask:
    """One question. form: which of FORMS asked it. script: CREATE and INSERT of its database."""

    question: str
    sql: str
    schema: Schema = field(repr=False)
    language: str
    form: str

    @property
    def ddl(self) -> str:
        """The CREATE statements of its database."""
        return self.schema.ddl

    @property
    def script(self) -> str:
        """Makes its database, with rows: what SQLSandbox(script=...) takes."""
        return self.schema.script


def sql_tasks(
    n: int,
    part: str = "train",
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    tables: Collection[int] = COUNTS,
) -> list[SQLTask]:
    """`n` questions of a part, no two with the same text to the same schema; a longer list begins with the shorter one.

    tables: of how many tables a database may be. ValueError for another part, language or number of tables.
    """
    check_int("n", n, 0, 1_000_000)
    check_choice("part", part, PARTS)
    for name, values, choices in (("languages", languages, LANGUAGES), ("tables", tables, COUNTS)):
        if not is_listing(values) or not list(values):
            raise ValueError(
                f"{name} must be a list of {', '.join(map(str, choices))}, got {describe(values)}"
            )
        for value in values:
            check_choice(f"each of {name}", value, choices)
    rng = random.Random(f"{part} {check_int('seed', seed, 0)}")
    sizes, found = sorted(tables), []
    while len(found) < n:
        schema = random_schema(rng, rng.choices(sizes, [SHARES[one] for one in sizes])[0])
        if part_of_text(schema.ddl) != part:
            continue
        asked: dict[str, SQLTask] = {}
        for _ in range(3 * EACH):
            task = ask(rng, schema, rng.choice(list(languages)))
            if task is not None and part_of_text(task.question) == part:
                asked.setdefault(task.question, task)
        found += list(asked.values())[:EACH]
    return found[:n]


def ask(rng: random.Random, schema: Schema, language: str) -> SQLTask | None:
    """A question to this schema, by a form drawn at random; None where the form does not fit it."""
    several = len(schema.tables) > 1
    forms = JOINS if several and rng.random() < 0.6 else ONE
    if len(schema.tables) == 3 and forms is JOINS and rng.random() < 0.35:
        forms = (join_both,)
    form = rng.choice(forms)
    try:
        sql, english, korean = form(Asked(rng, schema))
    except DoesNotFit:
        return None
    return SQLTask(korean if language == "ko" else english, sql, schema, language, form.__name__)


def shared_forms(tasks: Iterable[SQLTask], known: Iterable[SQLTask]) -> float:
    """The share of `tasks`, 0..1, whose query with other names and values, `template_of`, stands in `known`."""
    tasks, templates = list(tasks), {template_of(task) for task in known}
    if not tasks:
        raise ValueError("tasks must hold at least one task, got none")
    return sum(template_of(task) in templates for task in tasks) / len(tasks)


def template_of(task: SQLTask) -> tuple[str, str]:
    """What a model could know by heart: the form, and the operator words of its query."""
    words = [word for word in task.sql.replace("(", " ").split() if word.isupper() or word in "<>"]
    return task.form, " ".join(words)
