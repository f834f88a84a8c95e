"""The names of special tokens and what they are there for. Equality with transformers is in tests/parity."""

import numpy as np
import pytest
import torch

from minillm.tokenizer import BPETokenizer, WordPieceTokenizer, load_tokenizer

SPECIAL = ("<|endoftext|>", "<|im_end|>", "<|pad|>")


def chat_tokenizer():
    return BPETokenizer.train(["hello"], 262, special_tokens=SPECIAL)


def test_a_role_that_is_set_is_what_templates_and_files_say(tmp_path):
    tokenizer = chat_tokenizer()
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.pad_token_id) == ("<|endoftext|>", None, 2)
    tokenizer.chat_template = "{{ messages[0]['content'] + eos_token }}"
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    for one in (tokenizer, (tokenizer.save(tmp_path), load_tokenizer(tmp_path))[1]):
        assert (one.eos_token, one.eos_token_id, one.pad_token, one.pad_token_id) == ("<|im_end|>", 1) * 2
        text = one.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
        assert text == "hi<|im_end|>"
        assert one(["a", "bb"], padding=True)["input_ids"][0][1] == 1
    other = chat_tokenizer()
    assert (other.eos_token, other.roles) == ("<|endoftext|>", {})  # no state that tokenizers share


def test_a_role_may_be_set_by_its_id():
    tokenizer = chat_tokenizer()
    tokenizer.pad_token_id = tokenizer.eos_token_id  # as in a thousand tutorials
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|endoftext|>", 0)
    tokenizer.eos_token_id = np.int64(1)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 1)
    tokenizer.eos_token_id = tokenizer.pad_token = None  # as the names tell again
    assert (tokenizer.eos_token, tokenizer.pad_token_id, tokenizer.roles) == ("<|endoftext|>", 2, {})


def test_a_role_of_what_is_no_token_is_refused_and_changes_nothing():
    tokenizer = chat_tokenizer()
    tokenizer.pad_token = "<|im_end|>"
    for name, value, message in (
        ("pad_token", "[PAD]", r"pad_token must be a token of this vocabulary, got '\[PAD\]'"),
        ("eos_token", 1, "eos_token must be a str, got 1"),
        ("pad_token_id", 262, "id must be between 0 and 261"),
        ("eos_token_id", "<|im_end|>", "id must be an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            setattr(tokenizer, name, value)
    assert tokenizer.roles == {"pad_token": "<|im_end|>"}


def test_what_fills_up_by_tokenizer_json_alone_gives_way_to_the_config(tmp_path):
    tokenizer = chat_tokenizer()
    tokenizer.kept["padding"] = {
        "strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0,
        "pad_token": "<|im_end|>",
    }  # fmt: skip
    tokenizer.save(tmp_path)
    assert (
        load_tokenizer(tmp_path).pad_token_id == load_tokenizer(tmp_path / "tokenizer.json").pad_token_id == 1
    )
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).pad_token_id == 0


def test_all_special_tokens():
    tokenizer = chat_tokenizer()
    assert (tokenizer.all_special_tokens, tokenizer.all_special_ids) == (list(SPECIAL), [0, 1, 2])


def test_one_id_is_decoded_as_a_list_of_one():
    tokenizer = chat_tokenizer()
    (index,) = tokenizer.encode("h")
    for one in (index, np.int64(index), np.array(index), torch.tensor(index), [index]):
        assert tokenizer.decode(one) == "h"
        assert tokenizer.decode_bytes(one) == b"h"
    assert tokenizer.decode(0, skip_special_tokens=True) == ""
    for one in (np.int64(0), torch.tensor(0), 0):
        assert tokenizer.convert_ids_to_tokens(one) == "<|endoftext|>"
    for wrong in (True, 1.0, None, "h", np.float32(1)):
        with pytest.raises(ValueError, match=r"ids? must be an? (sequence of )?integer"):
            tokenizer.decode(wrong)


def test_encode_adds_special_tokens_where_they_are_asked_for():
    tokenizer = WordPieceTokenizer.train(["hello world"] * 3, 60)
    plain = tokenizer.encode("hello")
    assert tokenizer.encode("hello", add_special_tokens=False) == plain
    added = tokenizer.encode("hello", add_special_tokens=True)
    assert (
        added == tokenizer("hello")["input_ids"] == [tokenizer.cls_token_id, *plain, tokenizer.sep_token_id]
    )
    assert tokenizer.encode("[SEP]", (), add_special_tokens=True)[1:-1] == tokenizer.encode("[SEP]", ())
    with pytest.raises(ValueError, match="add_special_tokens must be True or False"):
        tokenizer.encode("hello", add_special_tokens=1)
