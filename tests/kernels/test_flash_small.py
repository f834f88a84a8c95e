"""The three small kernels of kernels/flash_small.py against torch's attention in float64."""

import pytest
import torch
import torch.nn.functional as F

from kernels.flash_small import flash_small, flash_small_heads


def error(found, exact):
    return (found.double() - exact).abs().max().item()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("T", "D", "block"), [(1, 16, 16), (32, 32, 16), (33, 16, 32), (100, 64, 32), (47, 32, 64)]
)
def test_one_head_equals_torch(T, D, block, causal, generator, device):
    q, k, v = torch.randn(3, T, D, generator=generator)
    exact = F.scaled_dot_product_attention(*(x[None].double() for x in (q, k, v)), is_causal=causal)[0]
    out = flash_small(*(x.to(device) for x in (q, k, v)), causal, block)
    assert error(out.cpu(), exact) < 1e-5


@pytest.mark.parametrize(("H", "K"), [(1, 1), (4, 4), (4, 2), (3, 1)])
def test_heads_in_groups_equal_torch(H, K, generator, device):
    q, k, v = (torch.randn(h, 50, 32, generator=generator) for h in (H, K, K))
    exact = F.scaled_dot_product_attention(
        *(x[None].double() for x in (q, k, v)), is_causal=True, enable_gqa=True
    )[0]
    assert error(flash_small_heads(*(x.to(device) for x in (q, k, v)), block=16).cpu(), exact) < 1e-5


def test_float16_is_as_exact_as_torch(generator, device):
    q, k, v = torch.randn(3, 70, 32, generator=generator).half()
    exact = F.scaled_dot_product_attention(*(x[None].double() for x in (q, k, v)), is_causal=True)[0]
    theirs = F.scaled_dot_product_attention(*(x[None] for x in (q, k, v)), is_causal=True)[0]
    out = flash_small(*(x.to(device) for x in (q, k, v)), True)
    assert out.dtype == torch.float16
    assert (out.cpu() - exact).norm() <= 1.5 * (theirs - exact).norm()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"q": torch.zeros(8, 16)}, r"\(8, 16\).*\(9, 16\)"),
        ({"v": torch.zeros(9, 32)}, r"\(9, 16\).*\(9, 32\)"),
        ({"q": torch.zeros(16, 9).mT}, "contiguous"),
        ({"q": torch.zeros(1, 9, 16)}, "2 axes"),
        ({"k": torch.zeros(9, 16).half()}, "float32.*float16"),
        ({"block": 24}, "power of two from 16 on, got 24"),
        ({"block": 8}, "at least 16"),
        ({"causal": 1}, "True or False"),
        (dict.fromkeys("qkv", torch.zeros(9, 24)), "D must be a power of two.*24"),
        (dict.fromkeys("qkv", torch.zeros(0, 16)), "none empty"),
    ],
)
def test_bad_input(changes, said):
    good = dict.fromkeys("qkv", torch.zeros(9, 16))
    with pytest.raises(ValueError, match=said):
        flash_small(**good | changes)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"q \(3, 9, 16\), k \(2, 9, 16\)"):
        flash_small_heads(torch.zeros(3, 9, 16), torch.zeros(2, 9, 16), torch.zeros(2, 9, 16))
