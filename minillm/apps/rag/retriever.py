"""A retriever (검색기): from a question to the nodes that may answer it, whatever searches.

    search      VectorStore, BM25, DenseRetriever, HybridSearch, PassageIndex, ...      -> (id, score), best first
    reranker    reads question and node together and orders the first n anew (optional)
    cut-off     what scores below it does not answer; better nothing than that (optional)

A cut-off belongs to one kind of score: cosines of e5 lie between 0.7 and 0.95, BM25 has no upper bound, RRF says places
only. Take it from questions with and without an answer (`search.choose_threshold`), never from another encoder.

Book: 9.1.2 프롬프트에 검색 결과 통합, 11.5 바이 인코더와 교차 인코더로 개선된 RAG 구현하기. Peer: LlamaIndex'
retrievers, SimilarityPostprocessor and SentenceTransformerRerank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from minillm._checks import check_int, check_number, check_text, describe
from minillm.apps.rag.nodes import Node, NodeWithScore, RetrievalError
from minillm.search._ids import Ranking
from minillm.search.two_stage import TwoStageSearch
from minillm.search.words import find_operators, search_words


class Search(Protocol):
    """What ranks: BM25, DenseRetriever, HybridSearch, TwoStageSearch, StoreSearch."""

    def search(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """For each query [(node id, score), ...], best first."""


class StoreSearch:
    """A VectorStore with an encoder as a `Search`. filter: which records may be found, in the Pinecone form."""

    def __init__(self, store: Any, filter: Any = None, namespace: str = "") -> None:
        self.store, self.filter, self.namespace = store, filter, namespace

    def search(self, queries: Sequence[str], k: int = 10) -> list[Ranking]:
        """The k nearest records of each query."""
        answers = [self.store.query(query, k, self.filter, self.namespace) for query in queries]
        return [[(one["id"], one["score"]) for one in answer["matches"]] for answer in answers]


class Retriever:
    """The best nodes for a question.

    source: a `Search`, or a VectorStore with an encoder. nodes: id -> Node of all that it may name, a list of Nodes, or
    a function from ids to such a mapping. similarity_top_k: how many come back at most. similarity_cutoff: the least
    score, None for none. reranker: with score(pairs) -> (N,), a CrossEncoder; it orders the first `candidates` anew,
    and its scores are what the cut-off is for. Raises ValueError for anything else.
    """

    def __init__(
        self,
        source: Any,
        nodes: Any,
        similarity_top_k: int = 4,
        similarity_cutoff: float | None = None,
        reranker: Any = None,
        candidates: int = 30,
    ) -> None:
        if not callable(getattr(source, "search", None)):
            source = StoreSearch(source) if callable(getattr(source, "query", None)) else source
        if not callable(getattr(source, "search", None)):
            raise ValueError(
                f"source must have search(queries, k) or be a VectorStore, got {describe(source)}"
            )
        if reranker is not None and not callable(getattr(reranker, "score", None)):
            raise ValueError(f"reranker must have score(pairs), got {describe(reranker)}")
        self.source, self.reranker = source, reranker
        self.find = nodes if callable(nodes) else _lookup(nodes)
        self.top_k = check_int("similarity_top_k", similarity_top_k, 1)
        self.cutoff = (
            None if similarity_cutoff is None else check_number("similarity_cutoff", similarity_cutoff)
        )
        self.candidates = check_int("candidates", candidates, 1)

    def retrieve(self, question: str) -> list[NodeWithScore]:
        """The nodes for a question, best first; none where nothing passes the cut-off. ValueError for a question that
        is empty, RetrievalError where the search fails or names a node that is not there."""
        if not check_text("question", question).strip():
            raise ValueError("question must not be empty")
        if not search_words(question) and not find_operators(
            question
        ):  # "???": vectors would be near to something
            return []
        try:
            found = self.ranked(question)
        except Exception as error:
            raise RetrievalError(
                f"the search for {question!r:.80} failed: {type(error).__name__}: {error}"
            ) from error
        return [one for one in found if self.cutoff is None or one.score >= self.cutoff]

    def ranked(self, question: str) -> list[NodeWithScore]:
        """The best nodes by the last stage, before the cut-off."""
        depth = self.top_k if self.reranker is None else max(self.top_k, self.candidates)
        ranking = self.source.search([question], depth)[0]
        nodes = self.find([one for one, _ in ranking])
        if self.reranker is not None:
            first = _Given(ranking)
            texts = {one: node.indexed for one, node in nodes.items()}
            ranking = TwoStageSearch(first, self.reranker, texts, depth).search([question], self.top_k)[0]
        return [NodeWithScore(nodes[one], float(score)) for one, score in ranking[: self.top_k]]


class _Given:
    """A ranking that is known already, as a first stage."""

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking

    def search(self, queries: Sequence[str], k: int) -> list[Ranking]:
        return [self.ranking[:k] for _ in queries]


def _lookup(nodes: Any) -> Callable[[list[str]], dict[str, Node]]:
    """A function from ids to {id: Node}."""
    listed = nodes.values() if isinstance(nodes, Mapping) else nodes if isinstance(nodes, Sequence) else ()
    if not listed or not all(isinstance(one, Node) for one in listed):
        raise ValueError(
            f"nodes must be Nodes by their ids, a list of Nodes or a function, got {describe(nodes)}"
        )
    known = nodes if isinstance(nodes, Mapping) else {one.id: one for one in listed}
    return lambda ids: {one: known[one] for one in ids}
