"""A policy that learned from dialogues: which tools does the request call for, in what order, with which arguments?

    called for   a ridge regression on the request's vector says more than 0.5, and its arguments can be filled; where
                 there is none, the best that can be filled and has a use for every text in quotes and name of a file,
                 unless "nothing" is better
    order        tools that only look before tools that change something; then as in the dialogues, on average
    argument     the likeliest value of a list, by another regression; else the piece that the pointer points at
    failed       a tool that only looks for something in words is asked again with the next best piece, 4 times at most

The plan is made of the request alone, before any tool has said a word. So what stands in a file can become the next
tool's argument, and never a reason to call one. Where a tool of the plan is not offered, nothing is begun.

Book: 15.1.2 에이전트의 두뇌, 15.1.4 에이전트의 행동. Trained on `data.tool_dialogues`, examined on `data.tool_tasks`.
Left out: conditions ("if fewer than 5"), doing one thing twice, and another tool where the first found nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from minillm._checks import describe
from minillm.apps.agents.policies.action import Action, Done, Tools, last_word, no_tool
from minillm.apps.agents.policies.detectors import THRESHOLD, RequestVectors, ridge
from minillm.apps.agents.policies.pointer import ArgumentPointer, places_of
from minillm.data.tool_tasks import ToolTask
from minillm.data.tool_world import Workplace, tool_schemas

TRIES = 4  # of a tool that only looks, with another piece of the request each time
NOTHING = "nothing"  # what a request calls for that calls for no tool


class TrainedPolicy:
    """`TrainedPolicy().fit(tool_dialogues(3200))`. encoder: a SentenceEncoder that helps to choose, or None."""

    def __init__(self, encoder: Any = None) -> None:
        self.vectors = RequestVectors(encoder)
        self.detectors: dict[str, tuple[list[Any], np.ndarray, np.ndarray]] = {}  # (values, W, b)
        self.pointer = ArgumentPointer()
        self.places: dict[str, float] = {}
        self.last: tuple[str, np.ndarray] | None = None  # a request, and its vector

    def fit(self, dialogues: Iterable[ToolTask], epochs: int = 6, seed: int = 0) -> TrainedPolicy:
        """Learn the regressions and the pointer. ValueError where there is no dialogue."""
        dialogues = checked(dialogues)
        x, self.last = self.vectors.encode([one.request for one in dialogues]), None  # (N, D)
        self.places, self.detectors = mean_places(dialogues), {}
        tools = sorted(self.places)
        wanted = [tools_of(one) or (NOTHING,) for one in dialogues]
        y = np.array([[tool in one for tool in (*tools, NOTHING)] for one in wanted], x.dtype)  # (N, K + 1)
        self.detectors[""] = ([*tools, NOTHING], *ridge(x, y))
        for tool, argument, values in listed(tools):
            rows, told = calls_of(dialogues, tool, argument)
            y = np.array([[one == value for value in values] for one in told], x.dtype)
            self.detectors[f"{tool}.{argument}"] = (values, *ridge(x[rows], y))
        self.pointer.fit(dialogues, epochs, seed)
        return self

    def scores(self, request: str, detector: str = "") -> dict[Any, float]:
        """x W + b for each tool; with a detector "tool.argument", for each value of its list."""
        if not self.detectors:
            raise ValueError("fit(dialogues) comes before decisions")
        if self.last is None or self.last[0] != request:
            self.last = request, self.vectors.encode([request])[0]
        values, w, b = self.detectors[detector]
        return dict(zip(values, (self.last[1] @ w + b).tolist()))

    def plan(self, request: str) -> list[str]:
        """The tools that the request calls for and holds the arguments of, in order; [] for none."""
        scores, plan = self.scores(request), []
        for tool in sorted(
            self.places, key=lambda tool: (tool in Workplace.CHANGES, self.places[tool], tool)
        ):
            if scores[tool] > THRESHOLD and self.pointer.can_fill(tool, request, bool(plan)):
                plan.append(tool)
        if plan or scores[NOTHING] > THRESHOLD:
            return plan
        alone = [
            tool for tool in self.places if self.pointer.can_fill(tool, request, False, all_special=True)
        ]
        best = max([NOTHING, *alone], key=scores.__getitem__)
        return [] if best == NOTHING else [best]

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """The next call, or the end."""
        plan, good = self.plan(request), [step for step in steps if not step.failed]
        missing = [tool for tool in plan if tool not in tools]
        if missing:
            return no_tool(missing[0])
        if len(good) >= len(plan):
            return last_word(good or steps)
        tool, arguments = plan[len(good)], {}
        tried = list(takewhile(lambda step: step.failed, reversed(steps)))
        if tried and (len(tried) == TRIES or not in_words(tool)):
            return last_word(steps)
        for argument, schema in tools[tool]["parameters"]["properties"].items():
            if "enum" in schema:
                scores = self.scores(request, f"{tool}.{argument}")
                arguments[argument] = max(scores, key=scores.__getitem__)
        for place in places_of(tool):
            without = [step.action.arguments.get(place.argument) for step in tried]
            there, value = self.pointer.point(place, request, good, list(arguments.values()), without)
            if not there:
                return last_word(steps)
            arguments[place.argument] = value
        return Action(tool, arguments)


def in_words(tool: str) -> bool:
    """Whether a tool only looks, for something that is said in words: then another piece may be the one."""
    return tool not in Workplace.CHANGES and any(
        place.schema.get("type") == "string" and "pattern" not in place.schema for place in places_of(tool)
    )


def checked(dialogues: Iterable[ToolTask]) -> list[ToolTask]:
    """The dialogues as a list; ValueError for none, or for anything else."""
    dialogues = list(dialogues)
    for one in dialogues:
        if not isinstance(one, ToolTask):
            raise ValueError(f"dialogues must hold ToolTask, got {describe(one)}")
    if not any(one.calls for one in dialogues):
        raise ValueError("dialogues must hold at least one call, got none")
    return dialogues


def tools_of(task: ToolTask) -> tuple[str, ...]:
    """What a dialogue's request calls for, also where the first call failed: "look_up:price calculate" as names."""
    return () if task.kind == "none" else tuple(step.partition(":")[0] for step in task.kind.split())


def listed(tools: Sequence[str]) -> list[tuple[str, str, list[Any]]]:
    """(tool, argument, values) of the arguments that are a choice from a list."""
    return [
        (tool, argument, schema["enum"])
        for tool in tools
        for argument, schema in tool_schemas([tool])[tool]["parameters"]["properties"].items()
        if "enum" in schema
    ]


def calls_of(dialogues: Sequence[ToolTask], tool: str, argument: str) -> tuple[list[int], list[Any]]:
    """(the dialogues that call the tool, the argument's value in each)."""
    found = [
        (row, call.arguments[argument])
        for row, one in enumerate(dialogues)
        for call in one.calls
        if call.name == tool
    ]
    return [row for row, _ in found], [value for _, value in found]


def mean_places(dialogues: Sequence[ToolTask]) -> dict[str, float]:
    """Where each tool stands in requests that call for several, 0 first to 1 last; 0 for one that is always alone."""
    places: dict[str, list[float]] = {}
    for one in dialogues:
        chain = tools_of(one)
        for at, tool in enumerate(chain):
            places.setdefault(tool, []).extend([at / (len(chain) - 1)] if len(chain) > 1 else [])
    return {tool: sum(found) / len(found) if found else 0.0 for tool, found in places.items()}
