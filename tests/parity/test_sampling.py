"""Our sampling rules keep and score exactly the tokens that transformers' logits processors do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.inference import (
    SamplingParams,
    apply_logit_bias,
    apply_min_p,
    apply_no_repeat_ngrams,
    apply_repetition_penalty,
    apply_temperature,
    apply_top_k,
    apply_top_p,
    process_logits,
)

transformers = pytest.importorskip(
    "transformers", reason="sampling is held against transformers: the parity extra"
)


NO_IDS = torch.zeros(1, 0, dtype=torch.long)


def scores(size, seed, rounded=False):
    logits = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3
    return logits.round() if rounded else logits


@given(st.integers(1, 60), st.integers(0, 9999), st.booleans(), st.floats(0.1, 4), st.integers(1, 70))
@settings(max_examples=100, deadline=None)
def test_temperature_and_top_k(size, seed, ties, temperature, k):
    logits = scores(size, seed, ties)
    warm = transformers.TemperatureLogitsWarper(temperature)(NO_IDS, logits[None])[0]
    assert torch.equal(apply_temperature(logits, temperature), warm)
    assert torch.equal(apply_top_k(logits, k), transformers.TopKLogitsWarper(k)(NO_IDS, logits[None])[0])


@given(st.integers(1, 60), st.integers(0, 9999), st.floats(0.01, 0.99), st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
def test_top_p_and_min_p(size, seed, p, min_p):
    logits = scores(size, seed)
    assert torch.equal(apply_top_p(logits, p), transformers.TopPLogitsWarper(p)(NO_IDS, logits[None])[0])
    assert torch.equal(
        apply_min_p(logits, min_p), transformers.MinPLogitsWarper(min_p)(NO_IDS, logits[None])[0]
    )


@given(st.lists(st.integers(0, 19), max_size=40), st.integers(0, 9999), st.floats(0.5, 3))
@settings(max_examples=60, deadline=None)
def test_repetition_penalty(seen, seed, penalty):
    logits, ids = scores(20, seed), torch.tensor(seen, dtype=torch.long)
    expected = transformers.RepetitionPenaltyLogitsProcessor(penalty)(ids[None], logits[None])[0]
    torch.testing.assert_close(apply_repetition_penalty(logits, ids, penalty), expected)


@pytest.mark.parametrize("seed", range(20))
def test_all_together_in_vllms_order(seed):
    """By transformers' processors, one after the other as vLLM's sampler documents it."""
    logits, ids = scores(40, seed), torch.tensor([1, 5, 5, 9])
    params = SamplingParams(temperature=0.7, top_k=12, top_p=0.8, min_p=0.05, repetition_penalty=1.3)
    chain = transformers.LogitsProcessorList(
        [
            transformers.RepetitionPenaltyLogitsProcessor(1.3),
            transformers.TemperatureLogitsWarper(0.7),
            transformers.MinPLogitsWarper(0.05),
            transformers.TopKLogitsWarper(12),
            transformers.TopPLogitsWarper(0.8),
        ]
    )
    torch.testing.assert_close(process_logits(logits, params, ids), chain(ids[None], logits[None])[0])


@given(st.lists(st.integers(0, 7), max_size=14), st.integers(1, 4), st.integers(0, 9999))
@settings(max_examples=100, deadline=None)
def test_no_repeat_ngrams(text, size, seed):
    logits, ids = scores(8, seed)[None], torch.tensor([text], dtype=torch.long)
    expected = transformers.NoRepeatNGramLogitsProcessor(size)(ids, logits)
    assert torch.equal(apply_no_repeat_ngrams(logits, [text], size), expected)


BIASES = st.floats(-100, 100, width=32).filter(bool)  # theirs takes no zero


@given(st.dictionaries(st.integers(0, 7), BIASES, min_size=1), st.integers(0, 9999))
@settings(max_examples=60, deadline=None)
def test_logit_bias_is_a_sequence_bias_of_single_tokens(bias, seed):
    logits = scores(8, seed)[None]
    theirs = transformers.SequenceBiasLogitsProcessor([[[i], value] for i, value in bias.items()])
    torch.testing.assert_close(apply_logit_bias(logits, bias), theirs(NO_IDS, logits))
