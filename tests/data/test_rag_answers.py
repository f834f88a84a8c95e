"""The labelled answers: balanced, no label that length or place gives away, halves apart."""

from collections import Counter

import pytest

from minillm.data import rag_answers
from minillm.evaluation import auc

ROWS = rag_answers()


def test_balance():
    assert len(ROWS) == 120
    kinds = Counter(one.kind for one in ROWS)
    assert kinds["right"] == 60
    assert min(kinds.values()) >= 4
    assert Counter(one.language for one in ROWS) == {"en": 60, "ko": 60}
    assert Counter(one.half for one in ROWS) == {"tune": 60, "held_out": 60}
    for half in ("tune", "held_out"):
        assert Counter(one.kind for one in rag_answers(half))["right"] == 30


def test_labels_follow_from_the_passages():
    for one in ROWS:
        assert len(one.contexts) == len(set(one.contexts)) == 4
        assert one.useful == tuple(context in one.facts for context in one.contexts)
        assert one.recalled == tuple(fact in one.contexts for fact in one.facts)


def test_neither_length_nor_the_passages_found_tell_the_label():
    right = [one.kind == "right" for one in ROWS]
    assert 0.4 < auc([len(one.answer) for one in ROWS], right) < 0.6
    assert 0.4 < auc([len(one.answer.split()) for one in ROWS], right) < 0.6
    assert auc([sum(one.useful) for one in ROWS], right) == 0.5
    assert auc([sum(place * u for place, u in enumerate(one.useful)) for one in ROWS], right) == 0.5
    shown = [sum(one.useful) for one in ROWS]
    assert min(Counter(shown).values()) >= 20


def test_halves_share_no_question_answer_or_passage():
    tune, held = rag_answers("tune"), rag_answers("held_out")
    for name in ("question", "answer", "reference"):
        assert not {getattr(one, name) for one in tune} & {getattr(one, name) for one in held}
    assert not {c for one in tune for c in one.contexts} & {c for one in held for c in one.contexts}


def test_another_half_is_refused():
    with pytest.raises(ValueError, match="half"):
        rag_answers("test")
