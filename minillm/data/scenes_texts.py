"""What is to be said of a scene, in English and Korean: captions, short captions, and captions that are nearly right.

    [circle, red, small, top left], black -> "a small red circle at the top left on a black background"
                                             "검은색 배경의 왼쪽 위에 작은 빨간 원이 있다"

Book 14.2 CLIP: training pairs, and the hard negatives of Yuksekgonul et al. 2023 (a bag of words cannot tell them
apart). Particles (조사) come from particles.py. A place is named when the board has more than one cell.
Left out: sizes by comparison ("the larger one"), counts in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int
from minillm.data.particles import with_particle
from minillm.data.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, SceneObject, Scenes

KOREAN = {  # as an answer; a colour before a noun: BEFORE_A_NOUN
    **{"circle": "원", "square": "사각형", "triangle": "삼각형", "diamond": "마름모", "cross": "십자가"},
    **{"ring": "고리", "star": "별", "heart": "하트"},
    **{"red": "빨간색", "green": "초록색", "blue": "파란색", "yellow": "노란색", "purple": "보라색"},
    **{"orange": "주황색", "cyan": "하늘색", "pink": "분홍색"},
    **{"black": "검은색", "white": "흰색", "grey": "회색", "brown": "갈색"},
    **{"small": "작은 것", "large": "큰 것", "yes": "예", "no": "아니요"},
}
BEFORE_A_NOUN = {"red": "빨간", "blue": "파란", "yellow": "노란", "small": "작은", "large": "큰"}
ROWS = {2: ("top", "bottom"), 3: ("top", "middle", "bottom")}
COLUMNS = {2: ("left", "right"), 3: ("left", "centre", "right")}
_KO = {"top": "위", "bottom": "아래", "left": "왼쪽", "right": "오른쪽"}
STYLES = 4


def place(thing: SceneObject, lang: str = "en") -> str:
    """Where on its board a thing stands: "top left" or "왼쪽 위"; "" on a board of one cell."""
    if thing.grid == 1:
        return ""
    if thing.grid not in ROWS:
        row, column = thing.row + 1, thing.column + 1
        return f"row {row}, column {column}" if lang == "en" else f"{row}행 {column}열"
    row, column = ROWS[thing.grid][thing.row], COLUMNS[thing.grid][thing.column]
    if (row, column) == ("middle", "centre"):
        return "centre" if lang == "en" else "가운데"
    words = [word for word in (row, column) if word not in ("middle", "centre")]
    if lang == "en":
        return " ".join(words)
    if len(words) == 2:
        return f"{_KO[column]} {_KO[row]}"
    return _KO[words[0]] if words[0] in ("left", "right") else f"{_KO[words[0]]}쪽"


def at_place(thing: SceneObject) -> str:
    """Its place as an English sentence goes on: " at the top left"; "" on a board of one cell."""
    where = place(thing)
    if not where:
        return ""
    return (
        f" in {where}" if where.startswith("row") else f" {'in' if where == 'centre' else 'at'} the {where}"
    )


def noun(thing: SceneObject, lang: str = "en") -> str:
    """A thing without its place: "small red circle" or "작은 빨간 원"."""
    if lang == "en":
        return f"{thing.size} {thing.colour} {thing.shape}"
    colour = BEFORE_A_NOUN.get(thing.colour, KOREAN[thing.colour])
    return f"{BEFORE_A_NOUN[thing.size]} {colour} {KOREAN[thing.shape]}"


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(
    objects: Sequence[SceneObject],
    background: str,
    style: int | str | np.random.Generator = 0,
    lang: str = "en",
) -> str:
    """One sentence on a scene. style: which of four wordings (a number, taken modulo four, or a generator that draws
    one), or "short": things alone, neither place nor background. lang: "en" or "ko". ValueError for other values."""
    check_choice("lang", lang, ("en", "ko")), check_choice("background", background, BACKGROUNDS)
    if not objects:
        raise ValueError("a caption needs at least one object, got none")
    if isinstance(style, np.random.Generator):
        style = int(style.integers(STYLES))
    short = style == "short"
    style = 0 if short else check_int("style", style, 0) % STYLES
    return (_english if lang == "en" else _korean)(objects, background, style, short)


def _english(objects: Sequence[SceneObject], background: str, style: int, short: bool) -> str:
    things = " and ".join(_article(noun(thing)) + ("" if short else at_place(thing)) for thing in objects)
    ground = _article(f"{background} background")
    if short:
        return things
    verb = "is" if len(objects) == 1 else "are"
    return (
        f"{things} on {ground}",
        f"on {ground} there {verb} {things}",
        f"a picture of {things} on {ground}",
        f"{ground} with {things}",
    )[style]


def _korean(objects: Sequence[SceneObject], background: str, style: int, short: bool) -> str:
    named = [noun(thing, "ko") for thing in objects]
    if short:
        return _with(named, "")
    where = [place(thing, "ko") for thing in objects]
    ending = "을/를" if style == 2 else "이/가"
    things = (  # "위에 원이, 아래에 별이", or without places "원과 별이"
        ", ".join(f"{w}에 {with_particle(name, ending)}" for w, name in zip(where, named))
        if where[0]
        else _with(named, ending)
    )
    ground = f"{KOREAN[background]} 배경"
    on = f"{ground}{'의' if where[0] else '에'}"  # one 에 alone: "배경의 위에 ...", "배경에 ..."
    return (
        f"{on} {things} 있다",
        f"배경은 {KOREAN[background]}이고 {things} 보인다",
        f"{on} {things} 그린 그림",
        f"{things} 있는 {ground}",
    )[style]


def _with(named: list[str], ending: str) -> str:
    """Names joined by 과/와; the last takes the particle `ending`, if any."""
    last = with_particle(named[-1], ending) if ending else named[-1]
    return " ".join([*(with_particle(name, "과/와") for name in named[:-1]), last])


def hard_negatives(scene: Scenes, lang: str = "en") -> list[str]:
    """Captions of ONE scene that are wrong in exactly one attribute of its first object, or in the background.

    In the scene's own wording: 7 shapes, 7 colours, 1 size, 3 backgrounds; with a place, also the other free cells.
    """
    if not isinstance(scene, Scenes) or len(scene) != 1:
        raise ValueError(f"hard_negatives takes one scene, such as scenes(9)[3], got {scene!r}")
    (things,), (background,), style = scene.objects, scene.backgrounds, int(scene.keys[0])
    first, rest = things[0], things[1:]
    changed: list[tuple[Any, str]] = [
        *((first._replace(shape=shape), background) for shape in SHAPES if shape != first.shape),
        *((first._replace(colour=colour), background) for colour in COLOURS if colour != first.colour),
        *((first._replace(size=size), background) for size in SIZES if size != first.size),
        *((first, other) for other in BACKGROUNDS if other != background),
    ]
    taken = {(thing.row, thing.column) for thing in things}
    cells = [(r, c) for r in range(first.grid) for c in range(first.grid) if (r, c) not in taken]
    changed += [(first._replace(row=r, column=c), background) for r, c in cells]
    return [caption([thing, *rest], ground, style, lang) for thing, ground in changed]


SWAPS = {"colour": ("colour",), "shape": ("shape",), "size": ("size",), "place": ("row", "column")}


def swapped_captions(scene: Scenes, lang: str = "en") -> dict[str, str]:
    """Captions of ONE scene of two things, in each of which the two have exchanged one attribute.

    By attribute, those in which the two differ: nothing is said but what the picture holds, and it is said of the
    wrong thing. In the scene's own wording.
    """
    if not isinstance(scene, Scenes) or len(scene) != 1 or len(scene.objects[0]) != 2:
        raise ValueError(f"swapped_captions takes one scene of two things, got {scene!r}")
    ((first, second),), (background,), style = scene.objects, scene.backgrounds, int(scene.keys[0])
    texts = {}
    for name, fields in SWAPS.items():
        own, other = ({field: getattr(thing, field) for field in fields} for thing in (first, second))
        if own != other:
            things = [first._replace(**other), second._replace(**own)]
            texts[name] = caption(things, background, style, lang)
    return texts
