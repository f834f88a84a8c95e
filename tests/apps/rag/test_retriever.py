"""Retrievers: the same nodes as the search underneath, whatever it is; cut-off, reranker, and failures by name."""

import numpy as np
import pytest

from minillm.apps.rag import RetrievalError, Retriever, StoreSearch
from minillm.search import BM25, DenseRetriever, HashedWords, HybridSearch, VectorStore
from tests.apps.rag.worlds import Broken, node

NODES = [
    node(0, "red fish"),
    node(1, "blue fish and red boats"),
    node(2, "빨간 물고기"),
    node(3, "nothing of it"),
]
TEXTS = [one.text for one in NODES]
IDS = [one.id for one in NODES]


def store():
    made = VectorStore(512, encoder=HashedWords(512))
    made.upsert(
        [{"id": id, "text": text, "metadata": {"n": n}} for n, (id, text) in enumerate(zip(IDS, TEXTS))]
    )
    return made


SOURCES = {
    "bm25": lambda: BM25().fit(TEXTS, IDS),
    "dense": lambda: DenseRetriever(HashedWords(512)).fit(TEXTS, IDS),
    "store": lambda: StoreSearch(store()),
    "hybrid": lambda: HybridSearch(BM25().fit(TEXTS, IDS), StoreSearch(store())),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("question", ["a red fish", "물고기가 빨간가요?"])
def test_it_finds_what_the_search_underneath_finds(name, question):
    source = SOURCES[name]()
    ranking = source.search([question], 3)[0]
    found = Retriever(source, NODES, 3).retrieve(question)
    assert [(one.node.id, one.score) for one in found] == ranking
    assert found[0].node.id == ("d#0" if question.isascii() else "d#2")
    assert [one.text for one in found] == [NODES[IDS.index(one.node.id)].text for one in found]


def test_a_vector_store_is_taken_as_it_is_and_filters():
    made = store()
    assert [one.node.id for one in Retriever(made, NODES, 2).retrieve("red fish")] == ["d#0", "d#1"]
    filtered = Retriever(StoreSearch(made, {"n": {"$gt": 0}}), NODES, 1)
    assert [one.node.id for one in filtered.retrieve("red fish")] == ["d#1"]


def test_the_cut_off_lets_through_what_reaches_it():
    retriever = Retriever(store(), NODES, 4)
    scores = [one.score for one in retriever.retrieve("red fish")]
    assert scores[0] == pytest.approx(1, abs=1e-6)
    for cutoff, count in ((scores[1], 2), (np.nextafter(scores[1], 2), 1), (1.5, 0)):
        kept = Retriever(store(), NODES, 4, similarity_cutoff=float(cutoff)).retrieve("red fish")
        assert len(kept) == count


class Backwards:
    """A reranker: the longest text first."""

    def __init__(self):
        self.pairs = []

    def score(self, pairs):
        self.pairs += pairs
        return np.array([float(len(text)) for _, text in pairs], np.float32)


def test_a_reranker_orders_the_candidates_and_its_scores_are_cut():
    reranker = Backwards()
    retriever = Retriever(SOURCES["bm25"](), NODES, 1, reranker=reranker, candidates=2)
    (one,) = retriever.retrieve("red fish")
    assert (one.node.id, one.score) == ("d#1", len(NODES[1].text))
    assert reranker.pairs == [("red fish", "red fish"), ("red fish", "blue fish and red boats")]
    assert Retriever(SOURCES["bm25"](), NODES, 2, 10, Backwards()).retrieve("red fish")[-1].node.id == "d#1"


@pytest.mark.parametrize("question", ["???", "…", "。"])
def test_a_question_without_words_finds_nothing(question):
    assert Retriever(store(), NODES).retrieve(question) == []


def test_failures_have_a_name():
    for retriever in (
        Retriever(Broken(), NODES), Retriever(SOURCES["bm25"](), NODES, reranker=Broken()),
        Retriever(SOURCES["bm25"](), NODES[1:]), Retriever(VectorStore(8, encoder=Broken()), NODES),
    ):  # fmt: skip
        with pytest.raises(RetrievalError, match="the search for 'red fish' failed") as error:
            retriever.retrieve("red fish")
        assert error.value.__cause__ is not None
    for question in ("", "  ", None, 3):
        with pytest.raises(ValueError, match="question must"):
            Retriever(Broken(), NODES).retrieve(question)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("bm25", NODES), "source"), ((Broken(), []), "nodes"), ((Broken(), ["text"]), "nodes"),
        ((Broken(), NODES, 0), "similarity_top_k"), ((Broken(), NODES, 1, "high"), "similarity_cutoff"),
        ((Broken(), NODES, 1, None, "rerank"), "reranker"), ((Broken(), NODES, 1, None, None, 0), "candidates"),
    ],
)  # fmt: skip
def test_settings_that_will_not_do(arguments, word):
    with pytest.raises(ValueError, match=word):
        Retriever(*arguments)
