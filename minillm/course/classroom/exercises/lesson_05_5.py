"""Checkers of lesson 05_5, QLoRA."""

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)
from minillm.quantization import NF4_CODEBOOK, blockwise_quantize, dynamic_codebook

READY = (
    "minillm.training.adamw8bit.adamw_8bit", "minillm.training.adamw8bit.AdamW8bit.step",
    "minillm.training.adamw.adamw_plain", "minillm.quantization.blockwise.blockwise_quantize",
    "minillm.quantization.blockwise.BlockwiseQuantized.dequantize", "torch.optim.AdamW.step", "torch.optim.Adam.step",
)  # fmt: skip
PAGES = ("minillm.training.paged.Pages.__getitem__", "minillm.training.paged.Pages.new")


@exercise("05-5-a", points=3)
def by_hand(answer):
    """Bytes, bits, gradients and reads."""
    n = 4096 * 4096
    found = as_floats(answer, "prediction", 7)
    wanted = (
        (n // 2 + 4 * n // 64, "half a byte a weight, and 4 bytes for each 64 of them"),
        (n // 2 + n // 64 + 4 * (n // 64 // 256) + 4, "a byte a scale, 4 for each 256 scales, 4 for the mean"),
        (2 * (8 + 32 / 256), "two codes of 8 bits, and for each a 256th of 32 bits"),
        (8 * (4096 + 4096), "A and B alone: the codes get no gradient"),
        (0, "the weight is opened again on the way back"),
        (12, "each page leaves shortly before its turn"),
        (7, "of the 5 that are there none is read"),
    )  # fmt: skip
    for place, (number, (right, why)) in enumerate(zip(found, wanted), 1):
        expect(number, right, 1e-9, hint=f"number {place}: {why}")


@exercise("05-5-b", points=5)
def coded_step(answer):
    """AdamW whose averages are codes."""
    copied = copied_library(answer)
    assert not copied, f"write it yourself: your answer uses {copied}"
    choices = {"block": (1, 4, 7, 64), "size": (2, 16, 256), "zeros": (False, True)}
    for case in cases(14, n=(1, 5, 64, 130), step=(1, 2, 50), lr=(0.5, 0.01), **choices):
        inputs = Inputs(case.seed)
        w, g = inputs.tensors((case.n,), (case.n,))
        g = torch.zeros(case.n) if case.zeros else g * 10 ** (4 * inputs.tensor(case.n).clamp(-1, 1))
        books = _book(inputs, case.size, signed=True), _book(inputs, case.size, signed=False)
        m, v = (_coded(inputs, case, book, case.zeros and case.step == 1) for book in books)
        given = [w.clone(), g.clone(), *((codes.clone(), scales.clone()) for codes, scales in (m, v))]
        given.append(tuple(book.clone() for book in books))
        with forbid("write the step yourself", *READY, answer=answer):
            found = answer(*given, case.block, case.step, case.lr)
        hint = f"n={case.n}, block={case.block}, {case.size} values, step={case.step}, lr={case.lr}, seed={case.seed}"
        for name, after, before in zip(
            ("w", "g", "m's codes", "m's scales", "v's codes", "v's scales", "m's book", "v's book"),
            (given[0], given[1], *given[2], *given[3], *given[4]),
            (w, g, *m, *v, *books),
        ):
            expect(after, before, hint=f"{hint}: {name} must stay as it was")
        found = list(found) if type(found) is tuple else as_list(found, "the answer", 3)
        assert len(found) == 3, f"{hint}: give w and two pairs, got {len(found)} things"
        old_m, old_v = (
            book[codes].double() * _spread(scales.double(), case)
            for book, (codes, scales) in zip(books, (m, v))
        )
        new_m, new_v = 0.9 * old_m + 0.1 * g.double(), 0.999 * old_v + 0.001 * g.double().square()
        root = (new_v / (1 - 0.999**case.step)).sqrt() + 1e-8
        wanted = w.double() - case.lr * (new_m / (1 - 0.9**case.step)) / root
        expect(found[0], wanted, 1e-4, hint=f"{hint}: the new w")
        for name, pair, numbers, book in zip("mv", found[1:], (new_m, new_v), books):
            _closed(pair, numbers, book, case, f"{hint}: {name}")


def _book(inputs, size, signed):
    """Ascending values, of which no two are nearly equal; of v's many are small."""
    steps = 1 + torch.rand(size - 1, generator=torch.Generator().manual_seed(inputs.integer(0, 10**6)))
    rising = torch.cat([torch.zeros(1), steps.cumsum(0) / steps.sum()])
    return (2 * rising - 1 if signed else rising**2).float()


def _coded(inputs, case, book, zeros):
    codes = torch.tensor(inputs.integers(case.n, 0, len(book) - 1))
    scales = inputs.tensor(-(-case.n // case.block)).abs() + 0.01
    return codes, torch.zeros_like(scales) if zeros else scales


def _spread(scales, case):
    return scales.repeat_interleave(case.block)[: case.n]


def _closed(pair, numbers, book, case, hint):
    """AssertionError for scales that are not the largest, or codes that are not the nearest."""
    pair = list(pair) if type(pair) is tuple else as_list(pair, f"{hint}: the pair", 2)
    assert len(pair) == 2, f"{hint}: a pair is codes and scales, got {len(pair)} things"
    codes = as_list(pair[0], f"{hint}: the codes", case.n)
    whole = all(
        isinstance(code, int) and not isinstance(code, bool) and 0 <= code < len(book) for code in codes
    )
    assert whole, f"{hint}: codes must be whole numbers from 0 to {len(book) - 1}, got {shown(codes)}"
    scales = torch.stack([part.abs().max() for part in numbers.split(case.block)])
    found = as_floats(pair[1], f"{hint}: the scales", len(scales))
    for place, (mine, right) in enumerate(zip(found, scales.tolist())):
        assert abs(mine - right) <= 2e-4 * right + 1e-30, (  # 1 - 0.999 in float32 is not 0.001
            f"{hint}: the scale of block {place} is {mine:.6g}, its largest |number| {right:.6g}"
        )
    ratio = numbers / _spread(torch.where(scales > 0, scales, 1.0), case)
    distances = (ratio[:, None] - book.double()).abs()
    mine = distances.gather(1, torch.tensor(codes)[:, None])[:, 0]
    limit = distances.amin(dim=1) * 1.001 + 1e-4 * ratio.abs() + 1e-12
    wrong = (mine > limit).nonzero().flatten().tolist()
    assert not wrong, (
        f"{hint}: number {wrong[0]} is {float(ratio[wrong[0]]):.6g} of its scale; code {codes[wrong[0]]} stands for "
        f"{float(book[codes[wrong[0]]]):.6g}, another is nearer"
    )


@exercise("05-5-c", points=4)
def faults(answer):
    """Pages brought in, the least recently used leaves."""
    copied = copied_library(answer)
    assert not copied, f"count them yourself: your answer uses {copied}"
    for case in cases(16, uses=(0, 1, 12, 60), count=(1, 3, 8), share=(0.2, 0.5, 1.0), walk=(0, 1, 2)):
        inputs, count = Inputs(case.seed), case.count
        drawn = inputs.integers(case.uses, 0, count - 1)
        forth = [n % count for n in range(case.uses)]
        back = [min(n % (2 * count), 2 * count - 1 - n % (2 * count)) for n in range(case.uses)]
        _count(answer, (drawn, forth, back)[case.walk], [1] * count, max(1, round(case.share * count)))
    for case in cases(12, count=(6, 9), largest=(3, 9), share=(0.35, 0.6)):  # pages of many sizes
        inputs = Inputs(case.seed)
        sizes = inputs.integers(case.count, 1, case.largest)
        order = inputs.integers(80, 0, case.count - 1)
        _count(answer, order, sizes, max(max(sizes), round(case.share * sum(sizes))))


def _count(answer, order, sizes, budget):
    wanted, given = _faults(order, sizes, budget), (list(order), list(sizes))
    with forbid("count them yourself", *PAGES, answer=answer):
        found = plain(answer(*given, budget))
    hint = f"order={shown(order)}, sizes={sizes}, budget={budget}"
    expect(given, (order, sizes), hint=f"{hint}: the lists must stay as they were")
    whole = isinstance(found, int) and not isinstance(found, bool)
    assert whole, f"{hint}: give a whole number, got {shown(found)}"
    expect(found, wanted, hint=hint)


def _faults(order, sizes, budget):
    last, count = {}, 0  # page -> when it was used last, of those in memory
    for now, page in enumerate(order):
        count += page not in last
        last[page] = now
        while sum(sizes[one] for one in last) > budget:
            del last[min(last, key=last.get)]
    return count


@exercise("05-5-d", points=4)
def what_rounding_takes(answer):
    """A change that is gone, averages that even values lose, and three letters."""
    given = plain(answer)
    expect_parts(given, "weights", "change", "averages", "floats", "pages", "learns")
    weights, change, averages = (
        torch.tensor(as_floats(given[name], name, 8)) for name in ("weights", "change", "averages")
    )
    assert bool(torch.isfinite(torch.cat([weights, change, averages])).all()), "all numbers must be finite"
    largest = float(weights.abs().max())
    assert abs(largest - 1) < 1e-6, f"the largest |number| of weights must be 1, it is {largest:.6g}"
    large = int((change.abs() >= 0.02 - 1e-9).sum())
    assert large >= 6, f"at least six numbers of change must be 0.02 or more in absolute value, {large} are"
    before, after = (blockwise_quantize(one, 8, NF4_CODEBOOK) for one in (weights, weights + change))
    expect(after.scales, before.scales, 1e-6, hint="the scale of weights + change and of weights")
    codes = [one.dequantize() for one in (after, before)]
    same = int((codes[0] == codes[1]).sum()) if float(after.scales) == float(before.scales) else None
    moved = float((codes[0] - codes[1]).abs().max())
    assert moved < 1e-5, f"the codes of weights + change are not those of weights ({same} of 8 are the same)"
    low = float(averages.min())
    assert low > 0, f"averages must be above 0, the smallest is {low:.6g}"
    for name, book, fits in (
        ("even values", torch.linspace(0, 1, 256), lambda zeros: zeros >= 6),
        ("the dynamic codebook", dynamic_codebook(signed=False), lambda zeros: zeros == 0),
    ):
        zeros = int((blockwise_quantize(averages, 8, book).dequantize() == 0).sum())
        assert fits(zeros), f"averages: with {name} {zeros} of 8 become 0"
    reasons = {
        "floats": ("b", "what were the weights that the adapter learned to work with?"),
        "pages": ("c", "a page that comes back is the page that left"),
        "learns": ("a", "what would a code be after a step of 0.001?"),
    }
    for name, (right, hint) in reasons.items():
        assert given[name] in ("a", "b", "c"), f"{name} must be a, b or c, got {shown(given[name])}"
        assert given[name] == right, f"{name}: {hint}"
