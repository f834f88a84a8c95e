"""Instruction data about pictures: answers against what the objects say, replies of a model that must be refused."""

import random
import re
from typing import NamedTuple

import pytest

from minillm.data.picture_instructions import (
    KINDS,
    ask_about,
    describe,
    name_of,
    place_of,
    reason,
    symbols,
)
from minillm.inference import ScriptedChat

SIDE = 96
KOREAN = {
    "small": "작은", "large": "큰", "red": "빨간", "blue": "파란", "green": "초록색", "circle": "원",
    "square": "사각형", "ring": "고리", "grey": "회색",
}  # fmt: skip


class Thing(NamedTuple):
    size: str
    colour: str
    shape: str
    box: tuple


def drawn(seed):
    rng = random.Random(seed)
    things = []
    for _ in range(rng.randint(1, 4)):
        x, y = rng.randint(0, SIDE - 20), rng.randint(0, SIDE - 20)
        names = rng.choice(("small", "large")), rng.choice(("red", "blue", "green"))
        things.append(Thing(*names, rng.choice(("circle", "square", "ring")), (x, y, x + 20, y + 20)))
    return things


def test_symbols():
    things = [
        Thing("small", "red", "circle", (0, 24, 24, 48)),
        Thing("large", "blue", "ring", (48, 48, 96, 96)),
    ]
    assert symbols(things, "grey", SIDE).splitlines() == [
        "background: grey",
        "small red circle: (0.00, 0.25, 0.25, 0.50)",
        "large blue ring: (0.50, 0.50, 1.00, 1.00)",
    ]


def test_a_description_names_every_object_and_its_place():
    ends = {"top left": (0, 0), "in the middle": (1, 1), "bottom right": (2, 2), "middle left": (1, 0)}
    for seed in range(60):
        things = drawn(seed)
        [(_, english)], [(_, korean)] = describe(things, "grey", SIDE), describe(things, "grey", SIDE, KOREAN)
        for one in things:
            assert f"A {name_of(one)} is" in english
            assert name_of(one, KOREAN) in korean
        assert english.count(".") == korean.count(".") == len(things) + 1
        for words, place in ends.items():
            assert english.count(words) == sum(place_of(one, SIDE) == place for one in things)


def test_reasons_hold():
    """Read the answer's words back and work it out anew."""
    kinds = set()
    for seed in range(300):
        things = drawn(seed)
        [(asked, answer)] = reason(things, SIDE, seed)
        [(_, answer_ko)] = reason(things, SIDE, seed, KOREAN)
        if found := re.match(r"If everything (\w+) is taken", asked):
            left = sum(one.colour != found[1] for one in things)
            assert re.search(r"so (\w+) (?:is|are) left", answer)[1] == (str(left) if left else "none")
            assert (f"{left}개가 남습니다" if left else "하나도 남지 않습니다") in answer_ko
        elif found := re.match(r"Can somebody .* tell the (\w+) \w+ (\w+) from the (\w+) \w+ (\w+)\?", asked):
            alike = found.groups()[:2] == found.groups()[2:]
            assert answer.startswith("No" if alike else "Yes")
            assert answer_ko.startswith("아니요" if alike else "네")
        else:
            first = min(things, key=lambda one: one.box[0])
            assert answer.startswith(f"The {name_of(first)},")
            assert answer_ko.startswith(name_of(first, KOREAN))
        kinds.add(asked.split()[1])
    assert kinds == {"everything", "somebody", "all"}


def test_korean_particles():
    a, b = Thing("small", "red", "ring", (0, 0, 9, 9)), Thing("large", "blue", "circle", (60, 60, 90, 90))
    turns = {reason([a, b], SIDE, seed, KOREAN)[0] for seed in range(40)}
    texts = " ".join(" ".join(turn) for turn in turns)
    assert "작은 빨간 고리와 큰 파란 원을 구별" in texts or "큰 파란 원과 작은 빨간 고리를 구별" in texts
    assert not re.search(r"고리(?:과|을|이 )|원(?:와|를|가 )", texts)


def test_any_chat_model_is_asked():
    things = drawn(3)
    chat = ScriptedChat(["Q: What is red?\nA: The circle.\nQ: How many?\nA: Three."])
    turns = ask_about(symbols(things, "grey", SIDE), KINDS[0], lambda messages: chat.chat(messages).text)
    assert turns == [("What is red?", "The circle."), ("How many?", "Three.")]


@pytest.mark.parametrize(
    ("kind", "reply", "said"),
    [
        ("conversation", "I see a circle.", "lines 'Q: ...' and 'A: ...'"),
        ("conversation", "Q: What?\nQ: Who?\nA: Me.", "in turn"),
        ("conversation", "Q: What?\nA:", "in turn"),
        ("conversation", "", "in turn"),
        ("reasoning", "Q: a\nA: b\nQ: c\nA: d", "one question"),
        ("description", "Q: Describe.\nA: The box of the circle is wide.", "box"),
        ("description", "Q: Describe.\nA: A circle at 0.25.", "0.25"),
        ("conversation", "Q: 어디에 있나요?\nA: 좌표는 왼쪽입니다.", "좌표"),
        ("poem", "", "kind must be"),
        ("conversation", None, "ask must give a text"),
    ],
)
def test_refuses_replies_that_are_no_data(kind, reply, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        ask_about("background: grey", kind, lambda messages: reply)


OUTSIDE, EMPTY = (Thing("small", "red", "ring", box) for box in ((0, 0, 97, 9), (5, 5, 5, 9)))


@pytest.mark.parametrize("things", [[], [OUTSIDE], [EMPTY]])
@pytest.mark.parametrize("call", [symbols, describe, lambda things, _, side: reason(things, side)])
def test_refuses_what_is_not_in_the_picture(things, call):
    with pytest.raises(ValueError, match=r"at least one object|a box must lie"):
        call(things, "grey", SIDE)
