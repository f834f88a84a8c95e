"""Special tokens (특수 토큰): strings such as <|endoftext|> that are one id and never meet a merge.

They are found before the text is split, the longest first where several begin at one place (base.py does it). Which
of them may be recognised is the caller's choice, because text from a user should not be able to end a prompt.

Book: 2.2.1 토큰화. Held against: tiktoken's allowed_special, tokenizers' added tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from minillm._checks import check_text, describe, is_listing
from minillm.tokenizer.splitting import cut_at


def check_special_tokens(tokens: Iterable[str]) -> tuple[str, ...]:
    """The special tokens as a tuple; ValueError for a bare str, an empty or repeated token, or a lone surrogate."""
    if not is_listing(tokens):
        raise ValueError(f"special_tokens must be a list of str, got {describe(tokens)}")
    names = tuple(tokens)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a special token must be a non-empty str, got {describe(name)}")
        encode_text(name, "special token")
    if len(set(names)) != len(names):
        raise ValueError(f"special tokens must differ from each other, got {describe(names)}")
    return names


def encode_text(text: str, what: str = "text") -> bytes:
    """`text` as UTF-8; ValueError when it is no str or holds a lone surrogate, which UTF-8 cannot write."""
    if not isinstance(text, str):
        raise ValueError(f"{what} must be a str, got {describe(text)}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} has a lone surrogate U+{ord(text[error.start]):04X} at character {error.start}, "
            "which is no character and has no UTF-8 form"
        ) from None


@lru_cache(maxsize=256)
def special_pattern(tokens: frozenset[str]) -> re.Pattern | None:
    """A pattern that finds any of `tokens`, the longest first; None when there are none."""
    if not tokens:
        return None
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=lambda t: (-len(t), t))))


def allowed_tokens(allowed_special: str | Collection[str], special_tokens: Collection[str]) -> frozenset[str]:
    """The special tokens that `allowed_special` ("all", or some of them) lets be recognised."""
    if isinstance(allowed_special, str):
        if allowed_special != "all":
            raise ValueError(
                f'allowed_special must be "all" or a set of special tokens, got {allowed_special!r}'
            )
        return frozenset(special_tokens)
    try:
        allowed = frozenset(allowed_special)
    except (TypeError, RuntimeError):
        raise ValueError(
            f'allowed_special must be "all" or a set of special tokens, got {describe(allowed_special)}'
        ) from None
    unknown = allowed - frozenset(special_tokens)
    if unknown:
        known = ", ".join(map(repr, special_tokens)) or "none"
        raise ValueError(
            f"allowed_special has {describe(sorted(map(str, unknown)))}, special tokens are: {known}"
        )
    return allowed


def special_parts(text: str, special: frozenset[str]) -> list[str]:
    """`text` cut around the special tokens in it: `"hi<|end|>you"` -> `["hi", "<|end|>", "you"]`.

    The rule in its shortest form; base.find_added adds what files may ask for (lstrip, single_word, ...).
    ValueError for another `special` than a frozenset of strings that are not empty.
    """
    check_text("text", text)
    if not isinstance(special, frozenset) or not all(isinstance(one, str) and one for one in special):
        raise ValueError(f"special must be a frozenset of non-empty str, got {describe(special)}")
    pattern = special_pattern(special)
    return cut_at(text, [match.span() for match in pattern.finditer(text)] if pattern else [])


def ordinary_parts(texts: Iterable[str], special: frozenset[str]) -> Iterator[str]:
    """What lies between the special tokens of each text, in order."""
    pattern = special_pattern(special)
    for text in texts:
        yield from filter(None, pattern.split(text) if pattern else [text])
