"""Korean news headlines in seven topics, made up: text to classify, with the topics that YNAT has.

    라면값 3개월 연속 올라                     경제
    월드컵 앞두고 라면값 3개월 연속 올라           경제      what stands before 앞두고 is only the occasion
    물가 상승 여파에 월드컵 두고 말 많아          스포츠    so the order decides, not the words
    한빛, 3연승 달리며 선두                  스포츠    one name in several topics
    한빛, 자회사 지분 매각                   경제

A headline is a subject and what is said of it, and often an occasion in front of it, drawn from any topic. Companies
(which own teams, too), people and towns occur in several topics, and so do words: 시장 is a market and a mayor,
대표 leads a firm or a party, or plays for the country.

Held out by construction: with part="train" and part="held_out" no subject meets the same predicate on both sides (names
are divided, every fifth one held out; for other subjects a checksum of the pair decides). The predicates are shared.

Book: 3.4.1 데이터 준비 (which takes YNAT: Park et al. 2021, KLUE). Left out: anything true.
"""

from __future__ import annotations

import random
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_int
from minillm._files import read_json

TOPICS = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")  # in the order of YNAT's label ids
SHARES = (8, 17, 25, 17, 12, 10, 11)  # of a hundred headlines: uneven, as in YNAT
MOST_OF_PART = {"all": 20_000, "train": 16_000, "held_out": 4_000}
_FIFTH = 5
_OCCASION = 0.75  # of the headlines begin with one


@lru_cache(maxsize=1)
def _words() -> dict[str, Any]:
    return read_json(Path(__file__).with_name("korean_headlines.json"), "Korean headlines")


def korean_headlines(n: int = 1000, seed: int = 0, part: str = "all") -> list[dict[str, str]]:
    """`n` different headlines, each {"text": ..., "label": one of TOPICS}; labels are drawn with SHARES.

    A longer list begins with the shorter one of the same seed and part. part: "all" (at most 20,000), or two sides:
    "train" (at most 16,000) and "held_out" (at most 4,000), which share no headline, no name and no pair of a subject
    with a predicate, whatever n and the seeds are.
    """
    check_choice("part", part, tuple(MOST_OF_PART))
    n = check_int("n", n, 1, MOST_OF_PART[part])
    rng = random.Random(check_int("seed", seed, 0))
    found: dict[str, str] = {}
    while len(found) < n:
        (topic,) = rng.choices(TOPICS, SHARES)
        found.setdefault(_headline(rng, topic, part), topic)
    return [{"text": text, "label": topic} for text, topic in found.items()]


def _headline(rng: random.Random, topic: str, part: str) -> str:
    """A subject and what is said of it, and before them, often, the occasion."""
    subject, said = _main(rng, topic, part)
    if rng.random() >= _OCCASION:
        return said
    kind, of = rng.choice(("before", "after")), rng.choice(TOPICS)
    event = rng.choice([event for event in _words()["topics"][of][kind] if event != subject])
    return f"{event} {rng.choice(_words()[kind])} {said}"


def _main(rng: random.Random, topic: str, part: str) -> tuple[str, str]:
    """(subject, the headline without an occasion), drawn until the pair, or the name in it, is of the part."""
    words = _words()["topics"][topic]
    kind = rng.choices(("event", "thing", "name"), (9, 5, 6))[0]
    if kind == "name":
        return _about_a_name(rng, words, part)
    while True:
        if kind == "event":
            subject = rng.choice(words["before"] + words["after"])
            predicate = rng.choice(_words()["anything"])
        else:
            subject, predicate = rng.choice(words["things"]), rng.choice(words["predicates"])
        if part == "all" or _held_out(f"{subject}/{predicate}") == (part == "held_out"):
            return subject, f"{subject} {_numbered(rng, predicate)}"


def _about_a_name(rng: random.Random, words: dict[str, list[str]], part: str) -> tuple[str, str]:
    names = _names(part)
    # kinds with more to say come up more often
    kind, predicate = rng.choice([(kind, said) for kind in names for said in words.get(kind, ())])
    subject = rng.choice(names[kind])
    gap = "" if predicate.startswith(",") else " "  # "한빛, 3연승 ..." but "한빛 감독 ..."
    return subject, f"{subject}{gap}{_numbered(rng, predicate)}"


@lru_cache(maxsize=3)
def _names(part: str) -> dict[str, list[str]]:
    """The names of a part, by kind."""
    words = _words()
    people = [
        family + first + second
        for family in words["families"]
        for first in words["firsts"]
        for second in words["seconds"]
        if first != second  # 서서, 은은: nobody is called so
    ]
    names = {"companies": words["companies"], "places": words["places"], "regions": words["regions"]}
    names["people"] = people
    if part == "all":
        return names
    return {
        kind: [
            name for place, name in enumerate(own) if (place % _FIFTH == _FIFTH - 1) == (part == "held_out")
        ]
        for kind, own in names.items()
    }


def _numbered(rng: random.Random, predicate: str) -> str:
    """The predicate with its numbers, 2 to 9."""
    return predicate.replace("{n}", str(rng.randint(2, 9))).replace("{m}", str(rng.randint(2, 9)))


def _held_out(pair: str) -> bool:
    """Whether a pair is of the held-out side: every fifth, by its checksum."""
    return zlib.crc32(pair.encode()) % _FIFTH == 0


def headline_events(kind: str = "before") -> dict[str, tuple[str, ...]]:
    """The events of each topic: kind "before" those that are expected (월드컵 앞두고), "after" the others."""
    check_choice("kind", kind, ("before", "after"))
    return {topic: tuple(words[kind]) for topic, words in _words()["topics"].items()}
