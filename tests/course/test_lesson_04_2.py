"""Lesson 04_2: what it says of three seeds of its models and of its two runs of PPO holds, its proofs too."""

import pytest

from minillm.course.lessons import notebooks
from tests.course.lessons import LESSONS, names_before, read
from tests.helpers import soak_seeds

(LESSON,) = [path for path in LESSONS if path.name.startswith("04_2_")]
# accuracy of the reward model; then proxy and true score of the SFT model, of PPO with β = 0.5 and with β = 0, by seed
RECORDED = {0: (), 1: (), 2: ()}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", soak_seeds(RECORDED))
def test_every_claim_of_the_lesson_holds_for_this_seed(seed, capsys):
    names = names_before(LESSON, "\n## Exercises", seed)  # its proofs run, too
    accuracy, *scores = RECORDED[seed]
    assert abs(names["whole"].accuracy - accuracy) < 0.05  # another processor's models differ a little
    for name, (proxy, true) in zip(("SFT", "β = 0.5", "β = 0"), scores, strict=True):
        assert abs(names["liked"][name].mean() - proxy) < 0.4, name
        assert abs(names["truth"][name].true.mean() - true) < 0.1, name
    text = "".join(notebooks.source(cell) for cell in read(LESSON)["cells"])
    for proxy, true in scores:
        assert f"{proxy:+.2f}".lstrip("+") in text
        assert f"{true:.3f}".lstrip("0") in text
    assert "seed=0" in text
