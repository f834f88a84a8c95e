"""Checkers of lesson 11_4, reranking and search in two stages."""

import numpy as np

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
from minillm.search import BM25, TwoStageSearch
from minillm.search.words import plain_words

OWN = "build it yourself, with nothing of minillm"
LIBRARY = (
    "minillm.search.two_stage.TwoStageSearch.search",
    "minillm.search.two_stage.best_first",
    "minillm.search.cross_encoder.CrossEncoder.rank",
)
LETTERS = "abcdefgh"


def refuse_copies(answer):
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


# --- a: two stages, by a table of scores ---


def expected_two_stage(candidates, texts, scores, k):
    """The rankings by the definition, and the pairs that are read."""
    read = list(dict.fromkeys((question, texts[one]) for question, ids in candidates for one in ids))
    rankings = []
    for question, ids in candidates:
        left, ranking = list(ids), []
        while left and len(ranking) < k:
            best = left[0]
            for one in left[1:]:  # a later one must be better, so that equal ones stay as they were
                if scores[question, texts[one]] > scores[question, texts[best]]:
                    best = one
            left.remove(best)
            ranking.append(best)
        rankings.append(ranking)
    return rankings, read


def made_up(case):
    """(candidates, texts, scores) of a case; ties, empty lists, equal texts and a question that comes twice."""
    inputs = Inputs(case.seed)
    names = list(range(8)) if case.numbers else [f"d{letter}" for letter in LETTERS]
    texts = {one: f"text {inputs.integer(0, 5)}" for one in inputs.shuffled(names)}
    questions = [f"question {inputs.integer(0, 2)}" for _ in range(case.questions)]
    candidates = [
        (question, inputs.shuffled(names)[: inputs.integer(0, case.longest)]) for question in questions
    ]
    scores = {
        (f"question {q}", f"text {t}"): inputs.integer(-case.levels, case.levels) / 2
        for q in range(3)
        for t in range(6)
    }
    return candidates, texts, scores


@exercise("11-4-a", points=3)
def two_stage(answer):
    """k of the candidates, by the scores; each pair is read once."""
    refuse_copies(answer)

    def check_case(candidates, texts, scores, k, where):
        given = [(question, list(ids)) for question, ids in candidates], dict(texts), dict(scores)
        rankings, read = expected_two_stage(candidates, texts, scores, k)
        with forbid(OWN, *LIBRARY, answer=answer):
            found = as_list(answer(*given, k), "what two_stage returns: (rankings, read)", 2)
        expect(found[0], rankings, hint=f"rankings, {where}")
        expect(
            found[1],
            read,
            hint=f"read: each pair (question, text) once, in the order in which it is met, {where}",
        )
        expect(list(given), [candidates, texts, scores], hint="what you are given must stay as it is")

    texts = {"a": "one", "b": "two", "c": "one"}
    scores = {("q", "one"): 0.5, ("q", "two"): 0.5}
    check_case([("q", ["b", "a", "c"])], texts, scores, 5, "all scores are equal, k is more than there are")
    check_case([("q", [])], texts, scores, 3, "the first stage brought nothing")
    check_case([], texts, scores, 3, "there is no question")
    check_case(
        [("q", ["a", "b"])], texts, {("q", "one"): -3.0, ("q", "two"): -1.0}, 1, "scores below zero, k = 1"
    )
    for case in cases(
        questions=(1, 2, 6), longest=(0, 1, 4, 8), k=(1, 2, 5, 30), levels=(1, 9), numbers=(False, True)
    ):
        candidates, texts, scores = made_up(case)
        where = f"k = {case.k}, candidates {shown(candidates)}"
        check_case(candidates, texts, scores, case.k, where)


# --- b: whose fault ---

FAULTS = ("found", "first stage", "second stage")


@exercise("11-4-b", points=2)
def blame(answer):
    """Which stage lost the right text."""
    refuse_copies(answer)

    def check_case(candidates, returned, gold, where):
        given = [list(one) for one in candidates], [list(one) for one in returned], [set(one) for one in gold]
        expected = [
            FAULTS[0] if right & set(last) else FAULTS[2] if right & set(first) else FAULTS[1]
            for first, last, right in zip(candidates, returned, gold)
        ]
        with forbid(OWN, *LIBRARY, answer=answer):
            found = as_list(answer(*given), "what blame returns")
        expect(found, expected, hint=where)
        expect(list(given), [candidates, returned, gold], hint="what you are given must stay as it is")

    check_case([], [], [], "no question")
    check_case([[]], [[]], [{1}], "the first stage brought nothing")
    check_case([[1, 2, 3]], [[3, 1]], [{1, 9}], "one right text is returned, another was never a candidate")
    check_case([[1, 2, 3]], [[3]], [{2, 9}], "one right text was a candidate, another was not")
    for case in cases(questions=(1, 3, 8), n=(1, 4, 8), k=(1, 3), right=(1, 2, 4)):
        inputs = Inputs(case.seed)
        candidates = [inputs.shuffled(range(12))[: case.n] for _ in range(case.questions)]
        returned = [inputs.shuffled(one)[: case.k] for one in candidates]
        gold = [set(inputs.shuffled(range(12))[: case.right]) for _ in range(case.questions)]
        check_case(
            candidates, returned, gold, f"candidates {shown(candidates)}, returned {returned}, gold {gold}"
        )


# --- c: what a budget buys ---


@exercise("11-4-c", points=2)
def budget(answer):
    """n, the ceiling, the pairs of 200 questions, what the book's function would print."""
    found = as_floats(answer, "prediction = (n, ceiling, pairs, printed)", 4)
    hints = (
        (
            15,
            "0.5 s less the first stage's 0.1 s, at 40 pairs a second; the largest n of the table within that",
        ),
        (0.85, "what the first stage did not bring cannot be returned: which hit@n bounds it?"),
        (3000, "200 questions, n pairs each"),
        (
            0.85,
            "all n come back, whatever their order, and the right text counts as found wherever it stands",
        ),
    )
    for number, (one, (expected, hint)) in enumerate(zip(found, hints), start=1):
        expect(one, expected, 1e-9, f"number {number} of 4: {hint}")


# --- d: a judge that makes it worse ---


class CountsWords:
    """The lesson's own: how many different words of the question stand in the text."""

    def score(self, pairs):
        return np.array(
            [len(set(plain_words(question)) & set(plain_words(text))) for question, text in pairs], float
        )


@exercise("11-4-d", points=2)
def misled(answer):
    """Right at first, wrong after reranking."""
    corpus, question, right = as_list(answer, "misled = (corpus, question, right)", 3)
    corpus = as_list(corpus, "corpus")
    assert 5 <= len(corpus) <= 20, f"corpus must have 5 to 20 texts, got {len(corpus)}"
    for text in [*corpus, question]:
        assert isinstance(text, str), f"corpus and question hold texts, got {shown(text)}"
    different = {" ".join(plain_words(text)) for text in corpus}
    assert len(different) == len(corpus), f"the texts must differ in their words, got {shown(corpus)}"
    right = plain(right)
    is_number = isinstance(right, int) and not isinstance(right, bool) and 0 <= right < len(corpus)
    assert is_number, f"right is the number of a text, 0 to {len(corpus) - 1}, got {shown(right)}"
    first = BM25(tokenizer=plain_words).fit(corpus)
    ranking = first.search([question], 20)[0]
    listed = [one for one, _ in ranking]
    assert listed[:1] == [right], f"BM25 must put text {right} first, its ranking is {shown(listed)}"
    ahead = len(ranking) > 1 and ranking[0][1] > ranking[1][1] + 1e-4
    assert ahead, f"text {right} must be ahead of another one by BM25, its ranking is {shown(ranking)}"
    reranked = TwoStageSearch(first, CountsWords(), corpus, 30).search([question], 20)[0]
    by_judge = dict(reranked)
    assert reranked[0][1] > by_judge[right], (
        f"the judge must give another text more than text {right}: it gives {shown(reranked)}. A judge that counts "
        "words does not know which of them are rare"
    )
