"""Search: texts as counts (TF-IDF) and words as vectors (word2vec), keywords (BM25), sentences as vectors (exact index,
an encoder trained here), both at once (RRF), and a database for vectors."""

from minillm._lazy import lazy

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
# A process that only writes into a store waits for no torch.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
