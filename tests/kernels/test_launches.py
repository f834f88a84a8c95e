"""What kernels ask of Triton's launcher: the right GPU, few machine codes, fitting tiles."""

import contextlib
import functools
import json

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from kernels import int8_matmul as int8
from kernels import w4a16
from kernels.cross_entropy import cross_entropy
from kernels.flash_attention import flash_attention
from kernels.int8_matmul import int8_linear, int8_matmul, quantize_rows
from kernels.layer_norm import layer_norm
from kernels.linear_cross_entropy import linear_cross_entropy
from kernels.paged_attention import paged_attention
from kernels.paged_prefill import paged_prefill
from kernels.rms_norm import rms_norm
from kernels.rotary import rotary
from kernels.selective_scan import selective_scan
from kernels.softmax import softmax
from kernels.store_kv import store_kv
from kernels.swiglu import swiglu
from kernels.w4a16 import w4a16_linear, w4a16_matmul
from kernels.w4a16_gemv import w4a16_gemv
from tests.kernels.compiling import python
from tests.kernels.conftest import DEVICE

if DEVICE == "cpu":
    from triton.runtime.interpreter import InterpretedFunction

x, caches = torch.zeros(2, 1, 32), torch.zeros(2, 3, 256, 1, 32).unbind(0)
table, lengths, starts = (torch.zeros(shape, dtype=torch.int32) for shape in ((2, 3), (2,), (3,)))
codes, ones = torch.zeros(3, 512, dtype=torch.int8), torch.ones(3)
weights = torch.zeros(3, 512, dtype=torch.uint8), torch.ones(3, 8), 128
short, long = (torch.ones(2, width, requires_grad=True) for width in (16, 20_000))
tokens, decay = torch.ones(1, 3, 8, requires_grad=True), -torch.ones(8, 4)
heads, targets = torch.ones(1, 2, 3, 16, requires_grad=True), torch.zeros(2, dtype=torch.int64)
CALLS = {
    "softmax": (2, lambda: softmax(short).sum().backward()),
    "softmax of long rows": (2, lambda: softmax(long).sum().backward()),
    "rms_norm": (2, lambda: rms_norm(short, short[0].detach()).sum().backward()),
    "layer_norm": (2, lambda: layer_norm(short, short[0].detach()).sum().backward()),
    "rotary": (2, lambda: rotary(heads, None, torch.ones(3, 8), torch.ones(3, 8)).sum().backward()),
    "swiglu": (2, lambda: swiglu(short, short).sum().backward()),
    "selective_scan": (
        2,
        lambda: (
            selective_scan(tokens, tokens, decay, tokens[..., :4], tokens[..., :4], decay[:, 0], tokens)[0]
            .sum()
            .backward()
        ),
    ),
    "cross_entropy": (2, lambda: cross_entropy(short, targets).backward()),
    "cross_entropy of long rows": (2, lambda: cross_entropy(long, targets).backward()),
    "linear_cross_entropy": (2, lambda: linear_cross_entropy(short, short.detach(), targets).backward()),
    "flash_attention": (3, lambda: flash_attention(heads, heads, heads).sum().backward()),
    "store_kv": (1, lambda: store_kv(x, x, *caches, lengths)),
    "paged_attention": (2, lambda: paged_attention(x, *caches, table, lengths)),
    "paged_prefill": (1, lambda: paged_prefill(x, *caches, table, starts, lengths, 1)),
    "int8_matmul": (1, lambda: int8_matmul(codes, codes, ones, ones)),
    "quantize_rows": (1, lambda: quantize_rows(x[:, 0])),
    "w4a16_gemv": (1, lambda: w4a16_gemv(torch.zeros(3, 1024), *weights)),
    "w4a16_matmul": (2, lambda: w4a16_matmul(torch.zeros(3, 1024), *weights)),
}


@pytest.mark.skipif(DEVICE == "cuda", reason="watches the interpreter's launches")
@pytest.mark.parametrize("name", CALLS)
def test_launches_happen_on_the_gpu_of_the_tensors(monkeypatch, name):
    """Triton itself launches on the current GPU, wherever the tensors are."""
    chosen, launches = [], []

    @contextlib.contextmanager
    def device_of(tensor):
        chosen.append(tensor.device)
        yield
        chosen.pop()

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    monkeypatch.setattr(InterpretedFunction, "run", lambda *x, **options: launches.append(list(chosen)))
    count, call = CALLS[name]
    call()
    assert launches == [[torch.device("cpu")]] * count


def test_one_machine_code_serves_every_batch():
    """Whatever changes between an engine's calls, Triton's launcher asks for the same code: no pause, the same bits."""
    done = python("-m", "tests.kernels.probe_paged")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {
        "_decode_kernel": 1, "_merge_kernel": 1, "_prefill_kernel": 1, "_store_kv_kernel": 1, "_w4a16_gemv_kernel": 1,
    }  # fmt: skip


@pytest.mark.skipif(DEVICE == "cuda", reason="its operands are on the CPU")
@pytest.mark.parametrize(("module", "name"), [(int8, "int8_matmul"), (w4a16, "w4a16_matmul")])
def test_only_gpus_with_products_from_shared_memory_get_the_largest_tiles(monkeypatch, module, name):
    asked, real = [], functools.partial(module.settings, interpreted=False)
    monkeypatch.setattr(InterpretedFunction, "run", lambda *x, **options: None)
    monkeypatch.setattr(module, "settings", lambda *sizes: asked.append(sizes[-1]) or real(*sizes))
    # (12, 0): a desk's, with an A100's instructions
    for capability in [
        (8, 0),
        (8, 9),
        (9, 0),
        (10, 3),
        (12, 0),
    ]:
        monkeypatch.setattr(module, "capability", lambda x, capability=capability: capability)
        CALLS[name][1]()
    assert asked == [False, False, True, True, False]


@pytest.mark.skipif(DEVICE == "cuda", reason="its operands are on the CPU")
def test_one_graph_multiplies_any_number_of_rows():
    """A compiled model may be recompiled once, when the length is seen to change, and not for every length."""
    counter = CompileCounterWithBackend("aot_eager")
    packed, scales = torch.full((3, 32), 0x79, dtype=torch.uint8), torch.ones(3, 1)

    def product(rows):
        return int8_linear(rows, codes[:, :64], ones) + w4a16_linear(rows, packed, scales, 64)

    compiled = torch.compile(product, fullgraph=True, backend=counter)
    for length in (5, 9, 34, 50):
        rows = torch.linspace(-1, 1, 2 * length * 64).view(2, length, 64)
        torch.testing.assert_close(compiled(rows), product(rows))
    assert counter.frame_count <= 2
