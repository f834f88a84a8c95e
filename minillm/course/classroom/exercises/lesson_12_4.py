"""Checkers of lesson 12_4, a vector store."""

import json
import zlib

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.search.store.filters import matches, parse_filter

OWN = "build it yourself, with nothing of minillm"
FILTERS = (
    "minillm.search.store.filters.matches",
    "minillm.search.store.filters.parse_filter",
    "minillm.search.store.inverted.MetadataIndex.select",
)


def refuse_copies(answer, allowed=()):
    copied = copied_library(answer, allowed=allowed)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


# (filter, metadata) in which one rule of the language decides
TELLING = [
    ({}, {}), ({}, {"a": 1}), ({"a": 1}, {}), ({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": True}),
    ({"a": True}, {"a": 1}), ({"a": True}, {"a": True}), ({"a": False}, {"a": 0}), ({"a": "1"}, {"a": 1}),
    ({"a": 1}, {"a": "1"}), ({"a": ""}, {"a": ""}), ({"a": {"$ne": 1}}, {}),
    ({"a": {"$ne": 1}}, {"a": True}), ({"a": {"$ne": 1}}, {"a": 1.0}), ({"a": {"$ne": 0}}, {"a": False}),
    ({"a": {"$nin": [1, 2]}}, {}), ({"a": {"$nin": []}}, {"a": 1}), ({"a": {"$nin": []}}, {}),
    ({"a": {"$in": []}}, {"a": 1}), ({"a": {"$in": [1, "x"]}}, {"a": True}),
    ({"a": {"$nin": [1, "x"]}}, {"a": True}), ({"a": {"$in": [True]}}, {"a": 1.0}),
    ({"a": "db"}, {"a": ["db", "sql"]}), ({"a": "db"}, {"a": []}), ({"a": "d"}, {"a": ["db"]}),
    ({"a": "d"}, {"a": "db"}), ({"a": {"$ne": "db"}}, {"a": ["db", "sql"]}),
    ({"a": {"$ne": "db"}}, {"a": []}), ({"a": {"$ne": 1}}, {"a": ["x"]}),
    ({"a": {"$in": ["y", "sql"]}}, {"a": ["db", "sql"]}), ({"a": {"$in": ["y"]}}, {"a": ["db"]}),
    ({"a": {"$nin": ["y", "sql"]}}, {"a": ["db", "sql"]}), ({"a": {"$nin": ["y"]}}, {"a": ["db"]}),
    ({"a": {"$gt": 1}}, {"a": "2"}), ({"a": {"$gt": 0}}, {"a": True}), ({"a": {"$lt": 2}}, {"a": False}),
    ({"a": {"$gte": 1}}, {"a": True}), ({"a": {"$lte": 1}}, {"a": "x"}), ({"a": {"$gt": 1}}, {}),
    ({"a": {"$lt": 1}}, {}), ({"a": {"$lt": 1}}, {"a": ["x"]}), ({"a": {"$gte": 1}}, {"a": []}),
    ({"a": {"$exists": True}}, {"a": False}), ({"a": {"$exists": True}}, {"a": ""}),
    ({"a": {"$exists": False}}, {"a": 0}), ({"a": {"$exists": False}}, {}), ({"a": {"$exists": True}}, {}),
    ({"a": {"$exists": True, "$gt": 3}}, {"a": 2}), ({"a": {"$gt": 1, "$lt": 3}}, {"a": 4}),
    ({"a": {"$exists": False, "$ne": 3}}, {}), ({"a": 1, "b": 2}, {"a": 1}),
    ({"$or": [{"a": 1}, {"b": 2}]}, {"b": 2}), ({"$or": [{"a": 1}, {"b": 2}], "c": 3}, {"a": 1}),
    ({"$and": [{"a": 1}, {"b": 2}]}, {"a": 1, "b": 3}),
    ({"$and": [{"$or": [{"a": 1}, {"a": 2}]}, {"$or": [{"b": 1}, {"$and": [{"b": 2}, {"a": 2}]}]}]}, {"a": 2, "b": 2}),
    ({"$or": [{}]}, {}), ({"$and": [{}]}, {"a": 1}),
    ({"$or": [{"a": {"$exists": False}}, {"a": 5}]}, {"a": 4}), ({"언어": "ko"}, {"언어": "ko"}),
    ({"언어": {"$in": ["ko", "en"]}}, {"언어": ["en"]}), ({"a": {"$in": ["1"]}}, {"a": 1}),
    ({"a": {"$in": [2]}}, {"a": 2.0}), ({"a": {"$nin": ["1"]}}, {"a": 1}), ({"a": {"$in": ["True"]}}, {"a": True}),
    ({"$and": [{"a": 1}], "$or": [{"b": 2}, {"b": 3}]}, {"a": 2, "b": 2}),
    ({"$or": [{"b": 2}, {"b": 3}], "$and": [{"a": 1}]}, {"a": 1, "b": 4}),
    ({"$and": [{"$or": [{"$and": [{"$or": [{"a": 1}, {"$and": [{"b": 2}]}]}]}]}]}, {"a": 2, "b": 3}),
]  # fmt: skip
VALUES = (0, 1, 2.0, -1, True, False, "1", "db", "가", ["db"], ["db", "가"], [])
SINGLE = [one for one in VALUES if not isinstance(one, list)]
FIELDS = ("a", "b", "c")


@exercise("12-4-a", points=3)
def passes(answer):
    """Whether a record's metadata satisfies a filter."""
    refuse_copies(answer)
    comparisons = ("$gt", "$gte", "$lt", "$lte")
    edges = [({"a": {name: 2}}, {"a": value}) for name in comparisons for value in (1, 2, 2.0, 2.5, -3)]
    random = cases(90, depth=(0, 1, 2), fields=(0, 1, 2, 3), turn=tuple(range(8)))
    some = [*TELLING, *edges, *map(drawn, random)]
    for filter, metadata in some:
        expected = matches(parse_filter(filter), metadata)
        given = json.loads(json.dumps([filter, metadata]))
        with forbid(OWN, *FILTERS, answer=answer):
            found = plain(answer(*given), "what passes returns")
        where = f"filter {json.dumps(filter, ensure_ascii=False)}, metadata {json.dumps(metadata, ensure_ascii=False)}"
        assert isinstance(found, bool), f"passes returns True or False, got {shown(found)}: {where}"
        assert found is expected, f"expected {expected}, got {found}: {where}"
        expect(given, [filter, metadata], hint=f"both arguments must stay as they are: {where}")


def drawn(case):
    """A random filter and a record of so many fields."""
    inputs = Inputs(case.seed)
    chosen = inputs.shuffled(FIELDS)[: case.fields]
    return filter_of(inputs, case.depth), {field: pick(inputs, VALUES) for field in chosen}


def pick(inputs, values):
    return values[inputs.integer(0, len(values) - 1)]


def filter_of(inputs, depth):
    if depth and inputs.integer(0, 2):
        parts = [filter_of(inputs, depth - 1) for _ in range(inputs.integer(1, 3))]
        return {pick(inputs, ("$and", "$or")): parts}
    operator = pick(inputs, ("", "$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists"))
    if operator in ("$in", "$nin"):
        operand = [pick(inputs, SINGLE) for _ in range(inputs.integer(0, 3))]
    elif operator == "$exists":
        operand = bool(inputs.integer(0, 1))
    else:
        operand = pick(inputs, SINGLE if operator in ("", "$eq", "$ne") else (0, 1, 1.5, 2))
    return {pick(inputs, FIELDS): {operator: operand} if operator else operand}


# --- a log ---


def written(*changes):
    """The lines of a log."""
    lines = []
    for change in changes:
        body = json.dumps(list(change), ensure_ascii=False)
        lines.append(f"{zlib.crc32(body.encode('utf-8')):08x} {body}\n".encode())
    return b"".join(lines)


@exercise("12-4-b", points=3)
def recover(answer):
    """The state after the last commit that counts."""
    refuse_copies(answer, allowed=("line_of",))

    def check_log(log, expected, what):
        found = plain(answer(bytes(log)), "what recover returns")
        assert isinstance(found, dict), f"recover returns a dict, got {shown(found)}: {what}"
        expect(found, expected, hint=what)

    check_log(b"", {}, "an empty log")
    one = written(("put", "a", 1), ("put", "b", None), ("commit", 2))
    two = written(("put", "a", "나무"), ("delete", "b"), ("delete", "none"), ("commit", 3))
    three = written(("put", "다", [1, {"x": 2}]), ("put", "a", 7), ("commit", 2))
    first, second = {"a": 1, "b": None}, {"a": "나무"}
    third = second | {"다": [1, {"x": 2}], "a": 7}
    log = one + two + three
    for end in range(len(log) + 1):
        state = (
            third
            if end == len(log)
            else second
            if end >= len(one + two)
            else first
            if end >= len(one)
            else {}
        )
        check_log(
            log[:end],
            state,
            f"the log is cut after {end} of {len(log)} bytes, which ends in {log[:end][-24:]!r}",
        )
    for place in range(len(one), len(log), 3):
        damaged = bytearray(log)
        damaged[place] ^= 1 + place % 7
        state = first if place < len(one + two) else second
        check_log(
            damaged, state, f"byte {place} is damaged: {bytes(damaged[max(0, place - 12) : place + 12])!r}"
        )
    check_log(one + b"\n" + three, first, "an empty line does not count, and reading stops at it")
    check_log(one + three[:9] + b"\n" + three, first, "a line of a checksum alone does not count")
    check_log(
        one + three.replace(b" ", b"_", 1), first, "a line without the space after its digits does not count"
    )
    gap = one + two[two.index(b"\n") + 1 :] + three
    check_log(
        gap, first, "a line is missing from the second batch: its commit says 3 and 2 changes stand before it"
    )
    doubled = one + written(("put", "a", 5), ("put", "a", 5), ("commit", 1)) + three
    check_log(doubled, first, "a line stands twice: the commit says 1 and 2 changes stand before it")
    check_log(one + written(("put", "z", 1)), first, "changes without a commit never happened")
    check_log(written(("put", "z", 1), ("delete", "z"), ("commit", 2)), {}, "put and deleted in one batch")
    check_log(
        written(("delete", "z"), ("put", "z", 1), ("commit", 2)), {"z": 1}, "deleted and put in one batch"
    )
    check_log(written(("commit", 0)) + one, first, "an empty batch")
    check_log(
        written(("put", "commit", "put"), ("commit", 1)),
        {"commit": "put"},
        "words of the format as id and value",
    )
    check_log(log.upper(), {}, "capital letters change every line")
    check_log(one[:8].upper() + one[8:], {}, "the digits are small: capital ones do not count")
    zeros = written(("put", "zero", 2), ("commit", 1))  # its checksum begins with 00
    check_log(zeros, {"zero": 2}, "a checksum that begins with zeros")
    for lacking in (zeros[2:], b"  " + zeros[2:], b"0x" + zeros[2:], b"+0" + zeros[2:]):
        check_log(lacking, {}, f"8 hex digits are wanted, no fewer and nothing else: {lacking[:14]!r}")
    for case in cases(24, batches=(1, 3, 6), longest=(1, 4), lost=(0, 1, 5, 40)):
        check_random(check_log, case)


def check_random(check_log, case):
    inputs, state, log, ends = Inputs(case.seed), {}, b"", [(0, {})]
    for _ in range(case.batches):
        changes = []
        for _ in range(inputs.integer(0, case.longest)):
            id = pick(inputs, ("a", "b", "다"))
            changes.append(
                ("delete", id) if inputs.integer(0, 3) == 0 else ("put", id, inputs.integer(0, 99))
            )
        log += written(*changes, ("commit", len(changes)))
        state = dict(state)
        for kind, id, *value in changes:
            state.pop(id, None)
            state.update({id: value[0]} if kind == "put" else {})
        ends.append((len(log), state))
    cut = log[: max(0, len(log) - case.lost)]
    expected = [one for end, one in ends if end <= len(cut)][-1]
    check_log(cut, expected, f"{case}: the log {shown(cut)}")


# --- a hasty store ---


@exercise("12-4-c", points=2)
def story(answer):
    """An acknowledged batch that is gone, and one that is half there."""
    batches, moment = as_list(answer, "story = (batches, moment)", 2)
    batches = [as_list(one, "a batch") for one in as_list(batches, "batches")]
    assert 1 <= len(batches) <= 6, f"give 1 to 6 batches, got {len(batches)}"
    ids = [id for batch in batches for id in batch]
    for batch in batches:
        assert 1 <= len(batch) <= 6, f"a batch has 1 to 6 ids, got {shown(batch)}"
    for id in ids:
        assert isinstance(id, str), f"ids are texts, got {shown(id)}"
    assert len(set(ids)) == len(ids), f"all ids are different, got {shown(ids)}"
    whole = isinstance(moment, int) and not isinstance(moment, bool)
    assert whole and moment >= 0, f"moment is a whole number, 0 or more, got {shown(moment)}"  # noqa: PT018
    done, disk = after_crash(batches, moment)
    what = f"after {moment} writes: {done} batches acknowledged, on the disk {sorted(disk)}"
    lost = [batch for batch in batches[:done] if disk.isdisjoint(batch)]
    assert lost, f"no acknowledged batch is gone ({what}). What is still in memory when the power goes?"
    half = [batch for batch in batches[done:] if disk & set(batch) and not disk >= set(batch)]
    assert half, (
        f"no batch without an acknowledgement is half there ({what}). Let the power go while one is being written"
    )


def after_crash(batches, moment):
    """How many batches the lesson's `crash` acknowledges, and the set of ids on the disk."""
    memory, disk = [], set()
    for number, batch in enumerate(batches):
        memory.extend(batch)
        must = max(0, len(memory) - 3)
        can = min(must, moment - len(disk))
        disk.update(memory[len(memory) - can :])
        del memory[len(memory) - can :]
        if can < must:
            return number, disk
    return len(batches), disk


SHELF = [
    {"year": 2023, "tags": ["기초", "글"], "draft": False},
    {"year": 2024.0, "tags": ["기초"]},
    {"year": "2024", "draft": True},
    {"year": 2025, "tags": []},
    {"draft": 1},
]
ASKED = [
    ({"year": {"$gte": 2024}}, "a comparison holds for numbers only, and one year is a text"),
    (
        {"year": {"$ne": 2024}},
        "2024.0 equals 2024, a text does not, and without a year nothing but $exists holds",
    ),
    ({"draft": True}, "a number is no bool"),
    (
        {"tags": {"$ne": "기초"}},
        "an empty list is there and does not hold the word; a record without tags does not pass",
    ),
    (
        {"$or": [{"draft": {"$exists": False}}, {"tags": {"$in": ["글", "그림"]}}]},
        "who has no draft, and who has 글?",
    ),
    ({"year": {"$gt": 2022, "$lt": 2024}, "tags": "기초"}, "all three conditions must hold"),
]


@exercise("12-4-d", points=2)
def counts(answer):
    """How many of five records pass each of six filters."""
    found = as_list(answer, "counts", 6)
    for number, one, (filter, hint) in zip(range(1, 7), found, ASKED):
        parsed = parse_filter(filter)
        expected = sum(matches(parsed, metadata) for metadata in SHELF)
        assert type(one) in (int, float), f"counts are numbers, got {shown(one)}"
        assert one == expected, f"filter {number}: you say {shown(one)}. Look again: {hint}"
