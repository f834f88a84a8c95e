"""A chat model as policy: asked for its next step as JSON, alone or held to the schema of the tools.

    alone         it writes what it likes; the first JSON object in it is the action, anything else the answer
    constrained   every token follows a grammar made of the tools' schemas: always valid, not therefore right

Both are told the same. A small model gains the form by the grammar and nothing else: which tool is right it must know.

Book: 15.1.2 에이전트의 두뇌. Papers: Yao et al. 2023, "ReAct"; Schick et al. 2023, "Toolformer".
Peer: the tool calls of OpenAI's API. Left out: thoughts between the steps, which cost a small model its tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from minillm._checks import check_flag, check_int
from minillm.apps.agents.policies.action import Action, Done, Tools
from minillm.inference import ChatModel, SamplingParams

RULES = (
    "You work with tools. Answer with one JSON object and nothing else: "
    '{"tool": NAME, "arguments": {...}} to use a tool, {"answer": TEXT} when you are done or cannot do it.'
)


class ChatPolicy:
    """`ChatPolicy(model, constrained=True)`. max_tokens: of one decision."""

    def __init__(self, model: ChatModel, constrained: bool = True, max_tokens: int = 80) -> None:
        self.model = model
        self.constrained = check_flag("constrained", constrained)
        self.params = SamplingParams(temperature=0.0, max_tokens=check_int("max_tokens", max_tokens, 8))

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """The model's next step; what it writes that is no action is its answer."""
        params = self.params
        if self.constrained:
            params = SamplingParams(
                temperature=0.0, max_tokens=params.max_tokens, json_schema=action_schema(tools)
            )
        reply = self.model.chat(action_messages(request, steps, tools), params)
        return read_action(reply.text, tools, reply.usage["total_tokens"])


def action_messages(request: str, steps: Sequence[Done], tools: Tools) -> list[dict[str, str]]:
    """The rules, the tools, the request, and what was done; a result is quoted as what it is, data."""
    told = "\n".join(
        f"{name}({', '.join(tool['parameters']['properties'])}): {tool['description']}"
        for name, tool in tools.items()
    )
    messages = [
        {"role": "system", "content": f"{RULES}\nTools:\n{told}"},
        {"role": "user", "content": request},
    ]
    for step in steps:
        call = {"tool": step.action.tool, "arguments": dict(step.action.arguments)}
        messages += [
            {"role": "assistant", "content": json.dumps(call, ensure_ascii=False)},
            {"role": "user", "content": f"Result: {json.dumps(step.observation, ensure_ascii=False)}"},
        ]
    return messages


def action_schema(tools: Tools) -> dict[str, Any]:
    """Either a call of one of the tools, with its own arguments, or an answer."""
    kinds = [
        {"tool": {"const": name}, "arguments": dict(tool["parameters"])} for name, tool in tools.items()
    ] + [{"answer": {"type": "string", "maxLength": 80}}]
    return {
        "anyOf": [
            {"type": "object", "properties": kind, "required": list(kind), "additionalProperties": False}
            for kind in kinds
        ]
    }


def read_action(text: str, tools: Tools, tokens: int = 0) -> Action:
    """The first JSON object of a text as an action; the whole text as the answer where there is none."""
    found = first_object(text)
    if found is None:
        return Action(None, answer=text.strip(), tokens=tokens)
    if isinstance(found.get("tool"), str):
        arguments = found.get("arguments")
        return Action(found["tool"], arguments if isinstance(arguments, dict) else {}, tokens=tokens)
    return Action(None, answer=str(found.get("answer", text.strip())), tokens=tokens)


def first_object(text: str) -> Mapping[str, Any] | None:
    """The first whole JSON object in a text, None without one."""
    decoder = json.JSONDecoder()
    for at, letter in enumerate(text[:10_000]):
        if letter == "{":
            try:
                found, _ = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return None
