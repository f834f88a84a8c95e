"""The evaluators against sentence-transformers', on the same encoder, and against figures that ranx gave."""

import json
from pathlib import Path

import numpy as np
import pytest

from minillm.evaluation import map_score, retrieval_metrics
from minillm.search import (
    BM25,
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    SentenceEncoder,
    TwoStageSearch,
)
from tests.search.test_sentence_encoder import WORDS, tiny, tokenizer

library = pytest.importorskip("sentence_transformers", reason="held against sentence-transformers")
transformers = pytest.importorskip("transformers", reason="sentence-transformers opens models with it")
evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
RECORDED = json.loads(Path(__file__).with_name("ranx.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def both(tokenizer, tmp_path_factory):
    encoder = SentenceEncoder(tiny(), tokenizer, prompts={"query": "query: ", "document": "passage: "})
    folder = encoder.save_pretrained(tmp_path_factory.mktemp("encoder") / "tiny")
    return encoder, library.SentenceTransformer(str(folder), device="cpu")


def random_set(seed=0, texts=60, questions=25):
    """Texts that all differ, questions, and 1 to 12 texts that answer each."""
    generator = np.random.default_rng(seed)
    words = [word for word in WORDS[5:] if not word.startswith("##")]

    def sentences(count, length):
        found = dict.fromkeys(" ".join(generator.choice(words, length)) for _ in range(3 * count))
        return list(found)[:count]

    corpus = {f"d{number}": text for number, text in enumerate(sentences(texts, 7))}
    queries = {f"q{number}": text for number, text in enumerate(sentences(questions, 3))}
    right = {
        one: set(generator.choice(list(corpus), generator.integers(1, 13), replace=False)) for one in queries
    }
    return queries, corpus, right


def test_every_figure_of_a_retrieval_evaluation(both):
    queries, corpus, right = random_set()
    right["q3"] = set()  # a question without an answer is left out by both
    del right["q4"]
    at_k = {"accuracy_at_k": [1, 4], "precision_recall_at_k": [2, 10], "mrr_at_k": [3, 10]}
    at_k |= {"ndcg_at_k": [1, 10], "map_at_k": [5, 50]}
    for options in ({}, at_k, {"name": "mine"}):
        theirs = evaluation.InformationRetrievalEvaluator(queries, corpus, right, write_csv=False, **options)(
            both[1]
        )
        ours = InformationRetrievalEvaluator(queries, corpus, right, **options)(both[0])
        assert ours == pytest.approx(theirs, abs=1e-9)
        assert 0 < min(ours.values()) <= max(ours.values()) < 1
        assert len(ours) > 9


def test_equal_texts_are_ordered_by_their_ids_as_there(both):
    queries = {"q": "cat"}
    corpus = {f"d{number}": "the cat sleeps" for number in (3, 1, 2)}
    for right in ("d1", "d2", "d3"):
        theirs = evaluation.InformationRetrievalEvaluator(queries, corpus, {"q": {right}}, write_csv=False)(
            both[1]
        )
        assert InformationRetrievalEvaluator(queries, corpus, {"q": {right}})(both[0]) == pytest.approx(
            theirs
        )


def test_other_searches_are_judged_by_the_same_figures(both):
    queries, corpus, right = random_set(1)
    evaluator = InformationRetrievalEvaluator(queries, corpus, right)
    found = evaluator(BM25())
    rankings = BM25().fit(evaluator.corpus, evaluator.ids).search(evaluator.queries, 100)
    assert found == retrieval_metrics(rankings, evaluator.gold)

    class Judge:
        def score(self, pairs):
            return np.arange(len(pairs), dtype=np.float32)

    first = BM25().fit(evaluator.corpus, evaluator.ids)
    assert evaluator(TwoStageSearch(first, Judge(), corpus, 20)).keys() == found.keys()


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean", "manhattan"])
def test_the_correlations_of_pairs_with_a_score(both, similarity):
    queries, corpus, _ = random_set(2)
    first, second = list(queries.values()), list(corpus.values())[: len(queries)]
    scores = np.random.default_rng(0).integers(0, 6, len(first)) / 5  # with ties
    theirs = evaluation.EmbeddingSimilarityEvaluator(
        first, second, scores.tolist(), main_similarity=similarity, name="sts", write_csv=False
    )(both[1])
    ours = EmbeddingSimilarityEvaluator(first, second, scores, similarity, "sts")(both[0])
    assert ours == pytest.approx({name: float(value) for name, value in theirs.items()}, abs=1e-5)


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"seed {case['seed']}")
def test_figures_that_ranx_gave(case):
    """Recorded by parity/record_ranx.py with ranx, whose map is not capped."""
    rankings, gold = case["rankings"], case["gold"]
    ours = retrieval_metrics(rankings, gold, **RECORDED["at_k"])
    for name, value in case["figures"].items():
        found = map_score(rankings, gold, int(name.split("@")[1])) if name.startswith("map") else ours[name]
        assert found == pytest.approx(value, abs=1e-9), name
    assert len(case["figures"]) > 8
