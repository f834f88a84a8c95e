"""120 answers of a RAG system with what is wrong with them: written by us, half English, half Korean.

20 questions about places and people that do not exist, so that no model knows them; each asks two things, and two
passages say one each. Three answers to a question are right, in different words, and three are wrong:

    number, entity, swapped     one fact is changed            contradiction   one fact is denied
    addition                    one more that no passage says  partly          one half of the question is left out
    off_topic                   a right answer to another question

Every answer stands with four passages in a ranking: both, one or none of them are the question's own. Which one is
fixed apart from the answer: right answers have the passages that wrong ones have. Thresholds come from "tune",
figures are given on "held_out": no question is in both. Weak: short sentences by one hand, each wrong in one way.
Book: 13.3.5 RAG 평가.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minillm._checks import check_choice
from minillm._files import BadFileError, read_bytes

RAG_ANSWERS = Path(__file__).with_name("rag_answers.jsonl")
KINDS = ("right", "number", "entity", "swapped", "contradiction", "addition", "partly", "off_topic")
# places, among the four passages, of the question's own two; a half answers with one missing, or both
PLACES = ((0, 1), (2, 3), (0, None), (None, 3), (0, 3), (None, None))


@dataclass(frozen=True)
class RagAnswer:
    """An answer and its labels.

    answer_supported: the question's own passages say all of it (whether or not they were found); on_topic: it is about
    the question; complete: it answers all of it. useful: for each context whether it helps; recalled: for each of
    the reference's two sentences whether the contexts say it.
    """

    question: str
    answer: str
    reference: str
    contexts: tuple[str, ...]
    kind: str  # one of KINDS
    language: str  # "en", "ko"
    half: str  # "tune", "held_out"
    facts: tuple[str, str]  # the question's own passages, found or not
    answer_supported: bool
    on_topic: bool
    complete: bool
    useful: tuple[bool, ...]
    recalled: tuple[bool, bool]


def rag_answers(half: str = "all") -> list[RagAnswer]:
    """All 120 answers, 60 of them right, or one half ("tune", "held_out": 60 each), always in the same order."""
    check_choice("half", half, ("all", "tune", "held_out"))
    return [one for one in _answers() if half in ("all", one.half)]


@lru_cache(maxsize=1)
def _answers() -> tuple[RagAnswer, ...]:
    text = read_bytes(RAG_ANSWERS, "file of answers").decode("utf-8")
    try:
        rows = [json.loads(line) for line in text.splitlines()]
        return tuple(one for number in range(len(rows)) for one in _of(rows, number))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadFileError(f"file of answers {str(RAG_ANSWERS)!r} is damaged: {error}") from None


def _of(rows: list[dict], number: int) -> list[RagAnswer]:
    row = rows[number]
    like = [one for one in rows if (one["language"], one["half"]) == (row["language"], row["half"])]
    at = like.index(row)
    others = [like[(at + step) % len(like)] for step in range(1, len(like))]
    wrong = [(one["kind"], one["text"]) for one in row["wrong"]]
    if len(wrong) == 2:
        wrong.append(("off_topic", others[0]["right"][number % 3]))
    found = []
    for right in (True, False):
        for turn in range(3):
            kind, answer = ("right", row["right"][turn]) if right else wrong[turn]
            # the same places for the right and the wrong answers of a question
            places = PLACES[(number + 2 * turn) % len(PLACES)]
            contexts = [other["facts"][turn % 2] for other in others[1:]] + [others[2]["facts"][1 - turn % 2]]
            for fact, place in zip(row["facts"], places):
                if place is not None:
                    contexts[place] = fact
            found.append(
                RagAnswer(
                    row["question"], answer, row["right"][1], tuple(contexts), kind, row["language"],
                    row["half"], tuple(row["facts"]), kind in ("right", "partly"), kind != "off_topic",
                    kind not in ("partly", "off_topic"), tuple(one in row["facts"] for one in contexts),
                    tuple(place is not None for place in places),
                )
            )  # fmt: skip
    return found
