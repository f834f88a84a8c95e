"""The expressions of the interpreter: each kind of node has a method that gives its value.

`_value` counts a step, then looks the method up by the node's type; `_BinOp` asks `_value` for both sides and pays for
the operator (operators.py); `_Call` finds a function by name (functions.py) or a method in its table (methods.py).
There is no other way to a value. Statements, and how a program begins and ends, stand in interpreter.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

from minillm.sandbox.functions import FUNCTIONS, GROUPS, formatted, hashed, iterable, text_of
from minillm.sandbox.meter import Limits, Meter, Refused, TooMuch
from minillm.sandbox.methods import METHODS
from minillm.sandbox.operators import UNARY, binary, compare
from minillm.sandbox.scope import Builtin, Function, Returned, Scope


class Expressions:
    """Values of expressions, each step counted."""

    def __init__(self, limits: Limits) -> None:
        self.meter, self.scope = Meter(limits), Scope()
        self.printed, self.depth, self.line = "", 0, 1

    def _step(self) -> None:
        self.depth += 1
        self.meter.steps -= 1
        if self.meter.steps < 0:
            raise TooMuch(f"it takes more than {self.meter.limits.steps:,} steps")
        if self.depth > self.meter.limits.depth:
            raise TooMuch("calls or brackets too deep in each other")

    def _pass(self) -> None:
        """One more pass through a loop."""
        self._step()
        self.depth -= 1

    def _assign(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope.values[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts = list(iterable(self, value)) if len(iterable(self, value)) == len(target.elts) else None
            if parts is None:
                raise ValueError(f"{len(target.elts)} names for {len(value)} values")
            for one, part in zip(target.elts, parts):
                self._assign(one, part, scope)
        elif isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
            self._put(self._value(target.value, scope), self._value(target.slice, scope), value)
        else:
            raise Refused(f"an assignment to {type(target).__name__}")

    def _put(self, owner: Any, key: Any, value: Any) -> None:
        if type(owner) not in (list, dict):
            raise TypeError(f"{type(owner).__name__!r} object does not support item assignment")
        self.meter.make(2)
        owner[hashed(self, owner, key) if type(owner) is dict else key] = value

    def _function(self, node: Any, scope: Scope, own: frozenset[str]) -> Function:
        return Function(node, scope, [self._value(one, scope) for one in node.args.defaults], own)

    def _block(self, body: list[ast.stmt], scope: Scope) -> Any:
        """Carry out statements; how they end. The interpreter knows how."""
        raise NotImplementedError

    def _value(self, node: ast.expr, scope: Scope | None = None) -> Any:
        self._step()
        if type(node) not in VALUE:
            raise Refused(f"{type(node).__name__} in this place")
        value = VALUE[type(node)](self, node, scope or self.scope)
        self.depth -= 1
        return value

    def _Constant(self, node: ast.Constant, scope: Scope) -> Any:
        if type(node.value) is int:
            self.meter.number(node.value.bit_length())
        return node.value

    def _Name(self, node: ast.Name, scope: Scope) -> Any:
        return scope.find(node.id)

    def _BinOp(self, node: ast.BinOp, scope: Scope) -> Any:
        left = self._value(node.left, scope)
        return binary(self.meter, type(node.op), left, self._value(node.right, scope))

    def _UnaryOp(self, node: ast.UnaryOp, scope: Scope) -> Any:
        return UNARY[type(node.op)](self._value(node.operand, scope))

    def _BoolOp(self, node: ast.BoolOp, scope: Scope) -> Any:
        until = isinstance(node.op, ast.Or)
        for one in node.values:
            value = self._value(one, scope)
            if bool(value) is until:
                break
        return value

    def _Compare(self, node: ast.Compare, scope: Scope) -> Any:
        left = self._value(node.left, scope)
        for kind, one in zip(node.ops, node.comparators):
            right = self._value(one, scope)
            if not compare(self.meter, type(kind), left, right):
                return False
            left = right
        return True

    def _IfExp(self, node: ast.IfExp, scope: Scope) -> Any:
        return self._value(node.body if self._value(node.test, scope) else node.orelse, scope)

    def _Lambda(self, node: ast.Lambda, scope: Scope) -> Function:
        return self._function(node, scope, frozenset())

    def _List(self, node: ast.List, scope: Scope) -> list[Any]:
        self.meter.make(len(node.elts))
        return [self._value(one, scope) for one in node.elts]

    def _Tuple(self, node: ast.Tuple, scope: Scope) -> tuple[Any, ...]:
        return tuple(self._List(node, scope))

    def _Set(self, node: ast.Set, scope: Scope) -> set[Any]:
        found: set[Any] = set()
        for value in self._List(node, scope):
            found.add(hashed(self, found, value))
        return found

    def _Dict(self, node: ast.Dict, scope: Scope) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        self.meter.make(2 * len(node.keys))
        if None in node.keys:
            raise Refused("** in a dict")
        rows = [
            (self._value(key, scope), self._value(one, scope)) for key, one in zip(node.keys, node.values)
        ]
        for key, value in rows:  # all are computed before one is put in, as Python does
            found[hashed(self, found, key)] = value
        return found

    def _Subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        owner = self._value(node.value, scope)
        if not isinstance(node.slice, ast.Slice):
            return self._get(owner, self._value(node.slice, scope))
        # the ends are computed before anybody asks whether the owner has parts, as Python does
        ends = (node.slice.lower, node.slice.upper, node.slice.step)
        part = slice(*(None if end is None else self._value(end, scope) for end in ends))
        if type(owner) not in GROUPS - {set}:
            raise TypeError(f"{type(owner).__name__!r} object is not subscriptable")
        if type(owner) not in (dict, range):
            self.meter.make(len(range(*part.indices(len(owner)))))
        return owner[part]

    def _get(self, owner: Any, key: Any) -> Any:
        if type(owner) not in GROUPS - {set}:
            raise TypeError(f"{type(owner).__name__!r} object is not subscriptable")
        return owner[hashed(self, owner, key) if type(owner) is dict else key]

    def _JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> str:
        parts = [self._value(one, scope) for one in node.values]
        self.meter.make(sum(map(len, parts)))
        return "".join(parts)

    def _FormattedValue(self, node: ast.FormattedValue, scope: Scope) -> str:
        value = self._value(node.value, scope)
        if node.conversion != -1:
            value = text_of(self, value, {"s": str, "r": repr, "a": ascii}[chr(node.conversion)])
        return formatted(self, value, self._value(node.format_spec, scope) if node.format_spec else "")

    def _passes(self, loops: list[ast.comprehension], scope: Scope) -> Iterator[None]:
        """Once for each element of a comprehension, its names set."""
        first, *rest = loops
        for item in iterable(self, self._value(first.iter, scope)):
            self._pass()
            self._assign(first.target, item, scope)
            if all(self._value(test, scope) for test in first.ifs):
                yield from self._passes(rest, scope) if rest else (None,)

    def _ListComp(self, node: Any, scope: Scope) -> list[Any]:
        inner, found = Scope(scope), []
        for _ in self._passes(node.generators, inner):
            self.meter.make(1)
            found.append(self._value(node.elt, inner))
        return found

    _GeneratorExp = _ListComp

    def _SetComp(self, node: ast.SetComp, scope: Scope) -> set[Any]:
        found: set[Any] = set()
        for value in self._ListComp(node, scope):
            found.add(hashed(self, found, value))
        return found

    def _DictComp(self, node: ast.DictComp, scope: Scope) -> dict[Any, Any]:
        inner, found = Scope(scope), {}
        for _ in self._passes(node.generators, inner):
            self.meter.make(2)
            key = self._value(node.key, inner)
            one = self._value(node.value, inner)
            found[hashed(self, found, key)] = one
        return found

    # --- calls ---

    def _Call(self, node: ast.Call, scope: Scope) -> Any:
        if isinstance(node.func, ast.Attribute):
            owner = self._value(node.func.value, scope)
            work = METHODS.get(type(owner), {}).get(node.func.attr)
            if work is None:
                raise Refused(f"line {node.lineno}: .{node.func.attr} of {type(owner).__name__}")
        else:
            owner, work = None, self._value(node.func, scope)
        args = [self._value(one, scope) for one in node.args]
        named = {one.arg: self._value(one.value, scope) for one in node.keywords}
        if None in named:
            raise Refused("** in a call")
        return (
            self.apply(work, args, named)
            if owner is None
            else self._use(work, node.func.attr, [owner, *args], named)
        )

    def _Attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        raise Refused(f".{node.attr} that is not called")

    def apply(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """Call a value that is a function."""
        self._step()
        if type(function) is Builtin:
            value = self._use(FUNCTIONS[function.name], function.name, args, named)
        elif type(function) is Function:
            value = self._apply_own(function, args, named)
        else:
            raise TypeError(f"{type(function).__name__!r} object is not callable")
        self.depth -= 1
        return value

    def _use(self, work: Callable[..., Any], name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """A function or method of the tables; arguments of Python's own that it does not take are refused by name."""
        try:
            return work(self, *args, **named)
        except TypeError:
            try:
                signature(work).bind(self, *args, **named)
            except TypeError:
                raise Refused(f"{name}() with these arguments") from None
            raise

    def _apply_own(self, function: Function, args: list[Any], named: dict[str, Any]) -> Any:
        names = [one.arg for one in function.node.args.args]
        values = dict(zip(names[len(names) - len(function.defaults) :], function.defaults))
        if len(args) > len(names) or set(named) & set(names[: len(args)]) or not set(named) <= set(names):
            raise TypeError(f"the function takes {', '.join(names) or 'nothing'}")
        scope = Scope(function.scope, function.own)
        scope.values = {**values, **dict(zip(names, args)), **named}
        if missing := [name for name in names if name not in scope.values]:
            raise TypeError(f"the function is not given {', '.join(missing)}")
        line = self.line
        if isinstance(function.node, ast.Lambda):
            return self._value(function.node.body, scope)
        ends = self._block(function.node.body, scope)
        self.line = line
        return ends.value if isinstance(ends, Returned) else None


VALUE = {getattr(ast, name[1:]): work for name, work in vars(Expressions).items() if hasattr(ast, name[1:])}
