"""Where each token lies in the text it came from (오프셋): what highlighting an answer or labelling a name needs.

    "Ünaffable!" -> un 0-2, ##aff 2-5, ##able 5-9, ! 9-10          though BERT's normalizer made it "unaffable!"

A normalizer says of each character of its result where it came from, the steps of the pre-tokenizer carry those places
along, and the model says which characters of a piece each token covers: a token lies from the start of its first
character to the end of its last. This is the slow twin of `Tokenizer.encode`, and gives the same ids.

Offsets count characters of the Python str, [start, end). Held against: tokenizers.Encoding.offsets, word_ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from minillm.tokenizer.parts import BLANKS

if TYPE_CHECKING:
    from minillm.tokenizer.base import Tokenizer


class Token(NamedTuple):
    """One token of a text: its id, where it lies in the source, and the number of the piece it is a part of."""

    id: int
    start: int
    end: int
    word: int


def trace_text(tokenizer: Tokenizer, text: str, names: frozenset[str]) -> list[Token]:
    """The tokens of `text` when exactly the added tokens `names` are recognised."""
    tokens: list[Token] = []
    word = 0
    for part, places, token, starts in tokenizer.traced_parts(text, names):
        if token is not None:
            tokens.append(Token(token.id, places[0][0], places[-1][1], word))
            word += 1
            continue
        for piece, where in tokenizer.pre_tokenizer.trace(part, places, starts):
            for index, start, end in tokenizer.model.trace(piece):
                tokens.append(Token(index, where[start][0], where[end - 1][1], word))
            word += 1
    return tokens


def trim(tokenizer: Tokenizer, tokens: list[Token], first_blank_stays: bool) -> list[Token]:
    """The tokens without the blanks at their ends, as the post-processors of byte-level tokenizers want it.

    first_blank_stays: the blank that was put in front of the text is not in the text, so it is not taken off.
    """
    trimmed = []
    for number, token in enumerate(tokens):
        name = tokenizer.id_to_token(token.id)
        signs = "Ġ" + BLANKS
        front, back = len(name) - len(name.lstrip(signs)), len(name) - len(name.rstrip(signs))
        start, end = token.start, token.end
        if front:
            front -= first_blank_stays and (number == 0 or start == 0)
            start = min(start + front, end)
        if back and end >= back:
            end = max(end - back, start)
        trimmed.append(token._replace(start=start, end=end))
    return trimmed
