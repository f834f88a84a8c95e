"""Korean text: little texts about language models, a made-up encyclopaedia, and questions on both.

The first documents are 36 short texts on the ideas of the course (토큰, 어텐션, 양자화, 검색 증강 생성 ...),
written for it; the rest is drawn by `korean_world`, as much as asked for, with particles (조사) chosen by
sound. The encyclopaedia has an English twin, sentence by sentence.

Book: 2.2 텍스트를 임베딩으로 변환하기, 9.1 검색 증강 생성(RAG), 10.4 검색 방식을 조합해 성능 높이기.
Left out: real-world facts, dialogue, spelling mistakes.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from minillm._checks import check_choice, check_flag, check_int
from minillm._files import read_json
from minillm.data.documents import Document, Question
from minillm.data.korean_world import MOST_OF_PART, world

LANGUAGES = ("ko", "en")


@lru_cache(maxsize=1)
def _written() -> tuple[dict, ...]:
    return tuple(read_json(Path(__file__).with_name("korean_texts.json"), "Korean texts"))


def _written_of(n: int, part: str, language: str = "ko") -> tuple[dict, ...]:
    """The written texts among the first n documents of a part: they are to learn from, none is held out, and they are
    in Korean only."""
    check_choice("part", part, tuple(MOST_OF_PART)), check_choice("language", language, LANGUAGES)
    written = _written() if part != "held_out" and language == "ko" else ()
    return written[: check_int("n", n, 1, MOST_OF_PART[part] + len(written))]


def korean_documents(n: int = 200, seed: int = 0, part: str = "all", language: str = "ko") -> list[Document]:
    """`n` Korean documents (1 to 3,036) of three to five sentences: the written texts, then made-up entries.

    Ids are "llm-..." for the written texts and "world-0", "world-1", ... for the entries. A longer list
    begins with the shorter one of the same seed; the written texts do not depend on the seed.

    part: "all"; or "train" (at most 2,436) and "held_out" (at most 600, no written texts), which share no sentence
    and no name, whatever n and the seeds are. language: "ko", or "en" for the entries alone, in English and under the
    same ids: "world-7" is one article in both.
    """
    written = [Document(text["id"], text["title"], text["text"]) for text in _written_of(n, part, language)]
    of = LANGUAGES.index(language)
    return written + [
        Document(f"world-{number}", entry[of], " ".join(both[of] for both in entry.sentences))
        for number, entry in enumerate(world(n - len(written), seed, part))
    ]


def korean_questions(
    n: int = 200, seed: int = 0, part: str = "all", language: str = "ko", every: bool = False
) -> list[Question]:
    """Questions on `korean_documents(n, seed, part, language)`: one or two a written text, one an entry.

    `gold` is the one document that answers; `evidence` the phrase that does. `kind` is "written" or "world".
    language: of the questions and the evidence, "ko" or "en". every: all three questions of an entry.
    """
    written = _written_of(n, part, language)
    start, every = 2 * LANGUAGES.index(language), check_flag("every", every)
    questions = [
        Question(question["question"], (text["id"],), tuple(question["evidence"]), "written")
        for text in written
        for question in text["questions"]
    ]
    return questions + [
        Question(asked[start], (f"world-{number}",), (asked[start + 1],), "world")
        for number, entry in enumerate(world(n - len(written), seed, part))
        for asked in entry.asked
        if every or asked.question == entry.question
    ]


def korean_english_pairs(n: int = 1000, seed: int = 0, part: str = "all") -> list[tuple[str, str]]:
    """`n` different pairs (Korean sentence, English sentence) of the encyclopaedia, in its order.

    part: "all", or "train" and "held_out", which share no sentence in either language.
    Raises ValueError for n below 1 or above what the part's entries hold (about 8,000, 6,500 and 1,600).
    """
    n = check_int("n", n, 1)
    check_choice("part", part, tuple(MOST_OF_PART))
    pairs: dict[str, str] = {}
    for entry in world(MOST_OF_PART[part], seed, part):
        for korean, english in entry.sentences:
            pairs.setdefault(korean, english)
        if len(pairs) >= n:
            return list(pairs.items())[:n]
    raise ValueError(f"n must be at most {len(pairs)} (the sentences there are), got {n}")
