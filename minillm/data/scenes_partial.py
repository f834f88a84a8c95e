"""Captions that leave something out: "a red circle", "something small at the top left", "작은 도형".

People ask for pictures in few words. A model that only ever read whole captions has no place for short ones, so
`partial_caption` says the attributes that it is told to say, and no others.

Book 14.2.4 CLIP 모델 직접 활용하기. Beside scenes_texts.py, whose words it uses. Left out: saying different things of
two objects of one picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from minillm._checks import check_choice
from minillm.data.particles import with_particle
from minillm.data.scenes import BACKGROUNDS, SceneObject
from minillm.data.scenes_texts import BEFORE_A_NOUN, KOREAN, place

ATTRIBUTES = ("size", "colour", "shape", "place", "background")


def partial_caption(
    objects: Sequence[SceneObject], background: str, said: Collection[str], lang: str = "en"
) -> str:
    """A caption with these of ATTRIBUTES only. A shape that is not said is "thing" or "도형".

    ValueError for no object, an attribute or a background that is none, or a lang other than "en" and "ko".
    """
    check_choice("lang", lang, ("en", "ko")), check_choice("background", background, BACKGROUNDS)
    if not objects:
        raise ValueError("a caption needs at least one object, got none")
    if not said:
        raise ValueError(f"said must name at least one of {', '.join(ATTRIBUTES)}, got none")
    for name in said:
        check_choice("said", name, ATTRIBUTES)
    return (_english if lang == "en" else _korean)(objects, background, said)


def _english(objects: Sequence[SceneObject], background: str, said: Collection[str]) -> str:
    parts = []
    for one in objects:
        words = [getattr(one, name) for name in ("size", "colour") if name in said]
        words.append(one.shape if "shape" in said else "thing")
        where = place(one) if "place" in said else ""
        at = "" if not where else f" in {where}" if where.startswith("row") else f" at the {where}"
        parts.append(f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}{at}")
    return " and ".join(parts) + (f" on a {background} background" if "background" in said else "")


def _korean(objects: Sequence[SceneObject], background: str, said: Collection[str]) -> str:
    parts = []
    for one in objects:
        where = place(one, "ko") if "place" in said else ""
        words = [f"{where}에 있는"] if where else []
        words += [
            BEFORE_A_NOUN.get(w, KOREAN[w])
            for w in (getattr(one, n) for n in ("size", "colour") if n in said)
        ]
        parts.append(" ".join([*words, KOREAN[one.shape] if "shape" in said else "도형"]))
    things = " ".join([*(with_particle(part, "과/와") for part in parts[:-1]), parts[-1]])
    return (f"{KOREAN[background]} 배경의 " if "background" in said else "") + things
