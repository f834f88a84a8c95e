"""Lesson 11_1: what its prose says and its cells do not assert: no unknown words, and the choice of the rate."""

import numpy as np
import pytest

from minillm.evaluation import spearman
from minillm.search import EmbeddingSimilarityEvaluator
from tests.course.lessons import LESSONS, names_before

(LESSON,) = [path for path in LESSONS if path.name.startswith("11_1_")]


def words(pairs):
    return {
        word.strip(".,").lower()
        for pair in pairs
        for key in ("sentence1", "sentence2")
        for word in pair[key].split()
    }


def test_the_exam_asks_for_no_word_that_training_does_not_have(capsys):
    names = names_before(LESSON, "The encoder is the smallest there is")
    assert len(words(names["exam"])) > 300
    assert words(names["exam"]) <= words(names["training"])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_loss_gains_much_by_another_rate(capsys):
    names = names_before(LESSON, "models, losses = {}, {}")
    aside = names["training"][5400:]  # the last 100 first sentences
    judge = EmbeddingSimilarityEvaluator(
        *([pair[key] for pair in aside] for key in ("sentence1", "sentence2", "score"))
    )
    for name, rows in names["DATA"].items():
        kept = rows[: len(rows) * 9 // 10]
        found = {}
        for rate in (0.03, 0.1, 0.3):
            encoder, _ = names["train"](kept, names["LOSS"][name], rate=rate)
            found[rate] = spearman(judge.similarities(encoder), np.array(judge.scores))
        assert max(found.values()) < found[0.1] + 0.03, (name, found)  # 0.012 on the page's machine
