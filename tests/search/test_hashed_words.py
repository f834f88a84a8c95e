"""Hashed words: cosines are those of the counts, as scikit-learn's, where no two words meet."""

import numpy as np
import pytest

from minillm.search import HashedWords

TEXTS = ["red fish blue fish", "a blue boat", "빨간 물고기와 파란 배", "물고기가 많다", "unrelated words"]


def test_the_cosine_is_that_of_the_damped_counts():
    encoder = HashedWords(1 << 20)  # so wide that these words do not meet
    vectors = encoder.encode(TEXTS)
    words = sorted({word for text in TEXTS for word in encoder.words(text)})
    counts = np.array([[encoder.words(text).count(word) for word in words] for text in TEXTS], float)
    damped = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    damped /= np.linalg.norm(damped, axis=1, keepdims=True)
    assert vectors @ vectors.T == pytest.approx(damped @ damped.T, abs=1e-6)
    assert (
        vectors[2] @ vectors[3] > 0 == vectors[1] @ vectors[4]
    )  # 물고기와, 물고기가 share two pairs of letters


def test_every_text_has_a_direction_but_white_space():
    vectors = HashedWords(32).encode(["what is the", "***", "a", "한", " \n"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 1, 0])
    assert vectors.dtype == np.float32


def test_words_that_cancel_each_other_leave_a_direction():
    encoder = HashedWords(64)
    one, two, both = encoder.encode(["topic", "3", "topic 3"])
    np.testing.assert_array_equal(one, -two)  # they meet, with other signs
    np.testing.assert_array_equal(both, one)


def test_what_is_no_text_is_refused():
    for bad in ("text", [3], None):
        with pytest.raises(ValueError, match="texts must"):
            HashedWords().encode(bad)
    with pytest.raises(ValueError, match="dim"):
        HashedWords(0)
