"""Checkers of lesson 05_4, LoRA."""

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    DERIVATIVES,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)

READY = [
    "minillm.nn.lora.LoRALinear.forward", "minillm.nn.lora.LoRALinear.path", "minillm.nn.lora.LoRALinear.change",
    "minillm.training.lora.apply_lora",
]  # fmt: skip


@exercise("05-4-a", points=3)
def by_hand(answer):
    """Numbers that learn, their bytes, scales."""
    found = as_floats(answer, "prediction", 6)
    wanted = (
        (16 * (4096 + 11008), "A has r · I numbers and B has O · r"),
        (32 * 4 * 8 * (4096 + 4096), "32 blocks, four matrices each, r (I + O) numbers a matrix"),
        (12 * 32 * 4 * 8 * (4096 + 4096), "4 bytes a gradient, 8 its two averages; the numbers themselves are no part"),
        (16 / 64, "alpha / r"),
        (16 / 64**0.5, "alpha / √r"),
        (4096 * 11008, "merged, the layer is one matrix of the old size"),
    )  # fmt: skip
    for place, (number, (right, why)) in enumerate(zip(found, wanted), 1):
        expect(number, right, 1e-6, hint=f"number {place}: {why}")


@exercise("05-4-b", points=5)
def lora_step(answer):
    """The layer and its gradients, by hand."""
    copied = copied_library(answer)
    assert not copied, f"write it yourself: your answer uses {copied}"
    for case in cases(8, N=(1, 2, 5), I=(1, 4, 7), O=(1, 3, 6), r=(1, 2, 4), alpha=(1.0, 8, 0.5)):
        shapes = ((case.N, case.I), (case.O, case.I), (case.r, case.I), (case.O, case.r), (case.N, case.O))
        x, W, A, B, g = Inputs(case.seed).tensors(*shapes)
        wanted = _by_autograd(x, W, A, B, case.alpha, g)
        given = [t.clone() for t in (x, W, A, B, g)]
        with forbid("work the gradients out by hand", *DERIVATIVES, *READY, answer=answer):
            found = answer(*given[:4], case.alpha, given[4])
        for name, before, after in zip("xWABg", (x, W, A, B, g), given):
            expect(after, before, hint=f"{case}: {name} must stay as it was")
        if type(found) is not tuple:
            found = as_list(found, "the answer", 4)
        assert len(found) == 4, f"{case}: give y and three gradients, got {len(found)} things"
        for name, mine, right in zip(("y", "∂L/∂A", "∂L/∂B", "∂L/∂x"), found, wanted):
            expect(mine, right, 2e-4, hint=f"{case}: {name}")


def _by_autograd(x, W, A, B, alpha, g):
    x, A, B = (t.double().requires_grad_() for t in (x, A, B))
    y = x @ W.double().T + alpha / len(A) * (x @ A.T @ B.T)
    return y.detach(), *torch.autograd.grad(y, (A, B, x), g.double())


@exercise("05-4-c", points=4)
def best_adapter(answer):
    """The best product of rank r."""
    for case in cases(8, O=(1, 3, 6, 9), I=(1, 4, 7), r=(1, 2, 3), rank=(0, 1, 9)):
        r = min(case.r, case.O, case.I)
        inputs, rank = Inputs(case.seed), min(case.rank, case.O, case.I)
        D = inputs.tensor(case.O, max(rank, 1)) @ inputs.tensor(max(rank, 1), case.I) * (rank > 0)
        given = D.clone()
        found = answer(given, r)
        expect(given, D, hint=f"{case}: D must stay as it was")
        if type(found) is not tuple:
            found = as_list(found, "the answer", 2)
        assert len(found) == 2, f"{case}: give A and B, got {len(found)} things"
        A, B = (torch.tensor(_matrix(one, name)) for one, name in zip(found, "AB"))
        sizes = tuple(A.shape), tuple(B.shape)
        assert sizes == ((r, case.I), (case.O, r)), (
            f"{case}: A {(r, case.I)} and B {(case.O, r)}, got {sizes}"
        )
        off = float((D.double() - B @ A).square().sum())
        best = float(torch.linalg.svdvals(D.double())[r:].square().sum())
        limit = best + 1e-4 * (1 + float(D.double().square().sum()))
        assert off <= limit, f"{case}: Σ (D - B A)² is {off:.4g}, it can be {best:.4g}"


def _matrix(value, name):
    rows = as_list(value, name)
    assert rows, f"{name} has no rows"
    found = [as_floats(row, f"a row of {name}") for row in rows]
    assert len({len(row) for row in found}) == 1, f"the rows of {name} must be equally long"
    return found


@exercise("05-4-d", points=5)
def stuck_start(answer):
    """A start without gradients, one with them, one that stays of rank 1, and three letters."""
    given = plain(answer)
    assert isinstance(given, dict), f"the answer is a dict, got {shown(given)}"
    pairs = {}
    for name in ("stuck", "slow", "narrow"):
        assert name in given, f"{name} is missing"
        pair = as_list(given[name], name, 2)
        A, B = (
            torch.tensor(_matrix(one, f"{side} of {name}"), dtype=torch.float64)
            for one, side in zip(pair, "AB")
        )
        fits = A.shape[1] == 4 and B.shape[0] == 3 and A.shape[0] == B.shape[1]
        assert fits, (
            f"{name}: A has r rows of 4 numbers and B 3 rows of r, got {tuple(A.shape)} and {tuple(B.shape)}"
        )
        pairs[name] = A, B
    A, B = pairs["stuck"]
    # ∂L/∂A = s (g B)ᵀ x is zero for every x and g where B is; ∂L/∂B = s gᵀ (x Aᵀ) where A is
    assert not B.any(), "stuck: B is not zero, so some x and g give A a gradient"
    assert not A.any(), "stuck: A is not zero, so some x and g give B a gradient"
    A, B = pairs["slow"]
    assert A.any(), "slow: A is all zeros"
    assert B.any(), "slow: B is all zeros"
    product = float((B @ A).abs().max())
    assert product < 1e-6 * float(A.abs().max() * B.abs().max()), (
        f"slow: B A must be 0, its largest number is {product:.3g}"
    )
    assert len(pairs["narrow"][0]) == 2, f"narrow: r is 2, got {len(pairs['narrow'][0])}"
    stays_narrow(*pairs["narrow"])
    reasons = {
        "agree": ("a", "r and √r are the same number where?"),
        "shared": ("b", "a key is a number that k_proj and its adapter have made; the cache knows tokens"),
        "rounded": ("b", "a code has a width; what is added to a weight may be smaller than half of it"),
    }
    for name, (right, hint) in reasons.items():
        assert name in given, f"{name} is missing"
        letter = given[name].strip().lower().rstrip(").:") if isinstance(given[name], str) else ""
        assert letter in {"a", "b", "c"}, f"{name} must be a, b or c, got {shown(given[name])}"
        assert letter == right, f"{name}: {hint}"


def stays_narrow(A, B):
    """AssertionError unless B A changes, and has rank 1 at most, in 20 steps of gradient descent and of AdamW."""
    for seed, kind in enumerate((torch.optim.SGD, torch.optim.AdamW, torch.optim.AdamW)):
        inputs = Inputs(seed)
        learned = [one.clone().requires_grad_() for one in (A, B)]
        optimizer = kind(learned, lr=0.02)
        for step in range(21):
            product = (learned[1] @ learned[0]).detach()
            sizes = torch.linalg.svdvals(product)
            assert sizes[1] <= 1e-9 * max(1.0, float(sizes[0])), (
                f"narrow: after {step} steps of {kind.__name__} B A has rank 2, its singular values are {shown(sizes)}"
            )
            x, g = inputs.tensor(5, 4).double(), inputs.tensor(5, 3).double()
            learned[0].grad = ((g @ learned[1]).T @ x).detach()
            learned[1].grad = (g.T @ (x @ learned[0].T)).detach()
            optimizer.step()
        moved = float((product - B @ A).abs().max())
        assert moved > 1e-9, f"narrow: 20 steps of {kind.__name__} must change B A, they do not"
