"""Made-up texts with made-up personal data in known places, and numbers beside them that only look like it.

    "문의는 ０１０-1234-5678입니다, 버전 3.11.0"    planted: ("phone", 4, 17)

To learn how much a rule finds and how much else it changes. Check digits are those that the rules of cards, accounts
and registers ask for; nothing is drawn from real people. Forms vary: blanks, dots, hyphens, none, +82, full width
digits, zero-width characters, digits that stand apart, 공일공. Numbers that look alike: dates, prices, versions,
barcodes, wrong check digits, days that do not exist.

Book: 9.3 데이터 검증. Left out: names and addresses, which have no form.
"""

from __future__ import annotations

import datetime
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

from minillm._checks import check_int

WORDS = [
    "문의는", "연락처", "주문을", "확인해", "주세요", "오늘", "배송", "상담원", "메모", "고객님", "답장", "회의",
    "자료", "please", "note", "order", "the", "contact", "parcel", "reply", "details", "account", "thanks",
    "monday", "meeting", "about", "before", "after",
]  # fmt: skip
LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class PersonalText:
    """text, and (kind, start, end) of each piece of personal data in it."""

    text: str
    planted: tuple[tuple[str, int, int], ...]

    @property
    def masked(self) -> str:
        """The text with [KIND] in each piece's place."""
        parts, at = [], 0
        for kind, start, end in self.planted:
            parts += [self.text[at:start], f"[{kind.upper()}]"]
            at = end
        return "".join([*parts, self.text[at:]])


def personal_texts(n: int, seed: int = 0) -> list[PersonalText]:
    """`n` texts with one to three pieces each; a longer list begins with the shorter one of the same seed."""
    rng = random.Random(check_int("seed", seed, 0))
    return [_text(rng) for _ in range(check_int("n", n, 1))]


def _text(rng: random.Random) -> PersonalText:
    parts = [("", _words(rng))]
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(list(MAKERS))
        parts.append((kind, _disguised(rng, kind, MAKERS[kind](rng))))
        parts.append(("", rng.choice(["", ",", "입니다"]) if " " not in parts[-1][1][1:2] else ","))
        parts.append(("", f" {_words(rng)}"))
        if rng.random() < 0.5:
            parts.append(("", f" {rng.choice(ALIKE)(rng)}, {_words(rng)}"))
    text, planted = "", []
    for kind, part in parts:
        if kind:
            text += " "
            planted.append((kind, len(text), len(text) + len(part)))
        text += part
    return PersonalText(text, tuple(planted))


def _words(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))


def _digits(rng: random.Random, n: int, first: str = string.digits) -> str:
    return rng.choice(first) + "".join(rng.choices(string.digits, k=n - 1))


def _disguised(rng: random.Random, kind: str, text: str) -> str:
    roll = rng.random()
    if roll < 0.1:
        return text.translate({ord(c): ord(c) + 0xFEE0 for c in string.digits})  # full width
    if roll < 0.2:
        return "\u200b".join(text)
    apart = kind in ("phone", "resident", "foreigner", "card") and all(c in f"{string.digits}-" for c in text)
    return " ".join(text) if roll < 0.3 and apart else text


# --- check digits, each in its own words ---


def luhn_digit(digits: str) -> str:
    """The digit that follows a card's digits."""
    doubled = "0246813579"  # of 0 ... 9, digits added
    total = sum(int(doubled[int(d)] if n % 2 == 0 else d) for n, d in enumerate(digits[::-1]))
    return str(-total % 10)


def weighted_digit(digits: str, weights: str, modulus: int, start: int) -> str:
    return str((start - sum(int(a) * int(b) for a, b in zip(digits, weights))) % modulus % 10)


def business_digit(digits: str) -> str:
    """The tenth digit of a Korean business number: the ninth one counts five times, tens and ones added."""
    total = sum(int(a) * int(b) for a, b in zip(digits[:8], "13713713")) + sum(divmod(int(digits[8]) * 5, 10))
    return str(-total % 10)


def resident_digit(digits: str) -> str:
    """The thirteenth digit of a resident or foreigner number given before October 2020."""
    total = sum(int(a) * int(b) for a, b in zip(digits, "234567892345")) % 11
    return str(((13 if digits[6] in "5678" else 11) - total) % 10)


def iban_digits(country: str, account: str) -> str:
    """The two check digits of an account number."""
    number = int(
        "".join(str(string.digits.find(c) if c.isdigit() else ord(c) - 55) for c in f"{account}{country}00")
    )
    return f"{98 - number % 97:02}"


# --- one maker a kind ---


def _phone(rng: random.Random) -> str:
    gap, last = rng.choice(["-", " ", ".", ""]), _digits(rng, 4)
    four, three = _digits(rng, 4, "23456789"), _digits(rng, 3, "23456789")
    spoken = (f"010{four}{last}").translate(str.maketrans(string.digits, "공일이삼사오육칠팔구"))
    return rng.choice([
        f"010{gap}{four}{gap}{last}", f"01{rng.choice('16789')}{gap}{three}{gap}{last}", f"+82 10-{four}-{last}",
        f"+82-10-{four}-{last}", f"010ㅡ{four}ㅡ{last}", f"02{gap}{three}{gap}{last}", f"(02) {three}-{last}",
        f"0{rng.choice(['31', '42', '51', '64', '70'])}{gap}{four}{gap}{last}", f"0507-{four}-{last}",
        f"+1 {three}-{three}-{last}", f"({three}) {three}-{last}", f"{three}-{three}-{last}", f"+44 20 {four} {last}",
        f"{spoken[:3]} {spoken[3:7]} {spoken[7:]}", spoken,
    ])  # fmt: skip


def _email(rng: random.Random) -> str:
    name = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9)))
    host = rng.choice(["example.com", "mail.example.co.kr", "example.org"])
    return f"{name}{rng.choice(['', '.kim', '+news', '_77'])}@{host}"


def _card(rng: random.Random) -> str:
    gap = rng.choice(["-", " ", ""])
    if rng.random() < 0.2:
        digits = rng.choice(["34", "37"]) + _digits(rng, 12)
        digits += luhn_digit(digits)
        return gap.join([digits[:4], digits[4:10], digits[10:]])
    digits = rng.choice(["4", "51", "55", "62", "94"])
    digits += _digits(rng, 15 - len(digits))
    digits += luhn_digit(digits)
    return gap.join(digits[i : i + 4] for i in range(0, 16, 4))


def _born(rng: random.Random, first: datetime.date, last: datetime.date, men_and_women: str) -> str:
    day = first + datetime.timedelta(days=rng.randrange((last - first).days))
    return f"{day:%y%m%d}{rng.choice(men_and_women)}"


def _resident(rng: random.Random) -> str:
    if rng.random() < 0.5:  # given before October 2020: with a check digit
        begun = _born(rng, datetime.date(1940, 1, 1), datetime.date(2000, 1, 1), "12") + _digits(rng, 5)
        whole = begun + resident_digit(begun)
        return f"{whole[:6]}{rng.choice(['-', ''])}{whole[6:]}"
    if rng.random() < 0.5:  # changed after it: whatever the check digit
        begun = _born(rng, datetime.date(1940, 1, 1), datetime.date(2000, 1, 1), "12")
        return f"{begun[:6]}-{begun[6]}{_digits(rng, 6)}"
    begun = _born(rng, datetime.date(2020, 10, 6), datetime.date(2030, 1, 1), "34")
    return f"{begun[:6]}{rng.choice(['-', ''])}{begun[6]}{_digits(rng, 6)}"


def _foreigner(rng: random.Random) -> str:
    begun = _born(rng, datetime.date(1940, 1, 1), datetime.date(2000, 1, 1), "56")
    if rng.random() < 0.5:
        begun += _digits(rng, 5)
        whole = begun + resident_digit(begun)
        return f"{whole[:6]}{rng.choice(['-', ''])}{whole[6:]}"
    return f"{begun[:6]}-{begun[6]}{_digits(rng, 6)}"


def _business(rng: random.Random) -> str:
    digits = _digits(rng, 9, "123456789")
    digits += business_digit(digits)
    return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"


def _iban(rng: random.Random) -> str:
    country, account = rng.choice([("DE", 18), ("FR", 23), ("CH", 17), ("GB", 18)])
    body = "".join(rng.choices(string.ascii_uppercase, k=4)) if country == "GB" else ""
    body += _digits(rng, account - len(body))
    whole = country + iban_digits(country, body) + body
    return whole if rng.random() < 0.5 else " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))


def _ssn(rng: random.Random) -> str:
    return f"{rng.randint(1, 665):03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"


def _key(rng: random.Random) -> str:
    def letters(n: int, of: str = LETTERS) -> str:
        return "".join(rng.choices(of, k=n))

    return rng.choice([
        f"sk-{letters(48)}", f"ghp_{letters(36)}", f"AKIA{letters(16, string.ascii_uppercase)}", f"hf_{letters(34)}",
        f"AIza{letters(35)}", f"eyJ{letters(20)}.{letters(40)}.{letters(30)}",
    ])  # fmt: skip


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "phone": _phone, "email": _email, "card": _card, "resident": _resident, "foreigner": _foreigner,
    "business": _business, "iban": _iban, "ssn": _ssn, "key": _key,
}  # fmt: skip


def _wrong(digits: str, digit: str) -> str:
    return digits + str((int(digit) + 1) % 10)


def _wrong_card(rng: random.Random) -> str:
    """Its second group does not begin with 0: 4159 0509 2430 7868 ends with the form of a phone number (0509)."""
    digits = "4" + _digits(rng, 3) + _digits(rng, 11, "123456789")
    digits = _wrong(digits, luhn_digit(digits))
    return " ".join(digits[i : i + 4] for i in range(0, 16, 4))


def _wrong_business(rng: random.Random) -> str:
    digits = _digits(rng, 9, "123456789")
    digits = _wrong(digits, business_digit(digits))
    return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"


def _barcode(rng: random.Random) -> str:
    digits = "401" + rng.choice("3456789") + _digits(rng, 8)  # German: 40 and a month after the twelfth
    return digits + weighted_digit(digits, "131313131313", 10, 0)


ALIKE: list[Callable[[random.Random], str]] = [
    lambda rng: f"{rng.randint(1990, 2029)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
    lambda rng: f"{rng.randint(1, 999)},{_digits(rng, 3)},000원",
    lambda rng: f"버전 {rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}",
    lambda rng: f"A{_digits(rng, 8)}",
    lambda rng: f"{rng.choice(['1588', '1544', '1661'])}-{_digits(rng, 4)}",
    lambda rng: f"192.168.{rng.randint(0, 255)}.{rng.randint(1, 254)}",
    lambda rng: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
    lambda rng: f"{_digits(rng, 2)}13{rng.randint(10, 28)}-{_digits(rng, 7, '1234')}",  # a thirteenth month
    lambda rng: f"ISBN 978-89-{_digits(rng, 4)}-{_digits(rng, 3)}-{_digits(rng, 1)}",
    lambda rng: f"000-{_digits(rng, 2)}-{_digits(rng, 4)}",
    _wrong_card,
    _wrong_business,
    _barcode,
]
