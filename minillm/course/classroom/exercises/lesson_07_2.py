"""Checkers of lesson 07_2, quantization."""

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
from minillm.quantization import NF4_CODEBOOK, normal_codebook, uniform_codebook

BUILD = "build it yourself"
ROOM = "minillm.quantization"
READY = [
    f"{ROOM}.blockwise.blockwise_quantize",
    f"{ROOM}.absmax.absmax_quantize",
    f"{ROOM}.zeropoint.zeropoint_quantize",
    f"{ROOM}.double.double_quantize",
    f"{ROOM}.groups.round_to_nearest",
]
MIXED = [f"{ROOM}.llm_int8.{name}" for name in ("outlier_columns", "vectorwise_product", "rounded_inputs")]


@exercise("07-2-a", points=2)
def stored_bits(answer):
    """Bits of a matrix in blocks."""
    copied = copied_library(answer)
    assert not copied, f"count it yourself: your answer uses {copied}"
    for case in cases(rows=(1, 3, 8), columns=(1, 64, 65, 130), block=(1, 7, 64, 200), second=(0, 4, 256)):
        blocks = case.rows * -(-case.columns // case.block)
        codes = 8 * case.rows * -(-case.columns // 2)
        more = 8 * blocks + 32 * -(-blocks // case.second) + 32 if case.second else 32 * blocks
        with forbid("count it yourself", *READY, answer=answer):
            found = answer(case.rows, case.columns, case.block, case.second)
        expect(found, codes + more, hint=f"{case}: {blocks} scales, {codes} bits of codes")


@exercise("07-2-b", points=3)
def to_blocks(answer):
    """Block-wise quantization."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    codebooks = {
        "NF4": NF4_CODEBOOK,
        "even": uniform_codebook()[1:],
        "3 bits": normal_codebook(3),
        "two": torch.tensor([-0.7, 1.0]),
    }
    for case in cases(
        size=(1, 5, 64, 130), block=(1, 4, 64, 200), codebook=tuple(codebooks), zeros=(False, True),
        times=(1.0, 2.0**-22, 2.0**12),
    ):  # fmt: skip
        codebook = codebooks[case.codebook]
        x = case.times * _numbers(case, codebook)  # a power of two: no number comes nearer to a border
        codes, scales = _expected(x, case.block, codebook)
        given = x.clone()
        with forbid(BUILD, *READY, answer=answer):
            found = answer(given, case.block, codebook.clone())
        expect(given, x, hint=f"{case}: x must stay as it was")
        if type(found) is not tuple:
            found = as_list(found, "the answer", 2)
        assert len(found) == 2, f"{case}: give two things, codes and scales, got {len(found)}"
        places = as_floats(found[0], f"{case}: the codes", case.size)
        sizes = as_floats(found[1], f"{case}: the scales", len(scales))
        hint = f"{case}: the scales over {case.times:g}, the largest |x| of each block"
        expect(*([one / case.times for one in both] for both in (sizes, scales)), 1e-5, hint)
        expect(places, codes, hint=f"{case}: the codes, places of the nearest entries")


def _numbers(case, codebook):
    """Random numbers, none of which lies near the middle between two entries after its block is scaled."""
    inputs = Inputs(case.seed)
    middles = (codebook[1:] + codebook[:-1]) / 2
    blocks = []
    for start in range(0, case.size, case.block):
        count = min(case.block, case.size - start)
        part = inputs.tensor(count)
        while ((part[:, None] / part.abs().max() - middles).abs() < 1e-5).any():
            part = inputs.tensor(count)
        blocks.append(torch.zeros(count) if case.zeros and not start else part)
    return torch.cat(blocks)


def _expected(x, block, codebook):
    codes, scales = [], []
    for part in x.split(block):
        scale = float(part.abs().max())
        scales.append(scale)
        for value in part.tolist():
            scaled = value / scale if scale else 0.0
            gaps = [abs(scaled - entry) for entry in codebook.tolist()]
            codes.append(gaps.index(min(gaps)))
    return codes, scales


def _round_trip(x, bits, stretched):
    """Zero-point quantization and back, with a range that includes 0 or does not."""
    top = 2**bits - 1
    low, high = float(x.min()), float(x.max())
    if stretched:
        low, high = min(low, 0.0), max(high, 0.0)
    scale = torch.tensor((high - low) / top)
    zero = torch.round(-low / scale).clamp(0, top)
    return ((torch.round(x / scale) + zero).clamp(0, top) - zero) * scale


@exercise("07-2-c", points=3)
def range_without_zero(answer):
    """A range that does not include 0."""
    expect_parts(answer, "unstretched", "numbers", "reason")
    function = answer["unstretched"]
    assert callable(function), f"unstretched must be a function, got {shown(function)}"
    copied = copied_library(function)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(size=(2, 9, 40), bits=(2, 4, 8), shift=(-6.0, -0.5, 0.0, 0.5, 6.0)):
        x = Inputs(case.seed).tensor(case.size) + case.shift
        expected = _round_trip(x, case.bits, stretched=False)
        with forbid(BUILD, *READY, answer=function):
            found = as_floats(function(x.clone(), case.bits), f"{case}: what unstretched gives", case.size)
        # a number midway between two codes may go to either
        step = float(x.max() - x.min()) / (2**case.bits - 1)
        far = [i for i, one in enumerate(found) if abs(one - float(expected[i])) > 1e-3 * step]
        midway = ((x / step).frac().abs() - 0.5).abs() < 1e-3
        wrong = [i for i in far if not midway[i]]
        hint = f"{case}: number {wrong[0] if wrong else 0} of unstretched"
        assert not wrong, f"{hint}: expected {shown(float(expected[wrong[0]]))}, got {shown(found[wrong[0]])}"
    numbers = as_floats(answer["numbers"], "numbers")
    assert 4 <= len(numbers) <= 20, f"numbers must be 4 to 20 numbers, got {len(numbers)}"
    assert max(map(abs, numbers)) <= 10, f"numbers must lie between -10 and 10, got {shown(numbers)}"
    assert max(numbers) > min(numbers), f"numbers must not all be equal, got {shown(numbers)}"
    x = torch.tensor(numbers)
    broken, right = (float((_round_trip(x, 8, one) - x).abs().max()) for one in (False, True))
    assert broken >= 50 * right, (
        f"on your numbers the largest error is {broken:.4g} without and {right:.4g} with a stretched range; "
        "it must be at least 50 times as large"
    )
    letter = plain(answer["reason"], "reason")
    assert isinstance(letter, str), f"reason must be a letter, got {shown(letter)}"
    letter = letter.strip().lower()
    assert letter in {"a", "b", "c", "d"}, f"reason must be 'a', 'b', 'c' or 'd', got {shown(letter)}"
    assert letter == "c", f"reason: {letter!r} is not it; print the zero point before and after it is cut"


@exercise("07-2-d", points=3)
def mixed_product(answer):
    """The product of LLM.int8: outlier columns as floats, the others as whole numbers."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(
        most=36, size=((1, 1, 1), (3, 5, 2), (4, 12, 7), (6, 64, 3)), outliers=(0, 1, 2, 99), empty=(False, True),
        threshold=(0.75, 3.0, 6.0),
    ):  # fmt: skip
        x, codes, scales = _planted(case)
        expected, given = _mixed(x, codes, scales, case.threshold), (x.clone(), codes.clone())
        with forbid(BUILD, *READY, *MIXED, answer=answer):
            found = answer(*given, scales.clone(), case.threshold)
        for now, before, name in zip(given, (x, codes), ("x", "codes")):
            expect(now, before, hint=f"{case}: {name} must stay as it was")
        high = min(case.outliers, case.size[1])
        hint = f"N, I, O = {case.size}, {high} outlier columns, threshold {case.threshold:g}"
        expect(found, expected, 1e-3, f"{hint}: y")


def _planted(case):
    """x with outlier columns, and a weight in codes. No x lies near the middle of two multiples of its row's scale."""
    (N, I, O), inputs = case.size, Inputs(case.seed)
    step = torch.tensor([case.threshold * (0.4 + 0.5 * inputs.floats(1, 0, 1)[0]) / 127 for _ in range(N)])
    whole = [[inputs.integer(-126, 126) + inputs.floats(1, -0.4, 0.4)[0] for _ in range(I)] for _ in range(N)]
    x = torch.tensor(whole)
    ordinary = list(range(min(case.outliers, I), I))  # the first columns are the outliers
    for row in x if ordinary else ():
        row[ordinary[inputs.integer(0, len(ordinary) - 1)]] = 127.0 * (-1) ** inputs.integer(0, 1)
    x = x * step[:, None]
    if case.empty:
        x[0] = 0
    for i in range(I - len(ordinary)):
        n = inputs.integer(0, N - 1)
        x[n, i] = (
            case.threshold * (1 if i == 0 else 5 + 20 * inputs.floats(1, 0, 1)[0]) * (-1) ** (i + case.seed)
        )
    codes = torch.tensor([inputs.integers(I, -127, 127) for _ in range(O)], dtype=torch.int8)
    order = inputs.shuffled(range(I))
    return x[:, order].contiguous(), codes, torch.tensor(inputs.floats(O, 0.002, 0.02))


def _mixed(x, codes, scales, threshold):
    """The same in plain numbers."""
    rows, weight = x.tolist(), codes.tolist()
    columns = range(len(rows[0]))
    outlier = {i for i in columns if any(abs(row[i]) >= threshold for row in rows)}
    found = []
    for row in rows:
        step = max((abs(row[i]) for i in columns if i not in outlier), default=0.0) / 127
        whole = {i: round(row[i] / step) if step else 0 for i in columns if i not in outlier}
        found.append([])
        for code, scale in zip(weight, scales.tolist()):
            exact = sum(row[i] * code[i] for i in outlier) * scale
            found[-1].append(exact + sum(whole[i] * code[i] for i in whole) * step * scale)
    return found
