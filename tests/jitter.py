"""The last bits of another processor: every float32 and float64 matrix product of torch is off by a few roundings.

Processors sum in different orders, so their products differ in the last bits, and a test that asserts those, or the
order of two scores that differ by less, holds on one machine only. The legs `last-bits-N` of tests/portable.py set
MINILLM_JITTER=N, and conftest.py calls `install`. The error depends on N and on the shape of the product alone: the
same call gives the same bits, as it does on a real machine, and the same rows in another batch do not.

Left out: products inside compiled code, fused attention, numpy and the low precisions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch

_LIBRARY: list[torch.library.Library] = []  # kernels live as long as their library object


@lru_cache(maxsize=256)
def factors(seed: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """1 - 2 eps to 1 + 2 eps for each number of a product of this shape: what a hundred summands may well differ by."""
    generator = torch.Generator().manual_seed(hash((seed, shape)) % 2**31)
    return 1 + torch.finfo(dtype).eps * torch.randint(-2, 3, shape, generator=generator).to(dtype)


def install(seed: int) -> None:
    """From now on torch's CPU products carry the error of `seed`; there is no way back in this process."""
    if _LIBRARY:
        return
    library = torch.library.Library("aten", "IMPL")
    _LIBRARY.append(library)

    def off(product: torch.Tensor) -> torch.Tensor:
        if product.dtype not in (torch.float32, torch.float64):
            return product
        return product.mul_(factors(seed, tuple(product.shape), product.dtype))

    def mm(a, b):
        return off(torch.ops.aten.mm.out(a, b, out=a.new_empty(a.shape[0], b.shape[1])))

    def bmm(a, b):
        return off(torch.ops.aten.bmm.out(a, b, out=a.new_empty(a.shape[0], a.shape[1], b.shape[2])))

    def addmm(bias, a, b, *, beta=1, alpha=1):
        out = a.new_empty(a.shape[0], b.shape[1])
        return off(torch.ops.aten.addmm.out(bias, a, b, beta=beta, alpha=alpha, out=out))

    kernels: dict[str, Callable] = {"mm": mm, "bmm": bmm, "addmm": addmm}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that its own kernels are replaced
        for name, kernel in kernels.items():
            library.impl(name, kernel, "CPU")
