"""How good is it? Perplexity for language models, ranking metrics for search, a baseline for classifiers."""

from minillm.evaluation.calibration import expected_calibration_error
from minillm.evaluation.compressors import compressed_bits_per_byte
from minillm.evaluation.correlation import mean_ranks, pearson, spearman
from minillm.evaluation.detection import Detection, auc, detection, threshold_at, wilson_interval
from minillm.evaluation.naive_bayes import CharacterNaiveBayes, character_ngrams
from minillm.evaluation.paired import Paired, paired
from minillm.evaluation.paired_correlation import PairedCorrelation, paired_spearman
from minillm.evaluation.pass_at_k import pass_at_k
from minillm.evaluation.perplexity import bits_per_byte, negative_log_likelihood, perplexity
from minillm.evaluation.ranking import hit_at_k, map_score, mrr, ndcg, precision_at_k, recall_at_k
from minillm.evaluation.readability import readability, rubric, true_reward
from minillm.evaluation.retrieval import retrieval_metrics

__all__ = [
    "CharacterNaiveBayes",
    "Detection",
    "Paired",
    "PairedCorrelation",
    "auc",
    "bits_per_byte",
    "character_ngrams",
    "compressed_bits_per_byte",
    "detection",
    "expected_calibration_error",
    "hit_at_k",
    "map_score",
    "mean_ranks",
    "mrr",
    "ndcg",
    "negative_log_likelihood",
    "paired",
    "paired_spearman",
    "pass_at_k",
    "pearson",
    "perplexity",
    "precision_at_k",
    "readability",
    "recall_at_k",
    "retrieval_metrics",
    "rubric",
    "spearman",
    "threshold_at",
    "true_reward",
    "wilson_interval",
]
