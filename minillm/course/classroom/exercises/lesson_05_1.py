"""Checkers of lesson 05_1, number formats and what is in memory."""

import math

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
from minillm.quantization import FloatFormat, encode_plain, take_apart

BUILD = "build it yourself"
FORMATS = "minillm.quantization.number_formats"
READY = [
    f"{FORMATS}.{name}"
    for name in ("encode", "encode_plain", "rounded", "decode", "decode_plain", "take_apart")
]


@exercise("05-1-a", points=3)
def to_fields(answer):
    """The fields of the nearest number."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    asked = []
    for case in cases(exponent_bits=(2, 3, 5, 8), fraction_bits=(1, 3, 7, 10, 23)):
        form = FloatFormat("of the exercise", case.exponent_bits, case.fraction_bits)
        for value in _hostile(form, Inputs(case.seed)):
            asked.append((case, value, list(take_apart(encode_plain(value, form), form)[:3])))
    with forbid(BUILD, *READY, answer=answer):
        for case, value, expected in asked:
            found = answer(value, case.exponent_bits, case.fraction_bits)
            hint = f"value={value!r} ({value.hex()}), {case}"
            expect(
                as_list(found, f"{hint}: the fields", 3), expected, hint=f"{hint}: sign, exponent, fraction"
            )


def _hostile(form, inputs):
    """Values at which a format's rules are seen."""
    step, first, last = form.epsilon, form.smallest, form.largest
    half = math.ldexp(1.0, form.bias - form.fraction_bits - 1)  # of a step at the end
    yield from (
        1.0,
        -1.0,
        1 + step,
        1 + step / 2,
        1 + 1.5 * step,
        1 + 0.6 * step,
        1 + 1.4 * step,
        2 - step / 4,
        1 + step / 2 + 2.0**-40,  # nearly ties: who rounds to another format first makes ties of them
        1 + 1.5 * step - 2.0**-40,
    )
    yield from (0.0, -0.0, first, first / 2, 0.51 * first, 1.5 * first, -0.75 * first, 2.5 * first)
    yield from (
        form.smallest_normal,
        -form.smallest_normal * (1 - step / 4),
        form.smallest_normal * (1 - step),
    )
    yield from (last, -last, last + half * 0.98, last + half, -last - 2 * half, 2 * last)
    yield from (math.inf, -math.inf, 1e300, -5e-324)
    for number in inputs.floats(6, -2.0, 2.0):
        yield math.ldexp(number, inputs.integer(-form.bias - form.fraction_bits, form.bias))


@exercise("05-1-b", points=3)
def largest(answer):
    """Rows that fit into a budget."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    choices = {
        "layers": (1, 2, 12),
        "x": (1, 7, 4096),
        "more": (0, 3, 15),
        "tail": (0, 5, 60),
        "room": (-2, 0, 1, 9, 400),
    }
    for case in cases(most=60, **choices, over=(0, 1), checkpointing=(False, True)):
        fixed = Inputs(case.seed).integer(0, 10**6)
        inside, tail = case.x * (1 + case.more), case.x * case.tail
        row = (
            case.layers * case.x + max(tail, inside - case.x)
            if case.checkpointing
            else case.layers * inside + tail
        )
        budget = max(0, fixed + case.room * row - case.over)  # exactly so many rows, or one byte too little
        expected = max(0, (budget - fixed) // row)
        arguments = (budget, fixed, case.layers, case.x, inside, tail, case.checkpointing)
        names = ("budget", "fixed", "layers", "x", "inside", "tail", "checkpointing")
        found = plain(answer(*arguments))
        hint = ", ".join(f"{name}={value}" for name, value in zip(names, arguments))
        whole = isinstance(found, int) and not isinstance(found, bool)
        assert whole, f"{hint}: give a whole number, got {shown(found)}"
        expect(found, expected, hint=f"{hint}: a row takes {row} bytes")


@exercise("05-1-c", points=3)
def wrong_sum(answer):
    """A running sum that stands still."""
    expect_parts(answer, "total", "numbers", "remedy")
    function = answer["total"]
    assert callable(function), f"total must be a function, got {shown(function)}"
    copied = copied_library(function)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    with forbid(BUILD, *READY, answer=function):
        for case in cases(length=(0, 1, 2, 9, 60), fraction_bits=(1, 4, 7, 10, 23), high=(1.0, 90.0)):
            numbers = Inputs(case.seed).floats(case.length, 0.001, case.high)
            if case.length == 9:  # ties, what is nearly one, and limits of the exponent that are not there
                half = 2.0**-case.fraction_bits / 2
                numbers = [1 + half + 2.0**-40, half, 3.0, 1e30, 1.5e-30, 1e12, 2.0**60, 2.0**59, 7.0]
                far = 2.0**-160 if case.high == 1.0 else 2.0**150
                numbers = [far * number for number in numbers[:3]] if case.fraction_bits > 7 else numbers
            given = list(numbers)
            found = function(given, case.fraction_bits)
            expect(given, numbers, hint=f"{case}: the list must stay as it was")
            expect(found, _total(numbers, case.fraction_bits), hint=f"{case}: the sum of {shown(numbers)}")
    numbers = as_floats(answer["numbers"], "numbers")
    assert 3 <= len(numbers) <= 3000, f"numbers must be 3 to 3,000 numbers, got {len(numbers)}"
    assert min(numbers) >= 0.001, f"numbers must be at least 0.001, got {min(numbers):g}"
    assert max(numbers) <= 100, f"numbers must be at most 100, got {max(numbers):g}"
    true, in_bf16, in_fp16 = math.fsum(numbers), _total(numbers, 7), _total(numbers, 10)
    assert in_bf16 < true / 2, f"the sum with 7 bits is {in_bf16:g}: not less than half of the true {true:g}"
    assert abs(in_fp16 - true) <= 0.05 * true, (
        f"the sum with 10 bits is {in_fp16:g}, not within 5 % of {true:g}"
    )
    letter = plain(answer["remedy"], "remedy")
    assert isinstance(letter, str), f"remedy must be a letter, got {shown(letter)}"
    letter = letter.strip().lower().rstrip(").:")
    assert letter in {"a", "b", "c", "d"}, f"remedy must be 'a', 'b', 'c' or 'd', got {shown(letter)}"
    assert letter == "b", (
        f"remedy: {letter!r} is not it; which number has too few bits, the sum or what is added?"
    )


def _total(numbers, fraction_bits):
    """The sum, each partial sum rounded."""
    result = 0.0
    for number in numbers:
        result = _rounded(result + _rounded(number, fraction_bits), fraction_bits)
    return result


def _rounded(value, fraction_bits):
    mantissa, power = math.frexp(value)  # value = mantissa · 2^power, 1/2 <= mantissa < 1
    return math.ldexp(round(math.ldexp(mantissa, fraction_bits + 1)), power - fraction_bits - 1)
