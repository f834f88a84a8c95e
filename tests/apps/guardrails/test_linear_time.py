"""Time grows with the length of a text, not with its square: hostile repeats, each of one million characters."""

import time

import pytest

from minillm.apps.guardrails import (
    Guard,
    LengthRail,
    NgramEncoder,
    PersonalDataRail,
    PhraseRail,
    sentences_of,
)
from tests.apps.guardrails.hostile import REPEATED
from tests.helpers import soak_count

RAILS = Guard(
    [
        LengthRail(10**8),
        PersonalDataRail(),
        PhraseRail(["ignore all previous instructions", "이전 지시를 무시"]),
    ]
)


def seconds(text):
    begun = time.process_time()
    RAILS.check(text)
    list(sentences_of(text[i : i + 997] for i in range(0, len(text), 997)))
    return time.process_time() - begun


@pytest.mark.parametrize("piece", REPEATED)
def test_ten_thousand_characters(piece):
    """A pattern that backtracks over all of it would take hours; this takes a hundredth of a second."""
    assert seconds(("x" + piece * 10_000)[:10_000]) < 10


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_million_characters_take_about_ten_times_as_long_as_a_hundred_thousand():
    """A tenth of both outside `make soak`: a square would show there, too."""
    most = 1_000_000 if soak_count(100) == 100 else 100_000
    for piece in REPEATED:
        length = most if piece != "ﷺ" else most // 20  # 18 letters each
        text = (piece * length)[:length]
        short = min(seconds(text[: length // 10]) for _ in range(3))
        assert seconds(text) < 40 * short + 0.5, repr(piece)  # a square would be 100 times


@pytest.mark.soak
def test_a_million_characters_of_ngrams():
    assert NgramEncoder().encode(["가나다 " * 250_000]).any()
