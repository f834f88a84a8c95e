"""The mended interpreter against torch's bfloat16: what the other tests of this folder stand on."""

import pytest
import torch
import triton
import triton.language as tl

from kernels._checks import INTERPRETED, check_launch
from tests import triton_interpreter


@triton.jit
def _copy(source, target, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(target + i, tl.load(source + i).to(target.dtype.element_ty))


@triton.jit
def _product(a, b, c, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(c + at, tl.dot(tl.load(a + at), tl.load(b + at)))


@triton.jit
def _largest_of(x):
    return tl.max(x, axis=0)  # tl.max is itself a function in Triton's language


@triton.jit
def _softmax(source, target, N: tl.constexpr):
    x = tl.load(source + tl.arange(0, N))
    for _ in range(2):  # in the second turn everything is replaced already
        e = tl.exp(x - _largest_of(x))
    tl.store(target + tl.arange(0, N), e / tl.sum(e, axis=0))


def copied(source, dtype):
    target = torch.empty(len(source), dtype=dtype, device=source.device)
    _copy[(1,)](source, target, len(source))
    return target


def test_every_bfloat16_number_widens_as_in_torch(device):
    numbers = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).to(device)
    ours, torchs = copied(numbers, torch.float32), numbers.float()
    assert torch.equal(ours.isnan(), torchs.isnan())
    assert torch.equal(ours.nan_to_num(0.5), torchs.nan_to_num(0.5))


def test_float32_rounds_to_bfloat16_as_in_torch(device, generator):
    numbers = torch.randn(8192, generator=generator) * torch.logspace(-44, 38, 8192)
    ties = torch.arange(8192, dtype=torch.int32) * 65536 + 0x3F80_8000  # exactly between two bfloat16 numbers
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 3.4e38, -3.4e38, 1e-45, 1.0])
    for values in (numbers, ties.view(torch.float32)[:256], special):
        values = values.to(device)
        assert torch.equal(copied(values, torch.bfloat16), values.bfloat16())
    assert copied(torch.full((16,), torch.nan, device=device), torch.bfloat16).isnan().all()


def test_a_product_of_bfloat16_tiles_is_exact_to_float32(device, generator):
    a, b = (torch.randn(32, 32, generator=generator).bfloat16().to(device) for _ in range(2))
    c = torch.empty(32, 32, device=device)
    _product[(1,)](a, b, c, 32)
    torch.testing.assert_close(c.double(), a.double() @ b.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not INTERPRETED, reason="bfloat16 is refused only in Triton's interpreter")
def test_bfloat16_is_refused_where_nobody_mended_the_interpreter(monkeypatch):
    from triton.runtime.interpreter import InterpreterBuilder

    x = torch.zeros(2, dtype=torch.bfloat16)
    check_launch(x)
    monkeypatch.delattr(InterpreterBuilder, "bfloat16_mended")
    with pytest.raises(ValueError, match="bfloat16 wrongly"):
        check_launch(x)
    check_launch(x.float(), x.half())


def test_mending_twice_changes_nothing():
    assert triton_interpreter.mend() == INTERPRETED


def test_functions_within_kernels_run_and_the_language_is_put_back(device, generator):
    x = torch.randn(64, generator=generator).to(device)
    before = {name: getattr(tl, name) for name in dir(tl)}
    for _ in range(2):
        y = torch.empty_like(x)
        _softmax[(1,)](x, y, 64)
        torch.testing.assert_close(y, x.softmax(0))
        assert {name: getattr(tl, name) for name in dir(tl)} == before
