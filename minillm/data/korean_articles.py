"""The articles of the made-up country: six kinds, each a few sentences in Korean and English, and three questions.

    Entry("가온골", "Gaongol", [("가온골은 ...", "Gaongol is ..."), ...], [Asked(...), ...], question, evidence)

What an article says is drawn by a generator of its own; which names it is about is decided in korean_world.py. Numbers
inside an entry agree (4-bit weights take a quarter of 16-bit ones). Book: 9.1 검색 증강 생성(RAG).
Left out: style; every entry of a kind is built on the same few sentences, and asked the same three questions.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from minillm._files import read_json
from minillm.data.particles import Korean


class Asked(NamedTuple):
    """A question and the phrase of the article that answers it, in both languages."""

    question: str
    evidence: str
    english_question: str
    english_evidence: str


class Entry(NamedTuple):
    """One article: titles, sentence pairs (Korean, English), its three questions, and the one that was drawn of them
    with the phrase that answers it, in Korean."""

    title: str
    english_title: str
    sentences: list[tuple[str, str]]
    asked: list[Asked]
    question: str
    evidence: str


class Name(NamedTuple):
    ko: Korean
    en: str


WORDS = {
    kind: [Name(Korean(ko), en) for ko, en in pairs]
    for kind, pairs in read_json(Path(__file__).with_name("korean_words.json"), "Korean words").items()
}


def choose(rng: random.Random, kinds: str) -> list[Name]:
    """One word of each kind: "peaks rivers" -> a peak and a river."""
    return [rng.choice(WORDS[kind]) for kind in kinds.split()]


def counted(amount: int | str, unit: str) -> str:
    """An amount with its unit in English: 1 kilogram, 2 kilograms, 0.5 gigabytes."""
    return f"{amount} {unit}" if str(amount) == "1" else f"{amount} {unit}s"


def _entry(rng: random.Random, title: str, english: str, sentences: list, asked: list) -> Entry:
    asked = [Asked(*one) for one in asked]
    return Entry(title, english, sentences, asked, *rng.choice(asked)[:2])


def _town(rng: random.Random, town: Name, near: Name, person: Name, model: str) -> Entry:
    province, size, peak, river, goods, month = choose(rng, "provinces sizes peaks rivers goods months")
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
        (
            f"{name}에는 몇 명이 사나요?", f"{people:,}명이 산다",
            f"How many people live in {town.en}?", f"{people:,} people live there",
        ),
        (
            f"{name:은/는} 언제 세워졌나요?", f"{year}년에 세워졌고",
            f"When was {town.en} founded?", f"founded in {year}",
        ),
        (
            f"{name}에서 {goods.ko} 축제가 열리는 달은?", f"{month.ko}이면 {goods.ko} 축제",
            f"In which month is the {goods.en} festival of {town.en}?", f"Every {month.en} the {goods.en} festival",
        ),
    ]  # fmt: skip
    return _entry(rng, name, town.en, sentences, questions)


def _person(rng: random.Random, town: Name, near: Name, person: Name, model: str) -> Entry:
    job, book, habit, good = choose(rng, "jobs books habits goods")
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
        (
            f"{name:이/가} 태어난 곳은 어디인가요?", f"{near.ko}에서 태어난",
            f"Where was {person.en} born?", f"was born in {near.en}",
        ),
        (
            f"{name:은/는} 몇 살에 첫 책을 냈나요?", f"{age}세에 첫 책",
            f"How old was {person.en} when the first book came out?", f"at the age of {age}",
        ),
        (
            f"{name:이/가} 처음으로 펴낸 책의 제목은?", work,
            f"What is the title of the first book by {person.en}?", f"“{book.en}”",
        ),
    ]  # fmt: skip
    return _entry(rng, name, person.en, sentences, questions)


def _dish(rng: random.Random, town: Name, near: Name, person: Name, model: str) -> Entry:
    dish, taste, season = choose(rng, "dishes tastes seasons")
    one, two = rng.sample(WORDS["ingredients"], 2)
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
        (
            f"{name}에는 무엇을 넣나요?", f"{one.ko:과/와} {two.ko:을/를} 넣고",
            f"What goes into the {english}?", f"with {one.en} and {two.en}",
        ),
        (
            f"{name:은/는} 얼마인가요?", f"{price:,}원이다",
            f"How much does the {english} cost?", f"costs {price:,} won",
        ),
        (
            f"{name:을/를} 주로 먹는 계절은?", f"{season.ko}에 즐겨 먹는",
            f"In which season do people eat the {english}?", f"like to eat in {season.en}",
        ),
    ]  # fmt: skip
    return _entry(rng, name, english, sentences, questions)


def _animal(rng: random.Random, town: Name, near: Name, person: Name, model: str) -> Entry:
    coat, beast, meal, hour, peak = choose(rng, "coats beasts meals hours peaks")
    weight, tail, years, young = (rng.randrange(*span) for span in ((1, 9), (8, 40), (3, 21), (1, 7)))
    name, english = Korean(f"{town.ko} {coat.ko}{beast.ko}"), f"{town.en} {coat.en} {beast.en}"
    sentences = [
        (
            f"{name:은/는} {town.ko} 근처의 {peak.ko}에 사는 포유류이다.",
            f"The {english} is a mammal that lives on {peak.en} near {town.en}.",
        ),
        (
            f"몸무게는 {weight}킬로그램쯤이고 꼬리는 {tail}센티미터까지 자란다.",
            f"It weighs about {counted(weight, 'kilogram')} and its tail grows up to {tail} centimetres.",
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
        (
            f"{name:은/는} 무엇을 먹고 사나요?", f"{meal.ko:을/를} 먹는다",
            f"What does the {english} eat?", f"eats {meal.en}",
        ),
        (
            f"{name:은/는} 얼마나 오래 사나요?", f"수명은 {years}년",
            f"How long does the {english} live?", f"lives for {years} years",
        ),
        (
            f"{name:이/가} 사는 산은 어디인가요?", f"{peak.ko}에 사는",
            f"On which mountain does the {english} live?", f"lives on {peak.en}",
        ),
    ]  # fmt: skip
    return _entry(rng, name, english, sentences, questions)


def _museum(rng: random.Random, town: Name, near: Name, person: Name, model: str) -> Entry:
    museum, closed, month = choose(rng, "museums days months")
    holding = WORDS["holdings"][WORDS["museums"].index(museum)]
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
        (
            f"{name:은/는} 무슨 요일에 쉬나요?", f"매주 {closed.ko}에 쉬고",
            f"On which day of the week is the {english} closed?", f"closed every {closed.en}",
        ),
        (
            f"{name:이/가} 소장한 {holding.ko:은/는} 얼마나 되나요?", f"{count:,}{counter}",
            f"How many {holding.en} does the {english} hold?", f"holds {count:,} {holding.en}",
        ),
        (
            f"{name}의 관장은 누구인가요?", f"출신의 {person.ko}",
            f"Who is the director of the {english}?", f"its director is {person.en}",
        ),
    ]  # fmt: skip
    return _entry(rng, name, english, sentences, questions)


def _model(rng: random.Random, town: Name, near: Name, person: Name, model: str) -> Entry:
    index, version = map(int, model.split("-"))
    stem = WORDS["stems"][index]
    tens = rng.choice((10, 20, 30, 70, 80, 130, 320, 700))  # parameters in 억 (100 million)
    year, tokens, vocabulary = rng.randrange(2021, 2026), rng.randrange(1, 16), rng.randrange(30, 200) * 1000
    context, layers = 1024 * 2 ** rng.randrange(8), rng.randrange(6, 41) * 2
    # bytes = parameters * bits / 8: 100 million of them are 0.2 GB in 16 bits and 0.05 GB in 4
    ko_whole, ko_quarter = f"{tens * 0.2:g}", f"{tens * 0.05:g}"
    whole, quarter = counted(ko_whole, "gigabyte"), counted(ko_quarter, "gigabyte")
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
            f"16비트 가중치는 {ko_whole}기가바이트이며, 4비트로 양자화하면 {ko_quarter}기가바이트로 줄어든다.",
            f"Its 16-bit weights take {whole}, or {quarter} when quantized to 4 bits.",
        ),
    ]
    questions = [
        (
            f"{name:을/를} 4비트로 양자화하면 몇 기가바이트인가요?", f"{ko_quarter}기가바이트로 줄어든다",
            f"How many gigabytes does {english} take in 4 bits?", f"{quarter} when quantized",
        ),
        (
            f"{name:은/는} 토큰을 한 번에 몇 개까지 읽을 수 있나요?", f"토큰 {context:,}개까지",
            f"How many tokens can {english} read at once?", f"up to {context:,} tokens",
        ),
        (
            f"{name}의 파라미터는 몇 개인가요?", f"{tens}억 개",
            f"How many parameters does {english} have?", f"{tens / 10:g} billion parameters",
        ),
    ]  # fmt: skip
    return _entry(rng, name, english, sentences, questions)


KINDS = (_town, _person, _dish, _animal, _museum, _model)
