"""How good is an embedding model, or any search, at finding the texts that answer a question.

    evaluator = InformationRetrievalEvaluator(queries, corpus, relevant_docs)      dicts, as in sentence-transformers
    evaluator(encoder)            {"cosine_accuracy@1": .., "cosine_mrr@10": .., "cosine_ndcg@10": .., ...}
    evaluator(BM25())             {"accuracy@1": .., ...}: any retriever, fitted to the corpus where it can be

Book: 11.3 임베딩 모델 미세 조정하기. Held against: sentence_transformers' InformationRetrievalEvaluator.
Leaves out: CSV files, several similarities at once, graded answers (`ndcg` has them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minillm._checks import check_text, describe, is_listing
from minillm.evaluation.retrieval import places_of, retrieval_metrics
from minillm.search._ids import DocumentId, Ranking, check_texts
from minillm.search.dense import DenseRetriever


class InformationRetrievalEvaluator:
    """Questions, texts, and which texts answer which question.

    queries: id -> question. corpus: id -> text. relevant_docs: id of a question -> the ids of the texts that answer it;
    a question without any is left out. name: stands in front of the figures' names. at_k: the places up to which each
    figure looks, as `retrieval_metrics` takes them. Raises ValueError for anything else.
    """

    def __init__(
        self,
        queries: Mapping[DocumentId, str],
        corpus: Mapping[DocumentId, str],
        relevant_docs: Mapping[DocumentId, Iterable[DocumentId]],
        name: str = "",
        **at_k: Sequence[int],
    ) -> None:
        for what, value in (("queries", queries), ("corpus", corpus), ("relevant_docs", relevant_docs)):
            if not isinstance(value, Mapping) or not value:
                raise ValueError(f"{what} must be a dict that holds something, got {describe(value)}")
        for one, right in relevant_docs.items():
            if not is_listing(right):
                raise ValueError(f"relevant_docs[{one!r}] must be a set of ids, got {describe(right)}")
        gold = {one: set(relevant_docs[one]) for one in queries if relevant_docs.get(one)}
        if not gold:
            raise ValueError("relevant_docs must name a text for at least one of the queries, got none")
        unknown = next((one for right in gold.values() for one in right if one not in corpus), None)
        if unknown is not None:
            raise ValueError(f"relevant_docs must name texts of the corpus, {unknown!r} is none")
        try:  # so that of equal scores the lower id comes first, as in the peer
            self.ids = sorted(corpus)
        except TypeError:
            raise ValueError("the ids of the corpus must be all str or all int") from None
        self.queries = check_texts("queries", [queries[one] for one in gold])
        self.corpus = check_texts("corpus", [corpus[one] for one in self.ids])
        self.gold, self.name = list(gold.values()), check_text("name", name)
        self.at_k = places_of(**at_k)
        self.depth = max(k for places in self.at_k.values() for k in places)

    def rankings(self, model: Any) -> list[Ranking]:
        """What an encoder, or a retriever, finds for each query, as deep as a figure looks: [(id, score), ...] each.
        Raises ValueError for anything else."""
        retriever = DenseRetriever(model) if hasattr(model, "encode") else model
        if not callable(getattr(retriever, "search", None)):
            raise ValueError(f"model must be an encoder or a retriever, got {describe(model)}")
        if hasattr(retriever, "fit"):
            retriever.fit(self.corpus, self.ids)
        return retriever.search(self.queries, self.depth)

    def __call__(self, model: Any) -> dict[str, float]:
        """The figures, means over the queries; those of an encoder are called cosine_..., as in the peer. Raises
        ValueError for what is neither an encoder nor a retriever."""
        front = f"{self.name}_" if self.name else ""
        front += "cosine_" if hasattr(model, "encode") else ""
        found = retrieval_metrics(self.rankings(model), self.gold, **self.at_k)
        return {front + figure: value for figure, value in found.items()}
