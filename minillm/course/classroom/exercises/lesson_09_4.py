"""Checkers of lesson 09_4, logging and tracing."""

import asyncio
import itertools
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


# --- a tracer ---


class Clock:
    """Whole milliseconds; only `wait` lets time go by."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def wait(self, milliseconds):
        self.now += milliseconds


def step(trace, clock, plan):
    """One span and those inside of it. plan: (name, ms, the plans of its children, the error that it raises or None,
    whether errors end here). It stops where another thread may have its turn."""
    name, milliseconds, inside, error, caught = plan
    try:
        with trace(name):
            clock.wait(milliseconds)
            yield
            for one in inside:
                yield from step(trace, clock, one)
            clock.wait(1)
            if error is not None:
                raise error(name)
    except (KeyError, ZeroDivisionError):
        if not caught:
            raise


def one_after_the_other(trace, clock, plans):
    for plan in plans:
        for _ in step(trace, clock, plan):
            pass


def in_threads(trace, clock, plans):
    """A thread a plan, under a span of the main thread; they take turns, one step each."""
    turns = [threading.Semaphore(0) for _ in plans]
    back, failed, running = threading.Semaphore(0), [], list(range(len(plans)))

    def work(number):
        try:
            turns[number].acquire(timeout=20)
            for _ in step(trace, clock, plans[number]):
                back.release()
                turns[number].acquire(timeout=20)
        except BaseException as error:
            failed.append(error)
        finally:
            running.remove(number)
            back.release()

    with trace("main"):
        threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in running]
        for thread in threads:
            thread.start()
        while running:
            for number in list(running):
                turns[number].release()
                back.acquire(timeout=20)
        for thread in threads:
            thread.join(timeout=20)
    if failed:
        raise failed[0]


def in_tasks(trace, clock, plans):
    """An asyncio task a plan, made while a span is open; in a thread, since a notebook has a loop already."""
    failed = []

    async def work(plan):
        for _ in step(trace, clock, plan):
            await asyncio.sleep(0)

    async def main():
        with trace("main"):
            tasks = [asyncio.ensure_future(work(plan)) for plan in plans]
            await asyncio.gather(*tasks)

    def run():
        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=20)
    if failed:
        raise failed[0]


PROGRAMS = {
    "blocks in blocks": one_after_the_other,
    "threads that take turns": in_threads,
    "asyncio tasks that take turns": in_tasks,
}


def spans_by_the_tracer(way, plans):
    """What the lesson's tracer writes down."""
    clock, count = Clock(), itertools.count()
    tracer = Tracer(seed=0, clock=lambda: clock.now * 10**6)
    way(lambda name: tracer.trace(f"{next(count)} {name}"), clock, plans)
    numbers = {one.span_id: int(one.name.split()[0]) for one in tracer.kept}
    return [
        [numbers[one.span_id], numbers.get(one.parent_id), one.name.split(" ", 1)[1], one.start // 10**6,
         one.end // 10**6, one.attributes.get("error.type")]
        for one in tracer.kept
    ]  # fmt: skip


LEAF = ("leaf", 2, (), None, True)
FIXED = [
    ("blocks in blocks", [], "no span"),
    ("blocks in blocks", [LEAF, LEAF], "the same name twice, one after the other"),
    ("blocks in blocks", [("a", 3, (LEAF, ("b", 0, (LEAF,), None, True), LEAF), None, True)],
     "after a block is left, the one around it is open again"),
    ("blocks in blocks", [("a", 1, (("b", 1, (), KeyError, True), LEAF), None, True), LEAF],
     "a block that an error leaves has ended, too"),
    ("blocks in blocks", [("a", 1, (("b", 1, (), ZeroDivisionError, False),), None, True)],
     "the error goes on through the block around it"),
    ("threads that take turns", [("a", 1, (LEAF,), None, True), ("b", 2, (LEAF, LEAF), None, True)],
     "each thread has its own open span, and begins without one"),
    ("asyncio tasks that take turns", [("a", 1, (LEAF,), None, True), ("b", 2, (LEAF, LEAF), None, True)],
     "tasks share a thread; each begins with what is open where it is made"),
]  # fmt: skip
TRACER = tuple(
    f"minillm.apps.tracing.tracer.{name}"
    for name in ("Tracer.trace", "Span.__init__", "Within.__enter__", "Scope.__enter__")
)


@exercise("09-4-b", points=3)
def spans_of(answer):
    """A tracer: spans that find their parents in threads and tasks."""
    refuse_copies(answer)
    for way, plans, what in [
        *FIXED,
        *map(drawn_program, cases(30, way=tuple(PROGRAMS), count=(1, 2, 4), deep=(1, 3))),
    ]:
        clock, where = Clock(), f"{way}: {shown(told(plans))} ({what})"
        with forbid(OWN, *TRACER, answer=answer):
            found = answer(
                lambda trace, way=way, plans=plans, clock=clock: PROGRAMS[way](trace, clock, plans), clock
            )
        rows = [as_list(one, "a span", 6) for one in as_list(found, "what spans_of returns")]
        expect(rows, spans_by_the_tracer(PROGRAMS[way], plans), hint=where)


def told(plans):
    """Plans for a message."""
    return [[name, told(inside), getattr(error, "__name__", None)] for name, _, inside, error, _ in plans]


def drawn_program(case):
    inputs = Inputs(case.seed)

    def plan(depth):
        inside = tuple(plan(depth - 1) for _ in range(inputs.integer(0, 2) if depth else 0))
        error = (None, None, None, KeyError, ZeroDivisionError)[inputs.integer(0, 4)]
        caught = depth == case.deep or inputs.integer(0, 1) == 1
        return "ab검색"[inputs.integer(0, 3)], inputs.integer(0, 9), inside, error, caught

    return case.way, [plan(case.deep) for _ in range(case.count)], "drawn"


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
