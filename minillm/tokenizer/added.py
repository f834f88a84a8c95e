"""Added tokens (추가 토큰): strings that are found in a text before the model sees it, and where they lie.

    "hi<|end|>you"  ->  "hi", <|end|>, "you"          the longest where several begin at one place

Book: 2.2.1 토큰화. Held against: tokenizers.AddedToken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import regex

from minillm.tokenizer.parts import BLANKS

_LETTER = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]")
_BLANK_RUN = regex.compile(r"\p{White_Space}*")


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in the text before the model sees it.

    special: left out by `decode(skip_special_tokens=True)`, and recognised only where `allowed_special` says so.
    single_word: not inside a word. lstrip, rstrip: takes the blanks in front, behind. normalized: looked for in the
    text after the normalizer, else before.
    """

    id: int
    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


def find_added(
    text: str, tokens: Mapping[str, AddedToken], pattern: re.Pattern | None
) -> Iterator[tuple[int, int, AddedToken | None]]:
    """(start, end, token or None for ordinary text) of the parts of `text`, in order.

    `pattern` finds the keys of `tokens`, the longest where several begin at one place.
    """
    done = 0
    for match in pattern.finditer(text) if pattern else ():
        token, (start, end) = tokens[match.group()], match.span()
        if token.single_word and (
            (start > 0 and _LETTER.match(text, start - 1)) or (end < len(text) and _LETTER.match(text, end))
        ):
            continue
        if token.lstrip:
            start = done + len(text[done:start].rstrip(BLANKS))
        if token.rstrip:
            end = _BLANK_RUN.match(text, end).end()
        if start >= end:  # the token in front has taken all of it
            continue
        if done < start:
            yield done, start, None
        yield start, end, token
        done = end
    if done < len(text):
        yield done, len(text), None
