"""Questions on a scene in English and Korean, with the answer that is true.

    ten kinds: shape colour size background place | count, count_of | exists, is_colour, beside (yes or no)

Book 14.4 라바(LLaVA): instruction data made from what is known of a picture. Paper: Liu et al. 2023; VQA v2 (Goyal et
al. 2017) for why answers must be balanced: a model that guesses the commonest answer must not look clever. Yes and no
are drawn first, the question after, so each is said half of the time; `balanced` cuts the other kinds of a whole set.
Left out: questions in several steps, answers of more than a few words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import check_int, check_number
from minillm.data.particles import with_particle
from minillm.data.scenes import COLOURS, SHAPES, SceneObject
from minillm.data.scenes_texts import BEFORE_A_NOUN, KOREAN, place

KINDS = (
    "shape",
    "colour",
    "size",
    "background",
    "place",
    "count",
    "count_of",
    "exists",
    "is_colour",
    "beside",
)


class SceneQuestion(NamedTuple):
    """A question and its answer in two languages; kind: one of KINDS."""

    text: str
    text_ko: str
    answer: str
    answer_ko: str
    kind: str


def _adjective(colour: str) -> str:
    return BEFORE_A_NOUN.get(colour, KOREAN[colour])


def _sole(things: Sequence[SceneObject], field: str) -> list[SceneObject]:
    """The things that alone have their value of a field."""
    counts = Counter(getattr(thing, field) for thing in things)
    return [thing for thing in things if counts[getattr(thing, field)] == 1]


def questions(objects: Sequence[SceneObject], background: str, key: int) -> list[SceneQuestion]:
    """One question of each kind that the scene allows, in the order of KINDS; key: the number that draws them.

    What asks for one thing names it by what it alone has. "place" needs a board, "beside" two things in other cells.
    """
    rng = np.random.default_rng(check_int("key", key, 0))

    def pick(values: Sequence[Any]) -> Any:
        return values[int(rng.random() * len(values))]

    out = [_background(background)]
    by_shape, by_colour = _sole(objects, "shape"), _sole(objects, "colour")
    if by_colour:
        thing = pick(by_colour)
        text = (
            f"What shape is the {thing.colour} object?",
            f"{_adjective(thing.colour)} 물체는 무슨 모양인가요?",
        )
        out.append(SceneQuestion(*text, thing.shape, KOREAN[thing.shape], "shape"))
    if by_shape:
        thing = pick(by_shape)
        noun = KOREAN[thing.shape]
        text = f"What colour is the {thing.shape}?", f"{with_particle(noun, '은/는')} 무슨 색인가요?"
        out.append(SceneQuestion(*text, thing.colour, KOREAN[thing.colour], "colour"))
        thing = pick(by_shape)
        noun = KOREAN[thing.shape]
        text = (
            f"Is the {thing.shape} small or large?",
            f"{with_particle(noun, '은/는')} 작은 것인가요, 큰 것인가요?",
        )
        out.append(SceneQuestion(*text, thing.size, KOREAN[thing.size], "size"))
        if thing.grid > 1:
            text = f"Where is the {thing.shape}?", f"{with_particle(noun, '은/는')} 어디에 있나요?"
            out.append(SceneQuestion(*text, place(thing), place(thing, "ko"), "place"))
        out.append(_is_colour(pick(by_shape), bool(rng.random() < 0.5), pick))
    out.append(_number("How many objects are there?", "물체가 몇 개 있나요?", len(objects), "count"))
    out.append(_count_of(objects, pick))
    out.append(_exists(objects, bool(rng.random() < 0.5), pick))
    if len(by_shape) > 1:
        first, second = rng.permutation(len(by_shape))[:2].tolist()
        out.append(_beside(by_shape[first], by_shape[second], bool(rng.random() < 0.5)))
    return sorted(out, key=lambda question: KINDS.index(question.kind))


def _background(background: str) -> SceneQuestion:
    text = "What colour is the background?", "배경은 무슨 색인가요?"
    return SceneQuestion(*text, background, KOREAN[background], "background")


def _number(text: str, text_ko: str, number: int, kind: str) -> SceneQuestion:
    return SceneQuestion(text, text_ko, str(number), f"{number}개", kind)


def _yes_no(text: str, text_ko: str, yes: bool, kind: str) -> SceneQuestion:
    answer = "yes" if yes else "no"
    return SceneQuestion(text, text_ko, answer, KOREAN[answer], kind)


def _is_colour(thing: SceneObject, yes: bool, pick: Callable[[Sequence[Any]], Any]) -> SceneQuestion:
    colour = thing.colour if yes else pick([colour for colour in COLOURS if colour != thing.colour])
    noun = with_particle(KOREAN[thing.shape], "은/는")
    return _yes_no(f"Is the {thing.shape} {colour}?", f"{noun} {KOREAN[colour]}인가요?", yes, "is_colour")


def _count_of(objects: Sequence[SceneObject], pick: Callable[[Sequence[Any]], Any]) -> SceneQuestion:
    """How many of one colour or shape: the number is drawn first, among those that some colour or shape has."""
    colours, shapes = Counter(t.colour for t in objects), Counter(t.shape for t in objects)
    number = pick(sorted({0, *colours.values(), *shapes.values()}))
    fits = [("colour", c) for c in COLOURS if colours[c] == number]
    fits += [("shape", s) for s in SHAPES if shapes[s] == number]
    field, name = pick(fits)
    if field == "colour":
        text = f"How many {name} objects are there?", f"{_adjective(name)} 물체가 몇 개 있나요?"
    else:
        plural = f"{name}es" if name == "cross" else f"{name}s"
        text = f"How many {plural} are there?", f"{with_particle(KOREAN[name], '이/가')} 몇 개 있나요?"
    return _number(*text, number, "count_of")


def _exists(objects: Sequence[SceneObject], yes: bool, pick: Callable[[Sequence[Any]], Any]) -> SceneQuestion:
    """A pair of colour and shape that is there, or one that is wrong in one of the two."""
    there = {(thing.colour, thing.shape) for thing in objects}
    thing = pick(objects)
    near = [(colour, thing.shape) for colour in COLOURS] + [(thing.colour, shape) for shape in SHAPES]
    colour, shape = (thing.colour, thing.shape) if yes else pick([pair for pair in near if pair not in there])
    article = "an" if colour[0] in "aeiou" else "a"
    noun = with_particle(f"{_adjective(colour)} {KOREAN[shape]}", "이/가")
    return _yes_no(f"Is there {article} {colour} {shape}?", f"{noun} 있나요?", yes, "exists")


def _beside(first: SceneObject, second: SceneObject, yes: bool) -> SceneQuestion:
    """Above or below for things in different rows, else left or right."""
    rows = first.row != second.row
    is_before = first.row < second.row if rows else first.column < second.column
    words = (
        (("above", "위에"), ("below", "아래에"))
        if rows
        else (("to the left of", "왼쪽에"), ("to the right of", "오른쪽에"))
    )
    english, korean = words[0] if is_before == yes else words[1]
    noun, other = with_particle(KOREAN[first.shape], "은/는"), KOREAN[second.shape]
    text = f"Is the {first.shape} {english} the {second.shape}?", f"{noun} {other}보다 {korean} 있나요?"
    return _yes_no(*text, yes, "beside")


def balanced(asked: Sequence[Sequence[SceneQuestion]], rare: float = 0.25) -> list[list[SceneQuestion]]:
    """The questions of a set of scenes, cut so that within each kind every answer comes equally often.

    Answers that come less than `rare` times as often as the commonest of their kind are left out altogether, and
    kinds with one answer alone. The first questions of each answer stay.
    """
    check_number("rare", rare, 0.0, 1.0)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for row in asked:
        for question in row:
            counts[question.kind][question.answer] += 1
    share: dict[tuple[str, str], int] = {}
    for kind, found in counts.items():
        kept = {answer: n for answer, n in found.items() if n >= rare * max(found.values())}
        share |= {(kind, answer): min(kept.values()) for answer in kept} if len(kept) > 1 else {}
    out = []
    for row in asked:
        out.append([])
        for question in row:
            place_of = question.kind, question.answer
            if share.get(place_of, 0) > 0:
                share[place_of] -= 1
                out[-1].append(question)
    return out
