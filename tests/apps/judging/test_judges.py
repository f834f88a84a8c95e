"""Judges with scripted verdicts, and with habits whose size is known."""

from functools import partial

import pytest

from minillm.apps.judging import (
    BiasedJudge,
    Compared,
    both_orders,
    compare_letters,
    compare_written,
    likelihood,
    position_bias,
    rate,
)
from minillm.data import judge_pairs
from minillm.evaluation import auc
from minillm.inference import ScriptedChat

ASK = ("What is 2 + 2?", "It is 4.", "It is 5.")


def test_a_mark_is_the_last_one_that_is_written():
    chat = ScriptedChat(["Not [[3]]: it is right. [[9]]", "fine [[7.5]]"])
    assert rate(chat, ASK[0], ASK[1]) == 9
    assert rate(chat, ASK[0], ASK[1], reference="4") == 7.5
    first, second = (messages[0]["content"] for messages in chat.asked)
    assert "Reference" not in first
    assert "Reference: 4" in second
    assert all(part in first for part in ASK[:2])


@pytest.mark.parametrize("said", ["good", "[[0]]", "[[11]]", "[[A]]", "[9]"])
def test_a_reply_without_a_mark_is_refused(said):
    with pytest.raises(ValueError, match="mark such as"):
        rate(ScriptedChat([said]), *ASK[:2])


def test_a_written_verdict():
    for said, preference in (("x [[A]]", 1), ("[[B]]", 0), ("as good: [[C]]", 0.5), ("[[B]] no, [[A]]", 1)):
        assert compare_written(ScriptedChat([said]), *ASK) == preference
    with pytest.raises(ValueError, match="end with"):
        compare_written(ScriptedChat(["A is better"]), *ASK)


def test_letters_and_likelihood_are_the_models_choice():
    chat = ScriptedChat(["A", "B", "It is 4."])
    assert compare_letters(chat, *ASK) == 1
    assert compare_letters(chat, *ASK) == 0
    assert likelihood(chat, *ASK) == 1
    assert chat.asked[2] == [{"role": "user", "content": ASK[0]}]  # it sees no other answer


def test_a_verdict_that_only_the_place_decided_is_a_tie():
    always_first = partial(compare_written, ScriptedChat(["[[A]]"] * 2))
    found = both_orders(always_first, *ASK)
    assert found == Compared(0.5, 1, 0)
    assert found.winner is None
    steady = both_orders(partial(compare_written, ScriptedChat(["[[A]]", "[[B]]"])), *ASK)
    assert steady == Compared(1, 1, 1)
    assert steady.winner == 0
    other = both_orders(partial(compare_written, ScriptedChat(["[[C]]", "[[A]]"])), *ASK)
    assert other.preference == 0.25
    assert other.winner == 1


def test_the_second_time_the_answers_are_exchanged():
    seen = []

    def compare(*texts):
        seen.append(texts)
        return 0.3

    both_orders(compare, *ASK)
    assert seen == [ASK, (ASK[0], ASK[2], ASK[1])]


def test_bias_is_what_was_put_in():
    pairs = judge_pairs(60)
    right = {(row["question"], row["right"]) for row in pairs}

    def worth(question, answer):
        return float((question, answer) in right)

    def judged(**habits):
        judge = partial(compare_letters, BiasedJudge(worth, **habits))
        return [both_orders(judge, row["question"], row["wrong"], row["right"]) for row in pairs]

    fair = judged(sharp=2)
    assert position_bias(fair).lift == pytest.approx(0)
    assert position_bias(fair).agrees == 1
    assert position_bias(fair).says_first == 0.5
    # sharp 1, place 3: sigmoid(3 - 1) against 1 - sigmoid(3 + 1): the wrong answer wins when it stands first
    strong = judged(sharp=1, place=3)
    sigmoid = [1 / (1 + 2.718281828459045**-x) for x in (2, 4)]
    assert position_bias(strong).lift == pytest.approx(sigmoid[0] - (1 - sigmoid[1]))
    assert position_bias(strong).says_first == 1
    assert position_bias(strong).agrees == 0
    assert all(one.winner == 1 for one in strong)  # and yet the mean of both orders is right
    blind = judged(sharp=0, place=3)
    assert [one.preference for one in blind] == pytest.approx([0.5] * 60)


def test_a_tie_is_half_a_win_of_the_place():
    """A judge that always says "as good" was reported to like the second place."""
    ties = [both_orders(partial(compare_written, ScriptedChat(["[[C]]"] * 2)), *ASK) for _ in range(3)]
    assert position_bias(ties)[:3] == (3, 0.5, 1.0)
    half = both_orders(partial(compare_written, ScriptedChat(["[[A]]", "[[C]]"])), *ASK)  # first, then a tie
    assert position_bias([half])[:3] == (1, 0.75, 0.0)
    second = both_orders(
        partial(compare_written, ScriptedChat(["[[C]]", "[[A]]"])), *ASK
    )  # a tie, then the other one
    assert position_bias([second])[:3] == (1, 0.75, 0.0)


def test_one_order_errs_where_both_do_not():
    """A judge that likes the first place: its verdicts of one order, and of both, against the truth."""
    pairs = judge_pairs()
    right = {row["right"] for row in pairs}
    judge = BiasedJudge(lambda question, answer: float(answer in right), sharp=1, place=2)
    truth, one_order, both = [], [], []
    for number, row in enumerate(pairs):
        texts = (row["right"], row["wrong"]) if number % 2 else (row["wrong"], row["right"])
        found = both_orders(partial(compare_letters, judge), row["question"], *texts)
        truth.append(number % 2)
        one_order.append(found.first > 0.5)
        both.append(found.preference)
    assert sum(a == b for a, b in zip(one_order, truth)) == len(pairs) / 2
    assert auc(both, truth) == 1


def test_a_judge_that_likes_length():
    judge = BiasedJudge(lambda question, answer: 0.0, length=1)
    assert judge.probability("q", "one two three four", "one") == pytest.approx(0.8)  # 4 : 1
    sure = BiasedJudge(lambda question, answer: float(answer == "x"), sharp=5000)
    assert (sure.probability("q", "x", "y"), sure.probability("q", "y", "x")) == (1, 0)
    assert "[[A]]" in BiasedJudge(lambda question, answer: 0.0, place=50).chat(
        [{"role": "user", "content": "\n\nQuestion: q\n\nAnswer A: a\n\nAnswer B: b"}]
    ).text  # fmt: skip


def test_the_questions_are_two_hundred_and_differ_in_one_answer():
    pairs = judge_pairs()
    assert len({row["question"] for row in pairs}) == len(pairs) == 200
    assert judge_pairs(5, seed=3) == judge_pairs(seed=3)[:5]
    for row in pairs:
        assert row["right"] != row["wrong"]
        assert len(row["right"].split()) == len(row["wrong"].split()), row
        if row["kind"] == "sum":
            a, b = (int(one) for one in row["question"].rstrip("?").split()[2::2])
            assert row["right"].endswith(f" {a + b}.")


@pytest.mark.parametrize(("call", "said"), [
    (lambda: both_orders(None, *ASK), "compare must be a function"), (lambda: both_orders(3, *ASK), "compare must be"),
    (lambda: both_orders(lambda *a: 2, *ASK), "preference"),
    (lambda: both_orders(lambda *a: 1, "q", "a", None), "second"),
    (lambda: position_bias([]), "must hold comparisons"),
    (lambda: rate(ScriptedChat(["[[5]]"]), None, "a"), "question"),
    (lambda: BiasedJudge(lambda q, a: 0.0).choose([{"content": "x"}], ["A", "B"]), "comparison"),
    (lambda: BiasedJudge(lambda q, a: 0.0).choose([{"content": "x"}], ["yes", "no"]), "letters"),
    (lambda: judge_pairs(201), "n must be"),
    (lambda: position_bias([3]), "must hold comparisons"), (lambda: position_bias(None), "must hold comparisons"),
    (lambda: rate(None, "q", "a"), "chat must be a ChatModel"), (lambda: likelihood("gpt", *ASK), "chat must be"),
    (lambda: compare_letters(ScriptedChat(["A"]), "q", None, []), "first must be a str"),
    (lambda: compare_written(ScriptedChat(["[[A]]"]), "q", "a", 3), "second must be a str"),
    (lambda: BiasedJudge(None), "worth must be a function"), (lambda: BiasedJudge(len, seed=1.5), "seed must be"),
    (lambda: compare_letters(BiasedJudge(lambda q, a: float("nan")), *ASK), "worth must be"),
    (lambda: compare_letters(BiasedJudge(lambda q, a: a), *ASK), "worth must be"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
