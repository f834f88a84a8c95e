"""The roofline of decoding: is a step as slow as the memory or as the arithmetic, and from which batch on?

    seconds = max(bytes / bandwidth, operations / rate)         the slower of the two decides
    B*      = rate · bytes a weight / (2 · bandwidth)           the batch for which both take equally long

A decode step reads every weight once, whatever the batch, and does two operations (multiply, add) with it for each
text. So small batches wait for the memory and add texts for almost nothing; from B* on each text costs time.

Book 7.1.3 GPU 구조와 최적의 배치 크기. Papers: Williams, Waterman and Patterson 2009 (roofline); Pope et al. 2022
(inference). Held against Chen 2022, "Transformer Inference Arithmetic" (312e12 / 1.5e12 = 208 tokens on an A100).
Leaves out: caches (a model that fits into one is not read from memory), transfers between cards, launch times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from minillm._checks import check_int, check_number, describe, is_listing
from minillm.nn.cache import kv_cache_bytes
from minillm.quantization.linear import QuantizedLinear


class Machine(NamedTuple):
    """bandwidth: bytes a second that are read from memory; rate: floating-point operations a second of a matmul."""

    bandwidth: float
    rate: float


class Work(NamedTuple):
    """What a computation does: operations (a multiplication and an addition are two), and bytes it must read."""

    operations: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Operations for each byte. ValueError for no bytes."""
        _check_work(self)
        return self.operations / self.bytes


# Dense 16-bit matrix products (no sparsity) and memory of the data sheets of nvidia.com: T4 (65 TFLOP/s, 320 GB/s),
# A10 (125, 600), A100 40 GB (312, 1,555), A100 80 GB SXM (312, 2,039), H100 SXM (989, 3,350), H200 SXM (989, 4,800)
# Where a sheet gives the rate with sparsity only (H100, H200: 1,979), half of it. A100 80 GB for PCIe: 1,935 GB/s.
CARDS = {
    "T4": Machine(320e9, 65e12),
    "A10": Machine(600e9, 125e12),
    "A100 40GB": Machine(1555e9, 312e12),
    "A100 80GB": Machine(2039e9, 312e12),
    "H100": Machine(3350e9, 989e12),
    "H200": Machine(4800e9, 989e12),
}


def linear_work(inputs: int, outputs: int, batch_size: int, bytes_a_weight: float = 2) -> Work:
    """One linear layer on `batch_size` rows: the weights are read, and so are the rows; the results are written.

    linear_work(4096, 4096, 1) -> about 1 operation a byte. Weights of less than 16 bits are opened on the way: rows and
    results have 16 then, too. ValueError for sizes below one.
    """
    check_int("inputs", inputs, 1), check_int("outputs", outputs, 1), check_int("batch_size", batch_size, 1)
    check_number("bytes_a_weight", bytes_a_weight, 0.01)
    weights, rows = inputs * outputs, batch_size * (inputs + outputs)
    return Work(2 * weights * batch_size, weights * bytes_a_weight + rows * max(2, bytes_a_weight))


def decode_work(
    config: Any, weights: int, batch_size: int, length: int = 0, dtype: torch.dtype = torch.float16
) -> Work:
    """One decode step: `batch_size` texts get one token each; `length` tokens of each are in the KV cache.

    config: as for `kv_cache_bytes`, with num_attention_heads for the queries. weights: those that every token passes
    through (`read_weights(model)`). dtype is that of weights and cache. ValueError for sizes out of range.
    """
    check_int("weights", weights, 1), check_int("batch_size", batch_size, 1)
    cached = kv_cache_bytes(config, batch_size, length, dtype)
    # q Kᵀ and weights · V: two operations each for every cached number of K and of V, and for every query head
    heads_a_pair = getattr(config, "num_attention_heads", config.kv_heads) / config.kv_heads
    attention = 2 * heads_a_pair * cached / dtype.itemsize
    return Work(2 * weights * batch_size + attention, weights * dtype.itemsize + cached)


def read_weights(model: nn.Module) -> int:
    """Weights of a model's linear layers, the output matrix included: a decode step reads all of them.

    Of an embedding table only a row a text is read, unless it is the output matrix, too. Norms are small. A quantized
    layer has as many weights, in fewer bytes. ValueError for what is no module.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    linear = (layer for layer in model.modules() if isinstance(layer, nn.Linear | QuantizedLinear))
    return sum(layer.in_features * layer.out_features for layer in linear)


def _check_machine(machine: Machine) -> None:
    if not isinstance(machine, Machine):
        raise ValueError(f"machine must be a Machine, such as CARDS['H100'], got {describe(machine)}")
    check_number("bandwidth", machine.bandwidth, 1e-9), check_number("rate", machine.rate, 1e-9)


def _check_work(work: Work) -> None:
    if not isinstance(work, Work):
        raise ValueError(f"work must be a Work, got {describe(work)}")
    check_number("operations", work.operations, 0), check_number("bytes", work.bytes, 1e-9)


def predicted_seconds(work: Work, machine: Machine) -> float:
    """max(bytes / bandwidth, operations / rate): at best, with reading and arithmetic at the same time.

    ValueError for numbers that are not above 0, and for what is no Work or Machine.
    """
    _check_work(work), _check_machine(machine)
    return max(work.bytes / machine.bandwidth, work.operations / machine.rate)


def best_batch(machine: Machine, bytes_a_weight: float = 2) -> float:
    """B*: reading the weights takes as long as computing with them. `best_batch(CARDS["A100 40GB"])` -> 200.6

        weights · bytes a weight / bandwidth = 2 · weights · B / rate

    The weights cancel: B* belongs to the machine and the number format, not to the model. The KV cache is left out.
    ValueError for what is no Machine of two numbers above 0.
    """
    _check_machine(machine)
    check_number("bytes_a_weight", bytes_a_weight, 0.01)
    return machine.rate * bytes_a_weight / (2 * machine.bandwidth)


# Measuring


def measure_machine(threads: int = 1, megabytes: int = 256, width: int = 1024) -> Machine:
    """This machine's Machine in float32, in about a second: medians of a few runs of torch on `threads` threads.

    bandwidth: a sum over `megabytes` MB of numbers, more than the caches of most processors hold (not of all: a
    server's last cache may have 256 MB and more). rate: a product of two width x width matrices. ValueError for
    numbers below one.
    """
    check_int("threads", threads, 1), check_int("megabytes", megabytes, 1), check_int("width", width, 1)
    numbers = torch.ones(megabytes * 2**18)  # 2^18 float32 are one MB; written, so that the pages are there
    a, b = torch.ones(width, width), torch.ones(width, width)
    with _threads(threads), torch.inference_mode():
        reading = median_seconds(lambda: torch.sum(numbers))
        product = median_seconds(lambda: a @ b)
    return Machine(numbers.nbytes / reading, 2 * width**3 / product)


def measure_decode(
    model: Any, batch_sizes: Sequence[int], length: int = 64, threads: int = 1
) -> dict[int, float]:
    """Seconds of one decode step for each batch size, with `length` tokens of each text in the cache.

    The tokens are arbitrary: the time does not depend on them. ValueError for sizes below one, and for no model.
    """
    if not callable(getattr(model, "new_cache", None)):
        raise ValueError(f"model must be a language model with new_cache, got {describe(model)}")
    if not is_listing(batch_sizes) or not (batch_sizes := list(batch_sizes)):
        raise ValueError(f"batch_sizes must be a list of at least one, got {describe(batch_sizes)}")
    check_int("length", length, 1), check_int("threads", threads, 1)
    with _threads(threads), torch.inference_mode():
        return {
            B: median_seconds(_decode_step(model, check_int("batch size", B, 1), length)) for B in batch_sizes
        }


def _decode_step(model: Any, batch_size: int, length: int) -> Callable[[], Any]:
    """A function that does the same decode step each time it is called."""
    cache = model.new_cache(batch_size, length + 1)
    for layer, keys in enumerate(cache.keys):  # as if a prompt had been read: small numbers, no zeros
        keys.fill_(0.01), cache.values[layer].fill_(0.01)
    cache.commit(length)
    newest = torch.zeros(batch_size, 1, dtype=torch.long)

    def step() -> Any:
        cache.crop(length)
        return model(newest, cache=cache, logits_to_keep=1).logits

    return step


def median_seconds(run: Callable[[], Any], seconds: float = 0.3, least: int = 3) -> float:
    """The median time of a call. One call is not counted; then `least` calls, or more until `seconds` have passed."""
    run()
    times: list[float] = []
    while len(times) < least or (sum(times) < seconds and len(times) < 1000):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch on `count` threads inside the block, as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
