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
    held, searched = "", 0
    for piece in pieces:
        held += piece
        ends = [end for end in sentence_ends(held, searched) if end < len(held)]  # more blanks may follow
        cut = next((end for end in reversed(ends) if not _inside_key(held[:end])), 0)
        searched = max(0, len(held) - LOOK_BACK)  # of a text without an end nothing is read twice
        if cut:
            yield held[:cut]
            held, searched = held[cut:], 0
    if held:
        yield held


def _inside_key(text: str) -> bool:
    """Whether a private key has begun and not ended."""
    return text.rfind("-----BEGIN") > text.rfind("-----END")


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
