"""The harness against lm-evaluation-harness 0.4.13: 200 questions of MMLU, 50 problems of GSM8K.

lm_eval.json holds SmolLM2's log-likelihoods and what lm_eval makes of them (record_lm_eval.py says how).
"""

import json

import pytest

from minillm.evaluation import generate_until, multiple_choice, wilson_interval
from minillm.evaluation.harness import UNTIL_GSM8K, flexible_number, gsm8k_item, mmlu_item, strict_number
from tests.parity.lm_eval_items import FIXTURE, FORMS, gsm8k_rows, key, mmlu_rows

TRUTH = json.loads(FIXTURE.read_text("utf-8"))


def kept(scores, monkeypatch):
    """multiple_choice with these log-likelihoods in place of a model's."""
    from minillm.evaluation import harness

    flat = [harness.Continuation(score, 1, False) for row in scores for score in row]
    monkeypatch.setattr(harness, "log_likelihoods", lambda model, tokenizer, pairs, *rest: flat[: len(pairs)])


def test_letters_of_mmlu(real_data, monkeypatch):
    rows = mmlu_rows(real_data)
    items = [mmlu_item(row["question"], row["choices"], row["answer"], row["subject"]) for row in rows]
    assert [key(item["prompt"]) for item in items] == [one["id"] for one in TRUTH["mmlu"]]
    assert len(items) == 200
    for by_length, name in ((False, "acc"), (True, "acc_norm")):
        kept([one["letters"] for one in TRUTH["mmlu"]], monkeypatch)
        found = multiple_choice(None, None, items, by_length)
        assert found.right == [bool(one["letters_found"][name]) for one in TRUTH["mmlu"]]


def test_choices_as_texts_where_both_rules_differ(real_data, monkeypatch):
    pairs = [(row, one) for row, one in zip(mmlu_rows(real_data), TRUTH["mmlu"]) if "texts" in one]
    items = [
        {
            "prompt": f"Question: {row['question']}\nAnswer:",
            "choices": row["choices"],
            "answer": row["answer"],
        }
        for row, _ in pairs
    ]
    verdicts = {}
    for by_length, name in ((False, "acc"), (True, "acc_norm")):
        kept([one["texts"] for _, one in pairs], monkeypatch)
        verdicts[name] = multiple_choice(None, None, items, by_length).right
        assert verdicts[name] == [bool(one["texts_found"][name]) for _, one in pairs]
    assert len(items) == 60
    assert verdicts["acc"] != verdicts["acc_norm"]


@pytest.mark.parametrize(
    ("name", "extract"), [("strict-match", strict_number), ("flexible-extract", flexible_number)]
)
def test_written_answers_of_gsm8k(real_data, name, extract):
    rows = gsm8k_rows(real_data)
    assert [(key(row["question"]), row["form"]) for row in rows] == [
        (o["id"], o["form"]) for o in TRUTH["gsm8k"]
    ]
    items = [gsm8k_item(row["question"], row["answer"]) for row in rows]
    found = generate_until(lambda prompts: [row["text"] for row in rows], items, UNTIL_GSM8K, extract)
    assert found.right == [bool(one[name]) for one in TRUTH["gsm8k"]]
    assert len(items) == 50 * len(FORMS)
    assert 0 < sum(found.right) < len(items)


def test_the_recorded_figure_does_not_show_that_the_model_is_above_chance():
    """61 of 200, no examples: one in four lies within the interval."""
    right = sum(one["letters_found"]["acc"] for one in TRUTH["mmlu"])
    low, high = wilson_interval(right, len(TRUTH["mmlu"]))
    assert low < 0.25 < right / 200 < high
