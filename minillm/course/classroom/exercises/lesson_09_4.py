"""Checkers of lesson 09_4, logging and tracing."""

import re
import threading

from minillm.apps.tracing import SpanRecord, Tracer, mask_secrets, self_times, trace_tree
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

OWN = "build it yourself, with nothing of minillm"
SECRET = "hunter2-lamp-42"
TREE = tuple(
    f"minillm.apps.tracing.tree.{name}" for name in ("own_seconds", "self_times", "slowest", "trace_tree")
)


def refuse_copies(answer, allowed=()):
    copied = copied_library(answer, allowed=allowed)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


# --- own times ---


def by_the_tracer(spans):
    """What the lesson's own function finds."""
    numbers = {name: f"{place:016x}" for place, (name, *_) in enumerate(spans, 1)}
    missing = f"{len(spans) + 1:016x}"
    records = [
        SpanRecord(
            f"{1:032x}", numbers[name], None if parent is None else numbers.get(parent, missing), name, "internal",
            start * 10**6, end * 10**6, "ok", "", {}, (),
        )
        for name, parent, start, end in spans
    ]  # fmt: skip
    own = self_times(trace_tree(records))
    return {name: round(1000 * own[numbers[name]]) for name, *_ in spans}


TOLD = [
    ([], "no span"),
    ([("a", None, 3, 3)], "a span that takes no time"),
    ([("a", None, 5, 9)], "a span without children"),
    ([("a", None, 0, 10), ("b", "a", 2, 5)], "one child"),
    ([("b", "a", 2, 5), ("a", None, 0, 10)], "the child stands before its parent"),
    ([("a", None, 0, 10), ("b", "a", 2, 6), ("c", "a", 4, 8)], "children that overlap"),
    (
        [("a", None, 0, 10), ("b", "a", 1, 9), ("c", "a", 2, 3)],
        "a child that runs while another one does, whole",
    ),
    ([("a", None, 0, 10), ("b", "a", 1, 9), ("c", "a", 2, 3), ("d", "a", 4, 10)], "covered twice, then once"),
    ([("a", None, 0, 10), ("b", "a", 2, 5), ("c", "b", 3, 9)], "a grandchild that outlives its parent"),
    ([("a", None, 10, 20), ("b", "a", 5, 12)], "a child that began before its parent"),
    ([("a", None, 10, 20), ("b", "a", 15, 40)], "a child that ended after its parent"),
    ([("a", None, 10, 20), ("b", "a", 0, 40)], "a child that covers its parent"),
    ([("a", None, 10, 20), ("b", "a", 0, 5), ("c", "a", 30, 40)], "children outside of their parent"),
    ([("a", "lost", 0, 10), ("b", "a", 1, 2)], "a parent that is not in the list"),
    ([("a", None, 0, 10), ("b", None, 2, 5), ("c", "b", 3, 4)], "two first spans"),
    ([("a", None, 0, 10), ("b", "a", 2, 4), ("c", "a", 4, 6)], "children back to back"),
    ([("ㄱ", None, 0, 5 * 10**12), ("ㄴ", "ㄱ", 10**12, 2 * 10**12)], "large numbers"),
    ([("a", None, 0, 10), ("b", "a", 2, 2), ("c", "a", 2, 7)], "a child that takes no time"),
]


@exercise("09-4-a", points=3)
def own_times(answer):
    """The time of each span in which no child was running."""
    refuse_copies(answer)
    drawn = map(drawn_spans, cases(40, count=(2, 5, 12), width=(20, 200), deep=(False, True)))
    for spans, what, expected in [(*one, by_the_tracer(one[0])) for one in (*TOLD, *drawn)]:
        given = list(spans)
        with forbid(OWN, *TREE, answer=answer):
            found = answer(given)
        found = plain(found, "what own_times returns")
        where = f"spans {shown(spans)} ({what})"
        assert isinstance(found, dict), f"own_times returns a dict, got {shown(found)}: {where}"
        expect(found, expected, 1e-9, hint=where)
        expect(given, spans, hint=f"the list must stay as it is: {where}")


def drawn_spans(case):
    inputs, spans = Inputs(case.seed), [("s0", None, 0, case.width)]
    for number in range(1, case.count):
        start = inputs.integer(-5, case.width)
        parent = f"s{inputs.integer(0, number - 1) if case.deep else 0}"
        spans.append(
            (f"s{number}", parent, max(0, start), max(0, start) + inputs.integer(0, case.width // 2))
        )
    return inputs.shuffled(spans), "drawn"


# --- a mask ---


def reference(value):
    """The rules of the exercise."""
    if isinstance(value, str):
        return re.sub(r"(?<![^\W_])sk-[A-Za-z0-9_-]{16,}", "[masked]", value)
    if isinstance(value, list):
        return [reference(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: "[masked]" if plain_key(key) in NAMES else reference(one) for key, one in value.items()}


def plain_key(key):
    return "".join(sign for sign in key.lower() if sign not in "_- ")


NAMES = ("password", "apikey", "token", "authorization")
KEY = "sk-" + "aB3_-xyz" * 2  # 16 signs behind sk-
VALUES = [
    None, True, 0, 2.5, "", "hello", [], {}, KEY, f"key {KEY}", f"({KEY})", f"{KEY}.", f"a {KEY} and {KEY} b", KEY[:-1],
    KEY + "z" * 40, f"a{KEY}", f"7{KEY}", f"_{KEY}", f"-{KEY}", f"글{KEY}", f"{KEY}글", f"{KEY} 글", "sk-short",
    "SK-" + "a" * 20, KEY + "\n" + KEY, "sk-" + "가" * 20, "task-" + "a" * 20,
    [KEY, [KEY, {"x": KEY}]], {"a": {"b": [{"c": f"x {KEY}"}]}}, {KEY: "a key that looks like a secret stays"},
    {"password": None, "token": [1, {"x": 2}], "authorization": {"a": 1}}, {"password": ""},
    {"Password": 1, "API KEY": 2, "Api-Key": 3, "api_key": 4, "APIKEY": 5, "a-p_i k-e-y": 6, "_token_": 7},
    {"tokens": 1, "token id": 2, "passwords": 3, "my password": 4, "api": 5, "key": 6, "authorisation": 7, "": 8},
    {"api.key": 1, "token:": 2, "pass/word": 3, "토큰": 4}, "sk-" + "a1" * 400, [f"{KEY} {KEY}-", f"{KEY}/{KEY}"],
    {"list": [{"token": "x"}, {"tokens": "y"}]}, {"token": KEY, "other": KEY}, {"비밀": "x", "말": [KEY]},
    [[], [[]], {"a": []}], {"a": {"password": {"b": KEY}}}, "password: hunter2",
]  # fmt: skip


@exercise("09-4-b", points=3)
def masked(answer):
    """A JSON value without its secrets."""
    refuse_copies(answer)
    some = [*VALUES, *(drawn_value(Inputs(case.seed), 3) for case in cases(40, turn=tuple(range(40))))]
    for value in some:
        expected, before = reference(value), plain(value)
        found = plain(answer(value), "what masked returns")
        expect(found, expected, hint=f"masking {shown(before)}")
        assert type(found) is type(expected), (
            f"masked gives {shown(expected)}, got {shown(found)}: {shown(before)}"
        )
        expect(value, before, hint=f"the value must stay as it is: {shown(before)}")


def drawn_value(inputs, depth):
    kind = inputs.integer(0, 5) if depth else inputs.integer(0, 1)
    if kind <= 1:
        texts = ["word ", KEY, "sk-", "비밀 ", ".", "x" * 16, "token ", "-", "_", "9"]
        return "".join(texts[inputs.integer(0, 9)] for _ in range(inputs.integer(0, 5)))
    if kind == 2:
        return [None, 3, True, 1.5][inputs.integer(0, 3)]
    if kind == 3:
        return [drawn_value(inputs, depth - 1) for _ in range(inputs.integer(0, 3))]
    keys = ["token", "To_ken", "tokens", "a", "PASSWORD", "api-key", "name", "auth"]
    return {keys[inputs.integer(0, 7)]: drawn_value(inputs, depth - 1) for _ in range(inputs.integer(0, 3))}


# --- what a mask does not find, and whose child it is ---


@exercise("09-4-c", points=2)
def leaking(answer):
    """A sentence with a secret that the masks of the lesson leave."""
    text = plain(answer, "leaking")
    assert isinstance(text, str), f"leaking is a text, got {shown(text)}"
    assert len(text) <= 200, f"at most 200 characters, got {len(text)}"
    assert SECRET in text, f"{SECRET!r} must stand in the sentence, letter by letter, got {shown(text)}"
    assert "password" in text or "비밀번호" in text, (
        f"the sentence must name the password (or 비밀번호), got {shown(text)}"
    )
    left = mask_secrets(text)
    assert SECRET in left, f"the mask found it: {shown(left)}. By which form?"


def whose():
    """The parents in the exercise's program, by the tracer itself."""
    t = Tracer(seed=0)

    def in_thread():
        with t.trace("E"):
            pass

    @t.trace("A")
    def make():
        with t.trace("B"):
            pass
        yield 1
        with t.trace("C"):
            pass

    with t.trace("main"):
        for _ in make():
            with t.trace("D"):
                thread = threading.Thread(target=in_thread)
                thread.start()
                thread.join()
    with t.trace("F"):
        pass
    names = {one.span_id: one.name for one in t.kept}
    above = {one.name: names.get(one.parent_id) for one in t.kept}
    return [above[name] for name in "BCDEF"]


HINTS = {
    "B": "it runs inside of the generator's first step",
    "C": "it runs when the reader asks for a second piece",
    "D": "the generator stands still while the reader works",
    "E": "what is open in a thread that has just begun?",
    "F": "main has ended",
}


@exercise("09-4-d", points=2)
def parents(answer):
    """Whose child each span is."""
    found = as_list(answer, "parents, five names", 5)
    for (name, hint), one, expected in zip(HINTS.items(), found, whose()):
        assert one is None or isinstance(one, str), f"a parent is a name or None, got {shown(one)}"
        assert one == expected, f"the parent of {name}: you say {shown(one)}. Look again: {hint}"
