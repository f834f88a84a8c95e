"""When an answer is declined: the share of a question that a passage says, and the threshold on it."""

import pytest

from minillm.commands.search import declining_in_words
from minillm.data import DECLINING, python_docs, unanswerable_questions
from minillm.search import choose_threshold, decline_curve, share_named

IDF = {"with": 1.0, "walrus": 3.0, "is": 0.5}


def test_the_share_by_hand():
    weigh = lambda word: IDF.get(word, 4.0)  # noqa: E731 - unknown words weigh most
    assert share_named(["with", "walrus"], ["with", "is"], weigh) == pytest.approx(1 / 4)
    assert share_named(["with", "with", "walrus"], ["with"], weigh) == pytest.approx(1 / 4)  # each word once
    assert share_named(["with", "numpy"], ["with"], weigh) == pytest.approx(1 / 5)
    assert share_named(["is"], ["is", "with"], weigh) == 1
    assert share_named([], ["with"], weigh) == 0
    assert share_named(["qwxyz"], ["with"], weigh) == 0


def test_the_curve_counts_what_is_below():
    curve = decline_curve([0.5, 0.9], [0.1, 0.5, 0.6, 0.2])
    by_threshold = {round(point.threshold, 2): (point.declined, point.wrongly) for point in curve}
    assert by_threshold[0.0] == (0, 0)
    assert by_threshold[0.15] == (0.25, 0)
    assert by_threshold[0.55] == (0.75, 0.5)
    assert by_threshold[1.0] == (1, 1)


def test_the_threshold_declines_most_within_what_may_go_wrong():
    good, bad = [0.25, 0.45, *([0.8] * 8)], [0.1, 0.2, 0.3, 0.5]
    best = choose_threshold(good, bad, most_wrong=0.1)
    assert (best.declined, best.wrongly) == (0.75, 0.1)
    assert best.threshold == pytest.approx(0.31)
    assert choose_threshold(good, bad, most_wrong=0).declined == 0.5
    with pytest.raises(ValueError, match="at least one share"):
        decline_curve([], [0.1])


def test_the_help_says_the_stored_figures():
    words = declining_in_words()
    for figure in (DECLINING.least_share, DECLINING.declined, DECLINING.wrongly):
        assert f"{figure:g}" in words


def test_there_are_thirty_unanswerable_questions_in_two_languages():
    questions = unanswerable_questions()
    assert len({question.text for question in questions}) == 30
    count = lambda name, value: sum(getattr(one, name) == value for one in questions)  # noqa: E731
    assert (count("language", "en"), count("language", "ko")) == (18, 12)
    assert min(count("kind", "near"), count("kind", "far")) >= 10
    hangul = [any("가" <= letter <= "힣" for letter in question.text) for question in questions]
    assert hangul == [question.language == "ko" for question in questions]


def test_the_reference_says_nothing_of_what_they_ask():
    text = " ".join(document.text.lower() for document in python_docs())
    for word in ("numpy", "matplotlib", "pytorch", "pandas", "kimchi", "seoul", "파이썬"):
        assert word not in text
