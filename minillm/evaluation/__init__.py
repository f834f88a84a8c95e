"""How good is it? Perplexity, benchmarks and ratings for models, BLEU and ROUGE for texts, nDCG and more for search."""

from minillm.evaluation.agreement import cohen_kappa
from minillm.evaluation.answers import exact_match, f1
from minillm.evaluation.bleu import bleu, bleu_parts, sentence_bleu
from minillm.evaluation.calibration import expected_calibration_error
from minillm.evaluation.chrf import chrf
from minillm.evaluation.compressors import compressed_bits_per_byte
from minillm.evaluation.correlation import mean_ranks, pearson, spearman
from minillm.evaluation.detection import (
    Detection,
    auc,
    auc_interval,
    detection,
    threshold_at,
    wilson_interval,
)
from minillm.evaluation.drift import centroid_distance, ks_statistic, psi
from minillm.evaluation.harness import generate_until, log_likelihoods, multiple_choice
from minillm.evaluation.naive_bayes import CharacterNaiveBayes, character_ngrams
from minillm.evaluation.paired import Paired, paired
from minillm.evaluation.paired_correlation import PairedCorrelation, paired_spearman
from minillm.evaluation.pass_at_k import pass_at_k
from minillm.evaluation.perplexity import bits_per_byte, negative_log_likelihood, perplexity
from minillm.evaluation.rag import (
    answer_relevance,
    context_precision,
    context_recall,
    embedding_support,
    faithfulness,
    lexical_support,
)
from minillm.evaluation.ranking import hit_at_k, map_score, mrr, ndcg, precision_at_k, recall_at_k
from minillm.evaluation.ratings import Rating, bradley_terry, elo
from minillm.evaluation.readability import readability, rubric, true_reward
from minillm.evaluation.retrieval import retrieval_metrics
from minillm.evaluation.rouge import rouge, rouge_parts

__all__ = [
    "CharacterNaiveBayes",
    "Detection",
    "Paired",
    "PairedCorrelation",
    "Rating",
    "answer_relevance",
    "auc",
    "auc_interval",
    "bits_per_byte",
    "bleu",
    "bleu_parts",
    "bradley_terry",
    "centroid_distance",
    "character_ngrams",
    "chrf",
    "cohen_kappa",
    "compressed_bits_per_byte",
    "context_precision",
    "context_recall",
    "detection",
    "elo",
    "embedding_support",
    "exact_match",
    "expected_calibration_error",
    "f1",
    "faithfulness",
    "generate_until",
    "hit_at_k",
    "ks_statistic",
    "lexical_support",
    "log_likelihoods",
    "map_score",
    "mean_ranks",
    "mrr",
    "multiple_choice",
    "ndcg",
    "negative_log_likelihood",
    "paired",
    "paired_spearman",
    "pass_at_k",
    "pearson",
    "perplexity",
    "precision_at_k",
    "psi",
    "readability",
    "recall_at_k",
    "retrieval_metrics",
    "rouge",
    "rouge_parts",
    "rubric",
    "sentence_bleu",
    "spearman",
    "threshold_at",
    "true_reward",
    "wilson_interval",
]
