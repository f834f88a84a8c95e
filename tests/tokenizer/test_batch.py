"""Batches: shapes, masks and what is refused. Equality with transformers is in tests/parity."""

import pytest
import torch

from minillm.tokenizer import BPETokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train([], 258, special_tokens=("<|endoftext|>", "<pad>"))


def ids(text):
    return BPETokenizer.train([], 258, special_tokens=("<|endoftext|>", "<pad>")).encode(text)


def test_one_text_and_many(tokenizer):
    assert tokenizer("ab") == {"input_ids": ids("ab"), "attention_mask": [1, 1], "token_type_ids": [0, 0]}
    batch = tokenizer(["ab", "c"], padding=True)
    assert batch["input_ids"] == [ids("ab"), [*ids("c"), 1]]
    assert batch["attention_mask"] == [[1, 1], [1, 0]]
    assert tokenizer(["ab", "c"])["input_ids"] == [ids("ab"), ids("c")]
    assert tokenizer([]) == {"input_ids": [], "attention_mask": [], "token_type_ids": []}


def test_tensors(tokenizer):
    batch = tokenizer(["한국", "c", ""], padding=True, return_tensors="pt")
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (torch.Size([3, 6]), torch.int64)
    )
    assert batch["attention_mask"].sum(1).tolist() == [6, 1, 0]
    assert tokenizer("ab", return_tensors="pt")["input_ids"].tolist() == [ids("ab")]
    assert tokenizer([], padding=True, return_tensors="pt")["input_ids"].shape == (0, 0)


def test_padding_to_a_length_and_truncation(tokenizer):
    batch = tokenizer(["abcdef", "c"], padding="max_length", truncation=True, max_length=4)
    assert batch["input_ids"] == [ids("abcd"), [*ids("c"), 1, 1, 1]]
    assert tokenizer("abcdef", padding="max_length", max_length=4)["input_ids"] == ids("abcdef")


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((None,), {}, "texts must be"),
        ((b"ab",), {}, "texts must be"),
        ((["a", 1],), {}, "texts must be"),
        (({"a"},), {}, "texts must be"),
        (("a", ["b"]), {}, "same kind"),
        ((["a"], "b"), {}, "same kind"),
        ((["a"], ["b", "c"]), {}, "as many"),
        (("a",), {"padding": "longest_one"}, "padding"),
        (("a",), {"padding": 1}, "padding"),
        (("a",), {"truncation": "first"}, "truncation"),
        (("a",), {"truncation": True}, "max_length must be given"),
        (("a",), {"padding": "max_length"}, "max_length must be given"),
        (("a",), {"max_length": 0}, "max_length"),
        (("a",), {"max_length": 2.5}, "max_length"),
        (("a",), {"return_tensors": "np"}, "return_tensors"),
        ((["a", "bc"],), {"return_tensors": "pt"}, "padding=True"),
    ],
)
def test_refusals(tokenizer, args, options, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(*args, **options)


def test_padding_without_a_special_token_is_refused():
    bare = BPETokenizer.train([], 256, special_tokens=())
    assert bare.pad_token_id is None
    with pytest.raises(ValueError, match="special token to pad with"):
        bare(["a"], padding=True)
