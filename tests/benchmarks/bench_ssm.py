"""State spaces: Mamba against transformers' path without kernels, the scans and S4D against their own loops.

    prefill     one pass over 512 tokens with an empty state, logits of the last token, as `generate` begins
    decode      32 tokens after a prompt of 8, greedy, one text
    training    forward and backward of one scan: 8 texts x 256 tokens x 128 channels, 16 numbers of state each
    S4D         forward of one layer: 8 texts x L tokens x 64 channels, 32 complex numbers of state each

Float32, one thread, the same weights and inputs on both sides. The first size of Mamba is the one whose state takes
58 kB. Peers that are our own loops are what a reader would write first; they are in the library, too.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minillm.inference import SamplingParams, generate
from minillm.models import Mamba, MambaConfig
from minillm.nn import (
    S4DLayer,
    s4d_recurrence,
    scan_associative,
    scan_chunked,
    scan_compiled,
    scan_loop,
    ssd_chunked,
    ssd_loop,
)
from minillm.nn.fast_cpu import fast_layers
from tests.benchmarks.harness import Row, Times, in_turn, peer_or_none

VOCABULARY = 1024
NEW = 32


def pair(layers: int, width: int, transformers: Any) -> tuple[Mamba, Any]:
    """A Mamba of ours and transformers' with the same weights, or None."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": layers}
    ours = Mamba(MambaConfig(**sizes), seed=0).eval()
    if transformers is None:
        return ours, None
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    theirs = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes | ids)).eval()
    theirs.load_state_dict(ours.to_hugging_face(ours.state_dict()), strict=False)
    theirs.tie_weights()
    return ours, theirs


def models(layers: int, width: int, transformers: Any, quick: bool, target: bool) -> list[Row]:
    """Prefill and decode of one size."""
    ours, theirs = pair(layers, width, transformers)
    generator = torch.Generator().manual_seed(0)
    length = 64 if quick else 512
    text = torch.randint(4, VOCABULARY, (1, length), generator=generator)
    prompt = text[:, :8]

    @torch.inference_mode()
    def prefill() -> Tensor:
        with fast_layers(ours):
            return ours(text, cache=ours.new_cache(1, length), logits_to_keep=1).logits

    @torch.inference_mode()
    def peer_prefill() -> Tensor:
        return theirs(text, use_cache=True, logits_to_keep=1).logits

    def decode() -> list[int]:
        params = SamplingParams(max_tokens=NEW, temperature=0, ignore_eos=True)
        return generate(ours, prompt[0].tolist(), params)

    @torch.inference_mode()
    def peer_decode() -> list[int]:
        out = theirs.generate(prompt, max_new_tokens=NEW, do_sample=False, pad_token_id=0, eos_token_id=-1)
        return out[0, 8:].tolist()

    calls: dict[str, dict[str, Callable]] = {"prefill": {"ours": prefill}, "decode": {"ours": decode}}
    if theirs is not None:
        torch.testing.assert_close(prefill(), peer_prefill(), rtol=1e-4, atol=1e-4)  # both do the same work
        calls["prefill"]["theirs"], calls["decode"]["theirs"] = peer_prefill, peer_decode
    rows = []
    for work, sides in calls.items():
        times = in_turn(sides, rounds=3 if quick else 9)
        tokens = length if work == "prefill" else NEW
        rows.append(
            Row(
                work=f"Mamba {work} {layers}x{width}, fp32"
                + (f", {length} tokens" if work == "prefill" else ""),
                peer="transformers, without kernels",
                unit="tokens/s",
                ours=tokens / times["ours"],
                theirs=tokens / times["theirs"] if "theirs" in times else None,
                target={"prefill": 4.5, "decode": 4.0}[work] if target else None,
                spread=times.spread("theirs"),
            )
        )
    return rows


def step_of(scan: Callable, given: list[Tensor]) -> Callable[[], Any]:
    """A function that runs a scan forward and backward."""
    wanted = [one.clone().requires_grad_() for one in given]

    def call() -> Any:
        y, _ = scan(*wanted)
        return torch.autograd.grad(y.square().sum(), wanted)

    return call


def scans(quick: bool) -> list[Row]:
    """Forward and backward of the scans of Mamba and of Mamba-2."""
    texts, T, D, N = (2, 32, 16, 4) if quick else (8, 256, 128, 16)
    g = torch.Generator().manual_seed(0)
    x, B, C = (torch.randn(shape, generator=g) for shape in ((texts, T, D), *[(texts, T, N)] * 2))
    dt, A = torch.rand(texts, T, D, generator=g) * 0.1, -torch.arange(1.0, N + 1).expand(D, N)
    given = [x, dt, A, B, C]
    calls = {
        "ours": scan_compiled,
        "loop": scan_loop,
        "chunked": scan_chunked,
        "associative": scan_associative,
    }
    times = in_turn({name: step_of(scan, given) for name, scan in calls.items()}, rounds=3 if quick else 7)
    # 8 heads, each with one decay and the same number of states
    heads = 8
    given = [x.unflatten(2, (heads, -1)), dt[..., :heads], A[:heads, 0], B[:, :, None], C[:, :, None]]
    both = {"ours": step_of(ssd_chunked, given), "loop": step_of(ssd_loop, given)}
    second = in_turn(both, rounds=3 if quick else 7)
    size = f"{texts} x {T} x {D}, N = {N}, forward and backward"
    return [
        row(f"selective scan, compiled, {size}", "our loop", times, "loop", 4.0),
        row(f"selective scan, compiled, {size}", "our chunked scan", times, "chunked", None),
        row(f"selective scan, compiled, {size}", "our associative scan", times, "associative", None),
        row(f"SSD of Mamba-2, {heads} heads, {size}", "its loop", second, "loop", 4.0),
    ]


def row(work: str, peer: str, times: Times, theirs: str, target: float | None) -> Row:
    """A line in milliseconds."""
    return Row(
        work=work, peer=peer, unit="ms", ours=1e3 * times["ours"], theirs=1e3 * times[theirs], target=target,
        higher_is_better=False, spread=times.spread(theirs),
    )  # fmt: skip


def s4d(quick: bool) -> list[Row]:
    """A layer's convolution against its recurrence."""
    rows = []
    layer = S4DLayer(64, 64)
    layer.draw(torch.Generator().manual_seed(0))
    for length, target in ((64, None),) if quick else ((1024, 5.0), (4096, 9.0)):
        x = torch.randn(8, length, 64, generator=torch.Generator().manual_seed(1))

        @torch.no_grad()
        def convolution(x: Tensor = x) -> Tensor:
            return layer(x, last=False)[0]

        @torch.no_grad()
        def recurrence(x: Tensor = x) -> Tensor:
            bar, drive, C = layer.steps()
            u = x.transpose(1, 2)
            y, _ = s4d_recurrence(u, bar, drive, C, bar.new_zeros(len(u), *bar.shape))
            return (y + layer.D[:, None] * u).transpose(1, 2)

        torch.testing.assert_close(convolution(), recurrence(), rtol=1e-3, atol=1e-3)
        times = in_turn({"ours": convolution, "loop": recurrence}, rounds=3 if quick else 5)
        rows.append(row(f"S4D forward, 8 x {length} x 64", "its recurrence", times, "loop", target))
    return rows


def run(quick: bool) -> list[Row]:
    """All of it; quick: small sizes, to see that all of it runs."""
    torch.set_num_threads(1)
    transformers = peer_or_none("transformers")
    rows = models(2 if quick else 6, 64, transformers, quick, target=not quick)
    if not quick:
        rows += models(6, 384, transformers, quick, target=False)
    return rows + scans(quick) + s4d(quick)
