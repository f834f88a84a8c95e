"""A language model as judge (LLM을 통한 평가): one answer rated, or two compared, in both orders.

    rate            a mark from 1 to 10, written as [[7]]
    compare_written which of two is better, written as [[A]], [[B]] or [[C]] (a tie)
    compare_letters the same without writing: how probable the letter A is, against B
    likelihood      which answer the model would rather say itself; the order of the answers plays no part
    both_orders     asks twice, with the answers exchanged: what only the place decided is a tie

A judge has habits: it likes what stands first, what is long, what it would have said. The first habit cancels in both
orders. For the others there is no such cure: a judge is trusted as far as it agrees with people, or with a truth.

Book: 13.3.4 LLM을 통한 평가. Paper: Zheng et al. 2023 (MT-Bench). Held against: scripted verdicts; BiasedJudge, whose
habits are known. Leaves out: judging whole conversations.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minillm._checks import check_int, check_number, check_text, describe, is_listing
from minillm.inference.chat import ChatModel, Reply

RATE = (
    "Judge how good the answer to the question is: is it right, does it answer what was asked, is it clear? Say in one "
    "or two sentences why. Then give a whole mark from 1 (bad) to 10 (very good) in this form: [[5]].\n\n"
    "Question: {question}\n{reference}\nAnswer: {answer}"
)
COMPARE = (
    "Two assistants answered the question. Which answer is better: right, to the point, clear? The order of the "
    "answers and their length shall play no part. {how}\n\n"
    "Question: {question}\n\nAnswer A: {first}\n\nAnswer B: {second}"
)
WRITE = "Say in one sentence why. Then write [[A]] if A is better, [[B]] if B is better, [[C]] if both are as good."
LETTER = "Reply with the letter of the better answer, A or B, and nothing else."
_MARK, _VERDICT = re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]"), re.compile(r"\[\[([ABC])\]\]")
PLACES = {"A": 1.0, "B": 0.0, "C": 0.5}  # what a verdict gives to the answer that stood first


class Compared(NamedTuple):
    """preference for the first answer, 0..1, in the mean of both orders; what it was standing first, and second."""

    preference: float
    first: float
    second: float

    @property
    def winner(self) -> int | None:
        """0 or 1: the answer that is preferred; None for a tie, and where the place alone decided."""
        return None if self.preference == 0.5 else int(self.preference < 0.5)


def rate(chat: ChatModel, question: str, answer: str, reference: str | None = None) -> float:
    """The mark, 1..10, that a chat model writes for one answer.

    reference: an answer that is known to be right. Raises ValueError for a reply without a mark, or another than 1..10.
    """
    check_asked(chat, question=question, answer=answer)
    given = "" if reference is None else f"Reference: {check_text('reference', reference)}\n"
    said = chat.chat(asked(RATE.format(question=question, answer=answer, reference=given))).text
    marks = _MARK.findall(said)
    if not marks or not 1 <= float(marks[-1]) <= 10:
        raise ValueError(f"a judge must end with a mark such as [[5]], got {describe(said)}")
    return float(marks[-1])


def compare_written(chat: ChatModel, question: str, first: str, second: str) -> float:
    """The preference for the answer that stands first: 1, 0, or 0.5 for a tie. ValueError without a verdict."""
    check_asked(chat, question=question, first=first, second=second)
    said = chat.chat(asked(COMPARE.format(how=WRITE, question=question, first=first, second=second))).text
    verdicts = _VERDICT.findall(said)
    if not verdicts:
        raise ValueError(f"a judge must end with [[A]], [[B]] or [[C]], got {describe(said)}")
    return PLACES[verdicts[-1]]


def compare_letters(chat: ChatModel, question: str, first: str, second: str) -> float:
    """The preference for the answer that stands first: the probability of the letter A against B, 0..1."""
    check_asked(chat, question=question, first=first, second=second)
    messages = asked(COMPARE.format(how=LETTER, question=question, first=first, second=second))
    return float(chat.choose(messages, ["A", "B"])[1][0])


def likelihood(chat: ChatModel, question: str, first: str, second: str) -> float:
    """The preference for the first answer as something to say: its probability against the second's, 0..1."""
    check_asked(chat, question=question, first=first, second=second)
    return float(chat.choose(asked(question), [first, second])[1][0])


def both_orders(
    compare: Callable[[str, str, str], float], question: str, first: str, second: str
) -> Compared:
    """A comparison made twice. compare(question, a, b): the preference for a, 0..1, such as
    `partial(compare_letters, chat)`.

    Raises ValueError for texts that are none, and a preference that is none.
    """
    if not callable(compare):
        raise ValueError(f"compare must be a function, got {describe(compare)}")
    for name, text in (("question", question), ("first", first), ("second", second)):
        check_text(name, text)
    ahead = check_number("preference", compare(question, first, second), 0, 1)
    behind = check_number("preference", compare(question, second, first), 0, 1)
    # what is said of the first answer when it stands second is 1 - what is said of the other
    return Compared((ahead + 1 - behind) / 2, ahead, 1 - behind)


class Bias(NamedTuple):
    """Of n comparisons in both orders: how often the place A won (a tie is half), how often both orders said the same,
    and how much more an answer is liked when it stands first (0: the place plays no part, 1: it decides alone)."""

    n: int
    says_first: float
    agrees: float
    lift: float


def position_bias(compared: Sequence[Compared]) -> Bias:
    """The place's part in a judge's verdicts. ValueError for what is no list of comparisons, or an empty one."""
    compared = list(compared) if is_listing(compared) else []
    if not compared or not all(isinstance(one, Compared) for one in compared):
        raise ValueError(f"compared must hold comparisons (of both_orders), got {describe(compared)}")
    ahead = [won(one.first) for one in compared] + [won(1 - one.second) for one in compared]
    agrees = [won(one.first) == won(one.second) for one in compared]
    lift = [one.first - one.second for one in compared]
    n = len(compared)
    return Bias(n, sum(ahead) / (2 * n), sum(agrees) / n, sum(lift) / n)


def won(preference: float) -> float:
    """1 above one half, 0 below it, 1/2 for a tie."""
    return 0.5 if preference == 0.5 else float(preference > 0.5)


def check_asked(chat: Any, **texts: Any) -> None:
    """ValueError for a judge that is no chat model, and for texts that are none."""
    if not isinstance(chat, ChatModel):
        raise ValueError(f"chat must be a ChatModel, got {describe(chat)}")
    for name, text in texts.items():
        check_text(name, text)


def asked(text: str) -> list[dict[str, str]]:
    """One message of a user."""
    return [{"role": "user", "content": text}]


class BiasedJudge(ChatModel):
    """Knows how good answers are, and has habits of known size: what a real judge is like, without one.

        P(A) = sigmoid(sharp * (worth(A) - worth(B)) + place + length * log(words of A / words of B))

    worth(question, answer) -> float. place: added to the answer that stands first. length: how much it likes long ones.
    seed: of the verdicts that it writes, drawn by P(A).
    """

    def __init__(
        self, worth: Callable[[str, str], float], sharp: float = 2.0, place: float = 0.0, length: float = 0.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        if not callable(worth):
            raise ValueError(f"worth must be a function (question, answer) -> number, got {describe(worth)}")
        self.worth = lambda question, answer: check_number("worth", worth(question, answer))
        self.sharp = check_number("sharp", sharp)
        self.place, self.length = check_number("place", place), check_number("length", length)
        self.rng = random.Random(check_int("seed", seed, 0))

    def probability(self, question: str, first: str, second: str) -> float:
        """P(A)."""
        liked = self.sharp * (self.worth(question, first) - self.worth(question, second)) + self.place
        words = math.log(max(1, len(first.split())) / max(1, len(second.split())))
        return (1 + math.tanh((liked + self.length * words) / 2)) / 2  # the sigmoid, which cannot overflow so

    def _reply(self, messages: Any, params: Any, functions: Any) -> Reply:
        chance = self.probability(*read_comparison(messages))
        said = f"I compared both. [[{'A' if self.rng.random() < chance else 'B'}]]"
        return Reply(said, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "stop")

    def stream(self, messages: Any, params: Any = None) -> Any:
        """The verdict in one piece."""
        yield self.chat(messages, params).text

    def choose(self, messages: Any, options: Sequence[str]) -> tuple[int, list[float]]:
        """Of the letters A and B, in this order."""
        if list(options) != ["A", "B"]:
            raise ValueError(f"a BiasedJudge chooses between the letters A and B, got {describe(options)}")
        chance = self.probability(*read_comparison(messages))
        return int(chance < 0.5), [chance, 1 - chance]


def read_comparison(messages: Any) -> tuple[str, str, str]:
    """(question, answer A, answer B) out of the messages of a comparison."""
    text = messages[-1]["content"]
    question, _, answers = text.partition("\n\nQuestion: ")[2].partition("\n\nAnswer A: ")
    first, found, second = answers.partition("\n\nAnswer B: ")
    if not found:
        raise ValueError(f"messages must hold a comparison, got {describe(text)}")
    return question, first, second
