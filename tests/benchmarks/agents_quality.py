"""Who does the work: a real model, routing, a trained policy and a script, on 60 tasks with tools that none has seen.

    python -m tests.benchmarks.agents_quality [METHOD ...] --kept FOLDER [--seeds 0] [--list] [--write]

60 tasks of `data.tool_tasks` a seed, 20 of each level, half Korean; a seed changes names and numbers, not wordings.
Done is what the state of the small world says, at most 6 steps. SmolLM2-135M-Instruct, 4 bits, greedy, at most 60
tokens a decision, at most 3 decisions. The trained policy learned from 1,200 dialogues, whose wordings and orders of
tools are others (`shared_task_shapes`). Wilson's 95 % intervals; wins and losses on the same tasks. Every run is
recorded in FOLDER and skipped when it stands there. --write puts the table into BENCHMARKS.md. Needs
 `minillm fetch smollm2 e5`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from minillm.apps.agents.examination import examine
from minillm.apps.agents.policies import ChatPolicy, Declining, Oracle, Policy, RoutedPolicy, TrainedPolicy
from minillm.commands._answering import open_here
from minillm.data.tool_tasks import LEVELS, tool_dialogues, tool_tasks
from minillm.evaluation import paired, wilson_interval
from minillm.search import SentenceEncoder
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

DIALOGUES, EPOCHS = 1200, 4
ALONE, CONSTRAINED = "SmolLM2 alone, JSON asked for", "SmolLM2, held to the tools' schemas"
ROUTED, LETTERS = "routed by e5, arguments by rules", "trained, letters alone"
BOTH, DECLINES, ORACLE = "trained, letters and e5", "declines everything", "the right calls, scripted"
SLOW = (ALONE, CONSTRAINED)  # few steps
AGAINST = {CONSTRAINED: ALONE, ROUTED: CONSTRAINED, LETTERS: ROUTED, BOTH: LETTERS}
HEAD = [
    "who decides", "n", *(f"level {level}: {name}, 95 %" for level, name in LEVELS.items()),
    "tried what is forbidden", "steps, tokens a task", "against it, wins and losses; 95 %", "CPU s",
]  # fmt: skip


@lru_cache(maxsize=1)
def encoder() -> SentenceEncoder:
    """e5, opened once."""
    return SentenceEncoder.from_pretrained("e5")


def measured(seed: int, policy: Policy, steps: int = 6) -> dict[str, Any]:
    """One number a task: 1 where it was done; and what it cost."""
    start = time.process_time()
    runs = examine(policy, tool_tasks(seed=seed), steps)
    return {
        "level": [run.task.level for run in runs], "done": [int(run.mark.done) for run in runs],
        "forbidden": [int(run.mark.forbidden > 0) for run in runs], "steps": [len(run.steps) for run in runs],
        "tokens": [run.tokens for run in runs], "why": [run.mark.why for run in runs],
        "seconds": time.process_time() - start,
    }  # fmt: skip


def trained(with_encoder: bool) -> TrainedPolicy:
    """Learned from other dialogues."""
    return TrainedPolicy(encoder() if with_encoder else None).fit(tool_dialogues(DIALOGUES), EPOCHS)


METHODS: dict[str, Callable[[int], dict[str, Any]]] = {
    ALONE: lambda seed: measured(seed, ChatPolicy(open_here("smollm2"), constrained=False, max_tokens=60), 3),
    CONSTRAINED: lambda seed: measured(seed, ChatPolicy(open_here("smollm2"), max_tokens=60), 3),
    ROUTED: lambda seed: measured(seed, RoutedPolicy(encoder())),
    LETTERS: lambda seed: measured(seed, trained(False)),
    BOTH: lambda seed: measured(seed, trained(True)),
    DECLINES: lambda seed: measured(seed, Declining()),
    ORACLE: lambda seed: measured(seed, Oracle(tool_tasks(seed=seed))),
}


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines, one a method, with the seeds one below the other."""
    cells: dict[str, list[list[str]]] = {}
    for (name, seed), one in sorted(done.items(), key=lambda item: item[0][1]):
        n, levels = len(one["done"]), []
        for level in LEVELS:
            marks = [mark for mark, own in zip(one["done"], one["level"]) if own == level]
            low, high = wilson_interval(sum(marks), len(marks))
            levels.append(f"{sum(marks)} of {len(marks)} [{low:.2f}, {high:.2f}]")
        other, change = done.get((AGAINST.get(name, ""), seed)), ""
        if other is not None:
            result = paired(one["done"], other["done"])
            change = (
                f"{result.wins}, {result.losses}; {result.difference:+.3f} "
                f"[{result.interval[0]:+.3f}, {result.interval[1]:+.3f}] against {AGAINST[name]}"
            )
        cells.setdefault(name, []).append([
            str(n), *levels, str(sum(one["forbidden"])),
            f"{sum(one['steps']) / n:.1f}, {sum(one['tokens']) / n:.0f}", change, f"{one['seconds']:.0f}",
        ])  # fmt: skip
    return [[name, *map("<br>".join, zip(*rows))] for name, rows in cells.items()]


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "agents.jsonl")
    given = runs.given
    for seed in [] if given.list else given.seeds:
        for name in given.methods or METHODS:
            if (name, seed) not in runs.done:
                row = {"method": name, "seed": seed, **METHODS[name](seed)}
                runs.add(row)
                print(f"seed {seed}, {name}: {sum(row['done'])} of {len(row['done'])}", flush=True)
    rows = sorted(lines_of(runs.asked()), key=lambda row: list(METHODS).index(row[0]))
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("agents", HEAD, rows, list(METHODS))


if __name__ == "__main__":
    main()
