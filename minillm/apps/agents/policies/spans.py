"""What an argument may be filled with: the pieces of a request, and what the last tool said.

    은지에게 "곧 가요"라고 보내 줘.  ->  곧 가요 (quoted)   은지에게, 은지 (without its particle)   보내   줘

An argument is never made up: it is one of these pieces, or one of the values that its schema lists. So a small model
that ranks pieces (`evaluation.Ranker`) can fill arguments that it has never seen.

Book: 15.1.4 에이전트의 행동. Paper: Vinyals et al. 2015, "Pointer Networks", which points at the input in the same way.
Left out: arguments that have to be reworded ("tomorrow" as a date).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

TOKEN = re.compile(
    r"\"(?P<quoted>[^\"]*)\"|(?P<file>[\w-]+\.[A-Za-z]{2,4}(?![A-Za-z]))|(?P<number>\d+(?:\.\d+)?)|(?P<word>[^\W\d]+(?:'\w+)?)|(?P<mark>\S)"
)
PARTICLES = (
    "에게", "한테", "께", "에다", "에서", "에는", "에도", "으로", "라고", "하고", "은", "는", "이", "가", "을", "를",
    "의", "에", "로", "와", "과", "도",
)  # fmt: skip
ENDINGS = (
    *PARTICLES, "까지", "부터", "만", "이랑", "랑", "이나", "나", "께서", "보다", "밖에", "말고", "마다", "이요", "요",
    "이라는", "라는", "이라고", "이란", "들", "님", "씨", "이야", "야", "아", "처럼", "인데", "인지",
    "에게는", "에게도", "에게만", "한테는", "한테도", "한테만", "에서는", "이라도",
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
                for p in (() if text.isascii() else ENDINGS)
                if text.endswith(p) and len(text) > len(p)
            ]
    if observation is not None:
        kind = "number" if re.fullmatch(r"-?\d+(\.\d+)?", observation) else "words"
        found.append(Piece(observation, kind, -1, -1))
    return found


def masked(request: str) -> list[str]:
    """The tokens as a policy sees them, without marks but + - * /."""
    return [one.seen for one in tokens(request) if one.kind != "mark" or one.text in "+-*/"]


class Vocabulary:
    """In how many wordings a word, or the beginning of a Korean word, stands without being a part of an argument."""

    def __init__(self, contexts: Iterable[Collection[str]] = ()) -> None:
        self.counts = Counter(form for words in contexts for form in forms(words))

    def seen(self, form: str, own: Collection[str] = ()) -> int:
        """Not counted: the wording whose forms are `own`."""
        return self.counts[form] - (form in own)

    def begins(self, word: str, own: Collection[str] = ()) -> int:
        """How many letters of a Korean word's beginning are a beginning of several words."""
        return next((n for n in range(len(word), 0, -1) if self.seen(word[:n] + "*", own) > 1), 0)


def forms(words: Iterable[str]) -> set[str]:
    """The words themselves, and the beginnings of those that are not written in Latin letters, with a star."""
    words = set(words)
    return words | {word[:n] + "*" for word in words if not word.isascii() for n in range(1, len(word) + 1)}


def features(
    piece: Piece, all_tokens: Sequence[Token], known: Vocabulary, own: Collection[str] = ()
) -> list[str]:
    """What a piece looks like and what stands beside it. own: forms that this request has added to `known`."""
    if piece.start < 0:
        return [f"observed {piece.kind}"]
    before = all_tokens[piece.start - 1].seen if piece.start else "^"
    after = all_tokens[piece.end].seen if piece.end < len(all_tokens) else "$"
    if piece.kind == "number":
        return number_features(piece, all_tokens, before, after)
    inside = [one.seen for one in all_tokens[piece.start : piece.end]]
    if piece.particle:
        inside[-1] = inside[-1].removesuffix(piece.particle)
    often = [bucket(known.seen(word, own)) for word in inside]
    korean = not piece.value.isascii()
    cut = korean and any(piece.value.endswith(p) and piece.value != p for p in ENDINGS)
    new = often.count("0")
    begins = f"{known.begins(inside[-1], own)} of {len(inside[-1])}" if korean else ""
    beside = bucket(known.seen(before, own)), bucket(known.seen(after, own))
    return [
        f"kind={piece.kind}", f"before={before}", f"after={after}", f"particle={piece.particle}",
        f"{piece.kind} new={new} of {len(inside)}", f"often={max(often)} {min(often)}",
        f"before={beside[0]} new={new > 0}", f"after={beside[1]} new={new > 0}",
        f"capital={piece.value[:1].isupper()} new={new > 0}", f"particle on={cut} off={piece.particle != ''}",
        f"particle={piece.particle} often={max(often)}", f"words={len(inside)} {korean}",
        f"ends={piece.value[-2:].casefold()}", f"end={piece.value[-1:]}", f"begins={begins}",
    ]  # fmt: skip


def number_features(piece: Piece, all_tokens: Sequence[Token], before: str, after: str) -> list[str]:
    """What stands beside a number, and which of the numbers it is, in order and in size."""
    numbers = [(at, float(one.text)) for at, one in enumerate(all_tokens) if one.kind == "number"]
    place = sum(at < piece.start for at, _ in numbers)
    larger = sum(value > float(piece.value) for _, value in numbers)
    return [
        f"before={before}", f"after={after}", f"number {place} of {len(numbers)}", f"size {larger} of {len(numbers)}",
        f"before={before} number {place}", f"after={after} number {place}",
    ]  # fmt: skip


def bucket(count: int) -> str:
    """0, 1, few or many."""
    return "0" if count <= 0 else "1" if count == 1 else "few" if count < 5 else "many"
