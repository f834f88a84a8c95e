"""The rows of `minillm sft` and `minillm dpo`: a file with one JSON object a line, or one JSON list of them.

sft   {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
      {"instruction": "...", "input": "...", "output": "..."}                      input may be empty or missing
dpo   {"prompt": "...", "chosen": "...", "rejected": "..."}     each a text, or a list of messages
      instruction and input may stand in place of prompt
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from minillm._checks import describe
from minillm._files import BadFileError, read_bytes

Row = TypeVar("Row")


def read_rows(path: Path, read: Callable[[Any], Row]) -> list[Row]:
    """`read(row)` of every row of a file. BadFileError (a ValueError) naming the line of the first that it refuses."""
    try:
        text = read_bytes(path, "file of rows").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFileError(f"file of rows {str(path)!r} is not UTF-8 text: {error.reason}") from None
    listed = text.lstrip().startswith("[")
    lines = [(1, text)] if listed else [one for one in enumerate(text.split("\n"), 1) if one[1].strip()]
    found: list[Row] = []
    for number, line in lines:
        where = "the list" if listed else f"line {number}"
        try:
            parsed = json.loads(line)
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # half a character is none
            for place, row in enumerate(parsed if listed else [parsed], 1):
                where = f"row {place}" if listed else where
                found.append(read(row))
        except (ValueError, RecursionError) as error:
            raise BadFileError(f"file of rows {str(path)!r} is refused: {where}: {error}") from None
    if not found:
        raise BadFileError(f"file of rows {str(path)!r} holds no row")
    return found


def conversation(row: Any) -> list[dict[str, Any]]:
    """The messages of a row of `sft`; ValueError for a row that is none."""
    row = _fields(row)
    if "messages" in row:
        messages = _messages("messages", row["messages"])
        if not any(one["role"] == "assistant" for one in messages[1:]):
            raise ValueError(
                "its messages must hold an answer of the assistant behind a question, they hold none"
            )
        return messages
    if "output" not in row or not ({"instruction", "prompt"} & set(row)):
        raise ValueError(f"it must have messages, or instruction and output, got the keys {sorted(row)}")
    return [*_prompt(row), *_answer("output", row["output"])]


def preference(row: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """(messages of the prompt, of the better answer, of the worse one) of a row of `dpo`; ValueError for another."""
    row = _fields(row)
    if not {"chosen", "rejected"} <= set(row) or not ({"instruction", "prompt"} & set(row)):
        raise ValueError(f"it must have prompt, chosen and rejected, got the keys {sorted(row)}")
    chosen, rejected = (_answer(side, row[side]) for side in ("chosen", "rejected"))
    return _prompt(row), chosen, rejected


def asked_text(messages: list[dict[str, Any]]) -> str:
    """What a conversation asks: the texts before its first answer."""
    texts = []
    for one in messages:
        if one["role"] == "assistant":
            break
        texts.append(str(one.get("content") or ""))
    return "\n".join(texts)


def _prompt(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "prompt" in row:
        return _messages("prompt", row["prompt"], "user")
    text, more = row["instruction"], row.get("input") or ""
    if not isinstance(text, str) or not isinstance(more, str) or not text.strip():
        raise ValueError(f"instruction and input must be texts, got {describe(text)} and {describe(more)}")
    return [{"role": "user", "content": f"{text}\n\n{more}" if more.strip() else text}]


def _answer(name: str, value: Any) -> list[dict[str, Any]]:
    messages = _messages(name, value, "assistant")
    if messages[-1]["role"] != "assistant":
        raise ValueError(
            f"{name} must end with a message of the assistant, got one of {messages[-1]['role']!r}"
        )
    return messages


def _messages(name: str, value: Any, role: str | None = None) -> list[dict[str, Any]]:
    """A text as one message of `role`, or messages as they are."""
    if isinstance(value, str) and role is not None:
        if not value.strip():
            raise ValueError(f"{name} is empty")
        return [{"role": role, "content": value}]
    good = isinstance(value, list) and value and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and ("content" in one or "tool_calls" in one)
        for one in value
    )  # fmt: skip
    if not good:
        text = "a text or " if role is not None else ""
        raise ValueError(
            f"{name} must be {text}a list of messages with role and content, got {describe(value)}"
        )
    return value


def _fields(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"it must be a JSON object, got {describe(row)}")
    return row
