"""A question to the reader before a result is shown, and the answer two cells later.

    guess = ...  # a, b or c
    predict("Which pair is merged first?", guess, ["t and h", "e and a space", "i and n"])

    ... the cell that finds out ...

    reveal(guess, "b", "A space follows e more often than any other letter follows another.")

The reader writes a guess in place of the dots, or only thinks of one and runs on: nothing waits for input, so a
lesson runs from top to bottom anywhere. With the dots left in place the outputs are always the same.
"""

from __future__ import annotations

import html
import string
from collections.abc import Sequence
from typing import Any

from minillm._checks import check_number, check_text, describe, is_listing


class Card:
    """What predict and reveal show: Markdown on the page, the same words in plain text."""

    def __init__(self, lines: list[str]):
        self._lines = lines

    def _repr_markdown_(self) -> str:
        return "\n".join(f"> {line}".rstrip() for line in self._lines)

    def __repr__(self) -> str:
        return "\n".join(html.unescape(line.replace("**", "")).rstrip() for line in self._lines if line)


def predict(question: str, guess: Any, options: Sequence[str] = ()) -> Card:
    """The question, its options as a, b, c, ..., and the guess as it stands (`...`: none yet).

    Without options the reader types a value. Raises ValueError for a guess that is none of the options' letters,
    for a single option, and for more than six.
    """
    check_text("question", question)
    letters = _letters(options)
    lines = [f"**Before you run on:** {question}", ""]
    lines += [f"- **{letter}**: {option}" for letter, option in zip(letters, options)]
    lines += [""] if letters else []
    if _blank(guess):
        kind = f"{', '.join(map(repr, letters[:-1]))} or {letters[-1]!r}" if letters else "a value"
        return Card(
            [*lines, f"Your guess: none yet. Write {kind} in place of the dots, and run this cell again."]
        )
    if letters and not (isinstance(guess, str) and _plain(guess) in tuple(letters)):
        raise ValueError(f"guess must be one of {', '.join(map(repr, letters))}, got {describe(guess)}")
    return Card([*lines, f"Your guess: {_shown(guess)}. Now run on."])


def reveal(guess: Any, answer: Any, because: str, within: float = 0.0) -> Card:
    """Whether the guess of an earlier `predict` cell was right, the answer, and why it is so.

    Letters and words are compared without regard to case, numbers to within `within`. Raises ValueError for an
    empty reason: an answer that is not explained teaches nothing.
    """
    check_number("within", within, 0)
    if not check_text("because", because).strip():
        raise ValueError("because must say why the answer is what it is, got an empty text")
    if _blank(answer):
        raise ValueError(f"answer must be a letter, a word or a number, got {describe(answer)}")
    shown = f"**{_shown(answer)}**"
    if _blank(guess):
        verdict = f"It is {shown}. (You left no guess.)"
    elif _agree(guess, answer, within):
        verdict = f"Right, it is {shown}."
    else:
        verdict = f"You said {_shown(guess)}; it is {shown}."
    return Card([f"{verdict} {because}"])


def _letters(options: Sequence[str]) -> str:
    if not is_listing(options) or not all(isinstance(option, str) for option in options):
        raise ValueError(f"options must be a list of str, got {describe(options)}")
    if len(options) == 1 or len(options) > 6:
        raise ValueError(f"options must be two to six, or none for a typed value, got {len(options)}")
    return string.ascii_lowercase[: len(options)]


def _blank(guess: Any) -> bool:
    return guess is ... or guess is None or (isinstance(guess, str) and not guess.strip())


def _plain(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return html.escape(_plain(value) if isinstance(value, str) and len(value.strip()) == 1 else str(value))


def _agree(guess: Any, answer: Any, within: float) -> bool:
    try:
        return abs(float(guess) - float(answer)) <= within
    except (TypeError, ValueError):
        return _plain(guess) == _plain(answer)
