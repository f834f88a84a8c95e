"""Checkers of lesson 15_2, several agents and people."""

import cmath
import itertools
import math

from minillm.apps.agents.odds import review
from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
)
from minillm.course.classroom.exercises.lesson_15_1 import called

OWN = "build it yourself, with nothing of minillm"
GROUP = "minillm.apps.agents.group"
LIBRARY = (
    f"{GROUP}.GroupChat.run",
    f"{GROUP}.GroupChat.resume",
    f"{GROUP}.GroupChat.turn",
    f"{GROUP}.ChatAgent.reply",
    f"{GROUP}.ChatAgent.generate_reply",
    "minillm.apps.agents.speakers.Speakers.next",
    "minillm.apps.agents.speakers.Speakers.by_round_robin",
    "minillm.apps.agents.odds.vote",
    "minillm.apps.agents.odds.cascade",
)
TEXTS = ("네", "아니요", "TERMINATE", "끝. TERMINATE \n", "TERMINATE?", "terminate", "")


def by_hand(tests, answer):
    """The tests of an answer, without the library."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    with forbid(OWN, *LIBRARY, answer=answer):
        tests(answer)


@exercise("15-2-a", points=3)
def talk(answer):
    """A group of agents that say what is written down."""
    by_hand(try_talk, answer)


def try_talk(answer):
    ga, na, da = ["가", ["네"], 9], ["나", ["아니요", "음"], 9], ["다", ["끝. TERMINATE "], 9]
    all_of = {"가": ["가", "나", "다"], "나": ["가", "나", "다"], "다": ["가", "나", "다"]}
    out, long = ["손님", "?"], ["손님", "끝 TERMINATE"]
    fixed = [
        ([ga, na], all_of, out, 4, [["손님", "가", "나", "가"], "rounds"], "in turn, the opening counts"),
        ([ga, na], all_of, out, 1, [["손님"], "rounds"], "room for the opening alone"),
        ([ga, na], all_of, ["가", "?"], 3, [["가", "나", "가"], "rounds"], "an agent begins"),
        ([ga, na], {"가": ["나"]}, out, 9, [["손님", "가", "나"], "no speaker"], "an agent that is no key"),
        ([ga, na], {"가": []}, out, 9, [["손님", "가"], "no speaker"], "an empty list"),
        ([ga, na], {}, out, 2, [["손님", "가"], "rounds"], "no room and nobody: the room comes first"),
        ([ga], {"가": ["가"]}, out, 4, [["손님", "가", "가", "가"], "rounds"], "it may follow itself"),
        ([ga, na], {"가": ["가", "나"], "나": ["가"]}, out, 5, [["손님", "가", "나", "가", "나"], "rounds"],
         "itself comes last"),
        ([ga, na, da], {"가": ["다", "나"], "나": ["가"]}, out, 4, [["손님", "가", "나", "가"], "rounds"],
         "the group's order, not that of the list"),
        ([ga, da, na], all_of, out, 9, [["손님", "가", "다"], "terminated"], "a blank after TERMINATE"),
        ([ga, na], all_of, long, 9, [["손님"], "terminated"], "the opening ends it"),
        ([ga, da], {"가": ["다"]}, out, 9, [["손님", "가", "다"], "no speaker"], "nobody comes before the word"),
        ([da, ga], all_of, out, 2, [["손님", "다"], "rounds"], "no room comes before the word"),
        ([["가", ["네"], 0]], all_of, out, 9, [["손님"], "auto_reply"], "a limit of 0"),
        ([["가", ["네"], 0]], all_of, long, 9, [["손님"], "terminated"], "the word comes before the limit"),
        ([["가", ["네"], 1], na], all_of, ["가", "?"], 9, [["가", "나", "가", "나"], "auto_reply"],
         "the opening counts for no limit"),
        ([["가", ["a", "TERMINATE"], 9], na], all_of, ["가", "?"], 9, [["가", "나", "가", "나", "가"], "terminated"],
         "the opening takes none of the lines"),
        ([["가", ["a", "b"], 9], na], all_of, out, 9, [["손님", *["가", "나"] * 4], "rounds"], "lines begin again"),
        ([["가", ["TERMINATE?"], 9], ["나", ["terminate"], 9]], all_of, out, 4,
         [["손님", "가", "나", "가"], "rounds"], "two texts that do not end it"),
    ]  # fmt: skip
    for agents, follows, first, most, expected, hint in fixed:
        check_talk(answer, agents, follows, first, most, expected, hint)
    for case in cases(24, count=(1, 2, 3, 4), room=(2, 5, 9, 30), calm=(False, True), outside=(False, True)):
        inputs = Inputs(case.seed)
        names = inputs.shuffled(["가", "나", "b", "a"])[: case.count]
        texts = TEXTS[:2] + TEXTS[4:] if case.calm else TEXTS
        agents = [
            [
                name,
                [texts[i] for i in inputs.integers(inputs.integer(1, 3), 0, len(texts) - 1)],
                inputs.integer(0, 9),
            ]
            for name in names
        ]
        follows = {one: [two for two in inputs.shuffled(names) if inputs.integer(0, 3)] for one in names}
        if inputs.integer(0, 3) == 0:
            del follows[names[-1]]
        first = ["손님" if case.outside else names[0], texts[inputs.integer(0, 1)]]
        expected = expected_talk(agents, follows, first, case.room)
        check_talk(answer, agents, follows, first, case.room, expected, "a group at random")


def expected_talk(agents, follows, first, most):
    """By the words of the prompt."""
    order, names, text = [name for name, _, _ in agents], [first[0]], first[1]
    said = {name: itertools.cycle(lines) for name, lines, _ in agents}
    while len(names) < most:
        at = order.index(names[-1]) + 1 if names[-1] in order else 0
        may = follows.get(names[-1], []) if names[-1] in order else order
        queue = [one for one in [*order[at:], *order[:at]] if one in may]
        if not queue:
            return [names, "no speaker"]
        if text.rstrip()[-9:] == "TERMINATE":
            return [names, "terminated"]
        if names[1:].count(queue[0]) >= agents[order.index(queue[0])][2]:
            return [names, "auto_reply"]
        names.append(queue[0])
        text = next(said[queue[0]])
    return [names, "rounds"]


def check_talk(answer, agents, follows, first, most, expected, hint):
    where = f"{hint}: talk({agents}, {follows}, {first}, {most})"
    expect(
        as_list(called(answer, agents, follows, first, most), "what talk returns", 2), expected, hint=where
    )


@exercise("15-2-b", points=3)
def turns(answer):
    """Who speaks for an agent: its model, or the person."""
    by_hand(try_turns, answer)


def try_turns(answer):
    end, hello = "끝 TERMINATE ", "?"
    fixed = [
        ("NEVER", 2, [hello] * 4, ["a"], [[None, None], 0], "never: the limit ends it"),
        ("NEVER", 9, [hello, end, hello], ["a"], [[None], 0], "never: a message ends it"),
        ("ALWAYS", 1, [hello] * 3, [], [[None] * 3, 3], "always: nothing typed, past the limit"),
        ("ALWAYS", 9, [hello] * 3, ["a", "", "b"], [["a", None, "b"], 3], "always: typed or not"),
        ("ALWAYS", 9, [hello, end], ["", ""], [[None], 2], "always: nothing typed after the end"),
        ("ALWAYS", 9, [hello, end, hello], ["", "더", ""], [[None, "더", None], 3], "always: typed after the end"),
        ("ALWAYS", 9, [hello] * 3, ["a", " Exit\n", "b"], [["a"], 2], "exit in any case, with blanks"),
        ("ALWAYS", 9, [hello], [" "], [[" "], 1], "a blank is not nothing"),
        ("ALWAYS", 9, [hello], ["exit now"], [["exit now"], 1], "exit and more is said"),
        ("TERMINATE", 2, [hello] * 5, [], [[None] * 5, 3], "at the limit: asked at each turn, and it goes on"),
        ("TERMINATE", 2, [hello] * 6, ["a"], [[None, None, "a", None, None, None], 2], "typed: the count begins anew"),
        ("TERMINATE", 9, [hello, end, hello], ["a"], [[None, "a", None], 1], "asked at the end alone"),
        ("TERMINATE", 9, [hello, end, hello], [], [[None], 1], "nothing typed at the end"),
        ("TERMINATE", 1, [hello, end], [""], [[None], 1], "at the limit and at the end: asked once"),
        ("TERMINATE", 1, [hello] * 4, ["a", "exit"], [[None, "a", None], 2], "exit at the limit"),
        ("TERMINATE", 5, ["TERMINATE?", "terminate", hello], [], [[None] * 3, 0], "two that do not end it"),
        ("TERMINATE", 3, [], ["a"], [[], 0], "nothing heard"),
    ]  # fmt: skip
    for mode, limit, heard, typed, expected, hint in fixed:
        check_turns(answer, mode, limit, heard, typed, expected, hint)
    for case in cases(
        24, mode=("NEVER", "TERMINATE", "ALWAYS"), limit=(1, 2, 4), heard=(3, 9), typed=(0, 3, 9)
    ):
        inputs = Inputs(case.seed)
        heard = [TEXTS[i] if i < len(TEXTS) else "네" for i in inputs.integers(case.heard, 0, 14)]
        words = ("", "", "", "계속", "TERMINATE", "EXIT")
        typed = [words[i] for i in inputs.integers(case.typed, 0, len(words) - 1)]
        expected = expected_turns(case.mode, case.limit, heard, typed)
        check_turns(answer, case.mode, case.limit, heard, typed, expected, "turns at random")


def expected_turns(mode, limit, heard, typed):
    """By the words of the prompt."""
    did, said = [], iter(typed)
    asked = 0
    for message in heard:
        ends = message.rstrip()[-9:] == "TERMINATE"
        row = sum(1 for _ in itertools.takewhile(lambda one: one is None, reversed(did)))
        word = None
        if mode == "ALWAYS" or (mode == "TERMINATE" and (ends or row >= limit)):
            word, asked = next(said, ""), asked + 1
        if word is not None and word.strip().lower() == "exit":
            return [did, asked]
        if not word and (ends or (word is None and row >= limit)):
            return [did, asked]
        did.append(word or None)
    return [did, asked]


def check_turns(answer, mode, limit, heard, typed, expected, hint):
    where = f"{hint}: turns({mode!r}, {limit}, {heard}, {typed})"
    expect(as_list(called(answer, mode, limit, heard, typed), "what turns returns", 2), expected, hint=where)


@exercise("15-2-c", points=3)
def majority(answer):
    """The probability that the majority is right."""
    by_hand(try_majority, answer)


def try_majority(answer):
    for case in cases(16, count=(1, 2, 3, 4, 7, 60), low=(0.0, 0.5), equal=(False, True)):
        inputs = Inputs(case.seed)
        ps = inputs.floats(case.count, case.low, 1.0)
        ps = [ps[0]] * case.count if case.equal else ps
        check_majority(answer, ps)
    for ps in ([0.0], [1.0], [1.0, 0.0], [0.5, 0.9], [0.9, 0.6, 0.6], [1.0, 1.0, 0.0, 0.3], [0.3] * 59):
        check_majority(answer, ps)


def check_majority(answer, ps):
    expect(called(answer, ps), exact(ps), 1e-9, f"majority({[round(one, 3) for one in ps]})")


def exact(ps):
    """By another way than the lesson's: P(k right) is the inverse Fourier transform of Π (1 - p + p z)."""
    n = len(ps) + 1
    roots = [cmath.exp(2j * cmath.pi * place / n) for place in range(n)]
    values = [math.prod((1 - p + p * z for p in ps), start=1 + 0j) for z in roots]
    total = 0.0
    for k in range(n // 2, n):
        chance = sum(value * roots[-place * k % n] for place, value in enumerate(values)).real / n
        total += chance / 2 if 2 * k == n - 1 else chance
    return total


@exercise("15-2-d", points=2)
def hurts(answer):
    """A critic that is right more often than the writer, and makes it worse."""
    p, e, q = as_floats(answer, "hurts = (p, e, q)", 3)
    for name, one in zip("peq", (p, e, q)):
        assert 0.05 <= one <= 0.95, f"{name} is from .05 to .95, got {one:g}"
    assert 1 - e >= p + 0.05 - 1e-9, (
        f"the critic is right in {1 - e:g}, the writer in {p:g}: less than .05 more"
    )
    assert q >= 0.2, f"a second try is right with q of .2 at least, got {q:g}"
    pair = review(p, e, 1 - e, q)
    assert pair <= p - 0.05 + 1e-9, (
        f"the pair is right in {pair:.3f}, the writer alone in {p:g}: less than .05 worse"
    )
