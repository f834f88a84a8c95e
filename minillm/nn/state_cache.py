"""What a recurrent model remembers of its texts: a state of one size, however long they are.

    attention     keys and values of every token: bytes grow with the text              (KVCache)
    recurrence    state = f(state, token): (B, ...) tensors that are written over       (StateCache)

So there is nothing to page and nothing to share between two texts with the same beginning, and no way back: what a
token has done to the state stays. Book 2.1 (RNN), and the state-space models that came after it. Papers: Gu and Dao
2023 (Mamba). Held against the same texts read from their first token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe


class StateCache:
    """The states of `batch_size` texts: `states`, tensors (B, ...), as a text has them before its first token.

    A model's pass calls `extend` first, computes from `states`, and ends with `commit(new states, tokens)`: until then
    nothing is changed, so a pass that fails leaves no trace. ValueError for no states, or for texts of other numbers.
    """

    def __init__(self, states: Sequence[Tensor]) -> None:
        self._check(states)
        self.states = tuple(states)
        self.length = 0  # tokens of each text that are in the states

    @property
    def batch_size(self) -> int:
        """Texts."""
        return len(self.states[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all states: the same for any length."""
        return sum(state.nbytes for state in self.states)

    def extend(self, attention_mask: Tensor | None, batch_size: int, tokens: int) -> None:
        """Announce new tokens. ValueError for padding, which a recurrence would read, and for other texts."""
        if attention_mask is not None and not bool(attention_mask.all()):
            raise ValueError("a state cannot leave out padding: read texts of different lengths one by one")
        if batch_size != self.batch_size:
            raise ValueError(f"the states are of {self.batch_size} texts, got {batch_size}")

    def commit(self, states: Sequence[Tensor], tokens: int) -> None:
        """The states after `tokens` more of each text. ValueError for other shapes."""
        shapes = [tuple(state.shape) for state in states]
        if shapes != [tuple(state.shape) for state in self.states]:
            raise ValueError(
                f"states must keep their shapes {[tuple(s.shape) for s in self.states]}, got {shapes}"
            )
        self.states, self.length = tuple(states), self.length + tokens

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Whatever is raised inside leaves the cache as it was."""
        before = self.states, self.length
        try:
            yield
        except BaseException:
            self.states, self.length = before
            raise

    def crop(self, length: int) -> None:
        """Nothing for its own length; ValueError for less: a state has no way back."""
        if check_int("length", length, 0, self.length) != self.length:
            raise ValueError(f"a state cannot go back from {self.length} tokens to {length}")

    def select(self, rows: Sequence[int]) -> None:
        """Text i becomes a copy of what text rows[i] was. ValueError for numbers that are no texts."""
        chosen = [check_int("every row", row, 0, self.batch_size - 1) for row in rows]
        if not chosen:
            raise ValueError("rows must be a list of at least one row number, got none")
        self.states = tuple(state[chosen] for state in self.states)

    @staticmethod
    def _check(states: Any) -> None:
        if not isinstance(states, Sequence) or not states:
            raise ValueError(f"states must be a list of tensors (B, ...), got {describe(states)}")
        if any(not isinstance(s, Tensor) or s.dim() < 1 or len(s) != len(states[0]) for s in states):
            raise ValueError(f"states must be tensors (B, ...) of one B, got {describe(states)}")


def has_states(model: nn.Module) -> bool:
    """Whether a model remembers a text in a state of fixed size."""
    with torch.inference_mode(False):
        return isinstance(model.new_cache(1, 1), StateCache)
