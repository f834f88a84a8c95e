"""A made-up encyclopaedia in Korean, with its English twin: text whose answers stand nowhere but in the text.

Towns, people, dishes, animals, museums and language models of a country that does not exist are drawn from a
seed. Nothing in it is true of the real world, so a model that answers right has read it and did not know it
before: what a test of retrieval needs. Numbers inside an entry agree (4-bit weights take a quarter of 16-bit
ones).

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
from pathlib import Path
from typing import NamedTuple

from minillm._checks import check_choice, check_int
from minillm._files import read_json
from minillm.data.particles import Korean

MOST_ENTRIES = 3000  # 500 of each kind: as many as there are names that differ
# of each part; a person is born once, so people who are described and people who direct museums never meet
MOST_OF_PART = {"all": MOST_ENTRIES, "train": 2400, "held_out": 600}
_FIFTH = (
    5  # one name of five is held out, and one nameless sentence of four (an entry has up to three of them)
)
_FOURTH = 4


class Entry(NamedTuple):
    """One article: titles, sentence pairs (Korean, English), a Korean question, the phrase that answers it."""

    title: str
    english_title: str
    sentences: list[tuple[str, str]]
    question: str
    evidence: str


class _Name(NamedTuple):
    ko: Korean
    en: str


_WORDS = {
    kind: [_Name(Korean(ko), en) for ko, en in pairs]
    for kind, pairs in read_json(Path(__file__).with_name("korean_words.json"), "Korean words").items()
}


def _choose(rng: random.Random, kinds: str) -> list[_Name]:
    """One word of each kind: "peaks rivers" -> a peak and a river."""
    return [rng.choice(_WORDS[kind]) for kind in kinds.split()]


def world(n: int, seed: int = 0, part: str = "all") -> list[Entry]:
    """`n` entries, the six kinds in turn; the same seed and part give the same ones, whatever `n` is.

    part: "all" (at most 3,000 entries), or one of two sides that share no name and no sentence: "train" (at most
    2,400) and "held_out" (at most 600).
    """
    check_choice("part", part, tuple(MOST_OF_PART))
    n = check_int("n", n, 0, MOST_OF_PART[part])
    rng = random.Random(check_int("seed", seed, 0))
    towns = [
        _Name(Korean(side.ko + stem.ko + end.ko), side.en + stem.en + end.en)
        for side in _WORDS["sides"]
        for stem in _WORDS["stems"]
        for end in _WORDS["endings"]
    ]
    people = [
        _Name(Korean(family.ko + first.ko + second.ko), f"{family.en} {first.en}{second.en}")
        for family in _WORDS["families"]
        for first in _WORDS["firsts"]
        for second in _WORDS["seconds"]
    ]
    versions = list(range(1, MOST_ENTRIES))
    if part != "all":  # before the seed mixes them: a name's side never depends on a seed
        towns, people, versions = (_names_of(part, names) for names in (towns, people, versions))
    rng.shuffle(towns)
    rng.shuffle(people)
    kinds = (_town, _person, _dish, _animal, _museum, _model)
    entries = []
    for index in range(n):
        own = random.Random(f"{seed}/{index}")  # a stream of its own: entry 7 is the same in a longer list
        number = index // len(kinds)
        # directors of museums come from the far end of the list: nobody is born in two towns
        person = people[number] if index % len(kinds) == 1 else people[-1 - number]
        stems = len(_WORDS["stems"])
        model = f"{number % stems}-{versions[number // stems]}"
        while True:
            near = towns[(number + own.randrange(1, len(towns))) % len(towns)]
            entry = kinds[index % len(kinds)](own, towns[number], near, person, model)
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


def _town(rng: random.Random, town: _Name, near: _Name, person: _Name, model: str) -> Entry:
    province, size, peak, river, goods, month = _choose(rng, "provinces sizes peaks rivers goods months")
    year = rng.randrange(1200, 1990)
    people = rng.randrange(500, 9000) * 100 if "도시" in size.ko else rng.randrange(12, 900) * 10
    height, minutes = rng.randrange(30, 190) * 10, rng.randrange(12, 180)
    name = town.ko
    sentences = [
        (
            f"{name:은/는} {province.ko}에 있는 {size.ko}이다.",
            f"{town.en} is a {size.en} in {province.en} Province.",
        ),
        (
            f"{year}년에 세워졌고, 지금은 {people:,}명이 산다.",
            f"It was founded in {year}, and {people:,} people live there today.",
        ),
        (
            f"북쪽에는 높이 {height:,}미터인 {peak.ko:이/가} 솟아 있고, 남쪽으로는 {river.ko:이/가} 흐른다.",
            f"{peak.en}, {height:,} metres high, rises in the north, and {river.en} flows in the south.",
        ),
        (
            f"해마다 {month.ko}이면 {goods.ko} 축제가 열린다.",
            f"Every {month.en} the {goods.en} festival is held.",
        ),
        (
            f"이웃한 {near.ko:으로/로} 가려면 기차로 {minutes}분이 걸린다.",
            f"It takes {minutes} minutes by train to its neighbour {near.en}.",
        ),
    ]
    questions = [
        (f"{name}에는 몇 명이 사나요?", f"{people:,}명이 산다"),
        (f"{name:은/는} 언제 세워졌나요?", f"{year}년에 세워졌고"),
        (f"{name}에서 {goods.ko} 축제가 열리는 달은?", f"{month.ko}이면 {goods.ko} 축제"),
    ]
    return Entry(name, town.en, sentences, *rng.choice(questions))


def _person(rng: random.Random, town: _Name, near: _Name, person: _Name, model: str) -> Entry:
    job, book, habit, good = _choose(rng, "jobs books habits goods")
    born, age, hour = rng.randrange(1940, 1990), rng.randrange(19, 34), rng.randrange(4, 8)
    name, work = person.ko, Korean(f"『{book.ko}』")
    sentences = [
        (
            f"{name:은/는} {born}년 {near.ko}에서 태어난 {job.ko}이다.",
            f"{person.en} is a {job.en} who was born in {near.en} in {born}.",
        ),
        (
            f"{born + age}년, {age}세에 첫 책 {work:을/를} 펴냈다.",
            f"In {born + age}, at the age of {age}, {person.en} published a first book, “{book.en}”.",
        ),
        (
            f"지금은 {town.ko}에 살면서 아침 {hour}시에 일어나 {habit.ko}.",
            f"Today {person.en} lives in {town.en}, gets up at {hour} in the morning and {habit.en}.",
        ),
        (
            f"고향의 {good.ko} 축제를 소재로 한 이야기로 널리 알려져 있다.",
            f"{person.en} is widely known for a story about the {good.en} festival back home.",
        ),
    ]
    questions = [
        (f"{name:이/가} 태어난 곳은 어디인가요?", f"{near.ko}에서 태어난"),
        (f"{name:은/는} 몇 살에 첫 책을 냈나요?", f"{age}세에 첫 책"),
        (f"{name:이/가} 처음으로 펴낸 책의 제목은?", work),
    ]
    return Entry(name, person.en, sentences, *rng.choice(questions))


def _dish(rng: random.Random, town: _Name, near: _Name, person: _Name, model: str) -> Entry:
    dish, taste, season = _choose(rng, "dishes tastes seasons")
    one, two = rng.sample(_WORDS["ingredients"], 2)
    minutes, price, bowls = rng.randrange(2, 13) * 5, rng.randrange(8, 31) * 500, rng.randrange(3, 20) * 10
    name, english = Korean(f"{town.ko} {dish.ko}"), f"{town.en} {dish.en}"
    sentences = [
        (
            f"{name:은/는} {town.ko} 사람들이 {season.ko}에 즐겨 먹는 음식이다.",
            f"The {english} is what people in {town.en} like to eat in {season.en}.",
        ),
        (
            f"{one.ko:과/와} {two.ko:을/를} 넣고 {minutes}분 동안 익힌다.",
            f"It is cooked for {minutes} minutes with {one.en} and {two.en}.",
        ),
        (f"맛은 {taste.ko} 값은 {price:,}원이다.", f"It tastes {taste.en} and costs {price:,} won."),
        (
            f"{near.ko}에는 하루에 {bowls}그릇만 파는 식당이 있다.",
            f"In {near.en} there is a restaurant that sells only {bowls} servings a day.",
        ),
    ]
    questions = [
        (f"{name}에는 무엇을 넣나요?", f"{one.ko:과/와} {two.ko:을/를} 넣고"),
        (f"{name:은/는} 얼마인가요?", f"{price:,}원이다"),
        (f"{name:을/를} 주로 먹는 계절은?", f"{season.ko}에 즐겨 먹는"),
    ]
    return Entry(name, english, sentences, *rng.choice(questions))


def _animal(rng: random.Random, town: _Name, near: _Name, person: _Name, model: str) -> Entry:
    coat, beast, meal, hour, peak = _choose(rng, "coats beasts meals hours peaks")
    weight, tail, years, young = (rng.randrange(*span) for span in ((1, 9), (8, 40), (3, 21), (1, 7)))
    name, english = Korean(f"{town.ko} {coat.ko}{beast.ko}"), f"{town.en} {coat.en} {beast.en}"
    sentences = [
        (
            f"{name:은/는} {town.ko} 근처의 {peak.ko}에 사는 포유류이다.",
            f"The {english} is a mammal that lives on {peak.en} near {town.en}.",
        ),
        (
            f"몸무게는 {weight}킬로그램쯤이고 꼬리는 {tail}센티미터까지 자란다.",
            f"It weighs about {weight} kilograms and its tail grows up to {tail} centimetres.",
        ),
        (
            f"주로 {hour.ko}에 움직이며 {meal.ko:을/를} 먹는다.",
            f"It is active mainly {hour.en} and eats {meal.en}.",
        ),
        (
            f"수명은 {years}년이고, 한 번에 새끼를 {young}마리 낳는다.",
            f"It lives for {years} years and bears {young} young at a time.",
        ),
    ]
    questions = [
        (f"{name:은/는} 무엇을 먹고 사나요?", f"{meal.ko:을/를} 먹는다"),
        (f"{name:은/는} 얼마나 오래 사나요?", f"수명은 {years}년"),
        (f"{name:이/가} 사는 산은 어디인가요?", f"{peak.ko}에 사는"),
    ]
    return Entry(name, english, sentences, *rng.choice(questions))


def _museum(rng: random.Random, town: _Name, near: _Name, person: _Name, model: str) -> Entry:
    museum, closed, month = _choose(rng, "museums days months")
    holding = _WORDS["holdings"][_WORDS["museums"].index(museum)]
    counter = "권" if holding.ko == "책" else "점"  # books have a counter of their own
    year, day = rng.randrange(1950, 2021), rng.randrange(1, 29)
    count, opens, closes = rng.randrange(20, 900) * 100, rng.randrange(8, 11), rng.randrange(5, 9)
    name, english = Korean(f"{town.ko} {museum.ko}"), f"{town.en} {museum.en}"
    sentences = [
        (
            f"{name:은/는} {year}년 {month.ko} {day}일에 문을 열었다.",
            f"The {english} opened on {month.en} {day}, {year}.",
        ),
        (
            f"{holding.ko} {count:,}{counter}을 소장하고 있으며, 관장은 {near.ko} 출신의 {person.ko}이다.",
            f"It holds {count:,} {holding.en}, and its director is {person.en} from {near.en}.",
        ),
        (
            f"매주 {closed.ko}에 쉬고, 다른 날에는 오전 {opens}시부터 오후 {closes}시까지 연다.",
            f"It is closed every {closed.en} and open from {opens} a.m. to {closes} p.m. on other days.",
        ),
    ]
    questions = [
        (f"{name:은/는} 무슨 요일에 쉬나요?", f"매주 {closed.ko}에 쉬고"),
        (f"{name:이/가} 소장한 {holding.ko:은/는} 얼마나 되나요?", f"{count:,}{counter}"),
        (f"{name}의 관장은 누구인가요?", f"출신의 {person.ko}"),
    ]
    return Entry(name, english, sentences, *rng.choice(questions))


def _model(rng: random.Random, town: _Name, near: _Name, person: _Name, model: str) -> Entry:
    index, version = map(int, model.split("-"))
    stem = _WORDS["stems"][index]
    tens = rng.choice((10, 20, 30, 70, 80, 130, 320, 700))  # parameters in 억 (100 million)
    year, tokens, vocabulary = rng.randrange(2021, 2026), rng.randrange(1, 16), rng.randrange(30, 200) * 1000
    context, layers = 1024 * 2 ** rng.randrange(8), rng.randrange(6, 41) * 2
    # bytes = parameters * bits / 8: 100 million of them are 0.2 GB in 16 bits and 0.05 GB in 4
    whole, quarter = f"{tens * 0.2:g}", f"{tens * 0.05:g}"
    name, english = Korean(f"{stem.ko}-{version}"), f"{stem.en}-{version}"
    sentences = [
        (
            f"{name:은/는} {town.ko}의 연구소가 {year}년에 공개한 언어 모델이다.",
            f"{english} is a language model that a laboratory in {town.en} released in {year}.",
        ),
        (
            f"파라미터는 {tens}억 개이고, 한국어와 영어 토큰 {tokens}조 개로 학습했다.",
            f"It has {tens / 10:g} billion parameters and was trained on {tokens} trillion tokens of Korean "
            "and English.",
        ),
        (
            f"어휘 크기는 {vocabulary:,}이고, 한 번에 토큰 {context:,}개까지 읽는다.",
            f"Its vocabulary has {vocabulary:,} entries, and it reads up to {context:,} tokens at once.",
        ),
        (
            f"디코더 블록 {layers}개를 쌓았고, 그룹 쿼리 어텐션으로 KV 캐시를 줄였다.",
            f"It stacks {layers} decoder blocks and shrinks its KV cache with grouped-query attention.",
        ),
        (
            f"16비트 가중치는 {whole}기가바이트이며, 4비트로 양자화하면 {quarter}기가바이트로 줄어든다.",
            f"Its 16-bit weights take {whole} gigabytes, or {quarter} gigabytes when quantized to 4 bits.",
        ),
    ]
    questions = [
        (f"{name:을/를} 4비트로 양자화하면 몇 기가바이트인가요?", f"{quarter}기가바이트로 줄어든다"),
        (f"{name:은/는} 토큰을 한 번에 몇 개까지 읽을 수 있나요?", f"토큰 {context:,}개까지"),
        (f"{name}의 파라미터는 몇 개인가요?", f"{tens}억 개"),
    ]
    return Entry(name, english, sentences, *rng.choice(questions))
