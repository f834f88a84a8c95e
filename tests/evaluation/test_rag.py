"""The RAG figures: worked by hand, sklearn's average precision, and what a baseline without a model can do."""

import numpy as np
import pytest
import torch

from minillm.data import rag_answers
from minillm.evaluation import (
    answer_relevance,
    auc,
    context_precision,
    context_recall,
    embedding_support,
    faithfulness,
    lexical_support,
)

FRUIT = ["Apples are red.", "Pears are green."]


def test_lexical_support_by_hand():
    assert lexical_support("Apples are green and sweet", FRUIT) == pytest.approx(3 / 5)
    assert lexical_support("사과는 달다", ["사과가 달다"]) == pytest.approx(2 / 3)  # 사과, 과는, 달다
    assert lexical_support("...", FRUIT) == 0


def test_figures_are_means_of_support():
    assert faithfulness(["Apples are red", "Plums taste good"], FRUIT, lexical_support) == 0.5
    assert context_recall(["Apples are red"], FRUIT[1:], lexical_support) == pytest.approx(1 / 3)
    assert answer_relevance("q", ["a", "b"], lambda q, a: {"a": 0.2, "b": 0.8}[a]) == pytest.approx(0.5)


def test_precision_is_average_precision():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the parity extra")
    assert context_precision([0, 1]) == 0.5  # the example of ragas' documentation
    assert context_precision([True, False]) == 1
    assert context_precision([0, 0, 0]) == 0
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 9))
        useful = rng.random(n) < 0.5
        if useful.any():
            theirs = metrics.average_precision_score(useful, -np.arange(n))
            assert context_precision(useful.tolist()) == pytest.approx(theirs, abs=1e-12)


def test_embedding_support_is_the_nearest_contexts_cosine():
    table = {"s": [1, 0], "near": [0.8, 0.6], "far": [0, 1], "against": [-1, 0]}
    support = embedding_support(lambda texts: np.array([table[one] for one in texts], dtype=np.float32))
    assert support("s", ["far", "near"]) == pytest.approx(0.8)
    assert support("s", ["against"]) == 0


def test_words_find_inventions_but_not_what_is_exchanged():
    """On the labelled answers, each with its own passages: a swap has the same words, a new name has not."""
    rows = [one for one in rag_answers() if one.kind in ("right", "swapped", "entity")]
    scores = {one.answer: faithfulness([one.answer], one.facts, lexical_support) for one in rows}

    def told(kind):
        some = [one for one in rows if one.kind in ("right", kind)]
        return auc([scores[one.answer] for one in some], [one.kind == "right" for one in some])

    assert told("entity") > told("swapped") + 0.15


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: faithfulness("text", FRUIT, lexical_support), "statements must be a list"),
        (lambda: faithfulness([], FRUIT, lexical_support), "statements must be a list"),
        (lambda: faithfulness(["a"], [], lexical_support), "contexts must be a list"),
        (lambda: faithfulness(["a"], FRUIT, None), "support must be"),
        (lambda: faithfulness(["a"], FRUIT, lambda s, c: 2.0), "support must be"),
        (lambda: context_recall([3], FRUIT, lexical_support), "reference must be"),
        (lambda: context_precision([]), "useful must hold"),
        (lambda: context_precision([0.5]), "useful must hold"),
        (lambda: context_precision("01"), "useful must hold"),
        (lambda: context_precision([None]), "useful must hold"),
        (lambda: context_precision(["1"]), "useful must hold"),
        (lambda: context_precision([[1, 0]]), "useful must hold"),
        (lambda: context_precision([float("nan")]), "useful must hold"),
        (lambda: answer_relevance("q", ["a"], lambda q, a: float("nan")), "similarity must be"),
        (lambda: answer_relevance(None, ["a"], max), "question must be"),
        (lambda: embedding_support(None), "encode must be"),
        (lambda: embedding_support(lambda texts: np.eye(1))("a", FRUIT), "for each of"),
        (lambda: embedding_support(lambda texts: np.full((len(texts), 2), np.nan))("a", FRUIT), "finite"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_generators_and_tensors_serve():
    assert (
        faithfulness((one for one in ["apple"]), (one for one in FRUIT), lambda s, c: len(c) / len(FRUIT))
        == 1.0
    )
    assert context_precision(one for one in (0, 1)) == 0.5
    assert embedding_support(lambda texts: torch.ones(len(texts), 1, requires_grad=True))("a", FRUIT) == 1.0
