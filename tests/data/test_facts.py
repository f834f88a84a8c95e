"""Invented facts: the passage tells the answer once, what is near does not tell it, and both languages agree."""

import re

import pytest

from minillm.data import contains_answer, fact_documents, facts, with_particle
from minillm.data.facts import MOST_FACTS, _standing, even


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_passage_says_its_answer_once_and_nothing_else_does(language, seed):
    some = facts(MOST_FACTS, seed, language)
    assert len(some) == MOST_FACTS
    for one in some:
        told = sum(len(_standing(even(answer)).findall(even(one.document.text))) for answer in one.answers)
        assert told == 1, one
        for text in (one.distractor.text, one.question, one.document.title):
            assert not contains_answer(text, one.answers), one
    documents = fact_documents(some)
    assert len({one.id for one in documents}) == len({one.text for one in documents}) == 2 * MOST_FACTS
    assert len({one.question for one in some}) == MOST_FACTS


def test_a_longer_list_begins_with_the_shorter_one_and_seeds_differ():
    assert facts(40)[:10] == facts(10)
    assert facts(10) != facts(10, seed=1)


def test_both_languages_tell_the_same_facts():
    pairs = list(zip(facts(200), facts(200, language="ko"), strict=True))
    for english, korean in pairs:
        assert english.id == korean.id
        if re.fullmatch(
            r"\d+", english.answers[0]
        ):  # numbers are the same; names, times and months are translated
            assert english.answers == korean.answers
    assert sum(one.answers[0].isdigit() for one, _ in pairs) > 60


def test_korean_particles_fit_their_words():
    """Each title with a subject's particle, checked by the rule that has its own tests."""
    checked = 0
    for one in facts(400, language="ko"):
        if match := re.match(rf"{re.escape(one.document.title)}([은는])(?= )", one.document.text):
            assert with_particle(one.document.title, "은/는")[-1] == match[1]
            checked += 1
    assert checked > 150


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("It is 1,412 metres long.", ["1412"], True),
        ("It is 1,412 metres long.", ["412"], False),
        ("It is 412m long.", ["412"], True),
        ("It leaves at 6:40.", ["6"], False),
        ("It leaves at 6:40 a.m.", ["6:40"], True),
        ("It costs 3.5 won", ["3", "5"], False),
        ("made of COPPER!", ["copper"], True),
        ("made of coppers", ["copper"], False),
        ("The “Kim  Gaon” one", ["kim gaon"], True),
        ("김가온이었다", ["김가온"], True),
        ("１２월에 열린다", ["12월"], True),
        ("12월에 열린다", ["2월"], False),
        ("", ["x"], False),
        ("7시 40분에", ["7시 40분"], True),
        ("x_y", ["x y"], True),
    ],
)
def test_what_contains_an_answer(text, answers, expected):
    assert contains_answer(text, answers) is expected


@pytest.mark.parametrize("answers", [[], "12", [""], ["!?"], [3]])
def test_answers_that_are_none(answers):
    with pytest.raises(ValueError, match="answer"):
        contains_answer("text", answers)


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": MOST_FACTS + 1}, {"seed": -1}, {"language": "fr"}])
def test_numbers_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        facts(**bad)
