"""Functions that a chat model may call: how they are told to it, how it writes a call, how a call is read.

    functions + messages -> the model's chat template -> prompt          told
    Calls                -> a grammar                 -> answer          written (grammar/calls.py)
    answer               -> CallReader                -> text and calls  read (call_reader.py)

The form of a call is found in the chat template: a call of a function PROBE is rendered, and what stands around its
name and arguments is the form. A template that does not show functions, calls and results in such a form (SmolLM2's),
or shows them with special tokens or ids of its own, gets PLAIN instead: the functions stand in a system text that
says how to call them, calls and results stand in the texts of messages. A model that never saw this form in training
still writes nothing but whole calls or text; how often it calls at the right time is another matter.

All in the form of OpenAI's interface. Book 8.4 LLM 서빙 프레임워크. Held against the openai client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minillm._checks import describe
from minillm.inference.grammar.calls import CallForm, Calls
from minillm.tokenizer.chat import apply_chat_template
from minillm.tokenizer.chat_ends import turn_ends

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
HERMES = '{"name": "'  # what a call begins with in most templates
PLAIN = CallForm(
    "<tool_call>", f"<tool_call>\n{HERMES}", '", "arguments": ', "}\n</tool_call>",
    f"}}\n</tool_call>\n<tool_call>\n{HERMES}",
)  # fmt: skip
TELLS = """You may call these functions, each described by a line of JSON:
{functions}
To call one, write this form and nothing after it:
<tool_call>
{{"name": "the function's name", "arguments": {{"its": "arguments"}}}}
</tool_call>
What it returned comes in the next message as <tool_response>. Where no function helps, answer in words."""


def checked_tools(tools: Any) -> list[dict[str, Any]]:
    """The functions as plain dicts; ValueError for what is none, for names that come twice or will not do."""
    if not isinstance(tools, Sequence) or isinstance(tools, (str, bytes)):
        raise ValueError(f"tools must be a list of functions, got {describe(tools)}")
    found: dict[str, dict[str, Any]] = {}
    for at, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or tool.get("type") != "function":
            raise ValueError(
                f'tools[{at}] must be {{"type": "function", "function": ...}}, got {describe(tool)}'
            )
        name = function.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(
                f"tools[{at}].function.name must be 1 to 64 of a-z, A-Z, 0-9, _ and -, got {describe(name)}"
            )
        if name in found:
            raise ValueError(f"tools[{at}].function.name: {name!r} comes twice")
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, Mapping):
            raise ValueError(
                f"tools[{at}].function.parameters must be a JSON schema (a dict), got {describe(parameters)}"
            )
        found[name] = {"type": "function", "function": dict(function)}
    return list(found.values())


def arguments_schema(function: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of a function's arguments; one without properties takes none."""
    schema = dict(function.get("parameters") or {})
    kind = schema.setdefault("type", "object") if not {"$ref", "anyOf", "allOf"} & set(schema) else "object"
    if kind != "object":
        raise ValueError(f"the parameters of {function['name']} must be of type object, got {describe(kind)}")
    if not schema.get("properties") and set(schema) <= {
        "type", "properties", "required", "description", "title", "$schema",
    }:  # fmt: skip
        schema |= {"properties": {}, "additionalProperties": False}
    return schema


@dataclass(frozen=True)
class ToolChoice:
    """tool_choice, read. mode: "none", "auto" or "required"; names: of the functions that may be called; named: one
    function was asked for by its name; asked: the choice as it came."""

    mode: str
    names: frozenset[str]
    named: bool = False
    asked: Any = None

    @classmethod
    def of(cls, choice: Any, tools: Sequence[Mapping[str, Any]]) -> ToolChoice:
        """ValueError for a choice that is none, or names a function that is not among `tools`."""
        known = frozenset(one["function"]["name"] for one in tools)
        mode, asked, named = "auto" if choice is None else choice, known, False
        if isinstance(choice, Mapping) and choice.get("type") == "function":
            function = choice.get("function")
            mode, named = "required", True
            asked = frozenset([function.get("name") if isinstance(function, Mapping) else None])
        elif isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
            allowed = choice.get("allowed_tools")
            allowed = allowed if isinstance(allowed, Mapping) else {}
            mode = allowed.get("mode")
            asked = frozenset(_name_of(one) for one in allowed.get("tools") or ())
        if mode not in ("none", "auto", "required"):
            raise ValueError(
                'tool_choice must be "none", "auto", "required", {"type": "function", "function": {"name": ...}} or '
                f"allowed_tools, got {describe(choice)}"
            )
        if not asked <= known or (mode == "required" and not asked):
            strange = sorted(map(str, asked - known)) or ["no function"]
            raise ValueError(f"tool_choice names {strange[0]}, and tools holds {sorted(known) or 'none'}")
        return cls(mode, asked, named, choice)


def _name_of(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


class Caller:
    """Tells a chat model of functions, in the form that its template has for them or else in PLAIN.

    tokenizer: with a chat template. `form` is the form; `own` says whether it is the template's.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        form = _form_of(tokenizer)
        self.own, self.form = form is not None, form or PLAIN
        self.system = _takes_system(tokenizer)

    def prompt(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), **options: Any
    ) -> str:
        """The conversation as text, with what was called and what came of it; options: of apply_chat_template."""
        chat = with_names(messages)
        if not self.own:
            chat = in_words(chat, tools, "system" if self.system else "user")
            return apply_chat_template(self.tokenizer, chat, **options)
        return apply_chat_template(self.tokenizer, chat, tools=list(tools) or None, **options)

    def calls(
        self,
        tools: Sequence[Mapping[str, Any]],
        choice: ToolChoice,
        several: bool = True,
        schema: str | None = None,
    ) -> Calls | None:
        """What an answer may be; None where it calls nothing. schema: of an answer in words, as JSON text."""
        offered = [one["function"] for one in tools if one["function"]["name"] in choice.names]
        if choice.mode == "none" or not offered:
            return None
        functions = tuple((one["name"], json.dumps(arguments_schema(one))) for one in offered)
        return Calls(
            self.form, functions, choice.mode == "auto", several and not choice.named,
            schema if choice.mode == "auto" else None,
        )  # fmt: skip


# How messages stand in the prompt


def with_names(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as templates read them: arguments as dicts, results with the name of their function.

    ValueError for arguments that are no JSON object, and for a result of a call that was not made.
    """
    chat, made = [], {}
    for message in messages:
        one = dict(message)
        if one.get("tool_calls"):
            one["tool_calls"] = [_with_arguments(call) for call in one["tool_calls"]]
            made |= {call.get("id"): call["function"]["name"] for call in one["tool_calls"]}
            one["content"] = one.get("content") or ""
        if one.get("role") == "tool":
            name = one.get("tool_call_id")
            if name not in made:
                raise ValueError(
                    f"a message of role tool answers a call before it: there is no tool call {describe(name)}"
                )
            one["name"] = made[name]
        chat.append(one)
    return chat


def _with_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError(f"a tool call needs a function with a name and arguments, got {describe(call)}")
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, Mapping):
        raise ValueError(
            f"the arguments of a tool call must be a JSON object, got {describe(function['arguments'])}"
        )
    return {**call, "function": {**function, "arguments": dict(arguments)}}


def in_words(
    chat: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), role: str = "system"
) -> list[dict[str, Any]]:
    """The same conversation for a template that knows texts alone: functions, calls and results stand in them.

    role: whose first message tells of the functions.
    """
    said: list[dict[str, Any]] = []
    for message in chat:
        one = {name: value for name, value in message.items() if name not in ("tool_calls", "tool_call_id")}
        if message.get("tool_calls"):
            calls = [_written(call["function"]) for call in message["tool_calls"]]
            one["content"] = "\n".join([*filter(None, [message.get("content")]), *calls])
        if message.get("role") == "tool":
            result = f"<tool_response>\n{message.get('content') or ''}\n</tool_response>"
            if said and said[-1].get("results"):
                said[-1]["content"] += f"\n{result}"  # of calls that were made together
                continue
            one = {"role": "user", "content": result, "results": True}
        said.append(one)
    for one in said:
        one.pop("results", None)
    if tools:
        lines = "\n".join(json.dumps(one["function"], ensure_ascii=False) for one in tools)
        told = TELLS.format(functions=lines)
        if said and said[0].get("role") == role:
            said[0] = {**said[0], "content": f"{said[0].get('content') or ''}\n\n{told}"}
        else:
            said.insert(0, {"role": role, "content": told})
    return said


def _written(function: Mapping[str, Any]) -> str:
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return f"{PLAIN.before}{function['name']}{PLAIN.middle}{arguments}{PLAIN.after}"


# The form of a template


def _takes_system(tokenizer: Any) -> bool:
    try:
        chat = [{"role": "system", "content": "PROBE"}, {"role": "user", "content": "QUESTION"}]
        return "PROBE" in apply_chat_template(tokenizer, chat)
    except ValueError:
        return False


def _form_of(tokenizer: Any) -> CallForm | None:
    """How the tokenizer's template writes calls, None where it does not or not in a form that can be told."""
    probes = [("PROBE_ONE", "KEY_ONE"), ("PROBE_TWO", "KEY_TWO")]
    tools = [
        {"type": "function", "function": {"name": name, "description": "PROBE_TOLD", "parameters":
            {"type": "object", "properties": {key: {"type": "string"}}}}} for name, key in probes
    ]  # fmt: skip
    calls = [
        {"type": "function", "id": f"PROBE000{i}", "function": {"name": name, "arguments": {key: "VALUE"}}}
        for i, (name, key) in enumerate(probes)
    ]
    asked = [{"role": "user", "content": "QUESTION"}]
    result = {"role": "tool", "tool_call_id": "PROBE0000", "name": "PROBE_ONE", "content": "PROBE_RESULT"}
    try:
        start = apply_chat_template(tokenizer, asked, tools=tools)
        said = {"role": "assistant", "content": "", "tool_calls": calls[:1]}
        told = "PROBE_TOLD" in start
        if not told or "PROBE_RESULT" not in apply_chat_template(
            tokenizer, [*asked, said, result], tools=tools
        ):
            return None
        one = _answer(tokenizer, start, [*asked, said], tools)
    except ValueError:
        return None
    try:
        two = _answer(tokenizer, start, [*asked, {**said, "tool_calls": calls}], tools)
    except ValueError:  # two calls at a time are more than some take
        two = ""
    return _parted(one, two, probes, set(tokenizer.special_tokens))


def _answer(tokenizer: Any, start: str, chat: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
    """What the assistant wrote: behind the prompt, up to the end of the turn."""
    text = apply_chat_template(tokenizer, chat, add_generation_prompt=False, tools=tools)
    if not text.startswith(start):
        raise ValueError("an answer stands elsewhere than where it is asked for")
    ends = [tokenizer.id_to_token(i) for i in turn_ends(tokenizer)]
    answer = text[len(start) :]
    return answer[: min((at for end in ends if (at := answer.find(end)) >= 0), default=len(answer))]


def _parted(one: str, two: str, probes: list[tuple[str, str]], special: set[str]) -> CallForm | None:
    """The form, from an answer of one call and one of two; "" where a template writes no two."""
    (name, key), (other, _) = probes
    arguments = rf'\{{\s*"{key}"\s*:\s*"VALUE"\s*\}}'
    found = re.fullmatch(rf"(.*?){name}(.*?){arguments}(.*)", one, re.DOTALL)
    if not found or not (found[1] + found[2]).strip():
        return None
    before, middle, after = found.groups()

    def strange(text: str) -> bool:
        return "PROBE" in text or any(word in text for word in special)

    if not middle or NAME.fullmatch(middle[0]) or any(map(strange, found.groups())):
        return None
    marker = before.partition("{")[0].strip()
    anywhere = re.search(r"\w", marker) is not None  # a bracket alone marks nothing
    if not anywhere:
        marker = before.strip()
    joint = re.search(rf"{arguments}(.*?){other}", two, re.DOTALL)
    between = joint[1] if joint and not strange(joint[1]) else None
    return CallForm(marker, before.lstrip(), middle, after.rstrip(), between, anywhere) if marker else None
