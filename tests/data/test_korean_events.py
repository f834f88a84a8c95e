"""Korean news of made-up people: places of names, held-out people, contexts without an answer."""

import pytest

from minillm.data import korean_events
from minillm.data.korean_events import CITIES, DAYS, FILLERS


def names(examples, label="PER"):
    return {
        one["context"][entity["start"] : entity["end"]]
        for one in examples
        for entity in one["entities"]
        if entity["label"] == label
    }


def test_every_place_holds_what_it_says():
    examples = korean_events(400, seed=3, fillers=5)
    assert names(examples, "LOC") <= set(CITIES)
    assert names(examples, "DAT") <= set(DAYS)
    assert all(len(name) == 3 for name in names(examples))
    for one in examples:
        answer = one["answer"]
        assert one["context"][answer["start"] :].startswith(answer["text"])
        labels = [entity["label"] for entity in one["entities"]]
        asked = "LOC" if "어디" in one["question"] else "DAT" if "언제" in one["question"] else "PER"
        assert labels == ["PER", "DAT", "LOC"]
        own = one["entities"][labels.index(asked)]
        assert answer["start"] == own["start"]
    assert {len(one["context"].split(". ")) for one in examples} == {1, 2, 3, 4, 5, 6}


def test_a_sentence_as_it_is_printed():
    [one] = korean_events(1, seed=0, fillers=0)
    name, town, day = (next(iter(names([one], label))) for label in ("PER", "LOC", "DAT"))
    assert one["context"].startswith((f"{name}은 {day} {town}에서 ", f"{name}는 {day} {town}에서 "))
    assert one["context"].endswith("다.")


def test_held_out_people_are_nobody_to_learn_from():
    train, held = (names(korean_events(2000, seed=0, part=part)) for part in ("train", "held_out"))
    assert len(train) > 300
    assert len(held) > 100
    assert not train & held
    assert {name[0] for name in train} == {name[0] for name in held}  # the same families


def test_without_an_answer():
    examples = korean_events(300, seed=1, fillers=2, unanswered=0.3)
    without = [one for one in examples if one["answer"] is None]
    assert 50 < len(without) < 130
    for one in without:
        assert one["context"]
        assert not one["entities"]
        assert all(f"{sentence.rstrip('.')}." in FILLERS for sentence in one["context"].split(". "))
    assert all(one["answer"] is None for one in korean_events(20, unanswered=1.0))


def test_a_longer_list_begins_with_the_shorter_one():
    assert korean_events(50, seed=4)[:20] == korean_events(20, seed=4)
    assert korean_events(20, seed=4) != korean_events(20, seed=5)


@pytest.mark.parametrize(
    "options",
    [{"n": 0}, {"seed": -1}, {"part": "test"}, {"fillers": 21}, {"fillers": -1}, {"unanswered": 1.5}],
)
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        korean_events(**options)
