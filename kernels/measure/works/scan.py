"""The selective scan (16.4 맘바), bound by memory if h stays in registers. Held against the loop in torch."""

from __future__ import annotations

import torch

from kernels.measure.bench_works import Trial, Work, nbytes, normal
from kernels.measure.works.fusion import BF16, passes, trial
from kernels.selective_scan import selective_scan, selective_scan_plain


def scan(texts: int, T: int, D: int, N: int = 16, backward: bool = False) -> Work:
    """Texts of T tokens in D channels of N states, from zero."""

    def build(device: str) -> Trial:
        x, dt, gate = (normal(texts, T, D, device=device, seed=seed, grad=backward) for seed in (1, 2, 3))
        B, C = (normal(texts, T, N, device=device, seed=seed, grad=backward) for seed in (4, 5))
        A = -normal(D, N, device=device, dtype=torch.float32, seed=6).exp()
        skip = normal(D, device=device, dtype=torch.float32, seed=7)
        return trial(
            selective_scan, selective_scan_plain, None, [x, dt, A, B, C, skip, gate], backward, device
        )

    # forward: x, dt and gate in, y out; backward: those and the gradient of y in, three gradients out
    return Work(
        "selective_scan",
        f"{passes(backward)} {texts} x {T} x {D}, N {N}, bf16",
        build,
        bytes=nbytes(texts * T * D, BF16, 11 if backward else 4),
        series=f"selective_scan {passes(backward)}",
        x=D,
    )


def works(size: str) -> list[Work]:
    """What is measured."""
    if size == "tiny":
        return [scan(1, 9, 12, 3), scan(1, 18, 8, 3, backward=True)]
    if size == "quick":
        return [scan(8, 512, 1536), scan(8, 512, 1536, backward=True)]
    return [scan(8, 2048, 1536), scan(8, 2048, 5120), scan(8, 512, 1536, backward=True)]
