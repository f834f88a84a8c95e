"""Texts to a batch a model takes (배치, 패딩): ids of equal length and a mask of what is real.

    "Hi", "Hello there"  ->  input_ids [[5, 0, 0], [7, 8, 9]]   attention_mask [[1, 0, 0], [1, 1, 1]]

A model must ignore the positions whose mask is 0. Book: 2.2.1 토큰화, 3.3.2. Held against: transformers'
PreTrainedTokenizerFast. Left out: `model_max_length`, return_length, target texts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from minillm._checks import check_choice, check_flag, check_int, describe, is_listing
from minillm.tokenizer.special import encode_text
from minillm.tokenizer.truncation import Span, choices, rooms, windows

if TYPE_CHECKING:
    from minillm.tokenizer.base import Tokenizer
    from minillm.tokenizer.offsets import Token

PADDING = (False, True, "longest", "max_length", "do_not_pad")
TRUNCATION = (False, True, "longest_first", "only_first", "only_second", "do_not_truncate")
SIDES = ("right", "left")
Text = Any  # a str, or the list of the words that it was split into


class Row:
    """One row of a batch: a window of one text or of two, the special tokens around them, and the padding."""

    def __init__(self, sample: int, items: Sequence[tuple[Any, int]], spans: Sequence[Span]) -> None:
        """`items` as a post-processor lists them; `spans[n]` is the window of text n."""
        self.sample, self.items, self.spans = sample, items, spans
        self.width, self.side = 0, "right"

    def parts(
        self, values: Sequence[list], special: Any = None
    ) -> Iterator[tuple[int | None, int, Sequence[Any]]]:
        """(number of the text or None, token type, its `values` or those of special tokens: ids if None)."""
        for what, kind in self.items:
            if what in ("A", "B"):
                number = "AB".index(what)
                start, end = self.spans[number]
                yield number, kind, values[number][start:end]
            else:
                yield None, kind, what if special is None else [special] * len(what)

    def padded(self, values: list, filler: Any) -> list:
        """`values` filled up to the width of the row."""
        missing = [filler] * (self.width - len(values))
        return values + missing if self.side == "right" else missing + values


class Batch(dict):
    """What calling a tokenizer gives: a dict whose entries are attributes, too."""

    def __init__(
        self, entries: dict[str, Any], rows: list[Row], samples: list[list[Text]], tokenizer: Tokenizer
    ) -> None:
        super().__init__(entries)
        self._rows, self._samples, self._tokenizer = rows, samples, tokenizer

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"a batch has no entry {name!r}; it has {', '.join(self)}")

    def word_ids(self, row: int = 0) -> list[int | None]:
        """Of each token the number of its word: a word of the list that was given, else a piece of the
        pre-tokenizer. None for special tokens and padding."""
        texts = self._samples[self._rows[check_int("row", row, 0, len(self._rows) - 1)].sample]
        return self._values(row, [[token.word for token in trace(self._tokenizer, text)] for text in texts])

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """Of each token whether it is of the first text (0) or the second (1); None as above."""
        row = check_int("row", row, 0, len(self._rows) - 1)
        spans = self._rows[row].spans
        return self._values(row, [[number] * end for number, (_, end) in enumerate(spans)])

    def _values(self, row: int, values: list[list]) -> list:
        layout = self._rows[row]
        laid_out = chain.from_iterable(part for _, _, part in layout.parts(values, special=_NONE))
        return layout.padded([None if value is _NONE else value for value in laid_out], None)

    def to(self, device: Any) -> Batch:
        """The batch with its tensors on `device`."""
        moved = {name: value.to(device) if hasattr(value, "to") else value for name, value in self.items()}
        return Batch(moved, self._rows, self._samples, self._tokenizer)


_NONE = object()


def encode_for_model(
    tokenizer: Tokenizer,
    texts: str | Sequence[Any],
    text_pair: str | Sequence[Any] | None = None,
    padding: bool | str = False,
    truncation: bool | str = False,
    max_length: int | None = None,
    return_tensors: str | None = None,
    *,
    stride: int = 0,
    add_special_tokens: bool = True,
    is_split_into_words: bool = False,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    return_token_type_ids: bool = True,
    return_attention_mask: bool = True,
    return_overflowing_tokens: bool = False,
    return_special_tokens_mask: bool = False,
    return_offsets_mapping: bool = False,
) -> Batch:
    """Encode one text or a list of texts, each with a second text if `text_pair` is given.

    A list of pairs, [["a question", "a passage"], ...], is the same as two lists.

    Args:
        padding: False or "do_not_pad", True or "longest" (of the batch), "max_length".
        truncation: False or "do_not_truncate", True or "longest_first", "only_first", "only_second": which text is
            cut so that a row has `max_length` tokens at most.
        return_tensors: None for lists of int, "pt" for LongTensors (B, T).
        stride: tokens that two neighbouring windows of a cut text share.
        is_split_into_words: a text is a list of words; offsets then count inside each word.
        padding_side: "right", "left"; None: the tokenizer's `padding_side`. (`truncation_side` is the tokenizer's.)
        return_overflowing_tokens: what was cut off comes back as further rows, and overflow_to_sample_mapping says
            of which text each row is.

    Returns:
        `Batch` of input_ids, attention_mask (1 real, 0 padding), token_type_ids (0 first text and padding, 1 second)
        and what else was asked for: special_tokens_mask (1 special or padding), offset_mapping (start, end) in the
        source text, (0, 0) for special tokens. One text gives one row: flat lists, or tensors (1, T).

    Raises:
        ValueError: wrong types, pairs that do not match, truncation or "max_length" without `max_length`, a text too
            short for the strategy, a stride as long as a window, padding without a special token to pad with, or
            tensors from rows of different lengths.
    """
    if text_pair is None and not check_flag("is_split_into_words", is_split_into_words) and _are_pairs(texts):
        texts, text_pair = map(list, zip(*texts))
    single, samples = _samples(texts, text_pair, check_flag("is_split_into_words", is_split_into_words))
    check_choice("padding", padding, PADDING)
    check_choice("truncation", truncation, TRUNCATION)
    check_choice("return_tensors", return_tensors, (None, "pt"))
    check_choice("padding_side", padding_side, (None, *SIDES))
    check_int("stride", stride, minimum=0)
    for name, flag in (
        ("add_special_tokens", add_special_tokens), ("return_token_type_ids", return_token_type_ids),
        ("return_attention_mask", return_attention_mask), ("return_offsets_mapping", return_offsets_mapping),
        ("return_overflowing_tokens", return_overflowing_tokens),
        ("return_special_tokens_mask", return_special_tokens_mask),
    ):  # fmt: skip
        check_flag(name, flag)
    strategy = {True: "longest_first", "do_not_truncate": False}.get(truncation, truncation)
    padding = {True: "longest", "do_not_pad": False}.get(padding, padding)
    if max_length is None and (strategy or padding == "max_length"):
        max_length = tokenizer.model_max_length
    if max_length is not None:
        max_length = check_int("max_length", max_length, minimum=1)
    elif strategy or padding == "max_length":
        raise ValueError("max_length must be given with truncation=True or padding='max_length', got None")
    if padding and tokenizer.pad_token_id is None:
        raise ValueError(
            "padding needs a special token to pad with, and this tokenizer has no special tokens"
        )
    multiple = 1 if pad_to_multiple_of is None else check_int("pad_to_multiple_of", pad_to_multiple_of, 1)
    if padding and strategy and max_length % multiple:
        raise ValueError(
            f"max_length {max_length} is no multiple of pad_to_multiple_of {multiple}: pad or cut"
        )

    template = tokenizer.post_processor
    items = template.single if text_pair is None else template.pair
    if not add_special_tokens:
        items = [item for item in items if item[0] in ("A", "B")]
    added = sum(len(what) for what, _ in items if what not in ("A", "B"))
    if strategy and max_length < added:
        raise ValueError(f"max_length must leave room for {added} special tokens, got {max_length}")
    if strategy and stride > max_length - template.added(pair=False):
        raise ValueError(
            f"stride must be less than the tokens that a window of {max_length} has, got {stride}"
        )

    rows: list[Row] = []
    entries: dict[str, list] = {"input_ids": []}
    wanted = (
        ("attention_mask", return_attention_mask), ("token_type_ids", return_token_type_ids),
        ("special_tokens_mask", return_special_tokens_mask), ("offset_mapping", return_offsets_mapping),
        ("overflow_to_sample_mapping", return_overflowing_tokens),
    )  # fmt: skip
    entries.update((name, []) for name, flag in wanted if flag)
    longest = 0
    for number, sample in enumerate(samples):
        places: list[list[Span]] = []
        if return_offsets_mapping:
            traced = [trace(tokenizer, text) for text in sample]
            ids = [[token.id for token in tokens] for tokens in traced]
            places = [[(token.start, token.end) for token in tokens] for tokens in traced]
        else:
            ids = [_encode(tokenizer, text) for text in sample]
        spans = [[(0, len(part))] for part in ids]
        if strategy:
            room = max_length - added
            kept = rooms(len(ids[0]), len(ids[1]) if len(ids) > 1 else None, room, strategy)
            for part, size in zip(ids, kept):
                if 0 < size < len(part) and stride >= size:
                    raise ValueError(
                        f"stride must be less than the {size} tokens that a window has, got {stride}"
                    )
            side = tokenizer.truncation_side
            spans = [windows(len(part), size, stride, side) for part, size in zip(ids, kept)]
        for choice in choices(spans) if return_overflowing_tokens else [[part[0] for part in spans]]:
            row = Row(number, items, choice)
            parts = list(row.parts(ids))
            row.width = sum(len(part) for _, _, part in parts)
            row_values = {
                "input_ids": [index for _, _, part in parts for index in part],
                "attention_mask": [1] * row.width,
                "token_type_ids": [kind for _, kind, part in parts for _ in part],
                "special_tokens_mask": [int(text is None) for text, _, part in parts for _ in part],
                "overflow_to_sample_mapping": number,
            }
            if return_offsets_mapping:
                row_values["offset_mapping"] = [
                    span for _, _, part in row.parts(places, special=(0, 0)) for span in part
                ]
            for name, values in entries.items():
                values.append(row_values[name])
            longest = max(longest, row.width)
            rows.append(row)
    if padding:
        width = longest if padding == "longest" else max_length
        width += -width % multiple
        fillers = {"input_ids": tokenizer.pad_token_id, "special_tokens_mask": 1, "offset_mapping": (0, 0)}
        side = padding_side or check_choice("the tokenizer's padding_side", tokenizer.padding_side, SIDES)
        for number, row in enumerate(rows):
            row.width, row.side = max(row.width, width), side
            for name, values in entries.items():
                if name != "overflow_to_sample_mapping":
                    values[number] = row.padded(values[number], fillers.get(name, 0))
    if return_tensors == "pt":
        return Batch(_tensors(entries, rows), rows, samples, tokenizer)
    if single and not return_overflowing_tokens:
        entries = {name: values[0] for name, values in entries.items()}
    return Batch(entries, rows, samples, tokenizer)


def _tensors(entries: dict[str, list], rows: list[Row]) -> dict[str, Any]:
    import torch  # takes a second to import, and lists need none of it

    widths = sorted({row.width for row in rows})
    if len(widths) > 1:
        raise ValueError(f"rows of {widths[0]} to {widths[-1]} tokens make no tensor: pass padding=True")
    shape = (len(rows), widths[0] if widths else 0)
    tensors = {}
    for name, values in entries.items():
        own = {"offset_mapping": (*shape, 2), "overflow_to_sample_mapping": shape[:1]}.get(name, shape)
        tensors[name] = torch.tensor(values, dtype=torch.long).reshape(own)
    return tensors


def trace(tokenizer: Tokenizer, text: Text) -> list[Token]:
    """The tokens of a text with their places; those of a list of words have the numbers of the words."""
    if isinstance(text, str):
        return tokenizer.trace(text)
    return [
        token._replace(word=number) for number, word in enumerate(text) for token in tokenizer.trace(word)
    ]


def _encode(tokenizer: Tokenizer, text: Text) -> list[int]:
    if isinstance(text, str):
        return tokenizer.encode(text)
    return [index for word in text for index in tokenizer.encode(word)]


def _samples(texts: Any, text_pair: Any, words: bool) -> tuple[bool, list[list[Text]]]:
    """(whether one text came, the text or the pair of texts of each row)."""
    kind = "a list of words" if words else "a str"
    single, firsts = _texts("texts", texts, words, kind)
    if text_pair is None:
        return single, [[text] for text in firsts]
    pair_single, seconds = _texts("text_pair", text_pair, words, kind)
    if pair_single != single:
        raise ValueError(
            f"text_pair must be of the same kind as texts (one text or a list), got {describe(text_pair)}"
        )
    if len(firsts) != len(seconds):
        raise ValueError(f"texts and text_pair must be as many, got {len(firsts)} and {len(seconds)}")
    return single, [list(pair) for pair in zip(firsts, seconds)]


def _are_pairs(texts: Any) -> bool:
    """Whether `texts` lists pairs of texts: [["first", "second"], ...]."""
    return (
        isinstance(texts, (list, tuple))
        and len(texts) > 0
        and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in texts)
        and all(isinstance(text, str) for pair in texts for text in pair)
    )


def _texts(name: str, texts: Any, words: bool, kind: str) -> tuple[bool, list[Text]]:
    def is_text(value: Any) -> bool:
        listing = isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)
        return listing if words else isinstance(value, str)

    if is_text(texts) and not (words and not texts):
        return True, [texts]
    if not isinstance(texts, (list, tuple)) or not all(map(is_text, texts)):
        raise ValueError(f"{name} must be {kind} or a list of such, got {describe(texts)}")
    return False, list(texts)


def check_texts(texts: Iterable[str]) -> Iterator[str]:
    """Each text in turn; ValueError for a bare str (its characters would pass for texts) and for other items."""
    if not is_listing(texts):
        raise ValueError(f"texts must be an iterable of str, got {describe(texts)}")
    return (_checked(text, number) for number, text in enumerate(texts))


def check_corpus(texts: Iterable[str]) -> Iterator[str]:
    """`check_texts` of what a tokenizer learns from; ValueError, too, where the first one is the name of a file: its
    letters would be learned. (The train of tokenizers takes names of files, ours takes texts.)"""
    checked = check_texts(texts)
    first = list(islice(checked, 1))
    if any(os.path.splitext(text)[1] and os.path.isfile(text) for text in first):
        raise ValueError(
            f"texts must be the texts themselves, got the name of a file, {first[0]!r}: read it first"
        )
    return chain(first, checked)


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
