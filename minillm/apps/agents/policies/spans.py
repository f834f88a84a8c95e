"""What an argument may be filled with: the pieces of a request, and what the last tool said.

    은지에게 "곧 가요"라고 보내 줘.  ->  곧 가요 (quoted)   은지에게, 은지 (without its particle)   보내   줘

An argument is never made up: it is one of these pieces, or one of the values that its schema lists. So a small model
that ranks pieces (`evaluation.Ranker`) can fill arguments that it has never seen.

Book: 15.1.4 에이전트의 행동. Paper: Vinyals et al. 2015, "Pointer Networks", which points at the input in the same way.
Left out: arguments that have to be reworded ("tomorrow" as a date).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

TOKEN = re.compile(
    r"\"(?P<quoted>[^\"]*)\"|(?P<file>[\w-]+\.[A-Za-z]{2,4}(?![A-Za-z]))|(?P<number>\d+(?:\.\d+)?)|(?P<word>[^\W\d]+(?:'\w+)?)|(?P<mark>\S)"
)
PARTICLES = (
    "에게", "한테", "께", "에다", "에서", "에는", "에도", "으로", "라고", "하고", "은", "는", "이", "가", "을", "를",
    "의", "에", "로", "와", "과", "도",
)  # fmt: skip
LONGEST = 4  # tokens of a piece that stands in no quotes


class Token(NamedTuple):
    """text as it stands; kind: quoted, file, number, word or mark."""

    text: str
    kind: str

    @property
    def seen(self) -> str:
        """What a policy learns from: names of files, numbers and quoted texts are only said to be such."""
        return self.text.casefold() if self.kind in ("word", "mark") else f"<{self.kind}>"


class Piece(NamedTuple):
    """A value, and where it is from: tokens start..end of the request, or start = -1 for the last observation."""

    value: str
    kind: str
    start: int
    end: int
    particle: str = ""

    @property
    def source(self) -> str:
        """ "observed" for what a tool said, else the kind."""
        return "observed" if self.start < 0 else self.kind


def tokens(text: str) -> list[Token]:
    """ "Add 3 to a.txt." -> Add, 3, to, a.txt, . with their kinds."""
    return [Token(one[one.lastgroup], one.lastgroup) for one in TOKEN.finditer(text)]


def pieces(request: str, observation: str | None = None) -> list[Piece]:
    """All that may be an argument: single tokens, runs of words, each also without its particle, the observation."""
    found, all_tokens = [], tokens(request)
    for start, token in enumerate(all_tokens):
        if token.kind in ("quoted", "file", "number"):
            found.append(Piece(token.text, token.kind, start, start + 1))
        for end in range(start + 1, min(len(all_tokens), start + LONGEST) + 1):
            run = all_tokens[start:end]
            if any(one.kind != "word" for one in run):
                break
            text = " ".join(one.text for one in run)
            found.append(Piece(text, "words", start, end))
            found += [
                Piece(text.removesuffix(p), "words", start, end, p)
                for p in PARTICLES
                if text.endswith(p) and len(text) > len(p) and not text.isascii()
            ]
    if observation is not None:
        kind = "number" if re.fullmatch(r"-?\d+(\.\d+)?", observation) else "words"
        found.append(Piece(observation, kind, -1, -1))
    return found


def masked(request: str) -> list[str]:
    """The tokens as a policy sees them, without marks but + - * /."""
    return [one.seen for one in tokens(request) if one.kind != "mark" or one.text in "+-*/"]


def features(piece: Piece, all_tokens: Sequence[Token], known: frozenset[str]) -> list[str]:
    """What a piece looks like and what stands beside it. known: words that requests are made of, whatever they ask."""
    if piece.start < 0:
        return [f"observed {piece.kind}"]
    before = all_tokens[piece.start - 1].seen if piece.start else "^"
    after = all_tokens[piece.end].seen if piece.end < len(all_tokens) else "$"
    inside = [one.seen for one in all_tokens[piece.start : piece.end]]
    if piece.particle:
        inside[-1] = inside[-1].removesuffix(piece.particle)
    new = sum(word not in known for word in inside)
    numbers = sum(one.kind == "number" for one in all_tokens[: piece.start])
    capital = piece.value[:1].isupper()
    cut = not piece.value.isascii() and any(piece.value.endswith(p) and piece.value != p for p in PARTICLES)
    whole = new == len(inside)
    return [
        f"kind={piece.kind}", f"before={before}", f"after={after}", f"particle={piece.particle}",
        f"{piece.kind} new={new} of {len(inside)}", f"new before={before not in known} {piece.kind}",
        f"new after={after not in known} {piece.kind}", f"capital={capital} new={new > 0}",
        f"particle on={cut} off={piece.particle != ''}", f"number {numbers} {piece.kind}",
        f"particle={piece.particle} new={whole}", f"words={len(inside)} {piece.value.isascii()}",
    ]  # fmt: skip
