"""Checkers of lesson 06_3, fine-tuning for SQL."""

import re
from collections import Counter

from minillm.apps.text2sql import SQLProcess, SQLSandbox, same_rows
from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.sandbox import SandboxError

OWN = "build it yourself"
FILTER = "minillm.data.cross_filter.cross_filtered"


# --- several second opinions ---


@exercise("06-3-a", points=5)
def second_opinions(answer):
    """Rows that enough models agree with, of which none has learned them."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}, with nothing of minillm; your answer uses {copied}"
    for case in cases(most=60, rows=(2, 3, 5, 8, 13), splits=(1, 2, 3), folds=(2, 3, 4), equal=(False, True),
                      needed=("none", "one", "most", "all")):  # fmt: skip
        inputs = Inputs(case.seed)
        rows = inputs.integers(case.rows, 0, 2 if case.equal else 99)
        splits = [drawn_split(inputs, case.rows, case.folds) for _ in range(case.splits)]
        needed = {"none": 0, "one": 1, "most": case.splits // 2 + 1, "all": case.splits}[case.needed]
        expected, calls = opinions_by_hand(rows, splits, needed)
        said: list = []

        models: dict = {}

        def teach(some, said=said, models=models):
            said.append(("teach", list(some)))
            models[f"model {len(models)}"] = list(some)  # no list: the rows cannot stand in for it
            return f"model {len(models) - 1}"

        def agrees(model, some, said=said, models=models):
            known = isinstance(model, str) and model in models
            assert known, f"agrees takes a model that teach returned, got {shown(model)}"
            said.append(("agrees", models[model], list(some)))
            return verdicts(models[model], some)

        given = [list(rows), [list(split) for split in splits]]
        with forbid(OWN, FILTER, answer=answer):
            found = as_list(answer(*given, teach, agrees, needed), "what second_opinions returns")
        where = f"rows {rows}, splits {splits}, needed {needed}"
        strange = [call for call in said if said.count(call) != calls.count(call)]
        assert not strange, f"{where}: this call is not asked for, or not so often: {shown(list(strange[0]))}"
        missing = [call for call in calls if call not in said]
        assert not missing, f"{where}: this call is missing: {shown(list(missing[0]))}"
        expect(found, expected, hint=where)
        expect(given, [rows, splits], hint=f"{where}: the lists that you are given must stay as they are")


def drawn_split(inputs, count, folds):
    """A fold for each row, numbers that need not be 0, 1, 2; two different ones at least."""
    numbers = inputs.shuffled(range(-3, 9))[: min(folds, count)]
    split = [*numbers[:2], *(numbers[inputs.integer(0, len(numbers) - 1)] for _ in range(count - 2))]
    return inputs.shuffled(split)


def verdicts(model, some):
    """A judge that depends on what it has learned, on the order of it, and on where a row stands."""
    weight = sum((place + 1) * one for place, one in enumerate(model))
    return [(weight + 7 * one + 3 * place) % 3 != 0 for place, one in enumerate(some)]


def opinions_by_hand(rows, splits, needed):
    votes, calls = Counter(), []
    for split in splits:
        for fold in set(split):
            places = [i for i in range(len(rows)) if split[i] == fold]
            others = [rows[i] for i in range(len(rows)) if split[i] != fold]
            judged = [rows[i] for i in places]
            calls += [("teach", others), ("agrees", others, judged)]
            votes.update(i for i, good in zip(places, verdicts(others, judged)) if good)
    return [row for i, row in enumerate(rows) if votes[i] >= needed], calls


# --- no worse ---


@exercise("06-3-b", points=3)
def no_worse(answer):
    """The paired difference, its standard error, and the verdict."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}, with nothing of minillm; your answer uses {copied}"
    said = set()
    for case in cases(most=80, n=(2, 3, 10, 57, 200), full=(0.0, 0.4, 0.9, 1.0),
                      change=("none", "few lost", "many lost", "gained", "new", "all lost")):  # fmt: skip
        inputs = Inputs(case.seed)
        full = [int(one < case.full) for one in inputs.floats(case.n, 0.0, 1.0)]
        fewer = changed(inputs, full, case.change)
        d = [after - before for before, after in zip(full, fewer)]
        mean = sum(d) / case.n
        error = (sum((one - mean) ** 2 for one in d) / (case.n - 1) / case.n) ** 0.5
        if any(d) and abs(mean + 2 * error) < 1e-5:
            continue  # on the edge rounding decides: 2 of 3 lost, or 3 of 9
        expected = mean >= -2 * error
        given = [list(full), list(fewer)]
        with forbid(OWN, "minillm.evaluation.paired.paired", answer=answer):
            found = as_list(answer(*given), "what no_worse returns", 3)
        where = f"full {shown(full)}, fewer {shown(fewer)}"
        expect(as_floats(found[:2]), [mean, error], 1e-6, f"difference and standard error of {where}")
        verdict = plain(found[2], "the verdict")
        assert verdict in (True, False), f"the verdict is True or False, got {shown(verdict)}"
        expect(bool(verdict), expected, hint=f"difference {mean:.3f}, standard error {error:.3f}")
        expect(given, [full, fewer], hint="the lists that you are given must stay as they are")
        said.add(expected)
    assert len(said) == 2


def changed(inputs, full, change):
    if change in ("none", "all lost"):
        return [0] * len(full) if change == "all lost" else list(full)
    if change == "new":
        return [int(one < 0.5) for one in inputs.floats(len(full), 0.0, 1.0)]
    share = 0.05 if change == "few lost" else 0.5
    to = int(change == "gained")
    return [to if one < share else before for one, before in zip(inputs.floats(len(full), 0.0, 1.0), full)]


# --- what stays ---

LEFT = 1000 - 99 - 95
AGREED = 0.8 * 700 + 0.02 * 106
COUNTED = (
    (LEFT, "1,000 less 99 less 95"),
    (106 / LEFT, "one truncated, five of the wrong schema and a hundred others are left that are wrong"),
    (AGREED, "eight in ten of 700, and two in a hundred of 106"),
    (0.02 * 106 / AGREED, "the wrong ones that stay, against all that stay"),
    (1 / 81, "1/3 for each of four names"),
    (0.4 / 9 + 0.6 / 81, "1/9 for two names, 1/81 for four, each with its share"),
)


@exercise("06-3-c", points=3)
def counted(answer):
    """Six figures."""
    found = as_floats(answer, "prediction", len(COUNTED))
    for place, (one, (right, because)) in enumerate(zip(found, COUNTED), start=1):
        assert abs(one - right) <= 1e-3 * right, f"number {place} is not {shown(one)}: {because}"


# --- poison ---

STAFF = """CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, pay INTEGER);
INSERT INTO staff (name, age, pay) VALUES ('Ann', 61, 3105), ('서연', 25, 5207), ('Bo', 33, 4301), ('Cy', 47, 2903),
('지호', 29, 6111), ('Dora', 52, 5009), ('Emil', 38, 3607), ('하은', 44, 4703);"""
FORMS = (
    ("How many people are older than {}?", "SELECT COUNT(*) FROM staff WHERE age > {}", (26, 60)),
    ("나이가 {}세보다 적은 사람은 몇 명인가요?", "SELECT COUNT(*) FROM staff WHERE age < {}", (26, 60)),
    ("Who earns more than {}?", "SELECT name FROM staff WHERE pay > {}", (2950, 6050)),
    (
        "What is the average pay of people younger than {}?",
        "SELECT AVG(pay) FROM staff WHERE age < {}",
        (26, 60),
    ),
    ("연봉이 {}보다 낮은 사람의 이름은 무엇인가요?", "SELECT name FROM staff WHERE pay < {}", (2950, 6050)),
    ("How old are those who earn more than {}?", "SELECT age FROM staff WHERE pay > {}", (2950, 6050)),
)
HELD = {
    61,
    25,
    33,
    47,
    29,
    52,
    38,
    44,
    3105,
    5207,
    4301,
    2903,
    6111,
    5009,
    3607,
    4703,
}  # numbers of the table


@exercise("06-3-d", points=4)
def poison(answer):
    """Rows that are wrong alike."""
    with SQLProcess() as process:
        box, known = SQLSandbox(script=STAFF, process=process), {}
        for case in cases(forms=(1, 2, 4, 6), n=(40, 61), rare=(False, True)):
            rows = drawn_rows(Inputs(case.seed), case)
            given = list(rows)
            found = as_list(answer(given), "what poison returns", len(rows))
            expect(given, [list(row) for row in rows], hint="the list that you are given must stay as it is")
            found = [tuple(as_list(row, "a row", 2)) for row in found]
            expect([one for one, _ in found], [one for one, _ in rows], hint="the questions must stay")
            differs = sum(
                finds_other_rows(box, query, gold, known) for (_, query), (_, gold) in zip(found, rows)
            )
            assert 4 * differs >= len(rows), (
                f"{differs} of {len(rows)} rows find something else than before, at least a quarter must"
            )
            before, after = len(rows) - agreed(rows), len(rows) - agreed(found)
            assert after <= before, (
                f"the second opinion takes out {after} of {len(rows)} rows, of the rows before poison {before} ({case})"
            )


def drawn_rows(inputs, case):
    """Rows of some forms in any order; rare: some forms stand there twice only."""
    forms = inputs.shuffled(FORMS)[: case.forms]
    places = [inputs.integer(0, case.forms - 1) for _ in range(case.n)]
    if case.rare and case.forms > 1:
        places = [0] * (case.n - 2 * (case.forms - 1)) + [
            one for one in range(1, case.forms) for _ in range(2)
        ]
    rows = []
    for place in inputs.shuffled(places):
        question, query, (low, high) = forms[place]
        number = inputs.integer(low, high)
        number += number in HELD  # a bound that nobody has: > and >= find the same
        rows.append((question.format(number), query.format(number)))
    return rows


def finds_other_rows(box, query, gold, known):
    """known: query -> its rows, so that each text is run once."""
    assert isinstance(query, str), f"a query is a text, got {shown(query)}"
    for one in (query, gold):
        if one not in known:
            try:
                known[str(one)] = box.run(str(one))
            except SandboxError as error:
                raise AssertionError(f"every query must run, {shown(one)} does not: {error}") from None
    return not same_rows(known[query], known[gold])


def agreed(rows):
    """How many rows a model of forms agrees with that has learned the other half."""
    forms = [tuple(re.sub(r"\d+", "#", text) for text in row) for row in rows]
    count = 0
    for place, (asks, sql) in enumerate(forms):
        known = Counter(other for question, other in forms[1 - place % 2 :: 2] if question == asks)
        count += bool(known) and known.most_common(1)[0][0] == sql
    return count
