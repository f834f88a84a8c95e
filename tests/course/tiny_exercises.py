"""Checkers of the tiny lesson of tests/course/lessons.py."""

from minillm.course import exercise


@exercise("99-9-a", points=2, seconds=2)
def ordered(answer):
    assert answer([2, 1]) == [1, 2], "the values should come back in order"


@exercise("99-9-b", points=1)
def count(answer):
    assert isinstance(answer, int), f"a count is a whole number, not {answer!r}"


@exercise("99-8-a", points=2, seconds=5)
def merge(answer):
    assert list(answer([b"a", b"n", b"a"], (b"a", b"n"))) == [b"an", b"a"], "a and n become one token"


@exercise("99-8-b", points=2)
def stubborn(answer):
    assert isinstance(answer, str), f"a text, not {answer!r}"
