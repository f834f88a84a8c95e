"""Questions that Python's language reference does not answer, and from where on an answer is declined.

A learner asks more than a text holds: recipes and the weather (`kind` "far"), pip, numpy or another language
("near"), in English or in Korean. Together with `python_questions()` they say how sure a search must be
before it quotes a passage; `DECLINING` is what they said, and the help of `minillm ask` shows it.

Book: 9.1 검색 증강 생성(RAG), 13.3 LLM 평가하기.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from minillm._files import BadFileError, read_bytes

UNANSWERABLE_QUESTIONS = Path(__file__).with_name("unanswerable_questions.jsonl")


@dataclass(frozen=True)
class Declining:
    """An answer is declined when its passage says less than `least_share` of the question's words, weighed by idf.

    The rest is what that did to the half of the questions that it was not taken from: `declined` of `unanswerable`
    questions rightly, `wrongly` of `answerable` ones.
    """

    least_share: float
    declined: int
    unanswerable: int
    wrongly: int
    answerable: int


DECLINING = Declining(least_share=0.24, declined=11, unanswerable=15, wrongly=3, answerable=63)


@dataclass(frozen=True)
class UnanswerableQuestion:
    """A question without an answer in the text: `language` "en" or "ko", `kind` "far" or "near"."""

    text: str
    language: str
    kind: str


def unanswerable_questions() -> list[UnanswerableQuestion]:
    """Thirty questions, 18 in English and 12 in Korean, that no section of `python_docs()` answers."""
    lines = read_bytes(UNANSWERABLE_QUESTIONS, "question file").decode("utf-8").splitlines()
    try:
        rows = [json.loads(line) for line in lines]
        return [UnanswerableQuestion(row["question"], row["language"], row["kind"]) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFileError(f"question file {str(UNANSWERABLE_QUESTIONS)!r} is damaged: {error}") from None
