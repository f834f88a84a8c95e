"""Writes autogen.json: what is said in the talks of autogen_cases.py under AutoGen 0.2, in an environment of its own.

pip install pyautogen==0.2.35
python -m tests.parity.record_autogen
"""

import json
from pathlib import Path

import autogen
from autogen.io.base import IOStream

from tests.parity.autogen_cases import CASES, chosen


class Silent:
    """No printing; input() takes what was written down, then nothing."""

    def __init__(self, typed=()):
        self.typed = list(typed)

    def print(self, *given, **more):
        pass

    def input(self, prompt="", **more):
        return self.typed.pop(0) if self.typed else ""


def agent_of(one):
    made = autogen.ConversableAgent(
        one["name"],
        is_termination_msg=lambda message: (message["content"] or "").rstrip().endswith("TERMINATE"),
        max_consecutive_auto_reply=one["limit"],
        human_input_mode=one["mode"],
        llm_config=False,
    )
    said, typed = [0], list(one["typed"])

    def say(recipient, messages, sender, config):
        said[0] += 1
        return True, one["lines"][(said[0] - 1) % len(one["lines"])]

    checks = [
        at
        for at, row in enumerate(made._reply_func_list)
        if "check_termination" in row["reply_func"].__name__
    ]
    made.register_reply([autogen.Agent, None], say, position=max(checks) + 1)
    made.get_human_input = lambda prompt: typed.pop(0) if typed else ""
    return made


def two(case):
    ann, bob = map(agent_of, case["agents"])
    try:
        ann.initiate_chat(bob, message=case["first"], max_turns=case.get("max_turns"), silent=True)
    except RecursionError:
        return None  # the talk does not end: each reply is a call inside of the one before
    return [[("bob", "ann")[one["role"] == "assistant"], one["content"]] for one in ann.chat_messages[bob]]


def group(case):
    agents = [agent_of(one) for one in case["agents"]]
    named = {one.name: one for one in agents}
    rule, more = chosen(case, named)
    IOStream.set_global_default(Silent(case.get("picks", ())))
    chat = autogen.GroupChat(agents, [], case["max_round"], speaker_selection_method=rule, **more)
    manager = autogen.GroupChatManager(
        chat, llm_config=False, is_termination_msg=lambda message: False, silent=True
    )
    sender = named.get(case["sender"]) or autogen.ConversableAgent(
        "user", llm_config=False, human_input_mode="NEVER"
    )
    sender.initiate_chat(manager, message=case["first"], max_turns=1, silent=True)
    return [[one["name"], one["content"]] for one in chat.messages]


def main():
    IOStream.set_global_default(Silent())
    found = {
        kind: [(group if kind == "group" else two)(case) for case in cases] for kind, cases in CASES.items()
    }
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    Path(__file__).with_name("autogen.json").write_text(text + "\n", encoding="utf-8")
    print(
        autogen.__version__,
        {
            kind: (len(rows), sum(map(len, filter(None, rows))), rows.count(None))
            for kind, rows in found.items()
        },
    )


if __name__ == "__main__":
    main()
