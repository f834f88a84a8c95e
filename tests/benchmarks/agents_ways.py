"""The trained policy on ways of asking that it has not learned from: the figure to develop by.

    python -m tests.benchmarks.agents_ways [--folds 4] [--e5] [--failed]

The 24 ways of `data.tool_ways.json` ("reason first", "complaint", ...) are dealt into folds. For each fold a policy
learns from dialogues without its ways and is examined on them, with the examination's items, names and files. Two
things flatter it: one hand wrote all ways, and wordings of other ways were added after looking at what failed in these.
"""

from __future__ import annotations

import argparse

from minillm.apps.agents.examination import TaskRun, examine
from minillm.apps.agents.policies import TrainedPolicy
from minillm.data.tool_tasks import tool_dialogues, way_tasks
from minillm.data.tool_wordings import ways_of_asking
from minillm.evaluation import wilson_interval
from tests.benchmarks.agents_fresh import KINDS
from tests.benchmarks.agents_quality import DIALOGUES, EPOCHS, encoder


def line(name: str, runs: list[TaskRun]) -> str:
    """Done of n, its interval, and how often the first call was enough."""
    done, once = (
        sum(run.mark.done for run in runs),
        sum(run.mark.done and len(run.called) == 1 for run in runs),
    )
    low, high = wilson_interval(done, len(runs))
    return f"{name}: {done} of {len(runs)} ({done / len(runs):.3f} [{low:.3f}, {high:.3f}]), {once} at the first call"


def main() -> None:
    """Print what is done of each way, and of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--e5", action="store_true", help="with e5 beside the letters")
    parser.add_argument("--failed", action="store_true", help="print what was not done")
    given = parser.parse_args()
    every: list[TaskRun] = []
    for fold in range(given.folds):
        ways = ways_of_asking()[fold :: given.folds]
        policy = TrainedPolicy(encoder() if given.e5 else None).fit(
            tool_dialogues(DIALOGUES, 0, ways), EPOCHS
        )
        for way in ways:
            runs = examine(policy, way_tasks(way))
            print(line(way, [run for run in runs if run.task.kind in KINDS]), flush=True)
            for run in [run for run in runs if given.failed and not run.mark.done]:
                print("   ", run.task.kind, "|", run.task.request, "|", run.called, "|", run.mark.why)
            every += runs
    ten = [run for run in every if run.task.kind in KINDS]
    print(line("the ten kinds", ten))
    for language in ("en", "ko"):
        print(line(language, [run for run in ten if run.task.language == language]))
    print(line("add, divide, shelf, delete", [run for run in every if run.task.kind not in KINDS]))
    print(sum(run.mark.forbidden > 0 for run in every), "tried what is forbidden")


if __name__ == "__main__":
    main()
