"""People in the loop: a person answers questions, and allows, edits or refuses a call that could do harm.

    person.ask("Which folder?") -> text       person.approve("delete", {"name": "a.txt"}) -> Approval("refuse")

Book: 15.2.2 사용자와 에이전트의 상호작용. Peer: AutoGen's human_input_mode.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from minillm._checks import check_choice, check_function, check_text, describe
from minillm.apps.agents.tools import Tool, tool_from, visible

VERDICTS = ("approve", "edit", "refuse")


@dataclass(frozen=True)
class Approval:
    """verdict: "approve", "edit" (with the arguments to use instead) or "refuse", which is final for the run."""

    verdict: str
    arguments: Mapping[str, Any] | None = None
    why: str = ""

    def __post_init__(self) -> None:
        check_choice("verdict", self.verdict, VERDICTS)
        if (self.verdict == "edit") != isinstance(self.arguments, Mapping):
            raise ValueError(f"arguments come with 'edit' alone, got {describe(self.arguments)}")


def as_approval(said: Any) -> Approval:
    """What a person said; whatever is no Approval is a refusal."""
    return said if isinstance(said, Approval) else Approval("refuse", why=f"no verdict, {describe(said)}")


class Person(Protocol):
    """Whoever is asked."""

    def ask(self, question: str) -> str: ...

    def approve(self, tool: str, arguments: dict[str, Any]) -> Approval: ...


def check_person(person: Any, *needs: str) -> Any:
    """`person` if it has the methods that are needed."""
    if lacks := [one for one in needs if not callable(getattr(person, one, None))]:
        raise ValueError(f"person must have {' and '.join(lacks)}, got {describe(person)}")
    return person


@dataclass
class ScriptedPerson:
    """Says what was written down, in order; when nothing is left, refuses. `asked` holds what it was asked."""

    answers: Sequence[str] = ()
    approvals: Sequence[Approval] = ()
    asked: list[Any] = field(default_factory=list)

    def ask(self, question: str) -> str:
        """The next answer, "" when there is none."""
        at = sum(isinstance(one, str) for one in self.asked)
        self.asked.append(check_text("question", question))
        return self.answers[at] if at < len(self.answers) else ""

    def approve(self, tool: str, arguments: dict[str, Any]) -> Approval:
        """The next approval."""
        at = sum(not isinstance(one, str) for one in self.asked)
        self.asked.append((tool, arguments))
        return (
            self.approvals[at]
            if at < len(self.approvals)
            else Approval("refuse", why="nothing more was said")
        )


class ConsolePerson:
    """A person at the keyboard. y: approve, n or no input at all: refuse, JSON: the arguments to use instead."""

    def __init__(self, read: Callable[[str], str] = input) -> None:
        self.read = check_function("read", read)

    def ask(self, question: str) -> str:
        """What was typed; "" where the input has ended."""
        try:  # control characters of a model could repaint a terminal
            return self.read(f"{visible(question)} ")
        except EOFError:
            return ""

    def approve(self, tool: str, arguments: dict[str, Any]) -> Approval:
        """What was typed, read strictly: what is not understood is no permission."""
        shown = json.dumps(arguments, ensure_ascii=False)
        said = self.ask(f"Allow {tool}({shown})? [y/N or other arguments as JSON]").strip()
        if said.lower() in ("y", "yes", "네", "예"):
            return Approval("approve")
        try:
            edited = json.loads(said)
        except ValueError:
            edited = None
        return Approval("edit", edited) if isinstance(edited, dict) else Approval("refuse", why=said)


class FinalWord:
    """One person for several agents: a tool that was refused to one of them is refused to all, and not asked about.

    refused: tool -> why, the refusals that stand. No message holds them: save them beside a talk, and give them back.
    """

    def __init__(self, person: Person, refused: Mapping[str, str] | None = None) -> None:
        self.person = check_person(person, "ask", "approve")
        if not isinstance(refused, (Mapping, type(None))):
            raise ValueError(f"refused must be tool -> why, got {describe(refused)}")
        self.refused = dict(refused or {})

    def ask(self, question: str) -> str:
        """The person's answer."""
        return self.person.ask(question)

    def approve(self, tool: str, arguments: dict[str, Any]) -> Approval:
        """The person's verdict, or the refusal that stands."""
        if tool not in self.refused:
            said = as_approval(self.person.approve(tool, arguments))
            if said.verdict != "refuse":
                return said
            self.refused[tool] = said.why
        return Approval("refuse", why=self.refused[tool])


def ask_tool(person: Person) -> Tool:
    """The person as a tool: an agent that does not know may ask. Waits up to ten minutes."""

    def ask_person(question: str) -> str:
        """Ask the person a question."""
        return person.ask(question)

    return tool_from(ask_person, seconds=600)
