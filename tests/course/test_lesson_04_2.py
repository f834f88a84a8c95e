"""Lesson 04_2: what it says of three seeds of its models and of its two runs of PPO holds, its proofs too."""

import pytest

from minillm.course.lessons import notebooks
from tests.course.lessons import LESSONS, names_before, read
from tests.helpers import soak_seeds

(LESSON,) = [path for path in LESSONS if path.name.startswith("04_2_")]
# accuracy of the reward model; then proxy and true score of the SFT model, of PPO with β = 0.5 and with β = 0, by seed
RECORDED = {
    0: (0.896, (0.051, 0.464), (0.975, 0.535), (1.497, 0.194)),
    1: (0.866, (-0.058, 0.439), (0.587, 0.493), (1.390, 0.076)),
    2: (0.881, (0.022, 0.382), (0.877, 0.449), (1.511, 0.142)),
}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", soak_seeds(RECORDED))
def test_every_claim_of_the_lesson_holds_for_this_seed(seed, capsys):
    names = names_before(LESSON, "\n## Exercises", seed)  # its proofs run, too
    accuracy, *scores = RECORDED[seed]
    assert abs(names["whole"].accuracy - accuracy) < 0.05  # another processor's models differ a little
    for name, (proxy, true) in zip(("SFT", "β = 0.5", "β = 0"), scores, strict=True):
        assert abs(names["liked"][name].mean() - proxy) < 0.5, name  # and its training ends elsewhere
        assert abs(names["truth"][name].true.mean() - true) < 0.15, name
    assert names["change"]["β = 0"].interval[1] < 0
    assert names["change"]["β = 0.5"].interval[1] > 0
    text = "".join(notebooks.source(cell) for cell in read(LESSON)["cells"])
    for proxy, true in scores:
        assert f"{proxy:.3f}, {true:.3f}" in text
    assert "seed=0" in text
