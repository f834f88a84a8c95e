"""Where the characters of a normal form come from (정규형의 원래 위치): offsets must point at the text as it was given.

    decompose each character     한 -> ᄒ ᅡ ᆫ        é -> e ◌́
    put marks in order           a ◌̂ ◌̣ -> a ◌̣ ◌̂     by their combining class, which is 0 for anything but a mark
    compose again (NFC, NFKC)    e ◌́ -> é           a mark joins the last starter unless another of its class is between

The result is `unicodedata.normalize`; what is new here is the place each character came from. A composed character
points at its first part, and the parts of a decomposed one at that one character.

Paper: Unicode standard annex 15. Held against: tokenizers.normalizers (their offsets).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

Traced = tuple[str, int]  # a character, and how many characters more (1) or fewer (-n) there are since it


def form_origins(form: str, text: str) -> list[int]:
    """For each character of `unicodedata.normalize(form, text)`, the place in `text` that it comes from; -1: none."""
    apart = "NFKD" if "K" in form else "NFD"
    characters: list[Traced] = []
    for letter in text:
        parts = unicodedata.normalize(apart, letter)
        characters += [(part, 1 if place else 0) for place, part in enumerate(parts)]
    characters = _in_order(characters)
    if form in ("NFC", "NFKC"):
        characters = _composed(characters)
    return origins_of(more for _, more in characters)


def origins_of(changes: Iterable[int]) -> list[int]:
    """For each new character the place of the old one: 0 it stands for the next, 1 it is one more, -n the next n go."""
    origins, at = [], 0
    for more in changes:
        if more > 0:
            origins.append(at - 1)
        else:
            origins.append(at)
            at += 1 - more
    return origins


def _in_order(characters: list[Traced]) -> list[Traced]:
    """Each run of marks sorted by combining class; of equals the first stays first."""
    ordered: list[Traced] = []
    run: list[Traced] = []
    for character in [*characters, ("", 0)]:
        if character[0] and unicodedata.combining(character[0]):
            run.append(character)
            continue
        ordered += sorted(run, key=lambda mark: unicodedata.combining(mark[0])) if run else []
        ordered.append(character)
        run = []
    return ordered[:-1]


def _composed(characters: list[Traced]) -> list[Traced]:
    done: list[Traced] = []
    starter = last = -1  # the place of the last starter; the class of the last mark behind it that stayed
    for letter, more in characters:
        kind = unicodedata.combining(letter)
        if starter >= 0 and last < kind + (last < 0):
            base, before = done[starter]
            joined = unicodedata.normalize("NFC", base + letter)
            if len(joined) == 1:
                done[starter] = joined, before + more - 1
                continue
        if kind == 0:
            starter, last = len(done), -1
        else:
            last = kind
        done.append((letter, more))
    return done
