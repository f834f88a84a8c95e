"""Made-up pairs with a score: the score is what the meanings share, and the two sides share no sentence."""

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

import minillm.data
from minillm.data import paraphrase_pairs, prove_held_out

WORDS = json.loads(Path(minillm.data.__file__).with_name("paraphrases.json").read_text(encoding="utf-8"))
POINTS = {"did": 3, "who": 1, "when": 1}


def meaning(sentence):
    """(did, who, when) of a sentence, read from its words alone: the longest wordings of the list that fit."""
    text = sentence.lower().rstrip(".")
    for language in ("ko", "en"):
        found = {
            kind: [
                (len(wording), place)
                for place, one in enumerate(WORDS[kind])
                for wording in one[language]
                if f" {wording.lower()} " in f" {text.replace(',', '')} "
            ]
            for kind in POINTS
        }
        if all(found.values()):
            return tuple(max(places)[1] for places in found.values())
    raise AssertionError(sentence)


def texts(rows):
    return [row[name] for row in rows for name in ("sentence1", "sentence2")]


def test_no_wording_has_two_meanings():
    for kind, language in itertools.product(POINTS, ("ko", "en")):
        wordings = [wording for one in WORDS[kind] for wording in one[language]]
        assert len(set(wordings)) == len(wordings) >= 20
        assert all(wording == wording.strip() and "  " not in wording for wording in wordings)
    assert len(WORDS["did"]) % 2 == 0  # each beside its opposite


@pytest.mark.parametrize("part", ["all", "train", "held_out"])
def test_the_score_is_what_the_meanings_share(part):
    rows = paraphrase_pairs(1200, 2, part)
    for row in rows:
        first, second = meaning(row["sentence1"]), meaning(row["sentence2"])
        assert row["meanings"] == (first, second)
        shared = sum(points for points, a, b in zip(POINTS.values(), first, second) if a == b)
        assert shared == row["score"], row
    assert Counter(row["score"] for row in rows) == dict.fromkeys(map(float, range(6)), 200)
    opposites = [row for row in rows if meaning(row["sentence1"])[0] ^ 1 == meaning(row["sentence2"])[0]]
    assert 250 < len(opposites) < 400  # half of the 600 with another thing done, and a few by chance


def test_six_pairs_share_their_first_sentence():
    rows = paraphrase_pairs(600)
    for start in range(0, 600, 6):
        assert len({row["sentence1"] for row in rows[start : start + 6]}) == 1
        assert [row["score"] for row in rows[start : start + 6]] == [5, 4, 3, 2, 1, 0]
    assert (
        len({row["sentence1"] for row in paraphrase_pairs(3000, 1, "held_out", ("ko",))}) == 500
    )  # none comes again


def test_seeded_prefix_and_no_pair_twice():
    rows = paraphrase_pairs(3000, 0, "held_out")
    assert rows[:700] == paraphrase_pairs(700, 0, "held_out")
    assert rows != paraphrase_pairs(3000, 1, "held_out")
    assert len({(row["sentence1"], row["sentence2"]) for row in rows}) == 3000


def test_nobody_does_the_same_thing_on_both_sides():
    train, held = (
        texts(paraphrase_pairs(3000, seed, part)) for seed, part in enumerate(("train", "held_out"))
    )
    assert prove_held_out(set(held), set(train), what="text").items > 2000
    sides = [{meaning(text)[:2] for text in side} for side in (train, held)]
    assert not sides[0] & sides[1]
    assert not sides[0] & {(did ^ 1, who) for did, who in sides[1]}
    assert len(sides[0]) + len(sides[1]) == len(WORDS["did"]) * len(WORDS["who"])
    for kind in range(2):  # each of them stands on both sides, with another partner
        assert {one[kind] for one in sides[0]} == {one[kind] for one in sides[1]}


def test_languages():
    rows = paraphrase_pairs(1200)
    assert set(Counter(row["languages"] for row in rows)) == {"ko-ko", "ko-en", "en-ko", "en-en"}
    for row in rows:
        for name, language in zip(("sentence1", "sentence2"), row["languages"].split("-")):
            assert any("가" <= letter <= "힣" for letter in row[name]) == (language == "ko")
    assert {row["languages"] for row in paraphrase_pairs(60, languages=("ko",))} == {"ko-ko"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "n must be between 1 and 12000"),
        ({"n": 3001, "part": "held_out"}, "n must be between 1 and 3000"),
        ({"part": "test"}, "part must be one of"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"languages": "ko"}, "languages must be a list"),
        ({"languages": ()}, "languages must be a list"),
        ({"languages": ("fr",)}, "one of languages must be one of"),
    ],
)
def test_bad_input_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        paraphrase_pairs(**{"n": 6} | given)
