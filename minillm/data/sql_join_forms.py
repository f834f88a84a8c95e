"""The forms of questions to two or three tables: the first one refers to the others, and each join says so.

    join_text    SELECT items.label FROM items JOIN firms ON items.firms_id = firms.id WHERE firms.town = 'Seoul'
                 What is the name of the products whose company has the city Seoul?
                 회사의 도시가 서울인 제품의 이름은 무엇인가요?

Book: 6.1.3 합성 데이터 활용. Left out: a table joined with itself, outer joins.
"""

from __future__ import annotations

from minillm.data.particles import with_particle
from minillm.data.sql_forms import Asked, Form, drawn_aggregate
from minillm.data.sql_schemas import SchemaTable
from minillm.data.sql_words import TABLES


def _parent(a: Asked) -> tuple[int, SchemaTable, str, str]:
    """A table that the first refers to: (its place, itself, its name in English and in Korean)."""
    place = a.rng.randrange(1, len(a.schema.tables))
    table = a.schema.tables[place]
    return place, table, TABLES[table.concept].one, TABLES[table.concept].korean


def _referred(a: Asked, place: int, column: str) -> str:
    """A text of the parent's column that some row refers to."""
    ids = [row[len(row) - len(a.schema.tables) + place] for row in a.schema.rows[0]]
    return a.schema.values(place, column)[a.rng.choice(ids) - 1]


def join_text(a: Asked) -> tuple[str, str, str]:
    place, parent, english, korean = _parent(a)
    d, y = a.text(place)
    c, x = a.other()
    v = _referred(a, place, y)
    return (
        f"SELECT {a.t}.{x} FROM {a.joined(place)} WHERE {parent.name}.{y} = '{v}'",
        f"What is the {c.english} of the {a.words.english} whose {english} has the {d.english} {v}?",
        f"{korean}의 {with_particle(d.korean, '이/가')} {v}인 {a.words.korean}의 "
        f"{with_particle(c.korean, '은/는')} {c.asks}?",
    )


def join_count(a: Asked) -> tuple[str, str, str]:
    place, parent, english, korean = _parent(a)
    d, y = a.text(place)
    v = _referred(a, place, y)
    return (
        f"SELECT COUNT(*) FROM {a.joined(place)} WHERE {parent.name}.{y} = '{v}'",
        f"How many {a.words.english} are there whose {english} has the {d.english} {v}?",
        f"{korean}의 {with_particle(d.korean, '이/가')} {v}인 {with_particle(a.words.korean, '은/는')} 몇 "
        f"{a.words.counter}인가요?",
    )


def join_aggregate(a: Asked) -> tuple[str, str, str]:
    place, parent, english, korean = _parent(a)
    d, y = a.text(place)
    e, z = a.number()
    v = _referred(a, place, y)
    sql, said, asked = drawn_aggregate(a, e)
    return (
        f"SELECT {sql}({a.t}.{z}) FROM {a.joined(place)} WHERE {parent.name}.{y} = '{v}'",
        f"What is the {said} of the {a.words.english} whose {english} has the {d.english} {v}?",
        f"{korean}의 {with_particle(d.korean, '이/가')} {v}인 {a.words.korean}의 {asked}",
    )


def join_group(a: Asked) -> tuple[str, str, str]:
    place, parent, english, korean = _parent(a)
    d, y = a.text(place, groups=True)
    return (
        f"SELECT {parent.name}.{y}, COUNT(*) FROM {a.joined(place)} GROUP BY {parent.name}.{y}",
        f"How many {a.words.english} are there for each {d.english} of the {english}?",
        f"{korean}의 {d.korean}별 {a.words.korean} 수를 보여 줘.",
    )


def join_both(a: Asked) -> tuple[str, str, str]:
    """Conditions on both tables that the first refers to."""
    first, second = a.schema.tables[1:]
    d, y = a.text(1)
    e, z = a.text(2)
    c, x = a.other()
    row = a.rng.choice(a.schema.rows[0])
    v, w = a.schema.values(1, y)[row[-2] - 1], a.schema.values(2, z)[row[-1] - 1]
    one, other = TABLES[first.concept], TABLES[second.concept]
    return (
        f"SELECT {a.t}.{x} FROM {a.joined(1, 2)} WHERE {first.name}.{y} = '{v}' AND {second.name}.{z} = '{w}'",
        f"What is the {c.english} of the {a.words.english} whose {one.one} has the {d.english} {v} "
        f"and whose {other.one} has the {e.english} {w}?",
        f"{one.korean}의 {with_particle(d.korean, '이/가')} {v}이고 {other.korean}의 "
        f"{with_particle(e.korean, '이/가')} {w}인 "
        f"{a.words.korean}의 {with_particle(c.korean, '은/는')} {c.asks}?",
    )


JOINS: tuple[Form, ...] = (join_text, join_count, join_aggregate, join_group)
