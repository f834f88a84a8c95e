"""The last layer's loss holds a chunk of logits at a time: sizes of tensors, peak memory, the product that adds up."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kernels import linear_cross_entropy as module
from kernels.linear_cross_entropy import linear_cross_entropy, rows_of_chunk
from tests.kernels.test_linear_cross_entropy import problem, torchs


class Sizes(TorchDispatchMode):
    """The bytes of memory behind each tensor that torch makes."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves(results) if isinstance(x, torch.Tensor)]
        self.made += [x.untyped_storage().nbytes() for x in tensors]
        return results


@pytest.mark.parametrize("gradients", [[True, True, True], [False, False, False]])
def test_the_logits_are_never_there_as_a_whole(device, generator, gradients):
    N, C, V = 64, 8, 250
    (hidden, weight, bias), targets = problem(generator, N, C, V, device=device)
    sizes = {}
    for chunk in (8, rows_of_chunk(N, V, C)):
        with Sizes() as seen:
            module._loss_and_gradients(hidden, weight, targets, bias, -100, 0.1, "mean", chunk, gradients)
        sizes[chunk] = max(seen.made)
        assert 4 * chunk * V <= sizes[chunk] <= 4 * max(chunk * 256, V * C)
        assert sizes[chunk] < 4 * N * V / 2
    assert sizes[8] < sizes[chunk]


def peak_bytes(device, call):
    """The most memory that `call` holds at once, beyond what there was before."""
    if device == "cuda":
        call()  # cuBLAS takes its workspace, and keeps it
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        call()
    changes = [x for x in seen.profiler.kineto_results.events() if x.name() == "[memory]"]
    changes = sorted((x.start_ns(), i, x.nbytes()) for i, x in enumerate(changes))
    return max(itertools.accumulate(change for *_, change in changes))


def test_peak_memory_of_the_loss_and_its_gradients(device, generator):
    """Allocations inside of operators counted too: a chunk, the gradients twice (backward scales them), and little."""
    N, C, V, chunk = 96, 8, 1000, 16
    (hidden, weight, bias), targets = problem(generator, N, C, V, device=device)
    given = [x.requires_grad_() for x in (hidden, weight, bias)]
    gradients = 4 * sum(x.numel() for x in given)

    def ours():
        linear_cross_entropy(*given[:2], targets, given[2], chunk_rows=chunk).backward()

    def theirs():
        torchs(*given[:2], targets, given[2]).backward()

    peak = peak_bytes(device, ours)
    assert peak <= 4 * chunk * 1024 + 2 * gradients + 16 * 1024
    assert peak < 4 * N * V / 2
    for x in given:
        x.grad = None
    assert peak_bytes(device, theirs) >= 2 * 4 * N * V


def test_weight_gradients_are_summed_in_float32_where_the_gpu_can(monkeypatch):
    """Only GPUs from Ampere on multiply 16-bit matrices into float32 ones; others get float32 copies."""
    total, a, b = (torch.empty(shape, device="meta") for shape in ((5, 4), (5, 3), (3, 4)))

    class OnGpu(torch.Tensor):
        is_cuda = True

    a, b = a.bfloat16().as_subclass(OnGpu), b.bfloat16()
    asked, addmm = [], torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *x, **options: asked.append((x, options)))
    for capability in ((8, 0), (7, 5)):
        monkeypatch.setattr(module, "capability", lambda _, found=capability: found)
        module._add_product(total, a, b, first=True)
    (arguments, options), (old_arguments, old_options) = asked
    assert [x.dtype for x in arguments] == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert options == {"out_dtype": torch.float32, "beta": 0, "out": total}
    assert {x.dtype for x in old_arguments} == {torch.float32}
    assert "out_dtype" not in old_options
    if not torch.cuda.is_available():  # this torch knows the call; on a GPU every other test makes it
        addmm(total, a.as_subclass(torch.Tensor), b, **options)


def test_chunks_are_large_enough_to_be_fast_and_small_enough_to_help():
    for N in (0, 1, 3, 16, 63, 1000, 8192, 16_384, 1_000_003):
        for V, C in ((1, 1), (2000, 32), (50_257, 768), (128_256, 4096), (128_256, 0), (10, 4096)):
            rows = rows_of_chunk(N, V, C)
            assert rows % 16 == 0
            assert 16 <= rows <= max(16, N / 4 + 20)
            if N:
                assert -(-N // rows) * rows - N < max(16, -(-N // rows) * 16)  # the last chunk is no scrap
    assert rows_of_chunk(8192, 128_256, 4096) == 1024
    assert rows_of_chunk(16_384, 4096, 4096) == 4096
