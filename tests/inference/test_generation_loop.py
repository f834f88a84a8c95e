"""The one loop: rows do not see each other, work that is not needed is not done, the model is left as it was."""

import math
import sys

import pytest
import torch

from minillm.inference import SamplingParams, generate, generate_batch, process_logits, sample, stream
from minillm.inference.loop import Row, generation_loop, left_padded
from minillm.inference.sampling import new_generator, sample_rows
from minillm.inference.stopping import Stopper
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from tests.inference.test_inference import spread

MODULE = sys.modules["minillm.inference.loop"]
SIZES = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}


def llama(**options):
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40}
    return spread(Llama(LlamaConfig(**SIZES | heads | options)))


def gpt2(**options):
    return spread(GPT2(GPT2Config(vocab_size=50, n_positions=40, n_embd=16, n_layer=2, n_head=2, **options)))


@pytest.fixture(scope="module")
def model():
    return llama()


def test_a_batch_without_a_cache_gives_the_same_tokens(model):
    rows = [[1, 2, 3, 4], [5], [6, 7]]
    params = SamplingParams(max_tokens=10, temperature=0, repetition_penalty=1.2, stop=31)
    found = []
    for cache in (True, False):
        texts = [Row(row, Stopper(model, params), None) for row in rows]
        for _ in generation_loop(model, texts, params, cache):
            pass
        found.append([text.stop.new for text in texts])
    assert found[0] == found[1] == [generate(model, row, params) for row in rows]


def test_a_row_draws_the_same_beside_others_that_end_early(model):
    prompts = [[1, 2, 3], [4, 5], [6], [7, 8]]
    free = generate_batch(model, prompts, SamplingParams(max_tokens=20, seed=5, repetition_penalty=1.1))
    ending = {free[0].token_ids[2], free[3].token_ids[7]}  # rows end at different steps
    params = SamplingParams(max_tokens=20, seed=5, repetition_penalty=1.1, stop_token_ids=ending)
    for prompt, row, whole in zip(prompts, generate_batch(model, prompts, params), free):
        cut = next((n for n, token in enumerate(whole.token_ids, 1) if token in ending), 20)
        assert row.token_ids == whole.token_ids[:cut]
        alone = SamplingParams(max_tokens=20, seed=5, repetition_penalty=1.1, stop_token_ids=ending)
        assert row.token_ids == generate(model, prompt, alone)


def test_rows_that_are_done_are_not_sampled(model, monkeypatch):
    free = generate_batch(model, [[1], [2]], SamplingParams(max_tokens=8, temperature=0))
    stop = free[0].token_ids[1]
    assert stop not in free[1].token_ids + free[0].token_ids[:1]
    sampled = []

    def counting(logits, *rest):
        sampled.append(len(logits))
        return sample_rows(logits, *rest)

    monkeypatch.setattr(MODULE, "sample_rows", counting)
    generate_batch(model, [[1], [2]], SamplingParams(max_tokens=8, temperature=0, stop=stop))
    assert sampled == [2, 2, 1, 1, 1, 1, 1, 1]


def test_one_forward_pass_a_token(model):
    calls = []
    hook = model.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape[1]))
    try:
        generate(model, [1, 2, 3], SamplingParams(max_tokens=4))
        assert calls == [3, 1, 1, 1]
        calls.clear()
        generate(model, [1, 2, 3], SamplingParams(max_tokens=4), cache=False)
        assert calls == [3, 4, 5, 6]
    finally:
        hook.remove()


def test_left_padding():
    ids, mask, positions = left_padded([[5, 6, 7], [8]], "cpu")
    assert ids.tolist() == [[5, 6, 7], [8, 8, 8]]  # its own id: new to nobody
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert left_padded([[1, 2]], "cpu")[1:] == (None, None)


@pytest.mark.parametrize(
    "scaling", [{"rope_type": "dynamic", "factor": 6.0}, {"rope_type": "linear", "factor": 2.0}]
)
def test_batched_equals_single_when_rotary_positions_outgrow_their_window(scaling):
    model = llama(max_position_embeddings=8, rope_theta=20.0, rope_scaling=scaling)
    if scaling["rope_type"] == "linear":
        model.config.max_position_embeddings = 48
    prompts = [list(range(1, 30)), list(range(9, 21)), [22], list(range(30, 42))]
    params = SamplingParams(max_tokens=15, temperature=0)
    for prompt, row in zip(prompts, generate_batch(model, prompts, params)):
        assert row.token_ids == generate(model, prompt, params)


# The model is left as it was


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def test_streams_in_between_training_steps():
    model, params = gpt2(resid_pdrop=0.5, embd_pdrop=0.5), SamplingParams(max_tokens=12, temperature=0)
    expected = generate(model, [1], params)
    model.train()
    model.body.blocks[0].eval()  # a part that is kept frozen
    before = modes(model)
    first, second = stream(model, [1], params), stream(model, [1], params)
    taken = [next(first), next(second)]
    assert modes(model) == before  # also while the iterators are open
    taken += [next(first), next(first)]
    first.close()
    assert [taken[1], *second] == expected  # dropout stays off in the second after the first is closed
    assert [taken[0], *taken[2:]] == expected[:3]
    assert modes(model) == before


def test_a_failure_leaves_the_mode():
    model = gpt2()
    model.train()
    before = modes(model)

    def fail(*_):
        raise RuntimeError("power cut")

    hook = model.body.blocks[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="power cut"):
        generate(model, [1])
    hook.remove()
    assert modes(model) == before
    assert torch.is_inference_mode_enabled() is False
    assert len(generate(model, [1], SamplingParams(max_tokens=3))) == 3


def test_the_consumer_is_not_in_inference_mode(model):
    for _ in stream(model, [1], SamplingParams(max_tokens=2)):
        assert not torch.is_inference_mode_enabled()
        weight = torch.ones(2, requires_grad=True)
        (weight * 2).sum().backward()  # training goes on between two tokens


# min_tokens and end tokens


def test_end_tokens_are_held_back_until_min_tokens(model):
    free = generate(model, [1], SamplingParams(max_tokens=12, temperature=0))
    stop = free[2]
    params = SamplingParams(max_tokens=12, temperature=0, stop_token_ids=[stop], min_tokens=5)
    held = generate(model, [1], params)
    assert stop not in held[:5]
    assert len(held) > 5
    assert held[: free.index(stop)] == free[: free.index(stop)]
    for seed in range(5):
        ids = generate(model, [1], SamplingParams(seed=seed, stop=list(range(49)), min_tokens=3))
        assert ids[:-1] == [49] * (len(ids) - 1)  # the only one that is no end
        assert len(ids) >= 4
    with pytest.raises(ValueError, match="no token can be chosen"):
        generate(model, [1], SamplingParams(temperature=0, stop=list(range(50)), min_tokens=1))


# Extremes


def test_the_generators_are_on_the_models_device(model, monkeypatch):
    made = []

    def new(seed, device="cpu", offset=0):
        made.append(torch.device(device))
        return new_generator(seed, device, offset)

    monkeypatch.setattr(sys.modules["minillm.inference.generate"], "new_generator", new)
    generate_batch(model, [[1], [2]])
    generate(model, [1])
    assert made == [model.device] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_generation_on_a_gpu():
    on_cpu, on_gpu = llama(), llama().cuda()
    greedy = SamplingParams(max_tokens=10, temperature=0, repetition_penalty=1.2)
    prompts = [[1, 2, 3], [4], [5, 6]]
    expected = [row.token_ids for row in generate_batch(on_cpu, prompts, greedy)]
    assert [row.token_ids for row in generate_batch(on_gpu, prompts, greedy)] == expected
    drawn = SamplingParams(max_tokens=10, seed=3, top_p=0.9, min_p=0.01, top_k=20)
    rows = generate_batch(on_gpu, prompts, drawn)
    assert rows[0].token_ids == generate(on_gpu, prompts[0], drawn)


def test_draws_are_those_of_torch_multinomial():
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)) * 2
    params = SamplingParams(temperature=0.8, top_k=15)
    rows = [new_generator(i) for i in range(3)]
    peers = [new_generator(i) for i in range(3)]
    for _ in range(20):
        probabilities = process_logits(logits, params).softmax(-1)
        expected = [int(torch.multinomial(p, 1, generator=g)) for p, g in zip(probabilities, peers)]
        assert sample_rows(logits, params, rows).tolist() == expected


SCORES = torch.tensor([3.0, -1.0, 2.99, 0.0, -math.inf, 1.0])


@pytest.mark.parametrize("temperature", [1e-7, 1e-30, 1e-38, 1e-45, 5e-324])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_tiny_temperatures_are_greedy(temperature, scale):
    params = SamplingParams(temperature=temperature)
    kept = process_logits(SCORES * scale, params).softmax(-1)
    assert torch.equal(kept, torch.nn.functional.one_hot(torch.tensor(0), 6).float())
    assert sample(SCORES * scale, params, new_generator(0)) == 0


def test_a_tiny_temperature_leaves_ties_even():
    scores = torch.tensor([2.0, 1.0, 2.0])
    assert process_logits(scores, SamplingParams(temperature=1e-45)).softmax(-1).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("temperature", [1e30, 1e300, 1.7e308])
def test_huge_temperatures_are_even_among_what_is_possible(temperature):
    probabilities = process_logits(SCORES, SamplingParams(temperature=temperature)).softmax(-1)
    torch.testing.assert_close(probabilities, torch.tensor([1.0, 1, 1, 1, 0, 1]) / 5)


@pytest.mark.parametrize(
    "options",
    [{"top_p": 1e-12}, {"top_p": 5e-324}, {"min_p": 1.0}, {"top_k": 1}, {"temperature": 1e-45, "top_p": 0.5}],
)
@pytest.mark.parametrize("penalty", [1.0, 1e-3, 1e3])
def test_settings_that_leave_only_the_best(options, penalty):
    params = SamplingParams(repetition_penalty=penalty, **options)
    seen = torch.tensor([1, 3, 4])
    best = process_logits(SCORES, SamplingParams(temperature=0, repetition_penalty=penalty), seen).argmax()
    assert {sample(SCORES, params, new_generator(i), seen) for i in range(20)} == {int(best)}


@pytest.mark.parametrize("penalty", [0.0, 1e-45, 9e-4, 1001.0, 1e300])
def test_penalties_past_float32_are_refused(penalty):
    with pytest.raises(ValueError, match="repetition_penalty"):
        SamplingParams(repetition_penalty=penalty)


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1.0, 1e300])
@pytest.mark.parametrize("bad", [[-math.inf] * 4, [math.nan, 1, 2, 3], [1, 2, math.inf, 3], [math.nan] * 4])
def test_scores_that_choose_nothing_are_refused(temperature, bad):
    rows = torch.tensor([[0.0, 1.0, 2.0, 3.0], bad])
    with pytest.raises(ValueError, match="no token can be"):
        sample(rows[1], SamplingParams(temperature=temperature), new_generator(0))
    with pytest.raises(ValueError, match="no token can be"):
        sample_rows(rows, SamplingParams(temperature=temperature), [new_generator(0)] * 2)
    assert 0 <= sample(rows[0], SamplingParams(temperature=temperature), new_generator(0)) < 4


def test_sixteen_bit_scores_are_drawn_in_float32():
    scores = (torch.randn(30, generator=torch.Generator().manual_seed(1)) * 3).bfloat16()
    for params in (SamplingParams(top_p=0.7), SamplingParams(temperature=0)):
        assert sample(scores, params, new_generator(1)) == sample(scores.float(), params, new_generator(1))
