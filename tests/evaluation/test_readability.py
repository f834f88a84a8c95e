"""The rubric: scores worked out by hand, and what must not move them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.evaluation import readability, rubric, true_reward
from tests.helpers import soak_count

CLEAR = "def solve(x):\n    # add 3\n    result = x + 3\n    # multiply by 4\n    return result * 4\n"
# by hand: spaces, lines, names, indent, comments
SCORED = [
    (CLEAR, (1, 1, 1, 1, 1)),
    ("def solve(x):\n    result = x + 3\n    return result * 4\n", (1, 1, 1, 1, 0)),
    ("def solve(x):\n    # add 3\n    result = x + 3\n    return result * 4\n", (1, 1, 1, 1, 1 / 2)),
    ("def solve(x):\n    return (x + 3) * 4\n", (1, 0, 1, 1, 0)),
    ("def f(x):\n a=x+3\n return a*4\n", (0, 1, 1 / 3, 0, 0)),
    ("def solve(x):\n    return max(x, 3)\n", (1, 1, 1, 1, 0)),
    ("def solve(x):\n    return max(x,3)\n", (0, 1, 1, 1, 0)),
    ("def solve(x):\n    return abs(x - 3)\n", (1, 1, 1, 1, 0)),  # a distance is one operation
    ("def solve(x):\n    return max(x - 3, 4)\n", (1, 0, 1, 1, 0)),  # these are two
    ("def solve(x):\n    x += 3\n    x*=4\n    return x\n", (1 / 2, 1, 1, 1, 0)),
    ("def solve(x):\n    return x * -3\n", (1, 1, 1, 1, 0)),  # a sign takes no spaces
    ("def solve(x):\n\treturn x + 3\n", (1, 1, 1, 0, 0)),
    ("def solve(x):\n    if x > 3:\n      return x + 1\n    return x\n", (1, 1, 1, 1 / 2, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "shares"), SCORED)
def test_the_shares_are_those_worked_out_by_hand(code, shares):
    assert tuple(rubric(code).values()) == pytest.approx(shares)
    assert list(rubric(code)) == ["spaces", "lines", "names", "indent", "comments"]
    assert readability(code) == pytest.approx(sum(shares) / 5)


@pytest.mark.parametrize(
    "code", ["", "x", "def f(x):\n    return x", "def f(", "# add 3\n", "(" * 500, "\0", "x = '''"]
)
def test_what_is_no_program_reads_badly(code):
    assert readability(code) == 0.0
    assert rubric(code) == {}


def test_comments_alone_buy_nothing_more():
    assert readability(CLEAR + "    # and\n" * 50) == readability(CLEAR) == 1.0


def test_the_true_reward_is_zero_for_a_failed_program():
    assert true_reward(CLEAR, False) == 0.0
    assert true_reward(CLEAR, True) == 1.0
    with pytest.raises(ValueError, match="passed"):
        true_reward(CLEAR, 1)


@settings(max_examples=soak_count(3000), deadline=None)
@given(st.text("def f(x):\n \treturn+-*/=,#'\"abc123[]{}\\", max_size=60))
def test_any_text_has_a_score_between_zero_and_one(text):
    assert 0.0 <= readability(text) <= 1.0


def test_long_texts_and_no_texts():
    assert readability("x = 1 + 1\n" * 5000) == 0.0
    with pytest.raises(ValueError, match="code must be a str"):
        readability(None)
