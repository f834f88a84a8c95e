"""pass@k: how probably at least one of k samples is right, from n samples of which c were.

    pass@k = 1 - C(n - c, k) / C(n, k)          the share of all choices of k samples that hold a right one

The plain guess 1 - (1 - c / n)^k is too low: it draws the same sample twice. Above all C(n, k) choices this one has no
bias. Computed as a product, because the binomials of large n overflow: 1 - prod (1 - k / i), i = n - c + 1, ..., n.

Book: 4.3, 13.3 LLM 평가하기. Paper: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", 2.1.
"""

from __future__ import annotations

import math

from minillm._checks import check_int


def pass_at_k(n: int, c: int, k: int) -> float:
    """n samples of one problem, c of them right; k of them are looked at, 1 <= k <= n. ValueError for other numbers."""
    check_int("n", n, 1)
    check_int("c", c, 0, n)
    check_int("k", k, 1, n)
    if n - c < k:  # no choice of k holds wrong ones alone
        return 1.0
    few, many = sorted((c, k))  # the quotient is the same with c and k exchanged: the shorter product
    return 1.0 - math.prod(1.0 - many / i for i in range(n - few + 1, n + 1))
