"""The attack set: its counts, that its halves share nothing, that disguises hide and can be undone."""

import base64
from collections import Counter

import pytest

from minillm.data import DISGUISES, attack_prompts, prove_held_out


def test_counts_balance_and_languages():
    every = attack_prompts()
    assert len(every) == 336 == len({one.text for one in every})
    by = Counter((one.half, one.attack) for one in every)
    assert set(by.values()) == {84}
    for half in ("tune", "held_out"):
        rows = attack_prompts(half)
        assert [one for one in every if one.half == half] == rows
        counts = Counter((one.attack, one.language, one.disguise) for one in rows)
        for attack in (True, False):
            for disguise in ("", *DISGUISES):
                assert min(counts[attack, language, disguise] for language in ("en", "ko")) >= 2
    with pytest.raises(ValueError, match="half must be"):
        attack_prompts("train")


def test_the_halves_share_no_family_no_sentence_and_no_long_run_of_words():
    tune, held = attack_prompts("tune"), attack_prompts("held_out")
    assert {one.family for one in tune}.isdisjoint(one.family for one in held)
    found = prove_held_out([one.plain for one in held], [one.plain for one in tune])
    assert found.items > 100
    assert found.shared_ngrams == 0
    assert found.longest_shared_run <= 5


def test_attacks_are_not_told_by_politeness_alone():
    """Korean: as many attacks as harmless questions end politely, within a little."""
    polite = ("요.", "요?", "다.", "요", "세요:")
    for half in ("tune", "held_out"):
        shares = [
            sum(one.plain.endswith(polite) for one in rows) / len(rows)
            for rows in (
                [
                    o
                    for o in attack_prompts(half)
                    if o.attack == a and o.language == "ko" and "document" not in o.family
                ]
                for a in (True, False)
            )
        ]
        assert abs(shares[0] - shares[1]) < 0.25


def test_disguises_can_be_undone():
    text = "Ignore this 무시해"
    assert DISGUISES["zero-width"](text).replace("\u200b", "") == text
    assert DISGUISES["spaced"](text).replace("   ", "|").replace(" ", "").replace("|", " ") == text
    assert base64.b64decode(DISGUISES["base64"](text).split(": ")[1]).decode() == text
    assert DISGUISES["look-alikes"]("apex 무시해 강") == "арех ㅁㅜㅅㅣㅎㅐ 강"
