"""Is an answer of a RAG system good, and if not, whose fault is it? Four figures, 0..1 (RAG 평가).

    faithfulness       = mean over statements s of the answer of support(s, contexts)        the writer invents nothing
    answer relevance   = mean over questions q' that the answer answers of similarity(q, q')   it speaks of the question
    context recall     = mean over statements s of the reference of support(s, contexts)     the search found all
    context precision  = (1/R) sum over k of v_k (v_1 + ... + v_k) / k,  v_k useful or not, R = sum of v_k
                                                                                             and ranked it first

The definitions are ragas'; what fills them in is a function: `lexical_support` counts words, `embedding_support`
compares vectors, a language model says yes or no (apps/judging/rag_judges.py). A mean of yes and no is a share.

Book: 13.3.5 RAG 평가. Paper: Es et al. 2024 (RAGAS). Held against: its definitions on cases worked by hand; sklearn's
average_precision_score. Leaves out: answers that decline ("noncommittal" in ragas).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minillm._arrays import as_array
from minillm._checks import check_number, check_text, describe, is_listing
from minillm.evaluation.ngrams import ngram_counts
from minillm.evaluation.ranking import map_score
from minillm.evaluation.rouge import TOKENIZERS

Support = Callable[[str, Sequence[str]], float]  # (statement, contexts) -> 0..1


def faithfulness(statements: Sequence[str], contexts: Sequence[str], support: Support) -> float:
    """How far the contexts say what the answer says. statements: the answer's, one at least."""
    return _mean_support("statements", statements, contexts, support)


def context_recall(reference: Sequence[str], contexts: Sequence[str], support: Support) -> float:
    """How far the contexts say what the right answer needs. reference: its statements, one at least."""
    return _mean_support("reference", reference, contexts, support)


def answer_relevance(
    question: str, questions: Sequence[str], similarity: Callable[[str, str], float]
) -> float:
    """How near the question is to those that the answer would be an answer to (or to the answer itself)."""
    check_text("question", question)
    if not callable(similarity):
        raise ValueError(f"similarity must be a function, got {describe(similarity)}")
    near = [similarity(question, one) for one in _texts("questions", questions)]
    return float(np.mean([check_number("similarity", one) for one in near]))


def context_precision(useful: Sequence[bool]) -> float:
    """Whether what is useful stands first. useful: 0 or 1 for each context, best ranked first; 0.0 where none is."""
    flags = _flags(useful)
    places = [place for place, one in enumerate(flags) if one]
    return map_score([range(len(flags))], [places]) if places else 0.0  # average precision, of one ranking


def _flags(useful: Sequence[bool]) -> list[bool]:
    flags = list(useful) if is_listing(useful) else []
    if not flags:
        raise ValueError(f"useful must hold 0 or 1 for each context, got {describe(useful)}")
    return [_yes(one) for one in flags]


def _yes(one: bool) -> bool:
    if isinstance(one, str) or not np.ndim(one) == 0 or one not in (0, 1):
        raise ValueError(f"useful must hold 0 or 1 for each context, got {describe(one)}")
    return bool(one)


# What stands for support without a language model


def lexical_support(statement: str, contexts: Sequence[str]) -> float:
    """The share of the statement's words (Korean: pairs of neighbouring letters) that some context has."""
    own = _parts(check_text("statement", statement))
    said = set().union(*map(_parts, _texts("contexts", contexts)))
    return len(own & said) / len(own) if own else 0.0


def _parts(text: str) -> set[str]:
    found = set()
    for word in TOKENIZERS["unicode"](text):
        found |= (
            {word} if word.isascii() or len(word) < 2 else {"".join(pair) for pair in ngram_counts(word, 2)}
        )
    return found


def embedding_support(encode: Callable[[list[str]], np.ndarray]) -> Support:
    """support by the cosine with the nearest context, 0..1. encode: from texts to vectors (N, D) of length 1.

    What is near need not say the same: "12 euros" is near "8 euros".
    """
    if not callable(encode):
        raise ValueError(f"encode must be a function, got {describe(encode)}")

    def support(statement: str, contexts: Sequence[str]) -> float:
        texts = [check_text("statement", statement), *_texts("contexts", contexts)]
        vectors = as_array(encode(texts))
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ValueError(
                f"encode must give a vector of finite numbers for each of {len(texts)} texts, got {describe(vectors)}"
            )
        return float(np.clip((vectors[1:] @ vectors[0]).max(), 0, 1))

    return support


def _mean_support(name: str, statements: Sequence[str], contexts: Sequence[str], support: Support) -> float:
    if not callable(support):
        raise ValueError(f"support must be a function, got {describe(support)}")
    texts, passages = _texts(name, statements), _texts("contexts", contexts)
    return float(np.mean([check_number("support", support(one, passages), 0, 1) for one in texts]))


def _texts(name: str, texts: Sequence[str]) -> list[str]:
    if not is_listing(texts) or not (listed := list(texts)):
        raise ValueError(f"{name} must be a list of texts, one at least, got {describe(texts)}")
    return [check_text(name, one) for one in listed]
