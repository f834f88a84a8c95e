"""Show the library's own source inside a lesson, so that no lesson carries a second copy of it.

`show(BPETokenizer.encode)` as the last line of a cell renders a link to the file and the highlighted code. Strict
nbval compares that output with the source of today: a lesson that shows code which has changed turns red.

    show(f, core=True)                       the idea alone: no docstrings, no checks of the arguments (core.py)
    show(C, core=True, methods=("forward",)) a class with only some of its methods
    show(kernel, core=True, part="for j in") one statement of a long function, found by how its first line begins
    show(kernel, core=True, part=("q =", "k =")) from one statement to a later one of the same block
    show(new, since=old)                     what is new in `new` beside `old`, as a diff of the two cores
"""

from __future__ import annotations

import difflib
import functools
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from minillm._checks import describe
from minillm.course.page.core import core_of, members_of, part_of
from minillm.course.paths import LIBRARY

REPOSITORY = LIBRARY.parent
AROUND = 2  # lines a difference is shown with above and below it


@dataclass(frozen=True)
class Piece:
    """One function, class, method or module: its full name, the file below the repository, and the code shown."""

    name: str
    path: str
    code: str
    language: str = "python"
    remark: str = ""  # stands after the link

    @property
    def link(self) -> str:
        """A link that works in notebooks/ and study/ alike: both stand beside minillm/ and kernels/."""
        return f"[`{self.path}`](../{self.path})"


class Source:
    """One or more pieces of the library's source; Jupyter renders it as Markdown, `print` as plain text."""

    def __init__(self, pieces: list[Piece]):
        self._pieces = pieces

    def _repr_markdown_(self) -> str:
        blocks = []
        for piece in self._pieces:
            fence = "````" if "```" in piece.code else "```"
            heading = f"{piece.link}{piece.remark}"
            blocks.append(f"{heading}\n\n{fence}{piece.language}\n{piece.code}\n{fence}")
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        return "\n".join(f"source of {piece.name} ({piece.path})" for piece in self._pieces)

    def __str__(self) -> str:
        return "\n\n".join(f"# {piece.path}\n{piece.code}" for piece in self._pieces)


def show(
    *objects: Any,
    core: bool = False,
    since: Any = None,
    methods: Sequence[str] = (),
    part: str | tuple[str, str] = "",
) -> Source:
    """The source of functions, classes, methods or modules of minillm (or kernels), ready to be displayed.

    core: leave out docstrings and checks of the arguments; every line shown is a line of the file. since: show
    one object as a diff (of the two cores) against this older one. methods: of a class, only these members. part: of
    one function, only the statement whose first line begins with this text, or from one such statement to another.
    Compiled (numba, triton), wrapped, cached and bound functions and properties are shown as they were written.
    Raises ValueError for anything that is not written in this repository, for a member or a part that is not there,
    and for a part found twice.
    """
    if not objects:
        raise ValueError("show needs at least one function, class, method or module of minillm, got nothing")
    if len(objects) > 1 and (since is not None or methods or part):
        raise ValueError(f"since, methods and part are for one object at a time, got {len(objects)}")
    pieces = [_piece(thing, core or since is not None) for thing in objects]
    if methods:
        pieces = [replace(pieces[0], code=members_of(pieces[0].code, methods))]
    if part:
        short = pieces[0].name.split(".")[-1]
        code = part_of(pieces[0].code, *([part] if isinstance(part, str) else part))
        pieces = [replace(pieces[0], code=code, remark=f", in `{short}`")]
    if since is not None:
        pieces = [_difference(_piece(since, core=True), pieces[0])]
    return Source(pieces)


def _piece(thing: Any, core: bool) -> Piece:
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
    return Piece(name, file.relative_to(REPOSITORY).as_posix(), core_of(code) if core else code)


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


def _difference(old: Piece, new: Piece) -> Piece:
    code = "\n".join(_diff_lines(old.code.split("\n"), new.code.split("\n")))
    remark = f": what is new since `{old.name.split('.')[-1]}` in {old.link}"
    return replace(new, code=code, language="diff", remark=remark)


def _diff_lines(old: list[str], new: list[str]) -> Iterator[str]:
    """`+` what the new one adds, `-` what it no longer has, and two lines around them; `...` where both agree."""
    hunks = list(difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(AROUND))
    end = 0
    for hunk in hunks:
        start = hunk[0][3]
        if start > end:
            yield "  ..."
        end = hunk[-1][4]
        for kind, i1, i2, j1, j2 in hunk:
            if kind == "equal":
                yield from (f"  {line}".rstrip() for line in new[j1:j2])
            else:
                yield from (f"- {line}".rstrip() for line in old[i1:i2])
                yield from (f"+ {line}".rstrip() for line in new[j1:j2])
    if end < len(new) or not hunks:
        yield "  ..."
