"""Small Korean news of made-up people, with questions and the places of every name: text to answer from, and to label.

    김민준은 어제 부산에서 서점을 열었다. 이서연은 지난주 대구에서 상을 받았다.
    상을 받은 사람은 누구인가?                 이서연     characters 22 to 25
    김민준은 어디에서 서점을 열었는가?           부산       characters 8 to 10

A question names what happened, so that the sentence has to be found before the name in it. Held out by construction:
part="train" and part="held_out" share no person's name. Book: 3.5.1 파이프라인을 활용한 추론. Left out: anything true.
"""

from __future__ import annotations

import random
from typing import Any

from minillm._checks import check_choice, check_int
from minillm.data.particles import with_particle

FAMILIES = "김이박최정강조윤장임한오서신권황안송류홍"
GIVEN = (
    "민준", "서연", "도윤", "지우", "하준", "서윤", "예준", "지민", "주원", "하은",
    "지호", "채원", "준우", "수아", "현우", "다은", "유진", "은서", "성민", "가영",
    "태현", "나연", "동현", "소영", "재원", "혜진", "상훈", "미경", "진호", "보람",
)  # fmt: skip
CITIES = (
    "서울", "부산", "대구", "인천", "광주", "대전", "울산", "수원", "춘천", "전주",
    "제주", "강릉", "포항", "여수", "목포", "안동", "경주", "청주",
    "천안", "군산", "통영", "속초", "거제", "김해", "진주", "원주",
)  # fmt: skip
DAYS = (
    "어제", "지난주", "지난달", "오늘", "월요일", "화요일", "수요일",
    "목요일", "금요일", "토요일", "일요일", "작년", "올해", "그저께",
)  # fmt: skip
DONE = (  # (what, said of it in the past, in front of a noun, as a question)
    ("서점", "열었다", "연", "열었는가"), ("빵집", "차렸다", "차린", "차렸는가"),
    ("상", "받았다", "받은", "받았는가"), ("집", "샀다", "산", "샀는가"),
    ("책", "냈다", "낸", "냈는가"), ("노래", "불렀다", "부른", "불렀는가"),
    ("그림", "팔았다", "판", "팔았는가"), ("강연", "맡았다", "맡은", "맡았는가"),
    ("영화", "찍었다", "찍은", "찍었는가"), ("나무", "심었다", "심은", "심었는가"),
    ("다리", "고쳤다", "고친", "고쳤는가"), ("시계", "찾았다", "찾은", "찾았는가"),
)  # fmt: skip
FILLERS = (  # without a name, a town or a day
    "날씨는 맑고 바람은 약했다.", "많은 이웃이 소식을 듣고 모였다.",
    "가족과 친구가 함께 축하했다.", "준비에는 오랜 시간이 걸렸다.",
    "자세한 사정은 아직 알려지지 않았다.", "마을에는 웃음이 끊이지 않았다.",
    "비슷한 일이 전에도 있었다고 한다.", "누구나 쉽게 할 수 있는 일은 아니다.",
    "앞으로의 계획은 정해지지 않았다.", "길가에는 꽃이 가득 피어 있었다.",
    "소문은 금세 온 동네에 퍼졌다.", "사진은 신문에도 실렸다.",
)  # fmt: skip
ASKED = ("PER", "LOC", "DAT")


def korean_events(
    n: int = 200, seed: int = 0, part: str = "all", events: int = 1, fillers: int = 2
) -> list[dict[str, Any]]:
    """`n` examples: {"context", "question", "answer": {"text", "start"}, "entities": [{"start", "end", "label"}, ...]}.

    events: sentences that tell what somebody did, 1 to 12. fillers: sentences that tell nothing, up to so many,
    anywhere between them. Labels: PER a person, LOC a town, DAT a day. start, end: characters of the context. A longer list
    begins with the shorter one of the same seed. part: "all", or "train" and "held_out", which share no name of a
    person. ValueError for numbers out of range.
    """
    check_choice("part", part, ("all", "train", "held_out"))
    check_int("events", events, 1, len(DONE)), check_int("fillers", fillers, 0, 100)
    rng = random.Random(check_int("seed", seed, 0))
    people = [
        family + given
        for a, family in enumerate(FAMILIES)
        for b, given in enumerate(GIVEN)
        if part == "all" or ((a + b) % 5 == 4) == (part == "held_out")  # every fifth, of all families
    ]
    return [_example(rng, people, events, fillers) for _ in range(check_int("n", n, 1))]


def _example(rng: random.Random, people: list[str], events: int, fillers: int) -> dict[str, Any]:
    names, towns = rng.sample(people, events), rng.sample(CITIES, events)
    days, done = [rng.choice(DAYS) for _ in range(events)], rng.sample(DONE, events)
    order: list[int | None] = [*range(events), *[None] * rng.randint(0, fillers)]
    rng.shuffle(order)
    context, entities = "", {}
    for number in order:
        context += " " if context else ""
        if number is None:
            context += rng.choice(FILLERS)
            continue
        said = (
            (names[number], "PER", with_particle(names[number], "은/는") + " "),
            (days[number], "DAT", days[number] + " "),
            (towns[number], "LOC", towns[number] + "에서 "),
        )
        for word, label, text in said:
            entities[number, label] = {"start": len(context), "end": len(context) + len(word), "label": label}
            context += text
        what, past, _, _ = done[number]
        context += f"{with_particle(what, '을/를')} {past}."
    number, asked = rng.randrange(events), rng.choice(ASKED)
    what, _, before, question = done[number]
    thing, name = with_particle(what, "을/를"), with_particle(names[number], "은/는")
    text = {
        "PER": f"{thing} {before} 사람은 누구인가?",
        "LOC": f"{name} 어디에서 {thing} {question}?",
        "DAT": f"{name} 언제 {thing} {question}?",
    }[asked]
    own = entities[number, asked]
    answer = {"text": context[own["start"] : own["end"]], "start": own["start"]}
    found = sorted(entities.values(), key=lambda entity: entity["start"])
    return {"context": context, "question": text, "answer": answer, "entities": found}
