"""Show the library's own source inside a lesson, so that no lesson carries a second copy of it.

`show(BPETokenizer.encode)` as the last line of a cell renders the repository path and the highlighted code. Strict
nbval compares that output with the source of today: a lesson that shows code which has changed turns red.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

from minillm._checks import describe
from minillm.course.paths import LIBRARY

REPOSITORY = LIBRARY.parent


class Source:
    """One or more pieces of the library's source; Jupyter renders it as Markdown, `print` as plain text."""

    def __init__(self, pieces: list[tuple[str, str, str]]):
        self._pieces = pieces  # (name, repository path, code)

    def _repr_markdown_(self) -> str:
        blocks = []
        for _, path, code in self._pieces:
            fence = "````" if "```" in code else "```"
            blocks.append(f"`{path}`\n\n{fence}python\n{code}\n{fence}")
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        return "\n".join(f"source of {name} ({path})" for name, path, _ in self._pieces)

    def __str__(self) -> str:
        return "\n\n".join(f"# {path}\n{code}" for _, path, code in self._pieces)


def show(*objects: Any, doc: bool = True) -> Source:
    """The source of functions, classes, methods or modules of minillm (or kernels), ready to be displayed.

    doc=False leaves docstrings out, for a second look at a long function. Compiled (numba, triton), wrapped, cached
    and bound functions and properties are shown as they were written. Raises ValueError for anything that is not
    written in this repository.
    """
    if not objects:
        raise ValueError("show needs at least one function, class, method or module of minillm, got nothing")
    return Source([_piece(thing, doc) for thing in objects])


def _piece(thing: Any, doc: bool) -> tuple[str, str, str]:
    target = _unwrapped(thing)
    if not (inspect.isfunction(target) or inspect.isclass(target) or inspect.ismodule(target)):
        raise ValueError(f"show takes a function, class, method or module of minillm, got {describe(thing)}")
    try:
        file = Path(inspect.getsourcefile(target) or "").resolve()
        code = inspect.getsource(target)
    except (OSError, TypeError):
        raise ValueError(f"show found no source file for {describe(thing)}") from None
    if not (
        file.is_relative_to(REPOSITORY) and file.relative_to(REPOSITORY).parts[0] in {"minillm", "kernels"}
    ):
        raise ValueError(f"show is for the library's own source; {describe(thing)} is not part of minillm")
    name = target.__name__
    if not isinstance(target, ModuleType):
        name = f"{target.__module__}.{target.__qualname__}"
    code = textwrap.dedent(code).rstrip("\n")
    return name, file.relative_to(REPOSITORY).as_posix(), code if doc else _without_docstrings(code)


def _unwrapped(thing: Any) -> Any:
    """The function a decorator, a compiler, a property or a bound method stands for."""
    while True:
        if isinstance(thing, property):
            thing = thing.fget
        elif isinstance(thing, functools.partial):
            thing = thing.func
        elif inspect.ismethod(thing) or isinstance(thing, (classmethod, staticmethod)):
            thing = thing.__func__
        elif inspect.isfunction(getattr(thing, "py_func", None)):  # numba's dispatcher
            thing = thing.py_func
        elif inspect.isfunction(getattr(thing, "fn", None)):  # triton's kernel, compiled or interpreted
            thing = thing.fn
        elif not inspect.isclass(thing) and hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        else:
            return thing


def _without_docstrings(code: str) -> str:
    lines = code.split("\n")
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            continue
        if ast.get_docstring(node, clean=False) is None or len(node.body) == 1:
            continue
        first = node.body[0]
        for number in range(first.lineno - 1, first.end_lineno):
            lines[number] = None
        if first.end_lineno < len(lines) and lines[first.end_lineno] == "":
            lines[first.end_lineno] = None  # the blank line that followed the docstring
    return "\n".join(line for line in lines if line is not None)
