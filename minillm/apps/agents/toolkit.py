"""Tools that most agents want: a calculator, a clock, search, SQL, Python in a process of its own, files of one folder.

    Agent(..., tools=[calculator, clock_tool(now), *folder_tools("notes"), sql_tool(sandbox), python_tool(), ...])

Each is given what it may touch (a folder, a database, a clock) when it is made; a model names only what is inside.
Book: 15.1.4 에이전트의 행동. Left out: the network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minillm._checks import check_function, check_int, check_path
from minillm._files import write_whole
from minillm.apps.agents.tools import MOST, Tool, tool, tool_from
from minillm.sandbox import Limits, SQLSandbox, evaluate, run_python

LARGEST_FILE, MOST_FILES = 1_000_000, 200  # bytes that are read or written; names that are listed
MOST_ROWS = 50  # of an answer of SQL


@tool
def calculator(expression: str) -> str:
    """Calculate an arithmetic expression, as in (3 + 4) * 2."""
    if "^" in expression:  # Python's "exclusive or": 2^3 would be 1, and nobody asks a calculator for that
        raise ValueError("^ is no power here: write ** for it")
    value = evaluate(expression, limits=Limits())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("this is no arithmetic expression")
    return str(value)


def clock_tool(now: Callable[[], str]) -> Tool:
    """`now`: the time as a text. It is passed in, so that a run can be repeated."""
    check_function("now", now)

    def clock() -> str:
        """Say what time it is."""
        return now()

    return tool_from(clock)


def search_tool(store: Any, top_k: int = 3, name: str = "search") -> Tool:
    """Search a VectorStore that has an encoder, and whose records have a text."""
    top_k = check_int("top_k", top_k, 1, 100)

    def search(query: str) -> list:
        """Search the documents for a query."""
        found = store.query(query, top_k=top_k)["matches"]
        return [{"id": one["id"], "text": one["metadata"].get("text", "")} for one in found]

    return tool_from(search, name=name)


def sql_tool(sandbox: SQLSandbox) -> Tool:
    """Read-only SQL: the sandbox lets nothing else through."""

    def sql(query: str) -> dict:
        """Ask the database with one SELECT statement of SQL."""
        answer = sandbox.query(query)
        more = len(answer.rows) - MOST_ROWS  # a model that is not told takes what it sees for all there is
        said = {"columns": answer.columns, "rows": answer.rows[:MOST_ROWS]}
        return said if more <= 0 else {"rows_left_out": more, **said}

    return tool_from(sql, seconds=30)


def python_tool(seconds: float = 5.0) -> Tool:
    """Python in a confined process; where the system cannot confine it, the tool says so and runs nothing."""

    def python(code: str) -> dict:
        """Run a Python program; says what it printed and the value of its last line."""
        result = run_python(code, seconds=seconds)
        if result.error:
            raise RuntimeError(result.error)
        return {"printed": result.stdout, "value": result.value}

    return tool_from(python, seconds=10 * seconds + 60)


def folder_tools(folder: str | Path) -> list[Tool]:
    """list_files, read_file, and write_file (dangerous) of one folder. No path leads out of it: not by "..", not from
    the root, not by a link of either kind. (A stranger who moves links while a tool runs could still win the race.)"""
    root = check_path("folder", folder).resolve()
    if not root.is_dir():
        raise ValueError(f"folder must be a folder that is there, got {str(folder)!r}")

    def list_files() -> list:
        """List the files."""
        with quiet_about(root):
            names = [one.relative_to(root).as_posix() for one in files_of(root, most=MOST_FILES + 1)]
        return (
            names if len(names) <= MOST_FILES else [f"(the first {MOST_FILES}, there are more)", *names[:-1]]
        )

    def read_file(path: str) -> str:
        """Read a file."""
        return read_inside(root, path)[: MOST + 1]

    def write_file(path: str, text: str) -> str:
        """Write a file, in place of what was there."""
        if len(text) > LARGEST_FILE:
            raise ValueError(f"a file has at most {LARGEST_FILE:,} characters")
        with quiet_about(root):
            write_whole(inside_of(root, path), text)
        return "written"

    return [tool_from(list_files), tool_from(read_file), tool_from(write_file, dangerous=True)]


def files_of(root: Path, pattern: str = "**/*", most: int = MOST_FILES) -> list[Path]:
    """The files in a folder and below, sorted, `most` at most: none that is a link, or has a name elsewhere."""
    inside = (one for one in root.glob(pattern) if not one.is_symlink() and one.is_file())
    return sorted(one for one in itertools.islice(inside, most) if one.stat().st_nlink == 1)


def read_inside(root: Path, path: str) -> str:
    """The text of a file in a folder; ValueError for any other."""
    with quiet_about(root):
        found = inside_of(root, path)
        if not found.is_file() or found.stat().st_nlink > 1 or found.stat().st_size > LARGEST_FILE:
            raise ValueError(f"there is no such file of at most {LARGEST_FILE:,} bytes")
        return found.read_text("utf-8", errors="replace")


@contextmanager
def quiet_about(root: Path) -> Iterator[None]:
    """Errors are told to a model, and perhaps to its server: they say nothing of where the folder lies."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"that is not possible: {error.strerror or type(error).__name__}") from None
    except ValueError as error:
        raise ValueError(str(error).replace(str(root), "")) from None


def inside_of(root: Path, path: str) -> Path:
    """The path in a folder; ValueError for one that leads out of it, or through a link."""
    parts = path.split("/")
    if "\0" in path or "\\" in path or ":" in path or any(one in ("", ".", "..") for one in parts):
        raise ValueError("a path is names with / between them, inside the folder")
    at = root
    for one in parts:
        at = at / one
        if at.is_symlink():
            raise ValueError("a path may not lead through a link")
    if not at.resolve().is_relative_to(root):
        raise ValueError("a path may not lead out of the folder")
    return at
