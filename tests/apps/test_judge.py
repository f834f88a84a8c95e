"""A judge of SQL: what it is asked, what it may say, and how its errors show and are taken out again."""

import random

import pytest

from minillm.apps.text2sql.judge import KnownJudge, agreement, corrected, judge_sql
from minillm.inference import ScriptedChat

DDL = "CREATE TABLE t (a TEXT);"


def test_a_chat_model_is_asked_with_everything_and_its_verdict_is_read():
    chat = ScriptedChat(['{"equal": "yes"}', '{"equal": "no"}', '{"equal": "maybe"}', "yes"])
    assert judge_sql(chat, "이름은?", DDL, "SELECT a FROM t", "SELECT t.a FROM t") is True
    assert judge_sql(chat, "which?", DDL, "SELECT {x} FROM t", "SELECT a FROM t") is False
    for _ in range(2):
        with pytest.raises(ValueError, match=r"judge must reply|Expecting value"):
            judge_sql(chat, "which?", DDL, "SELECT a FROM t", "SELECT a FROM t")
    for part in ("이름은?", DDL, "SELECT a FROM t", "SELECT t.a FROM t"):
        assert part in chat.asked[0][-1]["content"]
    with pytest.raises(ValueError, match="gold must be a str"):
        judge_sql(chat, "which?", DDL, "SELECT 1", None)


def test_known_errors_are_found_and_taken_out_again():
    """4,000 verdicts: the shares are within four standard errors, and the accuracy behind them comes back."""
    rng = random.Random(0)
    judge = KnownJudge(lambda predicted, gold: predicted == gold, false_yes=0.2, false_no=0.1, seed=1)
    truth = [rng.random() < 0.6 for _ in range(4000)]
    said = [judge_sql(judge, "q", DDL, "SELECT 1" if right else "SELECT 2", "SELECT 1") for right in truth]
    found = agreement(said, truth)
    assert found.n == 4000
    assert found.false_yes == pytest.approx(0.2, abs=0.04)
    assert found.false_no == pytest.approx(0.1, abs=0.025)
    accuracy = sum(truth) / 4000
    assert corrected(sum(said) / 4000, found.false_yes, found.false_no) == pytest.approx(accuracy, abs=1e-9)
    assert corrected(sum(said) / 4000, 0.2, 0.1) == pytest.approx(accuracy, abs=0.05)


def test_agreement_by_hand():
    """Cohen's own arithmetic: 20 of 50 items yes by both, 15 no by both, 5 and 10 apart."""
    said = [True] * 25 + [False] * 25
    truth = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = agreement(said, truth)
    assert found.share == 0.7
    assert found.kappa == pytest.approx(0.4)
    assert found.false_yes == 0.25
    assert found.false_no == pytest.approx(1 / 3)
    assert agreement([True, True], [True, True]) == (2, 1.0, 1.0, None, 0.0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="of the same items, got 1 and 2"):
        agreement([True], [True, False])
    with pytest.raises(ValueError, match="of the same items, got 0 and 0"):
        agreement([], [])
    with pytest.raises(ValueError, match=r"says nothing, got 0\.6 and 0\.4"):
        corrected(0.5, 0.6, 0.4)
    with pytest.raises(ValueError, match="false_yes must be between 0 and 1"):
        KnownJudge(lambda a, b: True, false_yes=2)
    judge = KnownJudge(lambda a, b: True)
    with pytest.raises(NotImplementedError):
        judge.choose([], ["a"])
