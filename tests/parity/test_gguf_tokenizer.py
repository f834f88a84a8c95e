"""Tokenizers inside GGUF files: llama.cpp's own vocabulary files, and ours written and read again."""

import json

import numpy as np
import pytest
import tokenizers

from minillm.data.gguf import read_gguf, write_gguf
from minillm.tokenizer import GPT4_PATTERN, BPETokenizer, load_tokenizer
from minillm.tokenizer.gguf import CUTS, SAME, gguf_vocabulary, tokenizer_from

TEXTS = [
    "In 2024 there were 15 cats", "don't, WON'T and it's", "한국어 문장 3개!\n\n  새 줄",
    "  def f(x):\n\treturn x**2\r\n",
    "", " ",
    "<|endoftext|>a<|endoftext|>", "e\u0301 \u00e9 👩‍👩‍👧 \u200b", "a" * 300, "1234567 ٣٤٥",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    return BPETokenizer.train([" ".join(TEXTS) * 3], 360, ["<|endoftext|>", "<|end|>"])


def test_ids_of_the_gpt2_vocabulary(real_data):
    ours = load_tokenizer(real_data("tokenizers/gguf") / "ggml-vocab-gpt-2.gguf")
    for path in sorted(real_data("tokenizers/vectors").glob("*gpt2*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(rows) > 20
        assert all(ours.encode(row["text"], allowed_special=()) == row["ids"] for row in rows if "ids" in row)
    theirs = load_tokenizer(real_data("tokenizers/gpt2"))
    assert all(ours.encode(text) == theirs.encode(text) for text in TEXTS)
    assert ours.decode(ours.encode(TEXTS[2])) == TEXTS[2]


@pytest.mark.parametrize("cut", CUTS)
def test_each_cut_is_the_one_of_tokenizers(trained, tmp_path, cut):
    metadata = gguf_vocabulary(trained, trained.vocab_size) | {"tokenizer.ggml.pre": cut}
    ours = tokenizer_from(metadata)
    theirs = tokenizers.Tokenizer.from_file(str(ours.save(tmp_path / "tokenizer.json")))
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    assert gguf_vocabulary(ours, trained.vocab_size)["tokenizer.ggml.pre"] == cut


@pytest.mark.parametrize("name", [*CUTS, *SAME])
def test_a_file_of_llama_3_that_does_not_say_it_begins_texts_with_bos(trained, name):
    """As llama.cpp does by the name of the cut; other files get what they ask for."""
    asked = gguf_vocabulary(trained, trained.vocab_size) | {
        "tokenizer.ggml.pre": name, "tokenizer.ggml.bos_token_id": trained.token_to_id("<|endoftext|>"),
    }  # fmt: skip
    silent = {key: value for key, value in asked.items() if "add_bos" not in key}
    same = SAME.get(name, name)
    bos = [trained.token_to_id("<|endoftext|>")] * (same == "llama-bpe")
    ours = tokenizer_from(silent)
    assert ours("15 cats")["input_ids"] == bos + ours.encode("15 cats")
    assert tokenizer_from(asked)("15 cats")["input_ids"] == ours.encode("15 cats")
    assert gguf_vocabulary(ours, trained.vocab_size)["tokenizer.ggml.pre"] == same


def test_a_tokenizer_comes_back_with_its_roles_and_template(trained, tmp_path):
    trained.roles, trained.chat_template = (
        {"eos_token": "<|end|>", "bos_token": "<|endoftext|>"},
        "{{ messages }}",
    )
    path = write_gguf(
        tmp_path / "x.gguf", gguf_vocabulary(trained, 450) | {"tokenizer.ggml.add_bos_token": True}, {}
    )
    ours = load_tokenizer(path)
    assert all(ours.encode(text) == trained.encode(text) for text in TEXTS)
    assert (ours.roles, ours.chat_template) == (trained.roles, "{{ messages }}")
    assert ours("cat")["input_ids"] == [trained.token_to_id("<|endoftext|>"), *trained.encode("cat")]
    kinds = read_gguf(path).metadata["tokenizer.ggml.token_type"]
    assert kinds[:2].tolist() == [3, 3]
    assert set(kinds[trained.vocab_size :].tolist()) == {5}
    assert gguf_vocabulary(ours, 450)["tokenizer.ggml.add_bos_token"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.ggml.pre": "deepseek-llm"}, "cuts text by 'deepseek-llm', we know gpt-2, smollm"),
        ({"tokenizer.ggml.pre": np.array([1, 2])}, "cuts text by"),
        ({"tokenizer.ggml.model": 3}, "vocabulary of a 3 tokenizer"),
        (
            {"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.token_type": np.array([1, 1])},
            "a token comes twice",
        ),
        ({"tokenizer.ggml.token_type": np.array([1])}, "token_type must name a kind for each of 360 tokens"),
        ({"tokenizer.ggml.merges": ["x"]}, "merge 0 must be two tokens"),
        ({"tokenizer.ggml.merges": ["q zz"]}, "merge"),
        ({"tokenizer.ggml.eos_token_id": 400}, "eos_token must be between 0 and 359, got 400"),
        ({"tokenizer.ggml.bos_token_id": "x"}, "bos_token must be an integer"),
    ],
)
def test_metadata_that_make_no_tokenizer(trained, change, message):
    with pytest.raises(ValueError, match=message):
        tokenizer_from(gguf_vocabulary(trained, trained.vocab_size) | change)


def test_a_cut_without_a_name_is_said(trained):
    with pytest.raises(ValueError, match="no name of a GGUF file stands for the way"):
        gguf_vocabulary(BPETokenizer.train(["a b"], 260, pattern=GPT4_PATTERN.replace("{1,3}", "{1,7}")), 300)
    with pytest.raises(ValueError, match="rows must be at least 360, got 359"):
        gguf_vocabulary(trained, 359)
