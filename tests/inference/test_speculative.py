"""Speculative decoding: the target's distribution whatever is drafted, its greedy tokens, and the papers' formula."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from minillm.inference import (
    PromptLookup,
    SamplingParams,
    Speculation,
    accept_draft,
    expected_speed_up,
    expected_tokens,
    generate,
    speculative_generate,
)
from minillm.inference.drafting import probabilities
from minillm.inference.loop import Row
from minillm.inference.stopping import Stopper
from minillm.models import GPT2, T5, GPT2Config, Llama, LlamaConfig, T5Config
from tests.helpers import soak_count
from tests.inference.test_distribution import SCORES, exact, of_names
from tests.inference.test_generation_loop import gpt2, llama
from tests.inference.test_inference import spread

SURE = 1e-6  # a right sampler falls below once in a million seeds; these seeds are fixed


def fits(counts, expected):
    """The chi-square test's p-value; what cannot come has not come. Places with under 5 expected go together."""
    counts, expected = np.asarray(counts), np.asarray(expected)
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0].astype(np.float64)
    expected *= counts.sum() / expected.sum()  # float32 sums to 1 but for rounding
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    return stats.chisquare(counts, expected).pvalue if len(counts) > 1 else 1.0


# The rule

DRAWS = 50_000
V = len(SCORES)
Q = {
    "good": [*np.array(SCORES) * 0.8 + 0.1],
    "bad": [*SCORES[::-1]],
    "flat": [0.0] * V,
    "one token, the worst": [0.0 if i == 4 else -math.inf for i in range(V)],
    "one token, the best": [0.0 if i == 0 else -math.inf for i in range(V)],
    "the target itself": None,
}
SETTINGS = [(), ("temperature",), ("top_k",), ("top_p",), ("min_p",), ("logit_bias", "repetition_penalty")]


@pytest.mark.parametrize("drafter", Q)
@pytest.mark.parametrize("names", SETTINGS, ids=" ".join)
def test_the_rule_gives_the_targets_distribution(names, drafter):
    """50,000 draws against the exact distribution of test_distribution.py, which is numpy's, rule by rule."""
    p = torch.tensor(exact(of_names(*names)), dtype=torch.float32)
    q = p if Q[drafter] is None else torch.tensor(Q[drafter]).softmax(-1)
    generator = torch.Generator().manual_seed(3)
    drafted = torch.multinomial(q, DRAWS, replacement=True, generator=generator)
    written = accept_draft(p.expand(DRAWS, -1), q.expand(DRAWS, -1), drafted, generator)
    assert fits(np.bincount(written, minlength=V), DRAWS * p.numpy()) > SURE
    # kept with probability Σ min(p, q), eq. 5 of Leviathan et al.; a redrawn token is never the drafted one
    kept = (written == drafted).sum().item()
    chance = torch.minimum(p, q).sum().item()
    if chance > 1 - 1e-5:
        assert kept == DRAWS
    else:
        assert stats.binomtest(kept, DRAWS, chance).pvalue > SURE


def test_the_chi_square_would_see_a_wrong_rule():
    """Drawing anew from p, not from what p lacks: the fault that is made most often."""
    p, q = torch.tensor([SCORES]).softmax(-1), torch.tensor([Q["bad"]]).softmax(-1)
    generator = torch.Generator().manual_seed(3)
    drafted = torch.multinomial(q[0], DRAWS, replacement=True, generator=generator)
    kept = torch.rand(DRAWS, generator=generator) < (p / q)[0, drafted]
    anew = torch.multinomial(p[0], DRAWS, replacement=True, generator=generator)
    wrong = torch.where(kept, drafted, anew)
    assert fits(np.bincount(wrong, minlength=V), DRAWS * p[0].numpy()) < 1e-12


def test_no_overlap_is_always_refused_and_equal_always_kept():
    left, right = torch.tensor([[0.5, 0.5, 0, 0]]), torch.tensor([[0, 0, 0.25, 0.75]])
    drafted = torch.full((1000,), 3)
    written = accept_draft(left.expand(1000, -1), right.expand(1000, -1), drafted)
    assert set(written.tolist()) == {0, 1}
    p = torch.rand(1000, 7, generator=torch.Generator().manual_seed(0)).softmax(-1)
    drafted = torch.arange(1000) % 7
    assert accept_draft(p, p, drafted).equal(drafted)


@pytest.mark.parametrize("shapes", [((4,), (4,), (1,)), ((2, 4), (2, 5), (2,)), ((2, 4), (2, 4), (1,))])
def test_the_rule_refuses_shapes_that_do_not_fit(shapes):
    p, q, drafted = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match="p, q and drafted must have shapes"):
        accept_draft(p, q, drafted.long())


# Whole texts: a model whose scores are a table, so that the probability of every text is known


class Table(nn.Module):
    """Scores of the next token by the newest one, (V, V): a language model with next to no cost."""

    generates, eos_token_ids, generation_config = True, (0,), None

    class Kept:
        """As much of a cache as is needed: the length."""

        length = 0

        def crop(self, length):
            assert 0 <= length <= self.length
            self.length = length

    def __init__(self, scores):
        super().__init__()
        self.scores, self.device = torch.as_tensor(scores, dtype=torch.float32), torch.device("cpu")
        self.config = type("Config", (), {"vocab_size": len(scores), "max_length": 600})

    def new_cache(self, batch_size, max_length):
        return self.Kept()

    def forward(self, input_ids, cache, logits_to_keep):
        cache.length += input_ids.shape[1]
        return type("Output", (), {"logits": self.scores[input_ids[:, -logits_to_keep:]]})


SMALL = 5
RANDOM = np.random.default_rng(5)
TARGET = Table(RANDOM.normal(size=(SMALL, SMALL)) * 1.3)
NEAR = Table(TARGET.scores + RANDOM.normal(size=(SMALL, SMALL)) * 0.5)
FAR = Table(-2 * TARGET.scores)
DRAFTS = {"near": NEAR, "far": FAR, "itself": TARGET, "lookup": None}
PROMPT = [3, 1, 3]
WHOLE = {
    "plain": {},
    "temperature": {"temperature": 0.6},
    "top_k": {"top_k": 3},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.2},
    "repetition": {"repetition_penalty": 1.8},
    "frequency and presence": {"frequency_penalty": 1.1, "presence_penalty": 0.7},
    "bias": {"logit_bias": {2: 1.5, 4: -1.0}},
    "min_tokens": {"min_tokens": 2},
    "n-grams": {"no_repeat_ngram_size": 2},
    "all": {
        "temperature": 1.4, "top_k": 4, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.3,
        "frequency_penalty": 0.4, "presence_penalty": 0.3, "logit_bias": {1: 0.5}, "min_tokens": 1,
    },
}  # fmt: skip


def next_token(scores, new, params):
    """The exact distribution (V,) in numpy: the rules of test_distribution.py, for any text."""
    z, text = np.array(scores, np.float64), PROMPT + new
    size = params.no_repeat_ngram_size
    if len(new) < params.min_tokens:
        z[0] = -np.inf
    for i in range(SMALL):
        runs = {tuple(text[j : j + size]) for j in range(len(text) - size + 1)} if size else ()
        if size and (*text[len(text) - size + 1 :], i) in runs:
            z[i] = -np.inf
        z[i] += (params.logit_bias or {}).get(i, 0)
        if i in text:
            z[i] *= params.repetition_penalty ** (-1 if z[i] > 0 else 1)
        z[i] -= params.frequency_penalty * new.count(i) + params.presence_penalty * (i in new)
    z /= params.temperature
    p = np.exp(z - z.max())
    z[p < params.min_p] = -np.inf
    if params.top_k:
        z[z < np.sort(z)[-params.top_k]] = -np.inf
    p = np.exp(z - z.max())
    p /= p.sum()
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= params.top_p]] = 0
    return p / p.sum()


def of_texts(params):
    """{text: its probability} of all texts of the target."""
    going, done = {(): 1.0}, {}
    while going:
        text, chance = going.popitem()
        if text and (text[-1] == 0 or len(text) == params.max_tokens):
            done[text] = chance
            continue
        scores = TARGET.scores[(PROMPT + list(text))[-1]]
        for token, p in enumerate(next_token(scores, list(text), params)):
            if p > 0:
                going[(*text, token)] = chance * p
    return done


def written_texts(draft, many, k=3, **options):
    for seed in range(many):
        params = SamplingParams(max_tokens=3, seed=seed, **options)
        yield tuple(speculative_generate(TARGET, draft, PROMPT, params, k))


@pytest.mark.soak
@pytest.mark.parametrize("draft", ["near", "far", "lookup"])
@pytest.mark.parametrize("name", ["plain", "n-grams", "all"])
def test_whole_texts_have_the_targets_distribution(name, draft):
    """Every text of at most three tokens, ends included, against its exact probability."""
    many = soak_count(50_000)
    texts = of_texts(SamplingParams(max_tokens=3, **WHOLE[name]))
    places = {text: i for i, text in enumerate(texts)}
    counts = np.zeros(len(texts))
    for text in written_texts(DRAFTS[draft], many, **WHOLE[name]):
        counts[places[text]] += 1
    assert fits(counts, many * np.array([*texts.values()])) > SURE


@pytest.mark.parametrize("draft", DRAFTS)
def test_texts_under_all_settings_have_the_targets_distribution(draft):
    many = 400
    texts = of_texts(SamplingParams(max_tokens=3, **WHOLE["all"]))
    counts = dict.fromkeys(texts, 0)
    for text in written_texts(DRAFTS[draft], many, **WHOLE["all"]):
        counts[text] += 1
    assert fits([*counts.values()], many * np.array([*texts.values()])) > SURE


@pytest.mark.parametrize("name", WHOLE)
def test_every_setting_is_seen_by_the_rule(name):
    """The distribution that the loop takes as the target's, at every text, is the exact one."""
    params = SamplingParams(max_tokens=3, **WHOLE[name])
    for new in itertools.chain([()], [(2,), (3,)], itertools.product(range(1, SMALL), repeat=2)):
        stop = Stopper(TARGET, params)
        stop.new = list(new)
        scores = TARGET.scores[(PROMPT + stop.new)[-1]]
        found = probabilities(scores, params, Row(PROMPT, stop, None))
        np.testing.assert_allclose(found, next_token(scores, stop.new, params), atol=1e-6)


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


# What to expect


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.8, 1.0])
def test_the_expected_tokens_of_a_pass(acceptance, k):
    """Against the sum that the closed form stands for, and coins thrown until one falls on the wrong side."""
    assert math.isclose(expected_tokens(acceptance, k), sum(acceptance**i for i in range(k + 1)))
    coins = np.random.default_rng(k).random((200_000, k)) < acceptance
    tokens = 1 + np.cumprod(coins, axis=1).sum(axis=1)
    error = tokens.std() / math.sqrt(len(tokens))
    assert abs(tokens.mean() - expected_tokens(acceptance, k)) <= 5 * error


def test_the_loop_keeps_to_the_formula():
    """A target and a draft that do not look back: drafts are accepted with one probability, Σ min(p, q)."""
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.2, 0.3, 0.1, 0.4])
    target, draft = (Table(np.log(np.tile(x, (4, 1)))) for x in (p, q))
    params = SamplingParams(max_tokens=599, seed=1, ignore_eos=True)
    run = Speculation(target, draft, [1], params, k=3)
    passes = [len(some) for some in run][:-1]
    acceptance = np.minimum(p, q).sum()
    assert stats.binomtest(run.accepted, run.tried, acceptance).pvalue > 1e-3
    error = np.std(passes) / math.sqrt(len(passes))
    assert abs(np.mean(passes) - expected_tokens(acceptance, 3)) < 4 * error


def test_the_papers_speed_ups():
    """Leviathan et al. 2023, table 1 and its text: theorem 3.8's values at the k (γ) given there."""
    assert round(expected_speed_up(0.6, 2, 0.0), 2) == 1.96
    assert round(expected_speed_up(0.7, 3, 0.0), 2) == 2.53
    assert round(expected_speed_up(0.8, 2, 0.0), 2) == 2.44
    assert round(expected_speed_up(0.8, 5, 0.0), 2) == 3.69
    assert round(expected_speed_up(0.9, 2, 0.0), 2) == 2.71
    assert round(expected_speed_up(0.9, 10, 0.0), 2) == 6.86
    assert expected_speed_up(1.0, 4, 0.25) == 2.5
    assert expected_speed_up(0.0, 4, 0.25) == 0.5  # a draft of no use costs
    assert math.isclose(expected_speed_up(0.5, 1, 0.1, check_ratio=1.4), 1.0)


@pytest.mark.parametrize(
    "given", [(1.1, 2, 0.1), (-0.1, 2, 0.1), (0.5, -1, 0.1), (0.5, 2, -0.1), (0.5, 2, "x")]
)
def test_an_expectation_of_nonsense_is_refused(given):
    with pytest.raises(ValueError):
        expected_speed_up(*given)
