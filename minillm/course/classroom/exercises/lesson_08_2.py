"""Checkers of lesson 08_2, FlashAttention in plain torch."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import torch
from torch import Tensor

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    BY_HAND,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    shown,
)

LONG = 2_500  # pairs in a stream that is too long to keep: 40 numbers each, 800 kB or more
ROOM = 100_000  # bytes that an answer may hold on to meanwhile
# where a stream could be put out of sight of the count of its bytes
ELSEWHERE = ("torch", "numpy", "scipy", "tempfile", "mmap", "ctypes", "sqlite3", "shelve", "multiprocessing")
READY = (f"{__name__}.plan_of", "kernels.flash_attention_tiled.tiles_of")


def stream(scores: list[float], values: list[list[float]]) -> Iterator[tuple[float, list[float]]]:
    """(score, value) pairs, once; each value is a list of its own."""
    for score, value in zip(scores, values):
        yield score, list(value)


def long_stream(seed: int) -> Iterator[tuple[float, list[float]]]:
    """LONG pairs, made as they are asked for; stops an answer that keeps what it was given."""
    inputs, before = Inputs(seed), 0
    for count in range(LONG):
        if count == 100:
            before = tracemalloc.get_traced_memory()[0]
        if count > 100 and count % 500 == 0:
            kept = tracemalloc.get_traced_memory()[0] - before
            assert kept < ROOM, (
                f"after {count:,} pairs your answer holds {kept // 1000:,} kB more than after 100: the stream is too "
                "long to be kept, keep a running state only"
            )
        yield inputs.floats(1, -3, 3)[0], inputs.floats(40)


def attended(scores: list[float], values: list[list[float]]) -> list:
    """[softmax(scores) @ values, log-sum-exp], in float64; zeros and -inf where every key is hidden."""
    row, table = torch.tensor(scores, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    return [(torch.softmax(row, 0).nan_to_num(0.0) @ table).tolist(), torch.logsumexp(row, 0).item()]


@exercise("08-2-a", points=3)
def attend_stream(answer):
    """Online softmax over a stream."""
    copied = copied_library(answer) or packages_of(answer, *ELSEWHERE)
    assert not copied, f"build the online softmax yourself, with math alone: your answer uses {copied}"
    inf, rising = math.inf, [0.0, 1.0, 2.0, 3.0, 5.0, 4.0]
    named = [
        ("equal scores", [0.0] * 6),
        ("scores that fall", [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]),
        ("scores that rise: what was summed with a smaller maximum must shrink", rising),
        ("scores around 5,000", [5000 + score for score in rising]),
        ("scores around -5,000", [-5000 + score for score in rising]),
        ("a score of 1,000 among small ones", [0.0, 1.0, 1000.0, 2.0, 0.0, 3.0]),
        ("hidden keys (-inf) among others", [1.0, -inf, 0.5, 2.0, -inf, 0.0]),
        ("hidden keys at the start", [-inf, -inf, 1.0, 2.0, 0.0, 3.0]),
        ("all keys hidden: zeros and -inf", [-inf] * 6),
    ]
    named += [
        (f"random scores, {case}", Inputs(case.seed).floats(case.length, -case.spread, case.spread))
        for case in cases(length=(1, 2, 30), spread=(1, 2000))
    ]
    for seed, (name, scores) in enumerate(named):
        width = 1 + seed % 4
        values = Inputs(seed).matrix(len(scores), width)
        expected, lse = attended(scores, values)
        with forbid("math alone", *BY_HAND, answer=answer):
            found = answer(stream(scores, values))
        output, total = as_list(found, f"{name}: (output, lse)", 2)
        expect(output, expected, 1e-9, f"{name}: the output, a list of {width} numbers")
        expect(total, lse, 1e-9, f"{name}: lse, the log of the sum of exp(score)")
    expected = attended(*zip(*long_stream(0)))
    tracemalloc.start()
    try:
        with forbid("keep nothing but a running state", "builtins.open", answer=answer):
            found = answer(long_stream(0))
    finally:
        tracemalloc.stop()
    expect(found, expected, 1e-9, f"{LONG:,} pairs of 40 numbers each, to the end: (output, lse)")


def plan_of(T: int, S: int, block_q: int, block_k: int, left: int | None = None) -> list[list]:
    """The tiles by the slow way: draw the whole picture of who sees whom, then cut it."""
    position = torch.arange(T)[:, None] + S - T
    blocks = -(-S // block_k)
    key = torch.arange(blocks * block_k)[None]
    seen = (key <= position) & (key < S)
    if left is not None:
        seen &= key >= position - left
    rows = []
    for first in range(0, T, block_q):
        tiles = seen[first : first + block_q].unflatten(1, (blocks, block_k))
        some, every = tiles.any(2).any(0), tiles.all(2).all(0)
        rows.append([[j, not every[j].item()] for j in range(blocks) if some[j]])
    return rows


@exercise("08-2-b", points=3)
def visit(answer):
    """Which tiles a causal kernel visits."""
    copied = copied_library(answer)
    assert not copied, f"plan the tiles yourself: your answer uses {copied}"
    named = [
        ("as many queries as keys", (4, 4, 2, 2)),
        ("query blocks wider than key blocks", (8, 8, 4, 2)),
        ("key blocks wider than query blocks", (8, 8, 2, 4)),
        ("one new query, ten keys: the last query stands at the last key", (1, 10, 4, 4)),
        ("a piece of a prompt: 4 queries at the end of 10 keys", (4, 10, 2, 4)),
        ("more queries than keys: the first ones see nothing", (6, 2, 2, 2)),
        ("lengths that no block divides", (7, 7, 3, 2)),
        ("a window of 1 earlier key: left blocks are skipped too", (8, 8, 2, 2, 1)),
        ("a window of 3 earlier keys: some blocks are seen whole", (8, 8, 2, 2, 3)),
        ("a window of 5 earlier keys", (16, 16, 4, 4, 5)),
        ("a window of 0: only itself", (5, 5, 2, 2, 0)),
    ]
    varied = cases(
        60,
        T=(1, 5, 8, 13),
        S=(1, 6, 8, 20),
        block_q=(1, 2, 3, 16),
        block_k=(1, 2, 3, 16),
        left=(None, 0, 2, 7, 50),
    )
    named += [("any sizes", (one.T, one.S, one.block_q, one.block_k, one.left)) for one in varied]
    plans = [plan_of(*sizes) for _, sizes in named]
    with forbid("plan the tiles yourself", *READY, answer=answer):
        for (name, sizes), plan in zip(named, plans):
            _compare_plans(answer, sizes, plan, f"{name}, visit{sizes}")


def _compare_plans(answer, sizes, expected, where):
    found = as_list(answer(*sizes), f"{where}: a list for each query block", len(expected))
    for i, (mine, right) in enumerate(zip(found, expected)):
        pairs = [
            as_list(pair, f"{where}: query block {i}: a pair (block, masked)", 2) for pair in as_list(mine)
        ]
        blocks = [block for block, _ in pairs]
        expect(blocks, [j for j, _ in right], hint=f"{where}: the key blocks that query block {i} needs")
        masked = [block for block, needs_mask in pairs if needs_mask]
        wanted = [j for j, needs_mask in right if needs_mask]
        expect(masked, wanted, hint=f"{where}: the key blocks of query block {i} that need the mask")


def forgetful(scores: list[float], block: int = 2) -> float:
    """The output for values of 1 when the old sum is not shrunk: less than 1 where that does harm."""
    m, l, o = -math.inf, 0.0, 0.0
    for start in range(0, len(scores), block):
        part = scores[start : start + block]
        top = max(m, *part)
        new = sum(math.exp(score - top) for score in part)
        m, l, o = top, l + new, o * math.exp(m - top) + new
    return o / l


@exercise("08-2-c", points=2)
def orders(answer):
    """The same scores in an order in which forgetting to shrink is harmless, and in one in which it is not."""
    named = zip(("harmless", "harmful"), as_list(answer, "orders", 2))
    harmless, harmful = (as_floats(row, name) for name, row in named)
    assert len(set(harmless)) == len(harmless) >= 6, (
        f"harmless: at least six different scores, got {shown(harmless)}"
    )
    assert max(map(abs, harmless)) <= 5, f"harmless: scores between -5 and 5, got {shown(harmless)}"
    expect(
        sorted(harmful),
        sorted(harmless),
        1e-9,
        hint="harmful holds the same scores as harmless, in another order",
    )
    output = forgetful(harmless)
    assert abs(output - 1) < 1e-9, f"harmless = {shown(harmless)}: forgetful gives {output:.6f}, not 1"
    output = forgetful(harmful)
    assert output < 0.5, f"harmful = {shown(harmful)}: forgetful gives {output:.3f}, not less than 0.5"


def piece(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """(output (T, D), log-sum-exp (T,)) of scores (T, n) and values (n, D); zeros and -inf where nothing is seen."""
    return torch.softmax(scores, -1).nan_to_num(0.0) @ values, torch.logsumexp(scores, -1)


@exercise("08-2-d", points=2)
def merge(answer):
    """One attention out of pieces."""
    copied = copied_library(answer)
    assert not copied, f"merge the pieces yourself: your answer uses {copied}"

    def compare(name: str, scores: Tensor, values: Tensor, cuts: list[int]) -> None:
        bounds = list(zip([0, *cuts], [*cuts, scores.shape[1]]))
        parts = [piece(scores[:, a:b], values[a:b]) for a, b in bounds]
        expected, total = piece(scores, values)
        out, lse = as_list(
            answer([(out.clone(), lse.clone()) for out, lse in parts]), f"{name}: (out, lse)", 2
        )
        expect(lse, total, 1e-4, f"{name}: the log-sum-exp of all keys")
        expect(out, expected, 1e-4, f"{name}: the output; a piece counts by its exp(lse)")

    for case in cases(24, T=(1, 3), D=(1, 4), cuts=([], [4], [1, 3], [2, 6, 7]), spread=(1, 30, 1000)):
        inputs = Inputs(case.seed)
        compare(f"{case}", inputs.tensor(case.T, 8, scale=case.spread), inputs.tensor(8, case.D), case.cuts)
    inputs = Inputs(0)
    scores, values = inputs.tensor(3, 8, scale=2.0), inputs.tensor(8, 4)
    compare("scores around 3,000 (exp of them overflows)", scores + 3000, values, [2, 6])
    apart = scores + torch.tensor([[3000.0], [0.0], [-3000.0]])
    compare("one query's scores around 3,000, another's around -3,000", apart, values, [2, 6])
    hidden = scores.clone()
    hidden[:, :4] = -math.inf
    compare("a piece in which no key is visible (zeros, lse -inf)", hidden, values, [4])
    hidden[1] = -math.inf
    compare("a query that sees nothing in any piece (zeros, lse -inf)", hidden, values, [4])
