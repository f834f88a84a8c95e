"""Instruction data about pictures: answers against what the objects say, replies of a model that must be refused."""

import re

import pytest

from minillm.data import SceneObject, scenes
from minillm.data.picture_instructions import (
    KINDS,
    ask_about,
    converse,
    describe_scene,
    reason_about,
    scene_symbols,
)
from minillm.data.scenes_texts import noun
from minillm.inference import ScriptedChat

SIDE = 96
WORLD = scenes(300, SIDE, seed=0, objects=(1, 4))


def thing(size, colour, shape, box):
    return SceneObject(shape, colour, size, 0, 0, box)


def test_symbols():
    things = [
        thing("small", "red", "circle", (0, 24, 24, 48)),
        thing("large", "blue", "ring", (48, 48, 96, 96)),
    ]
    assert scene_symbols(things, "grey", SIDE).splitlines() == [
        "background: grey",
        "small red circle: (0.00, 0.25, 0.25, 0.50)",
        "large blue ring: (0.50, 0.50, 1.00, 1.00)",
    ]


def test_a_description_names_every_object_and_the_place_that_captions_name():
    for seed in range(60):
        things, (caption,) = WORLD.objects[seed], WORLD[seed].captions
        [(_, english)], [(_, korean)] = describe_scene(things, "grey"), describe_scene(things, "grey", "ko")
        for one in things:
            assert noun(one, "ko") in korean
            said = re.search(rf"A {noun(one)} is( (?:at|in) the [a-z ]+)\.", english)
            assert f"{noun(one)}{said[1]}" in caption
        assert english.count(".") == korean.count(".") == len(things) + 1


def test_no_place_on_a_board_of_one_cell():
    things = scenes(1, objects=1, seed=2).objects[0]
    [(_, english)], [(_, korean)] = describe_scene(things, "white"), describe_scene(things, "white", "ko")
    assert english == f"There is 1 object on a white background. It is a {noun(things[0])}."
    assert korean == f"흰색 배경에 물체가 1개 있습니다. {noun(things[0], 'ko')}입니다."


def test_a_conversation_is_drawn_from_the_questions():
    for row in WORLD.questions[:40]:
        english, korean = converse(row, 3, seed=1), converse(row, 3, seed=1, lang="ko")
        known = {(one.text, one.answer): (one.text_ko, one.answer_ko) for one in row}
        assert len(set(english)) == min(3, len(row))
        assert [known[turn] for turn in english] == korean


def test_reasons_hold():
    """Read the answer's words back and work it out anew."""
    kinds = set()
    for seed in range(300):
        things = WORLD.objects[seed]
        [(asked, answer)] = reason_about(things, seed)
        [(_, answer_ko)] = reason_about(things, seed, "ko")
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
            assert answer.startswith(f"The {noun(first)},")
            assert answer_ko.startswith(noun(first, "ko"))
        kinds.add(asked.split()[1])
    assert kinds == {"everything", "somebody", "all"}


def test_korean_particles():
    a, b = thing("small", "red", "ring", (0, 0, 9, 9)), thing("large", "blue", "circle", (60, 60, 90, 90))
    turns = {reason_about([a, b], seed, "ko")[0] for seed in range(40)}
    texts = " ".join(" ".join(turn) for turn in turns)
    assert "작은 빨간 고리와 큰 파란 원을 구별" in texts or "큰 파란 원과 작은 빨간 고리를 구별" in texts
    assert not re.search(r"고리(?:과|을|이 )|원(?:와|를|가 )", texts)


def test_any_chat_model_is_asked():
    things = WORLD.objects[3]
    chat = ScriptedChat(["Q: What is red?\nA: The circle.\nQ: How many?\nA: Three."])
    turns = ask_about(
        scene_symbols(things, "grey", SIDE), KINDS[0], lambda messages: chat.chat(messages).text
    )
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


OUTSIDE, EMPTY = (thing("small", "red", "ring", box) for box in ((0, 0, 97, 9), (5, 5, 5, 9)))


@pytest.mark.parametrize("things", [[OUTSIDE], [EMPTY]])
def test_refuses_a_box_that_is_not_in_the_picture(things):
    with pytest.raises(ValueError, match="a box must lie"):
        scene_symbols(things, "grey", SIDE)


@pytest.mark.parametrize(
    "call", [lambda t: scene_symbols(t, "grey", 9), lambda t: describe_scene(t, "grey"), reason_about]
)
def test_refuses_a_picture_of_nothing(call):
    with pytest.raises(ValueError, match="at least one object"):
        call([])
