"""Little translations that a small encoder-decoder learns in seconds: dates in many spellings, and words of syllables.

    date_pairs      ("2024년 3월 5일 화요일", "2024-03-05"), ("이천이십사년 삼월 오일", "2024-03-05"), ...
    word_pairs      ("가나다", "가나다") to copy, ("가나다", "다나가") to reverse

The source and the target have different lengths, and parts of the source stand in another order in the target: what a
translator has to deal with. A spelling says all of its date, in one way: numbers put the day before the month
("5/3/24" is 5 March), two digits of a year mean 1969 to 2068, as in Python's strptime.

Held out by construction: a date (or a word) belongs to one side whatever the seed is, every tenth day to "held_out",
so that months, days of the month and weekdays are as frequent there as in "train".

Book: 2.5 인코더, 2.6 디코더. Held against datetime.strptime. Left out: spelling mistakes, lunar dates.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from minillm._checks import check_choice, check_flag, check_int, describe, is_listing

PARTS = ("all", "train", "held_out")
FIRST_DAY = date(1969, 1, 1)
DAYS = (date(2069, 1, 1) - FIRST_DAY).days  # a century: two digits of a year say which one it is
HELD_OUT = 10  # one day, or one word, of so many
WEEKDAYS = "월화수목금토일"
ENGLISH_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DIGITS = ("", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")
SYLLABLES = "가나다라마바사아자차카타파하"


def korean_number(number: int) -> str:
    """A number from 1 to 9,999 in Sino-Korean words: 2024 -> "이천이십사", 15 -> "십오"."""
    words = ""
    for unit, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit = check_int("number", number, 1, 9999) // unit % 10
        # 일 is not said before a unit: 1,110 is 천백십
        words += name if digit == 1 and name else DIGITS[digit] + name * bool(digit)
    return words


def korean_month(month: int) -> str:
    """ "일월" to "십이월"; June and October drop their final consonant: 유월, 시월."""
    return {6: "유월", 10: "시월"}.get(check_int("month", month, 1, 12), f"{korean_number(month)}월")


SPELLINGS: dict[str, Callable[[date], str]] = {
    "2024년 3월 5일": lambda d: f"{d.year}년 {d.month}월 {d.day}일",
    "2024년 3월 5일 화요일": lambda d: f"{d.year}년 {d.month}월 {d.day}일 {WEEKDAYS[d.weekday()]}요일",
    "이천이십사년 삼월 오일": lambda d: (
        f"{korean_number(d.year)}년 {korean_month(d.month)} {korean_number(d.day)}일"
    ),
    "2024. 3. 5.(화)": lambda d: f"{d.year}. {d.month}. {d.day}.({WEEKDAYS[d.weekday()]})",
    "March 5, 2024": lambda d: f"{MONTHS[d.month - 1]} {d.day}, {d.year}",
    "Tuesday, 5 March 2024": lambda d: f"{ENGLISH_DAYS[d.weekday()]}, {d.day} {MONTHS[d.month - 1]} {d.year}",
    "5 Mar 2024": lambda d: f"{d.day} {MONTHS[d.month - 1][:3]} {d.year}",
    "5/3/24": lambda d: f"{d.day}/{d.month}/{d.year % 100:02}",
}


def date_pairs(
    n: int, seed: int = 0, part: str = "all", spellings: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """`n` pairs (a date as people write it, the same as "2024-03-05"), of days from 1969 to 2068.

    The days are drawn without repetition as long as there are enough (36,525; 32,873 in "train", 3,652 in "held_out"),
    then they begin anew; each is spelled in one of `spellings` (keys of SPELLINGS; all by default), drawn at random.
    A longer list begins with the shorter one of the same seed. Raises ValueError for another part or spelling.
    """
    check_int("n", n, 0)
    check_choice("part", part, PARTS)
    names = list(SPELLINGS) if spellings is None else spellings
    if not is_listing(names) or not list(names):
        raise ValueError(f"spellings must be a list of keys of SPELLINGS, got {describe(spellings)}")
    for name in names:
        check_choice("spelling", name, tuple(SPELLINGS))
    rng = random.Random(check_int("seed", seed, 0))
    days = [
        day
        for day in range(DAYS)
        if part == "all" or (day % HELD_OUT == HELD_OUT - 1) == (part == "held_out")
    ]
    pairs: list[tuple[str, str]] = []
    while len(pairs) < n:
        rng.shuffle(days)
        for number in days[: n - len(pairs)]:
            day = FIRST_DAY + timedelta(number)
            pairs.append((SPELLINGS[list(names)[int(rng.random() * len(names))]](day), day.isoformat()))
    return pairs


def word_pairs(
    n: int, seed: int = 0, part: str = "all", reverse: bool = False, shortest: int = 3, longest: int = 8
) -> list[tuple[str, str]]:
    """`n` pairs (a made-up word, the same word), or, if `reverse`, (a word, the word from its end to its beginning).

    A word has `shortest` to `longest` (3 at least) of the 14 syllables 가나다라마바사아자차카타파하, each length as
    often as the others. Words may repeat within a part; no word of "held_out" stands in "train". Raises ValueError for
    another part or lengths that do not fit each other.
    """
    check_int("n", n, 0)
    check_choice("part", part, PARTS)
    check_flag("reverse", reverse)
    check_int("shortest", shortest, 3, check_int("longest", longest, 3))
    rng = random.Random(check_int("seed", seed, 0))
    pairs: list[tuple[str, str]] = []
    while len(pairs) < n:
        length = shortest + int(rng.random() * (longest - shortest + 1))
        word = "".join(SYLLABLES[int(rng.random() * len(SYLLABLES))] for _ in range(length))
        held = zlib.crc32(word.encode()) % HELD_OUT == HELD_OUT - 1
        if part == "all" or held == (part == "held_out"):
            pairs.append((word, word[::-1] if reverse else word))
    return pairs
