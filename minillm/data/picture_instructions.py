"""Questions and answers about pictures, made by somebody who never sees them: from captions and boxes alone.

    conversation   several short questions, each with its answer
    description    one question, and all that there is to see
    reasoning      one question whose answer must be worked out, and says how

LLaVA's data: a language model that reads only text is shown the picture as `scene_symbols` (what is where) and writes
a dialogue as if it saw it. `ask_about` asks any such model; `converse`, `describe_scene` and `reason_about` are
templates that need none, English or Korean, and are right by construction. A place is the cell of a scene's board, as
in captions and questions. Book 14.4.1 LLaVA의 학습 데이터. Paper: Liu et al. 2023, section 3.
Left out: questions that captions and boxes cannot answer.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence

from minillm._checks import check_choice, check_int, describe
from minillm.data.particles import with_particle
from minillm.data.scenes import SceneObject
from minillm.data.scenes_questions import SceneQuestion
from minillm.data.scenes_texts import BEFORE_A_NOUN, KOREAN, at_place, noun, place

KINDS = ("conversation", "description", "reasoning")
Turns = list[tuple[str, str]]
FORM = "Write each question on a line that begins with 'Q: ', its answer on the next line, after 'A: '."
PROMPTS = {
    "conversation": "Write a conversation of 3 to 5 turns between somebody who asks about the picture and you, who "
    "see it. Ask only what has a definite answer: what there is, how many, which colour, where, beside what.",
    "description": "Write one question that asks for a detailed description of the picture, and that description.",
    "reasoning": "Write one question about the picture whose answer cannot be read off but follows from what is seen, "
    "and an answer that gives the reason.",
}
RULES = (
    "You are shown a picture as text: each object with its box, (left, top, right, bottom) as shares of the picture. "
    "Answer as if you saw the picture itself. Never mention the boxes, their numbers, or this text. "
)
LEAKS = re.compile(r"bounding box|\bbox(?:es)?\b|coordinate|caption|\d\.\d\d|상자|좌표|캡션", re.IGNORECASE)


def scene_symbols(objects: Sequence[SceneObject], background: str, side: int) -> str:
    """A picture of side x side pixels as a text-only model is shown it: the background, then what is where."""
    lines = [f"background: {background}"]
    check_int("side", side, 1)
    for one in _some(objects):
        x0, y0, x1, y1 = one.box
        if not (0 <= x0 < x1 <= side and 0 <= y0 < y1 <= side):
            raise ValueError(f"a box must lie in the picture of {side} pixels, got {one.box}")
        lines.append(f"{noun(one)}: ({', '.join(f'{edge / side:.2f}' for edge in one.box)})")
    return "\n".join(lines)


def ask_about(
    picture: str, kind: str, ask: Callable[[list[dict[str, str]]], str], language: str = "English"
) -> Turns:
    """Turns (question, answer) about a picture, given as `scene_symbols`, by whatever `ask(messages) -> text` asks.

    A ChatModel: `ask = lambda messages: chat.chat(messages).text`. ValueError for a reply without turns in the form
    asked for, with more than one where one was asked for, or one that tells of boxes: nobody sees boxes in a picture.
    """
    check_choice("kind", kind, KINDS)
    said = f"{RULES}{PROMPTS[kind]} {FORM} Write in {language}."
    reply = ask([{"role": "system", "content": said}, {"role": "user", "content": picture}])
    if not isinstance(reply, str):
        raise ValueError(f"ask must give a text, got {describe(reply)}")
    turns = re.findall(r"^Q: *(\S.*?) *\nA: *(\S.*?) *$(?=\n*(?:Q: |\Z))", reply.strip(), re.MULTILINE)
    if len(turns) != len(re.findall(r"^[QA]:", reply, re.MULTILINE)) / 2 or not turns:
        raise ValueError(f"the reply must hold lines 'Q: ...' and 'A: ...' in turn, got {describe(reply)}")
    if kind != "conversation" and len(turns) != 1:
        raise ValueError(f"a {kind} is one question with its answer, got {len(turns)}")
    leak = next((found for turn in turns for text in turn if (found := LEAKS.search(text))), None)
    if leak:
        raise ValueError(f"the reply tells of what is not in the picture: {leak[0]!r}")
    return turns


def converse(questions: Sequence[SceneQuestion], most: int = 5, seed: int = 0, lang: str = "en") -> Turns:
    """Up to `most` short turns, drawn from the questions on a scene (`Scenes.questions`, or those `balanced` left)."""
    check_int("most", most, 1), check_choice("lang", lang, ("en", "ko"))
    drawn = random.Random(check_int("seed", seed, 0)).sample(list(questions), min(most, len(questions)))
    return [(one.text, one.answer) if lang == "en" else (one.text_ko, one.answer_ko) for one in drawn]


def describe_scene(objects: Sequence[SceneObject], background: str, lang: str = "en") -> Turns:
    """One turn: a detailed description, by template; on a board, where each object stands. lang: "en" or "ko"."""
    check_choice("lang", lang, ("en", "ko"))
    count = len(_some(objects))
    if lang == "en":
        things = "is 1 object" if count == 1 else f"are {count} objects"
        said = [f"There {things} on a {background} background."]
        it = "It" if count == 1 else "One"
        said += [f"A {noun(o)} is{at_place(o)}." if place(o) else f"{it} is a {noun(o)}." for o in objects]
        return [("Describe the picture in detail.", " ".join(said))]
    said = [f"{KOREAN[background]} 배경에 물체가 {count}개 있습니다."]
    for one in objects:
        where, name = place(one, "ko"), noun(one, "ko")
        said.append(f"{where}에 {with_particle(name, '이/가')} 있습니다." if where else f"{name}입니다.")
    return [("그림을 자세히 설명해 주세요.", " ".join(said))]


def reason_about(objects: Sequence[SceneObject], seed: int = 0, lang: str = "en") -> Turns:
    """One turn whose answer must be worked out and says why, by template; which, `seed` decides.

    What is left when a colour is taken away; whether two objects differ in more than their colours; what is nearest to
    the left edge. The last two ask about objects whose names say which is meant.
    """
    check_choice("lang", lang, ("en", "ko")), _some(objects)
    rng = random.Random(check_int("seed", seed, 0))
    names = Counter(noun(one) for one in objects)
    clear = [one for one in objects if names[noun(one)] == 1]
    lefts = sorted(one.box[0] for one in objects)
    nearest = [
        one for one in clear if one.box[0] == lefts[0] and (len(lefts) == 1 or lefts[1] - lefts[0] >= 2)
    ]
    ways = ["left"]
    ways += ["colours"] if len(clear) > 1 else []
    ways += ["edge"] if nearest and len(objects) > 1 else []
    way = rng.choice(ways)
    if way == "left":
        return [_what_is_left(objects, rng.choice(objects).colour, lang)]
    if way == "colours":
        return [_without_colours(*rng.sample(clear, 2), lang)]
    name = noun(nearest[0], lang)
    if lang == "en":
        asked = "If all objects slide to the left at the same speed, which one reaches the edge first?"
        return [(asked, f"The {name}, for it is nearest to the left edge.")]
    asked = "모든 물체가 같은 빠르기로 왼쪽으로 움직이면 어느 것이 가장 먼저 가장자리에 닿나요?"
    return [(asked, f"{name}입니다. 왼쪽 가장자리에 가장 가깝기 때문입니다.")]


def _what_is_left(objects: Sequence[SceneObject], colour: str, lang: str) -> tuple[str, str]:
    """How many objects remain without those of a colour, and why."""
    count = len(objects)
    gone = sum(one.colour == colour for one in objects)
    if lang == "ko":
        thing = f"{BEFORE_A_NOUN.get(colour, KOREAN[colour])} 물체"
        why = f"물체가 모두 {count}개이고 그중 {with_particle(thing, '이/가')} {gone}개이므로"
        left = f"{count - gone}개가 남습니다." if count > gone else "하나도 남지 않습니다."
        return f"{with_particle(thing, '을/를')} 모두 치우면 몇 개가 남나요?", f"{why} {left}"
    there = "is 1 object" if count == 1 else f"are {count} objects"
    those = f"{gone} of them {'is' if gone == 1 else 'are'} {colour}" if count > 1 else f"it is {colour}"
    left = {0: "none is left", 1: "1 is left"}.get(count - gone, f"{count - gone} are left")
    return (
        f"If everything {colour} is taken away, how many objects are left?",
        f"There {there} and {those}, so {left}.",
    )


def _without_colours(a: SceneObject, b: SceneObject, lang: str) -> tuple[str, str]:
    """Whether two objects can be told apart by somebody who sees no colours, and why."""
    alike = (a.size, a.shape) == (b.size, b.shape)
    if lang == "en":
        asked = f"Can somebody who sees no colours tell the {noun(a)} from the {noun(b)}?"
        if alike:
            return asked, f"No, each of them is a {a.size} {a.shape} and only their colours differ."
        return asked, f"Yes, one is a {a.size} {a.shape} and the other a {b.size} {b.shape}."
    one, other = (f"{BEFORE_A_NOUN[x.size]} {KOREAN[x.shape]}" for x in (a, b))
    names = with_particle(noun(a, "ko"), "과/와"), with_particle(noun(b, "ko"), "을/를")
    asked = f"색을 구별하지 못하는 사람도 {names[0]} {names[1]} 구별할 수 있나요?"
    if alike:
        return asked, f"아니요. 둘 다 {with_particle(one, '이고/고')} 색만 다릅니다."
    return asked, f"네. 하나는 {with_particle(one, '이고/고')} 다른 하나는 {other}입니다."


def _some(objects: Sequence[SceneObject]) -> Sequence[SceneObject]:
    """The objects; ValueError for none."""
    if not len(objects):
        raise ValueError("a picture needs at least one object to ask about, got none")
    return objects
