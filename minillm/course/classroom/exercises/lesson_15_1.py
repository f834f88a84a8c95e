"""Checkers of lesson 15_1, an agent from a loop."""

import copy
import json

from minillm.apps.agents.tools import Toolbox, misfit, tool
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
LIBRARY = (
    "minillm.apps.agents.tools.parameters_of",
    "minillm.apps.agents.tools.schema_of",
    "minillm.apps.agents.tools.Toolbox.call",
    "minillm.apps.agents.agent.read_action",
    "minillm.apps.agents.agent.Agent.run",
    "minillm.apps.agents.agent.Agent.step",
    "minillm.apps.agents.agent.Agent.act",
)
TYPES = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list[str]": {"type": "array", "items": {"type": "string"}},
    "list[list[float]]": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    "int | None": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "bool | str | None": {"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "null"}]},
    "list[int | str] | None": {
        "anyOf": [
            {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
            {"type": "null"},
        ]
    },
}


def called(answer, *given):
    """The answer's plain value; what it was given must stay."""
    before = copy.deepcopy(given)
    found = plain(answer(*given))
    expect(list(given), list(before), hint="what you are given must stay as it is")
    return found


def by_hand(tests, answer, allowed=()):
    """The tests of an answer, without the library."""
    copied = copied_library(answer, allowed=("act", *allowed))
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    with forbid(OWN, *LIBRARY, answer=answer):
        tests(answer)


@exercise("15-1-a", points=3)
def schema(answer):
    """A JSON schema from the text of a function."""
    by_hand(try_schema, answer, allowed=("exec", "eval"))  # the prompt: you may run it


def try_schema(answer):
    for source in (
        "def f(*args: int): ...",
        "def f(a: int, **more: str): ...",
        "def f(a): ...",
        "def f(a: int, b=1): ...",
        "def f(a: dict): ...",
        "def f(a: list): ...",
        "def f(a: list[dict]): ...",
        "def f(a: int | bytes): ...",
    ):
        expect([called(answer, source)], [None], hint=f"schema({source!r})")
    for case in cases(14, count=(0, 1, 2, 4), star=(None, 0, 1), defaults=(0, 1, 2), korean=(False, True)):
        inputs = Inputs(case.seed)
        names = (["값", "이름", "수", "색"] if case.korean else ["a", "total", "b2", "word"])[: case.count]
        kinds = [list(TYPES)[place] for place in inputs.integers(case.count, 0, len(TYPES) - 1)]
        check_schema(answer, names, kinds, case.star, case.defaults, inputs)
    for kind in TYPES:
        check_schema(answer, ["x"], [kind], None, 0, Inputs(0))


def check_schema(answer, names, kinds, star, defaults, inputs):
    written, required = [], []
    for place, (name, kind) in enumerate(zip(names, kinds)):
        if place == star:
            written.append("*")
        named_only = star is not None and place >= star
        optional = inputs.integer(0, 1) == 1 if named_only and defaults else place >= len(names) - defaults
        if not named_only and star is not None and optional:
            optional = place == star - 1  # the last one before the star
        written.append(f"{name}: {kind}" + (" = None" if optional else ""))
        required += [] if optional else [name]
    source = f'def f({", ".join(written)}) -> dict:\n    "설명"\n    return {{}}\n'
    properties = {name: TYPES[kind] for name, kind in zip(names, kinds)}
    expected = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    expect(called(answer, source), expected, hint=f"schema({source!r})")


def said(action, **arguments):
    return json.dumps({"action": action, "arguments": arguments}, ensure_ascii=False)


BAD = ("우산", "[", "[1]", "3", "null", '"answer"', '{"action": 3, "arguments": {}}', '{"action": "answer"}',
       '{"action": "add", "arguments": []}', '{"action": "answer", "arguments": {"text": 3}}',
       '{"arguments": {}}', '{"action": "answer", "arguments": {"answer": "네"}}')  # fmt: skip


@exercise("15-1-b", points=3)
def run(answer):
    """The loop: budgets, and texts of every kind."""
    by_hand(try_run, answer)


def try_run(answer):
    add, end = said("add"), said("answer", text="네")
    fixed = [
        ([[end, 9]], {}, 1, 1, ["네", "answer", []], "the last decision may answer, and overdraw the tokens"),
        ([[add, 1], [end, 1]], {"add": ["3"]}, 1, 9, ["", "steps", ["3"]], "one step"),
        ([[add, 5], [end, 1]], {"add": ["3"]}, 2, 5, ["", "tokens", ["3"]], "the tokens are used up exactly"),
        ([[add, 5], [end, 1]], {"add": ["3"]}, 1, 5, ["", "steps", ["3"]], "both are used up: steps come first"),
        ([[add, 1]] * 3, {"add": ["1", None]}, 3, 99, ["", "steps", ["1", "failed", "failed"]], "fails, then none"),
        ([[said("sub"), 1], [end, 0]], {"add": []}, 2, 99, ["네", "answer", ["no such tool"]], "a missing tool"),
        ([[said("answer", text=""), 1]], {}, 1, 9, ["", "answer", []], "an empty answer is one"),
        ([[add, 1], [said("b"), 1], [add, 1]], {"add": ["x", ""], "b": ["y"]}, 3, 9, ["", "steps", ["x", "y", ""]],
         "each tool has its own list"),
    ]  # fmt: skip
    for replies, tools, steps, tokens, expected, hint in fixed:
        check_run(answer, replies, tools, steps, tokens, expected, hint)
    for bad in BAD:
        expected = ["", "tokens", ["unreadable"]]
        check_run(
            answer,
            [[bad, 4], [end, 1]],
            {"add": ["3"]},
            2,
            4,
            expected,
            "a text that is not sound, which costs",
        )
    for case in cases(14, steps=(1, 2, 5, 9), tokens=(1, 10, 25, 1000), answers=(0, 1)):
        inputs = Inputs(case.seed)
        kinds = [add, add, said("지우기"), said("none"), BAD[inputs.integer(0, len(BAD) - 1)]] + [
            end
        ] * case.answers
        replies = [
            [kinds[i], inputs.integer(0, 9)] for i in inputs.integers(case.steps + 2, 0, len(kinds) - 1)
        ]
        tools = {"add": ["1", None, "셋", "4"][: inputs.integer(0, 4)], "지우기": ["a"]}
        expected = expected_run(replies, tools, case.steps, case.tokens)
        check_run(answer, replies, tools, case.steps, case.tokens, expected, "made-up replies")


def expected_run(replies, tools, steps, tokens):
    """By the words of the prompt, for the texts that `run` makes."""
    seen, left = [], {name: list(given) for name, given in tools.items()}
    for made, (text, _) in enumerate([*replies, ["", 0]]):
        if made == steps:
            return ["", "steps", seen]
        if sum(cost for _, cost in replies[:made]) >= tokens:
            return ["", "tokens", seen]
        if text in BAD:
            seen.append("unreadable")
            continue
        action = json.loads(text)
        if action["action"] == "answer":
            return [action["arguments"]["text"], "answer", seen]
        if action["action"] not in tools:
            seen.append("no such tool")
            continue
        given = left[action["action"]].pop(0) if left[action["action"]] else None
        seen.append("failed" if given is None else given)
    raise AssertionError("unreachable")


def check_run(answer, replies, tools, steps, tokens, expected, hint):
    where = f"{hint}: run({replies}, {tools}, {steps}, {tokens})"
    expect(
        as_list(called(answer, replies, tools, steps, tokens), "what run returns", 3), expected, hint=where
    )


@exercise("15-1-c", points=3)
def allowed(answer):
    """A person approves, edits, refuses; a refusal is final."""
    by_hand(try_allowed, answer)


def try_allowed(answer):
    d = ["지우기", "send"]
    fixed = [
        (
            [["read", 1]],
            d,
            ["refuse"],
            [[["read", 1]], []],
            "nobody is asked about a tool that is not dangerous",
        ),
        ([["send", 1], ["send", 2]], d, ["refuse", "approve"], [[], ["send"]], "refused once: closed"),
        (
            [["send", 1], ["send", 2]],
            d,
            ["approve"],
            [[["send", 1]], ["send", "send"]],
            "an approval is for one call",
        ),
        (
            [["send", 1], ["지우기", 2]],
            d,
            ["refuse", "approve"],
            [[["지우기", 2]], d[::-1]],
            "one tool is closed",
        ),
        ([["send", 1]], d, [["edit", 0]], [[["send", 0]], ["send"]], "edited to 0"),
        (
            [["send", 1], ["send", 2]],
            d,
            [["edit", 9], "approve"],
            [[["send", 9], ["send", 2]], ["send"] * 2],
            "edited",
        ),
        ([["send", 1], ["read", 2]], d, ["yes"], [[["read", 2]], ["send"]], "'yes' is none of the verdicts"),
        ([["send", 1]], d, [["approve", 3]], [[], ["send"]], "a list that is no edit"),
        ([["send", 1]], d, ["edit"], [[], ["send"]], "edit without a value"),
        ([["send", 1]], d, [None], [[], ["send"]], "nothing said"),
        ([], d, [], [[], []], "no calls"),
        ([["지우기", "가"]], [], ["refuse"], [[["지우기", "가"]], []], "nothing is dangerous"),
    ]
    for calls, dangerous, verdicts, expected, hint in fixed:
        check_allowed(answer, calls, dangerous, verdicts, expected, hint)
    for case in cases(16, count=(3, 8), dangerous=(0, 1, 3), refusals=(1, 4)):
        inputs = Inputs(case.seed)
        names = ["a", "b", "지우기"]
        calls = [[names[place], inputs.integer(0, 9)] for place in inputs.integers(case.count, 0, 2)]
        words = ["approve", "approve", ["edit", 77]] + ["refuse"] * case.refusals
        verdicts = [words[place] for place in inputs.integers(inputs.integer(0, 6), 0, len(words) - 1)]
        listed = inputs.shuffled(names)[: case.dangerous]
        check_allowed(
            answer, calls, listed, verdicts, expected_allowed(calls, listed, verdicts), "made-up calls"
        )


def expected_allowed(calls, dangerous, verdicts):
    """By the words of the prompt."""
    ran, asked, closed, said = [], [], [], iter(verdicts)
    for name, value in calls:
        if name not in dangerous:
            ran.append([name, value])
        elif name not in closed:
            asked.append(name)
            verdict = next(said, "refuse")
            if verdict == "refuse":
                closed.append(name)
            else:
                ran.append([name, value if verdict == "approve" else verdict[1]])
    return [ran, asked]


def check_allowed(answer, calls, dangerous, verdicts, expected, hint):
    where = f"{hint}: allowed({calls}, {dangerous}, {verdicts})"
    found = as_list(called(answer, calls, dangerous, verdicts), "what allowed returns", 2)
    expect(found, expected, hint=where)


@tool
def share(total: int, people: int = 1) -> int:
    """Share a bill."""
    return total // people


@exercise("15-1-d", points=2)
def broken(answer):
    """What a schema lets through, and what it refuses for nothing."""
    fails, harmless = as_list(answer, "the answer (fails, harmless)", 2)
    for name, given in (("fails", fails), ("harmless", harmless)):
        assert isinstance(given, dict), f"{name} is a dict of arguments, got {shown(given)}"
        assert all(isinstance(key, str) for key in given), (
            f"the names in {name} are texts, got {shown(given)}"
        )
        try:
            size = len(json.dumps(given, allow_nan=False))
        except (TypeError, ValueError):
            raise AssertionError(f"{name} must be JSON, got {shown(given)}") from None
        assert size <= 200, f"{name} has {size} characters as JSON, 200 at most"
    wrong = misfit(fails, share.parameters, "arguments")
    assert wrong is None, f"fails must fit the schema, but {wrong}"
    seen = Toolbox([share]).call("share", fails)
    assert seen.error, f"share must raise for fails, it gives {seen.text}"
    assert misfit(harmless, share.parameters, "arguments"), f"harmless fits the schema: {shown(harmless)}"
    try:
        share.call(**harmless)
    except Exception as error:
        raise AssertionError(f"Python must compute share of harmless, it says: {error}") from None
