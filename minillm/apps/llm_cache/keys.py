"""When are two requests the same? When everything that the answer hangs on is the same, written in one way only.

    key     = sha256(canonical JSON of {model, params, messages, tools})     all of it: the exact cache
    context = sha256(... without the text of the last question)              what a similar question must share exactly

Canonical: keys sorted, no blanks, UTF-8, 1.0 and 1 the same number, None left out of settings. So the order in which
someone wrote a dict does not matter, and one letter of the system prompt does.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from minillm._checks import check_text, describe


class Request(NamedTuple):
    """What is asked for. question: the last message's text, where it is a user's; None for a request without one."""

    key: bytes
    context: bytes
    question: str | None


def cache_key(
    messages: Any, model: str = "", params: Any = None, functions: Mapping[str, Any] | None = None
) -> Request:
    """The two keys of a request, and its question. ValueError for messages that are none, values that JSON lacks."""
    check_text("model", model)
    turns = _turns(messages)
    whole = {"model": model, "params": settings_of(params), "functions": functions or {}, "messages": turns}
    question = turns[-1].get("content") if turns[-1].get("role") == "user" else None
    question = question if isinstance(question, str) and question.strip() else None
    open_end = {**turns[-1], "content": None}
    return Request(_digest(whole), _digest(whole | {"messages": [*turns[:-1], open_end]}), question)


def canonical_json(value: Any) -> str:
    """The one way in which this value is written: {"b": 1.0, "a": (2,)} -> '{"a":[2],"b":1}'."""
    try:
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        raise ValueError("a request must not hold itself") from None


def _digest(value: Any) -> bytes:
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).digest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, (str, int))]:
            raise ValueError(f"keys of a request must be texts, got {describe(wrong[0])}")
        if len({str(key) for key in value}) < len(value):  # 1 and "1" would be one key of JSON
            raise ValueError(f"keys of a request must differ as texts, got {describe(value)}")
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(one) for one in value), key=repr)
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__qualname__, **_plain(settings_of(value))}
    raise ValueError(f"a request must hold texts, finite numbers, lists and dicts, got {describe(value)}")


def _turns(messages: Any) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if (
        not isinstance(messages, Sequence)
        or not messages
        or not all(isinstance(one, Mapping) for one in messages)
    ):
        raise ValueError(
            f"messages must be a text or dicts with a role and a content, got {describe(messages)}"
        )
    return [dict(one) for one in messages]


def settings_of(params: Any) -> dict[str, Any]:
    """Of SamplingParams (or another dataclass) the fields that differ from the default, and the two that everybody
    sets; a mapping as it is, without None."""
    if params is None:
        return {}
    if isinstance(params, Mapping):
        return {name: value for name, value in params.items() if value is not None}
    if not is_dataclass(params) or isinstance(params, type):
        raise ValueError(f"params must be SamplingParams, a dict or None, got {describe(params)}")
    always = ("max_tokens", "temperature")
    found = {one.name: (getattr(params, one.name), one.default) for one in fields(params)}
    return {name: value for name, (value, usual) in found.items() if name in always or value != usual}
