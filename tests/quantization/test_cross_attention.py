"""Attention to a context goes through four layers of its own kind, so a quantized one attends, too."""

import copy

import pytest
import torch

from minillm.nn import MultiHeadAttention
from minillm.quantization import QuantizedLinear, quantize

PARTS = ["k_proj", "o_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize("method", ["int8", "nf4", "int4"])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("with_context", [True, False])
def test_a_quantized_layer_equals_itself_with_rounded_weights(method, kv_heads, with_context):
    torch.manual_seed(0)
    layer = MultiHeadAttention(32, 4, kv_heads)
    small = quantize(layer, method)
    found = {name: part for name, part in small.named_modules() if isinstance(part, QuantizedLinear)}
    assert sorted(found) == PARTS
    rounded = copy.deepcopy(layer).eval()
    for name, part in found.items():
        rounded.get_submodule(name).weight.data = part.dequantize()
    x, context = torch.randn(2, 3, 32), torch.randn(2, 20, 32) if with_context else None
    mask = torch.arange(20 if with_context else 3) % 5 != 4
    with torch.no_grad():
        got, expected = (attention(x, context, mask[None, None, None]) for attention in (small, rounded))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        assert not torch.equal(got, layer.eval()(x, context, mask[None, None, None]))
