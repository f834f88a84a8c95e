"""Checkers of lesson 06_1, data for Text2SQL."""

import random
import re
from collections import Counter

from minillm.apps.text2sql import SQLSandbox, fault_of
from minillm.course import exercise
from minillm.course.classroom.checkers import as_list, cases, copied_library, expect, plain, shown

OWN = "build it yourself, with nothing of minillm"


@exercise("06-1-a", points=3)
def batch_of(answer):
    """Prompt, query, end; labels on the query and its end; padding on the right."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}; your answer uses {copied}"
    for case in cases(
        count=(0, 1, 2, 5),
        prompt=(0, 1, 6),
        query=(0, 1, 5),
        end=(0, 3, 900),
        pad=(0, 3, 7),
        longest=(1, 4, 8, 12, 40),
    ):
        rng = random.Random(case.seed)

        def ids(most, rng=rng):
            return rng.choices((0, 1, 3, 5, 7, 900), k=rng.randint(0, most))

        rows = [(ids(case.prompt), ids(case.query)) for _ in range(case.count)]
        whole = [([*p], [*q, case.end]) for p, q in rows if len(p) + len(q) < case.longest]
        widest = max([len(p) + len(q) for p, q in whole], default=0)
        spare = [widest - len(p) - len(q) for p, q in whole]
        expected = [
            [[*p, *q, *[case.pad] * n] for (p, q), n in zip(whole, spare)],
            [[*[-100] * len(p), *q, *[-100] * n] for (p, q), n in zip(whole, spare)],
            [[*[1] * (widest - n), *[0] * n] for n in spare],
        ]
        given = [([*p], [*q]) for p, q in rows]
        found = answer(given, case.end, case.pad, case.longest)
        told = f"rows {shown(rows)}, end={case.end}, pad={case.pad}, longest={case.longest}"
        for name, one, right in zip(
            ("ids", "labels", "mask"), as_list(found, "what batch_of returns", 3), expected
        ):
            expect(one, right, hint=f"{name} of {told}")
        expect(given, rows, hint="the lists that you are given must stay as they are")


QUERIES = tuple(f"SELECT {letter} FROM t" for letter in "abcdefghij")
QUESTIONS = ("누가 있나요?", "Who is there?", "Who is there", "How  many?", "몇 명인가요?")
VALUES = (None, 0, 1, 2, "1", "서울")


def spelled(rng, question):
    """The same question, with other capitals and blanks."""
    how = rng.randrange(6)
    if how < 3:
        return question
    return (question.upper(), f"  {question}\n", question.replace(" ", "\t \n"))[how - 3]


def found_rows(rng, width):
    """query -> rows: the same in another order, another row doubled, columns swapped, none, NULL, broken, as texts,
    one value behind NULLs."""
    some = [tuple(rng.choices(VALUES, k=width)) for _ in range(rng.randint(2, 3))]
    rows = [*some, some[0]]
    mixed = rng.sample(rows, len(rows))
    return dict(
        zip(
            QUERIES,
            (
                rows,
                mixed,
                [*some, some[-1]],
                [row[::-1] for row in rows],
                [],
                [(None,) * width] * rng.randint(1, 2),
                None,
                [tuple(str(value) if isinstance(value, int) else value for value in row) for row in rows],
                [(None,) * width, (*(None,) * (width - 1), rng.choice((0, "서울")))],
            ),
        )
    )  # the last query is not in it


@exercise("06-1-b", points=3)
def kept(answer):
    """Runs, finds something, agrees, and is not asked twice."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}; your answer uses {copied}"
    for case in cases(most=120, count=(0, 1, 3, 8), width=(1, 2, 3), agree=(0.3, 0.7), questions=(1, 3, 5)):
        rng = random.Random(case.seed)
        found = found_rows(rng, case.width)
        rows = []
        for _ in range(case.count):
            first = rng.choice(QUERIES)
            second = first if rng.random() < case.agree else rng.choice(QUERIES)
            if first == QUERIES[0] and rng.random() < case.agree:
                second = rng.choice((QUERIES[1], QUERIES[1], QUERIES[2], QUERIES[7]))
            rows.append((spelled(rng, rng.choice(QUESTIONS[: case.questions])), first, second))
        expected = right_rows(rows, found)
        given = [[*rows], {sql: None if one is None else [*one] for sql, one in found.items()}]
        mine = answer(*given)
        told = f"rows {shown([list(row) for row in rows])}, found {shown_found(found)}"
        expect(as_list(mine, "what kept returns"), expected, hint=told)
        expect(given, [rows, found], hint="the inputs must stay as they are")


def shown_found(found):
    """The dict in a message."""
    return "; ".join(
        f"{sql}: {'does not run' if rows is None else shown(rows)}" for sql, rows in found.items()
    )


def right_rows(rows, found):
    """The numbers of the rows that stay."""
    stays, asked = [], set()
    for place, (question, first, second) in enumerate(rows):
        one, other = found.get(first), found.get(second)
        if one is None or other is None or all(value is None for row in one for value in row):
            continue
        key = re.sub(r"\s+", " ", question.strip().lower())
        if Counter(one) == Counter(other) and key not in asked:
            stays.append(place)
            asked.add(key)
    return stays


STAFF = """CREATE TABLE staff (id INTEGER PRIMARY KEY, full_name TEXT, town TEXT, wage INTEGER, hired INTEGER);
INSERT INTO staff VALUES (1, '지호', '서울', 6000, 2019), (2, '민준', '서울', 5000, 2012),
(3, '서연', '부산', 4000, 2016), (4, '유나', '대구', 4000, 2021);"""
ASKED = (
    ("SELECT COUNT(*) FROM staff WHERE town = '서울'", "SELECT COUNT(id) FROM staff WHERE wage >= 5000",
     "both find one row, 2: by luck, the second one asks for wages"),
    ("SELECT name FROM staff", "SELECT full_name FROM staff", "the table has no column name"),
    ("SELECT full_name FROM staff WHERE town = 'Seoul'", "SELECT full_name FROM staff WHERE town = 'Seoul'",
     "the towns are Korean, so no row is found, and nothing can be compared"),
    ("SELECT full_name FROM staff WHERE wage >= 5000", "SELECT full_name FROM staff WHERE wage >= 5000",
     "both make the same mistake (>= for >), and agreement cannot see it"),
    ("SELECT full_name FROM staff WHERE town = '서울'", "SELECT name FROM staff WHERE town = '서울'",
     "the first query is right, but the second one does not run: a good row is lost"),
    ("SELECT full_name FROM staff ORDER BY full_name", "SELECT full_name FROM staff",
     "the first query orders, so the order counts: 민준 comes first, not 지호"),
    ("SELECT full_name FROM staff", "SELECT full_name FROM staff ORDER BY full_name",
     "the first query asks for no order, so none counts"),
    ("SELECT AVG(wage) FROM staff WHERE hired > 2030", "SELECT AVG(wage) FROM staff WHERE hired > 2030",
     "the average of no rows is one row with NULL"),
)  # fmt: skip
WORDS = ("stays", "does not run", "finds nothing", "disagrees")


@exercise("06-1-c", points=2)
def faults(answer):
    """What fault_of says."""
    found = as_list(answer, "prediction", len(ASKED))
    with SQLSandbox(script=STAFF) as box:
        for place, (one, (first, second, because)) in enumerate(zip(found, ASKED), start=1):
            assert one in WORDS, f"each item is one of {', '.join(WORDS)}; number {place} is {shown(one)}"
            right = fault_of(box, first, second) or "stays"
            assert one == right, f"number {place} is not {shown(one)} ({first}): {because}"


BANK = (
    ("staff", "도시가 서울인 직원은 몇 명인가요?", "SELECT COUNT(*) FROM staff WHERE town = '서울'"),
    ("staff", "부산에 직원이 몇 명 있나요?", "SELECT COUNT(*) FROM staff WHERE town = '부산'"),
    ("staff", "Who earns more than 5000?", "SELECT full_name FROM staff WHERE wage > 5000"),
    ("staff", "Who earns less than 5000?", "SELECT full_name FROM staff WHERE wage < 5000"),
    ("books", "쪽수가 300보다 많은 책의 제목은 무엇인가요?", "SELECT title FROM books WHERE pages > 300"),
    ("books", "Which books have more than 450 pages?", "SELECT title FROM books WHERE pages > 450"),
    ("books", "가장 비싼 책은 무엇인가요?", "SELECT title FROM books ORDER BY price DESC LIMIT 1"),
    ("books", "Show the three dearest books.", "SELECT title FROM books ORDER BY price DESC LIMIT 3"),
    ("cars", "How many cars are there?", "SELECT COUNT(*) FROM cars"),
    ("cars", "자동차는 모두 몇 대인가요?", "SELECT COUNT(*) FROM cars"),
    ("cars", "Show the average price for each color.", "SELECT color, AVG(price) FROM cars GROUP BY color"),
    ("cars", "색상별 자동차 수를 보여 줘.", "SELECT color, COUNT(*) FROM cars GROUP BY color"),
)


@exercise("06-1-d", points=2)
def leaking(answer):
    """No question in both parts, and every test query known but for its values."""
    test = as_list(plain(answer, "test"), "test")
    for one in test:
        whole = isinstance(one, int) and not isinstance(one, bool)
        told = f"each item is a number from 0 to {len(BANK) - 1}, got {shown(one)}"
        assert whole, told
        assert 0 <= one < len(BANK), told
    assert len(set(test)) == len(test), f"no row may stand in test twice, got {shown(test)}"
    assert len(test) >= 4, f"test must have at least four rows, got {len(test)}"
    values = re.compile(r"'[^']*'|\b\d+\b")
    known = {(db, values.sub("?", sql)) for place, (db, _, sql) in enumerate(BANK) if place not in test}
    for one in test:
        database, question, sql = BANK[one]
        assert (database, values.sub("?", sql)) in known, (
            f"row {one} ({question}) does not leak: no training row of {database} has its query with other values"
        )
