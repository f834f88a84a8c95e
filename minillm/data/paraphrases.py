"""Pairs of made-up sentences with a score from 0 to 5, in Korean and English: to learn and to measure what is alike.

    어제 청년이 시험에 떨어졌다.                  5  The lad did not pass the test a day ago.
                                               2  어제 젊은이가 시험에 붙었다.             another thing was done
                                               0  The doctor got married last week.

    score = 3 if the same thing was done + 1 for the same person + 1 for the same time

Everybody, every time and everything done has two or three wordings in each language. Half of the other things are the
opposite, which shares words: 합격했다, 합격하지 못했다. So shared words do not tell the score.

Held out by construction: with part="train" and part="held_out" nobody does the same thing, or its opposite, on both
sides (a checksum of person and thing decides). The wordings are shared: what is new is how they are put together.

Book: 11.2 언어 모델을 임베딩 모델로 만들기 (which takes KLUE-STS, whose scores are people's). Left out: anything true.
"""

from __future__ import annotations

import random
import zlib
from functools import lru_cache
from pathlib import Path

from minillm._checks import check_choice, check_int, describe, is_listing
from minillm._files import read_json

LANGUAGES = ("ko", "en")
POINTS = {"did": 3, "who": 1, "when": 1}
# for each score: whether the second sentence keeps (did, who, when)
KEPT = {
    5: ((True, True, True),),
    4: ((True, False, True), (True, True, False)),
    3: ((True, False, False),),
    2: ((False, True, True),),
    1: ((False, True, False), (False, False, True)),
    0: ((False, False, False),),
}
_FOURTH = 4  # of the couples of a person and a thing done, with its opposite, about one in four is held out
MOST_OF_PART = {"all": 12_000, "train": 9_000, "held_out": 3_000}

Meaning = tuple[int, int, int]  # (did, who, when), places in the lists of wordings


@lru_cache(maxsize=1)
def _words() -> dict[str, list[dict[str, list[str]]]]:
    return read_json(Path(__file__).with_name("paraphrases.json"), "paraphrases")


def paraphrase_pairs(
    n: int = 1200, seed: int = 0, part: str = "all", languages: tuple[str, ...] = LANGUAGES
) -> list[dict]:
    """`n` pairs, {"sentence1", "sentence2", "score": 0.0 to 5.0, "languages": "ko-en", "meanings": (m1, m2)}.

    Six pairs in a row share their first sentence, with the scores 5, 4, 3, 2, 1, 0; no other pair has it. languages:
    those a sentence may be in, "ko", "en" or both, each sentence's drawn by itself. A longer list begins with the
    shorter one of the same seed, part and languages. meanings: two sentences of a list mean the same where theirs are
    equal, in whichever pairs they stand. part: "all" (at most 12,000), or two sides that share no sentence: "train"
    (9,000) and "held_out" (3,000). ValueError for anything else.
    """
    check_choice("part", part, tuple(MOST_OF_PART))
    check_int("n", n, 1, MOST_OF_PART[part])
    if not is_listing(languages) or not len(languages):
        raise ValueError(f"languages must be a list of 'ko' and 'en', got {describe(languages)}")
    languages = tuple(check_choice("one of languages", one, LANGUAGES) for one in languages)
    rng = random.Random(check_int("seed", seed, 0))
    rows, firsts = [], set()
    while len(rows) < n:
        meaning, language = _meaning(rng, part), rng.choice(languages)
        first = _say(rng, meaning, language)
        if first in firsts:
            continue
        firsts.add(first)
        seconds = {first}  # no pair twice, and no sentence beside itself
        for score, ways in KEPT.items():
            second = first
            while second in seconds:
                other_language, other = rng.choice(languages), _changed(rng, meaning, rng.choice(ways), part)
                second = _say(rng, other, other_language)
            seconds.add(second)
            rows.append({
                "sentence1": first, "sentence2": second, "score": float(score),
                "languages": f"{language}-{other_language}", "meanings": (meaning, other),
            })  # fmt: skip
    return rows[:n]


def _is_of(part: str, meaning: Meaning) -> bool:
    did, who, _ = meaning
    return part == "all" or (zlib.crc32(f"{did // 2}/{who}".encode()) % _FOURTH == 0) == (part == "held_out")


def _meaning(rng: random.Random, part: str) -> Meaning:
    while True:
        meaning = tuple(rng.randrange(len(_words()[kind])) for kind in POINTS)
        if _is_of(part, meaning):
            return meaning


def _changed(rng: random.Random, meaning: Meaning, kept: tuple[bool, ...], part: str) -> Meaning:
    """Another meaning of the part: the same where `kept` says so, and different elsewhere."""
    while True:
        other = list(_meaning(rng, "all"))
        if rng.random() < 0.5:
            other[0] = meaning[0] ^ 1  # the opposite stands beside it: 0 and 1, 2 and 3, ...
        other = tuple(old if same else new for old, new, same in zip(meaning, other, kept, strict=True))
        if _is_of(part, other) and all(
            (a == b) == same for a, b, same in zip(meaning, other, kept, strict=True)
        ):
            return other


def _say(rng: random.Random, meaning: Meaning, language: str) -> str:
    """A sentence of a meaning: wordings and order are drawn."""
    did, who, when = (
        rng.choice(_words()[kind][place][language]) for kind, place in zip(POINTS, meaning, strict=True)
    )
    if language == "ko":
        return f"{when} {who} {did}." if rng.random() < 0.5 else f"{who} {when} {did}."
    text = f"{when}, {who} {did}." if rng.random() < 0.5 else f"{who} {did} {when}."
    return text[0].upper() + text[1:]
