"""A stream is checked before it leaves: a sentence goes out when it is whole and the rails have seen it.

    pieces     "Call 010-12" | "34-5678. Th" | "en wait."
    sentences  (held)          "Call 010-1234-5678. "    "Then wait."
    out                        "Call [PHONE]. "          "Then wait."

A sentence ends with a mark between a letter and a blank, or with an empty line. After a digit nothing ends: in
"010. 1234. 5678" the number goes on. So what a local rail finds (personal data) lies inside one sentence, and the
masked stream is the masked text. Rails that judge a text as a whole also see up to 2,000 characters before the
sentence: a wish in two sentences is one wish. What has left cannot be taken back; the stream ends with the refusal.

Book: 9.3 데이터 검증. Held against: the rails on the whole text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minillm.apps.guardrails.guard import Guard
from minillm.apps.guardrails.verdict import Verdict
from minillm.apps.guardrails.views import sentence_ends

BEFORE = 2000  # characters before a sentence that rails see with it
LOOK_BACK = 100  # characters that an end may have begun before the newest piece


def sentences_of(pieces: Iterable[str]) -> Iterator[str]:
    """The same text, a sentence at a time; an end counts once the character after it is there."""
    held, searched, seen, inside = "", 0, 0, False
    for piece in pieces:
        held, cut = held + piece, 0
        for end in sentence_ends(held, searched):
            if seen < end < len(held):  # at the end of what is here more blanks may follow
                seen, inside = end, _inside_key(held, seen, end, inside)
                cut = cut if inside else end
        searched = max(0, len(held) - LOOK_BACK)  # of a text without an end nothing is read twice
        if cut:
            yield held[:cut]
            held, searched, seen = held[cut:], 0, seen - cut
    if held:
        yield held


def _inside_key(text: str, start: int, end: int, inside: bool) -> bool:
    """Whether a private key has begun and not ended at `end`; inside: whether that was so at `start`."""
    begun = text.rfind("-----BEGIN", max(0, start - 9), end)
    ended = text.rfind("-----END", max(0, start - 7), end)
    return inside if begun == ended else begun > ended


def checked_stream(guard: Guard, pieces: Iterable[str]) -> Iterator[Verdict | str]:
    """Each sentence as the guard leaves it; at the first refusal its Verdict, and nothing after it."""
    wide, before = guard.wide(), ""
    for sentence in sentences_of(pieces):
        verdict = guard.check(sentence)
        if verdict.allowed and before and wide.rails:
            together = wide.check(before + sentence)
            verdict = verdict if together.allowed else together
        if not verdict.allowed:
            yield verdict
            return
        yield verdict.text(sentence)
        before = (before + sentence)[-BEFORE:]
