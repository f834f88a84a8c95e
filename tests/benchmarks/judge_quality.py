"""A small real model as judge: the letters' habit, both orders, and the likelihood of the answers, on 200 pairs.

    python -m tests.benchmarks.judge_quality [METHOD ...] --kept FOLDER [--seeds 0] [--list] [--write]

SmolLM2-135M (`minillm fetch smollm2`) on minillm.data.judge_pairs: a right and a wrong answer that differ in one word.
The right one stands first in every second question. Rows: the letter it prefers in one order; the mean of both orders;
the probability of the answers themselves, which sees no order. A row says how often the right answer was preferred (no
preference counts half), AUC of the preference, kappa with the truth, and the place's part. About eight minutes of one
thread; FOLDER keeps every verdict, so that a run that is stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minillm.apps.judging import Compared, both_orders, compare_letters, likelihood, position_bias
from minillm.data import judge_pairs
from minillm.data.real_models import fetch
from minillm.evaluation import auc, cohen_kappa, paired, wilson_interval
from minillm.inference import Engine, LocalChat
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

ONE, BOTH, LIKELY = "letters, one order", "letters, both orders", "likelihood of the answers"
METHODS = (ONE, BOTH, LIKELY)
HEAD = [
    "judge",
    "n",
    "right",
    "95 %",
    "AUC",
    "kappa",
    "place A preferred",
    "both orders agree",
    "against one order",
]


def real_chat() -> LocalChat:
    """SmolLM2 in this process."""
    path = fetch("smollm2")
    return LocalChat(Engine(load_model(path), load_tokenizer(path)))


def both_letters(chat: LocalChat, *texts: str) -> Compared:
    """The letters in both orders."""
    return both_orders(partial(compare_letters, chat), *texts)


def likely_once(chat: LocalChat, *texts: str) -> Compared:
    """The answers' probability, which is the same in any order."""
    return Compared(*[likelihood(chat, *texts)] * 3)


def verdicts(judge: Callable[..., Compared], pairs: list[dict[str, str]], kept: Any) -> list[Compared]:
    """What a judge says of every pair; the right answer is the first of every second one."""
    lines = kept.read_text("utf-8").splitlines() if kept.is_file() else []
    found = [Compared(*json.loads(line)) for line in lines]
    for number in range(len(found), len(pairs)):
        row = pairs[number]
        texts = (row["right"], row["wrong"]) if number % 2 else (row["wrong"], row["right"])
        found.append(judge(row["question"], *texts))
        with kept.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found[-1]) + "\n")
    return found


def scores(preferences: list[float]) -> list[float]:
    """1 where the right answer is preferred, 0 where the wrong one is, else a half."""
    truth = [number % 2 for number in range(len(preferences))]
    return [0.5 if p == 0.5 else float((p > 0.5) == bool(t)) for p, t in zip(preferences, truth)]


def row_of(
    method: str, preferences: list[float], compared: list[Compared] | None, base: list[float]
) -> list[str]:
    """A row of the table."""
    right, n = scores(preferences), len(preferences)
    truth = [number % 2 for number in range(n)]
    low, high = wilson_interval(round(sum(right)), n)
    bias = None if compared is None else position_bias(compared)
    against = paired(right, base)
    low_d, high_d = against.interval
    said = f"{against.wins}, {against.losses}; {against.difference:+.3f} [{low_d:+.3f}, {high_d:+.3f}]"
    return [
        method, str(n), f"{np.mean(right):.3f}", f"[{low:.3f}, {high:.3f}]", f"{auc(preferences, truth):.3f}",
        f"{cohen_kappa([p > 0.5 for p in preferences], [bool(t) for t in truth]):.2f}",
        "" if bias is None else f"{bias.says_first:.3f}", "" if bias is None else f"{bias.agrees:.3f}",
        "" if method == ONE else said,
    ]  # fmt: skip


def main() -> None:
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "judges.jsonl")
    given, pairs = runs.given, judge_pairs()
    if not given.list:
        chat = real_chat()
        for name, judge in (("letters", both_letters), ("likelihood", likely_once)):
            verdicts(partial(judge, chat), pairs, given.kept / f"{name}.jsonl")
    kept = {
        name: [
            Compared(*json.loads(line))
            for line in (given.kept / f"{name}.jsonl").read_text("utf-8").splitlines()
        ]
        for name in ("letters", "likelihood")
    }
    letters, likely = kept["letters"], kept["likelihood"]
    one = [pair.first for pair in letters]
    base = scores(one)
    rows = [
        row_of(ONE, one, letters, base), row_of(BOTH, [pair.preference for pair in letters], letters, base),
        row_of(LIKELY, [pair.preference for pair in likely], None, base),
    ]  # fmt: skip
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("judge_quality", HEAD, rows, list(METHODS))


if __name__ == "__main__":
    main()
