"""BLEU: of a translation's words, pairs, threes and fours, how many stand in the reference, too?

    p_n   = n-grams that match / n-grams of the hypotheses       over the whole corpus; one that stands m times in the
                                                                 reference matches m times at most (clipping)
    BP    = min(1, exp(1 - r / c))                               c tokens written, r in the references that are nearest
    BLEU  = 100 * BP * (p_1 * p_2 * p_3 * p_4)^(1/4)

A precision alone would reward one sure word; BP, the brevity penalty, takes that back. BLEU counts forms, not meaning:
a particle changes a Korean word, so tokens decide the figure, and a figure without its signature compares with nothing.

Book: 13.3.1 정량적 지표. Papers: Papineni et al. 2002; Post 2018 (signatures). Held against: sacrebleu 2.6 on its own
figures. Leaves out: tokenizers that need a model (ko-mecab, ja-mecab, flores).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import regex

from minillm._checks import check_choice, check_flag, check_int, check_number, describe, is_listing
from minillm.evaluation.ngrams import ngram_counts, with_references

# NIST's mteval-v13a: what is set apart by blanks. Points and commas stay in numbers: 1,000.5
_13A = [
    (regex.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (regex.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (regex.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (regex.compile(r"([0-9])(-)"), r"\1 \2 "),
]
# the same for every script: punctuation (P) beside anything but a digit (N), and every symbol (S)
_INTL = [
    (regex.compile(r"(\P{N})(\p{P})"), r"\1 \2 "),
    (regex.compile(r"(\p{P})(\P{N})"), r" \1 \2"),
    (regex.compile(r"(\p{S})"), r" \1 "),
]
_ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}


def tokenize_13a(text: str) -> list[str]:
    """The tokens of WMT's figures: 'He paid $1,000.5, "twice".' -> He paid $ 1,000.5 , " twice " ."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, apart in _13A:
        text = pattern.sub(apart, text)
    return text.split()


def tokenize_intl(text: str) -> list[str]:
    """As 13a, with the punctuation and symbols of all scripts."""
    for pattern, apart in _INTL:
        text = pattern.sub(apart, text)
    return text.split()


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "13a": tokenize_13a,
    "intl": tokenize_intl,
    "char": lambda text: [character for character in text if not character.isspace()],
    "none": str.split,
}


@dataclass(frozen=True)
class BLEU:
    """score 0..100; precisions 0..100 of each order; brevity_penalty 0..1; tokens written and in the references; the
    matches and n-grams of each order; the signature that belongs to the score."""

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    hypothesis_length: int
    reference_length: int
    matches: tuple[int, ...]
    totals: tuple[int, ...]
    signature: str = ""

    def __str__(self) -> str:
        parts = "/".join(f"{p:.1f}" for p in self.precisions)
        return f"BLEU = {self.score:.2f} {parts} (BP = {self.brevity_penalty:.3f}) {self.signature}"


def bleu(hypotheses: Sequence[str], references: Sequence[Any], **options: Any) -> float:
    """Corpus BLEU, 0..100, with sacrebleu's defaults; arguments, options and errors as `bleu_parts`."""
    return bleu_parts(hypotheses, references, **options).score


def sentence_bleu(hypothesis: str, references: Sequence[str], **options: Any) -> float:
    """BLEU of one text against its references (a list of str), 0..100; orders that are longer than the text are left
    out."""
    if not is_listing(references):  # the letters of a text would be so many references
        raise ValueError(f"references must be a list of str, got {describe(references)}")
    options = {"effective_order": True, **options}
    return bleu([hypothesis], [[one] for one in references], **options)


def bleu_parts(
    hypotheses: Sequence[str],
    references: Sequence[Any],
    max_order: int = 4,
    tokenize: str = "13a",
    smooth: str = "exp",
    smooth_value: float | None = None,
    lowercase: bool = False,
    effective_order: bool = False,
) -> BLEU:
    """Corpus BLEU with everything that it is made of.

    references: a list of str, one a hypothesis, or several such lists (sacrebleu's streams). tokenize: "13a", "intl",
    "char" or "none" (split at blanks). smooth, for orders without a match: "exp" halves a match each time, "floor" puts
    smooth_value (0.1) matches, "add-k" adds smooth_value (1) above order 1, "none" makes the score 0. effective_order:
    only orders of which there are n-grams, for single sentences. Raises ValueError for anything else.
    """
    check_int("max_order", max_order, 1, 32)
    check_choice("tokenize", tokenize, tuple(TOKENIZERS))
    check_choice("smooth", smooth, tuple(DEFAULTS))
    value = DEFAULTS[smooth] if smooth_value is None else check_number("smooth_value", smooth_value, 0)
    check_flag("lowercase", lowercase), check_flag("effective_order", effective_order)
    lower, split = str.lower if lowercase else str, TOKENIZERS[tokenize]
    rows = [
        (split(lower(h.rstrip())), [split(lower(r.rstrip())) for r in refs])
        for h, refs in with_references(hypotheses, references)
    ]
    counts = {len(refs) for _, refs in rows}
    amount = f"{smooth}[{value:.2f}]" if smooth in ("floor", "add-k") else smooth
    signature = "|".join([
        f"nrefs:{counts.pop() if len(counts) == 1 else 'var'}", f"case:{'lc' if lowercase else 'mixed'}",
        f"eff:{'yes' if effective_order else 'no'}", f"tok:{tokenize}", f"smooth:{amount}",
    ])  # fmt: skip
    return replace(bleu_of_tokens(rows, max_order, smooth, value, effective_order), signature=signature)


DEFAULTS = {"exp": 0.0, "floor": 0.1, "add-k": 1.0, "none": 0.0}


Row = tuple[
    Sequence[str], Sequence[Sequence[str]]
]  # the tokens of a hypothesis, and of each of its references


def bleu_of_tokens(
    rows: Sequence[Row],
    max_order: int = 4,
    smooth: str = "exp",
    value: float = 0.0,
    effective_order: bool = False,
) -> BLEU:
    """BLEU of texts that are cut into tokens already; without a signature."""
    matches, totals = matches_and_totals(rows, max_order)
    # p_n = n-grams that match / n-grams of the hypotheses
    precisions = smoothed(matches, totals, smooth, value) if any(matches) else []
    written = sum(len(hypothesis) for hypothesis, _ in rows)
    expected = sum(nearest_length(len(hypothesis), references) for hypothesis, references in rows)
    # BP = min(1, exp(1 - r / c))
    penalty = min(1.0, math.exp(1 - expected / written)) if written else 0.0
    there = len(precisions)  # orders of which there are n-grams
    precisions += [0.0] * (max_order - there)
    # BLEU = BP * (p_1 * p_2 * ...)^(1/n)
    score = penalty * geometric_mean(precisions[: there if effective_order else max_order])
    return BLEU(score, tuple(precisions), penalty, written, expected, tuple(matches), tuple(totals))


def nearest_length(length: int, references: Sequence[Sequence[str]]) -> int:
    """Of the references' lengths the one next to `length`, the shorter of two."""
    return min((len(one) for one in references), key=lambda other: (abs(other - length), other))


def matches_and_totals(rows: Sequence[Row], max_order: int) -> tuple[list[int], list[int]]:
    """Of every order n the n-grams that match, and all n-grams of the hypotheses, over the corpus."""
    matches, totals = [0] * max_order, [0] * max_order
    for hypothesis, references in rows:
        for n in range(1, max_order + 1):
            counts, most = ngram_counts(hypothesis, n), Counter()
            for reference in references:
                most |= ngram_counts(reference, n)  # of each n-gram the most that one reference has
            matches[n - 1] += (counts & most).total()  # clipped
            totals[n - 1] += counts.total()
    return matches, totals


def smoothed(matches: Sequence[int], totals: Sequence[int], smooth: str, value: float) -> list[float]:
    """p_n, 0..100, of each order up to the first one of which there is no n-gram."""
    precisions, half = [], 1.0
    for place, (match, total) in enumerate(zip(matches, totals)):
        if smooth == "add-k" and place:
            match, total = match + value, total + value
        if not total:
            break
        if not match and smooth == "exp":
            half /= 2
            match = half
        elif not match and smooth == "floor":
            match = value
        precisions.append(100 * match / total)
    return precisions


def geometric_mean(values: Sequence[float]) -> float:
    """(v_1 * v_2 * ...)^(1/n), 0 if one is 0 or none is there."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values and all(values) else 0.0
