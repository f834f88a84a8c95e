"""One's own rows: what is held out, and what a model makes of it."""

import numpy as np
import pytest
import torch

from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer
from minillm.training import PreferenceSet, SFTObjective, chat_example, sequence_logprobs
from minillm.training.alignment.own_rows import (
    PLAIN_TEMPLATE,
    answer_losses,
    give_template,
    pair_margins,
    split_rows,
)
from minillm.training.batches import ExampleSet
from tests.training.alignment.test_packing import LLAMA, drawn
from tests.training.alignment.test_preferences import pairs


def test_rows_that_ask_the_same_stay_on_one_side():
    rows = [(f"Question {i % 20}?", i) for i in range(60)] + [("question  3?", 60)]  # the same words again
    taught, held, proof = split_rows(rows, lambda row: row[0], 0.2, seed=1)
    assert sorted(taught + held) == sorted(rows)
    asked = [{row[0].lower().replace("  ", " ") for row in side} for side in (taught, held)]
    assert not asked[0] & asked[1]
    assert len(asked[1]) == 4
    assert "none in the training text" in str(proof)
    assert split_rows(rows, lambda row: row[0], 0.2, seed=1)[1] == held
    assert split_rows(rows, lambda row: row[0], 0.2, seed=2)[1] != held
    for few in ([], rows[:1], [rows[0]] * 3):
        with pytest.raises(ValueError, match="too few rows to hold some out"):
            split_rows(few, lambda row: row[0])


def test_an_answer_costs_what_the_objective_says_of_it_alone():
    model, examples = Llama(LlamaConfig(**LLAMA), seed=0), drawn(9)
    found = answer_losses(model, examples, rows=4)
    for one, loss in zip(examples, found):
        batch = ExampleSet([one])._padded([0])
        assert loss == pytest.approx(float(SFTObjective()(model, batch).loss.detach()), abs=1e-5)
    assert model.training


def test_margins_are_differences_of_sums():
    model, data = Llama(LlamaConfig(**LLAMA), seed=0), PreferenceSet(pairs(7))
    margins, a_token, likely = pair_margins(model, data, rows=3)
    batch = data.rows(range(7))
    with torch.no_grad():
        both = [
            sequence_logprobs(
                model, *(batch[f"{side}_{name}"] for name in ("input_ids", "labels", "attention_mask"))
            )
            for side in ("chosen", "rejected")
        ]
    np.testing.assert_allclose(margins, (both[0] - both[1]).numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(likely, both[0].numpy(), rtol=1e-5)
    tokens = [[len(one[f"{side}_ids"]) for one in pairs(7)] for side in ("chosen", "rejected")]
    means = [both[place].numpy() / tokens[place] for place in (0, 1)]
    np.testing.assert_allclose(a_token, means[0] - means[1], rtol=1e-4, atol=1e-5)


def test_the_length_of_answers_is_in_the_margin_and_not_in_that_of_a_token():
    """A model to which all tokens are alike: the shorter answer is always ahead in sums, and never a token."""
    model = Llama(LlamaConfig(**LLAMA), seed=0)
    with torch.no_grad():
        model.head.weight.zero_()
    short, long = [1, 2], [3, 4, 5, 6, 7]
    data = PreferenceSet(
        [
            {"prompt_ids": [9], "chosen_ids": one, "rejected_ids": two}
            for one, two in ((short, long), (long, short))
        ]
    )
    found = pair_margins(model, data)
    np.testing.assert_allclose(found.margin, [3 * np.log(50), -3 * np.log(50)], rtol=1e-5)
    np.testing.assert_allclose(found.a_token, [0, 0], atol=1e-6)


def test_the_plain_template_ends_each_answer_and_needs_an_end():
    tokenizer = BPETokenizer.train(["user assistant"], 270, ("<|endoftext|>",))
    assert give_template(tokenizer)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert not give_template(tokenizer)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
    taught = [one for one in chat_example(tokenizer, chat)["labels"] if one != -100]
    assert tokenizer.decode(taught) == "b<|endoftext|>b<|endoftext|>"
    with pytest.raises(ValueError, match="no chat template and no end token"):
        give_template(BPETokenizer.train(["user"], 260, ("<x>",)))
