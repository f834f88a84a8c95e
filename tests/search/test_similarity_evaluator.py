"""What an encoder may give to be judged: vectors of any kind of number, one a text (the peer is in tests/parity)."""

import numpy as np
import pytest
import torch

from minillm.search import EmbeddingSimilarityEvaluator

TEXTS = ["가", "나", "다"], ["라", "마", "바"]
SIDES = np.array([[100, 90], [50, -40], [-30, 80]]), np.array([[90, 100], [60, 20], [100, -10]])
COSINES = [18000 / 18100, 2200 / (4100 * 4000) ** 0.5, -3800 / (7300 * 10100) ** 0.5]  # by hand


class Gives:
    """An encoder that gives one array for the first side and one for the second."""

    def __init__(self, *sides):
        self.sides = list(sides)

    def encode(self, texts):
        return self.sides.pop(0)


@pytest.mark.parametrize(
    "kind",
    [
        lambda x: x.astype(np.int8),  # products of 8 bits would overflow
        lambda x: (100 * x).astype(np.float16),  # so would squares of 16
        lambda x: (1e30 * x).astype(np.float32),
        lambda x: x.tolist(),
        torch.tensor,
        lambda x: torch.tensor(x).bfloat16().requires_grad_(),
    ],
    ids=["int8", "float16", "huge", "lists", "a tensor", "bfloat16 with a graph"],
)
def test_cosines_of_any_numbers(kind):
    evaluator = EmbeddingSimilarityEvaluator(*TEXTS, [1, 2, 3])
    found = evaluator.similarities(Gives(*map(kind, SIDES)))
    assert found == pytest.approx(COSINES, abs=1e-3)


@pytest.mark.parametrize(
    "sides",
    [
        (None, None),
        (np.ones(3), np.ones(3)),
        (np.ones((2, 4)), np.ones((3, 4))),
        (np.ones((3, 4)), np.ones((3, 5))),
        (np.ones((3, 4)), np.ones((1, 4))),
        (np.array([["a"]] * 3), np.ones((3, 1))),
    ],
)
def test_what_is_no_vector_a_text_is_named(sides):
    evaluator = EmbeddingSimilarityEvaluator(*TEXTS, [1, 2, 3])
    with pytest.raises(ValueError, match=r"the encoder must give 3 vectors \(N, D\) for each side, got"):
        evaluator(Gives(*sides))
