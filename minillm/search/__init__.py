"""Search: texts as counts (TF-IDF) and words as vectors (word2vec), keywords (BM25), sentences as vectors (exact index,
an encoder trained here), both at once (RRF), and models fine-tuned on pairs of texts."""

from minillm.search.bm25 import BM25
from minillm.search.confidence import choose_threshold, decline_curve, share_named
from minillm.search.cooccurrence import cooccurrence_vectors
from minillm.search.cross_encoder import CrossEncoder
from minillm.search.cross_training import train_cross_encoder
from minillm.search.dense import DenseRetriever
from minillm.search.encoder_training import train_encoder
from minillm.search.exact import ExactIndex
from minillm.search.fields import FieldSearch
from minillm.search.fine_tuning import fine_tune
from minillm.search.fusion import group_ranking, rrf
from minillm.search.hard_negatives import mine_hard_negatives
from minillm.search.hybrid import HybridSearch
from minillm.search.losses import (
    contrastive_loss,
    cosine_similarity_loss,
    mnr_loss,
    online_contrastive_loss,
    triplet_loss,
)
from minillm.search.open_encoder import open_encoder
from minillm.search.pairs import Pair, ScoredPair, labelled_pairs, read_pairs
from minillm.search.passage_index import PassageIndex
from minillm.search.retrieval_evaluator import InformationRetrievalEvaluator
from minillm.search.self_grading import Choice, choose, first_places, hold_out
from minillm.search.sentence_encoder import SentenceEncoder
from minillm.search.similarity_evaluator import EmbeddingSimilarityEvaluator
from minillm.search.snippets import Snippet, find_snippet
from minillm.search.static_encoder import StaticEncoder
from minillm.search.two_stage import TwoStageSearch
from minillm.search.unique_batches import unique_batches
from minillm.search.vectors import BagOfWords, OneHot, SparseRows, TfIdf, Word2Vec, WordVectors
from minillm.search.weighted import WeightedSearch, standard_scores
from minillm.search.words import content_words, english_words, plain_words, search_words, standard_words

__all__ = [
    "BM25",
    "BagOfWords",
    "Choice",
    "CrossEncoder",
    "DenseRetriever",
    "EmbeddingSimilarityEvaluator",
    "ExactIndex",
    "FieldSearch",
    "HybridSearch",
    "InformationRetrievalEvaluator",
    "OneHot",
    "Pair",
    "PassageIndex",
    "ScoredPair",
    "SentenceEncoder",
    "Snippet",
    "SparseRows",
    "StaticEncoder",
    "TfIdf",
    "TwoStageSearch",
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
    "fine_tune",
    "first_places",
    "group_ranking",
    "hold_out",
    "labelled_pairs",
    "mine_hard_negatives",
    "mnr_loss",
    "online_contrastive_loss",
    "open_encoder",
    "plain_words",
    "read_pairs",
    "rrf",
    "search_words",
    "share_named",
    "standard_scores",
    "standard_words",
    "train_cross_encoder",
    "train_encoder",
    "triplet_loss",
    "unique_batches",
]
