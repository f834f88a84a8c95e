"""Lesson 04_2: what it says of three seeds of its models and of its two runs of PPO holds, its proofs too."""

import pytest

from minillm.course.lessons import notebooks
from tests.course.lessons import LESSONS, names_before, read
from tests.helpers import soak_seeds

(LESSON,) = [path for path in LESSONS if path.name.startswith("04_2_")]
# accuracy of the reward model; then proxy and true score of the SFT model, of PPO with β = 0.5 and with β = 0, by seed
RECORDED = {
    0: (0.922, (-0.069, 0.476), (0.825, 0.586), (1.394, 0.009)),
    1: (0.889, (-0.038, 0.409), (0.683, 0.491), (1.169, 0.025)),
    2: (0.880, (0.002, 0.495), (0.698, 0.591), (1.528, 0.317)),
}
PAGE = "".join(notebooks.source(cell) for cell in read(LESSON)["cells"])


def test_the_page_says_the_recorded_figures():
    assert "seed=0" in PAGE
    for accuracy, *scores in RECORDED.values():
        assert f"{accuracy:.3f}".lstrip("0") in PAGE
        for proxy, true in scores:
            assert f"{proxy:.3f}, {true:.3f}" in PAGE


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", soak_seeds(RECORDED))
def test_every_claim_of_the_lesson_holds_for_this_seed(seed, capsys):
    names = names_before(LESSON, "\n## Exercises", seed)  # its proofs run, too
    accuracy, *scores = RECORDED[seed]
    assert abs(names["whole"].accuracy - accuracy) < 0.05  # another processor's models differ a little
    for name, (proxy, true) in zip(("SFT", "β = 0.5", "β = 0"), scores, strict=True):
        assert abs(names["liked"][name].mean() - proxy) < 0.5, name  # and its training ends elsewhere
        if name != "β = 0":  # nothing holds that run: it may end anywhere below its start
            assert abs(names["truth"][name].true.mean() - true) < 0.15, name
    assert names["change"]["β = 0"].interval[1] < 0
    assert names["change"]["β = 0.5"].interval[1] > 0
    assert 0.25 < names["likes_right"] < 0.7  # a coin would have 0.5
    assert names["truth"]["β = 0"].true.mean() < names["truth"]["SFT"].true.mean() - 0.05
