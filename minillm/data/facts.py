"""Facts that nobody can know: bridges, bakeries, trains, festivals, ships, libraries, statues and inns of towns that
do not exist, in English and Korean, each with a passage that tells it, one that does not, a question and its answers.

    passage      The Gaongol bridge was finished in 1932 by the engineer Kim Gaon. It is 412 metres long and 9 wide ...
    distractor   The Gaongol bridge was painted green last spring ...            of the same thing, without the answer
    question     How long is the Gaongol bridge?                                 answers ("412",)

Whoever answers right has read the passage: a model without it can only guess. The passages of one kind are built alike,
so that a search must find the right name among many. `contains_answer` is the usual mark of such tests: an answer
stands in the text, after both are made even.

Book: 9.1 검색 증강 생성(RAG). Left out: style, facts that need two passages, questions without an answer.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from minillm._checks import check_choice, check_int, check_text, describe
from minillm.data.documents import Document
from minillm.data.facts_texts import KINDS, drawn_words
from minillm.data.korean import LANGUAGES

MOST_FACTS = 640  # as many as there are towns of one name each, rounded


@dataclass(frozen=True)
class Fact:
    """A question, every form of its answer that counts, the document that tells it, and one that is near to it.

    id: "bridge-0"; its documents are "bridge-0" and "bridge-0-near"; in both languages the same.
    """

    id: str
    kind: str
    question: str
    answers: tuple[str, ...]
    document: Document
    distractor: Document


def facts(n: int = 120, seed: int = 0, language: str = "en") -> list[Fact]:
    """`n` facts (1 to 640), their kinds in turn; a longer list begins with the shorter one of the same seed, and the
    other language tells the same facts. language: "en" or "ko". ValueError for numbers out of range."""
    n, seed = check_int("n", n, 1, MOST_FACTS), check_int("seed", seed, 0)
    of = LANGUAGES.index(check_choice("language", language, LANGUAGES))
    towns, people = drawn_words(random.Random(seed))
    found = []
    for number in range(n):
        kind = list(KINDS)[number % len(KINDS)]
        rng = random.Random(f"{seed}/{number}")
        told = KINDS[kind](rng, towns[number], towns[-1 - number % 60], people[number])
        asked = rng.choice(told.asked)
        name = f"{kind}-{number // len(KINDS)}"
        texts = (" ".join(pair[of] for pair in pairs) for pairs in (told.sentences, told.near))
        documents = [
            Document(f"{name}{end}", told.title[of], text) for end, text in zip(("", "-near"), texts)
        ]
        found.append(Fact(name, kind, asked.question[of], asked.answers[of], *documents))
    return found


def fact_documents(some: Sequence[Fact]) -> list[Document]:
    """The documents of facts: first what tells them, then what is near."""
    return [one.document for one in some] + [one.distractor for one in some]


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text: "It is 1,412 m long." contains "1412" and "1,412", not "412".

    Case, punctuation, white space and commas in numbers do not count. A number must stand whole ("6:40" does not
    contain "6"), and so must a word of Latin letters; Korean particles may follow. ValueError for no answers, or an
    answer without a letter or digit.
    """
    if isinstance(answers, str) or not answers:
        raise ValueError(f"answers must be a list of texts, one at least, got {describe(answers)}")
    text = even(check_text("text", text))
    return any(_standing(even(check_text("an answer", one))).search(text) for one in answers)


def even(text: str) -> str:
    """Text as answers are compared: NFKC, lower case, numbers without commas, no other punctuation, single spaces."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", unicodedata.normalize("NFKC", text).casefold())
    text = re.sub(r"(?<=\d)([.:])(?=\d)|[^\w\s]", lambda sign: sign[1] or " ", text)
    return " ".join(text.replace("_", " ").split())


def _standing(answer: str) -> re.Pattern:
    if not answer:
        raise ValueError("an answer must hold a letter or a digit")
    before = {True: r"(?<![\d])(?<!\d[.:])", False: r"(?<![a-z])"}[answer[0].isdigit()]
    after = {True: r"(?!\d|[.:]\d)", False: r"(?![a-z])"}[answer[-1].isdigit()]
    latin = [edge.isdigit() or edge.isascii() for edge in (answer[0], answer[-1])]
    return re.compile((before if latin[0] else "") + re.escape(answer) + (after if latin[1] else ""))
