"""What is drawn follows the exact distribution: every parameter, every pair of them, all at once, in vLLM's order.

The exact one is worked out here, in float64, a rule at a time from its definition. The draws go through the loop's own
choice of a token, for one text that has a prompt and new tokens already.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from minillm.inference import SamplingParams, process_logits
from minillm.inference.loop import Row, _choose, held_back, texts_so_far
from minillm.inference.sampling import new_generator
from minillm.inference.stopping import Stopper

DRAWS = 3000
SCORES = [1.99, 0.22, 1.21, 1.51, -2.8, 1.07, 0.56, 0.9, 0.69, -1.7, -1.39, -0.15]
PROMPT, NEW = [2, 11, 3, 10, 8], [0, 11, 0, 6, 5, 11]
END = 0  # the model's end token

# Each setting changes the distribution of the scores above; those of a pair do it together.
SETTINGS = {
    "min_tokens": {"min_tokens": 7, "stop_token_ids": (4,)},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "logit_bias": {"logit_bias": {3: -1.1, 7: 1.7}},
    "repetition_penalty": {"repetition_penalty": 1.6},
    "frequency_penalty": {"frequency_penalty": 0.45},
    "presence_penalty": {"presence_penalty": 0.6},
    "temperature": {"temperature": 0.7},
    "min_p": {"min_p": 0.22},
    "top_k": {"top_k": 4},
    "top_p": {"top_p": 0.61},
}
ORDER = list(
    SETTINGS
)  # vLLM's v1 sampler documents it; n-grams, which it does not have, stand where they are certain


class Model:
    """All that a Stopper asks of a model."""

    eos_token_ids = (END,)


def softmax(z):
    weights = np.exp(z - z.max())
    return weights / weights.sum()


def without(z, dropped):
    return np.where(dropped, -np.inf, z)


def min_tokens(z, params):
    ends = {*params.stop_token_ids, *(() if params.ignore_eos else [END])}
    return without(z, [i in ends and len(NEW) < params.min_tokens for i in range(len(z))])


def no_repeat_ngram_size(z, params):
    size, text = params.no_repeat_ngram_size, PROMPT + NEW
    runs = {tuple(text[i : i + size]) for i in range(len(text) - size + 1)} if size else set()
    return without(z, [(*text[len(text) - size + 1 :], i) in runs for i in range(len(z))])


def logit_bias(z, params):
    return z + [(params.logit_bias or {}).get(i, 0.0) for i in range(len(z))]


def repetition_penalty(z, params):
    worse = np.where(z > 0, z / params.repetition_penalty, z * params.repetition_penalty)
    return np.where([i in PROMPT + NEW for i in range(len(z))], worse, z)


def frequency_penalty(z, params):
    return z - params.frequency_penalty * np.array([NEW.count(i) for i in range(len(z))])


def presence_penalty(z, params):
    return z - params.presence_penalty * np.array([i in NEW for i in range(len(z))])


def temperature(z, params):
    return z / params.temperature


def min_p(z, params):
    p = softmax(z)
    return without(z, p < params.min_p * p.max())


def top_k(z, params):
    return without(z, z < sorted(z)[-params.top_k]) if params.top_k else z


def top_p(z, params):
    p, kept = softmax(z), []
    for i in sorted(range(len(z)), key=lambda i: -p[i]):
        if kept and sum(p[kept]) >= params.top_p:
            break
        kept.append(i)
    return without(z, [i not in kept for i in range(len(z))])


def exact(params, order=ORDER):
    """The probabilities (V,) of the next token."""
    z = np.array(SCORES)
    with np.errstate(invalid="ignore"):
        for name in order:
            z = globals()[name](z, params)
    return softmax(z)


def text(params):
    stop = Stopper(Model, params)
    stop.new = list(NEW)
    return Row(PROMPT, stop, new_generator(12))


def chi_square_tail(statistic, freedom):
    """The probability of a statistic at least so large."""
    return torch.special.gammaincc(*torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)).item()


def of_names(*names):
    settings = {"max_tokens": 20}
    for name in names:
        settings |= SETTINGS[name]
    if len(names) > 2:
        settings |= {
            "temperature": 1.7,
            "min_p": 0.08,
            "top_k": 5,
            "top_p": 0.8,
        }  # so that several tokens are left
    return SamplingParams(**settings)


CASES = [(), *((name,) for name in ORDER), *itertools.combinations(ORDER, 2), tuple(ORDER)]


@pytest.mark.parametrize("names", CASES, ids=" ".join)
def test_draws_follow_the_exact_distribution(names):
    params = of_names(*names)
    row, expected = text(params), exact(params)
    logits = torch.tensor(SCORES).expand(DRAWS, -1)
    drawn = _choose(logits, params, [row] * DRAWS, list(range(DRAWS)), step=len(NEW))
    counts = np.bincount(drawn.numpy(), minlength=len(SCORES))
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert possible.sum() > 1
    statistic = ((counts - DRAWS * expected)[possible] ** 2 / (DRAWS * expected[possible])).sum()
    assert chi_square_tail(statistic, max(possible.sum() - 1, 1)) > 1e-6
    # and the probabilities themselves, which one draw in a thousand more would not show
    scores = process_logits(
        held_back(logits[:1], params, [row], len(NEW)), params, *texts_so_far(params, [row], logits.device)
    )
    np.testing.assert_allclose(scores[0].softmax(-1).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ORDER)
def test_every_setting_shows(name):
    """With and without it the distributions are so far apart that the test above tells them from each other."""
    with_it, without_it = exact(of_names(name)), exact(of_names())
    distance = DRAWS * ((with_it - without_it) ** 2 / without_it).sum()
    assert chi_square_tail(distance, len(SCORES) - 1) < 1e-12


# Pairs whose order makes no difference: what is taken away stays away, sums and cuts of one ranking commute
COMMUTE = {
    frozenset(pair)
    for pair in [
        *((a, b) for a in ("min_tokens", "no_repeat_ngram_size") for b in ORDER[2:7]),
        ("min_tokens", "no_repeat_ngram_size"),
        *itertools.combinations(("logit_bias", "frequency_penalty", "presence_penalty"), 2),
        ("repetition_penalty", "temperature"),
        ("temperature", "top_k"),
        ("min_p", "top_k"),
    ]
}


@pytest.mark.parametrize("pair", itertools.combinations(ORDER, 2), ids=" ".join)
def test_the_order_of_a_pair_shows_unless_it_makes_no_difference(pair):
    """So the test above holds the order, too: in the other order these settings give another distribution."""
    params = of_names(*pair)
    apart = np.abs(exact(params, pair) - exact(params, pair[::-1])).max()
    assert apart < 1e-12 if frozenset(pair) in COMMUTE else apart > 1e-3


@pytest.mark.parametrize("ignore_eos", [False, True])
@pytest.mark.parametrize("stop", [(), (5,), ((5, 6),), "zz"])
def test_what_min_tokens_holds_back(ignore_eos, stop):
    """The model's end tokens, unless they end nothing, and single ids of `stop`; a sequence or a text ends later."""
    params = SamplingParams(max_tokens=9, min_tokens=8, ignore_eos=ignore_eos, stop=stop, stop_token_ids=[7])
    stopper = Stopper(Model, params, type("Tokenizer", (), {"decode": str}))
    held = held_back(torch.zeros(1, 12), params, [Row(PROMPT, stopper, None)], step=7)
    expected = {7} | ({END} if not ignore_eos else set()) | ({5} if stop == (5,) else set())
    assert set(held[0].isinf().nonzero()[:, 0].tolist()) == expected
    assert not held_back(torch.zeros(1, 12), params, [Row(PROMPT, stopper, None)], step=8).isinf().any()


@pytest.mark.parametrize("names", itertools.combinations(ORDER[:6], 2), ids=" ".join)
def test_greedy_takes_the_best_after_the_penalties(names):
    settings = {"max_tokens": 20, "temperature": 0}
    for name in names:
        settings |= SETTINGS[name]
    params = SamplingParams(**settings)
    best = exact(of_names(*names)).argmax()
    assert _choose(torch.tensor([SCORES]), params, [text(params)], [0], len(NEW)).tolist() == [best]


def test_a_bias_that_bans_and_one_that_forces():
    """-100 and 100 are what the field's servers document as a ban and as the only choice."""
    banned = process_logits(torch.tensor([SCORES]), SamplingParams(logit_bias={0: -100})).softmax(-1)[0]
    assert banned[0] < 1e-40
    forced = process_logits(torch.tensor([SCORES]), SamplingParams(logit_bias={10: 100})).softmax(-1)[0]
    assert math.isclose(forced[10], 1.0)
