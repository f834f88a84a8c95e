"""A made-up encyclopaedia in Korean, with its English twin: text whose answers stand nowhere but in the text.

Towns, people, dishes, animals, museums and language models of a country that does not exist are drawn from a
seed. Nothing in it is true of the real world, so a model that answers right has read it and did not know it
before: what a test of retrieval needs. The articles themselves are in korean_articles.py.

Held out by construction: with part="train" and part="held_out" no sentence can stand on both sides, whatever n and
the seeds are. Names (towns, people, versions of models) are divided, every fifth one held out; a sentence without a
name ("It is closed every Tuesday ...") belongs to the side that its checksum says, and an entry is drawn again until
all its sentences are of its side. The sentence patterns are shared: what is held out is what they are filled with.

Book: 9.1 검색 증강 생성(RAG).
Left out: style; every entry of a kind is built on the same few sentences.
"""

from __future__ import annotations

import random
import zlib

from minillm._checks import check_choice, check_int
from minillm.data.korean_articles import KINDS, WORDS, Entry, Name
from minillm.data.particles import Korean

MOST_ENTRIES = 3000  # 500 of each kind: as many as there are names that differ
# of each part; a person is born once, so people who are described and people who direct museums never meet
MOST_OF_PART = {"all": MOST_ENTRIES, "train": 2400, "held_out": 600}
_FIFTH = (
    5  # one name of five is held out, and one nameless sentence of four (an entry has up to three of them)
)
_FOURTH = 4


def world(n: int, seed: int = 0, part: str = "all") -> list[Entry]:
    """`n` entries, the six kinds in turn; the same seed and part give the same ones, whatever `n` is.

    part: "all" (at most 3,000 entries), or one of two sides that share no name and no sentence: "train" (at most
    2,400) and "held_out" (at most 600).
    """
    check_choice("part", part, tuple(MOST_OF_PART))
    n = check_int("n", n, 0, MOST_OF_PART[part])
    rng = random.Random(check_int("seed", seed, 0))
    towns = [
        Name(Korean(side.ko + stem.ko + end.ko), side.en + stem.en + end.en)
        for side in WORDS["sides"]
        for stem in WORDS["stems"]
        for end in WORDS["endings"]
    ]
    people = [
        Name(Korean(family.ko + first.ko + second.ko), f"{family.en} {first.en}{second.en}")
        for family in WORDS["families"]
        for first in WORDS["firsts"]
        for second in WORDS["seconds"]
    ]
    versions = list(range(1, MOST_ENTRIES))
    if part != "all":  # before the seed mixes them: a name's side never depends on a seed
        towns, people, versions = (_names_of(part, names) for names in (towns, people, versions))
    rng.shuffle(towns)
    rng.shuffle(people)
    entries = []
    for index in range(n):
        own = random.Random(f"{seed}/{index}")  # a stream of its own: entry 7 is the same in a longer list
        number = index // len(KINDS)
        # directors of museums come from the far end of the list: nobody is born in two towns
        person = people[number] if index % len(KINDS) == 1 else people[-1 - number]
        stems = len(WORDS["stems"])
        model = f"{number % stems}-{versions[number // stems]}"
        while True:
            near = towns[(number + own.randrange(1, len(towns))) % len(towns)]
            entry = KINDS[index % len(KINDS)](own, towns[number], near, person, model)
            names = (towns[number].ko, near.ko, person.ko, entry.title)
            if part == "all" or all(_is_of(part, korean, names) for korean, _ in entry.sentences):
                break
        entries.append(entry)
    return entries


def _names_of(part: str, names: list) -> list:
    """The names of one side: every fifth is held out."""
    return [
        name for place, name in enumerate(names) if (place % _FIFTH == _FIFTH - 1) == (part == "held_out")
    ]


def _is_of(part: str, sentence: str, names: tuple[str, ...]) -> bool:
    """Whether a sentence may stand on this side: one with a name of the side may, the others by their checksum."""
    if any(name in sentence for name in names):
        return True
    return (zlib.crc32(sentence.encode()) % _FOURTH == 0) == (part == "held_out")
