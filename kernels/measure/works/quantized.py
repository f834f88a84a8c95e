"""Quantized products (7.2 양자화로 모델 용량 줄이기): int8 x int8, and 4-bit weights under bf16 rows.

Held against torch's own int8 product and against the bf16 product of the same shape: that is what one would run
without quantizing. A model's layers come one after another, so the products of few rows go through several weights
in turn, more of them than the cache holds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.int8_matmul import int8_linear, int8_matmul
from kernels.measure.bench_works import Pair, Trial, Work, matmul_flops, normal, w4_bytes
from kernels.w4a16 import w4a16_linear, w4a16_plain

BF16 = torch.bfloat16


def codes_and_scale(rows: int, width: int, device: str, seed: int) -> tuple[Tensor, Tensor]:
    """Int8 codes (rows, width) and a positive float32 scale a row."""
    generator = torch.Generator(device).manual_seed(seed)
    codes = torch.randint(-127, 128, (rows, width), device=device, generator=generator).to(torch.int8)
    return codes, torch.rand(rows, device=device, generator=generator) + 0.5


def int8(M: int, O: int, I: int, quantize: bool) -> Work:
    """y (M, O) of int8 codes; quantize: the rows come in bf16 and are quantized first, as a layer does it."""

    def build(device: str) -> Trial:
        a, a_scale = codes_and_scale(M, I, device, 1)
        b, b_scale = codes_and_scale(O, I, device, 2)
        x = normal(M, I, device=device, seed=3)
        weight = normal(O, I, device=device, seed=4)

        def ours() -> Tensor:
            return (
                int8_linear(x, b, b_scale)
                if quantize
                else int8_matmul(a, b, a_scale, b_scale, out_dtype=BF16)
            )

        def torch_int8() -> Tensor:
            if quantize:
                scale = x.abs().amax(1, keepdim=True).float() / 127
                product = torch._int_mm((x / scale).round().to(torch.int8), b.t())
                return (product.float() * scale * b_scale).to(BF16)
            return (torch._int_mm(a, b.t()).float() * a_scale[:, None] * b_scale).to(BF16)

        def pairs() -> list[Pair]:
            got, rows = ours()[:256], a[:256].double() * a_scale[:256, None].double()
            if quantize:
                scale = x[:256].abs().amax(1, keepdim=True).double() / 127
                rows = (x[:256].float() / scale.float()).round().double() * scale
            return [Pair("first rows", got, rows @ (b.double() * b_scale[:, None].double()).t())]

        peers = {"torch._int_mm and scales": torch_int8, "bf16 product": lambda: F.linear(x, weight)}
        return Trial(ours, peers, pairs)

    kernel = "int8_linear" if quantize else "int8_matmul"
    return Work(kernel, f"{M} x {I} to {O}", build, matmul_flops(M, O, I), series=f"{kernel} {O}", x=M)


def w4(M: int, O: int, I: int, group_size: int, nf4: bool, layers: int = 1) -> Work:
    """M rows through 4-bit weights (O, I), `layers` of them one after another."""

    def build(device: str) -> Trial:
        generator = torch.Generator(device).manual_seed(1)
        shape = (layers, O, I // 2)
        packed = torch.randint(256, shape, device=device, generator=generator, dtype=torch.uint8)
        scales = torch.rand(layers, O, -(-I // group_size), device=device, generator=generator) * 0.01 + 0.001
        codebook = torch.linspace(-1, 1, 16, device=device).pow(3) if nf4 else None  # any 16 ascending values
        x = normal(M, I, device=device, seed=2)
        weights = normal(layers, O, I, device=device, seed=3)

        def every(linear: Callable[[int], Tensor]) -> Callable[[], list[Tensor]]:
            return lambda: [linear(layer) for layer in range(layers)]

        def ours(layer: int) -> Tensor:
            return w4a16_linear(x, packed[layer], scales[layer], group_size, codebook=codebook)

        def unpacked(layer: int) -> Tensor:
            return w4a16_plain(x, packed[layer], scales[layer], group_size, codebook=codebook)

        def pairs() -> list[Pair]:
            # the earlier code is high
            codes = torch.stack([packed[-1] >> 4, packed[-1] & 15], dim=-1).flatten(-2)
            values = codebook.double()[codes.long()] if nf4 else codes.double() - 8
            weight = values * scales[-1].double().repeat_interleave(group_size, dim=-1)[:, :I]
            return [Pair("last layer", ours(layers - 1), x.double() @ weight.t())]

        peers = {
            "bf16 weight": every(lambda layer: F.linear(x, weights[layer])),
            "unpack, then product": every(unpacked),
        }
        return Trial(every(ours), peers, pairs)

    few = M <= 16  # so few rows that reading the weight is all the time there is
    name = (
        f"{M} x {I} to {O}, {'codebook' if nf4 else 'int4'}, groups of {group_size}"
        + f", {layers} layers" * (layers > 1)
    )
    counts = (
        {"bytes": layers * w4_bytes(M, O, I, group_size, BF16)}
        if few
        else {"flops": layers * matmul_flops(M, O, I)}
    )
    targets = {"floor": 0.6} if M == 1 else {}
    series = f"w4a16 {'codebook' if nf4 else 'int4'} {O}"
    return Work("w4a16_linear", name, build, **counts, calls=layers, targets=targets, series=series, x=M)


def works(size: str) -> list[Work]:
    """A 4096-wide model's layers; 16 weights in turn where there are few rows."""
    if size == "tiny":
        found = [int8(17, 24, 32, quantize) for quantize in (False, True)]
        return found + [w4(M, 24, 64, 32, nf4, layers=2) for M in (1, 3, 20) for nf4 in (False, True)]
    if size == "quick":
        return [
            int8(4096, 4096, 4096, False),
            w4(1, 14336, 4096, 128, False, 16),
            w4(1, 14336, 4096, 64, True, 16),
        ]
    found = [
        w4(1, 4096, 4096, 128, False, 32),
        w4(1, 14336, 4096, 128, False, 16),
        w4(1, 4096, 14336, 128, False, 16),
    ]
    found += [
        w4(1, 4096, 4096, 64, True, 32),
        w4(1, 14336, 4096, 64, True, 16),
        w4(8, 14336, 4096, 128, False, 16),
    ]
    found += [w4(M, 14336, 4096, 128, False, 16 if M == 16 else 1) for M in (16, 64, 512, 4096)]
    found += [w4(512, 14336, 4096, 64, True), w4(4096, 14336, 4096, 64, True)]
    found += [int8(M, 4096, 4096, False) for M in (512, 4096)] + [int8(4096, 14336, 4096, False)]
    return [*found, int8(4096, 4096, 4096, True)]
