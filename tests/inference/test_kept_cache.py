"""A cache that is handed in: only what it lacks is read, and what it holds afterwards serves the next text."""

import pytest
import torch

from minillm.inference import SamplingParams, generate, stream, stream_text
from minillm.models import T5, T5Config
from tests.inference.test_inference import Letters, gpt2, llama  # noqa: F401  (fixtures)

PARAMS = SamplingParams(max_tokens=6, temperature=0)


@pytest.mark.parametrize("which", ["gpt2", "llama"])
@pytest.mark.parametrize("held", range(5))
def test_the_tokens_are_those_of_a_new_cache(which, held, request):
    model, ids = request.getfixturevalue(which), [3, 1, 4, 1, 5]
    cache = model.new_cache(1, 30)
    with torch.no_grad():
        if held:
            model(torch.tensor([ids[:held]]), cache=cache)
    new = generate(model, ids, PARAMS, cache)
    assert new == generate(model, ids, PARAMS)
    assert cache.length == len(ids) + 5  # the last token was never read
    again = [*ids, *new, 9, 8]  # the text goes on
    assert generate(model, again, PARAMS, cache) == generate(model, again, PARAMS)
    cache.crop(3)  # and one that shares its first tokens
    assert generate(model, [*ids[:3], 7, 7], PARAMS, cache) == generate(model, [*ids[:3], 7, 7], PARAMS)


def test_a_stream_that_is_left_leaves_what_was_read(llama):  # noqa: F811
    cache, ids = llama.new_cache(1, 30), [3, 1, 4]
    tokens = stream(llama, ids, PARAMS, cache)
    taken = [next(tokens) for _ in range(4)]
    tokens.close()
    assert cache.length == len(ids) + 3
    with torch.no_grad():
        expected = llama(torch.tensor([[*ids, *taken]])).logits[:, -1]
        torch.testing.assert_close(llama(torch.tensor([taken[-1:]]), cache=cache).logits[:, -1], expected)


def test_wrong_caches_are_refused_at_the_call(llama, gpt2):  # noqa: F811
    full = llama.new_cache(1, 30)
    with torch.no_grad():
        llama(torch.tensor([[1, 2, 3]]), cache=full)
    for cache, message in (
        (None, "cache must be True or False"),
        (0, "cache must be True or False"),
        (llama.new_cache(2, 30), "a decoder-only model's cache of one text"),
        (full, "holds fewer tokens than the prompt's 3, got one of 1 with 3 for a Llama"),
        (llama.new_cache(1, 8), "room for 8 tokens, 9 would be in it"),
    ):
        for call in (generate, stream):
            with pytest.raises(ValueError, match=message):
                call(llama, [1, 2, 3], PARAMS, cache)
        with pytest.raises(ValueError, match=message):
            stream_text(llama, Letters(), [1, 2, 3], PARAMS, cache)
    with pytest.raises(ValueError, match="with beams or best_of"):
        generate(llama, [1], SamplingParams(max_tokens=2, beams=2), llama.new_cache(1, 9))
    sizes = {"vocab_size": 30, "d_model": 8, "d_kv": 3, "d_ff": 12, "num_heads": 2, "num_layers": 1}
    t5 = T5(T5Config(**sizes))
    with pytest.raises(ValueError, match="for a T5"):
        generate(t5, [3, 4], PARAMS, t5.new_cache(1, 9))
    assert full.length == 3
