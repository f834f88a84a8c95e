"""Search: texts as counts (TF-IDF) and words as vectors (word2vec), keywords (BM25), sentences as vectors (exact index,
an encoder trained here), both at once (RRF), and a database for vectors."""

from importlib import import_module
from typing import Any

_ROOMS = {
    "bm25": ("BM25",),
    "confidence": ("choose_threshold", "decline_curve", "share_named"),
    "cooccurrence": ("cooccurrence_vectors",),
    "cross_encoder": ("CrossEncoder",),
    "dense": ("DenseRetriever",),
    "encoder_training": ("train_encoder",),
    "exact": ("ExactIndex",),
    "fields": ("FieldSearch",),
    "fusion": ("group_ranking", "rrf"),
    "hybrid": ("HybridSearch",),
    "losses": ("contrastive_loss", "cosine_similarity_loss", "mnr_loss"),
    "passage_index": ("PassageIndex",),
    "self_grading": ("Choice", "choose", "first_places", "hold_out"),
    "sentence_encoder": ("SentenceEncoder",),
    "snippets": ("Snippet", "find_snippet"),
    "static_encoder": ("StaticEncoder",),
    "store": ("VectorStore", "hybrid_weights"),
    "vectors": ("BagOfWords", "OneHot", "SparseRows", "TfIdf", "Word2Vec", "WordVectors"),
    "weighted": ("WeightedSearch", "standard_scores"),
    "words": ("content_words", "english_words", "plain_words", "search_words", "standard_words"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: a process that only writes into a store waits for no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
