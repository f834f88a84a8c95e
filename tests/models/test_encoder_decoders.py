"""Encoder-decoders refuse, before any work, what they cannot take; configs say which field is wrong."""

import pytest
import torch

from minillm.models import BART, T5, BARTConfig, Llama, LlamaConfig, T5Body, T5Config, T5Encoder

V = 30
T5_SIZES = {"vocab_size": V, "d_model": 8, "d_kv": 3, "d_ff": 12, "num_heads": 2, "num_layers": 1}
BART_SIZES = {"vocab_size": V, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 12}
BART_SIZES |= {"decoder_ffn_dim": 12, "encoder_attention_heads": 2, "decoder_attention_heads": 4}
X, Y = torch.arange(3, 13).view(2, 5), torch.arange(3, 9).view(2, 3)
ONES = torch.ones(2, 5, dtype=torch.long)


@pytest.fixture(scope="module", params=["t5", "bart"])
def model(request):
    if request.param == "t5":
        return T5(T5Config(**T5_SIZES)).eval()
    return BART(BARTConfig(**BART_SIZES, max_position_embeddings=9)).eval()


BAD = {
    "no target": ((X,), {}, "decoder_input_ids must be a LongTensor (B, T), got None"),
    "a target of one dimension": ((X, None, Y[0]), {}, "decoder_input_ids must be a LongTensor"),
    "a target of floats": ((X, None, Y.float()), {}, "decoder_input_ids must be a LongTensor"),
    "an empty target": ((X, None, Y[:, :0]), {}, "decoder_input_ids must hold at least one token"),
    "no source": ((None, None, Y), {}, "give input_ids or encoder_output"),
    "two sources": ((X, None, Y), {"encoder_output": torch.zeros(2, 5, 8)}, "got both"),
    "an empty source": ((X[:, :0], None, Y), {}, "input_ids must hold at least one token"),
    "source ids too high": ((X + 20, None, Y), {}, f"input_ids must lie in 0..{V - 1}, got 23..32"),
    "source ids below zero": ((X - 4, None, Y), {}, f"input_ids must lie in 0..{V - 1}, got -1..8"),
    "target ids too high": (
        (X, None, Y + V),
        {},
        f"decoder_input_ids must lie in 0..{V - 1}, got {V + 3}..{V + 8}",
    ),
    "another number of texts": (
        (X, None, Y[:1]),
        {},
        "decoder_input_ids has 1 texts, what it looks back at has 2",
    ),
    "a mask of another shape": ((X, ONES[:, :4], Y), {}, "attention_mask must have shape (2, 5), got (2, 4)"),
    "a mask of other numbers": (
        (X, ONES * 2, Y),
        {},
        "attention_mask must hold 0 (padding) and 1 (token) only",
    ),
    "a target mask of another shape": (
        (X, None, Y, ONES),
        {},
        "decoder_attention_mask must have shape (2, 3), got (2, 5)",
    ),
    "an output of another width": (
        (None, None, Y),
        {"encoder_output": torch.zeros(2, 5, 7)},
        "encoder_output must be what encode gives or its states (B, S, 8)",
    ),
    "an output of another dtype": (
        (None, None, Y),
        {"encoder_output": torch.zeros(2, 5, 8, dtype=torch.float64)},
        "in torch.float32, got Tensor of shape (2, 5, 8) and dtype torch.float64",
    ),
    "no cache": ((X, None, Y), {"cache": 3}, "cache must be a KVCache or None, got 3"),
    "too many logits": ((X, None, Y), {"logits_to_keep": 4}, "logits_to_keep must be between 0 and 3, got 4"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_any_work(model, name):
    def work(*_):
        raise AssertionError("a block has run")

    given, options, message = BAD[name]
    blocks = [*model.body.encoder.blocks, *model.body.decoder.blocks]
    handles = [block.register_forward_hook(work) for block in blocks]
    try:
        with pytest.raises(ValueError) as caught:
            model(*given, **options)
    finally:
        for handle in handles:
            handle.remove()
    assert message in str(caught.value)


def test_texts_past_the_positions():
    model = BART(BARTConfig(**BART_SIZES, max_position_embeddings=6)).eval()
    long = torch.ones(1, 7, dtype=torch.long)
    with pytest.raises(ValueError, match="input_ids: 7 tokens do not fit into the context window of 6"):
        model.encode(long)
    with pytest.raises(ValueError, match="decoder_input_ids: 7 tokens do not fit"):
        model(long[:, :6], decoder_input_ids=long)
    cache = model.new_cache(1, 9)
    model(long[:, :6], decoder_input_ids=long[:, :5], cache=cache)
    with pytest.raises(ValueError, match="decoder_input_ids: 7 tokens do not fit"):
        model(decoder_input_ids=long[:, :2], cache=cache)
    assert cache.length == 5
    tall = T5(T5Config(**T5_SIZES)).eval()  # no table of positions, no end
    assert tall(torch.ones(1, 600, dtype=torch.long), decoder_input_ids=long).logits.shape == (1, 7, V)


def test_a_cache_of_another_model():
    model = T5(T5Config(**T5_SIZES)).eval()
    llama = Llama(LlamaConfig(V, 8, 8, 2, 2))
    for cache in (llama.new_cache(2, 8), model.new_cache(3, 8), model.new_cache(2, 2)):
        with pytest.raises(ValueError, match="cache"):
            model(X, decoder_input_ids=Y, cache=cache)
        assert (cache.length, cache.source, cache._of_context) == (0, None, {})


CONFIGS = {
    "d_model 7": (lambda: BARTConfig(**BART_SIZES | {"d_model": 7}), "encoder_attention_heads, got 7 and 2"),
    "heads": (
        lambda: BARTConfig(**BART_SIZES | {"decoder_attention_heads": 3}),
        "d_model must be divisible by decoder_attention_heads, got 8 and 3",
    ),
    "padding": (lambda: BARTConfig(**BART_SIZES, pad_token_id=V), f"pad_token_id must be below .*, got {V}"),
    "model_type": (
        lambda: BARTConfig(model_type="t5"),
        "model_type must be one of 'bart', 'mbart', got 't5'",
    ),
    "layers": (lambda: T5Config(num_decoder_layers=0), "num_decoder_layers must be at least 1, got 0"),
    "dropout": (lambda: T5Config(dropout_rate=2), "dropout_rate must be between 0.0 and 1.0, got 2"),
    "activation": (lambda: T5Config(feed_forward_proj="gated-xielu"), "dense_act_fn must be one of"),
    "gates": (lambda: T5Config(feed_forward_proj="gated-gelu-new"), "gated-activation, got 'gated-gelu-new'"),
    "buckets": (
        lambda: T5(T5Config(**T5_SIZES, relative_attention_max_distance=8)),
        "max_distance must be at least 9, got 8",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_says_which_field(name):
    make, message = CONFIGS[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_new_weights_are_those_of_the_seed():
    first, again, other = (T5(T5Config(**T5_SIZES, tie_word_embeddings=False), seed) for seed in (4, 4, 5))
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters()):
        assert torch.equal(a, b), name
        assert "norm" in name or not torch.equal(a, c), name
    body, encoder = T5Body(T5Config(**T5_SIZES)), T5Encoder(T5Config(**T5_SIZES))
    assert body.num_parameters() > encoder.num_parameters() > 0
    assert body(X, decoder_input_ids=Y).last_hidden_state.shape == (2, 3, 8)
    assert encoder(X).last_hidden_state.shape == (2, 5, 8)


def test_an_encoder_from_a_larger_folder_says_what_it_left_out(tmp_path):
    T5(T5Config(**T5_SIZES, tie_word_embeddings=False)).save_pretrained(tmp_path)
    encoder = T5Encoder.from_pretrained(tmp_path)
    assert "lm_head.weight" in encoder.left_out
    assert any(name.startswith("decoder.") for name in encoder.left_out)
    assert T5Body.from_pretrained(tmp_path).left_out == ("lm_head.weight",)
