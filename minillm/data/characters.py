"""The smallest tokenizer: every character is a token. Pairs of texts become the tensors of an encoder-decoder.

    Characters(["ab", "b"]).encode("ba")     -> [4, 3, 2]     0 is padding, 1 begins a target, 2 ends a text
    characters.batch([("ab", "b")])          -> input_ids [[3, 4, 2]], attention_mask [[1, 1, 1]], labels [[4, 2]]

Book: 2.2.1 토큰화 (the simplest way), 2.6 디코더. Left out: characters that no text had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minillm._checks import check_int, check_text, describe, is_listing

if TYPE_CHECKING:
    from torch import Tensor


class Characters:
    """Each character of some texts is a token; 0 is padding, 1 begins a target, 2 ends a text.

    ids are given in the order of the characters' code points. Raises ValueError for no text.
    """

    padding, start, end = 0, 1, 2

    def __init__(self, texts: Sequence[str]):
        letters = sorted({letter for text in _texts(texts) for letter in text})
        if not letters:
            raise ValueError(f"texts must hold characters to number, got {describe(texts)}")
        self.letters = ["<pad>", "<s>", "</s>", *letters]
        self.ids = {letter: number for number, letter in enumerate(self.letters) if number > self.end}

    def __len__(self) -> int:
        return len(self.letters)

    def encode(self, text: str) -> list[int]:
        """The ids of a text and the end. ValueError for a character that no text had."""
        unknown = sorted(set(check_text("text", text)) - set(self.ids))
        if unknown:
            codes = ", ".join(
                f"{letter!r} U+{ord(letter):04X}" for letter in unknown[:8]
            )  # jamo look like syllables
            raise ValueError(f"text holds {len(unknown)} characters that have no id: {codes}")
        return [*(self.ids[letter] for letter in text), self.end]

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text up to the end, padding and start left out. ValueError for an id out of range."""
        if not is_listing(ids):
            raise ValueError(f"ids must be a list of integers, got {describe(ids)}")
        letters = []
        for number in ids:
            number = check_int("id", number, 0, len(self) - 1)
            if number == self.end:
                break
            letters += [self.letters[number]] if number > self.end else []
        return "".join(letters)

    def batch(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
        """input_ids (B, S), attention_mask (B, S) and labels (B, T), int64, padded on the right; labels with -100.

        ValueError for anything but pairs of str, and for a character that has no id.
        """
        for pair in pairs if is_listing(pairs) and len(pairs) else (None,):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"pairs must be a list of (source, target), got {describe(pairs)}")
        sources, targets = ([self.encode(text) for text in side] for side in zip(*pairs))
        input_ids = _padded(sources, self.padding)
        return {
            "input_ids": input_ids,
            "attention_mask": (input_ids != self.padding).long(),
            "labels": _padded(targets, -100),
        }


def _texts(texts: Sequence[str]) -> list[str]:
    if not is_listing(texts):
        raise ValueError(f"texts must be a list of str, got {describe(texts)}")
    return [check_text("text", text) for text in texts]


def _padded(rows: list[list[int]], fill: int) -> Tensor:
    """Rows of different length as one int64 tensor (B, longest)."""
    import torch  # takes a second to import, and lists need none of it

    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])
