"""SmolLM2 and GGUF files of ours in llama.cpp: the ids of strings, and the log-likelihood of texts token by token."""

import importlib.util

import numpy as np
import pytest
import torch

from minillm.data import available, fetch
from minillm.models import Llama, load_model, save_gguf
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.tokenizer.byte_alphabet import BYTE_TO_CHARACTER
from minillm.tokenizer.gguf import gguf_vocabulary
from tests.parity.llama_cpp import ask
from tests.tokenizer.hostile import hostile

pytestmark = [
    pytest.mark.skipif(
        not available("smollm2"), reason="needs SmolLM2-135M-Instruct: `minillm fetch smollm2` (93 MB)"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None,
        reason="needs llama.cpp: `pip install -e '.[xllamacpp]'`",
    ),
]
TEXTS = [
    "The capital of France is Paris, and the Seine flows through it.",
    "Water boils at 100 degrees Celsius at sea level.",
    "In 2024 there were 15 cats, 3 dogs and a parrot in the house.",
    "def add(a, b):\n    return a + b",
    "She opened the old wooden door and listened to the rain.",
    "Photosynthesis turns light, water and carbon dioxide into sugar.",
    "The committee will meet again on Tuesday at half past nine.",
    "A triangle has three sides; a square has four.",
    "He sold the boat, bought a bicycle and never looked back.",
    "Bread needs flour, water, salt and yeast.",
    "The train to Berlin leaves from platform 7.",
    "Birds migrate south before the winter comes.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(fetch("smollm2"))


@torch.no_grad()
def compared(path, tokenizer, texts, hook=None):
    """(ours, theirs): the log-likelihood of every token of every text."""
    model, pairs = load_model(path), []
    if hook is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(hook)
    for text, (first, ids, theirs) in zip(texts, ask(path, texts)["scores"], strict=True):
        front = tokenizer.encode(first)
        while tokenizer.decode(ids) != text[len(first) :]:  # it ends a text by itself
            ids, theirs = ids[:-1], theirs[:-1]
            assert ids
        logits = model(torch.tensor([front + ids])).logits[0, len(front) - 1 : -1].log_softmax(-1)
        pairs.append((logits[torch.arange(len(ids)), torch.tensor(ids)].tolist(), theirs))
    ours, theirs = ([np.array(one) for one in side] for side in zip(*pairs, strict=True))
    assert sum(map(len, ours)) > 15 * len(texts)
    return ours, theirs


def off(ours, theirs):
    """(largest and mean difference of a token, mean relative difference of a text)"""
    tokens = np.abs(np.concatenate(ours) - np.concatenate(theirs))
    texts = [abs(a.sum() - b.sum()) / abs(b.sum()) for a, b in zip(ours, theirs, strict=True)]
    return tokens.max(), tokens.mean(), np.mean(texts)


def written(tokenizer, path, kind, weights=None):
    model = load_model(weights or fetch("smollm2"))
    given = {"bos", "eos", "padding"}  # the model itself writes these
    vocabulary = gguf_vocabulary(tokenizer, model.config.vocab_size)
    return save_gguf(
        model,
        path,
        kind,
        {k: v for k, v in vocabulary.items() if k.split(".")[-1].split("_")[0] not in given},
    )


def test_ids_of_500_strings(tokenizer):
    """Of strings whose bytes all have a token. SmolLM2's vocabulary lacks six control characters, and bytes
    that no text has: tokenizers, and we, drop them before merging, llama.cpp after it."""
    lacking = {byte for byte, name in enumerate(BYTE_TO_CHARACTER) if tokenizer.token_to_id(name) is None}
    assert {byte for byte in lacking if byte < 0xC0} == {4, 6, 19, 20, 22, 29}
    lacking.add(0)  # a NUL ends a text there
    strings = [text for text in map(hostile, range(900)) if lacking.isdisjoint(text.encode())][:500]
    theirs = ask(fetch("smollm2"), strings=strings)["ids"]
    assert len(theirs) == 500
    for text, ids in zip(strings, theirs, strict=True):
        assert tokenizer.encode(text, allowed_special=()) == ids, ascii(text)


def test_the_models_own_file(tokenizer):
    """Blocks of 4 bits: llama.cpp rounds what meets them to 8 bits, so single tokens differ, and texts hardly do."""
    assert off(*compared(fetch("smollm2"), tokenizer, TEXTS))[2] < 0.01


def test_a_file_of_ours_in_full_precision(tokenizer, tmp_path):
    largest, _, texts = off(*compared(written(tokenizer, tmp_path / "x.gguf", "f32"), tokenizer, TEXTS))
    assert largest < 1e-3
    assert texts < 1e-4


def test_a_file_of_ours_in_half_precision(tokenizer, tmp_path):
    """llama.cpp multiplies a matrix of F16 in F16, and so differs from its own float32 on the very same weights.

    On all twelve texts (291 tokens): llama.cpp from itself .0133 at most and .0025 on average, ours from it .0131 and
    .0025; ours from its float32 .0003.
    """
    half = written(tokenizer, tmp_path / "half.gguf", "f16")
    same = written(tokenizer, tmp_path / "same.gguf", "f32", half)
    ours, theirs = compared(half, tokenizer, TEXTS[:6])
    exact = compared(same, tokenizer, TEXTS[:6])[1]
    assert off(ours, exact)[0] < 1e-3
    largest, mean, texts = off(ours, theirs)
    their_largest, their_mean, _ = off(exact, theirs)
    assert largest < their_largest + 1e-3
    assert mean < their_mean + 1e-3
    assert texts < 1e-3


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q4_1"])
def test_files_of_ours_in_blocks(tokenizer, tmp_path, kind):
    assert off(*compared(written(tokenizer, tmp_path / "x.gguf", kind), tokenizer, TEXTS))[2] < 0.01


@pytest.mark.parametrize("cut", ["llama3", "deepseek-r1-qwen"])
def test_what_stands_around_a_text_where_the_file_does_not_say_it(tmp_path, cut):
    trained = BPETokenizer.train([" ".join(TEXTS)], 300, ["<|begin|>", "<|end|>"])
    trained.roles = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    metadata = gguf_vocabulary(trained, 300) | {"tokenizer.ggml.pre": cut}
    for name in ("bos", "eos"):
        del metadata[f"tokenizer.ggml.add_{name}_token"]
    path = save_gguf(Llama(Llama.config_class(vocab_size=300, **sizes)), tmp_path / "x.gguf", "f32", metadata)
    ours = load_tokenizer(path)
    assert ask(path, strings=TEXTS, add_special=True)["ids"] == ours(TEXTS)["input_ids"]
