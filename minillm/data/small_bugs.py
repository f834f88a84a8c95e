"""Twenty small functions, each with one fault, the tests that its owner wrote, and hidden tests.

    bug = small_bugs()[0]
    bug.code          the function with the fault        bug.tests    4 expressions that should be True; the fault
    bug.fixed         as it should be                                 breaks the first of them
    bug.hidden        7 more, which whoever repairs it does not see

They are written by hand, in the part of Python that `minillm.sandbox.evaluate` reads. The faults are those of students
and of mutation testing: off by one, a wrong operator, a missing branch, swapped arguments. Three of them (a missing
branch, a wrong constant, two faults at once) are no single small change.

Book: 15.4 실습: 에이전트 구현. Paper: Just et al. 2014, "Defects4J", which does this with large programs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One fault. tests, hidden: expressions; name: of the function; kind: of the fault."""

    name: str
    kind: str
    fixed: str
    right: str  # this part of `fixed` ...
    wrong: str  # ... stands like this in `code`
    tests: tuple[str, ...]
    hidden: tuple[str, ...]

    @property
    def code(self) -> str:
        """The function with its fault."""
        return self.fixed.replace(self.right, self.wrong, 1)


def small_bugs() -> list[Bug]:
    """The twenty of them."""
    return [Bug(*row[:5], _tests(row[0], row[5]), _tests(row[0], row[6])) for row in _ROWS]


def _tests(name: str, lines: str) -> tuple[str, ...]:
    """ "(3) == 6; (1) == 1" -> "sum_to(3) == 6", "sum_to(1) == 1"."""
    return tuple(f"{name}{one.strip()}" for one in lines.split(";"))


_ROWS = [
    (
        "sum_to", "off by one",
        "def sum_to(n):\n    total = 0\n    for i in range(1, n + 1):\n        total += i\n    return total\n",
        "n + 1)", "n)",
        "(1) == 1; (3) == 6; (0) == 0; (4) == 10",
        "(2) == 3; (5) == 15; (10) == 55; (7) == 28; (6) == 21; (100) == 5050; (8) == 36",
    ),
    (
        "is_adult", "wrong comparison",
        "def is_adult(age):\n    return age >= 18\n",
        ">=", ">",
        "(18) == True; (30) == True; (10) == False; (17) == False",
        "(0) == False; (19) == True; (99) == True; (16) == False; (20) == True; (5) == False; (40) == True",
    ),
    (
        "area", "wrong operator",
        "def area(width, height):\n    return width * height\n",
        "*", "+",
        "(1, 1) == 1; (2, 3) == 6; (5, 1) == 5; (4, 6) == 24",
        "(3, 3) == 9; (7, 2) == 14; (1, 8) == 8; (10, 10) == 100; (0, 5) == 0; (6, 7) == 42; (9, 3) == 27",
    ),
    (
        "percent", "swapped arguments",
        "def share(part, whole):\n    return part / whole\n\n\n"
        "def percent(part, whole):\n    return 100 * share(part, whole)\n",
        "100 * share(part, whole)", "100 * share(whole, part)",
        "(1, 2) == 50; (3, 4) == 75; (5, 5) == 100; (1, 4) == 25",
        "(1, 5) == 20; (2, 8) == 25; (4, 2) == 200; (7, 10) == 70; (3, 2) == 150; (9, 3) == 300; (1, 10) == 10",
    ),
    (
        "minutes", "wrong constant",
        "def minutes(hours, more):\n    return hours * 60 + more\n",
        "60", "100",
        "(1, 0) == 60; (2, 5) == 125; (0, 7) == 7; (3, 30) == 210",
        "(1, 1) == 61; (4, 0) == 240; (24, 0) == 1440; (0, 0) == 0; (5, 59) == 359; (10, 10) == 610; (2, 0) == 120",
    ),
    (
        "product", "wrong start",
        "def product(numbers):\n    result = 1\n    for number in numbers:\n"
        "        result *= number\n    return result\n",
        "= 1", "= 0",
        "([2]) == 2; ([2, 3]) == 6; ([]) == 1; ([4, 0]) == 0",
        "([5]) == 5; ([1, 1]) == 1; ([2, 2, 2]) == 8; ([3, 4]) == 12; ([-1, 5]) == -5; ([10, 10]) == 100; ([7]) == 7",
    ),
    (
        "sign", "missing branch",
        "def sign(n):\n    if n > 0:\n        return 1\n    if n == 0:\n        return 0\n    return -1\n",
        "    if n == 0:\n        return 0\n", "",
        "(0) == 0; (5) == 1; (-3) == -1; (1) == 1",
        "(2) == 1; (-1) == -1; (100) == 1; (-100) == -1; (3) == 1; (-2) == -1; (7) == 1",
    ),
    (
        "squared_length", "wrong variable",
        "def squared_length(x, y):\n    return x * x + y * y\n",
        "y * y", "x * y",
        "(0, 2) == 4; (3, 4) == 25; (1, 1) == 2; (2, 0) == 4",
        "(0, 1) == 1; (5, 12) == 169; (1, 2) == 5; (2, 1) == 5; (0, 0) == 0; (-3, 4) == 25; (6, 8) == 100",
    ),
    (
        "evens", "wrong constant by one",
        "def evens(numbers):\n    return [n for n in numbers if n % 2 == 0]\n",
        "== 0", "== 1",
        "([1, 2]) == [2]; ([2, 4]) == [2, 4]; ([]) == []; ([3, 6, 5]) == [6]",
        "([0]) == [0]; ([1, 3]) == []; ([8, 9, 10]) == [8, 10]; ([7]) == []; ([4]) == [4]; ([11, 12]) == [12]; "
        "([5, 6, 7, 8]) == [6, 8]",
    ),
    (
        "is_leap", "and for or",
        "def is_leap(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
        " or ", " and ",
        "(2024) == True; (2023) == False; (1900) == False; (2000) == True",
        "(2100) == False; (2400) == True; (1996) == True; (2019) == False; (1600) == True; "
        "(1700) == False; (2028) == True",
    ),
    (
        "mean", "whole division",
        "def mean(numbers):\n    return sum(numbers) / len(numbers)\n",
        " / ", " // ",
        "([1, 2]) == 1.5; ([3]) == 3; ([2, 4]) == 3; ([1, 2, 6]) == 3",
        "([0, 1]) == 0.5; ([5, 5, 5]) == 5; ([1, 1, 1, 3]) == 1.5; ([10]) == 10; ([7, 8]) == 7.5; ([-1, 1]) == 0; "
        "([2, 3, 4, 5]) == 3.5",
    ),
    (
        "last_of", "index out of range",
        "def last_of(items):\n    return items[len(items) - 1]\n",
        "len(items) - 1", "len(items)",
        "([5]) == 5; ([1, 2]) == 2; ([3, 1, 4]) == 4; ([0, 9]) == 9",
        "([7, 8, 9]) == 9; ([2, 2, 1]) == 1; ([6]) == 6; ([1, 2, 3, 4, 5]) == 5; ([0]) == 0; "
        "([9, 8]) == 8; ([4, 4]) == 4",
    ),
    (
        "contains", "returns too early",
        "def contains(items, wanted):\n    for item in items:\n        if item == wanted:\n            return True\n"
        "    return False\n",
        "            return True\n", "            return True\n        else:\n            return False\n",
        "([1, 2], 2) == True; ([1, 2], 1) == True; ([], 3) == False; ([4, 5, 6], 7) == False",
        "([1, 2, 3], 3) == True; ([9], 9) == True; ([9], 1) == False; ([5, 6, 7], 6) == True; ([1, 1], 2) == False; "
        "([0, 0, 4], 4) == True; ([8, 3], 3) == True",
    ),
    (
        "largest", "wrong direction",
        "def largest(numbers):\n    best = numbers[0]\n    for number in numbers:\n        if number > best:\n"
        "            best = number\n    return best\n",
        "number > best", "number < best",
        "([1, 2]) == 2; ([3, 1]) == 3; ([5]) == 5; ([2, 9, 4]) == 9",
        "([-1, -5]) == -1; ([7, 7]) == 7; ([1, 2, 3, 4]) == 4; ([4, 3, 2, 1]) == 4; "
        "([0, -2]) == 0; ([6, 8, 8]) == 8; "
        "([3, 10, 5]) == 10",
    ),
    (
        "without_first", "wrong slice",
        "def without_first(items):\n    return items[1:]\n",
        "[1:]", "[0:]",
        "([1, 2]) == [2]; ([5]) == []; ([3, 4, 5]) == [4, 5]; ([]) == []",
        "([9, 9]) == [9]; ([1, 2, 3, 4]) == [2, 3, 4]; ([0, 1]) == [1]; ([7]) == []; ([6, 5, 4]) == [5, 4]; "
        "([2, 1]) == [1]; ([8, 0, 8]) == [0, 8]",
    ),
    (
        "countdown", "never ends",
        "def countdown(n):\n    numbers = []\n    while n > 0:\n"
        "        numbers.append(n)\n        n -= 1\n    return numbers\n",
        "-= 1", "+= 1",
        "(1) == [1]; (3) == [3, 2, 1]; (0) == []; (2) == [2, 1]",
        "(4) == [4, 3, 2, 1]; (5) == [5, 4, 3, 2, 1]; (6) == [6, 5, 4, 3, 2, 1]; (-1) == []; "
        "(7) == [7, 6, 5, 4, 3, 2, 1]; (8) == [8, 7, 6, 5, 4, 3, 2, 1]; (9) == [9, 8, 7, 6, 5, 4, 3, 2, 1]",
    ),
    (
        "backwards", "wrong order",
        "def backwards(text):\n    result = ''\n    for letter in text:\n"
        "        result = letter + result\n    return result\n",
        "letter + result", "result + letter",
        "('ab') == 'ba'; ('a') == 'a'; ('') == ''; ('abc') == 'cba'",
        "('나라') == '라나'; ('aba') == 'aba'; ('xyz') == 'zyx'; ('12') == '21'; ('oo') == 'oo'; ('hello') == 'olleh'; "
        "('가나다') == '다나가'",
    ),
    (
        "clamp", "two faults",
        "def clamp(x, low, high):\n    if x < low:\n        return low\n"
        "    if x > high:\n        return high\n    return x\n",
        "if x < low:\n        return low\n    if x > high", "if x > low:\n        return low\n    if x < high",
        "(5, 0, 3) == 3; (-1, 0, 3) == 0; (2, 0, 3) == 2; (9, 4, 6) == 6",
        "(1, 0, 3) == 1; (0, 0, 3) == 0; (3, 0, 3) == 3; (7, 1, 5) == 5; (-9, -5, 5) == -5; "
        "(4, 4, 4) == 4; (8, 2, 10) == 8",
    ),
    (
        "topic", "branches swapped",  # 은 after a final consonant, 는 without one
        "def topic(word):\n    if (ord(word[-1]) - 44032) % 28 > 0:\n"
        "        return word + '은'\n    return word + '는'\n",
        "> 0", "== 0",
        "('책') == '책은'; ('나') == '나는'; ('집') == '집은'; ('나무') == '나무는'",
        "('물') == '물은'; ('바다') == '바다는'; ('사람') == '사람은'; ('우리') == '우리는'; ('산') == '산은'; "
        "('구두') == '구두는'; ('연필') == '연필은'",
    ),
    (
        "fare", "wrong comparison",  # free below 7, half from 65 on
        "def fare(age):\n    if age < 7:\n        return 0\n    if age >= 65:\n        return 700\n    return 1400\n",
        "< 7", "<= 7",
        "(7) == 1400; (3) == 0; (30) == 1400; (65) == 700",
        "(6) == 0; (8) == 1400; (64) == 1400; (70) == 700; (0) == 0; (12) == 1400; (66) == 700",
    ),
]  # fmt: skip
