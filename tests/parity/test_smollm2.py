"""SmolLM2-135M-Instruct, the real one, from its GGUF file. Skips where it was not fetched."""

import os
import random
import shutil
import subprocess
import sys
import time

import gguf
import numpy as np
import pytest
import tokenizers
import torch
import transformers

from minillm._files import BadFileError
from minillm.cli import main
from minillm.data import fetch
from minillm.data.gguf import read_gguf
from minillm.inference import apply_chat_template
from minillm.models import load_model, verified, weights
from minillm.models.weights import verify_weights
from minillm.tokenizer import load_tokenizer
from tests.helpers import needs_model, soak_count
from tests.parity.chat_templates import CHATS
from tests.tokenizer.hostile import hostile

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
    """In float64: what a processor rounds in float32 is larger than what is asked for here."""
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    from_file, from_folder = load_model(file).double(), load_model(folder, dtype=torch.float64)
    for text in (
        "The capital of France is Paris, and 2 + 2 = 4. 한국어도 조금.",
        "def add(a, b):\n    return a + b\n\n\nprint(add(2, 3))",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "Once upon a time " * 40,
    ):
        ids = torch.tensor([tokenizer.encode(text)])
        expected = theirs(ids).logits
        assert (from_file(ids).logits - expected).abs().max() <= 1e-4
        assert (from_folder(ids).logits - expected).abs().max() <= 1e-4


def mixed(seed):
    """Words of a text, numbers, code, Korean, and strings that trip tokenizers, between each other."""
    rng = random.Random(seed)
    parts = [
        "In 2024", " there were", " 15 cats", "\n\tfor x in range(10):", " 한국어 문장", "<|im_start|>", "<|im_end|>",
        " 3.14159", "it's", "  ", "\r\n", "<|endoftext|>", " 日本語", "e\u0301", "1 2  3", "²", "٣",
    ]  # fmt: skip
    return "".join(
        rng.choice(parts) if rng.random() < 0.7 else hostile(rng.randrange(1 << 30)) for _ in range(6)
    )


def test_ids_of_mixed_strings_are_those_of_tokenizers(file, folder):
    ours, theirs = load_tokenizer(file), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    back = load_tokenizer(folder)
    for seed in range(soak_count(5000)):
        text = mixed(seed)
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == expected, ascii(text)
        assert back.encode(text) == expected
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=False)
    assert [ours.id_to_token(i) for i in ours.encode("in 15")] == ["in", "Ġ", "1", "5"]


def test_the_chat_template_of_the_folder(file, folder):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert (
        theirs.chat_template
        == load_tokenizer(file).chat_template
        == read_gguf(file).metadata["tokenizer.chat_template"]
    )
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 2, 2)
    ours = load_tokenizer(file)
    for chat in CHATS.values():
        if all(isinstance(message.get("content"), str) for message in chat):  # it takes no other
            for add in (False, True):
                text = theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=add)
                assert apply_chat_template(ours, chat, add) == text
                ids = theirs.apply_chat_template(chat, add_generation_prompt=add, return_dict=False)
                assert apply_chat_template(ours, chat, add, tokenize=True) == ids
    text = apply_chat_template(ours, [{"role": "user", "content": "Hi"}])
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


def test_a_second_load_reads_no_weight(folder, monkeypatch):
    """The sum of the weights is taken once, and again when the file was changed."""
    later = time.time() + 60
    monkeypatch.setattr(verified.time, "time", lambda: later)  # else the file is too fresh to be remembered
    load_model(folder)
    monkeypatch.setattr(weights, "_digest", lambda tensors: pytest.fail("a sum was taken"))
    load_model(folder)
    monkeypatch.undo()
    verify_weights(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("steps", ["load_model(path)", "load_model(path)(torch.arange(32)[None])"])
def test_the_weights_lie_in_memory_once(folder, steps):
    code = f"""
import sys, torch
from minillm.models import load_model
def resident():
    return 4096 * int(open("/proc/self/statm").read().split()[1])
path, before = sys.argv[1], resident()
with torch.no_grad():
    held = {steps}
print(resident() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) <= 1.1 * (folder / "model.safetensors").stat().st_size


def test_a_flipped_byte_of_the_weights_is_found(folder, tmp_path):
    """Anywhere, remembered or not, and a file that is cut; what stood there before loads again."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "model.safetensors"
    size = path.stat().st_size
    places = [
        0,
        9,
        200,
        30_000,
        *(int(share * (size - 1)) for share in (0.0001, 0.1, 0.37, 0.5, 0.73, 0.9, 1.0)),
    ]
    for place in places:
        flip(path, place)
        with pytest.raises(BadFileError, match=r"model\.safetensors' (is|are|cannot)"):
            load_model(copy)
        flip(path, place)
    load_model(copy)
    os.truncate(path, size - 1)
    with pytest.raises(BadFileError, match=r"model\.safetensors' cannot be read: missing, cut or damaged"):
        load_model(copy)


def flip(path, place):
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


def test_a_gguf_file_with_any_byte_of_its_head_flipped_opens_or_is_refused(file, tmp_path):
    """It carries no sum of itself (`fetch` knows one of it): a token of another spelling is a token. Nothing else than
    a ValueError comes of any byte, and a file that is cut is never opened."""
    data = file.read_bytes()
    end = min(tensor.start for tensor in read_gguf(file).tensors.values())
    rng, refused = random.Random(0), 0
    path = tmp_path / "x.gguf"
    path.write_bytes(data[: end + 64])
    with pytest.raises(BadFileError, match="cut short"):
        read_gguf(path)
    path.write_bytes(data)
    for place in [*range(0, 64), *(rng.randrange(end) for _ in range(soak_count(600)))]:
        flip(path, place)
        try:
            load_tokenizer(path)
        except BadFileError:
            refused += 1
        flip(path, place)
    assert refused > 10
    for share in (0.2, 0.5, 0.999):
        os.truncate(path, int(share * len(data)))
        with pytest.raises(BadFileError, match="cut short"):
            load_model(path)
        path.write_bytes(data)
