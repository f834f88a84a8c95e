"""A tool (도구) is a function that a model may call: a name, what it does, and a JSON schema of what it takes.

    @tool
    def add(a: int, b: int = 1) -> int:         {"type": "object", "properties": {"a": {"type": "integer"}, ...},
        "The sum of two numbers."                "required": ["a"], "additionalProperties": false}

The schema is read off the signature, so that it cannot disagree with the code. A toolbox calls a tool for a stranger:
whatever the tool does (raise, return ten megabytes, an object that lies about itself, nothing for ever) becomes an
Observation. A tool that never returns is left behind in its thread, as Python cannot end a thread: code that a model
wrote belongs into a process of its own (`python_tool`).
Book: 15.1.4 에이전트의 행동. Peer: AutoGen's functions, OpenAI's function schemas. Left out: async tools.
"""

from __future__ import annotations

import contextvars
import copy
import inspect
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from minillm._arrays import plain_item
from minillm._checks import check_flag, check_number, check_text, describe, is_listing

SECONDS, MOST = 5.0, 4000  # of a call; characters of an observation
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


class Observation(NamedTuple):
    """What came back: a text, or "" with an error; the seconds it took; whether the tool itself said it."""

    text: str
    error: str | None = None
    seconds: float = 0.0
    spoken: bool = False


@dataclass(frozen=True)
class Tool:
    """dangerous: a person has to allow it. seconds: it may take. parameters: a JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[..., Any]
    dangerous: bool = False
    seconds: float = SECONDS

    @property
    def head(self) -> str:
        """The name and what it takes, as a model is told: `order(item, count?)`; `?` marks what may be left out."""
        needed = self.parameters.get("required", ())
        takes = [name if name in needed else f"{name}?" for name in self.parameters.get("properties", ())]
        return f"{self.name}({', '.join(takes)})"


def tool_from(
    function: Callable[..., Any],
    name: str | None = None,
    description: str | None = None,
    dangerous: bool = False,
    seconds: float | None = None,
) -> Tool:
    """The function as a tool. ValueError for a parameter without a type, or of a type that JSON has no word for."""
    if not callable(function):
        raise ValueError(f"a tool is a function, got {describe(function)}")
    if inspect.iscoroutinefunction(function):
        raise ValueError("a tool must be a plain function: an async one gives nothing until it is awaited")
    name = check_text("name", getattr(function, "__name__", "") if name is None else name)
    if not name.isidentifier():
        raise ValueError(f"a tool's name must be a Python name, got {name!r}")
    told = (inspect.getdoc(function) or "").split("\n\n")[0] if description is None else description
    seconds = check_number("seconds", SECONDS if seconds is None else seconds, 0.001, 3600)
    dangerous = check_flag("dangerous", dangerous)
    return Tool(name, check_text("description", told), parameters_of(function), function, dangerous, seconds)


def tool(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`@tool` or `@tool(dangerous=True)`: the function as a Tool."""
    return (
        tool_from(function, **options) if function is not None else lambda given: tool_from(given, **options)
    )


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The JSON schema of a function's arguments. ValueError for types that are not known or that JSON has not."""
    hints, properties, required = _hints(function), {}, []
    for name, one in inspect.signature(function).parameters.items():
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            raise ValueError(f"parameter {name!r} of a tool must be one that can be named, got {one}")
        if name not in hints:
            raise ValueError(f"parameter {name!r} of a tool must have a type")
        properties[name] = schema_of(hints[name], name)
        if one.default is one.empty:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except (NameError, TypeError, SyntaxError) as error:
        raise ValueError(f"the types of a tool's parameters cannot be read: {error}") from None


def schema_of(hint: Any, name: str = "it") -> dict[str, Any]:
    """The JSON schema of a type: str, int, float, bool, list[...], Literal[...], or a union of them with None."""
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if hint is type(None):
        return {"type": "null"}
    kind, inside = get_origin(hint), get_args(hint)
    if kind is list and inside:
        return {"type": "array", "items": schema_of(inside[0], name)}
    if kind is Literal and all(type(one) in (str, int) for one in inside):
        return {"enum": list(inside)}
    if kind in (Union, UnionType):
        return {"anyOf": [schema_of(one, name) for one in inside]}
    raise ValueError(
        f"the type of {name!r} must be str, int, float, bool, list[...], Literal or a union, got {hint}"
    )


def misfit(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    """How a value differs from a schema of `parameters_of`; None where it fits.

    Stricter than JSON Schema in one thing: 3.0 is no integer, as a function that asks for an int is given one.
    """
    if "anyOf" in schema:
        return (
            None
            if not all(misfit(value, one, where) for one in schema["anyOf"])
            else f"{where} fits no choice"
        )
    if "enum" in schema:
        fits = any(type(value) is type(one) and value == one for one in schema["enum"])
        return None if fits else f"{where} must be one of {schema['enum']}, got {describe(value)}"
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list}
    kinds |= {"object": dict, "null": type(None)}
    kind = schema["type"]
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} must be of type {kind}, got {describe(value)}"
    if kind == "array":
        return next((bad for one in value if (bad := misfit(one, schema["items"], where))), None)
    if kind == "object":
        fields = schema.get("properties", {})
        if missing := [name for name in schema.get("required", ()) if name not in value]:
            return f"{where} lacks {missing[0]!r}"
        if strange := [name for name in value if name not in fields]:
            return f"{where} has no {strange[0]!r}"
        return next((bad for name in value if (bad := misfit(value[name], fields[name], name))), None)
    return None


class Toolbox:
    """Tools by name. ValueError for two of one name."""

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]] = ()) -> None:
        if not is_listing(tools):
            raise ValueError(f"tools must be a list of tools, got {describe(tools)}")
        made = [one if isinstance(one, Tool) else tool_from(one) for one in tools]
        self.tools = {one.name: one for one in made}
        if len(self.tools) < len(made):
            raise ValueError(f"tools must have different names, got {[one.name for one in made]}")
        if "answer" in self.tools:
            raise ValueError("no tool may be named 'answer': it is what ends a run")

    def schema(self) -> dict[str, dict[str, Any]]:
        """name -> {"description", "parameters"}: what a policy is told."""
        return {
            name: {"description": one.description, "parameters": dict(one.parameters)}
            for name, one in self.tools.items()
        }

    def call(self, name: str, arguments: Mapping[str, Any], seconds: float | None = None) -> Observation:
        """What the tool says, or what went wrong; never raises for what a model or a tool does."""
        if not isinstance(name, str) or name not in self.tools:
            return Observation("", f"there is no tool {describe(name)}")
        chosen = self.tools[name]
        if bad := misfit(arguments, chosen.parameters, "arguments"):
            return Observation("", bad)
        limit = chosen.seconds if seconds is None else min(chosen.seconds, seconds)
        # copied: what a tool does to its lists is not what the model asked for
        return timed(lambda: chosen.call(**copy.deepcopy(dict(arguments))), limit)


def timed(call: Callable[[], Any], limit: float) -> Observation:
    """What the call says or raises, as an Observation, after `limit` seconds at most."""

    def work() -> Observation:
        try:
            return Observation(as_text(call()), spoken=True)
        except BaseException as error:  # SystemExit too: it is the tool's, not ours
            return Observation("", as_text(f"{type(error).__name__}: {_message(error)}"), spoken=True)

    began = time.monotonic()
    said = in_time(work, limit)
    took = time.monotonic() - began
    return (
        said[0]._replace(seconds=took)
        if said
        else Observation("", f"no answer after {limit:g} seconds", took)
    )


def in_time(call: Callable[[], Any], limit: float) -> list[Any]:
    """[what the call returns], from a thread of its own; [] where that takes longer than `limit` seconds. What the
    call raises is raised."""
    said: list[Any] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            said.append(call())
        except BaseException as error:
            raised.append(error)

    # the open span of a tracer is a context variable: spans of the call become children of it
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    thread.join(limit)
    for error in raised:
        raise error  # in the caller's thread
    return said


def as_text(value: Any) -> str:
    """A result as a text of at most MOST characters: a str as it is, all else as JSON, what has none as its repr."""
    if isinstance(value, str):
        text, size = str.__str__(value), f"{str.__len__(value):,} characters, "
    else:  # written piece by piece, until it is long enough: a tool may return a list of millions
        text, size = "", ""
        try:
            for piece in json.JSONEncoder(ensure_ascii=False, default=_written).iterencode(value):
                text += piece
                if len(text) > MOST:
                    break
        except TypeError:  # keys that JSON does not have: (0, 1)
            text = repr(value)
    cut = text if len(text) <= MOST else f"{text[:MOST]}... ({size}cut)"
    return cut.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair would break every file


def _written(value: Any) -> Any:
    """What JSON does not know: a number of numpy or torch is a number, all else its repr."""
    plain = plain_item(value)
    return repr(value) if plain is value else plain


def visible(text: str) -> str:
    """The text with every letter that could steer a screen, a page or a reading direction shown as its code."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(an error without a message)"
