"""A language model as judge of SQL: does the predicted query answer the question as the gold query does?

    judge_sql(chat, question, ddl, predicted, gold) -> True or False         chat: any ChatModel

What a judge says is held against what execution says (`agreement`): how often both agree, and how often they would by
chance (Cohen's kappa). A judge that calls a share a of the wrong queries right, and a share b of the right ones wrong,
sees accuracy p as  q = p (1 - b) + (1 - p) a;  so  p = (q - a) / (1 - a - b)  (`corrected`).

Book: 6.2.4 GPT-4 평가 프롬프트와 코드 준비 (GPT-4 as judge). Papers: Cohen 1960; Rogan and Gladen 1978.
Held against: scikit-learn's cohen_kappa_score. `KnownJudge` is a judge without a network, whose errors are known.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from minillm._checks import check_number, check_text, describe
from minillm.evaluation import cohen_kappa
from minillm.inference import Reply
from minillm.inference.chat import ChatModel

SCHEMA = {
    "type": "object", "properties": {"equal": {"enum": ["yes", "no"]}}, "required": ["equal"],
    "additionalProperties": False,
}  # fmt: skip
ASKED = (
    "Two SQL queries answer a question on the tables below. Do both give the right answer? Look at what they compute, "
    'not at how they are written. Reply with {{"equal": "yes"}} or {{"equal": "no"}}.\n\n'
    "DDL:\n{ddl}\n\nQuestion:\n{question}\n\nReference:\n{gold}\n\nCandidate:\n{predicted}"
)


def judge_sql(chat: ChatModel, question: str, ddl: str, predicted: str, gold: str) -> bool:
    """What a chat model says of one query. ValueError where it gives no verdict."""
    parts = {"question": question, "ddl": ddl, "predicted": predicted, "gold": gold}
    for name, text in parts.items():
        check_text(name, text)
    verdict = chat.json([{"role": "user", "content": ASKED.format(**parts)}], SCHEMA)
    if not isinstance(verdict, dict) or verdict.get("equal") not in ("yes", "no"):
        raise ValueError(
            f'a judge must reply {{"equal": "yes"}} or {{"equal": "no"}}, got {describe(verdict)}'
        )
    return verdict["equal"] == "yes"


class KnownJudge(ChatModel):
    """Knows the truth and errs at known rates: what a real judge is like, without one.

    truth(predicted, gold) -> bool. false_yes: how often it calls a wrong query right; false_no: a right one wrong.
    """

    def __init__(
        self, truth: Callable[[str, str], bool], false_yes: float = 0.1, false_no: float = 0.1, seed: int = 0
    ) -> None:
        self.truth = truth
        self.false_yes, self.false_no = (
            check_number("false_yes", false_yes, 0, 1),
            check_number("false_no", false_no, 0, 1),
        )
        self.rng = random.Random(seed)

    def _reply(self, messages: Any, params: Any, functions: Any) -> Reply:
        text = messages[-1]["content"]
        gold, _, predicted = text.partition("\n\nReference:\n")[2].partition("\n\nCandidate:\n")
        right = self.truth(predicted, gold)
        if self.rng.random() < (self.false_no if right else self.false_yes):
            right = not right
        said = f'{{"equal": "{"yes" if right else "no"}"}}'
        return Reply(said, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "stop")

    def stream(self, messages: Any, params: Any = None) -> Iterator[str]:
        """The verdict in one piece."""
        yield self.chat(messages, params).text

    def choose(self, messages: Any, options: Sequence[str]) -> tuple[int, list[float]]:
        """It has no probabilities."""
        raise NotImplementedError("a KnownJudge has no probabilities, it says yes or no")


class Agreement(NamedTuple):
    """share: of items on which both agree. false_yes, false_no: the judge's errors, None without items to err on."""

    n: int
    share: float
    kappa: float
    false_yes: float | None
    false_no: float | None


def agreement(said: Sequence[bool], truth: Sequence[bool]) -> Agreement:
    """How a judge's verdicts agree with the truth. ValueError for unequal lengths and for none."""
    said, truth = [bool(one) for one in said], [bool(one) for one in truth]
    n = len(truth)
    if not n or len(said) != n:
        raise ValueError(f"said and truth must be of the same items, got {len(said)} and {n}")
    share = sum(a == b for a, b in zip(said, truth)) / n
    kappa = cohen_kappa(said, truth)
    kappa = 1.0 if math.isnan(kappa) else kappa  # both gave one and the same verdict to everything
    wrong, good = n - sum(truth), sum(truth)
    false_yes = sum(a and not b for a, b in zip(said, truth)) / wrong if wrong else None
    false_no = sum(b and not a for a, b in zip(said, truth)) / good if good else None
    return Agreement(n, share, kappa, false_yes, false_no)


def corrected(share: float, false_yes: float, false_no: float) -> float:
    """The accuracy behind the share of yes that a judge with these errors says, cut to 0..1."""
    share, a, b = (check_number(name, value, 0, 1) for name, value in
                   (("share", share), ("false_yes", false_yes), ("false_no", false_no)))  # fmt: skip
    if a + b >= 1:
        raise ValueError(f"a judge whose errors add up to 1 or more says nothing, got {a:g} and {b:g}")
    return min(1.0, max(0.0, (share - a) / (1 - a - b)))
