"""Checkers of lesson 02_3, attention."""

import torch

from minillm.course import exercise
from minillm.nn import attention


@exercise("02-3-a", points=2)
def attend(answer):
    """One question, with lists of numbers."""
    found = answer([1.0, 0.0], [[0.0, 1.0], [0.0, -1.0]], [[2.0, 0.0], [4.0, 8.0]])
    assert len(found) == 2, f"the answer is as wide as a value, 2 numbers here, got {found}"
    assert abs(found[0] - 3) < 1e-6, (
        "both keys are at right angles to the query: equal shares, the plain mean"
    )
    assert abs(found[1] - 4) < 1e-6, (
        "both keys are at right angles to the query: equal shares, the plain mean"
    )
    found = answer([2.0, 0.0, 0.0, 0.0], [[1.0, 0, 0, 0], [0.0, 0, 0, 0]], [[1.0], [0.0]])
    assert abs(found[0] - 0.880797) > 1e-3, "scores 2 and 0 must be divided by √D = 2 before the softmax"
    assert abs(found[0] - 0.731059) < 1e-4, (
        f"scores 1 and 0 give the first value a share of 0.731, got {found[0]:.3f}"
    )
    found = answer([2000.0], [[1.0], [0.0]], [[5.0], [7.0]])
    assert abs(found[0] - 5) < 1e-6, "a score of 2,000: subtract the largest score before exp"


@exercise("02-3-b", points=2)
def visible(answer):
    """Who sees whom."""
    assert answer(3, 3) == [[True, False, False], [True, True, False], [True, True, True]], (
        "with as many queries as keys, query t sees the keys 0 to t"
    )
    assert answer(2, 4) == [[True, True, True, False], [True] * 4], (
        "the last query stands at the last key: of 2 queries and 4 keys, the first sees 3 keys"
    )
    assert answer(3, 3, 2) == [[True, False, False], [True, True, False], [False, True, True]], (
        "a window of 2 is the token itself and the one before it"
    )


@exercise("02-3-c", points=3)
def grouped(answer):
    """Many heads that share keys."""
    generator = torch.Generator().manual_seed(0)
    for heads, kv_heads, keys in ((2, 2, 4), (4, 2, 4), (4, 1, 6)):
        q = torch.randn(2, heads, 4, 8, generator=generator)
        k, v = (torch.randn(2, kv_heads, keys, 8, generator=generator) for _ in range(2))
        found, where = answer(q, k, v), f"{heads} query heads, {kv_heads} key heads, {keys} keys"
        assert found.shape == q.shape, f"{where}: expected shape {tuple(q.shape)}, got {tuple(found.shape)}"
        expected = attention(q, k, v)
        assert torch.allclose(found, expected, atol=1e-5), (
            f"{where}: largest difference {(found - expected).abs().max():.3f}. "
            "Is it √D, a softmax over the keys, and do neighbouring query heads share a key head?"
        )
