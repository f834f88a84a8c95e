"""How good is it? Perplexity for language models, ranking metrics for search, a baseline for classifiers."""

from minillm.evaluation.compressors import compressed_bits_per_byte
from minillm.evaluation.naive_bayes import CharacterNaiveBayes, character_ngrams
from minillm.evaluation.paired import Paired, paired
from minillm.evaluation.perplexity import bits_per_byte, negative_log_likelihood, perplexity
from minillm.evaluation.ranking import hit_at_k, map_score, mrr, ndcg, recall_at_k

__all__ = [
    "CharacterNaiveBayes",
    "Paired",
    "bits_per_byte",
    "character_ngrams",
    "compressed_bits_per_byte",
    "hit_at_k",
    "map_score",
    "mrr",
    "ndcg",
    "negative_log_likelihood",
    "paired",
    "perplexity",
    "recall_at_k",
]
