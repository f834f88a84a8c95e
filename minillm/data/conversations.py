"""Instruction and preference data, in the forms people publish them, to one form each: messages, and pairs of answers.

    Alpaca        {"instruction": ..., "input": ..., "output": ...}         one question, one answer
    seed tasks    {"instruction": ..., "instances": [{"input", "output"}]}  one row for each instance
    chat          {"messages": [{"role": "user", "content": ...}, ...]}     several turns, as chat servers take them
    ShareGPT      {"conversations": [{"from": "human", "value": ...}, ...]}
    completion    {"prompt": ..., "completion": ...}                        or "output"

    ->  {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}

Preference rows have two ends, "chosen" and "rejected", and become {"prompt": [messages], "chosen": text, "rejected":
text}; both ends are lists of messages where one of them is more than a text (a call of a tool, several turns). A row
that is none of these is refused by its number, never guessed at and never left out. Two equal answers stay: they say
nothing, so leave them out before you train or count.

Book: 4.1.2 연습문제 풀어보기: 지도 미세 조정, 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기. Peer: trl.
Left out: pictures, lists of tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from minillm._checks import check_path, describe
from minillm._files import BadFileError
from minillm.data.json_texts import check_characters
from minillm.data.readers import read_rows

Message = dict[str, Any]
_SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "developer": "developer", "tool": "tool", "observation": "tool",
}  # fmt: skip
_MORE = (
    "name",
    "tool_calls",
    "tool_call_id",
    "reasoning_content",
    "thinking",
    "reasoning",
)  # what templates read
_MAY_FOLLOW = {  # who may speak after whom; None: nobody yet, or a system or developer message
    None: ("user",), "user": ("assistant",), "assistant": ("user", "tool"), "tool": ("tool", "assistant"),
}  # fmt: skip
KNOWN = "instruction and output, messages, conversations, or prompt and completion (or output)"
KNOWN_PAIRS = "chosen and rejected, with a prompt, an instruction, conversations, or as whole conversations"


def instruction_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{"messages": [...]} of each row: who speaks takes turns, the user first, and the assistant answers.

    What may follow the last answer (a question without one) stays. A message has role, content and, where they are
    given, name, tool_calls, tool_call_id, its reasoning. ValueError with the row's number and what came.
    """
    return _each(rows, lambda row: [{"messages": one} for one in _conversations(row)])


def preference_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{"prompt": [...], "chosen": ..., "rejected": ...} of each row: two texts, or two lists of messages.

    The prompt ends with what the user says or a tool finds; both answers end with the assistant. ValueError with the
    row's number and what came.
    """
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


def _conversations(row: Mapping[str, Any]) -> list[list[Message]]:
    """The conversations of one row."""
    if "instances" in row:
        if not isinstance(row["instances"], list) or not row["instances"]:
            raise ValueError(f"instances must be a list of objects, got {describe(row['instances'])}")
        return [
            _asked_and_answered({**row, **_object("an instance", one)}, "output") for one in row["instances"]
        ]
    if "messages" in row or "conversations" in row:
        return [_answered(_messages(row))]
    answer = "completion" if "prompt" in row and "completion" in row else "output"
    if ("prompt" in row or "instruction" in row) and answer in row:
        return [_asked_and_answered(row, answer)]
    raise ValueError(f"expected {KNOWN}; its keys are {_keys(row)}")


def _asked_and_answered(row: Mapping[str, Any], answer: str) -> list[Message]:
    return _in_turn([*_question(row), *_answer(row, answer)])


def _system(row: Mapping[str, Any]) -> list[Message]:
    return [_message("system", _text(row, "system"))] if row.get("system") else []


def _question(row: Mapping[str, Any]) -> list[Message]:
    """A prompt, or an instruction and its input below it, as what the user says; what the row's system says before."""
    if isinstance(row.get("history"), list) and row["history"]:
        raise ValueError("history holds turns that came before: give them as messages")
    if "prompt" in row:
        given = row["prompt"]
        return (
            _messages({"messages": given, "system": row.get("system")})
            if isinstance(given, list)
            else [*_system(row), _message("user", _text(row, "prompt"))]
        )
    instruction, given = _text(row, "instruction"), row.get("input") or ""
    if not isinstance(given, str):
        raise ValueError(f"input must be a text, got {describe(given)}")
    asked = f"{instruction}\n\n{given}" if given.strip() else instruction
    return [*_system(row), _message("user", asked)]


def _messages(row: Mapping[str, Any]) -> list[Message]:
    """The messages of a chat or ShareGPT row, in order, each role where it may stand."""
    name = "messages" if "messages" in row else "conversations"
    return _in_turn([*_system(row), *_listed(name, row[name])])


def _listed(name: str, given: Any) -> list[Message]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"{name} must be a list of objects, got {describe(given)}")
    return [_one(f"{name}, number {place}", value) for place, value in enumerate(given, 1)]


def _one(where: str, value: Any) -> Message:
    """One message of a list, by the names of chat rows or of ShareGPT's."""
    given = _object(where, value)
    role, content = ("from", "value") if "from" in given and "role" not in given else ("role", "content")
    came = given.get(role)
    speaker = _SPEAKERS.get(came) if isinstance(came, str) else None
    if speaker is None:
        raise ValueError(f"{where}: {role} must be one of {', '.join(_SPEAKERS)}, got {describe(came)}")
    more = {key: given[key] for key in _MORE if given.get(key) is not None}
    if "tool_calls" in more and (not isinstance(more["tool_calls"], list) or speaker != "assistant"):
        raise ValueError(
            f"{where}: tool_calls must be a list, and the assistant's, got {describe(more['tool_calls'])}"
        )
    if not more.get("tool_calls"):
        more.pop("tool_calls", None)
    text = given.get(content)
    if isinstance(text, list) and text and all(isinstance(one, Mapping) and "text" in one for one in text):
        text = "".join(_text(one, "text", f"{where}: ") for one in text)  # parts, as chat servers take them
    if text is None and "tool_calls" in more:
        text = ""
    may_be_empty = "tool_calls" in more or speaker in ("system", "developer", "tool")
    if not (may_be_empty and isinstance(text, str)):
        text = _text({content: text}, content, f"{where}: ")
    return _message(speaker, text, **more)


def _in_turn(messages: list[Message]) -> list[Message]:
    """The messages, if one of the system stands only first and the others take turns, the user first."""
    roles = [one["role"] for one in messages]
    before = None
    for role in roles[1:] if roles[0] in ("system", "developer") else roles:
        if role not in _MAY_FOLLOW[before]:
            raise ValueError(
                "user and assistant (and tools behind it) must take turns, the user first; the roles are "
                f"{', '.join(roles)}"
            )
        before = role
    return messages


def _answered(messages: list[Message]) -> list[Message]:
    if not any(one["role"] == "assistant" for one in messages):
        roles = ", ".join(one["role"] for one in messages)
        raise ValueError(f"an answer of the assistant is missing; the roles are {roles}")
    return messages


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    if "chosen" not in row or "rejected" not in row:
        raise ValueError(f"expected {KNOWN_PAIRS}; its keys are {_keys(row)}")
    if "prompt" in row or ("instruction" in row and not {"conversations", "messages"} & set(row)):
        prompt = _question(row)
    elif "conversations" in row or "messages" in row:
        prompt = _messages(row)
    else:
        prompt = []
    if all(_is_whole(row[name]) for name in ("chosen", "rejected")):
        return _whole_pair(row, prompt)
    if not prompt:
        raise ValueError(f"expected {KNOWN_PAIRS}; its keys are {_keys(row)}")
    return _checked(prompt, _answer(row, "chosen"), _answer(row, "rejected"))


def _is_whole(given: Any) -> bool:
    """Whether this is a conversation from its first message on: it does not begin with the assistant."""
    first = given[0] if isinstance(given, list) and given else None
    speaker = first.get("role", first.get("from")) if isinstance(first, Mapping) else None
    return isinstance(speaker, str) and _SPEAKERS.get(speaker) in ("system", "developer", "user")


def _whole_pair(row: Mapping[str, Any], prompt: list[Message]) -> dict[str, Any]:
    """Two conversations that begin alike: the prompt is what they share, up to an answer."""
    chosen, rejected = (_in_turn(_listed(name, row[name])) for name in ("chosen", "rejected"))
    for name, one in (("chosen", chosen), ("rejected", rejected)):
        _ends_with_an_answer(name, one)
    most = min(len(chosen), len(rejected)) - 1
    shared = next((i for i in range(most) if chosen[i] != rejected[i]), most)
    while shared and not chosen[shared]["role"] == rejected[shared]["role"] == "assistant":
        shared -= 1
    if not shared:
        raise ValueError(
            "chosen and rejected must have the same messages before the first answer that differs"
        )
    asked = [one["content"].strip() for one in chosen[:shared] if one["role"] == "user"]
    if prompt and prompt[-1]["content"].strip() not in asked:
        raise ValueError("chosen and rejected are whole conversations, and do not ask what the prompt asks")
    return _checked(chosen[:shared], chosen[shared:], rejected[shared:])


def _checked(prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> dict[str, Any]:
    if prompt[-1]["role"] not in ("user", "tool"):
        raise ValueError("the prompt must end with what the user says, or with what a tool finds")
    _in_turn([*prompt, *chosen]), _in_turn([*prompt, *rejected])
    texts = all(len(one) == 1 and set(one[0]) == {"role", "content"} for one in (chosen, rejected))
    return {
        "prompt": prompt,
        "chosen": chosen[0]["content"] if texts else chosen,
        "rejected": rejected[0]["content"] if texts else rejected,
    }


def _answer(row: Mapping[str, Any], name: str) -> list[Message]:
    """An answer given as a text, a message, or a list of messages that the assistant begins and ends."""
    given = row.get(name)
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list):
        return [_message("assistant", _text(row, name))]
    messages = _listed(name, given)
    if messages[0]["role"] != "assistant":
        raise ValueError(f"{name} must be said by the assistant, got {describe(messages[0]['role'])}")
    return _ends_with_an_answer(name, messages)


def _ends_with_an_answer(name: str, messages: list[Message]) -> list[Message]:
    if messages[-1]["role"] != "assistant":
        raise ValueError(
            f"the last message of {name} must be the assistant's, it is the {messages[-1]['role']}'s"
        )
    return messages


def _message(role: str, content: str, **more: Any) -> Message:
    message = {"role": role, "content": content, **more}
    check_characters(json.dumps(message, ensure_ascii=False, default=str))
    return message


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
