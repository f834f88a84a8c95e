"""Models in GGUF files: what we write, transformers opens with the same logits, and what comes back is what went in."""

import gguf
import numpy as np
import pytest
import torch
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from minillm._files import BadFileError
from minillm.data.gguf import read_gguf, write_gguf
from minillm.models import BERT, GPT2, BERTConfig, GPT2Config, Llama, LlamaConfig, load_model, save_gguf
from tests.parity.folders import CASES, V, architecture, close, ids, opener, transformers

KEPT = [
    "gpt2", "gpt2, untied", "llama, multi-head", "llama, grouped", "llama, theta and eps", "llama, llama3 rope",
    "llama, linear rope", "llama, yarn rope", "llama, tied", "llama, biases", "llama, wide heads", "mistral, no window",
    "qwen2", "qwen3", "qwen3, biases", "qwen3, yarn",
]  # fmt: skip
# transformers' loader knows no rope scaling, no bias in qwen3, and takes every llama for a multiple of its width
OPENED = [
    "gpt2", "gpt2, untied", "llama, multi-head", "llama, grouped", "llama, theta and eps", "llama, tied", "qwen2",
    "qwen3",
]  # fmt: skip
REFUSED = {
    "gpt2, scale by layer, inner, activation": "activation gelu_new, the model 'relu'",
    "llama, geglu": "activation silu, the model 'gelu_pytorch_tanh'",
    "llama, dynamic rope": "no place for the rotary scaling",
    "llama, yarn rope, mscale": "no place for the rotary scaling",
    "mistral, window": "no place for a sliding window, 5",
    "qwen3, windows": "no place for a sliding window, 3",
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opener(tmp_path_factory, {name: CASES[name] for name in {*KEPT, *OPENED, *REFUSED}})


def same_weights(one, other):
    state = other.state_dict()
    assert one.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("name", KEPT)
@torch.no_grad()
def test_a_model_comes_back(opened, tmp_path, name):
    theirs, ours, _ = opened(name)
    back = load_model(save_gguf(ours, tmp_path / "x.gguf", "f32"))
    assert type(back) is type(ours)
    same_weights(back, ours)
    close(back(ids()).logits, theirs(ids()).logits)
    assert back.config.max_length == ours.config.max_length


@pytest.mark.parametrize("name", OPENED)
@torch.no_grad()
def test_transformers_opens_our_file(opened, tmp_path, name):
    theirs, ours, folder = opened(name)
    path = save_gguf(ours, tmp_path / "x.gguf", "f32")
    # what from_pretrained(gguf_file=...) does, without accelerate, which it wants for memory
    config = transformers.AutoConfig.from_pretrained(tmp_path, gguf_file="x.gguf")
    if name.startswith(
        ("gpt2", "qwen3")
    ):  # it reads no vocabulary, no positions and no width of a head there
        config = theirs.config
    found = architecture(folder)(config).eval()
    read = load_gguf_checkpoint(path, return_tensors=True, model_to_load=found)
    lacking, strange = found.load_state_dict(read["tensors"], strict=False)
    assert not strange
    assert lacking == (["lm_head.weight"] if config.tie_word_embeddings else [])
    found.tie_weights()
    close(found(ids()).logits, theirs(ids()).logits)


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_the_format_has_no_place_for_is_refused(opened, tmp_path, name):
    with pytest.raises(ValueError, match=REFUSED[name]):
        save_gguf(opened(name)[1], tmp_path / "x.gguf")
    assert not list(tmp_path.iterdir())


def small(kind="llama", **sizes):
    if kind == "gpt2":
        return GPT2(GPT2Config(vocab_size=V, n_embd=64, n_layer=2, n_head=4, n_positions=32)).eval()
    if kind == "bert":
        sizes = {
            "vocab_size": V,
            "hidden_size": 64,
            "num_attention_heads": 4,
            "intermediate_size": 96,
        } | sizes
        return BERT(BERTConfig(num_hidden_layers=2, max_position_embeddings=32, **sizes)).eval()
    sizes = {"vocab_size": V, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2} | sizes
    config = LlamaConfig(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, **sizes)
    return Llama(config).eval()


@torch.no_grad()
def test_an_encoder_comes_back_without_its_pooler(tmp_path):
    model = small("bert")
    back = load_model(save_gguf(model, tmp_path / "x.gguf", "f32"))
    assert type(back) is BERT
    assert back.pooler is None
    found = back(ids(), token_type_ids=ids() % 2).last_hidden_state
    assert torch.equal(found, model(ids(), token_type_ids=ids() % 2).last_hidden_state)


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0", "q4_1"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_matrices_are_quantized_and_the_rest_stays(tmp_path, family, kind):
    model = small(family)
    path = save_gguf(model, tmp_path / "x.gguf", kind)
    back = load_model(path).state_dict()
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert types["token_embd.weight"] == types["blk.1.ffn_up.weight"] == kind.upper()
    assert types["blk.1.attn_norm.weight" if family != "bert" else "token_embd_norm.bias"] == "F32"
    assert {types[name] for name in types if name.startswith("position")} <= {"F32"}
    worst = {"f16": 2**-11, "q8_0": 0.006, "q4_0": 0.14, "q4_1": 0.08}[
        kind
    ]  # of the largest weight: half a step and a bit
    for name, tensor in model.state_dict().items():
        if "pooler" not in name:
            assert (back[name] - tensor).abs().max() <= worst * tensor.abs().max()


def test_rows_that_are_no_whole_blocks_are_written_in_half_precision(tmp_path):
    path = save_gguf(small(intermediate_size=80), tmp_path / "x.gguf", "q4_0")
    types = {name: tensor.type for name, tensor in read_gguf(path).tensors.items()}
    assert types["blk.0.ffn_down.weight"] == "F16"
    assert types["blk.0.ffn_up.weight"] == "Q4_0"


def test_dtype_and_device_are_the_readers(tmp_path):
    path = save_gguf(small(), tmp_path / "x.gguf", "f16")
    assert load_model(path).dtype == torch.float32
    assert load_model(path, dtype=torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype must be"):
        load_model(path, dtype=torch.int8)


def changed(path, metadata=(), tensors=(), drop=()):
    """The file again, with other metadata and tensors."""
    file = read_gguf(path)
    values = {name: value for name, value in {**file.metadata, **dict(metadata)}.items() if name not in drop}
    arrays = {name: file.read(name) for name in file.tensors if name not in drop} | dict(tensors)
    return write_gguf(path, values, arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"general.architecture": "rwkv"}}, "of architecture 'rwkv', we have: llama, qwen2"),
        ({"drop": ["general.architecture"]}, "of architecture None"),
        ({"drop": ["llama.block_count"]}, "lack llama.block_count"),
        ({"drop": ["token_embd.weight"]}, "lacks the tensor 'token_embd.weight'"),
        ({"drop": ["blk.1.attn_q.weight"]}, "lacks the tensor 'layers.1.self_attn.q_proj.weight'"),
        ({"metadata": {"llama.expert_count": 8}}, "llama.expert_count = 8 may change the model's numbers"),
        ({"metadata": {"llama.logit_scale": 0.5}}, "llama.logit_scale = 0.5 may change"),
        ({"metadata": {"llama.block_count": 1000}}, "its config says 1,000 layers"),
        ({"metadata": {"llama.block_count": 3}}, "lacks the tensor 'layers.2"),
        ({"metadata": {"llama.block_count": "two"}}, "llama.block_count must be one number, got 'two'"),
        ({"metadata": {"llama.block_count": 2.5}}, "num_hidden_layers must be an integer"),
        ({"metadata": {"llama.attention.head_count": 0}}, "num_attention_heads must be at least 1"),
        ({"metadata": {"llama.attention.head_count": 3}}, "16|divisible"),
        ({"metadata": {"llama.feed_forward_length": [96, 64]}}, "must be one number"),
        ({"metadata": {"llama.rope.dimension_count": 8}}, "is not the width of a head, 16"),
        ({"metadata": {"llama.rope.scaling.type": "su", "llama.rope.scaling.factor": 2.0}}, "'su' is not built"),
        ({"tensors": {"rope_freqs.weight": np.linspace(1, 3, 8, dtype=np.float32)}}, "not Llama 3.1's way"),
        ({"tensors": {"blk.0.ffn_gate_inp.weight": np.zeros((8, 64), np.float32)}}, "no place for: blk.0.ffn_gate_inp"),
        ({"tensors": {"blk.00.attn_q.weight": np.zeros((8, 64), np.float32)}}, "no place for: blk.00.attn_q"),
        ({"tensors": {"blk.1.attn_q.weight": np.zeros((62, 64), np.float32)}}, "4 times an even number of rows"),
        ({"tensors": {"blk.1.ffn_up.weight": np.zeros((96, 32), np.float32)}}, "has shape .96, 32., the config says"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, message):
    path = changed(save_gguf(small(), tmp_path / "x.gguf"), **change)
    with pytest.raises(BadFileError, match=message) as error:
        load_model(path)
    assert "x.gguf" in str(error.value)


def test_settings_in_one_list_for_all_layers_and_older_names(tmp_path):
    path = save_gguf(small(), tmp_path / "x.gguf", "f32")
    changed(path, {"llama.feed_forward_length": [96, 96], "llama.attention.head_count_kv": [2, 2]})
    assert load_model(path).config.intermediate_size == 96
    changed(path, {"llama.rope.scale_linear": 2.0})
    assert load_model(path).config.rope_scaling == {"rope_type": "linear", "factor": 2.0}


def test_what_is_no_model_of_the_format_is_said(tmp_path):
    for one, message in ((small().body, "got 'LlamaBody'"), (7, "got 'int'")):
        with pytest.raises(ValueError, match=message):
            save_gguf(one, tmp_path / "x.gguf")
    with pytest.raises(
        ValueError, match="type must be one of 'f32', 'f16', 'q8_0', 'q4_0', 'q4_1', got 'q5'"
    ):
        save_gguf(small(), tmp_path / "x.gguf", "q5")
    with pytest.raises(ValueError, match=r"metadata that the model itself gives: llama\.block_count"):
        save_gguf(small(), tmp_path / "x.gguf", metadata={"llama.block_count": 9})
    assert not list(tmp_path.iterdir())


def test_metadata_of_any_kind_are_read_or_refused_by_name(tmp_path):
    path = save_gguf(small(), tmp_path / "x.gguf", "f32")
    file, refused, count = read_gguf(path), set(), 0
    arrays = {name: file.read(name) for name in file.tensors}
    known = [name for name in file.metadata if name.startswith(("llama.", "tokenizer.", "general.arch"))]
    for name in [*known, "llama.rope.scaling.type", "llama.rope.scaling.factor"]:
        for value in ("x", -1, 1 << 40, float("nan"), [1, 2], ["a"], True):
            other = write_gguf(tmp_path / "y.gguf", {**file.metadata, name: value}, arrays)
            try:
                load_model(other)
            except BadFileError as error:
                refused.add(name)
                count += "y.gguf" in str(error)
    assert len(refused) > 12
    assert count >= 5 * len(refused)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_a_file_that_lies_about_its_sizes_takes_no_memory(tmp_path, kind):
    """Sizes that no computer can hold, or count: refused by name, before anything is worked out for them."""
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}  # fmt: skip
    model = small(kind, rope_scaling=scaling) if kind == "llama" else small(kind)
    file = read_gguf(save_gguf(model, tmp_path / "x.gguf", "f32"))
    arrays = {name: file.read(name) for name in file.tensors}
    sizes = {"embedding_length", "feed_forward_length", "attention.head_count", "attention.key_length"}
    names = [name for name in file.metadata if name.partition(".")[2] in sizes]
    assert len(names) >= 3
    for name in names:
        for value in (0, 1 << 30, (1 << 31) - 1, 1 << 62):
            other = write_gguf(tmp_path / "y.gguf", {**file.metadata, name: value}, arrays)
            with pytest.raises(BadFileError, match=r"y\.gguf"):
                load_model(other)


def test_a_list_where_one_value_is_expected_is_said(tmp_path):
    file = read_gguf(save_gguf(small(), tmp_path / "x.gguf", "f32"))
    arrays = {name: file.read(name) for name in file.tensors}
    names = ("rope.dimension_count", "attention.value_length", "expert_count", "rope.scaling.factor")
    for name in names:
        for value in ([1, 2], np.zeros(0, np.int32)):
            other = write_gguf(tmp_path / "y.gguf", {**file.metadata, "llama.rope.scaling.type": "linear",
                                                     f"llama.{name}": value}, arrays)  # fmt: skip
            with pytest.raises(BadFileError) as refused:
                load_model(other)
            assert "truth value" not in str(refused.value)
