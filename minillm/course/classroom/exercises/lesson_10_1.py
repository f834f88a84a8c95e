"""Checkers of lesson 10_1, from one-hot to word2vec."""

import numpy as np

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    DERIVATIVES,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    same,
    shown,
)
from minillm.search import Word2Vec
from minillm.search.vectors.negative_sampling import step_plain

OWN = "write the step yourself, with nothing of minillm and no derivative that torch works out"
STEPS = (
    *(
        f"minillm.search.vectors.negative_sampling.{name}"
        for name in ("step_plain", "_step", "train_plain", "train")
    ),
    f"{__name__}.by_loops",
)


@exercise("10-1-a", points=3)
def step(answer):
    """One step of CBOW with negative sampling."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=60,
        words=(2, 5, 9),
        dim=(1, 2, 6),
        neighbours=(1, 2, 4),
        negatives=(0, 1, 5),
        rate=(0.0, 0.05, 0.7),
    ):  # few words, so that numbers repeat
        inputs = Inputs(case.seed)
        tables = [np.array(inputs.matrix(case.words, case.dim, -3, 3)) for _ in range(2)]
        context, word = inputs.integers(case.neighbours, 0, case.words - 1), inputs.integer(0, case.words - 1)
        negatives = [(word + n) % case.words for n in inputs.integers(case.negatives, 1, case.words - 1)]
        asked = (context, word, negatives, case.rate)
        expected = [table.copy() for table in tables]
        step_plain(*expected, *asked)
        given = [table.copy() for table in tables]
        lists = [list(context), word, list(negatives), case.rate]
        with forbid(OWN, *STEPS, *DERIVATIVES, answer=answer):
            found = as_list(answer(*given, *lists), "what step returns, (inputs, outputs),", 2)
        where = f"context {context}, word {word}, negatives {negatives}, rate {case.rate}, V = {case.words}"
        expect(given, tables, hint=f"the two tables that step gets stay as they are ({where})")
        expect(lists, list(asked), hint="the lists that step gets stay as they are")
        for mistake, said in MISTAKES.items():
            wrong = by_loops(tables, *asked, mistake)
            assert not same(found, wrong, 1e-6) or same(expected, wrong, 1e-6), f"{said} ({where})"
        for name, one, right in zip(("inputs", "outputs"), found, expected):
            expect(one, right, 1e-6, f"the new {name} after {where}, D = {case.dim}")


MISTAKES = {
    "sum": "h is the mean of the rows of context; you take their sum",
    "share": "each row of context moves by the whole gradient of h; yours moves by a share of it",
    "once": "a number that stands twice counts twice; yours counts once: rows[[2, 2]] += 1 adds 1 in numpy",
    "late": "the rows of context move by the outputs as they were before the step; you use the moved ones",
    "uphill": "the step goes up the loss: the error is label - sigmoid(score)",
    "labels": "the label is 1 for the word and 0 for the negatives; yours are the other way round",
}


def by_loops(tables, context, word, negatives, rate, mistake):
    """The two tables after a step with one mistake."""
    inputs, outputs = (table.copy() for table in tables)
    h = tables[0][context].sum(0) / (1 if mistake == "sum" else len(context))
    pull = np.zeros_like(h)
    for place, target in enumerate([word, *negatives]):
        before = tables[1][target]
        label = (place == 0) != (mistake == "labels")
        error = (label - 1 / (1 + np.exp(-before @ h))) * (-1 if mistake == "uphill" else 1)
        outputs[target] = (before if mistake == "once" else outputs[target]) + rate * error * h
        pull += error * (outputs[target] if mistake == "late" else before)
    for one in set(context) if mistake == "once" else context:
        inputs[one] += rate * pull / (len(context) if mistake == "share" else 1)
    return [inputs, outputs]


@exercise("10-1-b", points=2)
def six_numbers(answer):
    """Distances, cosines, weights and steps, worked out by hand."""
    expected = [np.sqrt(2), 1 / 3, 1.0, np.log(9 / 3) + 1, 0.0, 24]
    hints = (
        "two ones at different places: the root of (1 - 0)² + (0 - 1)²",
        "each text has three different words, and they share one: 1 / (√3 · √3)",
        "without particles both texts have the same three words",
        "ln((1 + N) / (1 + df)) + 1 with N = 8 and df = 2",
        "the row of the neighbour moves by the sum of error times outputs, and the outputs are 0",
        "six words have 5 pairs of direct neighbours, 4 pairs at distance 2 and 3 at distance 3; both guess each other",
    )
    for number, (found, right, hint) in enumerate(
        zip(as_floats(answer, "prediction", 6), expected, hints), start=1
    ):
        assert abs(found - right) <= 0.01, f"number {number}: got {shown(found)}. Look again: {hint}"


SETTINGS = {"dim": 16, "window": 3, "min_count": 1, "sample": 0, "epochs": 30, "alpha": 0.05}


@exercise("10-1-c", points=3)
def broken(answer):
    """A text in which a word is nearer to its opposite than to a word of the same meaning."""
    given, *three = as_list(answer, "broken = (sentences, word, opposite, alike)", 4)
    sentences = [as_list(one, "a sentence of broken") for one in as_list(given, "sentences")]
    assert 60 <= len(sentences) <= 600, f"sentences must be 60 to 600, got {len(sentences)}"
    for one in sentences:
        whole = 3 <= len(one) <= 12 and all(isinstance(word, str) and word.strip() for word in one)
        assert whole, f"a sentence is a list of 3 to 12 words, got {shown(one)}"
    for word in three:
        times = sum(word in one for one in sentences) if isinstance(word, str) else 0
        assert times >= 20, (
            f"each of the three words stands in at least 20 sentences, {shown(word)} in {times}"
        )
    word, opposite, alike = three
    assert len({word, opposite, alike}) == 3, f"the three words must differ, got {shown(three)}"
    both = sum(word in one and opposite in one for one in sentences)
    assert both == 0, f"{word} and {opposite} must never stand in one sentence; they do in {both}"
    for seed in (0, 1, 2):
        model = Word2Vec("skipgram", seed=seed, **SETTINGS).fit(sentences)
        near, far = model.similarity(word, opposite), model.similarity(word, alike)
        assert near >= far + 0.2, (
            f"with seed {seed} the cosine of {word} and {opposite} is {near:.2f}, of {word} and {alike} {far:.2f}: the "
            "first must be larger by 0.2. Who keeps whose company?"
        )
