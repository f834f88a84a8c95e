"""The KV cache (KV 캐시): keys and values of the tokens so far, kept instead of computed again for every new token.

    bytes = 2 (K and V) · layers · tokens · kv_heads · D · bytes a number · batch

A cache attends itself: a layer hands it q, k and v of the new tokens and gets back what attention over everything so
far gives. How the past is stored (in one block here, in pages for serving) is the cache's own affair. What
cross-attention reads is the same for every token: its keys and values are made of the encoder's output once a text.

A forward pass counts when its last layer has attended: only then does the cache's length move on. A pass that fails
or is interrupted before leaves nothing behind, because what it wrote lies beyond the length and is written over.

Book 7.1.2 KV 캐시 (its formula has the model width C in place of kv_heads · D, which is multi-head without sharing).
Paper: Pope et al. 2022. Held against transformers' DynamicCache: the same tokens, with and without.
Leaves out: pages (8.3.2 페이지어텐션), and dropping what a sliding window has left behind: all tokens are kept, so that
`crop` can go back to any of them; a ring that drops them would take kv_cache_bytes of the window's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from minillm._checks import check_int, describe
from minillm._kernels import autocast_dtype
from minillm._tensors import check_place
from minillm.nn.attention import attention, padding_mask


class Cache(Protocol):
    """What models and layers ask of a cache. KVCache is the plain one."""

    length: int  # tokens that count: those of every forward pass that ran to its end

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
        """Take in k and v (B, K, T, D) of a layer's new tokens, let q (B, H, T, D) attend to all -> (B, H, T, D)."""

    def of_context(
        self, layer: int, context: Tensor, make: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The keys and values (B, K, S, D) of a layer's cross-attention: make(context), kept for the next tokens."""

    def extend(self, attention_mask: Tensor | None, batch_size: int, tokens: int) -> Tensor | None:
        """Announce T new tokens a text: the mask bool (B, past + T) of all, or None if nothing is padding."""

    def all_or_nothing(self) -> Any:
        """A context in which an exception puts the cache back to where it was on entry."""

    def crop(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""

    def select(self, rows: Sequence[int]) -> None:
        """Text i becomes a copy of what text rows[i] was: beams change places, or one text becomes several."""


def kv_cache_bytes(config: Any, batch_size: int, length: int, dtype: torch.dtype = torch.float16) -> int:
    """Bytes of the keys and values of `batch_size` texts of `length` tokens.

    config: any model config with num_layers, kv_heads and head_dim; of an encoder-decoder the decoder's layers count,
    and length is that of source and target together. ValueError for sizes below zero or no dtype.
    kv_cache_bytes(Llama-2-7B, 1, 4096, torch.float16) -> 2_147_483_648 (2 GiB)
    """
    check_cache_config(config)
    check_int("batch_size", batch_size, 0), check_int("length", length, 0)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype must be a torch.dtype, got {describe(dtype)}")
    # 2 (K and V) · layers · tokens · kv_heads · D · bytes a number · batch
    return 2 * _layers(config) * length * config.kv_heads * config.head_dim * dtype.itemsize * batch_size


def check_cache_config(config: Any) -> None:
    """ValueError unless a configuration says what a cache of keys and values has to know."""
    for name in ("num_layers", "kv_heads", "head_dim"):
        if not isinstance(getattr(config, name, None), int):
            raise ValueError(f"config must have num_layers, kv_heads and head_dim, got {describe(config)}")


def _layers(config: Any) -> int:
    """The blocks that keep keys and values: all, or an encoder-decoder's decoder."""
    return getattr(config, "num_decoder_layers", config.num_layers)


def joined_mask(before: Tensor | None, given: Tensor | None, B: int, past: int, T: int) -> Tensor:
    """Bool (B, past + T): `before` of the cached tokens, then `given` of the T new ones. None: no padding there.

    given may also say it of all past + T tokens; then it is taken as it is. One of the two is not None.
    """
    if given is None:
        given = torch.ones(B, T, dtype=torch.bool, device=before.device)
    given = padding_mask(given)[:, 0, 0].clone()  # checked, bool; the caller's may change
    if past and given.shape == (B, T):
        if before is None:
            before = torch.ones(B, past, dtype=torch.bool, device=given.device)
        given = torch.cat((before.to(given.device), given), dim=1)
    if given.shape != (B, past + T):
        raise ValueError(
            f"attention_mask must have shape {(B, T)} or {(B, past + T)}, got {tuple(given.shape)}"
        )
    return given


def _rows_of(value: Any, index: Tensor, picked: dict[int, Any]) -> Any:
    """A tensor's rows `index`, or the same of all tensors in a tuple, a dict or a dataclass."""
    if isinstance(value, Tensor):
        if id(value) not in picked:
            picked[id(value)] = value.index_select(0, index)
        return picked[id(value)]
    if isinstance(value, tuple):
        return tuple(_rows_of(one, index, picked) for one in value)
    if isinstance(value, dict):
        return {name: _rows_of(one, index, picked) for name, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: _rows_of(getattr(value, f.name), index, picked) for f in fields(value)}
        )
    return value


class KVCache:
    """Room for `max_length` tokens of `batch_size` texts, taken once; every layer writes to its own row.

    All rows of a batch grow together; texts of different length are padded on the left, and the cache
    remembers the padding (`attention_mask`), so that later calls need not repeat it. dtype and device: the
    model's; where they are not given, float32 on the CPU until the first keys come, then theirs.
    `model.new_cache(batch_size, max_length)` gives the model's own. Raises ValueError for sizes below one.
    """

    def __init__(
        self,
        config: Any,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        check_cache_config(config)
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.max_length = check_int("max_length", max_length, 1)
        place = check_place(dtype, device)
        self.num_layers = _layers(config)
        self._shape = (batch_size, config.kv_heads, max_length, config.head_dim)  # (B, K, S, D)
        self._undecided = dtype is None and device is None
        self._allocate(torch.float32 if dtype is None else dtype, place)
        self.length = 0
        self.attention_mask: Tensor | None = None  # bool (B, length), once a text was padded
        self._next_mask: Tensor | None = None  # what attention_mask will be when the running pass has ended
        self.source: Any = (
            None  # what a model keeps of the text its decoder reads: the encoder's output, its mask
        )
        self._of_context: dict[
            int, tuple[Tensor, Tensor, Tensor]
        ] = {}  # layer -> context, its keys and values

    def _allocate(self, dtype: torch.dtype, device: torch.device) -> None:
        with torch.inference_mode(False):  # a cache filled in inference mode must serve outside it, too
            self.keys = [torch.zeros(self._shape, dtype=dtype, device=device) for _ in range(self.num_layers)]
            self.values = [
                torch.zeros(self._shape, dtype=dtype, device=device) for _ in range(self.num_layers)
            ]

    def __len__(self) -> int:
        return self.length

    @property
    def nbytes(self) -> int:
        """Bytes taken, whether filled or not, those of a context included."""
        kept = (tensor for _, *pair in self._of_context.values() for tensor in pair)
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values, *kept))

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
        """Attention of q (B, H, T, D) over the keys and values so far and k, v (B, K, T, D), which are kept.

        Arguments and result as in `attention`. After the last layer the T tokens count. ValueError as `update`.
        """
        keys, values = self.update(layer, k, v)
        y = attention(q, keys, values, mask, causal, scale, bias)
        if layer == self.num_layers - 1:
            self.commit(k.shape[2])
        return y

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v (B, K, T, D) behind a layer's past; views (B, K, S, D) of all its keys and values with them.

        ValueError if they do not fit: other batch, heads, width, dtype or device, more tokens than there is room for.
        """
        self._check(layer, k, v)
        self._settle(layer, k)  # dtype and device of the first keys, if none were given
        start, count = self.length, k.shape[2]
        keys, values = self.keys[layer], self.values[layer]  # (B, K, max_length, D)
        # narrow(2, start, T) is [:, :, start:stop] for a third of the time: this runs in every layer for every token
        keys.narrow(2, start, count).copy_(k)
        values.narrow(2, start, count).copy_(v)
        return keys.narrow(2, 0, start + count), values.narrow(2, 0, start + count)

    def of_context(
        self, layer: int, context: Tensor, make: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """make(context), the keys and values (B, K, S, D) of a layer's cross-attention, worked out once.

        They are kept until another context (another tensor) comes. ValueError if they do not fit, as `update`.
        """
        kept = self._of_context.get(layer)
        if kept is None or kept[0] is not context:
            k, v = make(context)
            self._check_shape(layer, k, v)
            self._settle(layer, k)
            like = self.keys[layer]
            with torch.inference_mode(
                False
            ):  # as with the tokens' own: filled in inference mode, of use outside
                keys, values = (torch.empty(x.shape, dtype=like.dtype, device=like.device) for x in (k, v))
            kept = self._of_context[layer] = context, keys.copy_(k), values.copy_(v)
        return kept[1], kept[2]

    def _check(self, layer: int, k: Tensor, v: Tensor) -> None:
        self._check_shape(layer, k, v)
        self.check_room(k.shape[2])

    def _check_shape(self, layer: int, k: Tensor, v: Tensor) -> None:
        fit = isinstance(k, Tensor) and isinstance(v, Tensor) and k.dim() == 4 and k.shape == v.shape
        if not fit or not k.is_floating_point():
            raise ValueError(
                f"k and v must be float tensors (B, K, T, D), got {describe(k)} and {describe(v)}"
            )
        check_int("layer", layer, 0, self.num_layers - 1)
        B, K, _, D = self._shape
        T = k.shape[2]
        if k.shape != (B, K, T, D):
            raise ValueError(f"this cache takes (B, K, T, D) like {self._shape}, got k {tuple(k.shape)}")

    def check_room(self, tokens: int) -> None:
        """ValueError if `tokens` more do not fit."""
        if self.length + tokens > self.max_length:
            raise ValueError(
                f"the cache has room for {self.max_length} tokens, {self.length + tokens} would be in it"
            )

    def _settle(self, layer: int, k: Tensor) -> None:
        """Take the dtype and device of the first keys, if none were given; ValueError for others later."""
        keys = self.keys[layer]
        # under autocast keys come in either dtype, and attention narrows them as it needs
        if k.device != keys.device or (k.dtype != keys.dtype and autocast_dtype(k) is None):
            if not self._undecided:
                raise ValueError(
                    f"this cache holds {keys.dtype} on {keys.device}, the model's keys are {k.dtype} on {k.device}: "
                    "make it by model.new_cache(batch_size, max_length)"
                )
            self._allocate(k.dtype, k.device)
        self._undecided = False

    def extend(self, attention_mask: Tensor | None, batch_size: int, tokens: int) -> Tensor | None:
        """The mask bool (B, past + T) of everything in the cache and the T new tokens, or None if nothing is padded.

        attention_mask: None, (B, T) of 0 and 1 for the new tokens, or (B, past + T) for all. It is remembered once
        the pass has run to its end. ValueError for other shapes and values, and for tokens there is no room for.
        """
        self._next_mask = None
        if self.batch_size != batch_size:
            raise ValueError(
                f"the cache was made for {self.batch_size} texts, got input_ids {(batch_size, tokens)}"
            )
        self.check_room(tokens)
        if attention_mask is not None or self.attention_mask is not None:
            past = self.length
            self._next_mask = joined_mask(self.attention_mask, attention_mask, batch_size, past, tokens)
        return self._next_mask

    def commit(self, tokens: int) -> None:
        """Count `tokens` more, which stand behind the others in every layer. ValueError if there is no room."""
        check_int("tokens", tokens, 0, self.max_length - self.length)
        self.length += tokens
        if self._next_mask is not None:
            self.attention_mask = self._next_mask
        elif self.attention_mask is not None:  # a layer used without a model: its tokens are no padding
            ones = self.attention_mask.new_ones(self.batch_size, tokens)
            self.attention_mask = torch.cat((self.attention_mask, ones), dim=1)
        self._next_mask = None

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """For a whole model: whatever is raised inside, after the last layer too, leaves the cache as it was."""
        before = dict(vars(self), _of_context=dict(self._of_context))
        try:
            yield
        except BaseException:
            vars(self).update(before)
            raise
        finally:
            self._next_mask = None

    def crop(self, length: int) -> None:
        """Forget everything after the first `length` tokens. ValueError if there are fewer."""
        self.length = check_int("length", length, 0, self.length)
        if self.attention_mask is not None:
            self.attention_mask = self.attention_mask[:, :length] if length else None

    def select(self, rows: Sequence[int]) -> None:
        """Text i becomes a copy of what text rows[i] was; len(rows) texts from now on, what they look back at included.

        ValueError for numbers that are no texts of this cache, and for none; the cache then stays as it was.
        """
        if not isinstance(rows, (Sequence, Tensor)) or isinstance(rows, (str, bytes)) or not len(rows):
            raise ValueError(f"rows must be a list of at least one row number, got {describe(rows)}")
        chosen = [check_int("every row", row, 0, self.batch_size - 1) for row in rows]
        if chosen == list(range(self.batch_size)):
            return
        with self.all_or_nothing(), torch.inference_mode(False):
            index, filled = torch.tensor(chosen, device=self.keys[0].device), self.length
            old = self.keys, self.values
            self._shape = (len(chosen), *self._shape[1:])
            self.keys, self.values = ([x.new_empty(self._shape) for x in side] for side in old)
            for now, before in zip((*self.keys, *self.values), (*old[0], *old[1])):
                now[:, :, :filled] = before[:, :, :filled].index_select(0, index)
            self.batch_size = len(chosen)
            picked: dict[int, Any] = {}  # a tensor that stands in two places is one tensor afterwards, too
            self.attention_mask = _rows_of(self.attention_mask, index, picked)
            self.source = _rows_of(self.source, index, picked)
            self._of_context = _rows_of(self._of_context, index, picked)

    def reset(self) -> None:
        """Forget everything; the memory of the tokens stays taken, that of a context is given back."""
        self.crop(0)
        self.source, self._of_context = None, {}
