"""Instruction and preference data, in the forms people publish them, to one form each: messages, and pairs of answers.

    Alpaca        {"instruction": ..., "input": ..., "output": ...}         one question, one answer
    seed tasks    {"instruction": ..., "instances": [{"input", "output"}]}  one row for each instance
    chat          {"messages": [{"role": "user", "content": ...}, ...]}     several turns, as chat servers take them
    ShareGPT      {"conversations": [{"from": "human", "value": ...}, ...]}
    completion    {"prompt": ..., "completion": ...}

    ->  {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}

Preference rows have two ends, "chosen" and "rejected", in the same forms, and become {"prompt": [messages], "chosen":
text, "rejected": text}. A row that is none of these is refused by its number, never guessed at and never left out. Two
equal answers stay, too (published sets have some): they say nothing, so leave them out before you train or count.

Book: 4.1.2 연습문제 풀어보기: 지도 미세 조정, 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기. Peer: trl, whose
data forms the chat and completion rows and the output are. Left out: tools, pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from minillm._checks import check_path, describe
from minillm._files import BadFileError
from minillm.data.readers import read_rows

Message = dict[str, str]
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
KNOWN = "instruction and output, messages, conversations, or prompt and completion"
KNOWN_PAIRS = "chosen and rejected, with a prompt, an instruction, conversations, or as whole conversations"


def instruction_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{"messages": [...]} of each row, the last one the assistant's. ValueError with the row's number and what came."""
    return _each(rows, lambda row: [{"messages": one} for one in _conversations(row)])


def preference_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{"prompt": [...], "chosen": str, "rejected": str} of each row. ValueError with the row's number and what came."""
    return _each(rows, lambda row: [_pair(row)])


def read_instructions(path: str | Path) -> list[dict[str, Any]]:
    """`instruction_rows` of a JSON list or of JSON lines (.gz too). BadFileError names the file and the row."""
    return _read(path, instruction_rows)


def read_preferences(path: str | Path) -> list[dict[str, Any]]:
    """`preference_rows` of a JSON list or of JSON lines (.gz too). BadFileError names the file and the row."""
    return _read(path, preference_rows)


def _read(path: str | Path, convert: Callable[[list[Any]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    path = check_path("data file", path)
    rows = read_rows(path, "json or jsonl", {})
    if not rows:
        raise BadFileError(f"data file {str(path)!r} holds no row")
    try:
        return convert(rows)
    except ValueError as error:
        raise BadFileError(f"data file {str(path)!r}: {error}") from None


def _each(rows: Any, convert: Callable[[Mapping[str, Any]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    if isinstance(rows, (str, bytes, Mapping)) or not hasattr(rows, "__iter__"):
        raise ValueError(f"rows must be a list of dicts, got {describe(rows)}")
    found = []
    for number, row in enumerate(rows, 1):
        try:
            if not isinstance(row, Mapping):
                raise ValueError(f"expected an object, got {describe(row)}")
            found += convert(row)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
    return found


# --- instructions ---


def _conversations(row: Mapping[str, Any]) -> list[list[Message]]:
    """The conversations of one row, each ending with the assistant."""
    if "instances" in row:
        if not isinstance(row["instances"], list) or not row["instances"]:
            raise ValueError(f"instances must be a list of objects, got {describe(row['instances'])}")
        return [_alpaca({**row, **_object("an instance", one)}) for one in row["instances"]]
    if "messages" in row or "conversations" in row:
        return [_answered(_messages(row))]
    if "prompt" in row and "completion" in row:
        return [_answered([*_prompt(row["prompt"]), _said(row, "completion")])]
    if "instruction" in row and "output" in row:
        return [_alpaca(row)]
    raise ValueError(f"expected {KNOWN}; its keys are {_keys(row)}")


def _alpaca(row: Mapping[str, Any]) -> list[Message]:
    return _answered([*_question(row), _said(row, "output")])


def _question(row: Mapping[str, Any]) -> list[Message]:
    """An instruction, and its input below it, as what the user says."""
    instruction, given = _text(row, "instruction"), row.get("input") or ""
    if not isinstance(given, str):
        raise ValueError(f"input must be a text, got {describe(given)}")
    return [_message("user", f"{instruction}\n\n{given}" if given.strip() else instruction)]


def _messages(row: Mapping[str, Any]) -> list[Message]:
    """The messages of a chat or ShareGPT row, in order, each role where it may stand."""
    name, role, content = ("messages", "role", "content")
    if name not in row:
        name, role, content = ("conversations", "from", "value")
    given = row[name]
    if not isinstance(given, list) or not given:
        raise ValueError(f"{name} must be a list of objects, got {describe(given)}")
    found = [_message("system", _text(row, "system"))] if row.get("system") else []
    for place, one in enumerate(given, 1):
        one = _object(f"{name}, number {place}", one)
        speaker = _SPEAKERS.get(one.get(role)) if isinstance(one.get(role), str) else None
        if speaker is None:
            raise ValueError(
                f"{name}, number {place}: {role} must be one of {', '.join(_SPEAKERS)}, got {describe(one.get(role))}"
            )
        found.append(_message(speaker, _text(one, content, f"{name}, number {place}: ")))
    return _in_turn(found)


def _in_turn(messages: list[Message]) -> list[Message]:
    """The messages, if a system message stands only first and user and assistant take turns, the user first."""
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    for place, message in enumerate(turns):
        expected = "user" if place % 2 == 0 else "assistant"
        if message["role"] != expected:
            roles = ", ".join(one["role"] for one in messages)
            raise ValueError(f"user and assistant must take turns, the user first; the roles are {roles}")
    return messages


def _answered(messages: list[Message]) -> list[Message]:
    if messages[-1]["role"] != "assistant":
        raise ValueError(f"the last message must be the assistant's, it is the {messages[-1]['role']}'s")
    return messages


# --- preferences ---


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    if "chosen" not in row or "rejected" not in row:
        raise ValueError(f"expected {KNOWN_PAIRS}; its keys are {_keys(row)}")
    if "prompt" in row:
        prompt = _prompt(row["prompt"])
    elif "conversations" in row or "messages" in row:
        prompt = _messages(row)
    elif "instruction" in row:
        prompt = _question(row)
    elif isinstance(row["chosen"], list) and isinstance(row["rejected"], list):
        return _whole_pair(row)
    else:
        raise ValueError(f"expected {KNOWN_PAIRS}; its keys are {_keys(row)}")
    return _checked(prompt, _answer(row, "chosen"), _answer(row, "rejected"))


def _whole_pair(row: Mapping[str, Any]) -> dict[str, Any]:
    """Two conversations that differ in the last message alone."""
    chosen, rejected = (_answered(_messages({"messages": row[name]})) for name in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("chosen and rejected must have the same messages before the last one")
    return _checked(chosen[:-1], chosen[-1]["content"], rejected[-1]["content"])


def _checked(prompt: list[Message], chosen: str, rejected: str) -> dict[str, Any]:
    if not prompt or prompt[-1]["role"] != "user":
        raise ValueError("the prompt must end with what the user says")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _answer(row: Mapping[str, Any], name: str) -> str:
    """An answer given as a text, a message, or a list of one message."""
    given = row.get(name)
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if isinstance(given, Mapping):
        key = "content" if "content" in given else "value"
        speaker = given.get("role", given.get("from"))
        if not isinstance(speaker, str) or _SPEAKERS.get(speaker) != "assistant":
            raise ValueError(f"{name} must be said by the assistant, got {describe(speaker)}")
        return _text(given, key, f"{name}: ")
    return _text(row, name)


# --- pieces ---


def _prompt(given: Any) -> list[Message]:
    if isinstance(given, list):
        return _messages({"messages": given})
    return [_message("user", _text({"prompt": given}, "prompt"))]


def _said(row: Mapping[str, Any], name: str) -> Message:
    return _message("assistant", _answer(row, name))


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _text(row: Mapping[str, Any], name: str, where: str = "") -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}{name} must be a text that is not empty, got {describe(value)}")
    return value


def _object(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be an object, got {describe(value)}")
    return value


def _keys(row: Mapping[str, Any]) -> str:
    return describe(sorted(map(str, row)))
