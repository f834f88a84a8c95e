"""Checkers of lesson 13_3c, evaluating RAG."""

import re

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
from minillm.evaluation import lexical_support

OWN = "build it yourself"
RAG = [f"minillm.evaluation.rag.{name}" for name in ("faithfulness", "context_recall", "context_precision")]
RANKING = ["minillm.evaluation.ranking.map_score"]


# --- whose fault is it? ---


@exercise("13-3c-a", points=4)
def audit(answer):
    """The share of statements that are said, and the others."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=36, statements=(1, 2, 3, 6), contexts=(0, 1, 2, 4), threshold=(0.25, 0.5, 0.75, 1.0), again=(False, True)
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        statements = [inputs.text(4, "abc가나 ") + f"{n}." for n in range(case.statements)]
        if case.again:
            statements.append(statements[0])
        contexts = [inputs.text(5, "xyz다라 ") + f" {n}" for n in range(case.contexts)]
        table = {(s, c): inputs.integer(0, 8) / 8 for s in statements for c in contexts}
        said = [any(table[s, c] >= case.threshold for c in contexts) for s in statements]
        given = list(statements), list(contexts)
        asked = []

        def says(statement, context, table=table, asked=asked):
            asked.append((statement, context))
            return table[statement, context]

        with forbid(OWN, *RAG, answer=answer):
            found = answer(*given, says, case.threshold)
        where = f"{len(statements)} statements, {len(contexts)} contexts, threshold {case.threshold}, {shown(table)}"
        share, rest = as_list(found, f"what audit returns ({where})", 2)
        expect(share, sum(said) / len(said), 1e-9, f"the share ({where})")
        expect(rest, [s for s, yes in zip(statements, said) if not yes], hint=f"the others ({where})")
        assert len(asked) == len(set(asked)), (
            f"says is asked the same twice: it costs a model's call ({where})"
        )
        expect(list(given), [statements, contexts], hint="both lists must stay as they are")


# --- the ranking ---


@exercise("13-3c-b", points=3)
def precision(answer):
    """Average precision of the first k."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=36, length=(0, 1, 2, 4, 9), k=(1, 2, 4, 20), kind=("mixed", "none", "all", "last")
    ):
        inputs = Inputs(case.seed)
        useful = {
            "mixed": [bool(one) for one in inputs.integers(case.length, 0, 1)], "none": [False] * case.length,
            "all": [True] * case.length, "last": [n == case.length - 1 for n in range(case.length)],
        }[case.kind]  # fmt: skip
        right = [sum(useful[: n + 1]) / (n + 1) for n, yes in enumerate(useful[: case.k]) if yes]
        given = list(useful)
        with forbid(OWN, *RAG, *RANKING, answer=answer):
            found = answer(given, case.k)
        expect(found, sum(right) / len(right) if right else 0.0, 1e-9, f"useful {useful}, k {case.k}")
        expect(given, useful, hint="the list must stay as it is")


# --- a lie in the words of the truth ---

FORM = re.compile(r"([A-Z][a-z]*) is (older|younger) than ([A-Z][a-z]*)\.")


@exercise("13-3c-c", points=3)
def fooled(answer):
    """Facts, a lie that words support more than a truth."""
    facts, lie, truth = as_list(plain(answer), "the answer", 3)
    facts = as_list(facts, "facts")
    assert 2 <= len(facts) <= 6, f"there must be two to six facts, got {len(facts)}"
    older = {of_form(one) for one in facts}
    assert not any(one[0] == one[1] for one in older), f"nobody is older than himself: {shown(facts)}"
    direct = set(older)
    for _ in facts:
        older |= {(a, d) for a, b in older for c, d in older if b == c}
    assert not any(a == b for a, b in older), f"the facts contradict each other: {shown(facts)}"
    assert of_form(lie)[::-1] in older, f"the lie must be false by the facts: {shown(lie)}"
    assert of_form(truth) in older, f"the truth must follow from the facts: {shown(truth)}"
    for name, pair in (("lie", of_form(lie)[::-1]), ("truth", of_form(truth))):
        assert pair not in direct, f"the {name} must need two facts, one fact alone is enough: {shown(pair)}"
    false, true = lexical_support(lie, facts), lexical_support(truth, facts)
    assert false == 1, f"words must support the whole lie, they support {false:.3f} of it"
    assert true <= 0.8 + 1e-9, f"words must support at most 0.8 of the truth, they support {true:.3f}"


def of_form(text):
    """(older, younger)."""
    assert isinstance(text, str), f"a statement is a text, got {shown(text)}"
    found = FORM.fullmatch(text)
    assert found, (
        f"a statement must be 'Name is older than Name.' or '... younger than ...', got {shown(text)}"
    )
    a, word, b = found.groups()
    return (a, b) if word == "older" else (b, a)


# --- counting ---


@exercise("13-3c-d", points=2)
def counted(answer):
    """Five figures worked by hand."""
    found = as_floats(plain(answer), "the answer", 5)
    hints = (
        "three of four statements are said",
        "(1/2 + 2/3) / 2: the useful ones stand second and third",
        "one of the two things that the reference needs is there",
        "pairs (good, bad): .9 beats both, .4 beats .2 only: three of four",
        "the texts say what the answer says: the search brought the wrong thing, the writer invented nothing",
    )
    for number, (mine, right, hint) in enumerate(zip(found, (0.75, 7 / 12, 0.5, 0.75, 1.0), hints), start=1):
        expect(mine, right, 0.005, f"number {number}: {hint}")
