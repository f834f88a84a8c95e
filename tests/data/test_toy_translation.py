"""Dates and words: right by Python's own dates, balanced, and held out."""

import re
from collections import Counter
from datetime import date, datetime

import pytest
import torch

from minillm.data import SPELLINGS, Characters, date_pairs, prove_held_out, word_pairs
from minillm.data.toy_translation import DAYS, korean_month, korean_number

READ = {  # by Python's own parser; %y is its rule for two digits, too
    "2024년 3월 5일": "%Y년 %m월 %d일",
    "March 5, 2024": "%B %d, %Y",
    "Tuesday, 5 March 2024": "%A, %d %B %Y",
    "5 Mar 2024": "%d %b %Y",
    "5/3/24": "%d/%m/%y",
}
UNITS = {"천": 1000, "백": 100, "십": 10}


def read_korean(words):
    """A number in Korean words, read by the rule that is taught: 삼천이백십 = 3·1000 + 2·100 + 10."""
    total, digit = 0, 0
    for letter in words:
        if letter in UNITS:
            total, digit = total + (digit or 1) * UNITS[letter], 0
        else:
            digit = "일이삼사오육칠팔구".index(letter) + 1
    return total + digit


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_key_of_a_spelling_is_the_fifth_of_march_2024(name):
    assert SPELLINGS[name](date(2024, 3, 5)) == name


@pytest.mark.parametrize("name", READ)
def test_what_is_spelled_is_read_by_strptime(name):
    for source, target in date_pairs(400, seed=3, spellings=[name]):
        assert datetime.strptime(source, READ[name]).date().isoformat() == target


def test_the_other_spellings_say_the_same_day_and_the_right_weekday():
    for source, target in date_pairs(400, spellings=["2024년 3월 5일 화요일", "2024. 3. 5.(화)"]):
        year, month, day, weekday = re.match(r"(\d+)[년.] (\d+)[월.] (\d+)[일.][( ](.)", source).groups()
        said = date(int(year), int(month), int(day))
        assert said.isoformat() == target
        assert "월화수목금토일".index(weekday) == said.weekday()
    for source, target in date_pairs(400, spellings=["이천이십사년 삼월 오일"]):
        year, month, day = re.fullmatch(r"(\w+)년 (\w+)월 (\w+)일", source).groups()
        month = {"유": "육", "시": "십"}.get(month, month)
        assert date(*map(read_korean, (year, month, day))).isoformat() == target


def test_korean_numbers():
    said = {
        1: "일",
        10: "십",
        11: "십일",
        20: "이십",
        110: "백십",
        1110: "천백십",
        2000: "이천",
        1987: "천구백팔십칠",
    }
    assert {number: korean_number(number) for number in said} == said
    assert [read_korean(korean_number(number)) for number in range(1, 10000)] == list(range(1, 10000))
    assert [korean_month(month) for month in (1, 6, 10, 12)] == ["일월", "유월", "시월", "십이월"]


def test_no_date_stands_on_both_sides_and_together_they_are_the_century():
    train, held = date_pairs(32_873, seed=5, part="train"), date_pairs(3_652, seed=6, part="held_out")
    days = {target for _, target in train}, {target for _, target in held}
    assert (
        (len(days[0]), len(days[1]), len(days[0] | days[1]))
        == (32_873, 3_652, DAYS)
        == (32_873, 3_652, 36_525)
    )
    assert prove_held_out(days[1], days[0], what="date").items == 3_652
    prove_held_out([source for source, _ in held], [source for source, _ in train], what="spelling")


def test_months_days_weekdays_and_spellings_are_balanced_in_the_held_out_part():
    held = [date.fromisoformat(target) for _, target in date_pairs(3_652, part="held_out")]
    century = [date.fromisoformat(target) for _, target in date_pairs(DAYS)]
    for field in (lambda d: d.month, lambda d: d.day, lambda d: d.weekday(), lambda d: d.year):
        few, many = Counter(map(field, held)), Counter(map(field, century))
        assert set(few) == set(many)
        assert max(abs(10 * few[value] / many[value] - 1) for value in many) < 0.1
    shapes = Counter(re.sub(r"\d+|[A-Za-z]+|[월화수목금토일](?=요일|\))", "x", source) for source, _ in
                     date_pairs(4000, spellings=[name for name in SPELLINGS if "이천" not in name]))  # fmt: skip
    assert len(shapes) == 7
    assert min(shapes.values()) > 4000 / 7 * 0.85


def test_a_longer_list_begins_with_the_shorter_one_and_days_come_again_when_all_were_seen():
    assert date_pairs(50, seed=2)[:20] == date_pairs(20, seed=2) != date_pairs(20, seed=3)
    assert date_pairs(4000, part="held_out")[:3660] == date_pairs(3660, part="held_out")
    assert word_pairs(50, seed=2)[:20] == word_pairs(20, seed=2) != word_pairs(20, seed=3)
    assert date_pairs(0) == word_pairs(0) == []


def test_words_are_copied_or_reversed_and_held_out():
    copies, reversed_ = word_pairs(500), word_pairs(500, reverse=True)
    assert all(source == target for source, target in copies)
    assert all(source[::-1] == target for source, target in reversed_)
    assert len(copies) == len(reversed_) == 500
    assert set(map(len, next(zip(*copies)))) == set(range(3, 9))
    train, held = word_pairs(5000, part="train"), word_pairs(500, seed=1, part="held_out")
    prove_held_out([word for word, _ in held], [word for word, _ in train], what="word")


def test_bad_calls_are_refused():
    for call, message in (
        (lambda: date_pairs(-1), "n must"), (lambda: date_pairs(3, part="test"), "'held_out'"),
        (lambda: date_pairs(3, spellings=["2024/3/5"]), "2024/3/5"), (lambda: date_pairs(3, spellings=[]), "spellings"),
        (lambda: date_pairs(3, spellings="5/3/24"), "spellings"), (lambda: word_pairs(3, shortest=2), "shortest"),
        (lambda: word_pairs(3, shortest=9), "shortest"), (lambda: word_pairs(3, reverse=1), "reverse"),
        (lambda: korean_number(0), "number"), (lambda: korean_month(13), "month"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()


def test_characters():
    characters = Characters(["나b", "가"])
    assert characters.letters == ["<pad>", "<s>", "</s>", "b", "가", "나"]
    assert len(characters) == 6
    assert characters.encode("가나") == [4, 5, 2]
    assert characters.decode([1, 4, 5, 2, 3, 3, 0]) == "가나"
    assert characters.decode(torch.tensor([4, 0, 5])) == "가나"
    batch = characters.batch([("가나", "b"), ("b", "나나가")])
    assert batch["input_ids"].tolist() == [[4, 5, 2], [3, 2, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[3, 2, -100, -100], [5, 5, 4, 2]]
    for call, message in (
        (lambda: Characters([]), "texts"), (lambda: Characters("abc"), "texts"), (lambda: Characters([3]), "text"),
        (lambda: characters.encode("z가y"), r"2 characters .* 'y' U\+0079"),
        (lambda: characters.encode("\u1100\u1161"), r"U\+1100"),  # 가 as jamo: it looks like the known one
        (lambda: characters.decode([9]), "id"), (lambda: characters.decode([3.0]), "id"),
        (lambda: characters.decode(torch.tensor(3)), "list"),
        (lambda: characters.batch([]), "pairs"), (lambda: characters.batch(["ab"]), "pairs"),
        (lambda: characters.batch([("가", 3)]), "text"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
