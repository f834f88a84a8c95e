"""Search: texts as counts (TF-IDF) and words as vectors (word2vec), keywords (BM25), sentences as vectors (exact index,
IVF and HNSW, an encoder trained here), both at once (RRF), models fine-tuned on pairs of texts, a database for vectors.
"""

from minillm._lazy import lazy

_ROOMS = {
    "ann": ("HNSWIndex", "IVFIndex", "NSWIndex"),
    "ann.counting": ("count_distances",),
    "batches_without_doubles": ("unique_batches",),
    "bm25": ("BM25",),
    "confidence": ("choose_threshold", "decline_curve", "share_named"),
    "cooccurrence": ("cooccurrence_vectors",),
    "cross_encoder": ("CrossEncoder",),
    "cross_training": ("train_cross_encoder",),
    "dense": ("DenseRetriever",),
    "encoder_sources": ("open_encoder",),
    "encoder_training": ("train_encoder",),
    "exact": ("ExactIndex",),
    "fields": ("FieldSearch",),
    "fine_tuning": ("fine_tune",),
    "fusion": ("group_ranking", "rrf"),
    "hard_negatives": ("mine_hard_negatives",),
    "hashed_words": ("HashedWords",),
    "hybrid": ("HybridSearch",),
    "losses": (
        "contrastive_loss",
        "cosine_similarity_loss",
        "mnr_loss",
        "online_contrastive_loss",
        "triplet_loss",
    ),
    "pairs": ("Pair", "ScoredPair", "labelled_pairs", "read_pairs"),
    "passage_index": ("PassageIndex",),
    "picture_search": ("PictureSearch",),
    "retrieval_evaluator": ("InformationRetrievalEvaluator",),
    "self_grading": ("Choice", "choose", "first_places", "hold_out"),
    "sentence_encoder": ("SentenceEncoder",),
    "similarity_evaluator": ("EmbeddingSimilarityEvaluator",),
    "snippets": ("Snippet", "find_snippet"),
    "static_encoder": ("StaticEncoder",),
    "store": ("VectorStore", "hybrid_weights"),
    "two_stage": ("TwoStageSearch",),
    "vectors": ("BagOfWords", "OneHot", "SparseRows", "TfIdf", "Word2Vec", "WordVectors"),
    "weighted": ("WeightedSearch", "standard_scores"),
    "words": ("content_words", "english_words", "plain_words", "search_words", "standard_words"),
}
# A process that only writes into a store waits for no torch.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
