"""Fusions (8.3.1 커널 퓨전): norms, softmax, rotary, SwiGLU and the cross-entropies, all bound by memory but the last.

Held against torch's own operation run eagerly and against torch.compile of the plain reference, which fuses too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.cross_entropy import cross_entropy, cross_entropy_plain
from kernels.layer_norm import layer_norm, layer_norm_plain
from kernels.linear_cross_entropy import linear_cross_entropy
from kernels.measure.bench_works import (
    Pair,
    Trial,
    Work,
    compiled,
    doubled,
    matmul_flops,
    nbytes,
    normal,
    with_gradients,
)
from kernels.rms_norm import rms_norm, rms_norm_plain
from kernels.rotary import rotary, rotary_plain
from kernels.softmax import softmax, softmax_plain
from kernels.swiglu import swiglu, swiglu_plain

BF16 = torch.bfloat16
FLOOR = {"floor": 0.85}  # what the issue asks of norms, rotary and cross-entropy: part of the copy bandwidth


def trial(
    ours: Callable,
    eager: Callable,
    plain: Callable | None,
    inputs: Sequence[Tensor],
    backward: bool,
    device: str,
    reference: Callable | None = None,
    others: dict[str, Callable] | None = None,
) -> Trial:
    """A function beside torch's own (eager) and torch.compile of the plain one, forward or forward and backward.

    reference: what runs in float64 (None: the eager function). others: more peers. Gradients are asked of the inputs
    that want them.
    """
    wanted = [x for x in inputs if x.requires_grad]
    with torch.no_grad():
        outputs = eager(*inputs)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        upstream = [
            normal(*x.shape, device=device, dtype=x.dtype, seed=90 + i) for i, x in enumerate(outputs)
        ]
        if outputs[0].ndim == 0:
            upstream = [torch.ones_like(x) for x in outputs]  # a loss is where backward starts
    del outputs

    def bound(call: Callable, given: Sequence[Tensor], sent: Sequence[Tensor]) -> Callable:
        if not backward:
            return lambda: call(*given)
        asked = [x for x in given if x.requires_grad]

        def forward(*_: Tensor) -> Tensor | tuple:
            return call(*given)

        return with_gradients(forward, asked, sent)

    def pairs() -> list[Pair]:
        got = bound(ours, inputs, upstream)()
        expected = bound(reference or eager, doubled_floats(inputs), [x.double() for x in upstream])()
        got, expected = ([x] if isinstance(x, Tensor) else list(x) for x in (got, expected))
        names = [f"out {i}" for i in range(len(upstream))] + [f"gradient {i}" for i in range(len(wanted))]
        return [Pair(*triple) for triple in zip(names, got, expected)]

    peers = {"torch": bound(eager, inputs, upstream)}
    if plain is not None:
        peers["torch.compile"] = bound(compiled(plain, device), inputs, upstream)
    for name, other in (others or {}).items():
        peers[name] = bound(other, inputs, upstream)
    return Trial(bound(ours, inputs, upstream), peers, pairs)


def doubled_floats(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Float64 copies of the floats; targets stay as they are."""
    return [doubled(x)[0] if x.is_floating_point() else x for x in inputs]


def passes(backward: bool) -> str:
    """How a work's name says which passes it makes."""
    return "fwd+bwd" if backward else "fwd"


def norm(kind: str, rows: int, width: int, residual: bool = False, backward: bool = False) -> Work:
    """rms_norm or layer_norm, with the residual sum fused in or not."""
    ours, plain = (rms_norm, rms_norm_plain) if kind == "rms_norm" else (layer_norm, layer_norm_plain)

    def torch_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if kind == "rms_norm":
            return F.rms_norm(x, (width,), weight, 1e-6)
        return F.layer_norm(x, (width,), weight, bias, 1e-5)

    def build(device: str) -> Trial:
        x = normal(rows, width, device=device, seed=1, grad=backward)
        parameters = [normal(width, device=device, seed=2, grad=backward)]
        if kind == "layer_norm":
            parameters.append(normal(width, device=device, seed=3, grad=backward))
        if not residual:
            return trial(ours, torch_norm, plain, [x, *parameters], backward, device)
        other = normal(rows, width, device=device, seed=4, grad=backward)

        def reordered(function: Callable) -> Callable:
            return lambda x, other, *parameters: function(x, *parameters, residual=other)

        def torch_sum_norm(x: Tensor, other: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
            total = x + other
            return torch_norm(total, *parameters), total

        inputs = [x, other, *parameters]
        return trial(reordered(ours), torch_sum_norm, reordered(plain), inputs, backward, device)

    # forward: x (and the residual) in, y (and the sum) out; backward: the saved input and both gradients in, one out
    # (it serves x and the residual)
    tensors = (4 if residual else 2) + ((4 if residual else 3) if backward else 0)
    name = f"{passes(backward)} {rows} x {width}{' with residual' if residual else ''} bf16"
    moved = nbytes(rows * width, BF16, tensors)
    return Work(kind, name, build, bytes=moved, targets=FLOOR, series=f"{kind} {passes(backward)}", x=width)


def row_softmax(rows: int, width: int, backward: bool = False) -> Work:
    """softmax along rows, each its own distribution."""

    def build(device: str) -> Trial:
        x = normal(rows, width, device=device, grad=backward)
        return trial(softmax, lambda x: torch.softmax(x, -1), softmax_plain, [x], backward, device)

    name = f"{passes(backward)} {rows} x {width} bf16"
    moved = nbytes(rows * width, BF16, 5 if backward else 2)
    return Work("softmax", name, build, bytes=moved, series=f"softmax {passes(backward)}", x=width)


def rotate(B: int, H: int, K: int, T: int, D: int, backward: bool = False) -> Work:
    """q and k turned by the angles of their positions, halves paired as in Llama."""

    def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)

    def torch_rotary(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        return turned(q, cos, sin), turned(k, cos, sin)

    def build(device: str) -> Trial:
        q, k = (normal(B, n, T, D, device=device, seed=n, grad=backward) for n in (H, K))
        angles = torch.outer(
            torch.arange(T, device=device), 1e4 ** (-torch.arange(0, D, 2, device=device) / D)
        )
        return trial(rotary, torch_rotary, rotary_plain, [q, k, angles.cos(), angles.sin()], backward, device)

    moved = nbytes(B * (H + K) * T * D, BF16, 4 if backward else 2)
    name = f"{passes(backward)} B{B} H{H} K{K} T{T} D{D} bf16"
    return Work("rotary", name, build, bytes=moved, targets=FLOOR, series=f"rotary {passes(backward)}", x=T)


def gate(rows: int, width: int, backward: bool = False) -> Work:
    """SwiGLU: silu(gate) · up."""

    def build(device: str) -> Trial:
        inputs = [normal(rows, width, device=device, seed=seed, grad=backward) for seed in (1, 2)]
        return trial(swiglu, lambda g, u: F.silu(g) * u, swiglu_plain, inputs, backward, device)

    moved = nbytes(rows * width, BF16, 8 if backward else 3)
    name = f"{passes(backward)} {rows} x {width} bf16"
    return Work("swiglu", name, build, bytes=moved, series=f"swiglu {passes(backward)}", x=width)


def entropy(rows: int, vocabulary: int, backward: bool = True) -> Work:
    """The loss of logits (rows, V): read once, and written once as their gradient."""

    def build(device: str) -> Trial:
        logits = normal(rows, vocabulary, device=device, grad=backward)
        generator = torch.Generator(device).manual_seed(1)
        targets = torch.randint(vocabulary, (rows,), device=device, generator=generator)
        # ignored rows are compared at the tiny size; a timed row must not be one that may be skipped
        if rows < 100:
            targets[::7] = -100

        return trial(cross_entropy, F.cross_entropy, cross_entropy_plain, [logits, targets], backward, device)

    moved = nbytes(rows * vocabulary, BF16, 2 if backward else 1)
    name = f"{passes(backward)} {rows} x V{vocabulary} bf16"
    return Work(
        "cross_entropy",
        name,
        build,
        bytes=moved,
        targets=FLOOR,
        series=f"cross_entropy {passes(backward)}",
        x=vocabulary,
    )


def linear_entropy(rows: int, width: int, vocabulary: int) -> Work:
    """The last layer and its loss, forward and backward; torch holds all (rows, V) logits, or works in chunks, too."""

    def torch_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, weight), targets)

    def torch_in_chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        return F.linear_cross_entropy(hidden, weight, targets, options=torch.nn.LinearCrossEntropyOptions())

    def build(device: str) -> Trial:
        hidden = normal(rows, width, device=device, seed=1, grad=True)
        weight = (
            (normal(vocabulary, width, device=device, seed=2).float() * width**-0.5).to(BF16).requires_grad_()
        )
        targets = torch.randint(
            vocabulary, (rows,), device=device, generator=torch.Generator(device).manual_seed(3)
        )
        others = {}
        if hasattr(F, "linear_cross_entropy"):  # from torch 2.13 on
            others["torch in chunks"] = torch_in_chunks
        given = [hidden, weight, targets]
        return trial(linear_cross_entropy, torch_loss, None, given, True, device, others=others)

    flops = 3 * matmul_flops(rows, vocabulary, width)
    name = f"fwd+bwd {rows} x {width} to V{vocabulary} bf16"
    return Work("linear_cross_entropy", name, build, flops, memory=True)


def tiny_launch() -> Work:
    """One small eager call: what a launch costs the host, custom operator and checks included."""

    def build(device: str) -> Trial:
        x, weight = normal(4, 256, device=device, seed=1), normal(256, device=device, seed=2)
        return trial(rms_norm, lambda x, w: F.rms_norm(x, (256,), w, 1e-6), None, [x, weight], False, device)

    return Work("launch", "one eager rms_norm of 4 x 256, host time", build, host=True)


def works(size: str) -> list[Work]:
    """Rows times width is held, so that every line moves about as much: 128M numbers, far more than the cache holds."""
    if size == "tiny":
        found = [norm(kind, 6, 64, residual, back) for kind in ("rms_norm", "layer_norm")
                 for residual, back in ((False, False), (True, True))]  # fmt: skip
        found += [row_softmax(5, 40, back) for back in (False, True)]
        found += [rotate(1, 2, 1, 9, 16, True), gate(5, 48, True), entropy(8, 100), entropy(8, 100, False)]
        return [*found, linear_entropy(8, 32, 100), tiny_launch()]
    if size == "quick":
        found = [norm("rms_norm", 16384, 8192), norm("layer_norm", 16384, 8192), rotate(4, 32, 8, 4096, 128)]
        return [*found, entropy(4096, 131072), tiny_launch()]
    found = [norm("rms_norm", 2**27 // width, width) for width in (4096, 8192, 16384)]
    found += [norm("rms_norm", 2**14, 8192, residual=True), norm("rms_norm", 2**14, 8192, backward=True)]
    found += [norm("rms_norm", 2**14, 8192, residual=True, backward=True)]
    found += [norm("layer_norm", 2**27 // width, width) for width in (4096, 16384)]
    found += [norm("layer_norm", 2**14, 8192, backward=True)]
    found += [entropy(2**14, 32768), entropy(4096, 131072), entropy(4096, 131072, False)]
    found += [rotate(4, 32, 8, 4096, 128), rotate(4, 32, 8, 4096, 128, backward=True)]
    found += [row_softmax(2**27 // width, width) for width in (4096, 131072)] + [
        row_softmax(2**14, 8192, True)
    ]
    found += [gate(8192, 14336), gate(8192, 14336, backward=True)]
    return [*found, linear_entropy(8192, 4096, 131072), tiny_launch()]
