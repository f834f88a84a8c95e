"""What cross-attention reads is made once a text: cached equals uncached, and a pass that fails leaves nothing."""

import pytest
import torch

from minillm.models import BART, T5, BARTConfig, T5Config
from minillm.nn import KVCache, MultiHeadAttention, kv_cache_bytes

V = 40
T5_SIZES = {"vocab_size": V, "d_model": 12, "d_kv": 5, "d_ff": 16, "num_heads": 3, "num_layers": 1}
BART_SIZES = {"vocab_size": V, "d_model": 12, "encoder_layers": 1, "decoder_layers": 3, "encoder_ffn_dim": 16}
BART_SIZES |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 3}


def make(kind):
    if kind == "t5":
        model = T5(T5Config(**T5_SIZES, num_decoder_layers=3))
    else:
        model = BART(BARTConfig(**BART_SIZES, max_position_embeddings=24))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(2 if kind == "t5" else 15)
    return model.eval()


@pytest.fixture(scope="module", params=["t5", "bart"])
def model(request):
    return make(request.param)


def ids(length, seed=0, batch=2):
    return torch.randint(3, V, (batch, length), generator=torch.Generator().manual_seed(seed))


def counted(model):
    """How often each decoder layer makes the keys of the context, and how often the encoder runs."""
    calls = {"keys": 0, "encoder": 0}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    handles = [
        block.cross_attention.k_proj.register_forward_hook(count("keys"))
        for block in model.body.decoder.blocks
    ]
    handles.append(model.body.encoder.register_forward_hook(count("encoder")))
    return calls, handles


@torch.no_grad()
def test_a_source_is_read_once(model):
    source, target = ids(7), ids(9, seed=1)
    mask = torch.ones_like(source)
    mask[1, :3] = 0
    expected = model(source, mask, target).logits
    calls, handles = counted(model)
    cache = model.new_cache(2, 9)
    found = [model(source, mask, target[:, :2], cache=cache).logits]
    for piece in target[:, 2:].split(1, dim=1):  # nothing but the new token, from here on
        found.append(model(decoder_input_ids=piece, cache=cache).logits)
    for handle in handles:
        handle.remove()
    assert calls == {"keys": 3, "encoder": 1}
    torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=1e-4)
    # the padding of the source was remembered
    other = model(source, None, target).logits
    assert (other[1] - expected[1]).abs().max() > 1e-3


@torch.no_grad()
def test_batched_equals_single(model):
    """Sources padded on the right (where BART's positions stay), and for relative positions on the left, too."""
    long, short = ids(8, batch=1), ids(5, seed=2, batch=1)
    target = ids(4, seed=1)
    sides = ("right", "left") if isinstance(model, T5) else ("right",)
    for side in sides:
        padding = torch.zeros(1, 3, dtype=torch.long)
        row = torch.cat((short, padding) if side == "right" else (padding, short), 1)
        mask = torch.ones(2, 8, dtype=torch.long)
        mask[1, slice(5, None) if side == "right" else slice(0, 3)] = 0
        cache, found = model.new_cache(2, 4), []
        for i, piece in enumerate(target.split(1, 1)):
            text = (torch.cat((long, row)), mask) if i == 0 else (None, None)
            found.append(model(*text, piece, cache=cache).logits)
        found = torch.cat(found, 1)
        for i, text in enumerate((long, short)):
            alone = model(text, decoder_input_ids=target[i : i + 1]).logits[0]
            torch.testing.assert_close(found[i], alone, atol=1e-5, rtol=1e-4)


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("where", ["first pass", "later", "another source"])
@pytest.mark.parametrize("part", ["cross_attention", "feed_forward"])
@pytest.mark.parametrize("layer", [0, 2])
@torch.no_grad()
def test_a_pass_that_fails_leaves_the_cache_as_it_was(model, where, part, layer):
    source, target, other = ids(6), ids(6, seed=1), ids(4, seed=3)
    cache = model.new_cache(2, 6)
    expected = model(source, decoder_input_ids=target).logits
    past = 0 if where == "first pass" else 3
    if past:
        model(source, decoder_input_ids=target[:, :past], cache=cache)
    before = cache.length, cache.source, dict(cache._of_context), cache.nbytes
    failing = getattr(model.body.decoder.blocks[layer], part)

    def fail(*_):
        raise PowerCutError

    handle = failing.register_forward_hook(fail)
    text = {"first pass": {"input_ids": source}, "later": {}, "another source": {"input_ids": other}}[where]
    with pytest.raises(PowerCutError):
        model(**text, decoder_input_ids=target[:, past:], cache=cache)
    handle.remove()
    assert (cache.length, cache.source, cache._of_context, cache.nbytes) == before
    rest = {} if past else {"input_ids": source}
    found = model(**rest, decoder_input_ids=target[:, past:], cache=cache).logits
    torch.testing.assert_close(found, expected[:, past:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_another_source_takes_the_place_of_the_first(model):
    cache = model.new_cache(2, 8)
    model(ids(6), decoder_input_ids=ids(3, seed=1), cache=cache)
    cache.crop(0)
    other, target = ids(4, seed=5), ids(3, seed=6)
    found = model(other, decoder_input_ids=target, cache=cache).logits
    torch.testing.assert_close(found, model(other, decoder_input_ids=target).logits, atol=1e-5, rtol=1e-4)
    cache.reset()
    assert cache.source is None
    with pytest.raises(ValueError, match="give input_ids or encoder_output"):
        model(decoder_input_ids=target, cache=cache)
    assert cache.length == 0


def test_bytes(model):
    """The formula counts source and target together, in the decoder's layers."""
    cache = model.new_cache(2, 9)
    assert cache.nbytes == kv_cache_bytes(model.config, 2, 9, torch.float32)
    with torch.no_grad():
        model(ids(7), decoder_input_ids=ids(2), cache=cache)
    assert cache.nbytes == kv_cache_bytes(model.config, 2, 9 + 7, torch.float32)


def test_filled_in_inference_mode_and_used_in_training(model):
    cache, target = model.new_cache(2, 5), ids(5, seed=1)
    with torch.inference_mode():
        model(ids(6), decoder_input_ids=target[:, :4], cache=cache)
    found = model(decoder_input_ids=target[:, 4:], cache=cache).logits
    torch.testing.assert_close(found, model(ids(6), decoder_input_ids=target).logits[:, 4:])
    found.sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())
    model.zero_grad()


def test_a_layer_alone():
    """The context's keys are those of the layer and of this context, in the cache's dtype."""
    torch.manual_seed(0)
    config = T5Config(**T5_SIZES)
    layer = MultiHeadAttention(12, 3, head_dim=5, layer=0)
    cache = KVCache(config, 2, 4)
    x, contexts = torch.randn(2, 3, 12), [torch.randn(2, n, 12) for n in (4, 6)]
    for context in (contexts[0], contexts[0], contexts[1], contexts[0]):
        torch.testing.assert_close(layer(x, context, cache=cache), layer(x, context))
    assert cache.length == 0  # a context is no token
    for bad, message in (
        (MultiHeadAttention(12, 3, head_dim=4), r"takes \(B, K, T, D\) like \(2, 3, 4, 5\)"),
        (MultiHeadAttention(12, 3, head_dim=5, layer=1), "layer must be between 0 and 0, got 1"),
        (MultiHeadAttention(12, 3, head_dim=5).double(), "torch.float64"),
    ):
        dtype = bad.q_proj.weight.dtype
        with pytest.raises(ValueError, match=message):
            bad(x.to(dtype), torch.randn(2, 4, 12, dtype=dtype), cache=cache)
    with pytest.raises(ValueError, match="no common order"):
        MultiHeadAttention(12, 3, causal=True)(x, contexts[0], cache=cache)
