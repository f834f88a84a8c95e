"""What a run was: its steps, why it ended, what it cost. All of it is JSON, so that a run can be kept and gone on with.

Book: 15.2.1 단일 에이전트.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from minillm.apps.agents.policies.action import Action, Done
from minillm.apps.agents.tools import Observation

FINISHES = ("answer", "steps", "tokens", "seconds")


@dataclass(frozen=True)
class Step:
    """One turn of the loop. action: a tool's name, "answer", or "" where the model wrote no action."""

    thought: str
    action: str
    arguments: dict[str, Any]
    observation: Observation

    @property
    def done(self) -> Done:
        """The step as a policy is told of it."""
        error = self.observation.error
        return Done(Action(self.action, self.arguments), error or self.observation.text, error is not None)


@dataclass(frozen=True)
class Run:
    """finish_reason: "answer", or the budget that was used up: "steps", "tokens", "seconds"."""

    task: str
    answer: str
    steps: list[Step]
    finish_reason: str
    usage: dict[str, float]


@dataclass
class State:
    """A run that is going on. refused: tools that a person has said no to."""

    task: str
    recalled: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    answer: str = ""
    finish: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict that json.dumps takes."""
        return asdict(self) | {
            "steps": [{**vars(one), "observation": one.observation._asdict()} for one in self.steps]
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> State:
        """The state that `to_json` wrote; ValueError for anything else."""
        try:
            steps = [
                Step(**{**one, "observation": Observation(**one["observation"])}) for one in saved["steps"]
            ]
            state = cls(**{**saved, "steps": steps})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a saved run must be what Agent.state() gave ({error})") from None
        if not state.sound():
            raise ValueError(
                "a saved run must be what Agent.state() gave: texts, steps, tokens and seconds >= 0"
            )
        return state

    def sound(self) -> bool:
        """Whether every field is of its type."""
        lists = all(isinstance(one, list) for one in (self.recalled, self.refused))
        texts = [self.task, self.answer, *(self.recalled if lists else ()), *(self.refused if lists else ())]
        texts += [one for step in self.steps for one in (step.thought, step.action, step.observation.text)]
        errors = [step.observation.error for step in self.steps]
        times = [self.seconds, *(step.observation.seconds for step in self.steps)]
        return (
            lists
            and all(isinstance(one, str) for one in texts)
            and all(one is None or isinstance(one, str) for one in errors)
            and all(isinstance(step.arguments, dict) for step in self.steps)
            and all(type(one) in (int, float) and 0 <= one < math.inf for one in times)
            and all(isinstance(step.observation.spoken, bool) for step in self.steps)
            and type(self.tokens) is int
            and self.tokens >= 0
            and self.finish in (None, *FINISHES)
        )

    def run(self) -> Run:
        """The run as it ended."""
        usage = {"steps": len(self.steps), "tokens": self.tokens, "seconds": self.seconds}
        return Run(self.task, self.answer, [*self.steps], self.finish or "", usage)
