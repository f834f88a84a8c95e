"""SmolLM2-135M-Instruct, the real one, from its GGUF file. Skips where it was not fetched."""

import gguf
import numpy as np
import pytest
import tokenizers
import torch
import transformers

from minillm.cli import main
from minillm.data import fetch
from minillm.data.gguf import read_gguf
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from tests.helpers import needs_model

pytestmark = needs_model("smollm2")


@pytest.fixture(scope="module")
def file():
    return fetch("smollm2")


@pytest.fixture(scope="module")
def folder(file, tmp_path_factory):
    target = tmp_path_factory.mktemp("smollm2") / "folder"
    assert main(["convert", str(file), str(target)]) == 0
    return target


def test_every_tensor_is_the_gguf_packages(file):
    ours, theirs = read_gguf(file), gguf.GGUFReader(file).tensors
    assert [tensor.name for tensor in theirs] == list(ours.tensors)
    assert len(theirs) == 272
    for tensor in theirs:
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours.read(tensor.name).view(np.uint32), expected.view(np.uint32))


@torch.no_grad()
def test_logits_of_the_converted_folder_are_transformers(file, folder):
    tokenizer = load_tokenizer(file)
    ids = torch.tensor([tokenizer.encode("The capital of France is Paris, and 2 + 2 = 4. 한국어도 조금.")])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    expected = theirs(ids).logits
    assert (load_model(file)(ids).logits - expected).abs().max() <= 1e-4
    assert (load_model(folder)(ids).logits - expected).abs().max() <= 1e-4


def test_the_tokenizer_of_the_folder_is_the_files(file, folder):
    ours, theirs = load_tokenizer(file), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (
        "In 2024 there were 15 cats",
        "  def f(x):\n\treturn x**2",
        "한국어 문장 3개",
        "<|im_start|>user\nHi<|im_end|>",
    ):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    assert [ours.id_to_token(i) for i in ours.encode("in 15")] == ["in", "Ġ", "1", "5"]


def test_the_chat_template_of_the_folder(file, folder):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert (
        theirs.chat_template
        == load_tokenizer(file).chat_template
        == read_gguf(file).metadata["tokenizer.chat_template"]
    )
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 2, 2)
    text = theirs.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
