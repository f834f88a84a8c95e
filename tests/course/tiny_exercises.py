"""Checkers of the tiny lesson of tests/course/lessons.py."""

from minillm.course import exercise


@exercise("99-9-a", points=2, seconds=2)
def ordered(answer):
    assert answer([2, 1]) == [1, 2], "the values should come back in order"


@exercise("99-9-b", points=1)
def count(answer):
    assert isinstance(answer, int), f"a count is a whole number, not {answer!r}"
