"""Collators refuse what makes no batch, by name; their batches are held against the peer's in tests/parity."""

from types import SimpleNamespace

import pytest
import torch

from minillm.tokenizer import BPETokenizer
from minillm.training import (
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    default_data_collator,
)
from tests.training.classifier import Padding


def test_a_batch_of_our_tokenizer():
    tokenizer = BPETokenizer.train(["low lower lowest"], 260, special_tokens=("<pad>",))
    rows = [{**tokenizer(text), "label": n} for n, text in enumerate(["low", "lowest low"])]
    batch = DataCollatorWithPadding(tokenizer)(rows)
    expected = tokenizer(["low", "lowest low"], padding=True, return_tensors="pt")
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], expected[name])
    assert batch["labels"].tolist() == [0, 1]


def test_tensors_and_a_label_id_of_ones_own():
    rows = [{"input_ids": torch.tensor([5, 6]), "labels": torch.tensor([1, 2])},
            {"input_ids": torch.tensor([7]), "labels": torch.tensor([3])}]  # fmt: skip
    batch = DataCollatorForTokenClassification(Padding(), label_pad_token_id=-1)(rows)
    assert batch["labels"].tolist() == [[1, 2], [3, -1]]
    assert batch["input_ids"].tolist() == [[5, 6], [7, 0]]
    assert "labels" not in DataCollatorForSeq2Seq(Padding())([{"input_ids": [1]}])


def test_equal_lengths_need_no_padding():
    rows = [{"input_ids": [1, 2], "label": 0.5}, {"input_ids": [3, 4], "label": 1}]
    batch = default_data_collator(rows)
    assert batch["input_ids"].tolist() == [[1, 2], [3, 4]]
    assert batch["labels"].dtype == torch.float32
    none = SimpleNamespace(pad_token_id=None)
    assert DataCollatorWithPadding(none)(rows)["input_ids"].tolist() == [[1, 2], [3, 4]]


def test_masks_follow_torchs_generator_and_the_seed():
    rows = [{"input_ids": list(range(5, 30))}] * 4
    found = []
    for seed, draw in ((None, 0), (None, 0), (None, 1), (7, 0)):
        torch.manual_seed(draw)
        found.append(DataCollatorForLanguageModeling(Padding(), seed=seed)(rows)["input_ids"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[3])


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: DataCollatorWithPadding(3), "tokenizer must have a pad_token_id, got 3"),
        (lambda: DataCollatorWithPadding(Padding(), padding=False), "padding must be one of"),
        (lambda: DataCollatorWithPadding(Padding(), padding="max_length"), "needs a max_length"),
        (lambda: DataCollatorWithPadding(Padding(), pad_to_multiple_of=0), "pad_to_multiple_of must be at least 1"),
        (lambda: DataCollatorWithPadding(Padding(), return_tensors="np"), "return_tensors must be one of 'pt'"),
        (lambda: DataCollatorWithPadding(Padding())([]), "list of dicts, got"),
        (lambda: DataCollatorWithPadding(Padding())([[1, 2]]), "list of dicts, got"),
        (lambda: DataCollatorWithPadding(Padding())([{"ids": [1]}]), r"must have input_ids, got the columns \['ids'\]"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [1]}, {"input_ids": [1], "label": 2}]),
         "different columns"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [1], "labels": [1]}, {"input_ids": [1],
                                                                                       "labels": [1, 2]}]),
         "the column 'labels' must hold numbers or lists of equal lengths"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [1], "label": n} for n in (1, None)]),
         "got None"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [1.5]}]), "input_ids must be a list of whole"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [[1], [2]]}]), "input_ids must be a list of whole"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": None}]), "input_ids must be a list of whole"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": torch.tensor(3)}]), "input_ids must be a list"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [1]}, {"input_ids": ["a"]}]), r"\(example 1\)"),
        (lambda: DataCollatorWithPadding(Padding())([{"input_ids": [1, 2], "attention_mask": [1]}]),
         "attention_mask must be as long as input_ids, got 1 for 2"),
        (lambda: DataCollatorWithPadding(SimpleNamespace(pad_token_id=None))([{"input_ids": [1] * n} for n in (1, 2)]),
         "no pad_token_id"),
        (lambda: DataCollatorForLanguageModeling(SimpleNamespace(pad_token_id=0)), "mask token"),
        (lambda: DataCollatorForLanguageModeling(Padding(), mlm_probability=2), "at least|between"),
        (lambda: default_data_collator([{"text": "a"}]), "the column 'text'"),
        (lambda: default_data_collator([]), "list of dicts"),
    ],
)  # fmt: skip
def test_what_makes_no_batch(work, message):
    with pytest.raises(ValueError, match=message):
        work()
