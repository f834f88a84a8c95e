"""Names and what they stand for, and the two kinds of functions, while a program runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from minillm.sandbox.functions import FUNCTIONS


@dataclass
class Returned:
    """How a block ends that ends with `return`."""

    value: Any


class Scope:
    """Names and their values; what is not here is looked for outside."""

    def __init__(self, outer: Scope | None = None, own: frozenset[str] = frozenset()) -> None:
        self.outer, self.own, self.values = outer, own, {}

    def find(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            if name in scope.own:
                raise UnboundLocalError(f"{name!r} has no value yet")
            scope = scope.outer
        if name in FUNCTIONS:
            return Builtin(name)
        raise NameError(f"name {name!r} is not defined")


@dataclass(frozen=True)
class Builtin:
    """One of FUNCTIONS, as a value."""

    name: str

    def __repr__(self) -> str:
        return f"<function {self.name}>"


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the program, as a value."""

    node: ast.FunctionDef | ast.Lambda
    scope: Scope
    defaults: list[Any]
    own: frozenset[str]  # the names that it assigns to

    def __repr__(self) -> str:
        return "<function>"
