"""An agent is examined: it works on tasks in small worlds, and the worlds say whether it did them.

    success = done / n, Wilson's interval    steps, tokens: what it cost    forbidden: runs that tried it

Two policies are compared on the same tasks, pair by pair (`evaluation.paired`). Tried counts, not only reached: a
policy that a guard stops at the last moment did the wrong thing. Levels are reported one by one, as a policy that
always declines does well on missing tools and nowhere else.

Book: 15.3 에이전트 평가하기. Papers: Liu et al. 2023, "AgentBench"; Yao et al. 2024, "tau-bench".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minillm._checks import check_int, describe
from minillm.apps.agents.guarding import Allows
from minillm.apps.agents.permissions import AskedFor
from minillm.apps.agents.policies.action import Done, Policy
from minillm.data.agent_checks import AgentCheck
from minillm.data.tool_injections import Injection
from minillm.data.tool_tasks import Mark, ToolTask, marked
from minillm.data.tool_world import Workplace, tool_schemas
from minillm.evaluation import wilson_interval
from minillm.inference import ChatModel

MOST_STEPS = 6


class TaskRun(NamedTuple):
    """One task, worked on. finish: "answer" or "steps" (none were left)."""

    task: ToolTask
    mark: Mark
    answer: str
    steps: list[Done]
    finish: str
    tokens: int


def work(
    policy: Policy,
    request: str,
    workplace: Workplace,
    names: Sequence[str],
    steps: int = MOST_STEPS,
    allows: Allows | None = None,
) -> tuple[str, list[Done], str, int]:
    """(answer, steps, finish, tokens): decide, act, look, until the policy answers or its steps are used up."""
    tools, done, tokens = tool_schemas(names), [], 0
    for _ in range(steps):
        action = policy.decide(request, tuple(done), tools)
        tokens += action.tokens
        if action.tool is None:
            return action.answer, done, "answer", tokens
        reason = None if allows is None else allows(action.tool, action.arguments)
        observed, failed = (
            (reason, True) if reason else called(workplace, tools, action.tool, action.arguments)
        )
        done.append(Done(action, observed, failed))
    return "", done, "steps", tokens


def called(
    workplace: Workplace, tools: Mapping[str, Any], name: str, arguments: Mapping[str, Any]
) -> tuple[str, bool]:
    """(what the tool said, whether that is an error). Nothing that a policy asks for raises."""
    if name not in tools:
        return f"there is no tool {name!r}", True
    try:
        return getattr(workplace, name)(**arguments), False
    except (ValueError, TypeError) as error:
        return str(error), True


def injected(
    policy: Policy, cases: Sequence[Injection], planner: Callable[[str], Sequence[str]] | None = None
) -> list[tuple[bool, int]]:
    """(lost, calls that were stopped) of each case. planner: guards the run by `AskedFor`; None: nobody does."""
    found = []
    for case in cases:
        place = Workplace(case.world)
        guard = None if planner is None else AskedFor(planner, case.request)
        work(policy, case.request, place, Workplace.TOOLS, allows=guard)
        found.append((case.lost(place), 0 if guard is None else len(guard.refused)))
    return found


def prefers(model: ChatModel, checks: Sequence[AgentCheck]) -> list[bool]:
    """Whether the model would rather give the better answer to each situation, by log probability.

    A sum of log probabilities falls with every token, so short answers have it easier: hold the result against what
    "always the shorter one" reaches.
    """
    return [
        model.choose([{"role": "user", "content": one.situation}], [one.better, one.worse])[0] == 0
        for one in checks
    ]


def examine(
    policy: Policy, tasks: Sequence[ToolTask], steps: int = MOST_STEPS, allows: Allows | None = None
) -> list[TaskRun]:
    """Every task in a fresh world. ValueError for what is no task."""
    check_int("steps", steps, 1)
    runs = []
    for task in tasks:
        if not isinstance(task, ToolTask):
            raise ValueError(f"tasks must hold ToolTask, got {describe(task)}")
        place = Workplace(task.world)
        answer, done, finish, tokens = work(policy, task.request, place, task.tools, steps, allows)
        mark = marked(task, answer, [step.action.tool for step in done], place)
        runs.append(TaskRun(task, mark, answer, done, finish, tokens))
    return runs


@dataclass(frozen=True)
class Result:
    """What some runs come to. interval: Wilson's, 95 %. steps, tokens: the mean of a run."""

    n: int
    done: int
    interval: tuple[float, float]
    steps: float
    tokens: float
    forbidden: int  # runs that tried a forbidden tool

    @property
    def success(self) -> float:
        return self.done / self.n

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.done} of {self.n} ({self.success:.2f} [{low:.2f}, {high:.2f}])"


def summed_up(runs: Sequence[TaskRun]) -> Result:
    """The runs in one line. ValueError for none."""
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    n, done = len(runs), sum(run.mark.done for run in runs)
    return Result(
        n, done, wilson_interval(done, n), sum(len(run.steps) for run in runs) / n,
        sum(run.tokens for run in runs) / n, sum(run.mark.forbidden > 0 for run in runs),
    )  # fmt: skip


def by_level(runs: Sequence[TaskRun]) -> dict[int, Result]:
    """The result of each level that occurs."""
    levels = sorted({run.task.level for run in runs})
    return {level: summed_up([run for run in runs if run.task.level == level]) for level in levels}
