"""Ranking metrics against values by hand, sklearn's nDCG, and trec_eval's figures on a real run."""

import csv
import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.evaluation import (
    hit_at_k,
    map_score,
    mrr,
    ndcg,
    precision_at_k,
    recall_at_k,
    retrieval_metrics,
)
from minillm.evaluation.retrieval import AT_K

RANKINGS = [["a", "b", "c", "d"], [("x", 3.0), ("y", 2.0)], []]
GOLD = [{"b", "d", "z"}, ["x"], ("q",)]


def test_values_by_hand():
    assert hit_at_k(RANKINGS, GOLD, 1) == pytest.approx(1 / 3)
    assert hit_at_k(RANKINGS, GOLD, 2) == pytest.approx(2 / 3)
    assert recall_at_k(RANKINGS, GOLD, 2) == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert recall_at_k(RANKINGS, GOLD, 4) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert precision_at_k(RANKINGS, GOLD, 2) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert precision_at_k(RANKINGS, GOLD, 4) == pytest.approx((2 / 4 + 1 / 4 + 0) / 3)
    assert mrr(RANKINGS, GOLD) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert mrr(RANKINGS, GOLD, k=1) == pytest.approx(1 / 3)
    assert map_score(RANKINGS, GOLD) == pytest.approx(((1 / 2 + 2 / 4) / 3 + 1 + 0) / 3)
    assert map_score(RANKINGS, GOLD, k=2) == pytest.approx(((1 / 2) / 3 + 1) / 3)
    assert map_score(RANKINGS, GOLD, k=2, capped=True) == pytest.approx(((1 / 2) / 2 + 1) / 3)
    assert map_score(RANKINGS, GOLD, k=9, capped=True) == map_score(RANKINGS, GOLD, k=9)
    best = 1 + 1 / math.log2(3) + 1 / 2
    assert ndcg(RANKINGS, GOLD, 10) == pytest.approx(((1 / math.log2(3) + 1 / math.log2(5)) / best + 1) / 3)


def test_graded_gold():
    gold = [{"a": 1, "b": 3, "c": 0}]
    best = 3 + 1 / math.log2(3)
    assert ndcg([["b", "a"]], gold) == pytest.approx(1)
    assert ndcg([["a", "b"]], gold) == pytest.approx((1 + 3 / math.log2(3)) / best)
    assert hit_at_k([["c"]], gold, 1) == 0  # grade 0 is not right


ORDERS = st.permutations(list(range(8)))


@settings(deadline=None)
@given(ORDERS, st.lists(st.integers(0, 3), min_size=8, max_size=8).filter(any), st.integers(1, 8))
def test_ndcg_equals_sklearn(order, grades, k):
    metrics = pytest.importorskip("sklearn.metrics", reason="held against scikit-learn")
    scores = np.empty(8)
    scores[order] = np.arange(8, 0, -1)
    expected = metrics.ndcg_score([grades], [scores], k=k)
    assert ndcg([order], [dict(enumerate(grades))], k) == pytest.approx(expected)


@settings(deadline=None)
@given(ORDERS, st.sets(st.integers(0, 7), min_size=1), st.integers(1, 8))
def test_average_precision_and_bounds(order, right, k):
    metrics = pytest.importorskip("sklearn.metrics", reason="held against scikit-learn")
    labels = [one in right for one in range(8)]
    scores = np.empty(8)
    scores[order] = np.arange(8, 0, -1)
    assert map_score([order], [right]) == pytest.approx(metrics.average_precision_score(labels, scores))
    assert mrr([order], [right]) == pytest.approx(1 / (1 + min(order.index(one) for one in right)))
    values = [metric([order], [right], k) for metric in (hit_at_k, recall_at_k, mrr, map_score, ndcg)]
    assert all(0 <= value <= 1 + 1e-12 for value in values)
    perfect = [*right, *(one for one in order if one not in right)]
    assert ndcg([perfect], [right], k) == pytest.approx(1)
    assert map_score([perfect], [right]) == pytest.approx(1)


def test_numpy_rankings_and_numpy_gold():
    ids = np.array([[3, 1, 2], [0, 4, 5]])
    assert mrr(ids, np.array([[1], [5]])) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_trec_eval_figures_on_cranfield(real_data):
    truth = json.loads(real_data("metrics/retrieval_cranfield_bm25_truth.shared.json").read_text("utf-8"))
    run: dict[str, list[tuple[str, float]]] = {}
    with gzip.open(
        real_data("metrics/retrieval_cranfield_bm25_run.shared.tsv.gz"), "rt", encoding="utf-8"
    ) as file:
        for line in file:
            query, _, document, _, score, _ = line.split()
            run.setdefault(query, []).append((document, float(score)))
    gold: dict[str, dict[str, int]] = {}
    with real_data("retrieval/cranfield/qrels.shared.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            gold.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    metrics = {
        "ndcg_cut_10": lambda r, g: ndcg(r, g, 10),
        "map": map_score,
        "recip_rank": mrr,
        "recall_10": lambda r, g: recall_at_k(r, g, 10),
        "recall_100": lambda r, g: recall_at_k(r, g, 100),
        "success_1": lambda r, g: hit_at_k(r, g, 1),
        "success_5": lambda r, g: hit_at_k(r, g, 5),
    }
    queries = list(truth["per_query"])
    # trec_eval orders by score, and equal scores by descending id
    rankings = [
        sorted(sorted(run[query], key=lambda pair: pair[0], reverse=True), key=lambda pair: -pair[1])
        for query in queries
    ]
    for name, metric in metrics.items():
        assert metric(rankings, [gold[query] for query in queries]) == pytest.approx(
            truth["mean"][name], abs=1e-9
        )
        for query, ranking in zip(queries, rankings, strict=True):
            assert metric([ranking], [gold[query]]) == pytest.approx(
                truth["per_query"][query][name], abs=1e-9
            )


@pytest.mark.parametrize("metric", [hit_at_k, recall_at_k, mrr, map_score, ndcg])
@pytest.mark.parametrize(
    ("rankings", "gold", "message"),
    [
        (None, [["a"]], "rankings must be a list"),
        ("ab", [["a"]], "rankings must be a list"),
        ([["a"]], {"a": 1}, "gold must be a list"),
        ([], [], "got 0 rankings"),
        ([["a"]], [["a"], ["b"]], "got 1 rankings and 2 gold"),
        ([["a"]], ["a"], r"gold\[0\] must be a set, list, tuple or dict"),
        ([["a"]], [[]], r"gold\[0\] must name at least one right id"),
        ([["a"]], [{"a": 0}], r"gold\[0\] must name at least one right id"),
        ([["a"]], [{"a": -1}], "grade of 'a' must be at least 0"),
        ([["a"]], [{"a": float("nan")}], "grade of 'a' must be a finite number"),
        ([["a"]], [[1.5]], "must hold ids"),
        ([["a", "a"]], [["a"]], r"rankings\[0\] must list every id once"),
        ([[None]], [["a"]], r"rankings\[0\] must hold ids"),
        (["a"], [["a"]], r"rankings\[0\] must be a list"),
    ],
)
def test_bad_input_is_named(metric, rankings, gold, message):
    with pytest.raises(ValueError, match=message):
        metric(rankings, gold)


@pytest.mark.parametrize("metric", [hit_at_k, recall_at_k, mrr, map_score, ndcg])
@pytest.mark.parametrize("k", [0, -1, 1.0, "3", True])
def test_bad_k_is_named(metric, k):
    with pytest.raises(ValueError, match="k must be"):
        metric([["a"]], [["a"]], k)


def test_all_figures_at_once_have_the_names_of_sentence_transformers():
    found = retrieval_metrics(RANKINGS, GOLD, accuracy_at_k=[1], precision_recall_at_k=[2], mrr_at_k=[1, 10])
    assert found == {
        "accuracy@1": hit_at_k(RANKINGS, GOLD, 1), "precision@2": precision_at_k(RANKINGS, GOLD, 2),
        "recall@2": recall_at_k(RANKINGS, GOLD, 2), "ndcg@10": ndcg(RANKINGS, GOLD, 10),
        "mrr@1": mrr(RANKINGS, GOLD, 1), "mrr@10": mrr(RANKINGS, GOLD, 10),
        "map@100": map_score(RANKINGS, GOLD, 100, capped=True),
    }  # fmt: skip
    assert len(retrieval_metrics(RANKINGS, GOLD)) == 4 + 4 + 4 + 1 + 1 + 1
    with pytest.raises(
        ValueError, match=r"there is no argument 'hit_at_k' here; the places are accuracy_at_k, "
    ):
        retrieval_metrics(RANKINGS, GOLD, hit_at_k=[1])
    with pytest.raises(ValueError, match=r"at least one of accuracy_at_k, .* must name a place, got none"):
        retrieval_metrics(RANKINGS, GOLD, **dict.fromkeys(AT_K, ()))
    with pytest.raises(ValueError, match="mrr_at_k must be a list of int, got 10"):
        retrieval_metrics(RANKINGS, GOLD, mrr_at_k=10)
