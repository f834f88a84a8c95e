"""Planted personal data: spans are where they say, kinds all occur, longer lists begin with shorter ones."""

from collections import Counter

import pytest

from minillm.data import personal_texts
from minillm.data.personal_texts import MAKERS


def test_spans_and_kinds():
    rows = personal_texts(300, seed=3)
    kinds = Counter(kind for one in rows for kind, _, _ in one.planted)
    assert set(kinds) == set(MAKERS)
    for one in rows:
        ends = [0, *(place for _, start, end in one.planted for place in (start, end))]
        assert ends == sorted(ends)
        for kind, start, end in one.planted:
            assert one.text[start:end].strip() == one.text[start:end] != ""
            assert f"[{kind.upper()}]" in one.masked
    assert personal_texts(10, seed=3) == rows[:10] != personal_texts(10, seed=4)
    with pytest.raises(ValueError, match="n must be"):
        personal_texts(0)
