"""Program repair by search: change one small thing, run the tests, keep what passes. No model, no training.

    n - 1 -> n + 1      a < b -> a <= b      f(a, b) -> f(b, a)      x -> y, 3 -> 4      a statement -> (left out)

`patches` lists every program that is one such change away. The first that passes the tests is a *plausible* patch: it
may still be wrong where no test looks, and a search has no other idea of what the program is for.

Book: 15.4 실습: 에이전트 구현. Papers: Le Goues et al. 2012, "GenProg" (generate and validate; this is its smallest
relative, without crossover or copied statements); Qi et al. 2015, on plausible patches that are wrong.
Left out: two changes at once, fault localisation, statements copied from elsewhere.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence

from minillm._checks import check_int, check_text
from minillm.apps.agents.policies.action import Action, Done, Tools
from minillm.apps.agents.tools import MOST
from minillm.apps.agents.workshop import NO_TESTS
from minillm.sandbox.syntax import quiet

COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
COUNTED = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}
Change = tuple[int, int, bytes]  # from byte, to byte, what stands there instead
LONGEST = 20_000  # characters of a program


def patches(source: str) -> list[str]:
    """All programs that are one change away, each once, in the order of their places.

    ValueError for no Python, and for more than LONGEST characters of it.
    """
    if len(check_text("source", source)) > LONGEST:
        raise ValueError(f"source must have at most {LONGEST:,} characters, got {len(source):,}")
    try:
        data = source.encode()
        with quiet():
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"source must be Python, got {error}") from None
    spots = Spots(data)
    found = [data[:a] + new + data[b:] for a, b, new in sorted(changes(tree, spots))]
    return [one.decode() for one in dict.fromkeys(found) if one != data and _reads(one)]


def changes(tree: ast.Module, spots: Spots) -> Iterator[Change]:
    """Every small change of every node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from between(spots, node.left, node.comparators[0], COMPARED, type(node.ops[0]))
        elif isinstance(node, ast.BinOp):
            yield from between(spots, node.left, node.right, COUNTED, type(node.op))
            yield (*spots.of(node), spots.joined(node.right, spots.gap(node.left, node.right), node.left))
        elif isinstance(node, ast.BoolOp) and len(node.values) == 2:
            both = {ast.And: "and", ast.Or: "or"}
            yield from between(spots, *node.values, both, type(node.op))
        elif isinstance(node, ast.AugAssign):
            yield from between(spots, node.target, node.value, COUNTED, type(node.op))
        elif isinstance(node, ast.Call) and len(node.args) == 2:
            yield (*spots.of(node.args), spots.joined(node.args[1], b", ", node.args[0]))
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield from ((*spots.of(node), str(n).encode()) for n in (node.value + 1, node.value - 1))
        elif isinstance(node, ast.FunctionDef):
            yield from renamed(node, spots)
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            if isinstance(body, list):
                yield from ((*spots.of(one), b"pass") for one in body if not isinstance(one, ast.FunctionDef))


def between(
    spots: Spots, left: ast.AST, right: ast.AST, signs: dict[type, str], own: type
) -> Iterator[Change]:
    """The sign between two parts, exchanged for each other one of its table; none where a comment may hold it."""
    start, end = spots.of(left)[1], spots.of(right)[0]
    if own in signs and b"#" not in spots.data[start:end]:
        old = signs[own].encode()
        yield from (
            (start, end, spots.data[start:end].replace(old, new.encode(), 1))
            for kind, new in signs.items()
            if kind is not own
        )


def renamed(function: ast.FunctionDef, spots: Spots) -> Iterator[Change]:
    """Each use of a name of the function, exchanged for another of its names, or made one more or less."""
    uses = [one for one in ast.walk(function) if isinstance(one, ast.Name)]
    own = {one.arg for one in function.args.args} | {one.id for one in uses if isinstance(one.ctx, ast.Store)}
    called = {one.func for one in ast.walk(function) if isinstance(one, ast.Call)}
    for use in uses:
        if isinstance(use.ctx, ast.Load) and use not in called:
            others = sorted(own - {use.id}) if use.id in own else []
            for new in (*others, f"({use.id} + 1)", f"({use.id} - 1)"):
                yield (*spots.of(use), new.encode())
    for call in called:
        whole = next(one for one in ast.walk(function) if isinstance(one, ast.Call) and one.func is call)
        for sign in (b" + 1", b" - 1"):
            a, b = spots.of(whole)
            yield (a, b, b"(" + spots.data[a:b] + sign + b")")


class Spots:
    """Where the nodes of a text stand, in bytes: a patch touches nothing else, so comments stay."""

    def __init__(self, data: bytes) -> None:
        self.data, self.starts = data, [0]
        for line in data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def of(self, node: ast.AST | Sequence[ast.AST]) -> tuple[int, int]:
        """(start, end) of a node, or of the first to the last of some."""
        first, last = (node[0], node[-1]) if isinstance(node, list) else (node, node)
        return (
            self.starts[first.lineno - 1] + first.col_offset,
            self.starts[last.end_lineno - 1] + last.end_col_offset,
        )

    def gap(self, left: ast.AST, right: ast.AST) -> bytes:
        """The sign between two parts, without brackets."""
        return self.data[self.of(left)[1] : self.of(right)[0]].replace(b"(", b"").replace(b")", b"")

    def joined(self, first: ast.AST, gap: bytes, second: ast.AST) -> bytes:
        """Two parts in this order; what is not a single word goes into brackets."""
        parts = []
        for one in (first, second):
            a, b = self.of(one)
            simple = isinstance(one, (ast.Name, ast.Constant, ast.Call, ast.Subscript, ast.Attribute))
            parts.append(self.data[a:b] if simple else b"(" + self.data[a:b] + b")")
        return gap.join(parts)


def _reads(data: bytes) -> bool:
    try:
        with quiet():
            compile(data, "<patch>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


class SearchPolicy:
    """Repairs `path`: runs the tests, reads the file, then writes one patch after the other and runs the tests again.

    What to do next is read off the steps alone, so that a saved run goes on to the same end. seed: draws the order of
    the patches.
    """

    def __init__(self, path: str, seed: int = 0) -> None:
        self.path, self.seed = check_text("path", path), check_int("seed", seed)
        self.kept: tuple[str, list[str]] = ("", [])

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """The next step."""
        read = next(
            ("" if one.failed else one.observation for one in steps if one.action.tool == "read_file"), None
        )
        if len(steps) == 1 and (steps[0].failed or steps[0].observation == NO_TESTS):
            return Action(None, answer=f"I have nothing to go by: {steps[0].observation}")
        if steps and steps[-1].action.tool == "run_tests" and steps[-1].observation.startswith("all "):
            tries = sum(one.action.tool == "write_file" for one in steps)
            return Action(None, answer=f"{steps[-1].observation}, after {tries} patches of {self.path}.")
        if not steps or steps[-1].action.tool == "write_file":
            return Action("run_tests")
        if read is None:
            return Action("read_file", {"path": self.path})
        tried, order = sum(one.action.tool == "write_file" for one in steps), self.order(read)
        if not order:
            return Action(None, answer=f"I cannot read {self.path}, or it is no Python.")
        if tried < len(order):
            return Action("write_file", {"path": self.path, "text": order[tried]})
        if steps[-1].action.arguments.get("text") != read and tried == len(order):
            return Action("write_file", {"path": self.path, "text": read})  # leave it as it was
        return Action(None, answer=f"I found no patch: none of {len(order)} small changes passes the tests.")

    def order(self, source: str) -> list[str]:
        """The patches, shuffled by the seed; none of what is no Python, or was cut by the tool."""
        if self.kept[0] != source:
            try:
                found = patches(source) if len(source) <= MOST else []
            except ValueError:
                found = []
            random.Random(self.seed).shuffle(found)
            self.kept = (source, found)
        return self.kept[1]


class ScriptedRepair:
    """Writes a text that it was given: the oracle (the right text), or a cheat (a changed test)."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = check_text("path", path), text

    def decide(self, request: str, steps: Sequence[Done], tools: Tools) -> Action:
        """Tests, the text, tests, the last word."""
        if len(steps) in (0, 2):
            return Action("run_tests")
        if len(steps) == 1:
            return Action("write_file", {"path": self.path, "text": self.text})
        return Action(None, answer=steps[-1].observation)
