"""Checkers of lesson 07_1, the KV cache."""

import torch

from minillm.course import exercise
from minillm.models import LlamaConfig
from minillm.nn import MultiHeadAttention, RoPE, attention


@exercise("07-1-a", points=2)
def tokens_computed(answer):
    """Work with and without a cache."""
    assert answer(5, 1, True) == 5, "to write one token the prompt is read once: 5"
    assert answer(5, 1, False) == 5, "to write one token the prompt is read once, cache or not: 5"
    assert answer(5, 3, True) == 7, (
        "with a cache: the 5 of the prompt, then 1 and 1; the last token is not read again"
    )
    assert answer(5, 3, False) == 18, (
        "without a cache: 5 for the first token, 6 for the second, 7 for the third"
    )


class _Attends:
    """The answer as a layer uses a cache: attention over everything that `update` gives back."""

    def __init__(self, cache):
        self.cache = cache

    @property
    def length(self):
        return self.cache.length

    def attend(self, layer, q, k, v, *, mask=None, causal=True, scale=None, bias=None):
        return attention(q, *self.cache.update(layer, k, v), mask, causal, scale, bias)


@exercise("07-1-b", points=3)
def list_cache(answer):
    """A cache that grows."""
    cache = answer(2)
    assert cache.length == 0, f"a new cache holds 0 tokens, got {cache.length!r}"
    generator = torch.Generator().manual_seed(0)
    k, v = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(2))
    cache.update(0, k[:, :, :4], v[:, :, :4])
    assert cache.length == 0, "the second layer holds nothing yet, so the cache's length is still 0"
    cache.update(1, -k[:, :, :4], -v[:, :, :4])
    assert cache.length == 4, f"both layers hold 4 tokens now, got length {cache.length}"
    found = cache.update(0, k[:, :, 4:], v[:, :, 4:])
    assert isinstance(found, tuple), "update returns the pair (keys, values)"
    keys, values = found
    assert keys.shape == k.shape, (
        f"update returns ALL keys so far, shape {tuple(k.shape)}, got {tuple(keys.shape)}"
    )
    assert torch.equal(keys, k), (
        "the keys of layer 0 are not those that were given to layer 0, in their order"
    )
    assert torch.equal(values, v), "the values of layer 0 are not those that were given to layer 0"
    cache.update(1, -k[:, :, 4:], -v[:, :, 4:])
    cache.crop(3)
    assert cache.length == 3, f"after crop(3) the cache holds 3 tokens, got {cache.length}"
    keys, _ = cache.update(0, k[:, :, 3:], v[:, :, 3:])
    assert torch.equal(keys, k), "after crop(3), what is appended follows the first 3 tokens"
    layer = MultiHeadAttention(16, 4, 2, position=RoPE(4), causal=True)
    x, mine = torch.randn(1, 6, 16, generator=generator), _Attends(answer(1))
    pieces = [layer(piece, cache=mine) for piece in x.split([3, 1, 2], dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), layer(x), atol=1e-5), (
        "an attention layer with your cache must give, piece by piece, what it gives for the whole text"
    )


@exercise("07-1-c", points=2)
def users(answer):
    """How many texts fit."""
    config = LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2)
    one = 2 * 2 * 2 * 8 * 10 * 2  # K and V, layers, kv_heads, head_dim, tokens, bytes
    found = answer(config, 1000 + 5 * one, 1000, 10)
    assert found == 5, (
        f"one text takes 2 · 2 layers · 2 kv_heads · 8 · 10 tokens · 2 bytes = {one}: 5 fit, got {found}"
    )
    found = answer(config, 1000 + 6 * one - 1, 1000, 10)
    assert found == 5, f"5.99 texts are 5 whole ones, got {found}"
    assert isinstance(found, int), "the number of texts is an int"
    assert answer(config, 1000 + 5 * one, 1000, 10, size=4) == 2, (
        "size is the bytes a number: with 4, half as many fit"
    )
    assert answer(config, 500, 1000, 10) == 0, "the weights alone do not fit: nobody can be served"
