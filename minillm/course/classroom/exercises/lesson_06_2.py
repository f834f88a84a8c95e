"""Checkers of lesson 06_2, evaluating SQL."""

import random

from minillm.apps.text2sql import SQLSandbox, compare_execution, same_rows
from minillm.apps.text2sql.judge import agreement, corrected
from minillm.course import exercise
from minillm.course.classroom.checkers import as_list, cases, copied_library, expect, forbid, plain, shown

OWN = "compare the rows yourself"
VALUES = (None, 0, 1, 2, "a", "b")
CHANGES = ("same", "columns", "rows", "both", "doubled", "gone", "null", "mixed", "wider", "recounted")


def table_of(case):
    """(rows of the prediction, rows of the gold query): the second, changed in one way."""
    rng = random.Random(case.seed)
    pool = VALUES[: case.values]
    gold = [tuple(rng.choices(pool, k=case.columns)) for _ in range(case.rows)]
    found = list(gold)
    if case.change in ("columns", "both"):
        order = rng.sample(range(case.columns), case.columns)
        found = [tuple(row[i] for i in order) for row in found]
    if case.change in ("rows", "both"):
        rng.shuffle(found)
    if found and case.change == "doubled":
        found[rng.randrange(len(found))] = rng.choice(found)
    if found and case.change == "gone":
        found.pop(rng.randrange(len(found)))
    if found and case.change == "null":
        found[-1] = (*found[-1][:-1], None)
    if case.change == "mixed":  # the values of each row in an order of its own
        found = [tuple(rng.sample(row, len(row))) for row in found]
    if case.change == "recounted":  # the same rows, one of them twice instead of another
        one, other = (tuple(rng.choices(pool, k=case.columns)) for _ in range(2))
        gold, found = [*gold, one, one, other], [*found, one, other, other]
    if case.change == "wider":
        found = [(*row, row[0]) for row in found]
    return found, gold


@exercise("06-2-a", points=3)
def same_answer(answer):
    """Equal rows, in any order of the columns."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}, with nothing of minillm; your answer uses {copied}"
    verdicts = set()
    for case in cases(
        most=300,
        columns=(1, 2, 3, 4),
        rows=(0, 1, 2, 4, 6),
        values=(3, 6),
        change=CHANGES,
        ordered=(False, True),
    ):
        found, gold = table_of(case)
        expected = same_rows(found, gold, case.ordered)
        given = [list(found), list(gold)]
        with forbid(OWN, "minillm.apps.text2sql.execution.same_rows", answer=answer):
            verdict = answer(*given, case.ordered)
        verdict = plain(verdict, f"what same_answer returns ({case})")
        assert verdict in (True, False), f"same_answer returns True or False, got {shown(verdict)}"
        told = f"found {shown(found)}, expected {shown(gold)}, ordered={case.ordered}"
        expect(bool(verdict), expected, hint=told)
        expect(given, [found, gold], hint="the lists that you are given must stay as they are")
        verdicts.add(expected)
    assert len(verdicts) == 2


RIGHT, WRONG = "right", "wrong"
PEOPLE = """CREATE TABLE people (name TEXT, age INT, city TEXT);
INSERT INTO people VALUES ('Ann', 41, 'Ulm'), ('Bo', 9, NULL), ('Cy', 41, 'Ulm'), ('Ann', 7, 'Bonn');"""
PAIRS = (
    ("SELECT age, name FROM people", "SELECT name, age FROM people", RIGHT, "only the columns are swapped"),
    ("SELECT DISTINCT name FROM people", "SELECT name FROM people", WRONG, "Ann stands there twice"),
    ("SELECT name FROM people", "SELECT name FROM people ORDER BY name", WRONG, "the gold query asks for an order"),
    ("SELECT name FROM people ORDER BY age", "SELECT name FROM people", RIGHT, "no order is asked for"),
    ("SELECT name FROM people WHERE city = NULL", "SELECT name FROM people WHERE age > 99", RIGHT,
     "nothing equals NULL, so both find no rows: the measure cannot see that the question was another"),
    ("SELECT name FROM people WHERE city != 'Ulm'", "SELECT name FROM people WHERE city IS NOT 'Ulm'", WRONG,
     "Bo's city is NULL: != leaves him out, IS NOT takes him in"),
    ("SELECT MAX(age) FROM people", "SELECT age FROM people ORDER BY age DESC LIMIT 1", RIGHT, "both find one row, 41"),
    ("SELECT COUNT(city) FROM people", "SELECT COUNT(*) FROM people", WRONG, "COUNT(city) leaves NULL out: 3, not 4"),
)  # fmt: skip


@exercise("06-2-b", points=2)
def verdicts(answer):
    """What execution match says."""
    found = as_list(answer, "prediction", len(PAIRS))
    for place, (one, (predicted, gold, right, because)) in enumerate(zip(found, PAIRS), start=1):
        assert one in (RIGHT, WRONG), f"each item is 'right' or 'wrong'; number {place} is {shown(one)}"
        assert one == right, f"number {place} is not {shown(one)} ({predicted} against {gold}): {because}"


LUCKY_GOLD = "SELECT name FROM people WHERE age > 30"
OTHERS = tuple(
    f"CREATE TABLE people (name TEXT, age INT, city TEXT); INSERT INTO people VALUES {rows};"
    for rows in (
        "('Dora', 33, 'Ulm'), ('Emil', 30, 'Ulm'), ('Fay', 12, NULL), ('Gus', 50, 'Bonn'), ('Hal', 31, NULL)",
        "('Ann', 12, 'Ulm'), ('Cy', 29, 'Ulm'), ('Bo', 90, 'Bonn'), ('Ida', 31, 'Ulm'), ('Jo', 64, 'Bonn')",
        "('Kim', 30, 'Ulm'), ('Lee', 18, 'Bonn'), ('Max', 35, NULL), ('Max', 3, 'Ulm')",
    )
)  # fmt: skip


@exercise("06-2-c", points=2)
def lucky(answer):
    """A wrong query that a small database calls right."""
    text = plain(answer)
    assert isinstance(text, str), f"lucky is a query as a text, got {shown(answer)}"
    with SQLSandbox(script=PEOPLE) as box:
        found = compare_execution(box, text, LUCKY_GOLD)
    assert found.match, f"in the small database lucky must find what the gold query finds: {found.why}"
    with SQLSandbox(script="CREATE TABLE other (name TEXT);") as box:
        without = compare_execution(box, text, "SELECT name FROM other").why or ""
    assert without.startswith("Failed: no such table"), f"lucky must ask the table people, got {shown(text)}"
    differs = []
    for script in OTHERS:
        with SQLSandbox(script=script) as box:
            one = compare_execution(box, text, LUCKY_GOLD)
        assert one.match or not one.why.startswith(("Refused", "TooMuch", "Failed")), (
            f"lucky must run everywhere: {one.why}"
        )
        differs.append(not one.match)
    assert all(differs), (
        f"in every other database it must be wrong; it is right in {differs.count(False)} of {len(differs)}"
    )


@exercise("06-2-d", points=2)
def true_accuracy(answer):
    """What a judge's errors do to a score, undone."""
    copied = copied_library(answer)
    assert not copied, f"work it out yourself, with nothing of minillm; your answer uses {copied}"
    for case in cases(
        n=(5, 40, 200), sample=(6, 30), share=(0.0, 0.3, 0.8, 1.0), a=(0.0, 0.2, 0.4), b=(0.0, 0.1, 0.3)
    ):
        rng = random.Random(case.seed)
        truth = [True, False, *(rng.random() < 0.5 for _ in range(case.sample))]
        checked = [(rng.random() >= case.b if right else rng.random() < case.a, right) for right in truth]
        said = [rng.random() < case.share for _ in range(case.n)]
        known = agreement([one for one, _ in checked], truth)
        if known.false_yes + known.false_no > 0.9:
            continue
        expected = corrected(sum(said) / case.n, known.false_yes, known.false_no)
        given = [list(said), list(checked)]
        with forbid("work it out yourself", "minillm.apps.text2sql.judge.corrected", answer=answer):
            found = answer(*given)
        expect(found, expected, 1e-9, f"the accuracy behind {sum(said)} yes of {case.n}, {case}")
        expect(
            given,
            [said, [list(one) for one in checked]],
            hint="the lists that you are given must stay as they are",
        )
