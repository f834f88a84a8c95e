"""Questions about Python in a learner's own words, and the sections of the language reference that answer them.

Written for this course, to judge a search engine: headings are not copied, and every question names where its
answer stands. Six ways of asking (`Question.kind`), because methods fail at different ones:
    keyword     the words of the reference itself                        easy for BM25
    paraphrase  the same thing in everyday words
    symptom     what went wrong, not what it is called
    learner     short questions in the English of somebody who is learning English too
    hard        hardly a word in common with the answer                  hard for BM25
    first       what a newcomer asks first, with its usual name: decorator, walrus, *args

Book: 10.4 검색 방식을 조합해 성능 높이기, 13.3 LLM 평가하기.
Gold sections and evidence phrases were checked in the texts of CPython 3.10, 3.11, 3.12 and 3.13.
"""

from __future__ import annotations

from pathlib import Path

from minillm._files import BadFileError, read_json
from minillm.data.documents import Question

PYTHON_QUESTIONS = Path(__file__).with_name("python_questions.json")


def python_questions() -> list[Question]:
    """The questions on `python_docs()`: `gold` are its document ids, `evidence` phrases of the passage."""
    return read_questions(PYTHON_QUESTIONS)


def read_questions(path: str | Path) -> list[Question]:
    """Questions from a JSON file: a list of {"question", "gold": [id, ...]}, and if wanted "evidence" and "kind".

    Raises BadFileError (a ValueError) that names the file and the entry when it is not of this form.
    """
    entries = read_json(path, "question file")
    refusal = f"question file {str(path)!r}"
    if not isinstance(entries, list) or not entries:
        raise BadFileError(f"{refusal} must hold a list of questions")
    questions = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BadFileError(f"{refusal}: entry {number} must be an object, got {entry!r}")
        text, kind = entry.get("question"), entry.get("kind", "")
        gold, evidence = entry.get("gold"), entry.get("evidence", [])
        texts = isinstance(text, str) and text.strip() and isinstance(kind, str)
        if not texts or not gold or not _all_text(gold) or not _all_text(evidence):
            raise BadFileError(
                f'{refusal}: entry {number} must have "question" (text) and "gold" (a list of document ids), '
                f'and may have "evidence" (a list of phrases) and "kind" (text); got {entry!r}'
            )
        questions.append(Question(text, tuple(gold), tuple(evidence), kind))
    return questions


def _all_text(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) and value for value in values)
