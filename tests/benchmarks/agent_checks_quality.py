"""Manners and values of a small real model: which of two answers to a situation does it prefer, the better one?

    python -m tests.benchmarks.agent_checks_quality [METHOD ...] --kept FOLDER [--seeds 0] [--list] [--write]

The 20 checks of `data.agent_checks`, half social, half value, half Korean, on SmolLM2-135M-Instruct (4 bits). Nothing
is drawn: there is one seed. The likelihood of an answer falls with its length, so it is held against "always the
shorter one", and asked again with the likelihood that each answer has after "Answer." alone taken off (Holtzman et al.
2021, PMI). As a judge by letters it is asked in both orders; in "one order" the better answer is first in every second.
Half is chance; a tie counts half. Wilson's 95 % intervals. Minutes of one thread. Needs `minillm fetch smollm2`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from minillm.apps.agents.examination import prefers
from minillm.apps.judging import Compared, both_orders, compare_letters, position_bias
from minillm.commands._answering import open_here
from minillm.data.agent_checks import AgentCheck, agent_checks
from minillm.evaluation import paired, wilson_interval
from minillm.inference import ChatModel
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

SHORTER, LIKELY, BEYOND = "always the shorter one", "likelihood", "likelihood, less that of the answer alone"
ONE, BOTH = "judge by letters, one order", "judge by letters, both orders"
NEUTRAL = "Answer."
HEAD = ["which is preferred", "n", "the better one, 95 %", "social", "value", "English", "Korean",
        "against the shorter one: wins, losses; 95 %", "place A preferred", "CPU s"]  # fmt: skip


def beyond(chat: ChatModel, one: AgentCheck) -> float:
    """1 where the situation makes the better answer likelier by a larger factor than the worse one."""

    def odds(situation: str) -> float:
        better, worse = chat.choose([{"role": "user", "content": situation}], [one.better, one.worse])[1]
        return math.log(better or 5e-324) - math.log(worse or 5e-324)

    return float(odds(one.situation) > odds(NEUTRAL))


@lru_cache
def judged() -> list[Compared]:
    """Each check in both orders; the better answer is the first."""
    chat = open_here("smollm2")
    compare = partial(compare_letters, chat)
    return [both_orders(compare, one.situation, one.better, one.worse) for one in agent_checks()]


def letters(found: list[Compared], orders: int) -> dict[str, Any]:
    """The judge's preference, and how often it says A."""
    said = [one.preference if orders == 2 else (one.first, one.second)[n % 2] for n, one in enumerate(found)]
    return {
        "better": [0.5 if p == 0.5 else float(p > 0.5) for p in said],
        "A": position_bias(found).says_first,
    }


METHODS: dict[str, Callable[[list[AgentCheck]], dict[str, Any]]] = {
    SHORTER: lambda checks: {"better": [float(len(one.better) < len(one.worse)) for one in checks]},
    LIKELY: lambda checks: {"better": [float(one) for one in prefers(open_here("smollm2"), checks)]},
    BEYOND: lambda checks: {
        "better": [beyond(chat, one) for chat in [open_here("smollm2")] for one in checks]
    },
    ONE: lambda checks: letters(judged(), 1),
    BOTH: lambda checks: letters(judged(), 2),
}


def line_of(row: dict[str, Any], checks: list[AgentCheck], shorter: list[float]) -> list[str]:
    """The table's line of a kept row."""
    better, n = row["better"], len(checks)
    low, high = wilson_interval(round(sum(better)), n)
    line = [row["method"], str(n), f"{sum(better):g} of {n} [{low:.2f}, {high:.2f}]"]
    for name, value in (("kind", "social"), ("kind", "value"), ("language", "en"), ("language", "ko")):
        some = [mark for mark, one in zip(better, checks) if getattr(one, name) == value]
        line.append(f"{sum(some):g} of {len(some)}")
    change = paired(better, shorter)
    low, high = change.interval
    line.append(f"{change.wins}, {change.losses}; {change.difference:+.2f} [{low:+.2f}, {high:+.2f}]")
    place = row.get("A")
    return [*line, "" if place is None else f"{place:.2f}", f"{row['seconds']:.0f}"]


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs, checks = KeptRuns(__doc__.splitlines()[0], METHODS, "agent_checks.jsonl"), agent_checks()
    for name in [] if runs.given.list else runs.given.methods or METHODS:
        if (name, 0) not in runs.done:
            start = time.process_time()
            found = METHODS[name](checks)
            runs.add({"method": name, "seed": 0, **found, "seconds": time.process_time() - start})
    shorter = METHODS[SHORTER](checks)["better"]
    rows = [line_of(row, checks, shorter) for row in runs.done.values()]
    rows.sort(key=lambda row: list(METHODS).index(row[0]))
    print(record.markdown(HEAD, rows))
    if runs.given.write:
        record.put_rows("agent_checks", HEAD, rows, list(METHODS))


if __name__ == "__main__":
    main()
