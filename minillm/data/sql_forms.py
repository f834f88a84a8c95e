"""The forms of questions: each draws columns and values and says the same in SQL, in English and in Korean.

    where_text    SELECT full_name FROM staff WHERE town = 'Seoul'
                  What is the name of the employees whose city is Seoul?
                  도시가 서울인 직원의 이름은 무엇인가요?

Book: 6.1.3 합성 데이터 활용. Left out: subqueries, HAVING, typing mistakes, other words for the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from minillm.data.particles import with_particle
from minillm.data.sql_schemas import Schema
from minillm.data.sql_words import COLUMNS, NAMES, TABLES, Number, Text

AGGREGATES = {  # what is said of a column in English and in Korean: 평균 연봉, 가장 높은 연봉, 연봉 합계
    "AVG": ("average", "평균 {column}"), "MAX": ("{most}", "가장 {more} {column}"),
    "MIN": ("{least}", "가장 {less} {column}"), "SUM": ("total", "{column} 합계"),
}  # fmt: skip
SHOW = ("Show", "List", "Give me")


class DoesNotFit(Exception):
    """The table has no column that a form needs."""


class Asked:
    """What a form draws from: a table of a schema, its columns, and words for them in both languages."""

    def __init__(self, rng: random.Random, schema: Schema) -> None:
        self.rng, self.schema, self.table = rng, schema, schema.tables[0]
        self.words = TABLES[self.table.concept]
        self.t = self.table.name

    def text(self, place: int = 0, groups: bool = False) -> tuple[Text, str]:
        """A column of texts that several rows share; of tables that have none, the name, unless it is to group rows."""
        columns = self.schema.tables[place].columns_of(Text)
        grouping = [one for one in columns if one[0] not in NAMES]
        if groups and not grouping:
            raise DoesNotFit
        concept, name = self.rng.choice(grouping or columns)
        return COLUMNS[concept], name  # type: ignore[return-value]

    def number(self, place: int = 0, years: bool = True) -> tuple[Number, str]:
        """A column of numbers; years: it may be one of years."""
        columns = [(COLUMNS[concept], name) for concept, name in self.schema.tables[place].columns_of(Number)]
        if not years:
            columns = [one for one in columns if not one[0].year]
        if not columns:
            raise DoesNotFit
        return self.rng.choice(columns)  # type: ignore[return-value]

    def other(self, *taken: str, place: int = 0) -> tuple[Text | Number, str]:
        """Any column besides these."""
        concept, name = self.rng.choice(
            [one for one in self.schema.tables[place].columns if one[1] not in taken]
        )
        return COLUMNS[concept], name

    def value(self, column: str, place: int = 0) -> str:
        """A text that stands in the column."""
        return self.rng.choice(self.schema.values(place, column))

    def bound(self, column: str, place: int = 0) -> int:
        """A number between those of the column: some are above, some below."""
        return self.rng.choice(sorted(self.schema.values(place, column))[1:-1])

    def side(self, number: Number) -> tuple[str, str, str]:
        """(sign, English, Korean) of a comparison, the number left open: (">", "after {}", "{}년보다 늦은")."""
        sign, english, korean = self.rng.choice(
            ((">", number.over, number.more), ("<", number.under, number.less))
        )
        unit = number.unit if number.year or self.rng.random() < 0.5 else ""  # 30세보다, 30보다
        return sign, f"{english} {{}}", f"{{}}{unit}보다 {korean}"

    def joined(self, *places: int) -> str:
        """The table with those that it refers to."""
        parents = [self.schema.tables[place].name for place in places]
        return " ".join([self.t, *(f"JOIN {one} ON {self.t}.{one}_id = {one}.id" for one in parents)])


Form = Callable[[Asked], tuple[str, str, str]]  # (SQL, English, Korean)


def every(a: Asked) -> tuple[str, str, str]:
    c, x = a.other()
    show = a.rng.choice(SHOW)
    return (
        f"SELECT {x} FROM {a.t}",
        f"{show} the {c.english} of all {a.words.english}.",
        f"모든 {a.words.korean}의 {with_particle(c.korean, '을/를')} 보여 줘.",
    )


def every_two(a: Asked) -> tuple[str, str, str]:
    c, x = a.other()
    d, y = a.other(x)
    return (
        f"SELECT {x}, {y} FROM {a.t}",
        f"{a.rng.choice(SHOW)} the {c.english} and {d.english} of all {a.words.english}.",
        f"모든 {a.words.korean}의 {with_particle(c.korean, '과/와')} {with_particle(d.korean, '을/를')} 보여 줘.",
    )


def where_text(a: Asked) -> tuple[str, str, str]:
    d, y = a.text()
    c, x = a.other(y)
    v = a.value(y)
    return (
        f"SELECT {x} FROM {a.t} WHERE {y} = '{v}'",
        f"What is the {c.english} of the {a.words.english} whose {d.english} is {v}?",
        f"{with_particle(d.korean, '이/가')} {v}인 {a.words.korean}의 {with_particle(c.korean, '은/는')} {c.asks}?",
    )


def where_number(a: Asked) -> tuple[str, str, str]:
    d, y = a.number()
    c, x = a.other(y)
    sign, english, korean = a.side(d)
    n = a.bound(y)
    return (
        f"SELECT {x} FROM {a.t} WHERE {y} {sign} {n}",
        f"What is the {c.english} of the {a.words.english} whose {d.english} is {english.format(n)}?",
        f"{with_particle(d.korean, '이/가')} {korean.format(n)} {a.words.korean}의 "
        f"{with_particle(c.korean, '은/는')} {c.asks}?",
    )


def where_both(a: Asked) -> tuple[str, str, str]:
    d, y = a.text()
    e, z = a.number()
    c, x = a.other(y, z) if len(a.table.columns) > 2 else a.other()
    sign, english, korean = a.side(e)
    place = a.rng.randrange(len(a.schema.rows[0]))
    v, n = a.schema.values(0, y)[place], a.schema.values(0, z)[place]
    n += -e.step if sign == ">" else e.step  # so that this row fits
    return (
        f"SELECT {x} FROM {a.t} WHERE {y} = '{v}' AND {z} {sign} {n}",
        f"What is the {c.english} of the {a.words.english} whose {d.english} is {v} and whose "
        f"{e.english} is {english.format(n)}?",
        f"{with_particle(d.korean, '이/가')} {v}이고 {with_particle(e.korean, '이/가')} {korean.format(n)} "
        f"{a.words.korean}의 {with_particle(c.korean, '은/는')} {c.asks}?",
    )


def count_all(a: Asked) -> tuple[str, str, str]:
    return (
        f"SELECT COUNT(*) FROM {a.t}",
        f"How many {a.words.english} are there?",
        f"{with_particle(a.words.korean, '은/는')} 모두 몇 {a.words.counter}인가요?",
    )


def count_text(a: Asked) -> tuple[str, str, str]:
    d, y = a.text()
    v = a.value(y)
    return (
        f"SELECT COUNT(*) FROM {a.t} WHERE {y} = '{v}'",
        f"How many {a.words.english} are there whose {d.english} is {v}?",
        f"{with_particle(d.korean, '이/가')} {v}인 "
        f"{with_particle(a.words.korean, '은/는')} 몇 {a.words.counter}인가요?",
    )


def count_number(a: Asked) -> tuple[str, str, str]:
    d, y = a.number()
    sign, english, korean = a.side(d)
    n = a.bound(y)
    return (
        f"SELECT COUNT(*) FROM {a.t} WHERE {y} {sign} {n}",
        f"How many {a.words.english} are there whose {d.english} is {english.format(n)}?",
        f"{with_particle(d.korean, '이/가')} {korean.format(n)} {with_particle(a.words.korean, '은/는')} "
        f"몇 {a.words.counter}인가요?",
    )


def drawn_aggregate(a: Asked, number: Number) -> tuple[str, str, str]:
    """(function, English, Korean): ("MAX", "highest salary", "가장 높은 연봉은 얼마인가요?")."""
    fits = {"MAX": True, "MIN": True, "AVG": not number.year, "SUM": number.sums}
    sql = a.rng.choice([name for name in AGGREGATES if fits[name]])
    english, korean = AGGREGATES[sql]
    said = korean.format(column=number.korean, more=number.more, less=number.less)
    asks = "얼마인가요" if sql == "SUM" else number.asks
    english = english.format(most=number.most, least=number.least)
    return sql, f"{english} {number.english}", f"{with_particle(said, '은/는')} {asks}?"


def aggregate(a: Asked) -> tuple[str, str, str]:
    d, y = a.number()
    sql, english, korean = drawn_aggregate(a, d)
    return (
        f"SELECT {sql}({y}) FROM {a.t}",
        f"What is the {english} of the {a.words.english}?",
        f"{a.words.korean}의 {korean}",
    )


def aggregate_text(a: Asked) -> tuple[str, str, str]:
    d, y = a.number()
    e, z = a.text()
    v = a.value(z)
    sql, english, korean = drawn_aggregate(a, d)
    return (
        f"SELECT {sql}({y}) FROM {a.t} WHERE {z} = '{v}'",
        f"What is the {english} of the {a.words.english} whose {e.english} is {v}?",
        f"{with_particle(e.korean, '이/가')} {v}인 {a.words.korean}의 {korean}",
    )


def best(a: Asked) -> tuple[str, str, str]:
    d, y = a.number()
    c, x = a.other(y)
    k = a.rng.randint(2, 9)
    order, english, korean = a.rng.choice(((" DESC", d.most, d.more), ("", d.least, d.less)))
    return (
        f"SELECT {x} FROM {a.t} ORDER BY {y}{order} LIMIT {k}",
        f"{a.rng.choice(SHOW)} the {c.english} of the {k} {a.words.english} with the {english} {d.english}.",
        f"{with_particle(d.korean, '이/가')} 가장 {korean} {a.words.korean} {k}{a.words.counter}의 "
        f"{with_particle(c.korean, '을/를')} 보여 줘.",
    )


def sorted_by(a: Asked) -> tuple[str, str, str]:
    d, y = a.number()
    c, x = a.other(y)
    order, english, korean = a.rng.choice(((" DESC", d.most, d.more), ("", d.least, d.less)))
    return (
        f"SELECT {x} FROM {a.t} ORDER BY {y}{order}",
        f"{a.rng.choice(SHOW)} the {c.english} of the {a.words.english}, those with the {english} "
        f"{d.english} first.",
        f"{a.words.korean}의 {with_particle(c.korean, '을/를')} {with_particle(d.korean, '이/가')} "
        f"{korean} 순서로 보여 줘.",
    )


def group_count(a: Asked) -> tuple[str, str, str]:
    d, y = a.text(groups=True)
    return (
        f"SELECT {y}, COUNT(*) FROM {a.t} GROUP BY {y}",
        f"How many {a.words.english} are there for each {d.english}?",
        f"{d.korean}별 {a.words.korean} 수를 보여 줘.",
    )


def group_average(a: Asked) -> tuple[str, str, str]:
    d, y = a.text(groups=True)
    e, z = a.number(years=False)
    return (
        f"SELECT {y}, AVG({z}) FROM {a.t} GROUP BY {y}",
        f"What is the average {e.english} of the {a.words.english} for each {d.english}?",
        f"{d.korean}별로 {a.words.korean}의 평균 {with_particle(e.korean, '을/를')} 보여 줘.",
    )


ONE: tuple[Form, ...] = (
    every, every_two, where_text, where_number, where_both, count_all, count_text, count_number, aggregate,
    aggregate_text, best, sorted_by, group_count, group_average,
)  # fmt: skip
