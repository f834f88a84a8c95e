"""Sampling and generation: cached = uncached, batched = single, seeds, stops, and wrong input."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.inference import (
    Engine,
    KVCache,
    SamplingParams,
    generate,
    generate_batch,
    kv_cache_bytes,
    process_logits,
    sample,
    stream,
)
from minillm.inference.sampling import new_generator
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig

WINDOW = 40


def spread(model):
    """Larger weights than a fresh model has, so that greedy choices are no near ties."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return model.eval()


@pytest.fixture(scope="module")
def gpt2():
    return spread(GPT2(GPT2Config(vocab_size=50, n_positions=WINDOW, n_embd=16, n_layer=2, n_head=2)))


@pytest.fixture(scope="module")
def llama():
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    options = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": WINDOW}
    return spread(Llama(LlamaConfig(**sizes, **options)))


class Letters:
    """A tokenizer of one letter an id, Hangul syllables included."""

    text = "abcdefghijklmnopqrstuvwxyz가나다라마바사아자차카타파하거너더러머버서어저처"

    def decode(self, ids, skip_special_tokens=False):
        return "".join(self.text[i % len(self.text)] for i in ids)


# Generation


@pytest.mark.parametrize("which", ["gpt2", "llama"])
def test_cached_equals_uncached_greedy_and_sampled(which, request):
    model = request.getfixturevalue(which)
    for params in (
        SamplingParams(max_tokens=25, temperature=0),
        SamplingParams(max_tokens=25, temperature=0, repetition_penalty=1.3),
        SamplingParams(max_tokens=25, temperature=0.8, top_k=10, top_p=0.9, seed=3),
        SamplingParams(max_tokens=25, temperature=1.5, min_p=0.02, seed=4),
    ):
        for prompt in ([1], [3, 1, 4, 1, 5], torch.arange(10)):
            cached = generate(model, prompt, params)
            assert cached == generate(model, prompt, params, cache=False)
            assert cached == list(stream(model, prompt, params))
            assert len(cached) == 25


def test_greedy_is_the_argmax_of_the_whole_text(gpt2):
    ids = [3, 1, 4]
    for token in stream(gpt2, ids, SamplingParams(max_tokens=10, temperature=0)):
        with torch.no_grad():
            assert token == int(gpt2(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


@pytest.mark.parametrize("which", ["gpt2", "llama"])
def test_batched_equals_single(which, request):
    model = request.getfixturevalue(which)
    prompts = [[1, 2, 3, 4, 5, 6], [7], [8, 9, 10]]
    greedy = SamplingParams(max_tokens=15, temperature=0)
    for prompt, completion in zip(prompts, generate_batch(model, prompts, greedy)):
        assert completion.token_ids == generate(model, prompt, greedy)
        assert completion.finish_reason == "length"
    drawn = generate_batch(model, prompts, SamplingParams(max_tokens=15, seed=10, n=2))
    assert len(drawn) == 6
    for i, completion in enumerate(drawn):
        assert completion.token_ids == generate(
            model, prompts[i // 2], SamplingParams(max_tokens=15, seed=10 + i % 2)
        )
    assert generate_batch(model, []) == []


def test_seed_repeats_and_global_randomness_is_left_alone(llama):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    params = SamplingParams(max_tokens=20, seed=7)
    assert generate(llama, [1], params) == generate(llama, [1], params)
    assert generate(llama, [1], params) != generate(llama, [1], SamplingParams(max_tokens=20, seed=8))
    generate(llama, [1], SamplingParams(max_tokens=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_logprobs_are_those_of_the_model(llama):
    completion = generate_batch(llama, [[1, 2]], SamplingParams(max_tokens=4, temperature=0, logprobs=3))[0]
    ids = [1, 2]
    for token, reported in zip(completion.token_ids, completion.logprobs):
        with torch.no_grad():
            expected = llama(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        assert set(reported) == set(expected.topk(3).indices.tolist())
        assert reported[token] == pytest.approx(expected.max().item(), abs=1e-4)
        ids.append(token)


def test_stops_end_the_text_and_are_its_last_token(gpt2):
    free = generate(gpt2, [1], SamplingParams(max_tokens=30, temperature=0))
    stop = free[5]
    first = free.index(stop)
    for given_stop in (stop, [stop], ((stop,),), (free[first - 1], stop)[1:]):
        assert (
            generate(gpt2, [1], SamplingParams(max_tokens=30, temperature=0, stop=given_stop))
            == free[: first + 1]
        )
    pair = (free[8], free[9])
    at = next(i for i in range(len(free)) if tuple(free[i : i + 2]) == pair)
    assert generate(gpt2, [1], SamplingParams(max_tokens=30, temperature=0, stop=[pair])) == free[: at + 2]
    done = generate_batch(gpt2, [[1]], SamplingParams(max_tokens=30, temperature=0, stop=stop))[0]
    assert (done.token_ids, done.finish_reason) == (free[: first + 1], "stop")


def test_end_token_of_the_config_ends_the_text(gpt2):
    free = generate(gpt2, [1], SamplingParams(max_tokens=20, temperature=0))
    try:
        gpt2.config.eos_token_id = [free[4], 49]
        assert (
            generate(gpt2, [1], SamplingParams(max_tokens=20, temperature=0))
            == free[: free.index(free[4]) + 1]
        )
    finally:
        gpt2.config.eos_token_id = None


def test_stop_strings_across_tokens(gpt2):
    letters = Letters()
    free = generate(gpt2, [1], SamplingParams(max_tokens=30, temperature=0))
    text = letters.decode(free)
    stop = text[6:9]
    params = SamplingParams(max_tokens=30, temperature=0, stop=["없는 말", stop])
    expected = free[: text.index(stop) + len(stop)]
    assert generate(gpt2, [1], params, tokenizer=letters) == expected
    done = generate_batch(gpt2, [[1]], params, letters)[0]
    assert (done.text, done.finish_reason) == (text[: text.index(stop)], "stop")
    with pytest.raises(ValueError, match="tokenizer"):
        generate(gpt2, [1], params)


def test_dropout_is_off_while_generating_and_the_mode_comes_back():
    model = spread(
        GPT2(GPT2Config(vocab_size=50, n_positions=40, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.5))
    )
    greedy = SamplingParams(max_tokens=12, temperature=0)
    expected = generate(model, [1], greedy)
    model.train()
    tokens = stream(model, [1], greedy)
    assert [next(tokens) for _ in range(3)] == expected[:3]
    tokens.close()
    assert model.training


def test_a_text_may_fill_the_window_exactly(llama):
    assert len(generate(llama, [1] * 30, SamplingParams(max_tokens=WINDOW - 30))) == 10
    with pytest.raises(ValueError, match="context window is 40"):
        generate(llama, [1] * 31, SamplingParams(max_tokens=WINDOW - 30))


def test_a_prompt_may_be_an_array_of_ids(gpt2):
    """Token files are read as arrays of uint16."""
    greedy = SamplingParams(max_tokens=5, temperature=0)
    expected = generate(gpt2, [1, 2], greedy)
    for dtype in (np.uint16, np.int64):
        ids = np.array([1, 2], dtype)
        assert generate(gpt2, ids, greedy) == expected
        assert generate_batch(gpt2, [ids], greedy)[0].token_ids == expected
        assert [one.token_ids for one in Engine(gpt2).generate([ids, [1, 2]], greedy)] == [expected] * 2
    with pytest.raises(ValueError, match="ids must be a list of token ids, got ndarray"):
        generate(gpt2, np.zeros((1, 2), np.int64), greedy)


def test_a_model_of_another_library_is_refused(gpt2):
    """Their config has a vocabulary and no window under our name."""
    other = torch.nn.Linear(1, 1)
    other.config = SimpleNamespace(vocab_size=50)
    with pytest.raises(ValueError, match="with a config of ours, got Linear"):
        generate(other, [1])


@pytest.mark.parametrize(
    "ids",
    [None, "text", b"ids", [], [50], [-1], [1.0], [True], [[1]], torch.zeros(1, 3, dtype=torch.long), 5],
)
def test_bad_prompts_are_refused_at_the_call(gpt2, ids):
    for call in (generate, stream):
        with pytest.raises(ValueError):
            call(gpt2, ids)
    with pytest.raises(ValueError):
        generate_batch(gpt2, [[1], ids])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SamplingParams(max_tokens=0),
        lambda: SamplingParams(max_tokens=1.5),
        lambda: SamplingParams(temperature=-1),
        lambda: SamplingParams(temperature=float("nan")),
        lambda: SamplingParams(temperature="hot"),
        lambda: SamplingParams(top_k=-1),
        lambda: SamplingParams(top_p=0.0),
        lambda: SamplingParams(top_p=1.1),
        lambda: SamplingParams(min_p=2),
        lambda: SamplingParams(repetition_penalty=0),
        lambda: SamplingParams(stop=None),
        lambda: SamplingParams(stop=[""]),
        lambda: SamplingParams(stop=[1.0]),
        lambda: SamplingParams(stop=[()]),
        lambda: SamplingParams(stop=-1),
        lambda: SamplingParams(seed=-1),
        lambda: SamplingParams(seed="0"),
        lambda: SamplingParams(n=0),
        lambda: SamplingParams(logprobs=-1),
        lambda: kv_cache_bytes(GPT2Config(), -1, 5),
        lambda: kv_cache_bytes(GPT2Config(), 1, 5, "float16"),
        lambda: kv_cache_bytes({}, 1, 5),
        lambda: KVCache(GPT2Config(), 0, 5),
        lambda: KVCache(GPT2Config(), 1, 5.0),
        lambda: KVCache(GPT2Config(), 1, 5, torch.int64),
        lambda: KVCache(None, 1, 5),
        lambda: sample(torch.full((4,), float("nan")), SamplingParams(), new_generator(0)),
        lambda: sample(torch.tensor([float("inf"), 1.0]), SamplingParams(temperature=0), None),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_n_and_logprobs_have_no_place_in_generate(gpt2):
    for params in (SamplingParams(n=2), SamplingParams(logprobs=1)):
        with pytest.raises(ValueError, match="generate_batch"):
            generate(gpt2, [1], params)
    with pytest.raises(ValueError, match="SamplingParams"):
        generate(gpt2, [1], {"max_tokens": 3})


# Sampling


@given(
    st.integers(2, 30),
    st.floats(0.1, 3),
    st.integers(0, 40),
    st.floats(0.05, 1),
    st.floats(0, 0.9),
    st.integers(0, 999),
)
@settings(max_examples=100, deadline=None)
def test_what_is_drawn_was_allowed(size, temperature, top_k, top_p, min_p, seed):
    logits = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3
    params = SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    kept = torch.isfinite(process_logits(logits, params))
    assert kept[logits.argmax()]
    assert kept.sum() <= (top_k or size)
    probabilities = (logits / temperature).softmax(0)
    assert (probabilities[kept] >= min_p * probabilities.max() * (1 - 1e-5)).all()
    assert kept[sample(logits, params, new_generator(seed))]


def test_draws_follow_the_probabilities():
    logits = torch.tensor([0.7, 0.2, 0.1]).log()
    generator = new_generator(0)
    counts = torch.zeros(3)
    for _ in range(4000):
        counts[sample(logits, SamplingParams(), generator)] += 1
    torch.testing.assert_close(counts / 4000, torch.tensor([0.7, 0.2, 0.1]), atol=0.025, rtol=0)
