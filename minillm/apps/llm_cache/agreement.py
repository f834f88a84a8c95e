"""What a similar question must agree in besides, since vectors hardly see it: its numbers.

"the price of plan 3" and "the price of plan 4" mean nearly the same to an encoder, and have different answers.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

import re
from collections import Counter

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def same_numbers(a: str, b: str) -> bool:
    """Whether both texts hold the same numbers, each as often; 1,000 is 1000. Numbers in words are not seen."""
    return _numbers(a) == _numbers(b)


def _numbers(text: str) -> Counter[str]:
    return Counter(number.replace(",", "") for number in _NUMBER.findall(text))
