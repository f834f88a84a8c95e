"""The core of a piece of source: its own lines, in order, without docstrings and without checks of the arguments.

A check is a call of `check`, `check_*` or `_check*`, an `assert`, an `if` or a `for` that does nothing but check or
raise, `n = check_int("n", n)`, which only gives an argument back, and a method `_check*` of a class that is shown
whole. The comment lines right above a check go with it. Nothing is reworded: what is shown stands in the file, and
`...` marks a body or a member left out.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from typing import Any

CHECK = re.compile(r"_?check(_\w+)?")
HAS_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)


def core_of(code: str) -> str:
    """`code` (Python that stands at the left margin) without docstrings and checks; it still parses."""
    cutter = _Cutter(code)
    cutter.visit(ast.parse(code), "body")
    return cutter.text()


def members_of(code: str, names: Sequence[str]) -> str:
    """A class's first line and the named methods and fields; `...` for those left out in between.

    Raises ValueError when `code` is no class or has no member of a name.
    """
    (top,) = ast.parse(code).body[:1] or [None]
    if not isinstance(top, ast.ClassDef):
        raise ValueError(f"methods are for a class, got {code.splitlines()[0]!r}")
    known = [name for member in top.body for name in _names(member)]
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"{top.name} has no {', '.join(missing)}; it has {', '.join(known)}")
    lines = code.split("\n")
    shown = lines[: _start(top.body[0]) - 1]
    while shown and not shown[-1].strip():
        shown.pop()
    left_out = False
    for index, member in enumerate(top.body):
        if index == 0 and _is_docstring(member):
            continue
        if not set(_names(member)) & set(names):
            left_out = True
            continue
        if left_out:
            shown += [" " * member.col_offset + "...", ""]
        elif isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and shown[-1].startswith("    "):
            shown.append("")
        shown += lines[_start(member) - 1 : member.end_lineno]
        left_out = False
    if left_out:
        shown += ["", " " * top.body[0].col_offset + "..."]
    return "\n".join(shown)


def part_of(code: str, first: str, last: str = "") -> str:
    """The statement whose first line begins with `first`, moved to the left margin with the comments right above it.

    With `last`, everything from there to the end of the statement that begins so. Raises ValueError for a beginning
    that no statement or more than one has, and for two statements that do not stand in one block.
    """
    lines = code.split("\n")
    tree = ast.parse(code)
    begin = _statement(tree, lines, first)
    end = _statement(tree, lines, last) if last else begin
    start = _start(begin) - _comments_above(lines, _start(begin))
    shown = textwrap.dedent("\n".join(lines[start - 1 : end.end_lineno]))
    if begin.col_offset != end.col_offset or begin.lineno > end.lineno:
        raise ValueError(
            f"a part goes from one statement to a later one of the same block, got {first!r} and {last!r}"
        )
    return shown


def _statement(tree: ast.Module, lines: list[str], beginning: str) -> ast.stmt:
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    found = [node for node in statements if lines[_start(node) - 1].strip().startswith(beginning)]
    if len(found) != 1:
        places = ", ".join(repr(lines[_start(node) - 1].strip()) for node in found) or "nothing"
        raise ValueError(f"part must begin one statement, {beginning!r} begins {places}")
    return found[0]


def _start(node: Any) -> int:
    """The line a statement begins on, its decorators included."""
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])


def _names(member: ast.stmt) -> list[str]:
    if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [member.name]
    targets = member.targets if isinstance(member, ast.Assign) else [getattr(member, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _comments_above(lines: list[str], start: int) -> int:
    """How many comment lines of the same indentation stand right above line `start` (counted from 1)."""
    first = lines[start - 1]
    margin = first[: len(first) - len(first.lstrip())]
    count = 0
    while start - 2 - count >= 0 and lines[start - 2 - count].startswith(f"{margin}#"):
        count += 1
    return count


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def is_check(node: ast.stmt) -> bool:
    """Whether a statement does nothing but look at arguments and complain."""
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.Expr):
        return all(map(_is_check_call, _elements(node.value)))
    if isinstance(node, ast.Assign):  # n = check_int("n", n): the argument itself comes back
        passed = {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
        assigned = {getattr(one, "id", "") for target in node.targets for one in _elements(target)}
        return all(map(_is_check_call, _elements(node.value))) and assigned <= passed
    if isinstance(node, (ast.If, ast.For)):
        looked_at = node.test if isinstance(node, ast.If) else node.iter
        if any(isinstance(one, ast.NamedExpr) for one in ast.walk(looked_at)):
            return False  # it gives something a name, which later lines may use
        return all(isinstance(one, ast.Raise) or is_check(one) for one in [*node.body, *node.orelse])
    return False


def _elements(value: ast.expr) -> list[ast.expr]:
    return value.elts if isinstance(value, ast.Tuple) else [value]


def _is_check_call(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    function = value.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return CHECK.fullmatch(name) is not None


class _Cutter:
    """Collects the lines to leave out, then writes the rest."""

    def __init__(self, code: str):
        self.lines = code.split("\n")
        self.cut: set[int] = set()  # numbers from 1
        self.instead: dict[int, str] = {}

    def visit(self, node: Any, field: str) -> None:
        statements: list[ast.stmt] = getattr(node, field)
        left = list(statements)
        for index, statement in enumerate(statements):
            docstring = index == 0 and isinstance(node, HAS_DOCSTRING) and _is_docstring(statement)
            checker = (
                isinstance(node, ast.ClassDef)
                and isinstance(statement, ast.FunctionDef)
                and statement.name.startswith("_check")
            )
            if (docstring or checker or is_check(statement)) and self._alone(statement):
                start = _start(statement)
                above = 0 if docstring else _comments_above(self.lines, start)
                self.cut.update(range(start - above, statement.end_lineno + 1))
                left.remove(statement)
                continue
            for inner in ("body", "orelse", "finalbody"):
                if getattr(statement, inner, None):
                    self._inner(statement, inner)
            for handler in getattr(statement, "handlers", []):
                self.visit(handler, "body")
        if not left and statements and not isinstance(node, ast.Module):
            first = statements[0]
            self.instead[_start(first)] = " " * first.col_offset + "..."

    def _inner(self, statement: Any, field: str) -> None:
        branch = getattr(statement, field)
        if field == "orelse" and all(isinstance(one, ast.Raise) or is_check(one) for one in branch):
            # an else (or elif) that only complains goes whole, with the line that says `else:`
            self.cut.update(range(statement.body[-1].end_lineno + 1, branch[-1].end_lineno + 1))
        else:
            self.visit(statement, field)

    def _alone(self, statement: ast.stmt) -> bool:
        """Whether no other statement shares its lines."""
        before = self.lines[_start(statement) - 1].encode()[: statement.col_offset]
        after = self.lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].strip()
        return not before.strip() and (not after or after.startswith(b"#"))

    def text(self) -> str:
        written: list[str] = []
        gap = False  # lines were left out right before this one
        for number, line in enumerate(self.lines, 1):
            if number in self.instead:
                written.append(self.instead[number])
                gap = False
            elif number in self.cut:
                gap = True
            elif (
                gap
                and not line.strip()
                and (not written or not written[-1].strip() or written[-1].rstrip().endswith(":"))
            ):
                continue  # the blank line that followed what was left out
            else:
                written.append(line)
                gap = False
        return "\n".join(written).strip("\n")
