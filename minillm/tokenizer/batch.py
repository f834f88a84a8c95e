"""Texts to a batch a model takes (배치, 패딩): ids of equal length and a mask of what is real.

    "Hi", "Hello there"  ->  input_ids [[5, 0, 0], [7, 8, 9]]   attention_mask [[1, 0, 0], [1, 1, 1]]

Padding goes on the right; a model must ignore the positions whose mask is 0. Truncation drops tokens from the end,
with a pair of texts from the longer one; the special tokens around them stay.

Book: 2.2.1 토큰화. Held against: transformers' PreTrainedTokenizerFast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from minillm._checks import check_choice, check_int, describe, is_listing
from minillm.tokenizer.post_processors import Template
from minillm.tokenizer.special import encode_text


class Encoder(Protocol):
    """What a tokenizer offers to this file; its post-processor puts special tokens around one text or a pair."""

    post_processor: Template

    @property
    def pad_token_id(self) -> int | None: ...

    def encode(self, text: str) -> list[int]: ...


def encode_for_model(
    tokenizer: Encoder,
    texts: str | Sequence[str],
    text_pair: str | Sequence[str] | None = None,
    padding: bool | str = False,
    truncation: bool = False,
    max_length: int | None = None,
    return_tensors: str | None = None,
) -> dict[str, Any]:
    """Encode one text or a list of texts, each with a second text if `text_pair` is given.

    Args:
        padding: False, True (to the longest of the batch) or "max_length".
        truncation: whether to cut to `max_length` tokens.
        return_tensors: None for lists of int, "pt" for LongTensors (B, T).

    Returns:
        dict of input_ids, attention_mask (1 real, 0 padding) and token_type_ids (0 first text and padding, 1 second).
        One str gives one row: flat lists, or tensors (1, T).

    Raises:
        ValueError: wrong types, pairs that do not match, truncation or "max_length" without `max_length`, padding
            without a special token to pad with, or tensors from rows of different lengths.
    """
    single = isinstance(texts, str)
    firsts = [texts] if single else _texts("texts", texts)
    if text_pair is None:
        seconds: list[str | None] = [None] * len(firsts)
    elif isinstance(text_pair, str) != single:
        raise ValueError(
            f"text_pair must be of the same kind as texts (str or list), got {describe(text_pair)}"
        )
    else:
        seconds = [text_pair] if single else _texts("text_pair", text_pair)
    if len(firsts) != len(seconds):
        raise ValueError(f"texts and text_pair must be as many, got {len(firsts)} and {len(seconds)}")
    check_choice("padding", padding, (False, True, "max_length"))
    check_choice("truncation", truncation, (False, True))
    check_choice("return_tensors", return_tensors, (None, "pt"))
    if max_length is not None:
        max_length = check_int("max_length", max_length, minimum=1)
    elif truncation or padding == "max_length":
        raise ValueError("max_length must be given with truncation=True or padding='max_length', got None")
    if padding and tokenizer.pad_token_id is None:
        raise ValueError(
            "padding needs a special token to pad with, and this tokenizer has no special tokens"
        )

    added = tokenizer.post_processor.added(pair=text_pair is not None)
    if truncation and max_length < added:
        raise ValueError(f"max_length must leave room for {added} special tokens, got {max_length}")

    rows, types = [], []
    for first, second in zip(firsts, seconds):
        a, b = tokenizer.encode(first), None if second is None else tokenizer.encode(second)
        if truncation:
            a, b = _cut(a, b, max_length - added)
        ids, kinds = tokenizer.post_processor(a, b)
        rows.append(ids)
        types.append(kinds)
    masks = [[1] * len(row) for row in rows]
    if padding:
        width = max(map(len, rows), default=0) if padding is True else max_length
        for row, mask, kind in zip(rows, masks, types):
            missing = max(0, width - len(row))
            row += [tokenizer.pad_token_id] * missing
            mask += [0] * missing
            kind += [0] * missing
    batch = {"input_ids": rows, "attention_mask": masks, "token_type_ids": types}
    if return_tensors == "pt":
        import torch  # takes a second to import, and lists need none of it

        lengths = sorted(set(map(len, rows)))
        if len(lengths) > 1:
            raise ValueError(
                f"rows of {lengths[0]} to {lengths[-1]} tokens make no tensor: pass padding=True"
            )
        width = lengths[0] if lengths else 0
        return {
            name: torch.tensor(value, dtype=torch.long).reshape(len(rows), width)
            for name, value in batch.items()
        }
    return {name: value[0] for name, value in batch.items()} if single else batch


def _texts(name: str, texts: Sequence[str]) -> list[str]:
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a str or a list of str, got {describe(texts)}")
    return list(texts)


def _cut(a: list[int], b: list[int] | None, max_length: int) -> tuple[list[int], list[int] | None]:
    """Drop tokens from the end of the longer list until both fit; when both are cut they share the room, and an odd
    place goes to the longer one (of equals, the second)."""
    if b is None:
        return a[:max_length], None
    if len(a) + len(b) <= max_length:
        return a, b
    short = min(len(a), len(b))
    if short > max_length - short:
        short = max_length // 2
    long = max_length - short
    return (a[:long], b[:short]) if len(a) > len(b) else (a[:short], b[:long])


def check_texts(texts: Iterable[str]) -> Iterator[str]:
    """Each text in turn; ValueError for a bare str (its characters would pass for texts) and for other items."""
    if not is_listing(texts):
        raise ValueError(f"texts must be an iterable of str, got {describe(texts)}")
    return (_checked(text, number) for number, text in enumerate(texts))


def _checked(text: Any, number: int) -> str:
    encode_text(text, f"text {number}")
    return text


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """`ids` as a list of int in [0, vocab_size); arrays and tensors of one axis pass, floats and bools do not."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if not is_listing(ids):
        raise ValueError(f"ids must be a sequence of integers, got {describe(ids)}")
    known = list(ids)
    if not set(map(type, known)) <= {int}:
        known = [check_int("id", index) for index in known]
    if known and not 0 <= min(known) <= max(known) < vocab_size:
        bad = next(index for index in known if not 0 <= index < vocab_size)
        raise ValueError(f"id {bad} is out of range: the vocabulary has ids 0 to {vocab_size - 1}")
    return known
