"""What a policy gives: the next call of a tool, or the last word. What it is given: the request and what happened.

    policy.decide(request, steps, tools) -> Action("look_up", {"item": "lamp", "field": "price"})
                                            Action(None, {}, "It costs 24.")

Any object with this method is a brain for an agent: a language model, a model of a few thousand weights, a script.
Book: 15.1.2 에이전트의 두뇌.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True)
class Action:
    """A call of `tool`, or, where that is None, the end with `answer`. tokens: what a language model read and wrote."""

    tool: str | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    answer: str = ""
    tokens: int = 0


class Done(NamedTuple):
    """A step that was taken: the action, what came back, and whether that is an error."""

    action: Action
    observation: str
    failed: bool


Tools = Mapping[str, Mapping[str, Any]]  # name -> {"description", "parameters": a JSON schema}


class Policy(Protocol):
    """Decides what to do next."""

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action: ...


def last_word(steps: Sequence[Done]) -> Action:
    """The end of a run that did what it could: what the tools said, or that the last of them failed."""
    if not steps:
        return Action(None, answer="I cannot do this with the tools that I have. 이 도구로는 할 수 없습니다.")
    said = "; ".join(step.observation for step in steps if not step.failed)
    if steps[-1].failed:
        return Action(
            None, answer=f"{said}{'; ' if said else ''}I could not do this: {steps[-1].observation}"
        )
    return Action(None, answer=said)


def no_tool(name: str) -> Action:
    """The end where a tool is missing."""
    return Action(None, answer=f"I cannot do this: there is no tool {name!r} here. 필요한 도구가 없습니다.")
