"""What the invented facts say: eight kinds, each a few sentence pairs (English, Korean), what is near, what is asked.

Names and months are those of the made-up encyclopaedia (korean_words.json); its texts are others. No value that is
asked for stands twice in a passage, and none stands in what is near to it.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from minillm.data.korean_articles import WORDS, Name, choose
from minillm.data.particles import Korean

Both = tuple[str, str]  # of LANGUAGES: Korean, English


class Asking(NamedTuple):
    """A question and its answers, each in Korean and English."""

    question: Both
    answers: tuple[tuple[str, ...], tuple[str, ...]]


class Told(NamedTuple):
    """A thing: its title, sentences that tell about it, sentences that do not answer, and what may be asked."""

    title: Both
    sentences: list[Both]
    near: list[Both]
    asked: list[Asking]


def drawn_words(rng: random.Random) -> tuple[list[Name], list[Name]]:
    """(towns, people) in an order of the generator's, all different."""
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
    rng.shuffle(towns)
    rng.shuffle(people)
    return towns, people


def asking(korean: str, english: str, answer: str | Name, *more: str) -> Asking:
    """What is asked. answer: the same in both languages, or a name; more: other forms of it in English."""
    ko, en = (answer.ko, answer.en) if isinstance(answer, Name) else (answer, answer)
    return Asking((korean, english), ((ko,), (en, *more)))


def clock(rng: random.Random) -> Name:
    """A time of the morning: "7시 40분", "7:40"."""
    hour, minute = rng.randrange(5, 12), rng.randrange(1, 12) * 5
    return Name(Korean(f"{hour}시 {minute}분"), f"{hour}:{minute:02}")


def _bridge(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    (river,) = choose(rng, "rivers")
    year, length, width = rng.randrange(1890, 1990), rng.randrange(210, 890), rng.randrange(7, 19)
    ko, en = Korean(f"{town.ko} 다리"), f"{town.en} bridge"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko:은/는} {year}년에 완성되었다.", f"The {en} was finished in {year}."),
            (
                f"기술자 {person.ko:이/가} 설계했고, 길이는 {length}미터, 너비는 {width}미터이다.",
                f"It was designed by the engineer {person.en}; it is {length} metres long and {width} metres wide.",
            ),
            ("그 뒤로 나룻배는 다니지 않는다.", "Since then no ferry has crossed the river."),
        ],
        [
            (f"{ko:은/는} 지난봄에 초록색으로 칠해졌다.", f"The {en} was painted green last spring."),
            (
                f"다리 위에서는 {river.ko:이/가} 잘 보이고, 장날에는 자전거에서 내려야 한다.",
                f"From it one sees {river.en} well, and on market days cyclists must walk across it.",
            ),
        ],
        [
            asking(f"{ko}의 길이는 얼마인가요?", f"How long is the {en}?", f"{length}"),
            asking(f"{ko:은/는} 언제 완성되었나요?", f"When was the {en} finished?", f"{year}"),
            asking(f"{ko:을/를} 설계한 사람은 누구인가요?", f"Who designed the {en}?", person),
        ],
    )


def _bakery(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    one, two = rng.sample(WORDS["ingredients"], 2)
    price, other = rng.sample(range(12, 60), 2)
    ko, en = Korean(f"{town.ko} 빵집"), f"{town.en} bakery"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko:은/는} 시장 옆에 있다.", f"The {en} stands beside the market."),
            (
                f"주인 {person.ko:은/는} {one.ko} 빵을 {price * 100:,}원에, {two.ko} 빵을 {other * 100:,}원에 판다.",
                f"Its owner {person.en} sells bread with {one.en} for {price * 100:,} won and bread with {two.en} for "
                f"{other * 100:,} won.",
            ),
            ("점심때면 빵이 모두 팔린다.", "By noon everything is sold."),
        ],
        [
            (f"{ko:은/는} 새 오븐을 들여놓았다.", f"The {en} has bought a new oven."),
            (
                f"{near.ko}에서 온 손님들은 줄을 서서 기다린다.",
                f"Customers from {near.en} stand in line in front of it.",
            ),
        ],
        [
            asking(
                f"{ko}에서 {one.ko} 빵은 얼마인가요?",
                f"How much does bread with {one.en} cost at the {en}?", f"{price * 100}",
            ),
            asking(f"{ko}의 주인은 누구인가요?", f"Who owns the {en}?", person),
        ],
    )  # fmt: skip


def _train(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    leaves, minutes = clock(rng), rng.randrange(61, 179)
    (day,) = choose(rng, "days")
    ko, en = Korean(f"{town.ko}에서 {near.ko:으로/로} 가는 기차"), f"train from {town.en} to {near.en}"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko:은/는} 아침 {leaves.ko}에 떠난다.", f"The {en} leaves at {leaves.en} in the morning."),
            (f"{minutes}분이 걸리고, 중간에 서지 않는다.", f"It takes {minutes} minutes and does not stop."),
            (f"{day.ko}에는 다니지 않는다.", f"On {day.en} it does not run."),
        ],
        [
            (f"{ko:은/는} 빨간색이다.", f"The {en} is red."),
            ("창가 자리에서는 바다가 보인다.", "From a seat at the window one can see the sea."),
        ],
        [
            asking(f"{ko:은/는} 언제 떠나나요?", f"When does the {en} leave?", leaves),
            asking(
                f"{ko:은/는} 몇 분 걸리나요?",
                f"How many minutes does the {en} take?", f"{minutes}",
            ),
            asking(f"{ko:이/가} 다니지 않는 요일은?", f"On which day does the {en} not run?", day),
        ],
    )  # fmt: skip


def _festival(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    goods, month = choose(rng, "goods months")
    price, visitors = rng.randrange(11, 60) * 100, rng.randrange(61, 99) * 100
    ko, en = Korean(f"{town.ko} {goods.ko} 축제"), f"{goods.en} festival of {town.en}"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko:은/는} 해마다 {month.ko}에 열린다.", f"The {en} is held every {month.en}."),
            (
                f"어른은 {price:,}원을 내고 들어가며, 아이는 돈을 내지 않는다.",
                f"Adults pay {price:,} won to enter, and children pay nothing.",
            ),
            (f"작년에는 {visitors:,}명이 찾아왔다.", f"Last year {visitors:,} people came."),
        ],
        [
            (f"{ko:은/는} 비가 와도 열린다.", f"The {en} takes place in the rain, too."),
            ("밤에는 강가에서 노래를 부른다.", "At night people sing by the river."),
        ],
        [
            asking(f"{ko:은/는} 몇 월에 열리나요?", f"In which month is the {en} held?", month),
            asking(
                f"{ko}의 어른 입장료는 얼마인가요?",
                f"How much do adults pay to enter the {en}?", f"{price}",
            ),
            asking(f"작년에 {ko:을/를} 찾은 사람은 몇 명인가요?", f"How many people came to the {en} last year?",
                   f"{visitors}"),
        ],
    )  # fmt: skip


def _ship(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    year, crew = rng.randrange(1780, 1890), rng.randrange(23, 96)
    (spice,) = choose(rng, "ingredients")
    ko, en = Korean(f"범선 {town.ko}호"), f"ship {town.en}"
    return Told(
        (ko, f"The {en}"),
        [
            (
                f"{ko:은/는} {year}년에 {near.ko}에서 첫 항해를 떠났다.",
                f"The {en} left {near.en} on its first voyage in {year}.",
            ),
            (
                f"선장은 {person.ko:이었/였}고, 선원은 {crew}명이었다.",
                f"Its captain was {person.en}, and it had a crew of {crew}.",
            ),
            ("그 배는 모두를 무사히 데리고 돌아왔다.", "It brought everybody home safely."),
        ],
        [
            (f"{ko}의 돛은 노란색이었다.", f"The sails of the {en} were yellow."),
            (f"배에는 {spice.ko} 냄새가 배어 있었다고 한다.", f"People say that it smelled of {spice.en}."),
        ],
        [
            asking(f"{ko}의 선장은 누구였나요?", f"Who was the captain of the {en}?", person),
            asking(f"{ko}의 선원은 몇 명이었나요?", f"How many people were in the crew of the {en}?", f"{crew}"),
            asking(f"{ko:은/는} 언제 첫 항해를 떠났나요?", f"In which year did the {en} leave on its first voyage?",
                   f"{year}"),
        ],
    )  # fmt: skip


def _library(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    days, fee, books = rng.randrange(8, 29), rng.randrange(3, 18) * 50, rng.randrange(31, 98) * 1000
    ko, en = Korean(f"{town.ko} 도서관"), f"library of {town.en}"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko:은/는} 책을 {days}일 동안 빌려준다.", f"The {en} lends a book for {days} days."),
            (
                f"늦게 돌려주면 하루에 {fee}원을 내야 한다.",
                f"Whoever brings it back late pays {fee} won for each day.",
            ),
            (f"책은 모두 {books:,}권이 있다.", f"It has {books:,} books in all."),
        ],
        [
            (f"{ko} 앞에는 오래된 은행나무가 서 있다.", f"An old ginkgo tree stands in front of the {en}."),
            ("여름에는 나무 아래에서 책을 읽을 수 있다.", "In summer people read in its shade."),
        ],
        [
            asking(f"{ko:은/는} 책을 며칠 동안 빌려주나요?", f"For how many days does the {en} lend a book?",
                   f"{days}"),
            asking(
                f"{ko}에 책을 늦게 돌려주면 하루에 얼마를 내나요?",
                f"How much does one pay for each day when a book of the {en} is late?", f"{fee}",
            ),
            asking(f"{ko}에는 책이 몇 권 있나요?", f"How many books does the {en} have?", f"{books}"),
        ],
    )  # fmt: skip


STONES = [Name(Korean(ko), en) for ko, en in (
    ("구리", "copper"), ("대리석", "marble"), ("화강암", "granite"), ("청동", "bronze"), ("참나무", "oak"),
    ("유리", "glass"), ("강철", "steel"), ("점토", "clay"),
)]  # fmt: skip


def _statue(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    stone = rng.choice(STONES)
    (beast,) = choose(rng, "beasts")
    year, weight = rng.randrange(1905, 1999), rng.randrange(120, 890)
    ko, en = Korean(f"{town.ko} {beast.ko} 조각상"), f"{beast.en} statue in {town.en}"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko:은/는} 역 앞에 서 있다.", f"The {en} stands in front of the station."),
            (
                f"조각가 {person.ko:이/가} {stone.ko:으로/로} 만들었으며, 무게는 {weight}킬로그램이다.",
                f"The sculptor {person.en} made it of {stone.en}, and it weighs {weight} kilograms.",
            ),
            (f"{year}년부터 그 자리에 있다.", f"It has stood there since {year}."),
        ],
        [
            (f"{ko}의 코를 만지면 운이 좋다고 한다.", f"Touching the nose of the {en} is said to bring luck."),
            ("그래서 코만 반짝인다.", "That is why only its nose shines."),
        ],
        [
            asking(f"{ko:은/는} 무엇으로 만들어졌나요?", f"What is the {en} made of?", stone),
            asking(f"{ko:을/를} 만든 조각가는 누구인가요?", f"Which sculptor made the {en}?", person),
            asking(f"{ko}의 무게는 얼마인가요?", f"How many kilograms does the {en} weigh?", f"{weight}"),
        ],
    )  # fmt: skip


def _inn(rng: random.Random, town: Name, near: Name, person: Name) -> Told:
    rooms, price, walk = rng.randrange(11, 48), rng.randrange(31, 99) * 1000, rng.randrange(4, 10)
    dish, river = choose(rng, "dishes rivers")
    ko, en = Korean(f"{town.ko} 여관"), f"{town.en} inn"
    return Told(
        (ko, f"The {en}"),
        [
            (f"{ko}에는 방이 {rooms}개 있다.", f"The {en} has {rooms} rooms."),
            (
                f"하룻밤 방값은 {price:,}원이고, 아침으로 {dish.ko:이/가} 나온다.",
                f"A night costs {price:,} won, and for breakfast there is {dish.en}.",
            ),
            (f"역까지는 걸어서 {walk}분이다.", f"The station is {walk} minutes away on foot."),
        ],
        [
            (f"{ko}의 창문에서는 {river.ko:이/가} 보인다.", f"From the windows of the {en} one sees {river.en}."),
            ("주인의 고양이는 손님의 무릎에서 잔다.", "The owner's cat sleeps on the knees of the guests."),
        ],
        [
            asking(f"{ko}의 하룻밤 방값은 얼마인가요?", f"How much does a night at the {en} cost?", f"{price}"),
            asking(f"{ko}에는 방이 몇 개 있나요?", f"How many rooms does the {en} have?", f"{rooms}"),
            asking(f"{ko}에서 아침으로 나오는 음식은?", f"What is there for breakfast at the {en}?", dish),
        ],
    )  # fmt: skip


KINDS = {
    "bridge": _bridge,
    "bakery": _bakery,
    "train": _train,
    "festival": _festival,
    "ship": _ship,
    "library": _library,
    "statue": _statue,
    "inn": _inn,
}
