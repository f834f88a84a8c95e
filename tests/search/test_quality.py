"""Does an index choose its search method well? On people's questions, which it never saw when it chose."""

import pytest

from minillm.data import DECLINING, python_questions, unanswerable_questions
from tests.benchmarks.search_quality import (
    OLDER,
    SETS,
    build,
    korquad_set,
    measure_declining,
    places,
    python_set,
    shares,
    versus_best_single,
)
from tests.helpers import soak_count

TOUR = "How does the with statement work?"


@pytest.fixture(scope="module")
def python():
    asked = python_set(None)
    return asked, build(asked.documents)


def test_the_reference_answers_what_newcomers_ask(python):
    asked, index = python
    newer = [question.kind for question in python_questions()][OLDER:]
    assert newer == ["first"] * 15
    found = places(index, asked)
    assert (found[index.choice.method][OLDER:] <= 3).sum() >= 13
    _, difference, _, _ = versus_best_single(index, found)
    assert difference >= -0.01
    assert index.search(TOUR, 1)[0][0].title == 'The "with" statement'


def test_the_stored_threshold_is_what_the_questions_give(python):
    asked, index = python
    good = shares(index, asked.questions)
    bad = shares(index, [question.text for question in unanswerable_questions()])
    measured = measure_declining(good, bad)
    # 0.24 with CPython 3.11; another Python has a slightly different text
    assert measured.chosen.threshold == pytest.approx(DECLINING.least_share, abs=0.05)
    assert (len(bad) - len(bad) // 2, len(good) - len(good) // 2) == (
        DECLINING.unanswerable,
        DECLINING.answerable,
    )
    declined, _, wrongly, _ = measured.counts
    assert declined / DECLINING.unanswerable >= 2 / 3
    assert wrongly / DECLINING.answerable <= 0.1
    assert abs(declined - DECLINING.declined) <= 3
    assert abs(wrongly - DECLINING.wrongly) <= 3


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["KorQuAD", "KLUE-MRC", "Korean", "Cranfield"])
def test_the_chosen_method_is_within_a_hundredth_of_the_best_single_one(name, real_data):
    if name != "Korean" and soak_count(100) < 100:
        pytest.skip("an index of a large set takes a minute: only in `make soak`")
    folder = real_data({"KorQuAD": "korquad", "KLUE-MRC": "klue", "Cranfield": "retrieval"}.get(name, "."))
    asked = SETS[name](folder if name == "Korean" else folder.parent)
    assert len(asked.questions) >= 100
    index = build(asked.documents)
    assert index.choice.queries >= 200
    best, difference, low, high = versus_best_single(index, places(index, asked))
    print(
        f"{name}: {index.choice_in_words()} - {best} = {difference:+.3f} [{low:+.3f}, {high:+.3f}], "
        f"n = {len(asked.questions)}"
    )
    assert difference >= -0.01


@pytest.mark.soak
def test_korquad_is_read_whole(real_data):
    asked = korquad_set(real_data("korquad").parent)
    assert (len(asked.documents), len(asked.questions)) == (964, 5774)
