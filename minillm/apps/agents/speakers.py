"""Who speaks next in a group: first who may, then which of them, by a rule.

    may(last)   the agents that the transitions let speak after `last`; all of them after somebody from outside
    rule        "round_robin", "random", "auto" (a model chooses), "manual" (a person does), or a function

Book: 15.2.3 멀티 에이전트. Peer: AutoGen 0.2's GroupChat. There, an agent whose list of followers is empty may be
followed by anyone; here by no one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.apps.agents.people import Person, check_person
from minillm.apps.agents.tools import in_time
from minillm.inference import ChatModel

if TYPE_CHECKING:
    from minillm.apps.agents.group import ChatAgent, GroupChat

RULES = ("round_robin", "random", "auto", "manual")
TRIES = 2  # of a person who picks the next speaker
SECONDS = 600.0  # that a model may take for an answer


class Speakers:
    """method: a rule, or a function (last speaker, group) -> an agent of the group, the name of a rule, or None, which
    ends the talk. The last speaker is None where somebody outside of the group spoke.

    allow_repeat_speaker: whether an agent may follow itself: True (None means it), False, or the agents that may.
    allowed_or_disallowed_speaker_transitions: agent -> who may, or who may not, follow it. After one that the
    "allowed" ones do not name, nobody speaks. seed: of "random". chooser: of "auto", which has `seconds` to choose.
    person: of "manual".
    """

    def __init__(
        self,
        agents: list[ChatAgent],
        method: str | Callable[[ChatAgent | None, GroupChat], Any],
        allow_repeat_speaker: bool | Sequence[ChatAgent] | None = None,
        allowed_or_disallowed_speaker_transitions: Mapping[ChatAgent, Sequence[ChatAgent]] | None = None,
        speaker_transitions_type: str | None = None,
        seed: int = 0,
        chooser: ChatModel | None = None,
        person: Person | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self.agents, self.method, self.seed = agents, method, check_int("seed", seed)
        self.chooser, self.person = chooser, None if person is None else check_person(person, "ask")
        self.seconds = check_seconds(seconds)
        if not callable(method):
            self._check(method)
        transitions, kind = allowed_or_disallowed_speaker_transitions, speaker_transitions_type
        if transitions is None and kind is None:
            self.follows = self._repeating(True if allow_repeat_speaker is None else allow_repeat_speaker)
        elif allow_repeat_speaker is not None:
            raise ValueError("give allow_repeat_speaker or transitions of the speakers, not both")
        else:
            self.follows = self._following(transitions, kind)

    def next(self, group: GroupChat) -> ChatAgent | None:
        """Who speaks after the group's last message; None where nobody may."""
        name = group.messages[-1]["name"]
        last = next((one for one in self.agents if one.name == name), None)
        rule = self.method
        if callable(rule):
            rule = rule(last, group)
            if rule is None or any(rule is one for one in self.agents):
                return rule
            self._check(rule)
        may = self.may(last)
        if len(may) < 2:  # nothing to choose
            return may[0] if may else None
        return getattr(self, f"by_{rule}")(last, may, group.messages)

    def may(self, last: ChatAgent | None) -> list[ChatAgent]:
        """Who may speak after `last`."""
        return self.agents if last is None else self.follows.get(last, [])

    def by_round_robin(self, last: Any, may: list[ChatAgent], messages: Any) -> ChatAgent:
        """The next one in the group's order who may speak."""
        start = 0 if last is None else self.agents.index(last) + 1
        return next(one for one in self.agents[start:] + self.agents[:start] if one in may)

    def by_random(self, last: Any, may: list[ChatAgent], messages: Sequence[Any]) -> ChatAgent:
        """Drawn by the seed and the place in the talk alone, so that a talk that is resumed draws the same."""
        return random.Random(f"{self.seed} {len(messages)}").choice(may)

    def by_auto(self, last: Any, may: list[ChatAgent], messages: Sequence[Mapping[str, str]]) -> ChatAgent:
        """The chooser says a name, of those that may speak."""
        roles = "\n".join(f"{one.name}: {one.description}" for one in may)
        told = [{"role": "system", "content": f"Choose who speaks next, by name.\n{roles}"}]
        told += [{"role": "user", "content": f"{one['name']}: {one['content']}"} for one in messages]
        names = [one.name for one in may]
        chosen, _ = answered("the chooser", lambda: self.chooser.choose(told, names), self.seconds)
        return may[chosen]

    def by_manual(self, last: Any, may: list[ChatAgent], messages: Any) -> ChatAgent:
        """A person types a number; nothing typed, "q" or two mistakes: the next in turn."""
        listed = ", ".join(f"{place} {one.name}" for place, one in enumerate(may, 1))
        for _ in range(TRIES):
            typed = self.person.ask(f"Who speaks next? {listed}").strip()
            if typed in ("", "q"):
                break
            if typed in map(str, range(1, len(may) + 1)):
                return may[int(typed) - 1]
        return self.by_round_robin(last, may, messages)

    def _check(self, rule: Any) -> None:
        check_choice("speaker_selection_method", rule, RULES)
        if rule == "auto" and not isinstance(self.chooser, ChatModel):
            raise ValueError(f"the rule 'auto' needs a chooser, a ChatModel, got {describe(self.chooser)}")
        if rule == "manual" and self.person is None:
            raise ValueError("the rule 'manual' needs a person")

    def _repeating(self, repeat: Any) -> dict[ChatAgent, list[ChatAgent]]:
        if not isinstance(repeat, bool) and not self._members(repeat):
            raise ValueError(
                f"allow_repeat_speaker must be a bool or agents of the group, got {describe(repeat)}"
            )
        again = self.agents if repeat is True else repeat or []
        return {one: [two for two in self.agents if two is not one or one in again] for one in self.agents}

    def _following(self, given: Any, kind: Any) -> dict[ChatAgent, list[ChatAgent]]:
        check_choice("speaker_transitions_type", kind, ("allowed", "disallowed"))
        if not isinstance(given, Mapping) or not all(map(self._members, [[*given], *given.values()])):
            raise ValueError(
                f"speaker transitions must be agent -> agents, all of the group, got {describe(given)}"
            )
        if kind == "allowed":
            return {one: [two for two in self.agents if two in who] for one, who in given.items()}
        return {one: [two for two in self.agents if two not in given.get(one, [])] for one in self.agents}

    def _members(self, given: Any) -> bool:
        return isinstance(given, (list, tuple)) and all(one in self.agents for one in given)


def check_seconds(seconds: Any) -> float:
    """The seconds that a model may take: a day at most."""
    return check_number("seconds", seconds, 0.001, 86_400)


def answered(who: str, call: Callable[[], Any], seconds: float) -> Any:
    """What a model answers; TimeoutError where it is not there in time. Such a call is left behind in its thread: while
    it runs, nobody else may use its engine."""
    said = in_time(call, seconds)
    if not said:
        raise TimeoutError(f"{who} gave no answer in {seconds:g} seconds")
    return said[0]
