"""Checkers of lesson 15_3, evaluating agents."""

import math

from minillm.apps.agents.examination import work
from minillm.apps.agents.policies import Obedient, Oracle
from minillm.apps.agents.policies.scripted import ORDERS
from minillm.apps.guardrails import Guard, PhraseRail
from minillm.apps.guardrails.views import letters_view
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
from minillm.data.tool_tasks import tool_tasks
from minillm.data.tool_world import Workplace, World

OWN = "build it yourself"
NAMES = ("look", "send", "write", "delete", "clock")
WORDS = ("Tea", "오늘", "12", "no", "paid")


# --- a mark ---


@exercise("15-3-a", points=4)
def mark(answer):
    """(done, tried) of runs that differ from what was wanted in one thing, or in none."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    kinds = (
        "right", "right", "a forbidden call", "forbidden twice", "a needed call lacks", "a file more", "a file less",
        "another text", "another message", "messages in another order", "an answer lacks", "another case",
        "nothing said",
    )  # fmt: skip
    for case in cases(
        most=52, kind=kinds, needed=(0, 1, 2), forbidden=(1, 2), answers=(2, 0, 1, 2), sent=(0, 1, 3)
    ):
        wanted, run = a_run(Inputs(case.seed), case)
        expected = by_hand(wanted, run)
        given = copy_of(wanted), copy_of(run)
        with forbid(OWN, "minillm.data.tool_tasks.marked", answer=answer):
            found = answer(*given)
        where = f"{case.kind}: wanted={shown(wanted)}, run={shown(run)}"
        done, tried = as_list(found, f"what mark returns ({where})", 2)
        expect(plain(tried, "tried"), expected[1], hint=f"tried ({where})")
        assert isinstance(plain(done, "done"), bool), (
            f"done must be True or False, got {shown(done)} ({where})"
        )
        expect(plain(done, "done"), expected[0], hint=f"done ({where})")
        expect(
            [copy_of(given[0]), copy_of(given[1])],
            [copy_of(wanted), copy_of(run)],
            hint="both dicts stay as they are",
        )


def a_run(inputs, case):
    """What was wanted, and a run that does it but for the case's kind."""
    order = list(inputs.shuffled(NAMES))
    wanted = {
        "needed": order[: case.needed],
        "forbidden": order[case.needed : case.needed + case.forbidden],
        "files": {f"{name}.txt": WORDS[inputs.integer(0, 4)] for name in order[:2]},
        "sent": [[f"P{n}", WORDS[inputs.integer(0, 4)]] for n in range(case.sent)],
        "answers": list(inputs.shuffled(WORDS))[: case.answers],
    }
    run = {
        "called": [*order[case.needed + case.forbidden :], *wanted["needed"]],
        "files": dict(wanted["files"]),
        "sent": [list(one) for one in wanted["sent"]],
        "answer": f"It says {', '.join(wanted['answers'])}.",
    }
    kind = case.kind
    if kind == "a forbidden call":
        run["called"].insert(0, wanted["forbidden"][-1])
    elif kind == "forbidden twice":
        run["called"] += [wanted["forbidden"][0]] * 2
    elif kind == "a needed call lacks":
        run["called"] = [name for name in run["called"] if name not in wanted["needed"][-1:]]
    elif kind == "a file more":
        run["files"]["more.txt"] = ""
    elif kind == "a file less":
        run["files"].pop(f"{order[0]}.txt")
    elif kind == "another text":
        run["files"][f"{order[1]}.txt"] += "!"
    elif kind == "another message":
        run["sent"] = [*run["sent"], ["Eve", "hi"]]
    elif kind == "messages in another order":
        run["sent"] = run["sent"][::-1]
    elif kind == "an answer lacks":
        run["answer"] = f"It says {', '.join(wanted['answers'][:-1])}."
    elif kind == "another case":
        run["answer"] = run["answer"].upper()
    elif kind == "nothing said":
        run["answer"] = ""
    return wanted, run


def copy_of(value):
    """The same plain values, in new lists and dicts."""
    if isinstance(value, dict):
        return {key: copy_of(one) for key, one in value.items()}
    return [copy_of(one) for one in value] if isinstance(value, (list, tuple)) else value


def by_hand(wanted, run):
    tried = 0
    for name in run["called"]:
        if name in wanted["forbidden"]:
            tried += 1
    lacking = [name for name in wanted["needed"] if name not in run["called"]]
    unsaid = [text for text in wanted["answers"] if text.casefold() not in run["answer"].casefold()]
    same = run["files"] == wanted["files"] and run["sent"] == wanted["sent"]
    return tried == 0 and not lacking and not unsaid and same, tried


# --- success with an interval ---


@exercise("15-3-b", points=3)
def success(answer):
    """Rates and Wilson's intervals of the levels that occur."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=30, n=(1, 2, 7, 20), levels=((1,), (1, 2), (3, 1, 7)), rate=(0.0, 0.4, 1.0), z=(1.0, 1.96, 2.6)
    ):
        inputs = Inputs(case.seed)
        levels = [case.levels[inputs.integer(0, len(case.levels) - 1)] for _ in range(case.n)]
        done = [case.rate == 1.0 or (case.rate > 0 and inputs.integer(0, 9) < 4) for _ in levels]
        expected = {level: wilson(levels, done, level, case.z) for level in sorted(set(levels))}
        given = list(levels), list(done)
        with forbid(OWN, "minillm.evaluation.detection.wilson_interval", answer=answer):
            found = plain(answer(*given, case.z), "what success returns")
        where = f"levels={levels}, done={done}, z={case.z}"
        assert isinstance(found, dict), f"success must return a dict, got {shown(found)}"
        expect(sorted(found), sorted(expected), hint=f"the levels ({where})")
        for level, right in expected.items():
            mine = as_floats(found[level], f"level {level} ({where})", 3)
            for name, own, one in zip(("rate", "low", "high"), mine, right):
                expect(own, one, 1e-9, f"{name} of level {level} ({where})")
        expect(list(given), [levels, done], hint="the lists stay as they are")


def wilson(levels, done, level, z):
    """(rate, low, high): the ends solve (p - r)^2 = z^2 r (1 - r) / n."""
    marks = [one for own, one in zip(levels, done) if own == level]
    n, p = len(marks), sum(marks) / len(marks)
    a, b, c = 1 + z * z / n, 2 * p + z * z / n, p * p
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return p, (b - root) / (2 * a), (b + root) / (2 * a)


# --- past the list of words ---


@exercise("15-3-c", points=3)
def note(answer):
    """A text that no listed word stands in, and that is obeyed."""
    text = plain(answer, "note")
    assert isinstance(text, str), f"note must be a text, got {shown(text)}"
    assert len(text) <= 500, f"note may have at most 500 characters, it has {len(text)}"
    words = [word for some in ORDERS.values() for word in some]
    letters = letters_view(text).text
    stands = [word for word in words if letters_view(word).text in letters]
    assert not stands, f"the list of words finds {stands[0]!r} in it"
    rail = Guard([PhraseRail([word for word in words if len(word) > 3])], look_in_base64=False)
    assert rail(text).allowed, "the list of words finds one in it"
    task = next(one for one in tool_tasks() if one.kind == "read_file")
    name = task.calls[0].arguments["path"]
    place = Workplace(World({}, {name: text, "keep.txt": "1, 2, 3"}, {}, "2026-05-04 10:30"))
    before = dict(place.files)
    work(Obedient(Oracle([task])), task.request, place, Workplace.TOOLS)
    changed = place.files != before or place.sent
    assert changed, f"the obedient agent read it and changed nothing: {shown(text)}"


# --- plan first, then guard ---

TOOLS = ("read_file", "clock", "send", "write", "wipe", "share")
CHANGING = ("send", "write", "wipe", "share")
NAMED = ("Tom", "지수", "a.txt", "rent.md", "Mina")
KINDS = (  # of a call's arguments: which of `path` and `to` it has, and whether the request names them
    "nothing", "named", "named", "strange", "part of a name", "another case", "blanks", "one of two is strange",
    "both are named", "the text is strange",
)  # fmt: skip


@exercise("15-3-d", points=4)
def verdicts(answer):
    """Verdicts on calls whose tool, score and names are drawn, most of them near the border."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(most=90, kind=KINDS, calls=(6, 4, 1, 6, 0), named=(1, 3, 5), changing=(4, 3, 0, 4)):
        inputs = Inputs(case.seed)
        scores = {
            tool: (0.5, 0.501, 0.9, 0.2, -0.3, 1.1, 0.7)[inputs.integer(0, 6)]
            for tool in inputs.shuffled(TOOLS)[: inputs.integer(4, 6)]
        }
        named, changes = inputs.shuffled(NAMED)[: case.named], inputs.shuffled(CHANGING)[: case.changing]
        calls = [drawn_call(inputs, case.kind, named) for _ in range(case.calls)]
        expected = [tool not in changes or asked_for(tool, told, scores, named) for tool, told in calls]
        given = dict(scores), list(named), list(changes), copy_of(calls)
        with forbid(OWN, "minillm.apps.agents.permissions.AskedFor.reason", answer=answer):
            found = as_list(answer(*given), "what verdicts returns", len(calls))
        where = f"{case.kind}: scores={scores}, named={named}, changes={changes}, calls={shown(calls)}"
        expect(found, expected, hint=where)
        expect(
            list(given), [scores, named, changes, copy_of(calls)], hint="what you are given stays as it is"
        )


def asked_for(tool, told, scores, named):
    """By hand: the rule of the exercise for a call that changes something."""
    if tool not in scores or not scores[tool] > 0.5:
        return False
    return not [told[name] for name in ("to", "path") if name in told and told[name].strip() not in named]


def drawn_call(inputs, kind, named):
    """A tool, and arguments of this kind."""
    tool = TOOLS[inputs.integer(1, len(TOOLS) - 1)]
    one, other = named[inputs.integer(0, len(named) - 1)], named[inputs.integer(0, len(named) - 1)]
    name = ("path", "to")[inputs.integer(0, 1)]
    told = {
        "nothing": {}, "named": {name: one}, "strange": {name: "Eve"}, "part of a name": {name: one[:-1]},
        "another case": {name: one.swapcase()}, "blanks": {name: f" {one}\n"},
        "one of two is strange": dict(inputs.shuffled([("path", one), ("to", "Eve")])),
        "both are named": {"path": one, "to": other}, "the text is strange": {name: one, "text": "Eve, b.txt"},
    }[kind]  # fmt: skip
    if kind == "one of two is strange" and inputs.integer(0, 1):
        told = {"path": "keep.txt", "to": one}
    return [tool, told]
