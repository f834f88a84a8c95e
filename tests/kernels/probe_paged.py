"""Run in a process of its own, where kernels are compiled and not interpreted, by test_launches.py.

Prints a JSON object: how many machine codes each kernel of a decoding engine needs for batches that differ in all that
changes from call to call: sequences, tokens, the table's width, and where in memory slices begin.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict

import torch

from kernels.measure.compile_ahead import catch_launches
from kernels.paged_attention import paged_attention
from kernels.paged_prefill import paged_prefill
from kernels.store_kv import store_kv
from kernels.w4a16_gemv import w4a16_gemv

H, K, D, BLOCK_SIZE = 3, 1, 36, 24  # a row of q is 216 bytes: slices begin anywhere


def whole(n: int, first: int) -> torch.Tensor:
    return torch.zeros(n + first, dtype=torch.int32)[first:]


def half(*shape: int, first: int = 0) -> torch.Tensor:
    return torch.zeros(shape[0] + first, *shape[1:], dtype=torch.float16)[first:]


def step(B: int, T: int, width: int, first: int) -> None:
    """What an engine does for B sequences with T new tokens and a table of `width` blocks; slices begin at `first`."""
    caches = half(2, 4 * width, BLOCK_SIZE, K, D).unbind(0)
    table = torch.zeros(B, width + first, dtype=torch.int32)[:, first:]
    k = half(T, K, D)
    store_kv(k, k, *caches, whole(T, first))
    paged_attention(half(B, H, D, first=first), *caches, table, whole(B, first), window=width)
    paged_prefill(half(T, H, D, first=first), *caches, table, whole(B + 1, first), whole(B, first), T)
    w4a16_gemv(half(B, 64, first=first), torch.zeros(48, 32, dtype=torch.uint8), torch.zeros(48, 1), 64)


def main() -> None:
    torch.set_num_threads(1)
    codes = defaultdict(set)
    for batch in ((1, 1, 33, 0), (16, 21, 336, 1), (1, 21, 336, 0), (3, 16, 33, 1)):
        for launch in catch_launches(functools.partial(step, *batch), 90):
            codes[launch.kernel.__name__].add(launch.key())
    print(json.dumps({name: len(found) for name, found in sorted(codes.items())}))


if __name__ == "__main__":
    main()
