"""Speculative decoding, the loop: greedy tokens, where a text ends, what is guessed, what is refused."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from minillm.inference import PromptLookup, SamplingParams, Speculation, generate, speculative_generate
from minillm.inference.loop import Row
from minillm.inference.stopping import Stopper
from minillm.models import GPT2, T5, GPT2Config, Llama, LlamaConfig, T5Config
from tests.inference.test_generation_loop import gpt2, llama
from tests.inference.test_inference import spread
from tests.inference.test_speculative import SMALL, TARGET, Table

# Greedy

QWEN = {"attention_bias": True, "tie_word_embeddings": True, "model_type": "qwen2"}


def targets():
    return {"llama": llama(), "gpt2": gpt2(), "qwen2": llama(**QWEN), "window": llama(sliding_window=5)}


@pytest.mark.parametrize("name", targets())
@pytest.mark.parametrize("k", [1, 3, 8])
def test_greedy_is_the_targets_own_text(name, k):
    """With a good draft (itself), a strange one, one that is nearly it, and the text's own repetitions."""
    target, stranger = targets()[name], gpt2(bos_token_id=1)
    near = targets()[name]
    with torch.no_grad():
        for weight in near.parameters():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            weight += 0.05 * weight.abs().mean() * noise
    for prompt, many in ([1, 2, 3], 20), ([7], 33), ([4, 5] * 6, 9):
        params = SamplingParams(max_tokens=many, temperature=0, ignore_eos=True)
        expected = generate(target, prompt, params)
        for draft in (target, stranger, near, None, PromptLookup((2,))):
            run = Speculation(target, draft, prompt, params, k)
            tokens = [token for some in run for token in some]
            assert tokens == expected == run.token_ids
            assert len(tokens) == run.passes + run.accepted
            assert run.finish_reason == "length"
            if draft is target:
                assert run.acceptance_rate == 1
                assert run.passes == math.ceil(many / (k + 1))


@pytest.mark.parametrize("more", [{"repetition_penalty": 1.3}, {"frequency_penalty": 0.9, "logit_bias": {3: 2}},
                                  {"no_repeat_ngram_size": 2}, {"min_tokens": 9, "ignore_eos": False}])  # fmt: skip
def test_greedy_with_settings_that_look_back(more):
    target = llama()
    params = SamplingParams(**{"max_tokens": 16, "temperature": 0, "ignore_eos": True} | more)
    for draft in (target, gpt2(), None):
        assert speculative_generate(target, draft, [1, 2, 1, 2], params) == generate(
            target, [1, 2, 1, 2], params
        )


def test_a_target_in_training_mode_is_left_in_it():
    target = gpt2(resid_pdrop=0.5).train()
    params = SamplingParams(max_tokens=12, temperature=0)
    assert speculative_generate(target, target, [1, 2], params) == generate(target, [1, 2], params)
    assert all(part.training for part in target.modules())


# Draws of real models


def test_a_draft_that_is_the_target_is_always_accepted():
    target = llama()
    params = SamplingParams(max_tokens=31, temperature=0.9, top_p=0.95, repetition_penalty=1.2, seed=4)
    run = Speculation(target, target, [1, 2, 3], params, k=4)
    some = [*run]
    assert run.tried == run.accepted == 24
    assert [len(one) for one in some] == [5] * 6 + [1]
    assert run.passes == 7
    assert run.tokens_per_pass == 31 / 7


def test_a_seed_gives_the_same_text_again_and_no_seed_another():
    target, draft = llama(), gpt2()
    params = SamplingParams(max_tokens=20, seed=8)
    one = speculative_generate(target, draft, [1, 2], params)
    assert one == speculative_generate(target, draft, [1, 2], params)
    free = SamplingParams(max_tokens=20)
    assert speculative_generate(target, draft, [1, 2], free) != speculative_generate(
        target, draft, [1, 2], free
    )


def test_tokens_are_read_once_unless_they_were_refused(monkeypatch):
    target, draft = llama(), gpt2()
    seen = []
    forward = type(target).forward

    def counting(self, input_ids, *rest, **options):
        seen.append(input_ids.shape[1])
        return forward(self, input_ids, *rest, **options)

    monkeypatch.setattr(Llama, "forward", counting)
    run = Speculation(target, draft, [1, 2, 3, 4], SamplingParams(max_tokens=12, temperature=0), k=3)
    tokens = [token for some in run for token in some]
    assert seen[0] == 4 + 3  # the prompt and the first drafts
    assert sum(seen) <= 4 + len(tokens) - 1 + run.drafted
    assert max(seen[1:]) <= 1 + 3


# Where a text ends


class Fixed:
    """Drafts the tokens of a text that is known."""

    def __init__(self, text):
        self.text = text

    def draft(self, row, count):
        at = len(row.stop.new)
        return [(token, None) for token in self.text[at : at + count]]


def test_an_end_token_inside_a_draft_ends_the_text():
    target = llama()
    free = generate(target, [1, 2], SamplingParams(max_tokens=20, temperature=0, ignore_eos=True))
    end = next(token for i, token in enumerate(free) if i >= 2 and token not in free[:i])
    params = SamplingParams(max_tokens=20, temperature=0, ignore_eos=True, stop_token_ids=[end])
    run = Speculation(target, Fixed(free), [1, 2], params, k=19)
    assert [*run] == [free[: free.index(end) + 1]]
    assert (run.passes, run.finish_reason) == (1, "stop")
    # a draft model does not go on after it
    run = Speculation(target, target, [1, 2], params, k=19)
    assert [*run] == [free[: free.index(end) + 1]]
    assert run.drafted == run.accepted == free.index(end) + 1


class Long:
    """Drafts more than it was asked for."""

    def draft(self, row, count):
        return [(1, None)] * 9


class Letters:
    """Token i is a letter."""

    vocab_size = 50

    def decode(self, ids, skip_special_tokens=False):
        return "".join(chr(65 + i) for i in ids)


@pytest.mark.parametrize("draft", ["itself", "lookup"])
def test_a_stop_string_inside_a_draft_ends_the_text(draft):
    target = llama()
    params = SamplingParams(max_tokens=20, temperature=0, ignore_eos=True)
    free = generate(target, [1, 2], params)
    stop = Letters().decode(free[6:9])
    params = SamplingParams(max_tokens=20, temperature=0, ignore_eos=True, stop=stop)
    expected = generate(target, [1, 2], params, tokenizer=Letters())
    assert len(expected) <= 9
    run = Speculation(target, target if draft == "itself" else None, [1, 2], params, 6, Letters())
    assert [token for some in run for token in some] == expected
    assert run.finish_reason == "stop"


@pytest.mark.parametrize("many", [1, 2, 3])
def test_a_k_longer_than_what_is_left(many):
    """The window is full to its last token."""
    target = llama()
    prompt = [i % 50 for i in range(40 - many)]
    params = SamplingParams(max_tokens=many, temperature=0, ignore_eos=True)
    run = Speculation(target, target, prompt, params, k=30)
    assert [token for some in run for token in some] == generate(target, prompt, params)
    assert run.passes == 1
    assert run.drafted == many - 1


# Prompt lookup


def guessed(text, count, sizes=(3, 2, 1), new=()):
    stop = Stopper(TARGET, SamplingParams())
    stop.new = list(new)
    return [token for token, _ in PromptLookup(sizes).draft(Row(text, stop, None), count)]


def test_what_prompt_lookup_guesses():
    assert guessed([1, 2, 3, 4, 1, 2], 2) == [3, 4]
    assert guessed([1, 2, 9, 1, 2, 8, 1, 2], 1) == [8]  # the latest place
    assert guessed([7, 1, 2, 9, 5, 2, 8, 1, 2], 1) == [9]  # the longest end first
    assert guessed([5, 6, 7, 5], 7) == [6, 7, 5, 6, 7, 5, 6]  # into itself
    assert guessed([4, 4], 3) == [4, 4, 4]
    assert guessed([1, 2, 3], 3) == guessed([1], 3) == []
    assert guessed([1, 2, 3, 1], 3, sizes=(2,)) == []
    assert guessed([1, 2, 3], 2, new=[4, 1, 2]) == [3, 4]  # prompt and new tokens are one text


def test_a_text_that_repeats_itself_is_looked_up():
    """The target, a table, goes round in a circle: from the second round on everything is known."""
    circle = Table(10 * np.roll(np.eye(9), 1, axis=1))
    params = SamplingParams(max_tokens=100, temperature=0, ignore_eos=True)
    run = Speculation(circle, None, [3], params, k=4)
    assert [token for some in run for token in some] == [(4 + i) % 9 for i in range(100)]
    assert run.acceptance_rate == 1
    assert run.passes < 9 + 100 / 5


# What is refused


def t5():
    sizes = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 1, "num_heads": 4}
    return T5(T5Config(**sizes, decoder_start_token_id=0))


@pytest.mark.parametrize(("options", "message"), [
    ({"k": 0}, "k must be"), ({"k": 2.5}, "k must be"), ({"draft": "gpt2"}, "draft must be a model, a drafter"),
    ({"draft": GPT2(GPT2Config(vocab_size=51, n_embd=8, n_layer=1, n_head=1))}, "vocabulary of 50 tokens, got 51"),
    ({"draft": nn.Linear(2, 2)}, "vocabulary of 50 tokens, got None"), ({"draft": t5()}, "decoder-only"),
    ({"target": t5()}, "decoder-only"), ({"ids": [50]}, "ids"), ({"ids": []}, "at least one token"),
    ({"params": {"beams": 2, "temperature": 0}}, "beams or best_of"), ({"params": {"best_of": 3}}, "beams or best_of"),
    ({"params": {"n": 2}}, "n or logprobs"), ({"params": {"logprobs": 1}}, "n or logprobs"),
    ({"params": {"max_tokens": 100}}, "context window is 40"), ({"params": {"stop": "x"}}, "need a tokenizer"),
    ({"draft": GPT2(GPT2Config(vocab_size=50, n_positions=9, n_embd=8, n_layer=1, n_head=1))}, "not fit.*window is 9"),
    ({"draft": Fixed([50] * 9)}, "50"), ({"draft": Long()}, "4 tokens at most, it gave 9"),
])  # fmt: skip
def test_what_is_refused(options, message):
    options = {"target": llama(), "draft": None, "ids": [1, 2], "k": 4} | options
    options["params"] = SamplingParams(**options.pop("params", {}))
    with pytest.raises(ValueError, match=message):
        speculative_generate(**options)


class Gives:
    """A drafter of somebody else's, which gives what it is told to give."""

    def __init__(self, given):
        self.given = given

    def draft(self, row, count):
        return self.given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "must give a list"), ([3, 4], "must give pairs"), ([("a", None)], "a drafted token must be"),
        ([(3, None), (-1, None)], "a drafted token must be"), ([(3, torch.ones(7) / 7)], r"probabilities \(50,\)"),
        ([(3, torch.full((50,), math.nan))], "must be probabilities"), ([(3, torch.zeros(50))], "must be prob"),
        ([(3, torch.eye(50)[4])], "q draws"), ([(3, "likely")], "must give pairs"),
    ],
)  # fmt: skip
def test_what_a_drafter_may_not_give(given, message):
    """A q of NaN or zeros was kept or refused by luck; what is no pair ended in Python's own words."""
    with pytest.raises(ValueError, match=message):
        speculative_generate(llama(), Gives(given), [1, 2], SamplingParams(max_tokens=8, seed=0))


def test_frequencies_that_follow_the_length_are_refused_beyond_the_trained_window():
    target = spread(Llama(LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=10, rope_scaling={"rope_type": "dynamic", "factor": 4.0},
    )))  # fmt: skip
    params = SamplingParams(max_tokens=8, temperature=0)
    assert speculative_generate(target, target, [1, 2], params) == generate(target, [1, 2], params)
    with pytest.raises(ValueError, match="dynamic scaling"):
        speculative_generate(target, None, [1, 2, 3], params)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0, 1])
def test_scores_that_are_no_numbers_are_refused(broken, temperature):
    bad = Table(np.full((SMALL, SMALL), broken))
    params = SamplingParams(temperature=temperature)
    for target, draft in (bad, None), (TARGET, bad):
        with pytest.raises(ValueError, match="scores hold"):
            speculative_generate(target, draft, [1], params)
