"""Who does the work: a real model, routing, a trained policy and a script, on 60 tasks with tools that none has seen.

    python -m tests.benchmarks.agents_quality [METHOD ...] --kept FOLDER [--seeds 0] [--list] [--write]

60 tasks of `data.tool_tasks` a seed, 20 of each level, half Korean; a seed changes names and numbers, not wordings.
Done is what the state of the small world says. Every policy is the brain of the same `Agent`, for at most 6 decisions,
SmolLM2-135M-Instruct (4 bits, greedy) for 2, of at most 80 tokens each, and on level 1 only. The trained policy learned
from 3,200 dialogues, whose wordings and orders of tools are others (`shared_task_shapes`). Wilson's 95 % intervals;
wins and losses on the same tasks. Every run is recorded in FOLDER and skipped when it stands there. --write puts the
table into BENCHMARKS.md. Needs `minillm fetch smollm2 e5`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from minillm.apps.agents.examination import Brain, examine
from minillm.apps.agents.policies import Declining, Oracle, RoutedPolicy, TrainedPolicy
from minillm.commands._answering import open_here
from minillm.data.tool_tasks import LEVELS, tool_dialogues, tool_tasks
from minillm.evaluation import paired, wilson_interval
from minillm.inference import ChatModel
from minillm.search import SentenceEncoder
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

DIALOGUES, EPOCHS = 3200, 4
ALONE, CONSTRAINED = "SmolLM2 alone, JSON asked for", "SmolLM2, held to the tools' schemas"
ROUTED, LETTERS = "routed by e5, arguments by rules", "trained, letters alone"
BOTH, DECLINES, ORACLE = "trained, letters and e5", "declines everything", "the right calls, scripted"
DECISIONS, TOKENS = 2, 80  # of SmolLM2: of a task, of a decision
AGAINST = {CONSTRAINED: ALONE, ROUTED: CONSTRAINED, LETTERS: ROUTED, BOTH: LETTERS}
HEAD = [
    "who decides", "n", *(f"level {level}: {name}, 95 %" for level, name in LEVELS.items()),
    "tried what is forbidden", "calls, tokens a task", "against it, wins and losses; 95 %", "CPU s",
]  # fmt: skip


@lru_cache(maxsize=1)
def encoder() -> SentenceEncoder:
    """e5, opened once."""
    return SentenceEncoder.from_pretrained("e5")


class Asked(ChatModel):
    """A chat model that writes less, and, unless it is held to the schema, whatever it likes."""

    def __init__(self, model: ChatModel, held: bool) -> None:
        self.model, self.held = model, held

    def _reply(self, messages: Any, params: Any, functions: Any) -> Any:
        schema = params.json_schema if self.held else None
        params = replace(params, max_tokens=min(params.max_tokens, TOKENS), json_schema=schema)
        return self.model.chat(messages, params)

    def stream(self, messages: Any, params: Any = None) -> Any:
        """As the model itself."""
        return self.model.stream(messages, params)

    def choose(self, messages: Any, options: Any) -> Any:
        """As the model itself."""
        return self.model.choose(messages, options)


def real(seed: int, held: bool) -> dict[str, Any]:
    """SmolLM2 as brain."""
    return measured(seed, Asked(open_here("smollm2"), held), DECISIONS, 1)


def measured(seed: int, brain: Brain, steps: int = 6, level: int | None = None) -> dict[str, Any]:
    """One number a task: 1 where it was done; and what it cost."""
    start = time.process_time()
    runs = examine(brain, tool_tasks(level, seed), steps)
    return {
        "level": [run.task.level for run in runs], "done": [int(run.mark.done) for run in runs],
        "forbidden": [int(run.mark.forbidden > 0) for run in runs], "calls": [len(run.called) for run in runs],
        "tokens": [run.run.usage["tokens"] for run in runs], "why": [run.mark.why for run in runs],
        "seconds": time.process_time() - start,
    }  # fmt: skip


@lru_cache
def trained(with_encoder: bool) -> TrainedPolicy:
    """Learned from other dialogues."""
    return TrainedPolicy(encoder() if with_encoder else None).fit(tool_dialogues(DIALOGUES), EPOCHS)


METHODS: dict[str, Callable[[int], dict[str, Any]]] = {
    ALONE: lambda seed: real(seed, held=False),
    CONSTRAINED: lambda seed: real(seed, held=True),
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
            if not marks:
                levels.append("not asked")
                continue
            low, high = wilson_interval(sum(marks), len(marks))
            levels.append(f"{sum(marks)} of {len(marks)} [{low:.2f}, {high:.2f}]")
        other, change = done.get((AGAINST.get(name, ""), seed)), ""
        if other is not None:
            both = min(n, len(other["done"]))  # the tasks of level 1 stand first
            result = paired(one["done"][:both], other["done"][:both])
            change = (
                f"{result.wins}, {result.losses}; {result.difference:+.3f} "
                f"[{result.interval[0]:+.3f}, {result.interval[1]:+.3f}] against {AGAINST[name]}"
            )
        cells.setdefault(name, []).append([
            str(n), *levels, str(sum(one["forbidden"])),
            f"{sum(one['calls']) / n:.1f}, {sum(one['tokens']) / n:.0f}", change, f"{one['seconds']:.0f}",
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
