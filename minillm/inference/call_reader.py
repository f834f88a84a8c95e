"""An answer that may call functions, parted into text and calls while it comes.

    "Sure.<tool_call>\\n{"name": "f", "arguments": {"a": 1}}\\n</tool_call>"
    ("text", "Sure.")   ("call", 0)   ("arguments", 0, '{"a": 1}')

The grammar (grammar/calls.py) has seen to it that what comes has the form. What may still become the marker of a call
is held back. Book 8.4 LLM 서빙 프레임워크. Held against the openai client.
"""

from __future__ import annotations

import uuid
from typing import Any

from minillm.inference.grammar.calls import Calls


class CallReader:
    """Parts an answer into text and calls, piece by piece. `calls`: those so far, in OpenAI's form.

    `feed` returns what is new: ("text", text), ("call", number), ("arguments", number, text).
    """

    def __init__(self, calls: Calls):
        self.form = calls.form
        self.anywhere = calls.form.anywhere and calls.schema is None  # a JSON string may hold the marker
        self.calls: list[dict[str, Any]] = []
        self._left = ""  # came, and is not told yet
        self._seen = 0  # characters of free text that were told
        self._where = "text" if calls.text else "name"
        self._prefix = self.form.before  # what stands before the next name
        self._depth, self._string, self._escaped = 0, False, False

    def feed(self, text: str, last: bool = False) -> list[tuple[Any, ...]]:
        """last: nothing comes any more."""
        self._left += text
        found: list[tuple[Any, ...]] = []
        while self._step(found, last):
            pass
        return found

    def _step(self, found: list[tuple[Any, ...]], last: bool) -> bool:
        """Whether there may be more to tell."""
        if self._where == "text":
            return self._text(found, last)
        if self._where == "name":
            return self._name(found)
        if self._where == "arguments":
            return self._arguments(found)
        between = self.form.between  # behind a call
        if between is not None and self._left.startswith(between):
            self._where, self._prefix = "name", between
            return True
        return False

    def _text(self, found: list[tuple[Any, ...]], last: bool) -> bool:
        marker, left = self.form.marker, self._left
        at = left.find(marker)
        if not self.anywhere:
            at = 0 if not self._seen and left.startswith(marker) else -1
        if at >= 0:
            told, self._left, self._where = left[:at], left[at:], "name"
        else:
            longest = range(min(len(marker) - 1, len(left)), 0, -1)
            held = next((n for n in longest if left.endswith(marker[:n])), 0)
            if last or (not self.anywhere and (self._seen or held < len(left))):
                held = 0  # it cannot become the marker any more
            told, self._left = left[: len(left) - held], left[len(left) - held :]
        if told:
            self._seen += len(told)
            found.append(("text", told))
        return at >= 0

    def _name(self, found: list[tuple[Any, ...]]) -> bool:
        if not self._left.startswith(self._prefix) or self.form.middle not in self._left[len(self._prefix) :]:
            return False
        name, _, self._left = self._left[len(self._prefix) :].partition(self.form.middle)
        function = {"name": name, "arguments": ""}
        self.calls.append({"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function})
        found.append(("call", len(self.calls) - 1))
        self._where = "arguments"
        return True

    def _arguments(self, found: list[tuple[Any, ...]]) -> bool:
        for length, character in enumerate(self._left, start=1):
            if self._string:
                self._string = self._escaped or character != '"'
                self._escaped = character == "\\" and not self._escaped
            else:
                self._string = character == '"'
                self._depth += (character in "{[") - (character in "}]")
                if not self._depth:
                    self._told(found, length)
                    self._where = "after"
                    return True
        self._told(found, len(self._left))
        return False

    def _told(self, found: list[tuple[Any, ...]], length: int) -> None:
        text, self._left = self._left[:length], self._left[length:]
        if text:
            self.calls[-1]["function"]["arguments"] += text
            found.append(("arguments", len(self.calls) - 1, text))
