"""BLEU and chrF against sacrebleu, ROUGE against rouge_score, on random texts with every option."""

import itertools
import random

import pytest

from minillm.evaluation import bleu_parts, chrf, rouge_parts, sentence_bleu
from tests.helpers import soak_count

metrics = pytest.importorskip("sacrebleu.metrics", reason="held against sacrebleu")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="held against rouge_score")
WORDS = [
    "the",
    "cat",
    "Cat's",
    "a",
    "3.5",
    "1,000",
    "$5",
    "well-known",
    "학교에",
    "갔다.",
    "「새」",
    "&quot;",
    "—",
    "x",
    "é!",
]


def texts(rng, count, longest=9):
    return [" ".join(rng.choices(WORDS, k=rng.randrange(longest))) for _ in range(count)]


@pytest.mark.parametrize("tokenize", ["13a", "intl", "char", "none"])
def test_every_option_of_bleu(tokenize):
    rng = random.Random(0)
    for smooth, lowercase, effective, order in itertools.product(
        ["exp", "floor", "add-k", "none"], [False, True], [False, True], [1, 3, 4]
    ):
        theirs = metrics.BLEU(
            tokenize=tokenize, smooth_method=smooth, lowercase=lowercase, effective_order=effective,
            max_ngram_order=order,
        )  # fmt: skip
        written, first, second = (texts(rng, 6) for _ in range(3))
        gaps = [one if place % 2 else None for place, one in enumerate(second)]
        for references in ([first], [first, second], [first, gaps]):
            other = theirs.corpus_score(written, references)
            ours = bleu_parts(written, references, order, tokenize, smooth, None, lowercase, effective)
            assert ours.score == pytest.approx(other.score, abs=1e-9)
            assert ours.precisions == pytest.approx(other.precisions, abs=1e-9)
            assert ours.brevity_penalty == pytest.approx(other.bp)
            assert (ours.hypothesis_length, ours.reference_length) == (other.sys_len, other.ref_len)
            assert str(theirs.get_signature()).startswith(ours.signature + "|version")


def test_single_sentences():
    rng = random.Random(1)
    for smooth, effective in itertools.product(["exp", "floor", "add-k", "none"], [False, True]):
        theirs = metrics.BLEU(smooth_method=smooth, effective_order=effective)
        for _ in range(soak_count(400)):
            written, *references = texts(rng, 3, longest=6)
            found = sentence_bleu(written, references, smooth=smooth, effective_order=effective)
            assert found == pytest.approx(theirs.sentence_score(written, references).score, abs=1e-9)


@pytest.mark.parametrize(("characters", "words"), [(6, 0), (6, 2), (2, 1), (0, 2)])
def test_every_option_of_chrf(characters, words):
    rng = random.Random(2)
    for beta, lowercase, whitespace in itertools.product([1, 2, 3], [False, True], [False, True]):
        theirs = metrics.CHRF(
            char_order=characters, word_order=words, beta=beta, lowercase=lowercase, whitespace=whitespace
        )
        written, first, second = (texts(rng, 6) for _ in range(3))
        for references in ([first], [first, second]):
            found = chrf(written, references, characters, words, beta, lowercase, whitespace)
            assert found == pytest.approx(theirs.corpus_score(written, references).score, abs=1e-9)


def test_rouge_by_sentences():
    rng = random.Random(3)
    kinds = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(kinds)
    for _ in range(soak_count(2000)):
        one, other = ("\n".join(texts(rng, rng.randrange(1, 5), 7)) for _ in range(2))
        theirs = scorer.score(other, one)
        found = rouge_parts(one, other, kinds)
        for kind in kinds:
            assert found[kind] == pytest.approx(theirs[kind], abs=1e-12), (kind, one, other)
