"""Several agents (멀티 에이전트) talk: two in turn, or a group with a rule that says who speaks next. All of it ends.

    ann.initiate_chat(bob, "안녕", max_turns=4) -> Chat(messages, finish_reason)
    GroupChat([ann, bob, cho], max_round=6, speaker_selection_method="random").run("Plan a trip") -> Chat

A talk ends by a message that says so (`is_termination_msg`), by an agent's max_consecutive_auto_reply, by a person who
types "exit", when nobody may speak, or by max_round, which is never without a bound. A model that raises, or says
nothing for `seconds` (TimeoutError), stops it: `state()` still holds what was said, and `resume(state)` goes on.
Book: 15.2.3 멀티 에이전트. Peer: AutoGen 0.2, whose names and counts these are (tests/parity/test_autogen.py). It
differs where a model or a person is missing: the defaults are "round_robin" and "NEVER", not "auto" and "TERMINATE".
Left out: nested chats, carry-over, code executors, a history that an agent keeps from one chat to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from minillm._checks import check_choice, check_function, check_int, check_text, describe, is_listing
from minillm.apps.agents.agent import Agent
from minillm.apps.agents.people import Person, check_person
from minillm.apps.agents.speakers import SECONDS, Speakers, answered, check_seconds
from minillm.inference import ChatModel, SamplingParams

MOST = 100  # replies of an agent in a row, as AutoGen has it, and turns of a talk
MODES = ("NEVER", "TERMINATE", "ALWAYS")
ENDS = ("terminated", "auto_reply", "person", "no speaker", "rounds")
Message = dict[str, str]  # name, content, and by: "model" or "person" where an agent of the talk said it


@dataclass(frozen=True)
class Chat:
    """finish_reason: "terminated" (a message said so), "auto_reply" (one agent's limit), "person" (typed "exit"),
    "no speaker" (the rule or the transitions name nobody), "rounds"."""

    messages: list[Message]
    finish_reason: str

    @property
    def summary(self) -> str:
        """The last message without its TERMINATE, AutoGen's "last_msg"."""
        return self.messages[-1]["content"].replace("TERMINATE", "").strip()


def says_terminate(message: Mapping[str, str]) -> bool:
    """The rule of AutoGen's examples. Its default is narrower: the message is TERMINATE and nothing else."""
    return message["content"].rstrip().endswith("TERMINATE")


class ChatAgent:
    """AutoGen's ConversableAgent. model: a ChatModel, or any function messages -> text; None says default_auto_reply.

    human_input_mode: "ALWAYS" asks the person at each turn, "TERMINATE" where the talk would end, "NEVER" not at all.
    What the person types is said in the agent's name. Nothing typed lets the model answer, also past its limit, but
    not after a message that ends the talk; "exit" ends it. is_termination_msg: says_terminate if None. description:
    what a chooser is told, system_message if None. params: of a ChatModel, its max_tokens for example. seconds: that
    the model may take for a reply.
    """

    def __init__(
        self,
        name: str,
        system_message: str = "",
        model: ChatModel | Callable[[list[dict[str, str]]], str] | None = None,
        max_consecutive_auto_reply: int = MOST,
        human_input_mode: str = "NEVER",
        person: Person | None = None,
        is_termination_msg: Callable[[Message], bool] | None = None,
        description: str | None = None,
        default_auto_reply: str = "",
        params: SamplingParams | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self.name, self.system_message = check_name(name), check_text("system_message", system_message)
        self.default_auto_reply = check_text("default_auto_reply", default_auto_reply)
        speechless = model is None and person is None and not default_auto_reply
        if speechless or not (model is None or isinstance(model, ChatModel) or callable(model)):
            raise ValueError(
                f"model must be a ChatModel or a function messages -> text, got {describe(model)}"
            )
        if params is not None and not isinstance(params, SamplingParams):
            raise ValueError(f"params must be SamplingParams or None, got {describe(params)}")
        self.model, self.params = model, params
        self.person = None if person is None else check_person(person, "ask")
        self.seconds = check_seconds(seconds)
        self.max_consecutive_auto_reply = check_int(
            "max_consecutive_auto_reply", max_consecutive_auto_reply, 0
        )
        self.human_input_mode = check_choice("human_input_mode", human_input_mode, MODES)
        if person is None and human_input_mode != "NEVER":
            raise ValueError(f"human_input_mode {human_input_mode!r} needs a person")
        self.is_termination_msg = check_function("is_termination_msg", is_termination_msg) or says_terminate
        self.description = system_message if description is None else check_text("description", description)

    def told(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The talk as this agent's model reads it: its own messages are the assistant's, all others the user's."""
        told = [{"role": "system", "content": self.system_message}] if self.system_message else []
        for one in messages:
            if "name" not in one:  # OpenAI's form: it says itself whose it is
                told.append({"role": one.get("role", "user"), "content": one["content"]})
                continue
            own = one["name"] == self.name
            content = one["content"] if own else f"{one['name']}: {one['content']}"
            told.append({"role": "assistant" if own else "user", "content": content})
        return told

    def generate_reply(self, messages: Sequence[Message]) -> str:
        """What the model says. TimeoutError where it takes too long."""
        if self.model is None:
            return self.default_auto_reply
        told = self.told(messages)
        chats = isinstance(self.model, ChatModel)
        said = answered(
            f"the model of {self.name}",
            lambda: self.model.chat(told, self.params).text if chats else self.model(told),
            self.seconds,
        )
        return check_text(f"what {self.name} says", said)

    def reply(self, messages: Sequence[Message], auto_replies: int) -> tuple[str | None, str]:
        """(what is said next, by whom) after `auto_replies` in a row; (None, why the talk ends)."""
        last, limit = messages[-1], self.max_consecutive_auto_reply
        ended = self.is_termination_msg(last)
        over = "terminated" if ended else "auto_reply" if auto_replies >= limit else ""
        if self.human_input_mode == "ALWAYS" or (over and self.human_input_mode == "TERMINATE"):
            asked = f"{last['name']}: {last['content']}\n{self.name} says (Enter alone: go on, exit: end):"
            typed = check_text("what the person types", self.person.ask(asked))
            if typed.strip().lower() == "exit":
                return None, "person"
            if typed or (limit == 0 and not ended):
                return typed, "person"
            over = "terminated" if ended else ""  # nothing typed: the model goes on
        return (None, over) if over else (self.generate_reply(messages), "model")

    def initiate_chat(
        self, recipient: ChatAgent | GroupChat, message: str, max_turns: int = 10, tracer: Any = None
    ) -> Chat:
        """This agent says `message`, the other answers, and so on. A turn is a message of this agent and the reply to
        it: 2 * max_turns messages at most. A group has its own max_round."""
        if isinstance(recipient, GroupChat):
            return recipient.run(message, self.name, tracer)
        if not isinstance(recipient, ChatAgent) or recipient.name == self.name:
            raise ValueError(f"recipient must be a ChatAgent of another name, got {describe(recipient)}")
        rounds = 2 * check_int("max_turns", max_turns, 1, MOST)
        return GroupChat([self, recipient], max_round=rounds).run(message, self.name, tracer)


class GroupChat:
    """AutoGen's GroupChat and its manager in one. max_round: messages of a talk, the first one too. The other options
    say who speaks next.

    speaker_selection_method: "round_robin", "random" (by `seed`), "auto" (`chooser`, a ChatModel, has `seconds` to say
    a name), "manual" (`person` types a number), or a function (last speaker, group) -> an agent, a rule's name or None,
    which ends the talk. Who may follow whom: allow_repeat_speaker, or the transitions, agent -> agents, with their
    type "allowed" or "disallowed" (class Speakers).
    """

    def __init__(
        self,
        agents: Sequence[ChatAgent],
        messages: Sequence[Message] = (),
        max_round: int = 10,
        speaker_selection_method: str | Callable[[ChatAgent | None, GroupChat], Any] = "round_robin",
        allow_repeat_speaker: bool | Sequence[ChatAgent] | None = None,
        allowed_or_disallowed_speaker_transitions: Mapping[ChatAgent, Sequence[ChatAgent]] | None = None,
        speaker_transitions_type: str | None = None,
        seed: int = 0,
        chooser: ChatModel | None = None,
        person: Person | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self.agents = [*agents] if is_listing(agents) else []
        members = all(isinstance(one, ChatAgent) for one in self.agents)
        if not members or len({one.name for one in self.agents}) < max(2, len(self.agents)):
            raise ValueError(
                f"a group has two ChatAgents at least, of different names, got {describe(agents)}"
            )
        self.messages = checked_messages(messages)
        self.max_round = check_int("max_round", max_round, 1, 2 * MOST)
        transitions = (allowed_or_disallowed_speaker_transitions, speaker_transitions_type)
        chosen = (allow_repeat_speaker, *transitions, seed, chooser, person, seconds)
        self.speakers = Speakers(self.agents, speaker_selection_method, *chosen)
        self.begin, self.finish = len(self.messages), None

    def run(self, message: str, sender: str = "user", tracer: Any = None) -> Chat:
        """The group talks about a message; `self.messages` holds what was said, also before."""
        first = {"name": check_name(sender), "content": check_text("message", message)}
        self.begin, self.finish = len(self.messages), None
        self.messages.append(first)
        return self.go_on(tracer)

    def state(self) -> dict[str, Any]:
        """The talk as it stands, as JSON."""
        return {"messages": [{**one} for one in self.messages], "begin": self.begin, "finish": self.finish}

    def resume(self, state: Mapping[str, Any], tracer: Any = None) -> Chat:
        """Go on with a talk that `state()` gave; one that has ended stays ended."""
        if not isinstance(state, Mapping) or not {"messages", "begin", "finish"} <= {*state}:
            raise ValueError(f"a saved talk must be what state() gave, got {describe(state)}")
        messages = checked_messages(state["messages"])
        begin = check_int("begin", state["begin"], 0, len(messages) - 1)
        finish = state["finish"] if state["finish"] is None else check_choice("finish", state["finish"], ENDS)
        self.messages, self.begin, self.finish = messages, begin, finish
        return self.go_on(tracer)

    def go_on(self, tracer: Any = None) -> Chat:
        """Turns until one of them ends the talk."""
        if not self.messages:
            raise ValueError("nothing was said yet: begin with run(message)")
        with _span(tracer, "talk"):
            while self.finish is None:
                self.turn(tracer)
        return Chat([{**one} for one in self.messages], self.finish)

    def turn(self, tracer: Any = None) -> None:
        """The next speaker says something, or the talk ends."""
        if len(self.messages) - self.begin >= self.max_round:
            self.finish = "terminated" if self._said_the_end() else "rounds"
        elif (speaker := self.speakers.next(self)) is None:
            self.finish = "no speaker"
        else:
            with _span(tracer, f"turn of {speaker.name}"):
                said, how = speaker.reply(self.messages, self.auto_replies(speaker))
            if said is None:
                self.finish = how
            else:
                self.messages.append({"name": speaker.name, "content": said, "by": how})

    def auto_replies(self, speaker: ChatAgent) -> int:
        """How often in a row its model has spoken in this talk."""
        count = 0
        for one in reversed(self.messages[self.begin :]):
            if one["name"] == speaker.name:
                if one.get("by") != "model":
                    break
                count += 1
        return count

    def _said_the_end(self) -> bool:
        last = self.messages[-1]
        return any(one.is_termination_msg(last) for one in self.agents if one.name != last["name"])


def _span(tracer: Any, name: str) -> Any:
    return nullcontext() if tracer is None else tracer.trace(name)


def check_name(name: Any) -> str:
    """A name as it can stand before a message: "name: content"."""
    if not check_text("name", name).strip() or {":", "\n"} & {*name}:
        raise ValueError(f"a name has a letter, and neither ':' nor a line break, got {describe(name)}")
    return name


def checked_messages(messages: Any) -> list[Message]:
    """Copies of messages: their name, their content, and by whom it was said, where they say that."""
    messages = [*messages] if is_listing(messages) else [messages]
    for one in messages:
        if not isinstance(one, Mapping) or not {"name", "content"} <= {*one}:
            raise ValueError(f"messages must be dicts with a name and a content, got {describe(messages)}")
        check_name(one["name"]), check_text("content of messages", one["content"])
        check_choice("by of messages", one.get("by"), (None, "model", "person"))
    return [
        {key: one[key] for key in ("name", "content", "by") if one.get(key) is not None} for one in messages
    ]


def rag_agent(name: str, engine: Any, **options: Any) -> ChatAgent:
    """A member that answers the last message of another one from documents: `engine` is a QueryEngine of apps/rag.
    options: of ChatAgent."""
    if not callable(getattr(engine, "query", None)):
        raise ValueError(f"engine must be a QueryEngine, got {describe(engine)}")

    def answer(told: list[dict[str, str]]) -> str:
        asked = next((one["content"] for one in reversed(told) if one["role"] == "user"), told[-1]["content"])
        return engine.query(asked.partition(": ")[2].strip() or asked).response  # without the speaker's name

    return ChatAgent(name, model=answer, **options)


def tool_agent(name: str, agent: Agent, **options: Any) -> ChatAgent:
    """A member with tools: each of its turns is a run of `agent` (lesson 15_1), whose task is the talk so far. A run
    knows no refusal of an earlier one: give agents that share a person `people.FinalWord(person)`. options: of
    ChatAgent."""
    if not isinstance(agent, Agent):
        raise ValueError(f"agent must be an Agent, got {describe(agent)}")

    def answer(told: list[dict[str, str]]) -> str:
        run = agent.run("\n".join(one["content"] for one in told))
        return (
            run.answer
            if run.finish_reason == "answer"
            else f"(no answer: the {run.finish_reason} are used up)"
        )

    return ChatAgent(name, model=answer, **options)
