"""Small Korean news of made-up people, with questions and the places of every name: text to answer from, and to label.

    날씨는 맑고 바람은 약했다. 김민준은 어제 부산에서 서점을 열었다.
    서점을 연 사람은 누구인가?                    김민준     characters 16 to 19
    김민준은 어디에서 서점을 열었는가?               부산       characters 24 to 26

Held out by construction: part="train" and part="held_out" share no person's name. Book: 3.5.1 파이프라인을 활용한 추론.
Left out: anything true.
"""

from __future__ import annotations

import random
from typing import Any

from minillm._checks import check_choice, check_int, check_number
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
    "저녁에는 비가 조금 내렸다.", "아이들은 밖에서 뛰어놀았다.",
    "모두가 박수를 보냈다.", "주민들은 반가워했다.",
    "비용은 밝혀지지 않았다.", "작은 음악회도 함께 열렸다.",
    "차가 많아 길이 막혔다.", "이야기는 밤늦게까지 이어졌다.",
)  # fmt: skip
ASKED = ("PER", "LOC", "DAT")


def korean_events(
    n: int = 200, seed: int = 0, part: str = "all", fillers: int = 2, unanswered: float = 0.0
) -> list[dict[str, Any]]:
    """`n` examples: {"context", "question", "answer": {"text", "start"}, "entities": [{"start", "end", "label"}, ...]}.

    The context tells what somebody did, and up to `fillers` (0 to 20) sentences stand around it that tell nothing. Of a
    share `unanswered` of the examples it holds such sentences alone, and the answer is None (easily told: it names
    nobody; where fillers are few, part="held_out" draws contexts that part="train" has, too). Labels: PER a person, LOC
    a town, DAT a day. start, end: characters of the context. A longer list begins with the shorter one of the same
    seed. part: "all", or "train" and "held_out", which share no name of a person. ValueError for numbers out of range.
    """
    check_choice("part", part, ("all", "train", "held_out"))
    check_int("fillers", fillers, 0, len(FILLERS)), check_number("unanswered", unanswered, 0, 1)
    rng = random.Random(check_int("seed", seed, 0))
    people = [
        family + given
        for a, family in enumerate(FAMILIES)
        for b, given in enumerate(GIVEN)
        if part == "all" or ((a + b) % 5 == 4) == (part == "held_out")  # every fifth, of all families
    ]
    return [_example(rng, people, fillers, unanswered) for _ in range(check_int("n", n, 1))]


def _example(rng: random.Random, people: list[str], fillers: int, unanswered: float) -> dict[str, Any]:
    name, town, day, done = (rng.choice(some) for some in (people, CITIES, DAYS, DONE))
    missing = rng.random() < unanswered
    around = rng.sample(FILLERS, max(rng.randint(0, fillers), missing))
    place, asked = rng.randint(0, len(around)), rng.choice(ASKED)
    question = _question(name, done, asked)
    if missing:
        return {"context": " ".join(around), "question": question, "answer": None, "entities": []}
    event, entities = _event(name, town, day, done, at=len("".join(f"{one} " for one in around[:place])))
    context = " ".join((*around[:place], event, *around[place:]))
    own = next(entity for entity in entities if entity["label"] == asked)
    answer = {"text": context[own["start"] : own["end"]], "start": own["start"]}
    return {"context": context, "question": question, "answer": answer, "entities": entities}


def _event(
    name: str, town: str, day: str, done: tuple[str, ...], at: int
) -> tuple[str, list[dict[str, Any]]]:
    """The sentence of an event that begins at character `at` of a context, and the places of its names."""
    text, entities = "", []
    parts = ((name, "PER", with_particle(name, "은/는")), (day, "DAT", day), (town, "LOC", f"{town}에서"))
    for word, label, shown in parts:
        start = at + len(text)
        entities.append({"start": start, "end": start + len(word), "label": label})
        text += f"{shown} "
    return text + f"{with_particle(done[0], '을/를')} {done[1]}.", entities


def _question(name: str, done: tuple[str, ...], asked: str) -> str:
    what, _, before, question = done
    thing, who = with_particle(what, "을/를"), with_particle(name, "은/는")
    if asked == "PER":
        return f"{thing} {before} 사람은 누구인가?"
    return f"{who} {'어디에서' if asked == 'LOC' else '언제'} {thing} {question}?"
