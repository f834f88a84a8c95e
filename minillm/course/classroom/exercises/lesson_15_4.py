"""Checkers of lesson 15_4, agents in practice."""

import ast
import itertools
from fractions import Fraction

from minillm.apps.agents.workshop import COUNTED, failing
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
from minillm.data.small_bugs import small_bugs
from minillm.sandbox import SandboxError, evaluate

OWN = "build it yourself"
WORDS = ("방", "Room", "room", "전화", "phone", "Kim", "Lee", "B12", "lead", "who")


def by_hand(answer, *names):
    """The answer is not the library's; the names of the library raise while it runs."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    return forbid(OWN, *names, answer=answer)


# --- follow the names ---

FOLLOW = [  # asked, sentences, most: each holds one rule
    ([], [["a"]], 3),
    ([], [], 0),
    (["a"], [], 3),
    (["a"], [["a"]], 0),
    (["a"], [["b"], ["a"]], 3),
    (["a", "b"], [["a"], ["a", "b"]], 3),
    (["a", "z"], [["a", "k"], ["z"], ["k", "z"]], 3),
    (["a", "z"], [["a", "k"], ["z"]], 3),
    (["a", "z"], [["a"], ["z"]], 3),  # the last one leads nowhere: no link is asked for
    (["a", "b"], [["b", "a", "x", "x"], ["a", "b", "x", "y"]], 3),
    (["a", "a", "b"], [["a", "a"], ["b", "a"]], 3),
    (["a", "z"], [["a", "k", "m"], ["z", "k"], ["z", "m", "k", "n"]], 3),
    (["a", "b"], [["a", "x"], ["b"], ["a"]], 3),
    (["a", "y", "z"], [["a", "k"], ["k", "y", "m"], ["z", "k"], ["z", "m"]], 3),
    (["a", "y", "z"], [["a", "k"], ["k", "y", "m"], ["z", "k"], ["z", "m"]], 2),
    (["A"], [["a"], ["A", "q"]], 1),
    (["a", "b", "z"], [["a", "k"], ["z", "a", "k"], ["k", "b", "z"]], 3),
    (["a", "z"], [["a", "z", "p", "q"], ["a", "z"]], 3),
    (["a", "z"], [["a", "k"], ["k", "k", "k", "z"], ["k", "m", "z"]], 3),
    (["a", "z", "z"], [["z", "z"], ["a", "z", "q", "r"]], 2),
    (["a", "y", "z"], [["a", "k"], ["y", "k"], ["z", "a"]], 3),  # asked words are no links
    (["a", "z"], [["k", "m"], ["a", "k"], ["m", "z"]], 3),  # a sentence without an open word is never chosen
    (
        ["a", "y", "z"],
        [["a", "k", "j"], ["k", "y", "m"], ["z", "j", "p", "q"]],
        3,
    ),  # links are the last sentence's
    (
        ["a", "b", "y", "z"],
        [["a", "b", "k", "m"], ["k", "m", "y"], ["k", "y", "z", "q"]],
        3,
    ),  # open words come first
    (["a", "b", "z"], [["a", "b", "k", "m"], ["z", "k"], ["z", "m", "k", "n"]], 3),  # then links
    (["a", "b", "z"], [["a", "b", "k", "m"], ["z", "k", "k", "k", "p"], ["z", "k", "m", "p", "q"]], 3),
]


@exercise("15-4-a", points=4)
def follow(answer):
    """The places of the sentences that answer a question."""
    given = [*FOLLOW, *drawn_questions()]
    expected = [slow_follow(*one) for one in given]
    with by_hand(
        answer,
        "minillm.apps.agents.notes_reader.best_sentence",
        "minillm.apps.agents.notes_reader.ReaderPolicy.follow",
    ):
        for (asked, sentences, most), right in zip(given, expected):
            mine = [*asked], [[*one] for one in sentences]
            found = answer(*mine, most)
            where = f"follow({asked}, {sentences}, {most})"
            found = None if found is None else as_list(found, f"what {where} returns")
            assert (found is None) == (right is None), f"{where} is {right}, got {shown(found)}"
            if right is not None:
                expect([plain(one) for one in found], right, hint=where)
            expect([mine[0], mine[1]], [asked, sentences], hint="what you are given stays as it is")


def drawn_questions():
    for case in cases(most=40, words=(3, 6, 10), count=(1, 4, 8), asked=(1, 2, 4), most_read=(1, 2, 5)):
        inputs = Inputs(case.seed)
        sentences = [drawn_words(inputs, inputs.integer(1, 4), case.words) for _ in range(case.count)]
        yield drawn_words(inputs, case.asked, case.words), sentences, case.most_read


def drawn_words(inputs, count, kinds):
    return [WORDS[place] for place in inputs.integers(count, 0, kinds - 1)]


def slow_follow(asked, sentences, most):
    """By rank lists, without a running best."""
    chosen, last = [], None
    while len(chosen) < most:
        said = {word for place in chosen for word in sentences[place]}
        still = {word for word in asked if word not in said}
        if not still:
            break
        lead = set() if last is None else {word for word in sentences[last] if word not in asked}
        ranked = []
        for place, sentence in enumerate(sentences):
            words = set(sentence)
            if words & still and (words & lead or not lead):
                ranked.append((-len(words & still), -len(words & lead), len(words), place))
        if not ranked:
            break
        last = min(ranked)[-1]
        chosen.append(last)
    said = {word for place in chosen for word in sentences[place]}
    return chosen if all(word in said for word in asked) else None


# --- look, then draw ---


@exercise("15-4-b", points=3)
def look(answer):
    """Which picture is answered, how many were looked at, how many drawn."""
    fixed = [
        ([], [], 0), ([], [0.5], 0), ([], [1], 0), ([0.0], [], 0), ([], [0.0], 1), ([1], [1, 1], 2), ([0.5], [0.5], 1),
        ([0.25, 0.5], [0.5, 0.75, 1], 2), ([0.5, 1, 0.75], [1], 1), ([], [0.25, 1, 1, 0.5], 4), ([0.5], [1, 0.5], 2),
        ([0.75, 0.75], [0.25, 0.75, 1], 3), ([0, 0], [0, 0], 2), ([0.75], [0.5, 0.25], 1), ([0.25], [0.95, 1], 2),
    ]  # fmt: skip
    for case in cases(most=24, found=(0, 1, 3), tries=(0, 1, 3), more=(0, 2), full=(False, True)):
        inputs, top = Inputs(case.seed), 4 if case.full else 3
        scores = lambda n, draw=inputs, most=top: [draw.integer(0, most) / 4 for _ in range(n)]  # noqa: E731
        fixed.append((scores(case.found), scores(case.tries + case.more), case.tries))
    with by_hand(answer, "minillm.apps.agents.studio.LookPolicy.decide"):
        for found, drawn, tries in fixed:
            given = [*found], [*drawn]
            said = as_list(answer(*given, tries), f"what look({found}, {drawn}, {tries}) returns", 3)
            expect(
                [plain(one) for one in said],
                slow_look(found, drawn, tries),
                hint=f"look({found}, {drawn}, {tries})",
            )
            expect([*given], [found, drawn], hint="what you are given stays as it is")


def slow_look(found, drawn, tries):
    looked, place, best = 0, None, -1.0
    for number, score in enumerate(list(found) + list(drawn)[:tries]):
        looked = number + 1
        if score > best:
            place, best = number, score
        if score == 1:
            break
    return [place, looked, 0 if looked <= len(found) else looked - len(found)]


# --- how often is green right? ---


@exercise("15-4-c", points=3)
def right_share(answer):
    """(probability, expected tries) against all orders, one by one."""
    tables = [([], [], 0), ([[]], [True], 0), ([[]], [False], 0), ([[True], [False]], [True, True], 0)]
    for case in cases(most=36, n=(1, 2, 4, 5), tests=(1, 3), share=(2, 5, 9), hidden=(3, 8)):
        inputs = Inputs(case.seed)
        visible = [[inputs.integer(0, 9) < case.share for _ in range(case.tests)] for _ in range(case.n)]
        hidden = [inputs.integer(0, 9) < case.hidden for _ in range(case.n)]
        tables.append((visible, hidden, inputs.integer(0, case.tests)))
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for visible, hidden, k in tables:
        given = [[*row] for row in visible], [*hidden]
        found, right = answer(*given, k), every_order(visible, hidden, k)
        where = f"right_share({visible}, {hidden}, {k})"
        assert (found is None) == (right is None), f"{where} is {right}, got {shown(found)}"
        if right is not None:
            mine = as_floats(found, f"what {where} returns", 2)
            expect(mine[0], float(right[0]), 1e-9, f"the probability of {where}")
            expect(mine[1], float(right[1]), 1e-9, f"the tries of {where}")
        expect([*given], [visible, hidden], hint="what you are given stays as it is")


def every_order(visible, hidden, k):
    """By going through all n! orders."""
    passing = {i for i, row in enumerate(visible) if all(row[:k])}
    if not passing:
        return None
    right = tried = orders = 0
    for order in itertools.permutations(range(len(visible))):
        stop = next(place for place, i in enumerate(order) if i in passing)
        right += all(visible[order[stop]]) and hidden[order[stop]]
        tried, orders = tried + stop + 1, orders + 1
    return Fraction(right, orders), Fraction(tried, orders)


# --- green and wrong ---


@exercise("15-4-d", points=2)
def patch(answer):
    """A program that passes the four tests and is wrong elsewhere."""
    text = plain(answer)
    assert isinstance(text, str), f"patch is a text, got {shown(answer)}"
    assert len(text) <= 300, f"patch has at most 300 characters, got {len(text)}"
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise AssertionError(f"patch is no Python: {error}") from None
    named = [one.name for one in tree.body if isinstance(one, ast.FunctionDef)]
    named += [
        to.id
        for one in tree.body
        if isinstance(one, ast.Assign)
        for to in one.targets
        if isinstance(to, ast.Name)
    ]
    assert "clamp" in named, f"patch must define clamp, it defines {named}"
    bug = next(one for one in small_bugs() if one.name == "clamp")
    test = failing(text, bug.tests)
    assert test is None, f"patch must pass all four tests, it fails {test}"
    inputs, wrong, asked = Inputs(154), 0, []
    while len(asked) < 20:
        low, high = sorted((inputs.integer(-9, 9), inputs.integer(-9, 9)))
        x = inputs.integer(-20, 20)
        call = f"clamp({x}, {low}, {high})"
        if any(test.startswith(call) for test in bug.tests):
            continue
        asked.append(call)
        wrong += value_of(f"{text}\n{call}") != min(max(x, low), high)
    assert wrong >= 15, f"clamp must be wrong for 15 of 20 other calls, it is wrong for {wrong} of {asked}"


def value_of(program):
    """What a program gives; None where it ends in an error, which is wrong as well."""
    try:
        return evaluate(program, limits=COUNTED)
    except SandboxError:
        return None
