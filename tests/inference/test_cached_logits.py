"""The scores with a cache are those without, to 1e-5, for every architecture: prefill, then decode, as the loop does.

Rows of different length in one batch (padded on the left; an encoder-decoder's sources on the right), each also alone.
"""

import itertools

import pytest
import torch

from minillm.inference import SamplingParams, next_logits
from minillm.inference.conditioned import conditioned
from minillm.inference.loop import decode, left_padded, prefill
from minillm.models import BART, GPT2, T5, BARTConfig, GPT2Config, Llama, LlamaConfig, T5Config

V, NEW = 50, 7
ROWS = [[5, 9, 31, 2, 44, 17, 8], [12], [3, 40, 6]]
LLAMA = {
    "vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
T5_SIZES = {"vocab_size": V, "d_model": 12, "d_kv": 5, "d_ff": 16, "num_heads": 3, "num_layers": 2}
BART_SIZES = {
    "vocab_size": V, "d_model": 12, "encoder_layers": 1, "decoder_layers": 3, "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 3, "max_position_embeddings": 24,
}  # fmt: skip


def family(model_type, **options):
    return lambda: Llama(LlamaConfig(**LLAMA | options, model_type=model_type))


MODELS = {
    "GPT-2": lambda: GPT2(GPT2Config(vocab_size=V, n_positions=32, n_embd=16, n_layer=3, n_head=2)),
    "Llama, multi-head": family("llama", num_key_value_heads=4),
    "Llama, grouped": family("llama"),
    "Llama, multi-query": family("llama", num_key_value_heads=1),
    "Llama, linear rope": family("llama", rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "Mistral": family("mistral", sliding_window=None),
    "Mistral, window shorter than the prompt": family("mistral", sliding_window=3),
    "Qwen2": family("qwen2"),
    "Qwen2, windows in the upper layers": family(
        "qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1
    ),
    "Qwen3": family("qwen3", head_dim=6),
    "T5": lambda: T5(T5Config(**T5_SIZES)),
    "T5, gated": lambda: T5(T5Config(**T5_SIZES, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "BART": lambda: BART(BARTConfig(**BART_SIZES)),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """Random weights, large enough that every token and position shows in the scores."""
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * (1 + expected.abs().max())


def new_tokens(rows):
    return torch.randint(3, V, (NEW, rows), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "rows", [ROWS, *([row] for row in ROWS), [ROWS[2]] * 2], ids=lambda rows: str(len(rows))
)
@torch.no_grad()
def test_prefill_and_decode_give_the_scores_of_the_whole_text(model, rows):
    params = SamplingParams(max_tokens=NEW + 1, ignore_eos=True)
    reader, texts = conditioned(model, rows, params)
    whole, _ = conditioned(model, rows, params)
    texts = [list(text) for text in texts]
    cache = reader.new_cache(len(rows), max(map(len, texts)) + NEW)
    scores, last = prefill(reader, texts, cache)
    seen = []
    for newest in (*new_tokens(len(rows)), None):
        close(scores, next_logits(whole, *with_nothing(left_padded(texts, "cpu"))))
        seen.append(scores)
        if newest is not None:
            for text, token in zip(texts, newest.tolist()):
                text.append(token)
            scores, last = decode(reader, newest, cache, last)
    assert cache.length == max(map(len, texts))
    # the tokens count: no step repeats the scores of the one before
    assert all((one - other).abs().max() > 1e-2 for one, other in itertools.pairwise(seen))


def with_nothing(padded):
    """The arguments of `next_logits` without a cache."""
    input_ids, mask, positions = padded
    return input_ids, None, mask, positions


@torch.no_grad()
def test_a_padded_row_scores_as_it_does_alone(model):
    params = SamplingParams(max_tokens=NEW + 1, ignore_eos=True)

    def scores(rows, columns):
        reader, texts = conditioned(model, rows, params)
        cache = reader.new_cache(len(rows), max(map(len, texts)) + NEW)
        found, last = prefill(reader, texts, cache)
        for newest in new_tokens(len(ROWS)):
            found, last = decode(reader, newest[columns], cache, last)
        return found

    together = scores(ROWS, slice(None))
    for i, row in enumerate(ROWS):
        close(together[i : i + 1], scores([row], slice(i, i + 1)))
