"""What quantized layers weigh, the file's float16 scales, and products of many rows tile by tile."""

import numpy as np
import pytest
import torch
from torch import nn

from minillm._files import BadFileError
from minillm.models import Llama, LlamaConfig, save_gguf
from minillm.quantization import PackedLinear, codes_linear, linear, load_packed, quantize
from minillm.quantization.linear import FEW_ROWS, TILE
from minillm.quantization.lookup import from_half


def nbytes(layer):
    return sum(buffer.nbytes for buffer in layer.buffers())


@pytest.mark.parametrize(("method", "most"), [("int8", 0.27), ("nf4", 0.16), ("int4", 0.16), ("rtn", 0.16)])
def test_bytes_in_memory(method, most):
    layer = nn.Linear(384, 1536, bias=False)
    assert nbytes(quantize(nn.Sequential(layer), method)[0]) <= most * layer.weight.nbytes


@pytest.mark.parametrize(("kind", "most"), [("q4_0", 0.16), ("q4_1", 0.16), ("q8_0", 0.27)])
def test_bytes_of_a_packed_file_whatever_it_is_cast_to(kind, most, tmp_path):
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1}
    save_gguf(Llama(LlamaConfig(vocab_size=64, **sizes)), tmp_path / "a.gguf", kind)
    model = load_packed(tmp_path / "a.gguf")
    layers = [layer for layer in model.modules() if isinstance(layer, PackedLinear)]
    weights = [layer.dequantize() for layer in layers]
    assert len(layers) == 8
    for _ in range(2):
        assert sum(map(nbytes, layers)) <= most * sum(weight.nbytes for weight in weights)
        model.float()
    assert all(torch.equal(layer.dequantize(), weight) for layer, weight in zip(layers, weights))


def test_a_real_models_name_stands_for_its_file(monkeypatch, tmp_path):
    """As in load_model; which file it is, is `fetched`'s affair."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1}
    save_gguf(Llama(LlamaConfig(vocab_size=64, **sizes)), tmp_path / "a.gguf", "q4_0")
    monkeypatch.setattr("minillm.data.hub.fetched", {"smollm2": tmp_path / "a.gguf"}.__getitem__)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(load_packed("smollm2")(ids).logits, load_packed(tmp_path / "a.gguf")(ids).logits)
    with pytest.raises(BadFileError, match="'nothing' cannot be read"):
        load_packed("nothing")


def test_every_finite_half_is_read_as_numpy_reads_it():
    bits = np.arange(-(2**15), 2**15).astype(np.int16)
    halves = bits.view(np.float16)
    finite = np.isfinite(halves)
    read = np.array([from_half(one) for one in bits[finite]], np.float32)
    np.testing.assert_array_equal(read, halves[finite].astype(np.float32))


@pytest.mark.parametrize("method", ["int8", "nf4", "int4", "rtn"])
@pytest.mark.parametrize("outputs", [40, TILE, TILE + 24, 2 * TILE + 128])
def test_many_rows_are_those_of_the_dequantized_weight(method, outputs):
    torch.manual_seed(outputs)
    layer = quantize(
        nn.Sequential(nn.Linear(64, outputs)), method, group_size=None if method == "int8" else 32
    )[0]
    x = torch.randn(FEW_ROWS + 3, 64)
    expected = x @ layer.dequantize().T + layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["int8", "nf4", "rtn"])
@pytest.mark.parametrize("outputs", [64, 192, TILE + 64])
def test_no_tile_is_a_view_of_a_wider_one(method, outputs, monkeypatch):
    """oneDNN's product of such a view takes hundreds of times as long."""
    seen = []

    def product(x, weight):
        seen.append(weight.is_contiguous() or weight.T.is_contiguous())
        return x @ weight.T

    for module in (linear, codes_linear):
        monkeypatch.setattr(module, "tile_product", product)
    quantize(nn.Sequential(nn.Linear(64, outputs)), method)(torch.randn(FEW_ROWS + 1, 64))
    assert seen == [True] * (1 + (outputs > TILE))
