"""What the functions of a step (scores, penalties, prefill, decode) refuse, in words of their own."""

import math

import pytest
import torch

from minillm.inference import (
    SamplingParams,
    apply_frequency_penalty,
    apply_min_p,
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
