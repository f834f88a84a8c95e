"""A KV cache in pages: one memory for all texts of a step, each text's keys and values in blocks anywhere in it.

    a step       text A: 1 new token     text B: 1 new token     text C: 3 new tokens (a piece of its prompt)
    the model    sees 5 texts of one token each (input_ids (5, 1)); only attention knows which of them belong together

A model's linear layers, norms and rotary positions treat every token by itself, so tokens of any texts can go through
it side by side. The cache holds the past, and attention asks it: that is all that has to change for texts of different
lengths, and pieces of prompts, in one pass without padding. Book 8.3.2 페이지어텐션. Paper: Kwon et al. 2023. Held
against KVCache, text by text. Leaves out: cross-attention, biases on the scores (ALiBi), other layouts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_int, describe
from minillm._tensors import check_place
from minillm.inference.engine.paged_attention import decode_attention, prefill_attention, store_kv
from minillm.nn.cache import check_cache_config

SHORT = (
    8  # new tokens of a text: up to so many look back one by one, in place; a longer piece gathers its blocks
)


class Chunk(NamedTuple):
    """New tokens of one text in a step: `count` of them, the first at position `start`, in the text's `blocks`."""

    blocks: list[int]
    start: int
    count: int = 1


def check_chunks(chunks: Sequence[Chunk], size: int) -> None:
    """ValueError unless each chunk holds integers, and its tokens lie within its blocks."""
    try:
        for chunk in chunks:
            blocks, start, count = chunk
            inside = 0 <= start <= start + count - 1 < len(blocks) * size and isinstance(blocks, list)
            if not inside or not all(type(blocks[n // size]) is int for n in (start, start + count - 1)):
                break
        else:
            return
    except (TypeError, ValueError, OverflowError):
        chunk = chunks
    raise ValueError(
        f"{describe(chunk)} does not fit into its blocks of {size} tokens: Chunk(blocks, start, count)"
    )


def check_pairs(pairs: Sequence[tuple[int, int]], num_blocks: int) -> None:
    """ValueError unless these are pairs of block numbers."""
    try:
        for source, target in pairs:
            array("q", (source, target))
            if not (0 <= source < num_blocks and 0 <= target < num_blocks):
                raise TypeError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"pairs must be (from, to) of blocks 0 to {num_blocks - 1}, got {describe(pairs)}"
        ) from None


class PagedKVCache:
    """Keys and values of `num_blocks` blocks of `block_size` tokens, each layer's (num_blocks, block_size, K, D).

    `begin(chunks)` says which tokens come next; then `model(input_ids (N, 1), cache=cache, position_ids=positions)`
    obeys the Cache protocol with N texts of one token each. Who owns which block is BlockManager's affair.
    windows: for each layer how far back a token sees, None for all. Raises ValueError for sizes below one.
    """

    def __init__(
        self,
        config: Any,
        num_blocks: int,
        block_size: int = 16,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        windows: Sequence[int | None] | None = None,
    ):
        self.num_blocks = check_int("num_blocks", num_blocks, 1)
        self.block_size = check_int("block_size", block_size, 1)
        check_cache_config(config)
        self.num_layers = config.num_layers
        windows = (None,) * self.num_layers if windows is None else windows
        if not isinstance(windows, (tuple, list)) or len(windows) != self.num_layers:
            raise ValueError(
                f"windows must hold a number or None for each of {self.num_layers} layers, got {describe(windows)}"
            )
        self.windows = tuple(one if one is None else check_int("a window", one, 1) for one in windows)
        self.device = check_place(dtype, device)
        shape = (self.num_layers, num_blocks, block_size, config.kv_heads, config.head_dim)
        with torch.inference_mode(False):  # memory that nobody has written to costs nothing yet
            self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=self.device) for _ in range(2))
        self.length = 0  # as the protocol counts: no token of a step before it has run, one a text after
        self._tokens = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return self.keys.nbytes + self.values.nbytes

    def begin(self, chunks: Sequence[Chunk]) -> Tensor:
        """The next pass: the chunks' tokens one after another. Their positions (N, 1) int64, for the model.

        Chunks of up to SHORT tokens come first (their tokens are attended to together). ValueError for none, for
        longer ones before them, and for tokens their blocks have no room for.
        """
        size, device = self.block_size, self.device
        check_chunks(chunks, size)
        counts = [chunk.count for chunk in chunks]
        short = next((i for i, count in enumerate(counts) if count > SHORT), len(counts))
        if not chunks or min(counts[short:], default=SHORT + 1) <= SHORT:
            raise ValueError(
                f"chunks must be at least one, those of {SHORT} tokens at most first, got counts {counts}"
            )
        longest = max(len(c.blocks) for c in chunks)
        padded = [c.blocks + [0] * (longest - len(c.blocks)) for c in chunks]
        ends = [c.start + c.count for c in chunks]
        positions = [n for c, end in zip(chunks, ends) for n in range(c.start, end)]
        places = [
            c.blocks[n // size] * size + n % size for c, end in zip(chunks, ends) for n in range(c.start, end)
        ]
        if min(places) < 0 or max(places) >= self.num_blocks * size:
            raise ValueError(
                f"blocks must be numbered from 0 to {self.num_blocks - 1}, got {describe(chunks)}"
            )
        # a token of a short piece is a row of its own, which sees all up to itself
        tables = [table for table, count in zip(padded[:short], counts) for _ in range(count)]
        self._rows = len(tables)
        lengths = [n + 1 for n in positions[: self._rows]]
        starts = [0, *accumulate(counts[short:])]
        self._places = torch.tensor(places, device=device)
        tensors = (torch.tensor(x, dtype=torch.int32, device=device) for x in (tables, lengths))
        self._one_by_one = tuple(tensors)
        if short < len(chunks):
            rest = (padded[short:], starts, ends[short:])
            tensors = (torch.tensor(x, dtype=torch.int32, device=device) for x in rest)
            self._gathered = *tensors, max(counts)
        self._tokens, self.length = len(positions), 0
        return torch.tensor(positions, device=device)[:, None]

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Blocks (from, to), one after another: what copy-on-write asks for. ValueError for no blocks."""
        check_pairs(pairs, self.num_blocks)
        for source, target in pairs:
            self.keys[:, target] = self.keys[:, source]
            self.values[:, target] = self.values[:, source]

    # The Cache protocol

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = True,
        scale: float | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """q (N, H, 1, D) of the step's tokens over their own texts -> (N, H, 1, D); k, v (N, K, 1, D) are kept."""
        if (
            mask is not None
            or bias is not None
            or not causal
            or k.shape[0] != self._tokens
            or k.shape[2] != 1
        ):
            raise ValueError(
                f"pages take k (N, K, 1, D) of the {self._tokens} tokens that `begin` announced, causal and without "
                f"mask or bias, got {tuple(k.shape)}"
            )
        keys, values, window = self.keys[layer], self.values[layer], self.windows[layer]
        q, k, v = (x.squeeze(2) for x in (q, k, v))  # (N, heads, D)
        store_kv(k, v, keys, values, self._places)  # all of them first: the step's tokens may see one another
        rows, parts = self._rows, []
        if rows:
            parts.append(decode_attention(q[:rows], keys, values, *self._one_by_one, scale, window))
        if rows < len(q):
            parts.append(prefill_attention(q[rows:], keys, values, *self._gathered, scale, window))
        y = parts[0] if len(parts) == 1 else torch.cat(parts)
        if layer == self.num_layers - 1:
            self.length = 1
        return y.unsqueeze(2)

    def extend(self, attention_mask: Tensor | None, batch_size: int, tokens: int) -> None:
        """Nothing is padding in pages. ValueError for other tokens than `begin` announced, and for a mask."""
        if attention_mask is not None or (batch_size, tokens) != (self._tokens, 1) or self.length:
            raise ValueError(
                f"pages wait for input_ids {(self._tokens, 1)} without a mask, as `begin` announced them, "
                f"got {(batch_size, tokens)}"
            )

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """A pass that fails can be tried again: what it wrote lies in the places of its own tokens."""
        length = self.length
        try:
            yield
        except BaseException:
            self.length = length
            raise

    def of_context(self, layer: int, context: Tensor, make: Callable[[Tensor], Any]) -> Any:
        """ValueError: pages hold the tokens of decoder-only models."""
        raise ValueError("pages hold no context: an encoder-decoder needs a KVCache")

    def crop(self, length: int) -> None:
        """ValueError: BlockManager.crop(table, length) takes a text's tokens back."""
        raise ValueError("pages have no length of their own: use BlockManager.crop")

    def select(self, rows: Sequence[int]) -> None:
        """ValueError: BlockManager.fork(table) makes one text several."""
        raise ValueError("pages have no rows of their own: use BlockManager.fork")
