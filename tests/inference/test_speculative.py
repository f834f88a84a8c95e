"""Speculative decoding: the target's distribution whatever is drafted, its greedy tokens, and the papers' formula."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from minillm.inference import (
    SamplingParams,
    Speculation,
    accept_draft,
    expected_speed_up,
    expected_tokens,
    speculative_generate,
)
from minillm.inference.drafting import probabilities
from minillm.inference.loop import Row
from minillm.inference.stopping import Stopper
from tests.helpers import soak_count
from tests.inference.test_distribution import SCORES, exact, of_names

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


GOOD, DRAFTED = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([2])


@pytest.mark.parametrize(
    ("p", "q", "drafted", "message"),
    [
        ([[0.5, 0.5]], GOOD, DRAFTED, "p must be a tensor"),
        (GOOD.log(), GOOD, DRAFTED, "probabilities"),
        (GOOD, GOOD * float("nan"), DRAFTED, "probabilities"),
        (GOOD * float("nan"), GOOD, DRAFTED, "probabilities"),
        (GOOD, 3 * GOOD, DRAFTED, "probabilities"),
        (GOOD, GOOD, torch.tensor([3]), "0 to 2, got"),
        (GOOD, GOOD, torch.tensor([-1]), "0 to 2, got"),
        (GOOD, torch.tensor([[0.5, 0.5, 0]]), DRAFTED, "q draws"),
        (GOOD, GOOD, DRAFTED.float(), "whole numbers"),
        (GOOD.long(), GOOD.long(), DRAFTED, "floating point"),
        (GOOD[:, :0], GOOD[:, :0], DRAFTED, "must have shapes"),
    ],
)
def test_the_rule_refuses_what_is_no_distribution_and_no_draw_of_it(p, q, drafted, message):
    """Scores in place of probabilities, or NaN, gave a token that meant nothing."""
    with pytest.raises(ValueError, match=message):
        accept_draft(p, q, drafted)


def test_the_rule_takes_every_float_and_no_text_at_all():
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        p = torch.rand(3, 500, generator=torch.Generator().manual_seed(4)).softmax(-1).to(kind)
        assert accept_draft(p, p, torch.tensor([0, 7, 499])).tolist() == [0, 7, 499]
    assert accept_draft(GOOD[:0], GOOD[:0], DRAFTED[:0]).shape == (0,)


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
    "given", [(1.1, 2, 0.1), (-0.1, 2, 0.1), (0.5, -1, 0.1), (0.5, 2, -0.1), (0.5, 2, "x"), (0.5, 2, 0, 0)]
)
def test_an_expectation_of_nonsense_is_refused(given):
    with pytest.raises(ValueError):
        expected_speed_up(*given)
