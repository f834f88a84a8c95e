"""Quantized layers and models against floats with the same rounded weights, and their file."""

import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minillm._files import BadFileError
from minillm._tensors import load_tensors, save_tensors
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig, load_model
from minillm.quantization import (
    FourBitLinear,
    Int8Linear,
    QuantizedLinear,
    load_quantized,
    model_size_bytes,
    quantize,
    save_quantized,
)
from tests.helpers import cuts

METHODS = ["int8", "llm.int8", "nf4", "int4", "rtn"]


def tiny(tied=True, kind="llama"):
    if kind == "gpt2":
        return GPT2(GPT2Config(vocab_size=31, n_embd=24, n_layer=2, n_head=2, n_positions=32), seed=1)
    sizes = {"vocab_size": 31, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}
    return Llama(LlamaConfig(**sizes, **heads, tie_word_embeddings=tied), seed=1)


def linear(inputs, outputs, bias, seed):
    layer = nn.Linear(inputs, outputs, bias)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 70), outputs=st.integers(1, 20), rows=st.integers(0, 12), bias=st.booleans(),
    block=st.sampled_from([None, 1, 2, 7, 16, 64]), seed=st.integers(0, 999),
)  # fmt: skip
def test_layers_equal_a_float_layer_with_their_weights(inputs, outputs, rows, bias, block, seed):
    layer = linear(inputs, outputs, bias, seed)
    small = Int8Linear.from_linear(layer) if block is None else FourBitLinear.from_linear(layer, block)
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed))
    expected = F.linear(
        x.double(), small.dequantize().double(), None if layer.bias is None else layer.bias.double()
    )
    for got in (small(x), small.forward_plain(x)):
        assert got.shape == (rows, outputs)
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)
    assert small(x[None, None]).shape == (1, 1, rows, outputs)


@pytest.mark.parametrize("method", METHODS)
def test_layers_pass_gradients_on_and_follow_the_dtype(method):
    model = nn.Sequential(linear(16, 8, True, 0))
    layer = quantize(model, method)[0]
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.dequantize().sum(0).expand(2, -1))
    assert layer(x.detach().bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.detach()).dtype == torch.bfloat16
    assert list(layer.parameters()) == []
    half, full = copy.deepcopy(layer).to(torch.bfloat16)(x.detach().bfloat16()).float(), layer(x.detach())
    weights, size = layer.dequantize().abs(), x.detach().abs()
    allowed = 2**-7 * (
        size @ weights.T + layer.bias.abs()
    )  # bfloat16 keeps 8 bits of inputs, weights and sums
    if method == "llm.int8":  # inputs near the middle of two of its 255 steps may go either way
        allowed += size.amax(1, keepdim=True) / 127 * weights.sum(1)
    assert ((half - full).abs() <= allowed).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [0.02, 0.0005])
def test_float16_neither_overflows_nor_loses_small_weights(method, size):
    layer = linear(64, 32, False, 0)
    with torch.no_grad():
        layer.weight.abs_().mul_(size)
    layer = quantize(nn.Sequential(layer), method)[0]
    x = 50 + torch.randn(9, 64, generator=torch.Generator().manual_seed(1))
    expected = F.linear(x, layer.dequantize())
    with torch.autocast("cpu", torch.float16):
        narrowed = layer(x)
    assert copy.deepcopy(layer).half()(x.half()).isfinite().all()
    for found in (layer(x.half()), narrowed):
        assert found.dtype == torch.float16
        assert (found.float() - expected).norm() <= 1e-3 * expected.norm()


@pytest.mark.parametrize("method", [one for one in METHODS if one != "llm.int8"])  # which rounds inputs, too
@pytest.mark.parametrize(("kind", "tied"), [("llama", True), ("llama", False), ("gpt2", True)])
def test_a_model_equals_itself_with_rounded_weights(method, kind, tied):
    model = tiny(tied, kind)
    before = copy.deepcopy(model.state_dict())
    small = quantize(model, method, group_size=None if "int8" in method else 8)
    rounded = copy.deepcopy(model)
    layers = {name: layer for name, layer in small.named_modules() if isinstance(layer, QuantizedLinear)}
    for name, layer in layers.items():
        rounded.get_submodule(name).weight.data = layer.dequantize()
    linears = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    assert sorted(layers) == sorted(name for name in linears if name != "head")
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        torch.testing.assert_close(small(ids).logits, rounded.eval()(ids).logits, rtol=1e-4, atol=1e-5)
        assert not torch.equal(small(ids).logits, model.eval()(ids).logits)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())  # untouched
    if tied:
        assert small.head.weight is small.body.tokens.weight


def test_sizes_by_hand():
    layer = nn.Sequential(nn.Linear(128, 64, bias=True))
    assert model_size_bytes(layer) == 4 * (128 * 64 + 64)
    assert model_size_bytes(quantize(layer, "int8")) == 128 * 64 + 4 * 64 + 4 * 64
    assert model_size_bytes(quantize(layer, "nf4")) == 128 * 64 // 2 + 4 * 64 * 2 + 4 * 16 + 4 * 64
    tied, untied = tiny(True), tiny(False)
    assert model_size_bytes(untied) - model_size_bytes(tied) == 4 * 31 * 24
    assert model_size_bytes(tied) == 4 * sum(p.numel() for p in tied.parameters())


def test_skipping():
    model = tiny(tied=False)
    assert isinstance(quantize(model).head, nn.Linear)
    assert isinstance(quantize(model, skip=()).head, Int8Linear)
    first = next(name for name, layer in model.named_modules() if isinstance(layer, nn.Linear))
    # one by its whole name, the others by the last part
    small = quantize(model, skip=("head", first, "gate_proj"))
    kept = {name for name, layer in small.named_modules() if isinstance(layer, nn.Linear)}
    assert isinstance(quantize(model, skip=["lm_head"]).head, nn.Linear)  # as transformers' users write it
    assert kept == {"head", first, *(name for name, _ in model.named_modules() if name.endswith("gate_proj"))}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((None,), "torch module"),
        ((nn.LayerNorm(3),), "no linear layer"),
        ((nn.Linear(2, 2), "gguf"), "'int8', 'llm.int8', 'nf4', 'int4', 'rtn', 'gptq', 'awq'"),
        ((nn.Linear(2, 2), "awq", None, None, [1]), "GPT2 or Llama"),
        ((tiny(), "gptq"), "token ids or texts"),
        ((tiny(), "gptq", None, None, []), "token ids or texts"),
        ((tiny(), "gptq", None, None, [31]), "from 0 to 30"),
        ((tiny(), "gptq", None, None, [0.5]), "token ids"),
        ((tiny(), "gptq", None, None, ["text"]), "tokenizer"),
        ((tiny(), "gptq", 9, None, [1]), "2 to 8 bits"),
        ((nn.Linear(2, 2), None), "method"),
        ((nn.Linear(2, 2), "int8", 4), "8 bits"),
        ((nn.Linear(2, 2), "nf4", 8), "4 bits"),
        ((nn.Linear(2, 2), "int8", None, 64), "one scale a row"),
        ((nn.Linear(2, 2), "nf4", None, 0), "group_size"),
        ((nn.Linear(2, 2), "nf4", None, None, ["text"]), "calibration"),
        ((nn.Linear(2, 2), "nf4", None, None, None, "head"), "skip"),
        ((tiny(), "nf4", None, None, None, ["gate_porj"]), "skip names what .* not have: 'gate_porj'"),
    ],
)
def test_bad_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        quantize(*arguments)


def test_weights_that_are_no_numbers_are_refused():
    layer = nn.Sequential(nn.Linear(2, 2))
    layer[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        quantize(layer)


@pytest.mark.parametrize("method", ["int8", "llm.int8", "nf4", "int4", "rtn"])
def test_a_linear_layer_by_itself(method):
    layer = nn.Linear(64, 8)
    small, within = quantize(layer, method), quantize(nn.Sequential(layer), method)
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert isinstance(small, type(within[0]))
    assert torch.equal(small(x), within(x))
    assert model_size_bytes(small) < model_size_bytes(layer) / 2
    assert type(layer) is nn.Linear


def test_quantizing_twice_and_other_small_errors():
    with pytest.raises(ValueError, match="quantized already"):
        quantize(quantize(nn.Sequential(nn.Linear(2, 2))))
    layer = Int8Linear.from_linear(nn.Linear(3, 2))
    for bad in (torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64), None, torch.tensor(1.0)):
        with pytest.raises(ValueError, match="x must be"):
            layer(bad)
    with pytest.raises(ValueError, match="16"):
        FourBitLinear.from_linear(nn.Linear(3, 2), codebook=torch.linspace(-1, 1, 17))
    with pytest.raises(ValueError):
        model_size_bytes([1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kind", "tied"), [("llama", True), ("llama", False), ("gpt2", True)])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path, method, kind, tied):
    small = quantize(tiny(tied, kind), method)
    path = save_quantized(small, tmp_path / "한글")
    back = load_quantized(tmp_path / "한글")
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(back(ids).logits, small(ids).logits)
    assert model_size_bytes(back) == model_size_bytes(small)
    assert path.stat().st_size < model_size_bytes(small) + 20_000  # the tied head is not written twice
    assert (back.head.weight is back.body.tokens.weight) == tied


@pytest.mark.parametrize("method", ["int8", "llm.int8", "nf4", "int4", "rtn", "gptq", "awq"])
def test_a_fresh_process_opens_a_folder_and_has_the_same_logits(tmp_path, method):
    given = {"calibration": list(range(31))} if method in ("gptq", "awq") else {}
    small = quantize(tiny(), method, group_size=None if "int8" in method else 8, **given)
    save_quantized(small, tmp_path)
    code = (
        "import sys, torch; from minillm.quantization import load_quantized\n"
        "torch.save(load_quantized(sys.argv[1])(torch.arange(20).view(2, 10)).logits, sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "logits")]
    subprocess.run(command, check=True, timeout=120)
    with torch.no_grad():
        expected = small(torch.arange(20).view(2, 10)).logits
    torch.testing.assert_close(
        torch.load(tmp_path / "logits", weights_only=True), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("method", ["nf4", "rtn"])
def test_rows_stand_side_by_side_on_a_cpu_and_together_elsewhere(method):
    layer = quantize(nn.Sequential(linear(64, 48, False, 0)), method, group_size=16)[0]
    assert layer.codes.shape == (3, 32, 16)
    elsewhere = copy.deepcopy(layer).to("meta")
    assert elsewhere.codes.shape == (48, 32)
    assert sum(buffer.nbytes for buffer in layer.buffers()) == sum(b.nbytes for b in elsewhere.buffers())


def test_a_file_cut_anywhere_or_damaged_is_refused(tmp_path):
    path = save_quantized(quantize(tiny(), "nf4"), tmp_path)
    data = path.read_bytes()
    for length in cuts(data):
        path.write_bytes(data[:length])
        with pytest.raises(BadFileError, match="quantized model"):
            load_quantized(tmp_path)
    for place in range(0, len(data), len(data) // 40):
        damaged = bytearray(data)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(BadFileError):
            load_quantized(tmp_path)
    path.unlink()
    for missing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadFileError):
            load_quantized(missing)
    with pytest.raises(ValueError):
        load_quantized(None)


@pytest.mark.parametrize(
    ("method", "change"),
    [("nf4", {"in_features": 16}), ("nf4", {"block_size": 0}), ("int8", {"kind": "5 bit"})],
)
def test_a_whole_file_whose_layers_do_not_fit_the_config_is_refused(tmp_path, method, change):
    path = save_quantized(quantize(tiny(), method), tmp_path)
    tensors, meta = load_tensors(path, "quantized model")
    meta["layers"]["body.blocks.0.attention.q_proj"] |= change
    save_tensors(path, "quantized model", tensors, meta)
    with pytest.raises(BadFileError, match="is refused"):
        load_quantized(tmp_path)


@pytest.mark.parametrize("method", ["int8", "llm.int8", "nf4", "int4", "rtn", "rtn of 8 bits", "doubled"])
def test_a_whole_file_whose_layers_do_not_fit_themselves_is_refused(tmp_path, method):
    """A number too many or too few in any part of a layer, or numbers of another kind."""
    if method == "doubled":
        model = quantize(tiny(), "nf4", double_quant=True)
    else:
        model = quantize(tiny(), *(("rtn", 8) if method == "rtn of 8 bits" else (method,)))
    path = save_quantized(model, tmp_path)
    right, meta = load_tensors(path, "quantized model")
    name = "body.blocks.1.feed_forward.down_proj."
    parts = [one for one in right if one.startswith(name)]
    assert len(parts) >= 2
    for part in parts:
        value = right[part]
        wrong = [value[None], value.long()]
        if value.ndim:
            wrong += [value[:-1], torch.cat([value, value[-1:]])]
        for other in wrong:
            save_tensors(path, "quantized model", right | {part: other.contiguous()}, meta)
            with pytest.raises(BadFileError, match="is refused"):
                load_quantized(tmp_path)
    save_tensors(path, "quantized model", right, meta)
    load_quantized(tmp_path)


def test_load_model_says_what_opens_a_quantized_folder(tmp_path):
    save_quantized(quantize(tiny()), tmp_path)
    with pytest.raises(BadFileError, match="holds a quantized model"):
        load_model(tmp_path)


def test_only_quantized_models_of_ours_are_saved(tmp_path):
    for model in (tiny(), quantize(nn.Sequential(nn.Linear(2, 2))), nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="save_quantized"):
            save_quantized(model, tmp_path)
    assert not list(tmp_path.iterdir())
