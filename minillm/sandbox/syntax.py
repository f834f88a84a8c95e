"""What a program may be made of: the one list of the interpreter. All else is refused before anything runs.

import os                  Import is not allowed           a.b = 1, a.__class__        .b is not allowed
try: ... except: ...       Try is not allowed              "%d" % 3, b"x", 3j          later, or as a constant
"""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from minillm._checks import check_text
from minillm.sandbox.meter import Refused
from minillm.sandbox.methods import METHODS
from minillm.sandbox.operators import SCALARS

LONGEST_SOURCE = 10_000  # characters
_ONE_AT_A_TIME = threading.Lock()
ALLOWED = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.If, ast.For,
    ast.While, ast.Break, ast.Continue, ast.Pass, ast.Expr, ast.Constant, ast.Name, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.keyword, ast.Attribute, ast.List, ast.Tuple, ast.Dict, ast.Set,
    ast.Subscript, ast.Slice, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp, ast.comprehension,
    ast.JoinedStr, ast.FormattedValue, ast.Lambda, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.expr_context,
)  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of Python's parser. They are switched off for the whole process, so one thread after the other does
    it: two at once would leave them switched off for ever."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parsed(source: str) -> ast.Module:
    """The syntax tree of a program that uses only what is allowed. Raises Refused, which names the line."""
    if len(check_text("source", source)) > LONGEST_SOURCE:
        raise Refused(f"a program of {len(source):,} characters, at most {LONGEST_SOURCE:,} are read")
    try:
        with quiet():
            tree = ast.parse(source)
            compile(tree, "<program>", "exec")  # it finds a `return` outside a function, and the like
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Refused(f"no Python: {error}") from None
    _check(tree)
    return tree


def _check(tree: ast.Module) -> None:
    """Refused for the first node, name or constant that is not allowed."""
    for node in ast.walk(tree):
        why = None
        if not isinstance(node, ALLOWED):
            why = type(node).__name__
        elif isinstance(node, ast.MatMult):  # an ast.operator, but no number or list has it
            why = "@"
        elif isinstance(node, ast.Attribute):
            known = isinstance(node.ctx, ast.Load) and any(node.attr in table for table in METHODS.values())
            why = None if known else f".{node.attr}"
        elif isinstance(node, ast.Constant) and type(node.value) not in (*SCALARS, str):
            why = f"a constant of type {type(node.value).__name__}"
        elif isinstance(node, ast.FunctionDef) and node.decorator_list:
            why = "a decorator"
        elif isinstance(node, ast.arguments) and (
            node.vararg or node.kwarg or node.kwonlyargs or node.posonlyargs
        ):
            why = "parameters with * or /"
        elif isinstance(node, ast.comprehension) and node.is_async:
            why = "async"
        elif "__" in (
            getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None) or ""
        ):
            why = "a name with __"
        if why is not None:
            raise Refused(f"line {getattr(node, 'lineno', 1)}: {why} is not allowed")


def assigned(body: list[ast.stmt]) -> Iterator[str]:
    """The names that a function's own statements assign to; those of functions and comprehensions inside are theirs."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.For)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for target in targets for one in ast.walk(target)
                        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))  # fmt: skip
        for inner in ("body", "orelse"):
            if not isinstance(node, ast.FunctionDef):
                yield from assigned(getattr(node, inner, []))
