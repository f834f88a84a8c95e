"""Several agents (멀티 에이전트) talk: two in turn, or a group with a rule that says who speaks next. All of it ends.

    ann.initiate_chat(bob, "안녕", max_turns=4) -> Chat(messages, finish_reason)
    GroupChat([ann, bob, cho], max_round=6, speaker_selection="round_robin").run("Plan a trip") -> Chat

A talk ends by a message that says so (`is_termination_msg`, "TERMINATE" at its end), by an agent's
max_consecutive_auto_reply, by a person who types "exit", or by its turns, which are never without a bound.
Book: 15.2.3 멀티 에이전트. Peer: AutoGen 0.2, whose names these are. Left out: nested chats, code executors.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from minillm._checks import check_choice, check_function, check_int, check_text, describe
from minillm.apps.agents.people import Person
from minillm.inference import ChatModel

MOST_TURNS = 100
MODES, RULES = ("NEVER", "TERMINATE", "ALWAYS"), ("round_robin", "random", "auto")
Message = dict[str, str]  # name, content


@dataclass(frozen=True)
class Chat:
    """finish_reason: "terminated" (a message said so), "auto_reply" (the limit of one agent), "person", "turns"."""

    messages: list[Message]
    finish_reason: str


def says_terminate(message: Message) -> bool:
    """AutoGen's usual rule."""
    return message["content"].rstrip().endswith("TERMINATE")


class ChatAgent:
    """AutoGen's ConversableAgent. model: a ChatModel, or any function messages -> text.

    human_input_mode: "ALWAYS" asks the person at each turn, "TERMINATE" where the talk would end, "NEVER" not at all.
    What the person types is said in the agent's name; nothing typed lets the model answer, "exit" ends the talk.
    """

    def __init__(
        self,
        name: str,
        system_message: str = "",
        model: ChatModel | Callable[[list[dict[str, str]]], str] | None = None,
        max_consecutive_auto_reply: int = 10,
        human_input_mode: str = "NEVER",
        person: Person | None = None,
        is_termination_msg: Callable[[Message], bool] = says_terminate,
    ) -> None:
        self.name, self.system_message = (
            check_text("name", name),
            check_text("system_message", system_message),
        )
        if not isinstance(model, ChatModel) and not callable(model):
            raise ValueError(
                f"model must be a ChatModel or a function messages -> text, got {describe(model)}"
            )
        self.model, self.person = model, person
        self.max_consecutive_auto_reply = check_int(
            "max_consecutive_auto_reply", max_consecutive_auto_reply, 0
        )
        self.human_input_mode = check_choice("human_input_mode", human_input_mode, MODES)
        if person is None and human_input_mode != "NEVER":
            raise ValueError(f"human_input_mode {human_input_mode!r} needs a person")
        self.is_termination_msg = check_function("is_termination_msg", is_termination_msg)

    def generate_reply(self, messages: Sequence[Message]) -> str:
        """What the model says: its own messages are the assistant's, all others the user's."""
        told = [{"role": "system", "content": self.system_message}] if self.system_message else []
        for one in messages:
            own = one["name"] == self.name
            content = one["content"] if own else f"{one['name']}: {one['content']}"
            told.append({"role": "assistant" if own else "user", "content": content})
        said = self.model.chat(told).text if isinstance(self.model, ChatModel) else self.model(told)
        return check_text(f"what {self.name} says", said)

    def reply(self, messages: Sequence[Message], auto_replies: int) -> tuple[str | None, str]:
        """(what is said next, how) after `auto_replies` in a row: "person", "auto"; (None, why the talk ends)."""
        over = "terminated" if self.is_termination_msg(messages[-1]) else ""
        over = over or ("auto_reply" if auto_replies >= self.max_consecutive_auto_reply else "")
        if self.human_input_mode == "ALWAYS" or (over and self.human_input_mode == "TERMINATE"):
            typed = self.person.ask(f"{messages[-1]['name']}: {messages[-1]['content']}")
            if typed.strip().lower() == "exit":
                return None, "person"
            if typed:
                return typed, "person"
        return (None, over) if over else (self.generate_reply(messages), "auto")

    def initiate_chat(
        self, recipient: ChatAgent, message: str, max_turns: int = 10, tracer: Any = None
    ) -> Chat:
        """This agent says `message`, the other answers, and so on: `max_turns` answers at most."""
        first = {"name": self.name, "content": check_text("message", message)}
        if not isinstance(recipient, ChatAgent) or recipient.name == self.name:
            raise ValueError(f"recipient must be a ChatAgent of another name, got {describe(recipient)}")
        return talk(
            [self, recipient], [first], lambda chat: [recipient, self][len(chat) % 2 - 1], max_turns, tracer
        )


def talk(
    agents: Sequence[ChatAgent],
    messages: list[Message],
    next_speaker: Callable[[list[Message]], ChatAgent],
    max_turns: int,
    tracer: Any = None,
) -> Chat:
    """Speakers in turn until one of them ends it, or the turns are over."""
    in_a_row = {one.name: 0 for one in agents}
    for _ in range(check_int("max_turns", max_turns, 1, MOST_TURNS)):
        speaker = next_speaker(messages)
        with nullcontext() if tracer is None else tracer.trace(f"turn of {speaker.name}"):
            said, how = speaker.reply(messages, in_a_row[speaker.name])
        if said is None:
            return Chat(messages, how)
        in_a_row[speaker.name] = 0 if how == "person" else in_a_row[speaker.name] + 1
        messages.append({"name": speaker.name, "content": said})
    return Chat(messages, "turns")


class GroupChat:
    """speaker_selection: "round_robin", "random" (by seed), "auto" (`chooser`, a ChatModel, chooses among the others),
    or a function (last speaker's name, messages) -> an agent of the group."""

    def __init__(
        self,
        agents: Sequence[ChatAgent],
        messages: Sequence[Message] = (),
        max_round: int = 10,
        speaker_selection: str | Callable[[str, list[Message]], ChatAgent] = "round_robin",
        seed: int = 0,
        chooser: ChatModel | None = None,
    ) -> None:
        self.agents = [*agents]
        if len({one.name for one in self.agents}) < max(2, len(self.agents)):
            raise ValueError(f"a group has two agents at least, of different names, got {describe(agents)}")
        self.messages, self.max_round = [*messages], check_int("max_round", max_round, 1, MOST_TURNS)
        if not callable(speaker_selection):
            check_choice("speaker_selection", speaker_selection, RULES)
        if speaker_selection == "auto" and not isinstance(chooser, ChatModel):
            raise ValueError(
                f"speaker_selection 'auto' needs a chooser, a ChatModel, got {describe(chooser)}"
            )
        self.rule, self.chooser, self.draw = speaker_selection, chooser, random.Random(seed)

    def run(self, message: str, sender: str = "user", tracer: Any = None) -> Chat:
        """The group talks about a message; `self.messages` holds what was said, also before."""
        self.messages.append({"name": sender, "content": check_text("message", message)})
        return talk(self.agents, self.messages, self.next_speaker, self.max_round, tracer)

    def next_speaker(self, messages: list[Message]) -> ChatAgent:
        """Who speaks after the last message."""
        last = messages[-1]["name"]
        names = [one.name for one in self.agents]
        others = [one for one in self.agents if one.name != last]
        if callable(self.rule):
            chosen = self.rule(last, messages)
            if not any(chosen is one for one in self.agents):
                raise ValueError(f"the speaker rule must give an agent of the group, got {describe(chosen)}")
            return chosen
        if self.rule == "random":
            return self.draw.choice(others)
        if self.rule == "round_robin":
            return self.agents[(names.index(last) + 1) % len(names)] if last in names else self.agents[0]
        roles = "\n".join(f"{one.name}: {one.system_message}" for one in others)
        told = [{"role": "system", "content": f"Choose who speaks next, by name.\n{roles}"}]
        told += [{"role": "user", "content": f"{one['name']}: {one['content']}"} for one in messages]
        return others[self.chooser.choose(told, [one.name for one in others])[0]]


def rag_agent(name: str, engine: Any, **options: Any) -> ChatAgent:
    """An agent that answers the last message from documents: `engine` is a QueryEngine of apps/rag."""

    def answer(told: list[dict[str, str]]) -> str:
        return engine.query(told[-1]["content"].partition(": ")[2]).response  # without the speaker's name

    return ChatAgent(name, model=answer, **options)
