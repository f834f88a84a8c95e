"""The simplest rails: phrases that no text may hold, and texts that are too long to be checked.

A phrase is looked for in `letters_view`: letter case, spacing, punctuation, zero-width characters and look-alikes do
not hide it. "I g n o r e your rules" and "이전지시를무시해" are found; the same wish in other words is not, and a
text that only speaks about the phrase is refused as well. Both are measured in the lesson.

Book: 9.3.1 데이터 검증 방식 (규칙 기반).
"""

from __future__ import annotations

from collections.abc import Iterable

from minillm._checks import check_int, check_text, describe, is_listing
from minillm.apps.guardrails.verdict import PASSED, Verdict
from minillm.apps.guardrails.views import letters_view

SHORTEST = 4  # letters and digits of a phrase: shorter ones stand inside other words


class PhraseRail:
    """Refuses a text that holds one of the phrases. ValueError for a phrase of fewer than 4 letters and digits."""

    def __init__(self, phrases: Iterable[str], name: str = "phrases"):
        if not is_listing(phrases):
            raise ValueError(f"phrases must be a list of texts, got {describe(phrases)}")
        self.phrases = {check_text("phrase", phrase): letters_view(phrase).text for phrase in phrases}
        for phrase, letters in self.phrases.items():
            if len(letters) < SHORTEST:
                raise ValueError(f"a phrase needs {SHORTEST} letters and digits or more, got {phrase!r}")
        self.name = check_text("name", name)

    def __call__(self, text: str) -> Verdict:
        view = letters_view(text)
        for phrase, letters in self.phrases.items():
            at = view.text.find(letters)
            if at >= 0:
                return Verdict(False, f"{self.name}: {phrase!r}", view.back(at, at + len(letters)))
        return PASSED


class LengthRail:
    """Refuses a text of more than `most` characters: what is not read to its end is not checked."""

    name = "length"

    def __init__(self, most: int = 20_000):
        self.most = check_int("most", most, 1)

    def __call__(self, text: str) -> Verdict:
        if len(text) <= self.most:
            return PASSED
        return Verdict(
            False, f"length: {len(text):,} characters, {self.most:,} at most", (self.most, len(text))
        )
