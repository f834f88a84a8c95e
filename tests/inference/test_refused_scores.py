"""What the functions of a step (scores, penalties, prefill, decode) refuse, in words of their own."""

import math

import numpy as np
import pytest
import torch

from minillm.inference import (
    SamplingParams,
    apply_frequency_penalty,
    apply_logit_bias,
    apply_min_p,
    apply_no_repeat_ngrams,
    apply_presence_penalty,
    apply_repetition_penalty,
    apply_temperature,
    apply_top_k,
    apply_top_p,
    process_logits,
    sample,
)
from minillm.inference.loop import decode, left_padded, prefill
from minillm.inference.sampling import new_generator, sample_rows
from minillm.models import Llama, LlamaConfig

SCORES = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
IDS = torch.tensor([[0, 1]])
PARAMS = SamplingParams(temperature=1.0)


@pytest.mark.parametrize("value", [-1, math.nan, None, "1"])
def test_settings_out_of_range_are_refused(value):
    for function, name in (
        (apply_temperature, "temperature"),
        (apply_top_k, "k"),
        (apply_top_p, "p"),
        (apply_min_p, "min_p"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            function(SCORES, value)
    with pytest.raises(ValueError, match="penalty must be"):
        apply_repetition_penalty(SCORES, IDS, value)


@pytest.mark.parametrize("scores", [[1.0, 2.0], torch.tensor(1.0), torch.zeros(2, 0), None])
def test_what_are_no_scores_is_refused(scores):
    for function in (apply_temperature, apply_top_k, apply_top_p, apply_min_p):
        with pytest.raises(ValueError, match="logits must be"):
            function(scores, 1)
    for function in (apply_repetition_penalty, apply_frequency_penalty, apply_presence_penalty):
        with pytest.raises(ValueError, match="logits must be"):
            function(scores, IDS, 1.5)
    with pytest.raises(ValueError, match="logits must be"):
        process_logits(scores, PARAMS)
    with pytest.raises(ValueError, match="logits must be"):
        sample_rows(scores, PARAMS, [])


@pytest.mark.parametrize(
    "ids", [[[1]], torch.tensor([1]), torch.tensor([[1.0]]), torch.tensor([[4]]), torch.tensor([[-1]]), None]
)
def test_ids_that_belong_to_no_score_are_refused(ids):
    for function in (apply_repetition_penalty, apply_frequency_penalty, apply_presence_penalty):
        with pytest.raises(ValueError, match="ids must"):
            function(SCORES, ids, 1.5)


def test_a_penalty_is_not_left_out_in_silence():
    with pytest.raises(ValueError, match="seen"):
        process_logits(SCORES, SamplingParams(repetition_penalty=2.0))
    for options in ({"frequency_penalty": 1.0}, {"presence_penalty": -1.0}):
        with pytest.raises(ValueError, match="new"):
            process_logits(SCORES, SamplingParams(**options), IDS)
    with pytest.raises(ValueError, match="SamplingParams"):
        process_logits(SCORES, None)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_each_row_needs_a_generator_of_its_own(count):
    """With one for three rows all of them would draw the same noise."""
    with pytest.raises(ValueError, match="3 rows"):
        sample_rows(SCORES.expand(3, 4), PARAMS, [new_generator(i) for i in range(count)])
    assert sample_rows(SCORES[:0], PARAMS, []).tolist() == []
    with pytest.raises(ValueError, match=r"\(B, V\)"):
        sample_rows(SCORES[0], PARAMS, [new_generator(0)])
    with pytest.raises(ValueError, match="one text"):
        sample(SCORES, PARAMS, new_generator(0))


def test_texts_and_steps_that_are_none_are_refused():
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = Llama(config, seed=0).eval()
    for texts in ([], [[]], [[1], []], [1, 2], "ab", ["ab"], None):
        with pytest.raises(ValueError, match="at least one token id"):
            prefill(model, texts, None)
        with pytest.raises(ValueError, match="at least one token id"):
            left_padded(texts, "cpu")
    cache = model.new_cache(1, 4)
    prefill(model, [[1]], cache)
    for newest in ([1], torch.tensor(1), torch.tensor([[1]])):
        with pytest.raises(ValueError, match="newest"):
            decode(model, newest, cache)
    for last in (3, torch.tensor([3]), torch.tensor([[3], [3]])):
        with pytest.raises(ValueError, match="last"):
            decode(model, torch.tensor([1]), cache, last)
    with pytest.raises(ValueError, match="cache"):
        decode(model, torch.tensor([1]), None)
    assert cache.length == 1


@pytest.mark.parametrize(
    "bias", [None, [1, 2], {-1: 2.0}, {"1": 2.0}, {1: math.nan}, {1: math.inf}, {1: "2"}]
)
def test_a_bias_of_no_tokens_is_refused(bias):
    with pytest.raises(ValueError, match="bias must"):
        apply_logit_bias(SCORES, bias)


@pytest.mark.parametrize(
    ("texts", "size"),
    [
        ([[0, 1], [0, 1]], 1),  # the second would have been passed over
        ([], 1),
        ([0, 1], 1),
        (None, 1),
        (["0 1"], 1),
        ([[0, 4]], 1),
        ([[-1, 0]], 1),
        ([[0, 1]], -1),
        ([[0, 1]], 1.0),
    ],
)
def test_texts_of_other_rows_or_tokens_are_refused(texts, size):
    with pytest.raises(ValueError, match=r"text|size"):
        apply_no_repeat_ngrams(SCORES, texts, size)


def test_texts_may_be_tensors_or_arrays_and_no_size_is_no_rule():
    expected = apply_no_repeat_ngrams(SCORES, [[0, 1, 0]], 2)
    assert expected.isinf().tolist() == [[False, True, False, False]]
    for texts in (torch.tensor([[0, 1, 0]]), np.array([[0, 1, 0]])):
        assert torch.equal(apply_no_repeat_ngrams(SCORES, texts, 2), expected)
    assert torch.equal(apply_no_repeat_ngrams(SCORES, [[0, 1, 0]], 0), SCORES)


def test_scores_of_whole_numbers_are_refused_where_they_would_be_cut():
    """A penalty of .5 taken from whole numbers was none at all."""
    whole = torch.tensor([[1, 2, 3, 4]])
    for call in (
        lambda: apply_top_k(whole, 1),
        lambda: apply_repetition_penalty(whole, IDS, 1.5),
        lambda: apply_frequency_penalty(whole, IDS, 0.5),
        lambda: apply_presence_penalty(whole, IDS, 0.5),
        lambda: apply_logit_bias(whole, {1: 0.5}),
        lambda: apply_no_repeat_ngrams(whole, [[0, 1]], 1),
    ):
        with pytest.raises(ValueError, match="logits must be a float tensor"):
            call()


def test_a_seed_is_no_generator():
    with pytest.raises(ValueError, match=r"generator must be a torch\.Generator or None, got 42"):
        sample(SCORES[0], PARAMS, 42)
