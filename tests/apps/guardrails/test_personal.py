"""Personal data: planted pieces are masked, nothing else changes; numbers that look alike stay; any text is read."""

import random

import pytest
from hypothesis import given, settings

from minillm.apps.guardrails import PersonalDataRail, find_personal, masked
from minillm.data import personal_texts
from tests.apps.guardrails.hostile import random_text, texts
from tests.helpers import soak_count


def mask(text):
    return masked(text, find_personal(text))


def test_every_planted_piece_is_masked_and_no_other_text_changes():
    rows = personal_texts(soak_count(10_000), seed=20)
    wrong = [(one.text, mask(one.text), one.masked) for one in rows if mask(one.text) != one.masked]
    assert len(rows) >= 500
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("번호는 010-1234-5678입니다", "번호는 [PHONE]입니다"),
        ("tel:(02)312-4567, 82-10-9999-8888", "tel:[PHONE], [PHONE]"),
        ("(010)1234-5678, (010) 1234 5678, 010)1234-5678", "[PHONE], [PHONE], [PHONE]"),
        ("1.010-1234-5678 0.5 02-312-4567", "1.[PHONE] 0.5 [PHONE]"),
        ("415 555-2671, (415) 555-2671, 1-415-555-2671", "[PHONE], [PHONE], 1-[PHONE]"),
        ("2 번 010 1234 5678 9 번", "2 번 [PHONE] 9 번"),
        ("공일공-일이삼사-오육칠팔로 전화", "[PHONE]로 전화"),
        ("010. 1234. 5678", "[PHONE]"),
        ("+82 (0)10 1234 5678 / +49 30 901820", "[PHONE] / [PHONE]"),
        ("메일 hong.gil@mail.example.co.kr로 주세요.", "메일 [EMAIL]로 주세요."),
        ("4111 1111 1111 1111 and 2024 4111-1111-1111-1111", "[CARD] and 2024 [CARD]"),
        ("3782 822463 10005", "[CARD]"),
        ("GB82 WEST 1234 5698 7654 32, de89370400440532013000.", "[IBAN], [IBAN]."),
        ("971013-9019902", "971013-9019902"),  # the ninth kind: born in 18xx
        ("사업자번호 1168200276, 116-82-00276", "사업자번호 [BUSINESS], [BUSINESS]"),
        ("ssn 078-05-1120", "ssn [SSN]"),
        ('api_key = "abcdef0123456789abc"', 'api_key = "[KEY]"'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA", "[KEY]"),
        ("-----BEGIN PRIVATE KEY-----\nMI\n-----END PRIVATE KEY-----\nbye", "[KEY]\nbye"),
    ],
)
def test_forms(text, expected):
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30 10:15, 1,250,000원, 3.14159265358979, v1.10.12",
        "대표번호 1588-1234, 우편번호 06236, 주문 2024-0012345",
        "192.168.0.1 and 550e8400-e29b-41d4-a716-446655440000",
        "4111 1111 1111 1112, 116-82-00277, 000-12-3456, GB83 WEST 1234 5698 7654 32",
        "0.0212345678, 3.021234567 and 0.01012345678 이, 0.0505 1234 5678",  # decimals
        "2026-02-1234567, 주문 2024-031-1234-5678, 해상도 640 480 1024 768, 1 250 300 4000 5, +20000000원",
        "901332-1234567, 900230-1234567",  # a thirteenth month, a thirtieth of February
        "user@host, @name, a@b",
        "1700000000000 1764460800123",  # milliseconds
        "9 8 7 6 5 4 3 2 1",
        "4952 8264 6394 2861",  # no card, and its 82 is no country
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert find_personal(text) == []


@pytest.mark.parametrize(
    ("digits", "bare", "found"),
    [
        ("9001011234568", True, "resident"),  # its check digit is right
        ("9001011234567", True, None),  # 13 digits, and no more
        ("9001011234567", False, "resident"),  # changed since 2020: no check digit
        ("2101013123456", True, "resident"),  # born since: never had one
        ("8801045520315", True, None),  # a barcode of Korea
        ("8801045520315", False, "foreigner"),
    ],
)
def test_resident_numbers_before_and_since_october_2020(digits, bare, found):
    written = digits if bare else f"{digits[:6]}-{digits[6:]}"
    assert [one.kind for one in find_personal(f"값 {written}")] == ([found] if found else [])
    assert len(find_personal(f"주민등록번호 {written}")) == 1


@given(texts)
@settings(max_examples=soak_count(4000), deadline=None)
def test_any_text_is_read_and_what_is_not_found_stays(text):
    found = find_personal(text)
    at = 0
    for _, start, end in found:
        assert at <= start + 1 and start < end <= len(text)  # noqa: PT018
        at = end
    result = PersonalDataRail()(text)
    assert result.allowed
    assert result.text(text) == masked(text, found)
    assert (result.rewritten is None) == (not found)


def test_random_texts_of_every_kind():
    rng = random.Random(7)
    for _ in range(soak_count(10_000)):
        text = random_text(rng)
        assert PersonalDataRail(action="refuse")(text).allowed == (not find_personal(text))


def test_kinds_and_actions():
    text = "010-1234-5678, a@example.com"
    assert PersonalDataRail(["email"])(text).rewritten == "010-1234-5678, [EMAIL]"
    verdict = PersonalDataRail(action="refuse")(text)
    assert (verdict.allowed, verdict.reason, verdict.span) == (False, "personal data: email, phone", (0, 13))
    for options, said in (
        ({"kinds": ["name"]}, "one of kinds"),
        ({"kinds": "card"}, "a list"),
        ({"action": "hide"}, "action"),
    ):
        with pytest.raises(ValueError, match=said):
            PersonalDataRail(**options)
    for wrong in ((text, ["name"]), (text, "card"), (None,)):
        with pytest.raises(ValueError, match=r"one of kinds|a list|text must be"):
            find_personal(*wrong)
