"""What BLEU, chrF and ROUGE share: counted n-grams, and the references that belong to each hypothesis.

Book: 13.3.1 정량적 지표. Peers: sacrebleu's streams of references, one list for each set of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from minillm._checks import describe, is_listing


def ngram_counts(items: Sequence[Any], n: int) -> Counter:
    """How often each run of n items occurs: "abab", 2 -> {("a", "b"): 2, ("b", "a"): 1}; empty where n are too many."""
    return Counter(tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def with_references(hypotheses: Any, references: Any) -> list[tuple[str, list[str]]]:
    """Each hypothesis with its references.

    references: a list of str, one a hypothesis, or several such lists, as sacrebleu takes them: the first reference of
    every hypothesis, then the second of every one. None stands for a reference that a hypothesis does not have; each
    needs one at least. Raises ValueError for lists of other lengths and for anything that is no str.
    """
    hypotheses = _texts("hypotheses", hypotheses)
    if isinstance(references, str) or not is_listing(references):
        raise ValueError(f"references must be a list of str, or lists of them, got {describe(references)}")
    references = list(references)
    streams = [references] if any(isinstance(one, str) for one in references) else references
    streams = [_texts("references", stream, gaps=True) for stream in streams]
    for stream in streams:
        if len(stream) != len(hypotheses):
            raise ValueError(
                f"references must have one text for each of {len(hypotheses)} hypotheses, got {len(stream)}; several "
                "references are several lists, each as long as the hypotheses"
            )
    rows = [[text for text in row if text is not None] for row in zip(*streams)]
    lacking = next((place for place, row in enumerate(rows) if not row), None)
    if not rows or lacking is not None:
        raise ValueError(f"every hypothesis needs a reference, got none for {lacking or 'the first one'}")
    return list(zip(hypotheses, rows))


def _texts(name: str, values: Any, gaps: bool = False) -> list[str | None]:
    if isinstance(values, str) or not is_listing(values):
        raise ValueError(f"{name} must be a list of str, got {describe(values)}")
    values = list(values)
    wrong = next((v for v in values if not isinstance(v, str) and not (gaps and v is None)), "")
    if wrong != "":
        raise ValueError(f"{name} must hold str, got {describe(wrong)}")
    if not values:
        raise ValueError(f"{name} must not be empty")
    return values
