"""An interpreter of a small Python, for programs that a model wrote: it walks the syntax tree and counts its steps.

    evaluate("sum(n * n for n in range(4))")                           14
    evaluate("10 ** 10 ** 10")                                         TooMuch: ... a number of 40,000,000,000 bits
    evaluate("().__class__")                                           Refused: ... .__class__

What is on the list of syntax.py is carried out; everything else is refused before anything runs. There is no import, no
attribute that is not a method of the tables in methods.py, no exception handler, no class. A program that ends here
ends on every system in the same way: nothing depends on the clock, on signals or on the kernel (the order of a set of
texts aside, which Python draws anew for each process).

Differences from Python: generators, `zip`, `map` and `dict.keys` give lists; both sides of `+=` are of one type; a
function is no plain value and does not come back. Left out: classes, exceptions, `*args`, slices that are assigned to.

Book: 4.1 코딩 테스트 통과하기. Held against: CPython, on programs that both can run. Real code: `run_python`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minillm._checks import check_text, describe
from minillm.sandbox.expressions import Expressions
from minillm.sandbox.functions import iterable
from minillm.sandbox.meter import Failed, Limits, Refused, SandboxError, TooMuch
from minillm.sandbox.operators import IN_PLACE, SCALARS, binary
from minillm.sandbox.scope import Returned, Scope
from minillm.sandbox.syntax import assigned, loaded, parsed

BREAK, CONTINUE = "break", "continue"
MOST_ERROR = 300  # characters


def evaluate(source: str, names: Mapping[str, Any] | None = None, limits: Limits | None = None) -> Any:
    """Run a program; the value of its last line if that is an expression, else None.

    names: plain values (numbers, texts, lists, tuples, dicts, sets, None) that it finds under these names. Raises
    Refused, TooMuch or Failed, all three SandboxError, for a program that does not come to its end.
    """
    return Interpreter(source, names, limits).run()


class Interpreter(Expressions):
    """One program, and what is left of its limits. `printed` is what it printed."""

    def __init__(
        self, source: str, names: Mapping[str, Any] | None = None, limits: Limits | None = None
    ) -> None:
        super().__init__(limits or Limits())
        self.tree = parsed(source)
        try:
            for name, value in (names or {}).items():
                self.scope.values[check_text("name", name)] = self._given(value)
        except RecursionError:
            raise ValueError("names holds a list that holds itself") from None

    def run(self) -> Any:
        """Carry out the program; its last line's value."""
        body = self.tree.body
        if body and isinstance(body[-1], ast.Expr):
            return self._guarded(lambda: self._last(body))
        return self._guarded(lambda: self._block(body, self.scope) and None)

    def _last(self, body: list[ast.stmt]) -> Any:
        self._block(body[:-1], self.scope)
        self.line = body[-1].lineno
        return self._value(body[-1].value)

    def call(self, name: str, *args: Any) -> Any:
        """What a function of the program gives for plain values. `run()` comes first: it defines the function."""
        given = [self._given(value) for value in args]
        return self._guarded(lambda: self.apply(self.scope.find(name), given, {}))

    def _given(self, value: Any) -> Any:
        """A copy of a plain value: the program changes nothing of its caller's and meets no object with own methods."""
        if type(value) in (*SCALARS, str):
            return value
        if type(value) in (list, tuple, set):
            return type(value)(self._given(one) for one in value)
        if type(value) is dict:
            return {self._given(key): self._given(one) for key, one in value.items()}
        raise ValueError(
            f"a program is given numbers, texts, lists, tuples, dicts and sets, got {describe(value)}"
        )

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """What `work` gives, if it is a plain value; its errors as one of the three of the sandbox."""
        self.depth = 0
        try:
            value = work()
            self.meter.weigh(value)
            if not _plain(value):
                raise Refused("a result that is, or holds, a function")
            return value
        except SandboxError as error:
            raise (
                error if str(error).startswith("line ") else type(error)(f"line {self.line}: {error}")
            ) from None
        except (RecursionError, MemoryError):
            raise TooMuch(f"line {self.line}: calls or brackets too deep in each other") from None
        except Exception as error:  # a stranger's program may fail in any way
            raise Failed(f"line {self.line}: {type(error).__name__}: {str(error)[:MOST_ERROR]}") from None

    # --- statements: each gives None, BREAK, CONTINUE or Returned ---

    def _block(self, body: list[ast.stmt], scope: Scope) -> Any:
        for statement in body:
            self.line = statement.lineno
            self._step()
            ends = RUN[type(statement)](self, statement, scope)
            self.depth -= 1
            if ends is not None:
                return ends
        return None

    def _run_Expr(self, node: ast.Expr, scope: Scope) -> None:
        self._value(node.value, scope)

    def _run_Return(self, node: ast.Return, scope: Scope) -> Returned:
        return Returned(None if node.value is None else self._value(node.value, scope))

    def _run_Pass(self, node: ast.Pass, scope: Scope) -> None:
        pass

    def _run_Break(self, node: ast.Break, scope: Scope) -> str:
        return BREAK

    def _run_Continue(self, node: ast.Continue, scope: Scope) -> str:
        return CONTINUE

    def _run_If(self, node: ast.If, scope: Scope) -> Any:
        return self._block(node.body if self._value(node.test, scope) else node.orelse, scope)

    def _run_While(self, node: ast.While, scope: Scope) -> Any:
        return self._loop(node, scope, iter(lambda: bool(self._value(node.test, scope)), False))

    def _run_For(self, node: ast.For, scope: Scope) -> Any:
        return self._loop(node, scope, self._passes_of(node, scope))

    def _passes_of(self, node: ast.For, scope: Scope) -> Iterator[None]:
        """Once for each element, the names of the loop set to it."""
        for item in iterable(self, self._value(node.iter, scope)):
            self._pass()
            yield self._assign(node.target, item, scope)

    def _loop(self, node: ast.For | ast.While, scope: Scope, passes: Iterator[Any]) -> Any:
        for _ in passes:
            ends = self._block(node.body, scope)
            if ends is BREAK:
                return None
            if isinstance(ends, Returned):
                return ends
        return self._block(node.orelse, scope)

    def _run_Assign(self, node: ast.Assign, scope: Scope) -> None:
        value = self._value(node.value, scope)
        for target in node.targets:
            self._assign(target, value, scope)

    def _run_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        old = self._value(loaded(node.target), scope)
        value = binary(self.meter, type(node.op), old, self._value(node.value, scope), IN_PLACE)
        self._assign(node.target, value, scope)

    def _run_FunctionDef(self, node: ast.FunctionDef, scope: Scope) -> None:
        scope.values[node.name] = self._function(node, scope, frozenset(assigned(node.body)))


def _plain(value: Any) -> bool:
    """Whether nothing in it is a function; its size and depth were counted before."""
    if type(value) is dict:
        return all(_plain(key) and _plain(one) for key, one in value.items())
    if type(value) in (list, tuple, set):
        return all(map(_plain, value))
    return type(value) in (*SCALARS, str, range)


RUN = {getattr(ast, name[5:]): work for name, work in vars(Interpreter).items() if name.startswith("_run_")}
