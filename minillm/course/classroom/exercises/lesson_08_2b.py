"""Checkers of lesson 08_2b, the FlashAttention kernel."""

from __future__ import annotations

import math
import tracemalloc
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    ATTENTION,
    DERIVATIVES,
    Case,
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    shown,
)
from minillm.course.classroom.largest import Largest
from minillm.course.classroom.launches import LaunchWatch


def windowed(q: Tensor, k: Tensor, v: Tensor, left: int) -> Tensor:
    """Attention in float64 in which a query sees itself and at most `left` keys before it."""
    behind = torch.arange(len(q))[:, None] - torch.arange(len(q))[None]
    seen = (behind >= 0) & (behind <= left)
    scores = (q.double() @ k.double().T / math.sqrt(q.shape[1])).masked_fill(~seen, -math.inf)
    return torch.softmax(scores, -1) @ v.double()


@exercise("08-2b-a", points=4)
def window_attention(answer):
    """The small causal kernel with a window."""
    copied = copied_library(answer)
    assert not copied, f"write the kernel yourself: your answer uses {copied}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter's numpy warns of NaN
        _window(answer)


def _window(answer) -> None:
    for case in cases(16, T=(1, 16, 50, 90), D=(16, 32), left=(0, 1, 7, 16, 40, 200), block=(16, 32)):
        q, k, v = (x[0] for x in Inputs(case.seed).tensor(3, 1, case.T, case.D, scale=2.0))
        expected = windowed(q, k, v, case.left)
        watch, before = LaunchWatch(), [x.clone() for x in (q, k, v)]
        with forbid("the kernel computes", "torch.Tensor.numpy", "torch.Tensor.tolist", answer=answer):
            found = watch.run(answer, q, k, v, case.left, case.block)
        assert not watch.astray, f"{case}: {watch.astray}. Is every load and every store masked?"
        assert isinstance(found, Tensor), f"{case}: return a tensor, got {shown(found)}"
        assert watch.launches == 1, f"{case}: one launch is asked for, got {watch.launches}"
        assert not watch.torch_ran, (
            f"{case}: torch itself ran {', '.join(watch.torch_ran)}; the kernel does all of it, torch only makes room"
        )
        assert not watch.brought_in, f"{case}: {watch.brought_in}; it gets q, k, v and torch.empty_like(q)"
        expect(list(found.shape), [case.T, case.D], hint=f"{case}: the shape of the output")
        assert watch.wrote(found), f"{case}: not every number of the output was stored by your kernel"
        bad = found.isnan().any(1).nonzero()[:, 0].tolist()
        assert not bad, (
            f"{case}: NaN in rows {shown(bad)}. Can a row see no key of a tile? Its maximum is still -inf then"
        )
        expect(found, expected, 1e-4, hint=f"{case}: the output")
        expect([q, k, v], before, hint=f"{case}: q, k and v are only read")
    for case in cases(6, T=(90, 128), left=(0, 20, 33), block=(16, 32)):
        _reads_no_more(answer, case)


def _reads_no_more(answer, case) -> None:
    """NaN in the keys and values of every tile that the last tile of queries cannot see: it must not be loaded."""
    q, k, v = (x[0] for x in Inputs(case.seed).tensor(3, 1, case.T, 16))
    expected = windowed(q, k, v, case.left)
    last = (case.T - 1) // case.block * case.block
    first = max(last - case.left, 0) // case.block * case.block
    k[:first], v[:first] = math.nan, math.nan
    found = answer(q, k, v, case.left, case.block)[last:]
    assert not found.isnan().any(), (
        f"{case}: the queries from {last} on need no key before {first}, and your kernel loads some of those: begin "
        "the loop at the first tile that one of the program's queries sees"
    )
    expect(found, expected[last:], 1e-4, hint=f"{case}: the output of the last tile")


def unmasked(T: int, block: int, generator: torch.Generator) -> list[int]:
    """The rows that are wrong when the causal kernel's loop ends at the diagonal, but nothing hides keys in a tile."""
    q, k, v = torch.randn(3, T, 16, generator=generator, dtype=torch.float64)
    exact = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    padded = -(-T // block) * block - T
    k, v = (F.pad(x, (0, 0, 0, padded)) for x in (k, v))  # masked loads give zeros
    wrong = []
    for row in range(T):
        end = (row // block + 1) * block
        output = torch.softmax(k[:end] @ q[row] / 4, 0) @ v[:end]
        if (output - exact[row]).abs().max() > 1e-9:
            wrong.append(row)
    return wrong


@exercise("08-2b-b", points=2)
def wrong_rows(answer):
    """Which rows are wrong without the mask."""
    copied = copied_library(answer)
    assert not copied, f"say it without running the kernel: your answer uses {copied}"
    generator = torch.Generator().manual_seed(0)
    tried = list(cases(30, T=(1, 2, 15, 16, 17, 32, 33, 50, 64), block=(16, 32, 64)))
    wrong = [unmasked(case.T, case.block, generator) for case in tried]
    with forbid("say it yourself", f"{__name__}.unmasked", answer=answer):
        for case, rows in zip(tried, wrong):
            found = sorted(as_list(answer(case.T, case.block), f"{case}: a list of rows"))
            expect(found, rows, hint=f"{case}: the rows that are wrong")


@exercise("08-2b-c", points=1)
def kept(answer):
    """What training keeps of one layer."""
    copied = copied_library(answer)
    assert not copied, f"count the bytes yourself: your answer uses {copied}"
    for case in cases(30, T=(1, 5, 64), heads=(4, 8), kv_heads=(1, 2, 4), D=(8, 128), width=(2, 4)):
        T, q, kv = (
            case.T,
            case.heads * case.T * case.D * case.width,
            case.kv_heads * case.T * case.D * case.width,
        )
        weights, lse = case.heads * T * T * case.width, case.heads * T * 4
        found = as_list(
            answer(T, case.heads, case.kv_heads, case.D, case.width), f"{case}: (plain, flash)", 2
        )
        expect(
            found[0],
            q + 2 * kv + weights,
            hint=f"{case}: plain keeps q ({q}), k and v ({kv} each), the weights",
        )
        expect(
            found[1],
            2 * q + 2 * kv + lse,
            hint=f"{case}: flash keeps q, k, v, the output and the log-sum-exp",
        )
    expect(answer(T=5, heads=4, kv_heads=2, D=8), [840, 1040], hint="width is 2 by default")


BY_TILES = (
    "work the gradients out tile by tile, without autograd, ready-made attention and the library's functions"
)
READY = (*DERIVATIVES, *ATTENTION, f"{__name__}.gradients_of", "kernels.flash_attention_tiled.flash_attention_tiled",
         "kernels.flash_attention.flash_attention", "kernels.flash_backward.backward")  # fmt: skip


class Tiles(Largest):
    """Refuses torch's attention by any of its names, too; `stop` is the hook of what autograd wants to keep."""

    def called(self, name: str) -> None:
        if "attention" in name:
            self.stop()

    def stop(self, *_):
        self.refuse(BY_TILES)


def gradients_of(case) -> tuple[list[Tensor], list[Tensor]]:
    """([q, k, v, out, lse, upstream], [dq, dk, dv]) of a causal head in float64, by autograd over whole matrices."""
    q, k, v, upstream = (x.double() for x in Inputs(case.seed).tensor(4, case.T, case.D))
    leaves = [x.requires_grad_() for x in (q * case.loud, k, v)]
    later = torch.ones(case.T, case.T, dtype=torch.bool).triu(1)
    scores = (leaves[0] @ leaves[1].T / math.sqrt(case.D)).masked_fill(later, -math.inf)
    out = torch.softmax(scores, -1) @ leaves[2]
    wanted = torch.autograd.grad(out, leaves, upstream)
    given = [*leaves, out, torch.logsumexp(scores, -1), upstream]
    return [x.detach() for x in given], list(wanted)


@exercise("08-2b-d", points=4)
def tiled_gradients(answer):
    """The backward pass of one causal head, tile by tile."""
    copied = copied_library(answer)
    assert not copied, f"{BY_TILES}: your answer uses {copied}"
    tried = list(cases(24, T=(1, 6, 16, 33), D=(1, 3, 16), block=(1, 4, 16, 64), loud=(1.0, 1000.0)))
    # last: by now nothing is imported for the first time
    tried.append(Case(T=700, D=1, block=8, loud=1.0, seed=99))
    problems = [(case, *gradients_of(case)) for case in tried]  # before autograd is forbidden
    with forbid(BY_TILES, *READY, answer=answer):
        for case, given, wanted in problems:
            _tiled(answer, case, given, wanted)


def _tiled(answer, case, given: list[Tensor], wanted: list[Tensor]) -> None:
    mine, most = [x.clone() for x in given], max(case.block**2, case.block * case.D, case.T * case.D)
    mode, measured = Tiles(most), case.T > 100
    if measured:  # numpy and lists
        tracemalloc.start()
    try:
        with mode, torch.autograd.graph.saved_tensors_hooks(mode.stop, mode.stop):
            found = answer(*mine, case.block)
        taken = tracemalloc.get_traced_memory()[1] if measured else 0
    finally:
        tracemalloc.stop()
    assert not mode.refused, f"{case}: {mode.refused}"
    # 400 bytes for each number of the result: an answer in a process of its own sends it as a text, which is read here
    allowed = 18 * most * 8 + 2**16 + 400 * 3 * case.T * case.D
    assert taken < allowed, (
        f"{case}: {taken // 1000:,} kB taken at once, and {allowed // 1000:,} kB are enough for tiles: no matrix of "
        f"{case.T} x {case.T} may exist"
    )
    found = as_list(found, f"{case}: (dq, dk, dv)", 3)
    hints = (
        "dq = scale · ds k, with ds = p (do · v - δ) and δ = o · do of the query",
        "dk = scale · dsᵀ q, of all queries that see the key",
        "dv = pᵀ do, of all queries that see the key, with p = exp(score - lse)",
    )
    for name, one, expected, hint in zip(("dq", "dk", "dv"), found, wanted, hints):
        expect(one, expected, 1e-7, f"{case}: {name}: {hint}")
    for name, one, before in zip(("q", "k", "v", "out", "lse", "upstream"), mine, given):
        expect(one, before, hint=f"{case}: {name} must stay as it is")
