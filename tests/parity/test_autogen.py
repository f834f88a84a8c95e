"""Talks of two agents and of groups, message by message as AutoGen 0.2.35 held them (record_autogen.py wrote them)."""

import json
from pathlib import Path

import pytest

from minillm.apps.agents.group import ChatAgent, GroupChat
from minillm.apps.agents.people import ScriptedPerson
from tests.parity.autogen_cases import CASES, chosen

AUTOGEN = json.loads(Path(__file__).with_name("autogen.json").read_text("utf-8"))


def agent_of(one):
    def say(told):
        said[0] += 1
        return one["lines"][(said[0] - 1) % len(one["lines"])]

    said, person = [0], ScriptedPerson(one["typed"])
    return ChatAgent(one["name"], "", say, one["limit"], one["mode"], person)


def two(case):
    ann, bob = map(agent_of, case["agents"])
    return ann.initiate_chat(bob, case["first"], case.get("max_turns", 100)).messages


def group(case):
    agents = [agent_of(one) for one in case["agents"]]
    named = {one.name: one for one in agents}
    rule, more = chosen(case, named)
    person = ScriptedPerson(case.get("picks", ()))
    chat = GroupChat(agents, (), case["max_round"], rule, person=person, **more)
    return chat.run(case["first"], case["sender"]).messages


@pytest.mark.parametrize("kind", CASES)
def test_what_is_said_is_what_autogen_says(kind):
    assert len(CASES[kind]) == len(AUTOGEN[kind]) >= 10
    for case, expected in zip(CASES[kind], AUTOGEN[kind]):
        found = (group if kind == "group" else two)(case)
        if expected is None:  # AutoGen's talk ended by Python's recursion limit, ours by its turns
            assert len(found) == 200
        else:
            assert [[one["name"], one["content"]] for one in found] == expected, case
