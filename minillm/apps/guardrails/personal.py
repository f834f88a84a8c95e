"""Personal data (개인정보) in a text: found by its form and its check digits, then masked or refused.

    "제 번호는 ０１０-1234-5678이고"   ->  "제 번호는 [PHONE]이고"

Kinds: key (API keys, tokens, private keys), email, iban, card, resident (주민등록번호), foreigner (외국인등록번호),
business (사업자등록번호), ssn (United States), phone. The text is read in `joined_view`, so that full width, zero-width
characters and blanks between digits hide nothing; what is masked are the characters as they were written, and no other
character changes. All patterns have bounded repeats or one greedy class at their end: time grows with length alone.

What a form cannot tell: a tenth of all random 16-digit numbers passes Luhn; 250 300 4000 may be three numbers; digits
after a number abroad (+49 30 901820 10) are masked with it. Numbers of companies (1588-1234) are no personal data. Held
against: `minillm.data.personal_texts`, python-stdnum. Book: 9.3.1 데이터 검증 방식. Peers: Presidio, NeMo Guardrails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from minillm._checks import check_choice, check_text, is_listing
from minillm.apps.guardrails.id_numbers import (
    IBAN_LENGTHS,
    business_number,
    iban,
    is_foreigner,
    luhn,
    resident_number,
)
from minillm.apps.guardrails.verdict import PASSED, Verdict
from minillm.apps.guardrails.views import joined_view, sentence_ends
from minillm.apps.tracing.masking import ISSUED_KEYS

GAP = r"[ .\-]{0,3}"  # between the groups of a number
NEAR = 20  # characters before a number in which a word may say what it is


class Found(NamedTuple):
    """A piece of personal data: text[start:end] of the original."""

    kind: str
    start: int
    end: int


Accept = Callable[[re.Match, str], bool]


def scan(
    pattern: re.Pattern, text: str, accept: Accept = lambda found, text: True
) -> Iterator[tuple[int, int]]:
    """Spans of group "it" (or the whole match) that are accepted; one that is not is searched from its next letter."""
    at = 0
    while found := pattern.search(text, at):
        if accept(found, text):
            yield found.span("it") if "it" in pattern.groupindex else found.span()
            at = found.end()
        else:
            at = found.start() + 1


def digits_of(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def says_before(found: re.Match, text: str, words: str) -> bool:
    """Whether one of the words stands shortly before what was found."""
    before = text[max(0, found.start() - NEAR) : found.start()].lower()
    before = before[max(sentence_ends(before), default=0) :]  # in the same sentence
    return any(word in before for word in words.split())


# --- one finder a kind: text of a view -> spans ---

# the forms that traces are masked by, too
KEY = re.compile(rf"(?<![A-Za-z0-9_\-])(?:{ISSUED_KEYS})", re.VERBOSE | re.ASCII)
NAMED_KEY = re.compile(
    r"(?<![a-z])(?:api|secret|access|client)[_ \-]?(?:key|token|secret)[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"']?"
    r"(?P<it>[a-z0-9+/=_\-]{12,})",
    re.IGNORECASE | re.ASCII,
)
BEGIN_KEY = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----")
END_KEY = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY-----")
EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9\-])"
)
IBAN_BEGIN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}")
CARD = re.compile(
    rf"(?<!\d)(?:[2-69]\d{{3}}{GAP}\d{{4}}{GAP}\d{{4}}{GAP}\d{{4}}(?:{GAP}\d{{3}}(?!\d))?"  # 16, UnionPay's 19
    rf"|3[47]\d\d{GAP}\d{{6}}{GAP}\d{{5}}|3(?:0[0-5]|[68]\d)\d{GAP}\d{{6}}{GAP}\d{{4}})(?!\d)"  # 15, 14
)
RESIDENT = re.compile(
    r"(?<!\d)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?P<gap> ?[\-./]? ?)[1-8]\d{6}(?!\d)"
)
BUSINESS = re.compile(r"(?<![\d\-])\d{3}(?P<gap>[ .\-]?)\d\d(?P=gap)\d{5}(?![\d\-])")
SSN = re.compile(r"(?<![\d\-])(?!000|666|9)\d{3}(?P<gap>[ \-])(?!00)\d\d(?P=gap)(?!0000)\d{4}(?![\d\-])")
KOREA = rf"(?:(?:\+82|(?<!\()82(?=[ .\-]|10\d{{8}}(?!\d))){GAP}(?:\(0\)|0)?|\(?0)"
MOBILE = rf"1(?:0\)?{GAP}\d{{4}}|[16-9]\)?{GAP}\d{{3,4}}){GAP}\d{{4}}"
AREA = rf"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|80|50\d)\)?{GAP}\d{{3,4}}{GAP}\d{{4}}"
PHONES = (
    re.compile(rf"(?<!\d){KOREA}(?:{MOBILE}|{AREA})(?!\d)"),
    re.compile(r"(?<![\w+])\+1[ .\-]?\(?[2-9]\d\d\)?[ .\-]{0,2}\d{3}[ .\-]?\d{4}(?!\d)"),
    re.compile(r"(?<![\w+])\+[2-9](?:[ .\-()]{0,2}\d){7,14}(?!\d| ?[원명개%])"),  # E.164: 8 to 15 digits
    re.compile(r"(?<!\d)\([2-9]\d\d\) ?[2-9]\d\d[ .\-]\d{4}(?!\d)"),  # North America
    re.compile(r"(?<!\d)[2-9]\d\d(?P<gap>[ .\-])[2-9]\d\d[.\- ]\d{4}(?!\d|(?P=gap)\d)"),
)
YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d[.\-/]\Z")
SPOKEN = str.maketrans("공영빵일이삼사오육륙칠팔구", "0001234566789")
SPOKEN_PHONE = re.compile(rf"(?<!\d)01{MOBILE[1:]}(?!\d)")


def find_keys(text: str) -> Iterator[tuple[int, int]]:
    yield from scan(KEY, text)
    yield from scan(NAMED_KEY, text)
    at = 0
    while begun := BEGIN_KEY.search(text, at):
        ended = END_KEY.search(text, begun.end())
        at = ended.end() if ended else len(text)  # a key that is cut off is a key
        yield begun.start(), at


def find_ibans(text: str) -> Iterator[tuple[int, int]]:
    """The country says how many characters follow; single blanks and hyphens may stand between."""
    for begun in IBAN_BEGIN.finditer(text):
        length, end, read = IBAN_LENGTHS.get(begun[0][:2].upper(), 0), begun.end(), begun[0]
        while len(read) < length and end < len(text):
            gap = text[end] in " -"
            letter = text[end + gap : end + gap + 1]
            if not (letter.isascii() and letter.isalnum()):
                break
            read, end = read + letter, end + gap + 1
        if iban(read) and not (text[end : end + 1].isascii() and text[end : end + 1].isalnum()):
            yield begun.start(), end


def _is_resident(found: re.Match, text: str) -> bool:
    told = bool(found["gap"]) or says_before(found, text, "주민 등록번호 외국인 resident rrn registration")
    return resident_number(digits_of(found[0]), told)


def find_residents(text: str) -> Iterator[tuple[int, int]]:
    return scan(
        RESIDENT, text, lambda found, t: not is_foreigner(digits_of(found[0])) and _is_resident(found, t)
    )


def find_foreigners(text: str) -> Iterator[tuple[int, int]]:
    return scan(RESIDENT, text, lambda found, t: is_foreigner(digits_of(found[0])) and _is_resident(found, t))


def _is_business(found: re.Match, text: str) -> bool:
    told = bool(found["gap"]) or says_before(found, text, "사업자 business")
    return told and business_number(digits_of(found[0]))


def _is_phone(found: re.Match, text: str) -> bool:
    """Whether it is no part of another number: the decimals of 0.0212345678, 2026-02-1234567, a list of numbers."""
    before = text[max(0, found.start() - 5) : found.start()]
    if "gap" in found.re.groupindex:  # 640 480 1024 768
        return found["gap"] != before[-1:] or not before[-2:-1].isdigit() or before[-2:] == "1" + found["gap"]
    if before[-1:] in (".", ",") and before[-2:-1].isdigit() and "-" not in found[0]:
        return False
    return found[0].startswith("01") or not YEAR.search(before)


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    for pattern in PHONES:
        yield from scan(pattern, text, _is_phone)
    spoken = text.translate(SPOKEN)  # 공일공 일이삼사 오육칠팔: a letter a digit, so spans stay
    if spoken != text:
        yield from scan(SPOKEN_PHONE, spoken, lambda found, _: found[0] != text[found.start() : found.end()])


FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "key": find_keys,
    "email": lambda text: scan(EMAIL, text),
    "iban": find_ibans,
    "card": lambda text: scan(CARD, text, lambda found, _: luhn(digits_of(found[0]))),
    "resident": find_residents,
    "foreigner": find_foreigners,
    "business": lambda text: scan(BUSINESS, text, _is_business),
    "ssn": lambda text: scan(SSN, text),
    "phone": find_phones,
}
KINDS = tuple(FINDERS)  # where two overlap, the earlier kind has it


def checked_kinds(kinds: Iterable[str]) -> list[str]:
    """The kinds that are asked for, in the order of KINDS."""
    if not is_listing(kinds):
        raise ValueError(f"kinds must be a list of {', '.join(KINDS)}, got {kinds!r}")
    asked = {check_choice("one of kinds", kind, KINDS) for kind in kinds}
    return [kind for kind in KINDS if kind in asked]


def find_personal(text: str, kinds: Iterable[str] = KINDS) -> list[Found]:
    """All personal data of these kinds, in the order of the text; no two overlap. ValueError for other kinds."""
    view = joined_view(check_text("text", text))
    taken, found = bytearray(len(view.text)), []
    for kind in checked_kinds(kinds):
        for start, end in FINDERS[kind](view.text):
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\x01" * (end - start)
                found.append(Found(kind, *view.back(start, end)))
    return sorted(found, key=lambda one: one.start)


def masked(text: str, found: Iterable[Found]) -> str:
    """The text with [KIND] in the place of each piece; every other character stays."""
    parts, at = [], 0
    for kind, start, end in found:
        if start >= at:  # two that share a character that was written
            parts += [text[at:start], f"[{kind.upper()}]"]
        at = max(at, end)
    return "".join([*parts, text[at:]])


class PersonalDataRail:
    """Masks personal data, or refuses a text that holds some. kinds: of KINDS; action: "mask" or "refuse"."""

    local = True  # what it finds never reaches over the end of a sentence (sentence_stream.py)

    def __init__(self, kinds: Iterable[str] = KINDS, action: str = "mask"):
        self.kinds = checked_kinds(kinds)
        self.action = check_choice("action", action, ("mask", "refuse"))
        self.name = "personal data"

    def __call__(self, text: str) -> Verdict:
        found = find_personal(text, self.kinds)
        if not found:
            return PASSED
        reason = f"personal data: {', '.join(sorted({one.kind for one in found}))}"
        span = (found[0].start, found[0].end)
        if self.action == "refuse":
            return Verdict(False, reason, span)
        return Verdict(True, reason, span, masked(text, found))
