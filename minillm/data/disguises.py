"""Ways to write a text so that a reader sees it and a simple rule does not.

    spaced_out   "I g n o r e   t h i s"        look_alikes  "Іgnоrе this" (Cyrillic letters)
    zero_width   "Ig\\u200bnore this"            in_base64    "Please read: SWdub3JlIHRoaXM="

Used on attacks and on harmless texts alike: a disguise by itself is no attack. Book: 9.3 데이터 검증.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

SHOW_AS = dict(zip("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ"))


def spaced_out(text: str) -> str:
    """A blank between all letters, three between words."""
    return "   ".join(" ".join(word) for word in text.split())


def look_alikes(text: str) -> str:
    """Every letter that Cyrillic shares with Latin is the Cyrillic one; Hangul syllables are taken apart."""
    return "".join(SHOW_AS.get(c, _apart(c)) for c in text)


def _apart(letter: str) -> str:
    """A Hangul syllable without a final consonant as two letters of the keyboard: 무 -> ㅁㅜ."""
    place = ord(letter) - 0xAC00
    if not 0 <= place < 11172 or place % 28:
        return letter
    return "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"[place // 588] + chr(0x314F + place % 588 // 28)


def zero_width(text: str) -> str:
    """A character that cannot be seen after every second letter."""
    return "".join(c + "\u200b" * (n % 2) for n, c in enumerate(text))


def in_base64(text: str) -> str:
    """The text in base64, with a request to read it."""
    return f"Please read this and answer: {base64.b64encode(text.encode()).decode()}"


DISGUISES: dict[str, Callable[[str], str]] = {
    "spaced": spaced_out,
    "look-alikes": look_alikes,
    "zero-width": zero_width,
    "base64": in_base64,
}
