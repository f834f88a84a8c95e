"""Values to JSON and back: what is data arrives as it was, what is not is refused, and damage is no crash."""

from __future__ import annotations

import contextlib
import math
import random
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest
import torch

from minillm.course.classroom.plain_values import NotPlainError, dumps, loads

SAME = [
    None, True, 0, -(2**80), 1.5, math.inf, "한국어 \ud800 \n", b"\x00\xff", bytearray(b"ab"), 1 + 2j,
    [], (1, [2, (3,)]), {1, 2}, frozenset((1, 2)), {"a": {(1, 2): [None]}}, range(1, 9, 3),
]  # fmt: skip


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_data_arrives_as_it_was(value):
    found = loads(dumps(value))
    assert type(found) is type(value)
    assert found == value


def test_a_generator_arrives_as_the_list_of_what_it_gives():
    assert loads(dumps(n * n for n in range(4))) == [0, 1, 4, 9]
    assert loads(dumps((zip([1], [2]), {"a": 1}.keys()))) == ([(1, 2)], ["a"])


@pytest.mark.parametrize("dtype", ["?", "u1", "<i4", ">i8", "f2", "f4", "f8", "c16"])
def test_arrays(dtype):
    for shape in ((), (0, 3), (2, 3)):
        value = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
        found = loads(dumps(value))
        assert (found.dtype, found.shape) == (value.dtype, shape)
        np.testing.assert_array_equal(found, value)
    assert isinstance(loads(dumps(np.float32(2.5))), np.float32)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64]
)
def test_tensors(dtype):
    for shape in ((), (0, 3), (2, 3)):
        value = torch.arange(math.prod(shape)).reshape(shape).to(dtype)
        found = loads(dumps(value))
        assert (found.dtype, tuple(found.shape)) == (dtype, shape)
        assert torch.equal(found, value)
    assert torch.equal(loads(dumps(torch.ones(3, 2).T)), torch.ones(2, 3))
    assert loads(dumps(torch.from_numpy(np.frombuffer(b"", "<i8").copy()))).shape == (0,)
    assert not loads(dumps(torch.ones(2, requires_grad=True))).requires_grad


def test_text_of_numpy_arrives_as_text():
    for value in (np.array(["둘", "one"]), np.array([["a"], ["b"]]), np.array([], dtype=str), np.str_("셋")):
        assert loads(dumps(value)) == value.tolist()
    assert loads(dumps([np.str_("셋")])) == ["셋"]


def test_parts_of_complex_tensors():
    """A real part lies with stride 2, also where it is one number; a conjugate is not worked out before it is asked."""
    for count in (0, 1, 3):
        value = torch.complex(torch.arange(count).double() + 1, torch.arange(count).double() - 5)
        for part in (value, value.real, value.imag, value.conj(), value.conj().imag):
            found = loads(dumps(part))
            assert found.dtype == part.dtype
            assert found.tolist() == part.tolist()


def test_subclasses_arrive_as_what_they_extend():
    class Liar(list):
        def __eq__(self, other):
            return True

    for value, plain in [
        (Liar([1]), [1]), (Counter("aab"), {"a": 2, "b": 1}), (OrderedDict(a=1), {"a": 1}),
        (namedtuple("P", "x y")(1, 2), (1, 2)), (type("Text", (str,), {"__str__": lambda self: "lie"})("a"), "a"),
    ]:  # fmt: skip
        found = loads(dumps(value))
        assert type(found) is type(plain)
        assert found == plain


def itself():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        len,
        iter([1]),
        itself(),
        [object()],
        np.array([object()]),
        torch.ones(2).to_sparse(),
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_data_is_refused(value):
    with pytest.raises(NotPlainError):
        dumps(value)


def test_damage_is_refused_or_is_other_data():
    dice = random.Random(0)
    texts = [dumps(SAME), dumps([np.arange(6).reshape(2, 3), torch.ones(2, 2), np.float32(1)])]
    for number in range(2000):
        text = list(texts[number % 2])
        for _ in range(dice.randint(1, 4)):
            text[dice.randrange(len(text))] = dice.choice('[]{}",0129aT\\n-')
        with contextlib.suppress(NotPlainError):
            loads("".join(text))
    for bad in (
        "",
        "3",
        "[]",
        "{}",
        '["plain", []]',
        '["object", 1]',
        '["array", "O", [1], "AAAA"]',
        '["list", 3]',
    ):
        with pytest.raises(NotPlainError):
            loads(bad)
