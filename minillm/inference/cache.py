"""The KV cache (KV 캐시): keys and values of the tokens so far, kept instead of computed again for every new
token.

    bytes = 2 (K and V) · layers · tokens · kv_heads · D · bytes a number · batch

Book 7.1.2 KV 캐시 (its formula has the model width C in place of kv_heads · D, which is multi-head without
sharing). Paper: Pope et al. 2022. Held against transformers' DynamicCache: the same tokens, with and without.
Leaves out: dropping old tokens of a sliding window, pages (8.3.2 페이지어텐션).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_int, describe


def kv_cache_bytes(config: Any, batch_size: int, length: int, dtype: torch.dtype = torch.float16) -> int:
    """Bytes of the keys and values of `batch_size` texts of `length` tokens.

    config: any model config with num_layers, kv_heads and head_dim. ValueError for sizes below zero or no
    dtype. kv_cache_bytes(Llama-2-7B, 1, 4096, torch.float16) -> 2_147_483_648 (2 GiB)
    """
    _check_config(config)
    check_int("batch_size", batch_size, 0), check_int("length", length, 0)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype must be a torch.dtype, got {describe(dtype)}")
    # 2 (K and V) · layers · tokens · kv_heads · D · bytes a number · batch
    return 2 * config.num_layers * length * config.kv_heads * config.head_dim * dtype.itemsize * batch_size


def _check_config(config: Any) -> None:
    for name in ("num_layers", "kv_heads", "head_dim"):
        if not isinstance(getattr(config, name, None), int):
            raise ValueError(f"config must have num_layers, kv_heads and head_dim, got {describe(config)}")


class KVCache:
    """Room for `max_length` tokens of `batch_size` texts, taken once; every layer appends to its own row.

    All rows of a batch grow together; texts of different length are padded on the left, and the cache
    remembers the padding (`attention_mask`), so that later calls need not repeat it.
    """

    def __init__(
        self,
        config: Any,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        _check_config(config)
        self.batch_size, self.max_length = (
            check_int("batch_size", batch_size, 1),
            check_int("max_length", max_length, 1),
        )
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ValueError(f"dtype must be a float torch.dtype, got {describe(dtype)}")
        try:
            device = torch.device(device)
        except (RuntimeError, TypeError):
            raise ValueError(f"device must be cpu, cuda or the like, got {describe(device)}") from None
        shape = (batch_size, config.kv_heads, max_length, config.head_dim)  # (B, K, S, D)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)]
        self._lengths = [0] * config.num_layers
        self.attention_mask: Tensor | None = None  # bool (B, length), once a text was padded

    @property
    def length(self) -> int:
        """Tokens that every layer holds."""
        return min(self._lengths)

    def __len__(self) -> int:
        return self.length

    @property
    def nbytes(self) -> int:
        """Bytes taken, whether filled or not."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (B, K, T, D) to a layer; views (B, K, S, D) of all its keys and values so far.

        ValueError if they do not fit: other batch, heads or width, more tokens than there is room for.
        """
        if not isinstance(k, Tensor) or not isinstance(v, Tensor) or k.dim() != 4 or k.shape != v.shape:
            raise ValueError(f"k and v must be tensors (B, K, T, D), got {describe(k)} and {describe(v)}")
        start = self._lengths[check_int("layer", layer, 0, len(self.keys) - 1)]
        stop = start + k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        if stop > self.max_length:
            raise ValueError(f"the cache has room for {self.max_length} tokens, {stop} would be in it")
        if k.shape[0] != keys.shape[0] or k.shape[1] != keys.shape[1] or k.shape[3] != keys.shape[3]:
            raise ValueError(
                f"this cache takes (B, K, T, D) like {tuple(keys.shape)}, got k {tuple(k.shape)}"
            )
        # narrow(2, start, T) is [:, :, start:stop] for a third of the time: this runs in every layer for every token
        keys.narrow(2, start, stop - start).copy_(k)
        values.narrow(2, start, stop - start).copy_(v)
        self._lengths[layer] = stop
        return keys.narrow(2, 0, stop), values.narrow(2, 0, stop)

    def remember_mask(self, attention_mask: Tensor | None, input_ids: Tensor) -> Tensor | None:
        """The mask (B, past + T) of everything in the cache and the T new tokens, or None if nothing is
        padded.

        attention_mask: None, (B, T) for the new tokens or (B, past + T) for all. ValueError for other shapes.
        """
        (B, T), past = input_ids.shape, self.length
        if self.batch_size != B:
            raise ValueError(f"the cache was made for {self.batch_size} texts, got input_ids {(B, T)}")
        if past + T > self.max_length:
            raise ValueError(f"the cache has room for {self.max_length} tokens, {past + T} would be in it")
        if attention_mask is None and self.attention_mask is None:
            return None
        if attention_mask is not None and not isinstance(attention_mask, Tensor):
            raise ValueError(f"attention_mask must be a tensor or None, got {describe(attention_mask)}")
        if attention_mask is None:
            attention_mask = torch.ones(B, T, dtype=torch.bool, device=input_ids.device)
        if attention_mask.shape == (B, T) and past:
            before = self.attention_mask
            if before is None:
                before = torch.ones(B, past, dtype=torch.bool, device=input_ids.device)
            attention_mask = torch.cat((before, attention_mask.bool()), dim=1)
        elif attention_mask.shape != (B, past + T):
            found = tuple(attention_mask.shape)
            raise ValueError(f"attention_mask must have shape {(B, T)} or {(B, past + T)}, got {found}")
        self.attention_mask = attention_mask.bool()
        return attention_mask

    def crop(self, length: int) -> None:
        """Forget everything after the first `length` tokens. ValueError if there are fewer."""
        check_int("length", length, 0, self.length)
        self._lengths = [length] * len(self._lengths)
        if self.attention_mask is not None:
            self.attention_mask = self.attention_mask[:, :length] if length else None

    def reset(self) -> None:
        """Forget everything; the memory stays taken."""
        self.crop(0)
