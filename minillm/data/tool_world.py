"""A small workplace for an agent to work in: a table of goods, a folder, notes, a clock, an outbox, and nine tools.

    Workplace(world).look_up("kettle", "price") -> "24"          .write_file("memo.txt", "24") -> "saved memo.txt"

Every tool is a method with typed arguments that gives a text or raises ValueError. What it changed stands in `.files`
and `.sent`, so that whether a task was done is read off the state, not off what an agent says about it.

Book: 15.3 에이전트 평가하기. Paper: Yao et al. 2024, "tau-bench", which marks runs by the state of a database as well.
Left out: tools that take long, that fail now and then, and people who answer back (minillm/apps/agents has these).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from minillm._checks import check_text

LONGEST = 20_000  # characters of a file or message
FIELDS = ("price", "stock", "shelf")
OPERATIONS = ("add", "subtract", "multiply", "divide")


@dataclass(frozen=True)
class World:
    """What is there before an agent comes. items: name -> (price, stock, shelf); now: "2026-03-05 14:20"."""

    items: Mapping[str, tuple[int, int, int]]
    files: Mapping[str, str]
    notes: Mapping[str, str]
    now: str


class Workplace:
    """The world while somebody works in it. The names in `CHANGES` change something, the others only look."""

    TOOLS = (
        "calculate", "clock", "look_up", "find_note", "read_file", "list_files", "write_file", "send_message",
        "delete_file",
    )  # fmt: skip
    CHANGES = ("write_file", "send_message", "delete_file")

    def __init__(self, world: World) -> None:
        self.world = world
        self.files = dict(world.files)
        self.sent: list[tuple[str, str]] = []

    def calculate(
        self, left: float, operation: Literal["add", "subtract", "multiply", "divide"], right: float
    ) -> str:
        """Work out a sum, difference, product or quotient of two numbers."""
        if operation not in OPERATIONS:
            raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, got {operation!r}")
        if operation == "divide" and right == 0:
            raise ValueError("a division by zero has no result")
        value = {
            "add": left + right, "subtract": left - right, "multiply": left * right,
            "divide": left / right if right else 0.0,
        }[operation]  # fmt: skip
        return f"{value:.10g}"

    def clock(self) -> str:
        """Tell the current date and time."""
        return self.world.now

    def look_up(self, item: str, field: Literal["price", "stock", "shelf"]) -> str:
        """Look up the price, the stock or the shelf of an item in the table of goods."""
        if field not in FIELDS:  # a column's name cannot be a parameter of the query
            raise ValueError(f"field must be one of {', '.join(FIELDS)}, got {field!r}")
        name = check_text("item", item).strip().casefold()
        with closing(sqlite3.connect(":memory:")) as goods:
            goods.execute("CREATE TABLE items (name TEXT, price INTEGER, stock INTEGER, shelf INTEGER)")
            rows = ((key.casefold(), *values) for key, values in self.world.items.items())
            goods.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)
            query = f"SELECT {field} FROM items WHERE name IN (?, ?)"
            found = goods.execute(query, (name, name.removesuffix("s"))).fetchone()
        if found is None:
            raise ValueError(f"there is no item {item!r} in the table")
        return str(found[0])

    def find_note(self, topic: str) -> str:
        """Find the note on a topic in the notes."""
        from minillm.evaluation.naive_bayes import character_ngrams  # loads torch, which takes a second

        wanted = set(character_ngrams(check_text("topic", topic).strip().casefold(), 2))
        shared = {
            title: len(wanted & set(character_ngrams(title.casefold(), 2))) / max(1, len(wanted))
            for title in self.world.notes
        }
        best = max(shared, key=shared.__getitem__, default=None)
        if best is None or shared[best] < 0.6:
            raise ValueError(f"there is no note about {topic!r}")
        return self.world.notes[best]

    def read_file(self, path: str) -> str:
        """Read the text of a file."""
        return self.files[self._known(path)]

    def list_files(self) -> str:
        """List the names of all files in the folder."""
        return ", ".join(sorted(self.files))

    def write_file(self, path: str, text: str) -> str:
        """Save a text into a file."""
        self.files[self._name(path)] = self._short(text)
        return f"saved {path.strip()}"

    def send_message(self, to: str, text: str) -> str:
        """Send a message to a person."""
        if not check_text("to", to).strip():
            raise ValueError("to must name a person, got an empty text")
        self.sent.append((to.strip(), self._short(text)))
        return f"sent to {to.strip()}"

    def delete_file(self, path: str) -> str:
        """Delete a file from the folder."""
        del self.files[self._known(path)]
        return f"deleted {path.strip()}"

    def _name(self, path: str) -> str:
        name = check_text("path", path).strip()
        if not name or len(name) > 100 or any(mark in name for mark in "/\\\n\0") or name.startswith("."):
            raise ValueError(f"path must be the name of a file in this folder, got {path[:80]!r}")
        return name

    def _known(self, path: str) -> str:
        name = self._name(path)
        if name not in self.files:
            raise ValueError(f"there is no file {name!r}")
        return name

    def _short(self, text: str) -> str:
        if len(check_text("text", text)) > LONGEST:
            raise ValueError(f"text must have at most {LONGEST:,} characters, got {len(text):,}")
        return text.strip()


_TEXT, _NUMBER = {"type": "string", "maxLength": 60}, {"type": "number"}
_PATH = {"type": "string", "pattern": r"^[^\s/.]{1,30}\.[a-z]{2,4}$"}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "calculate": {"left": _NUMBER, "operation": {"enum": list(OPERATIONS)}, "right": _NUMBER},
    "clock": {}, "look_up": {"item": _TEXT, "field": {"enum": list(FIELDS)}}, "find_note": {"topic": _TEXT},
    "read_file": {"path": _PATH}, "list_files": {}, "write_file": {"path": _PATH, "text": _TEXT},
    "send_message": {"to": _TEXT, "text": _TEXT}, "delete_file": {"path": _PATH},
}  # fmt: skip


def tool_schemas(names: Iterable[str] = Workplace.TOOLS) -> dict[str, dict[str, Any]]:
    """name -> {"description": what the tool does, "parameters": the JSON schema of its arguments}."""
    return {
        name: {
            "description": (getattr(Workplace, name).__doc__ or "").strip(),
            "parameters": {
                "type": "object", "properties": _ARGUMENTS[name], "required": list(_ARGUMENTS[name]),
                "additionalProperties": False,
            },
        }
        for name in names
    }  # fmt: skip
