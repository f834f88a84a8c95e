"""Several agents, and people: who speaks, who ends it, what is kept. Against AutoGen itself: tests/parity."""

import inspect
import itertools
import json
import random
import threading
import time

import pytest

from minillm.apps.agents.agent import Agent, Budget
from minillm.apps.agents.group import ENDS, MODES, ChatAgent, GroupChat, rag_agent, tool_agent
from minillm.apps.agents.people import Approval, ConsolePerson, FinalWord, ScriptedPerson
from minillm.apps.agents.tools import tool
from minillm.apps.guardrails import NgramEncoder
from minillm.apps.rag import VectorStoreIndex
from minillm.apps.tracing import Tracer
from minillm.data import Document
from minillm.inference import Reply, ScriptedChat
from tests.apps.agents.test_agent import act
from tests.helpers import soak_count


def endless(name, **more):
    return ChatAgent(name, model=lambda told: f"{name} {len(told)}", **more)


def test_two_agents_never_talk_for_ever():
    ann, bob = endless("ann"), endless("bob")
    chat = ann.initiate_chat(bob, "hello", max_turns=4)
    assert [one["name"] for one in chat.messages] == ["ann", "bob"] * 4
    assert chat.finish_reason == "rounds"
    few = endless("bob", max_consecutive_auto_reply=2)
    chat = ann.initiate_chat(few, "hello", max_turns=100)
    assert (chat.finish_reason, len(chat.messages)) == ("auto_reply", 5)
    done = ChatAgent("bob", model=ScriptedChat(["잠깐", "끝. TERMINATE"]))
    chat = ann.initiate_chat(done, "hello")
    assert (chat.finish_reason, len(chat.messages), chat.summary) == ("terminated", 4, "끝.")
    done.model = ScriptedChat(["TERMINATE"])
    assert ann.initiate_chat(done, "hello", max_turns=1).finish_reason == "terminated"
    with pytest.raises(ValueError, match="max_turns"):
        ann.initiate_chat(bob, "hello", max_turns=10**9)
    with pytest.raises(ValueError, match="another name"):
        ann.initiate_chat(ann, "hello")


def test_what_people_do():
    ann = endless("ann")
    typing = ScriptedPerson(["do this", "", "exit"])
    bob = endless("bob", human_input_mode="ALWAYS", person=typing)
    chat = ann.initiate_chat(bob, "hello")
    assert [one["content"] for one in chat.messages if one["name"] == "bob"] == ["do this", "bob 3"]
    assert chat.finish_reason == "person"
    asked = ScriptedPerson(["go on", "", "EXIT "])
    more = endless("bob", human_input_mode="TERMINATE", person=asked, max_consecutive_auto_reply=1)
    chat = ann.initiate_chat(more, "hello")
    said = [one["content"] for one in chat.messages if one["name"] == "bob"]
    assert said == ["bob 1", "go on", "bob 5", "bob 7"]  # its limit is where the person is asked
    assert (chat.finish_reason, len(asked.asked)) == ("person", 3)
    alone = ChatAgent("min", human_input_mode="ALWAYS", person=ScriptedPerson(["네", ""]))  # no model at all
    chat = ann.initiate_chat(alone, "hello", max_turns=2)
    assert [one["content"] for one in chat.messages if one["name"] == "min"] == ["네", ""]
    for wrong in ({"human_input_mode": "ALWAYS"}, {"human_input_mode": "never"}):
        with pytest.raises(ValueError, match=r"person|human_input_mode"):
            endless("bob", **wrong)


def speakers(chat):
    return [one["name"] for one in chat.messages][1:]


def group(rule, rounds=7, names="abc", **more):
    return GroupChat([endless(one) for one in names], (), rounds, rule, **more)


def test_speaker_rules_are_deterministic():
    tracer = Tracer(seed=0)
    assert speakers(group("round_robin").run("go", tracer=tracer)) == ["a", "b", "c"] * 2
    assert [one.name for one in tracer.kept] == [*(f"turn of {name}" for name in "abcabc"), "talk"]
    drawn = [
        speakers(group("random", 30, seed=seed, allow_repeat_speaker=False).run("go"))
        for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len({tuple(one) for one in drawn}) == 3
    assert all(one != two for names in drawn for one, two in itertools.pairwise(names))
    twice = speakers(group("random", 60).run("go"))
    assert any(one == two for one, two in itertools.pairwise(twice))
    chosen = group("auto", chooser=ScriptedChat(["c", "a", "c", "b", "a", "b"]))
    assert speakers(chosen.run("go")) == ["c", "a", "c", "b", "a", "b"]
    assert "a: " in chosen.speakers.chooser.asked[0][0]["content"]
    person = ScriptedPerson(["2", "x", "0", "", "3", "q", "3"])
    manual = group("manual", person=person)
    assert speakers(manual.run("go")) == ["b", "c", "a", "c", "a", "c"]
    only = group(lambda last, chat: chat.agents[2])
    assert speakers(only.run("go")) == ["c"] * 6
    lasts = []
    mixed = group(
        lambda last, chat: lasts.append(last and last.name) or [None, "random", "round_robin"][len(lasts) % 3]
    )
    chat = mixed.run("go")
    assert (chat.finish_reason, lasts) == ("no speaker", [None, *speakers(chat)])


def test_transitions_say_who_may_follow():
    def names(kind, follows, rule="round_robin", rounds=8):
        chat = group(rule, rounds, "abcd")
        by_name = {one.name: one for one in chat.agents}
        given = {by_name[one]: [by_name[two] for two in who] for one, who in follows.items()}
        made = GroupChat(
            chat.agents,
            max_round=rounds,
            speaker_selection_method=rule,
            allowed_or_disallowed_speaker_transitions=given,
            speaker_transitions_type=kind,
        )
        done = made.run("go")
        return "".join(speakers(done)), done.finish_reason

    assert names("allowed", {"a": "c", "c": "d", "d": "a"}) == ("acdacda", "rounds")
    assert names("allowed", {"a": "c", "c": ""}) == ("ac", "no speaker")
    assert names("allowed", {"a": "d"}) == ("ad", "no speaker")
    assert names("disallowed", {"a": "bcd"}) == ("aaaaaaa", "rounds")
    assert names("disallowed", {"a": "ab", "c": "d"}) == ("acacaca", "rounds")
    drawn, _ = names("allowed", {"a": "bc", "b": "a", "c": "a", "d": "a"}, "random", 80)
    assert all("a" in pair for pair in itertools.pairwise(drawn))
    assert {*drawn} == {*"abc"} or {*drawn} == {*"abcd"}


def hostile_group(seed):
    """Agents, people and rules at random; a new group of the same seed says the same."""
    draw = random.Random(seed)

    def words(told, own):
        return random.Random(f"{own} {len(told)}").choice(
            ["네", "아니요", "TERMINATE!", "exit", "", "끝. TERMINATE"]
        )

    class Typing:
        def ask(self, question):
            return random.Random(f"{seed} {question}").choice(["", "", "계속", "exit"])

    agents = [
        ChatAgent(
            name,
            model=lambda told, own=own: words(told, own),
            max_consecutive_auto_reply=draw.choice([0, 1, 2, 100]),
            human_input_mode=draw.choice(MODES),
            person=Typing(),
        )
        for name, own in zip("가나다라"[: draw.randint(2, 4)], iter(draw.random, None))
    ]
    rule = draw.choice(
        ["round_robin", "random", "manual", lambda last, chat: chat.agents[len(chat.messages) % 2]]
    )
    repeat = draw.choice([True, False, agents[:1]])
    most = draw.randint(1, 30)
    return GroupChat(agents, (), most, rule, allow_repeat_speaker=repeat, person=Typing(), seed=seed)


def test_every_talk_ends_and_resumes_to_the_same_end():
    ends, count = set(), soak_count(2000)
    for seed in range(count):
        whole = hostile_group(seed)
        chat = whole.run("시작")
        assert 1 <= len(chat.messages) <= whole.max_round
        assert chat.finish_reason in ENDS
        ends.add(chat.finish_reason)
        cut = random.Random(seed).randint(1, len(chat.messages))
        saved = {"messages": chat.messages[:cut], "begin": 0, "finish": None}
        again = hostile_group(seed).resume(json.loads(json.dumps(saved)))
        assert again == chat
        done = hostile_group(seed)
        assert done.resume(json.loads(json.dumps(whole.state()))) == chat  # asks nobody again
    assert {"terminated", "auto_reply", "person", "rounds"} <= ends


def test_a_model_that_fails_leaves_what_was_said():
    told = ["하나", "둘", "셋"]

    def talk(script):
        return GroupChat([ChatAgent(name, model=script) for name in "ab"], max_round=4)

    first = talk(ScriptedChat(told[:1]))
    with pytest.raises(ValueError, match="script"):
        first.run("시작")
    second = talk(ScriptedChat(told[1:]))
    assert second.resume(first.state()) == talk(ScriptedChat(told)).run("시작")
    twice = talk(lambda messages: str(len(messages)))
    chats = [twice.run("시작"), twice.run("또")]
    assert [len(one.messages) for one in chats] == [4, 8]  # max_round is of one talk
    chats[1].messages[0]["content"] = "changed"
    assert twice.messages[0]["content"] == chats[0].messages[0]["content"] == "시작"
    assert len(GroupChat((one for one in twice.agents), iter(twice.messages)).messages) == 8


class Stuck(ScriptedChat):
    """A chat model whose server never answers."""

    def _next(self, messages):
        threading.Event().wait(20)
        return Reply("late")


def test_a_model_that_never_returns_does_not_hang_a_talk():
    stuck, began = Stuck([]), time.monotonic()
    for model in (stuck, lambda told: threading.Event().wait(20)):
        talk = GroupChat([endless("a"), ChatAgent("b", model=model, seconds=0.05)])
        with pytest.raises(TimeoutError, match=r"the model of b gave no answer in 0\.05 seconds"):
            talk.run("시작")
        saved = json.loads(json.dumps(talk.state()))
        assert [one["name"] for one in saved["messages"]] == ["user", "a"]
        again = GroupChat([endless("a"), endless("b")]).resume(saved)
        assert again == GroupChat([endless("a"), endless("b")]).run("시작")
    chosen = group("auto", chooser=stuck, seconds=0.05)
    with pytest.raises(TimeoutError, match="the chooser"):
        chosen.run("시작")
    assert time.monotonic() - began < 15
    for wrong in (0, -1, float("nan"), float("inf"), 10**9, "5"):
        with pytest.raises(ValueError, match="seconds"):
            endless("a", seconds=wrong)


def test_every_option_has_its_name_in_the_signature():
    for made in (ChatAgent, GroupChat):
        assert not any(one.kind == one.VAR_KEYWORD for one in inspect.signature(made).parameters.values())
        assert all(name in made.__doc__ for name in ("person", "seconds"))


def test_messages_keep_what_a_talk_needs():
    given = [{"name": "a", "content": "네", "by": "model", "role": object()}, {"name": "b", "content": ""}]
    talk = GroupChat([endless("a"), endless("b")], given)
    kept = [{"name": "a", "content": "네", "by": "model"}, {"name": "b", "content": ""}]
    assert json.loads(json.dumps(talk.state()))["messages"] == kept
    for wrong in ({"name": "a: b"}, {"by": "nobody"}, {"by": 3}, {"content": None}):
        with pytest.raises(ValueError, match=r"name|by of messages|content of messages"):
            GroupChat(talk.agents, [{"name": "a", "content": "네"} | wrong])
    with pytest.raises(ValueError, match="run"):
        GroupChat(talk.agents).go_on()


def test_bad_input_is_named():
    two = [endless("a"), endless("b")]
    assert endless("a", is_termination_msg=None).is_termination_msg(
        {"content": "TERMINATE \n"}
    )  # as in AutoGen
    for wrong in (3, "me", ScriptedChat([])):
        for made in (
            lambda person: endless("a", person=person),
            lambda person: GroupChat(two, person=person),
            FinalWord,
        ):
            with pytest.raises(ValueError, match="person must have ask"):
                made(wrong)
    with pytest.raises(ValueError, match="refused"):
        FinalWord(ScriptedPerson(), ["send"])
    with pytest.raises(ValueError, match="QueryEngine"):
        rag_agent("a", lambda question: "네")
    for given, said in (
        ({"speaker_selection_method": "auto"}, "chooser"),
        ({"speaker_selection_method": "manual"}, "person"),
        ({"speaker_selection_method": "loudest"}, "speaker_selection_method"),
        ({"allow_repeat_speaker": [endless("a")]}, "allow_repeat_speaker"),
        ({"speaker_transitions_type": "allowed"}, "transitions"),
        ({"allowed_or_disallowed_speaker_transitions": {}}, "speaker_transitions_type"),
        (
            {"allowed_or_disallowed_speaker_transitions": {"a": []}, "speaker_transitions_type": "allowed"},
            "agents",
        ),
        (
            {
                "allow_repeat_speaker": True,
                "allowed_or_disallowed_speaker_transitions": {},
                "speaker_transitions_type": "allowed",
            },
            "not both",
        ),
        ({"max_round": 0}, "max_round"),
        ({"max_round": 10**9}, "max_round"),
        ({"messages": ["hello"]}, "messages"),
        ({"messages": [{"name": "a"}]}, "messages"),
    ):
        with pytest.raises(ValueError, match=said):
            GroupChat(two, **given)
    for agents in (two[:1], [two[0], two[0]], [endless("a"), endless("a")], ["a", "b"], None):
        with pytest.raises(ValueError, match="two ChatAgents"):
            GroupChat(agents)
    for rule in (lambda last, chat: "c", lambda last, chat: endless("a"), lambda last, chat: "auto"):
        with pytest.raises(ValueError, match=r"speaker_selection_method|chooser"):
            GroupChat(two, speaker_selection_method=rule).run("go")
    for wrong in (
        {"name": ""},
        {"name": "a: b"},
        {"name": "a\nb"},
        {"name": 3},
        {"name": "a", "model": 3},
        {"name": "a"},
    ):
        with pytest.raises(ValueError, match=r"name|model"):
            ChatAgent(**{"model": None} | wrong)
    chat = GroupChat(two)
    for state in ({}, [], {"messages": [], "begin": 0, "finish": None}, {**chat.state(), "messages": [{}]}):
        with pytest.raises(ValueError, match=r"saved|messages|begin"):
            chat.resume(state)
    for wrong in ({"begin": 1}, {"begin": -1}, {"finish": "bored"}):
        with pytest.raises(ValueError, match=r"begin|finish"):
            chat.resume({"messages": [{"name": "a", "content": "b"}], "begin": 0, "finish": None} | wrong)
    with pytest.raises(ValueError, match="what a says"):
        GroupChat([ChatAgent("a", model=lambda told: 3), two[1]]).run("go")
    assert chat.messages == []


def test_an_agent_that_answers_from_documents():
    documents = [
        Document("a", "서울", "서울의 인구는 940만 명이다."),
        Document("b", "lamp", "The lamp costs 24."),
    ]
    engine = VectorStoreIndex.from_documents(documents, encoder=NgramEncoder(512)).as_query_engine()
    docs = rag_agent("docs", engine)
    chat = endless("ann").initiate_chat(docs, "서울의 인구는?", max_turns=1)
    assert "940만" in chat.messages[-1]["content"]
    again = GroupChat([docs, endless("b")], max_round=3, speaker_selection_method=lambda last, chat: docs)
    assert "940만" in again.run("서울의 인구는?").messages[-1]["content"]  # it answers the others, not itself


def test_a_refusal_holds_for_all_who_share_a_person():
    @tool(dangerous=True)
    def send(text: str) -> str:
        """Send a letter."""
        sent.append(text)
        return "sent"

    def member(name, person):
        script = ScriptedChat([act("send", text=name), act("answer", text="...")] * 2)
        return tool_agent(name, Agent("p", "g", [send], model=script, person=person))

    for firm, letters, questions in ((False, ["나"], 2), (True, [], 1)):
        sent, person = [], ScriptedPerson(approvals=[Approval("refuse", why="안 돼요"), Approval("approve")])
        shared = FinalWord(person) if firm else person
        GroupChat([member("가", shared), member("나", shared)], max_round=3).run("보내 줘")
        assert (sent, len(person.asked)) == (letters, questions)
    person = FinalWord(ScriptedPerson(["네"], [Approval("approve"), Approval("edit", {"text": "b"})]))
    assert person.ask("?") == "네"
    assert [person.approve("send", {}).verdict for _ in range(4)] == ["approve", "edit", "refuse", "refuse"]
    assert person.approve("send", {}).why == "nothing more was said"
    saved = json.loads(json.dumps(person.refused))
    later = FinalWord(ScriptedPerson(approvals=[Approval("approve")] * 2), saved)
    assert [later.approve(one, {}).verdict for one in ("send", "read")] == ["refuse", "approve"]
    with pytest.raises(ValueError, match="Agent"):
        tool_agent("a", endless("b"))
    tired = Agent("p", "g", [send], model=ScriptedChat(["?"]), budget=Budget(steps=1))
    chat = endless("b").initiate_chat(tool_agent("a", tired), "보내 줘", max_turns=1)
    assert chat.messages[-1]["content"] == "(no answer: the steps are used up)"


def test_a_console_shows_korean_and_no_control_characters():
    seen = []
    person = ConsolePerson(lambda question: seen.append(question) or "네")
    assert person.approve("write_file", {"path": "가격표.txt", "text": "\x1b[2J\u202e"}).verdict == "approve"
    person.ask("bob: \x1b[2J안녕")
    assert "가격표.txt" in seen[0]
    assert "안녕" in seen[1]
    assert not {"\x1b", "\u202e"} & {*"".join(seen)}


def test_messages_in_the_form_of_openai_are_read():
    """As AutoGen's own examples ask an agent once."""
    heard = []
    one = ChatAgent("ann", "Be brief.", model=lambda told: heard.append(told) or "네")
    asked = [{"role": "user", "content": "하나"}, {"role": "assistant", "content": "둘"}, {"content": "셋"}]
    assert one.generate_reply(asked) == "네"
    assert [(each["role"], each["content"]) for each in heard[0]] == [
        ("system", "Be brief."), ("user", "하나"), ("assistant", "둘"), ("user", "셋"),
    ]  # fmt: skip
