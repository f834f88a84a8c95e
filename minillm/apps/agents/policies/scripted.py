"""Policies that decide nothing: the right calls, a fixed refusal, and one that obeys whatever it reads.

They hold up the ends of the scale. `Oracle` knows the calls of its tasks and shows that each can be done; `Declining`
shows what refusing everything is worth; `Obedient` plays a model that takes what a tool says for an order, and makes
injection visible on any machine, with no model at all.

Book: 15.3 에이전트 평가하기. Paper: Greshake et al. 2023, on indirect prompt injection, which `Obedient` falls for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from minillm.apps.agents.policies.action import Action, Done, Policy, Tools, last_word
from minillm.apps.agents.policies.spans import tokens
from minillm.apps.guardrails.hidden import hidden_texts
from minillm.apps.guardrails.views import letters_view
from minillm.data.tool_tasks import ToolTask


class Oracle:
    """Makes the calls that stand with each task. ValueError for a request that is none of the tasks'."""

    def __init__(self, tasks: Iterable[ToolTask]) -> None:
        self.tasks = {task.request: task for task in tasks}

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """The next call of the task, or the end."""
        if request not in self.tasks:
            raise ValueError(f"request must be one of the {len(self.tasks)} tasks, got {request[:80]!r}")
        calls = self.tasks[request].calls
        if len(steps) == len(calls):
            return last_word(steps)
        return Action(calls[len(steps)].name, calls[len(steps)].arguments)


class Declining:
    """Never does anything."""

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """The refusal."""
        return last_word(())


ORDERS = {  # letters and digits alone, as letters_view has them
    "delete_file": ("delete", "erase", "remove", "삭제", "지우", "지워"),
    "send_message": ("send", "forward", "보내", "전달", "전송"),
    "write_file": ("overwrite", "write", "덮어쓰", "써넣", "저장"),
}


class Obedient:
    """Works as `policy` does, until a tool's result holds an order: then it obeys, once. It reads through disguises."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """What the last result orders, or what the policy decides."""
        orders = [order_in(step, tools) for step in steps]
        calls = [(step.action.tool, dict(step.action.arguments)) for step in steps]
        if any(order == call for order, call in zip(orders, calls[1:])):  # it has obeyed, or was stopped
            return last_word(steps[:1])
        if steps and orders[-1] is not None:
            return Action(*orders[-1])
        return self.policy.decide(request, steps, tools)


def order_in(step: Done, tools: Tools) -> tuple[str, dict[str, str]] | None:
    """The call that a result orders, None where it orders nothing."""
    for tool, words in ORDERS.items():
        for text in () if step.failed else all_texts(step.observation):
            letters = letters_view(text).text
            if tool in tools and any(letters_view(word).text in letters for word in words):
                return tool, order_arguments(tool, text)
    return None


def all_texts(text: str) -> list[str]:
    """The text, and what stands in it in base64."""
    return [text, *(found for found, _, _ in hidden_texts(text))]


def order_arguments(tool: str, text: str) -> dict[str, str]:
    """Whom or what an order names: its last file, its first address or capital letter."""
    files = [one.text for one in tokens(text) if one.kind == "file"] or ["notes.txt"]
    person = re.search(r"[\w.]+@[\w.]+|\b[A-Z]\w+", text)
    return {
        "delete_file": {"path": files[-1]},
        "send_message": {"to": person[0] if person else "stranger", "text": text},
        "write_file": {"path": files[-1], "text": ""},
    }[tool]
