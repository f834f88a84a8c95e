"""Search: texts as counts (TF-IDF) and words as vectors (word2vec), keywords (BM25), sentences as vectors (exact index,
IVF and HNSW, an encoder trained here) and both at once (RRF)."""

from minillm.search.ann import HNSWIndex, IVFIndex, NSWIndex
from minillm.search.bm25 import BM25
from minillm.search.confidence import choose_threshold, decline_curve, share_named
from minillm.search.cooccurrence import cooccurrence_vectors
from minillm.search.cross_encoder import CrossEncoder
from minillm.search.dense import DenseRetriever
from minillm.search.encoder_training import train_encoder
from minillm.search.exact import ExactIndex
from minillm.search.fields import FieldSearch
from minillm.search.fusion import group_ranking, rrf
from minillm.search.hybrid import HybridSearch
from minillm.search.losses import contrastive_loss, cosine_similarity_loss, mnr_loss
from minillm.search.passage_index import PassageIndex
from minillm.search.self_grading import Choice, choose, first_places, hold_out
from minillm.search.sentence_encoder import SentenceEncoder
from minillm.search.snippets import Snippet, find_snippet
from minillm.search.static_encoder import StaticEncoder
from minillm.search.vectors import BagOfWords, OneHot, SparseRows, TfIdf, Word2Vec, WordVectors
from minillm.search.weighted import WeightedSearch, standard_scores
from minillm.search.words import content_words, english_words, plain_words, search_words, standard_words

__all__ = [
    "BM25",
    "BagOfWords",
    "Choice",
    "CrossEncoder",
    "DenseRetriever",
    "ExactIndex",
    "FieldSearch",
    "HNSWIndex",
    "HybridSearch",
    "IVFIndex",
    "NSWIndex",
    "OneHot",
    "PassageIndex",
    "SentenceEncoder",
    "Snippet",
    "SparseRows",
    "StaticEncoder",
    "TfIdf",
    "WeightedSearch",
    "Word2Vec",
    "WordVectors",
    "choose",
    "choose_threshold",
    "content_words",
    "contrastive_loss",
    "cooccurrence_vectors",
    "cosine_similarity_loss",
    "decline_curve",
    "english_words",
    "find_snippet",
    "first_places",
    "group_ranking",
    "hold_out",
    "mnr_loss",
    "plain_words",
    "rrf",
    "search_words",
    "share_named",
    "standard_scores",
    "standard_words",
    "train_encoder",
]
