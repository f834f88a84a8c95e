"""Lesson 11_4: what it says of its cross-encoders holds for other negatives and other first weights."""

import pytest

from minillm.course.lessons import notebooks
from tests.course.lessons import LESSONS, names_before, read
from tests.helpers import soak_seeds

(LESSON,) = [path for path in LESSONS if path.name.startswith("11_4_")]


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", soak_seeds([0, 1, 2]))
def test_every_claim_of_the_lesson_holds_for_this_seed(seed, capsys):
    names = names_before(LESSON, "## Exercises", seed)
    # negatives, two encoders, the fine-tuning, the cross-encoder without marks
    assert "".join(notebooks.source(cell) for cell in read(LESSON)["cells"]).count("seed=0") >= 5
    hard = [(names["reranked"]["hard", one] <= 1).mean() for one in (0, 1, 2)]
    mixed = [(names["reranked"]["mixed", one] <= 1).mean() for one in (0, 1, 2)]
    assert min(hard) < min(mixed)  # what hard negatives alone teach depends on the first weights
