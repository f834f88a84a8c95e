"""Korean particles (조사): the same particle has two forms, chosen by the sound a word ends in.

    사과 + 은/는 -> 사과는      귤 + 은/는 -> 귤은      서울 + 으로/로 -> 서울로 (ㄹ counts as a vowel here)

A Hangul syllable is one number: 0xAC00 + (initial * 21 + vowel) * 28 + final, so `(code - 0xAC00) % 28` is
its final consonant (받침), 0 when there is none and 8 for ㄹ. Digits and Latin letters are read aloud first:
3 is 삼, L is 엘.

Rule: 한글 맞춤법, and the Unicode standard, chapter 3.12 (Hangul syllables).
Left out: English words whose spelling hides their sound ("byte" ends in 트, no final consonant: right by luck).
"""

from __future__ import annotations

import re
import unicodedata

from minillm._checks import check_text

_RIEUL = 8  # the final consonant ㄹ
# Final consonants of 영 일 이 삼 사 오 육 칠 팔 구. Any value but 0 and 8 stands for "some consonant".
_DIGITS = {"0": 21, "1": 8, "2": 0, "3": 16, "4": 0, "5": 0, "6": 1, "7": 8, "8": 8, "9": 0}
# Capital letters are read by name: 엘 엠 엔 알; all others end in a vowel.
_ACRONYM = {"L": 8, "M": 16, "N": 4, "R": 8}
# How Korean usually reads the end of an English word: model 모델, token 토큰, embedding 임베딩, block 블록, chip 칩.
_ENGLISH_ENDS = [
    ("le?$", 8),
    ("ng$", 21),
    ("ne?$", 4),
    ("me?$", 16),
    ("[aeiouc]k$", 1),
    ("[aeiou][pbtc]$", 17),
]


def final_consonant(word: str) -> int:
    """The final consonant (받침) of the last syllable read aloud: 0 for none, 8 for ㄹ, another number for any other.

    A part in brackets at the end is not read: "토큰(token)" ends as "토큰". Marks at the end are skipped.
    Raises ValueError for a word without a Hangul syllable, digit or Latin letter, whose reading is unknown.
    """
    text = unicodedata.normalize("NFC", check_text("word", word)).strip()
    text = re.sub(r"(?<=\S)\s*[(\[（][^()\[\]（）]*[)\]）]$", "", text)
    for position in range(len(text) - 1, -1, -1):
        letter = text[position]
        if "가" <= letter <= "힣":
            return (ord(letter) - 0xAC00) % 28
        if letter.isdigit() and letter.isascii():
            return _final_of_number(text[: position + 1])
        if letter.isascii() and letter.isalpha():
            if letter.isupper():
                return _ACRONYM.get(letter, 0)
            return next((final for end, final in _ENGLISH_ENDS if re.search(end, text[: position + 1])), 0)
    raise ValueError(f"word must end in Hangul, a digit or a Latin letter to be read aloud, got {word!r}")


def _final_of_number(text: str) -> int:
    digits = re.search(r"(?:\d[\d,]*\.)?\d[\d,]*$", text)
    number = digits[0] if digits else text[-1]
    if "." in number or number.strip("0,") == "":  # decimals are read digit by digit, and 0 is 영
        return _DIGITS[number[-1]]
    whole = number.replace(",", "")
    zeros = len(whole) - len(whole.rstrip("0"))
    # The unit that is read last: 십 백 천 만 (ten thousand up to ten million) 억, 조
    if zeros == 0:
        return _DIGITS[whole[-1]]
    return 17 if zeros == 1 else 1 if zeros == 2 or 8 <= zeros < 12 else 0 if zeros >= 12 else 4


def with_particle(word: str, forms: str) -> str:
    """`word` with the particle form that fits it: ("귤", "은/는") -> "귤은".

    forms: the form after a consonant, a slash, the form after a vowel: "은/는", "이/가", "을/를", "과/와", "으로/로",
    "이라는/라는", ... Raises ValueError for anything else.
    """
    parts = check_text("forms", forms).split("/")
    if len(parts) != 2 or not all(parts):
        raise ValueError(f'forms must be two particles such as "은/는", got {forms!r}')
    final = final_consonant(word)
    consonant = final != 0 and not (final == _RIEUL and parts[0].startswith("으로"))
    return word + parts[0 if consonant else 1]


class Korean(str):
    """A str whose format specification may be a particle pair: f"{Korean('귤'):은/는}" is "귤은"."""

    def __format__(self, specification: str) -> str:
        if "/" in specification:
            return with_particle(str(self), specification)
        return super().__format__(specification)
