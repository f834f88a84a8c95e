"""A workshop for a coding agent: a scratch copy of a folder, three tools, and tests that run confined.

    with workshop("my_project") as shop:                 a copy: yours stays as it is
        Agent(..., tools=shop.tools, guard=keeps_tests()).run("Make the tests pass.")
        shop.changed()                                   {"bag.py": "the new text"}: for a person to look at

`how="counted"` runs the tests in the interpreter of minillm/sandbox: everywhere, and the same on every machine, for
programs of a small part of Python. `how="process"` runs real Python in a confined process; where the system cannot
confine it, CannotConfine is the observation, and nothing has run. Real Python can lie to its own tests (an object that
equals everything): green is the program's word, and a person reads the change.

Book: 15.4 실습: 에이전트 구현. Peers: pytest (names, plain asserts), AutoGen's code executors.
Left out: fixtures, installed packages, folders below the first.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_number, check_path, describe
from minillm.apps.agents.group import ChatAgent
from minillm.apps.agents.guarding import ToolGuard
from minillm.apps.agents.toolkit import MOST_FILES, files_of, folder_tools, read_inside
from minillm.apps.agents.tools import Tool, tool_from
from minillm.sandbox import Interpreter, Limits, SandboxError, evaluate, run_python
from minillm.sandbox.syntax import quiet

TESTS, NO_TESTS = "test_*.py", "there are no tests"
Outcome = tuple[str, str]  # a test's name, what went wrong ("" for nothing)
COUNTED = Limits(steps=20_000)
PYTHON = ("", "python", "py", "python3")  # how a block of Python is marked

# the program that runs in the confined process: writes the files, imports each test file, calls its tests
RUNNER = """
import importlib, json, os, sys
files = json.loads({files!r})
for name, text in files.items():
    with open(name, "w", encoding="utf-8") as file: file.write(text)
sys.path.insert(0, os.getcwd())
outcomes = []
for module in sorted(name[:-3] for name in files if name.startswith("test_") and name.endswith(".py")):
    try:
        found = vars(importlib.import_module(module))
    except Exception as error:
        outcomes.append([module, f"{{type(error).__name__}}: {{error}}"])
        continue
    for name in [name for name in found if name.startswith("test")]:
        try:
            found[name]()
            outcomes.append([name, ""])
        except Exception as error:
            outcomes.append([name, f"{{type(error).__name__}}: {{error}}"])
outcomes
"""


def failing(program: str, tests: list[str] | tuple[str, ...]) -> str | None:
    """The first of some expressions that is not True after a program, None where all are: counted, not timed."""
    for test in tests:
        try:
            if evaluate(f"{program}\n{test}", limits=COUNTED) is not True:
                return test
        except SandboxError:
            return test
    return None


def counted_outcomes(files: Mapping[str, str]) -> list[Outcome]:
    """Each test of the test files, run by the counted interpreter."""
    code = "\n".join(text for name, text in files.items() if not fnmatch.fnmatch(name, TESTS))
    outcomes = []
    for name in sorted(fnmatch.filter(files, TESTS)):
        try:
            with quiet():
                tree = ast.parse(files[name])
        except (SyntaxError, ValueError, RecursionError) as error:
            outcomes.append((name, f"SyntaxError: {error}"))
            continue
        body = [one for one in tree.body if not isinstance(one, (ast.Import, ast.ImportFrom))]
        tests = [one for one in body if isinstance(one, ast.FunctionDef) and one.name.startswith("test")]
        helpers = [one for one in body if one not in tests]
        for test in tests:
            program = "\n".join([code, *map(ast.unparse, [*helpers, WithoutAsserts().visit(test)])])
            outcomes.append((test.name, counted_outcome(program, test.name)))
    return outcomes


def counted_outcome(program: str, test: str) -> str:
    """What went wrong in one test: "" for nothing."""
    try:
        room = Interpreter(program, limits=COUNTED)
        room.run()
        return str(room.call(test) or "")
    except SandboxError as error:
        return f"{type(error).__name__}: {error}"


class WithoutAsserts(ast.NodeTransformer):
    """`assert x == 3` -> `if not x == 3: return "..., got " + repr(x)`: the interpreter has no exceptions."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        said: ast.expr = ast.Constant(f"AssertionError: {ast.unparse(node.test)}")
        if isinstance(node.test, ast.Compare):
            got = ast.Call(ast.Name("repr", ast.Load()), [node.test.left], [])
            said = ast.BinOp(ast.BinOp(said, ast.Add(), ast.Constant(", got ")), ast.Add(), got)
        no = ast.UnaryOp(ast.Not(), node.test)
        return ast.fix_missing_locations(ast.copy_location(ast.If(no, [ast.Return(said)], []), node))


def process_outcomes(files: Mapping[str, str], seconds: float = 5.0) -> list[Outcome]:
    """Each test, run by real Python in a confined process. CannotConfine where there is none."""
    result = run_python(RUNNER.format(files=json.dumps(dict(files))), seconds=seconds)
    if result.error:
        return [("the tests", result.error)]
    value = result.value
    rows = value if isinstance(value, list) else []
    sound = all(
        isinstance(one, list) and len(one) == 2 and all(isinstance(x, str) for x in one) for one in rows
    )
    return [(name, error) for name, error in rows] if sound else [("the tests", "Damaged: no outcomes came")]


def in_words(outcomes: list[Outcome]) -> str:
    """ "all 3 tests pass", or how many, and what each other one said."""
    wrong = [f"{name}: {error}" for name, error in outcomes if error]
    if not outcomes:
        return NO_TESTS
    if not wrong:
        return f"all {len(outcomes)} tests pass"
    return "\n".join([f"{len(outcomes) - len(wrong)} of {len(outcomes)} tests pass", *wrong])


@dataclass(frozen=True)
class Workshop:
    """folder: the scratch copy. tools: list_files, read_file, write_file, run_tests."""

    folder: Path
    tools: list[Tool]
    before: Mapping[str, str]

    def changed(self) -> dict[str, str]:
        """The files whose text is another than at first, and the new ones."""
        return {name: text for name, text in texts_of(self.folder).items() if self.before.get(name) != text}


@contextmanager
def workshop(folder: str | Path, how: str = "process", seconds: float = 5.0) -> Iterator[Workshop]:
    """A scratch copy of the Python files of a folder, gone afterwards. seconds: of one run of the tests."""
    root = check_path("folder", folder).resolve()
    check_choice("how", how, ("process", "counted")), check_number("seconds", seconds, 0.01, 600)
    if not root.is_dir():
        raise ValueError(f"folder must be a folder that is there, got {describe(str(folder))}")
    scratch = Path(tempfile.mkdtemp(prefix="minillm-workshop-")).resolve()
    try:
        before = texts_of(root)
        for name, text in before.items():
            (scratch / name).write_bytes(text.encode())
        yield Workshop(scratch, workshop_tools(scratch, how, seconds), before)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def workshop_tools(scratch: Path, how: str, seconds: float) -> list[Tool]:
    """The tools of a folder, in which nothing is dangerous: it is a copy."""

    def run_tests() -> str:
        """Run the tests, and say which fail."""
        files = texts_of(scratch)
        return in_words(counted_outcomes(files) if how == "counted" else process_outcomes(files, seconds))

    return [
        *(replace(one, dangerous=False) for one in folder_tools(scratch)),
        tool_from(run_tests, seconds=10 * seconds + 60),
    ]


def texts_of(root: Path) -> dict[str, str]:
    """name -> text of the Python files of a folder: no links. ValueError for too many, or one that is too large."""
    names = [one.name for one in files_of(root, "*.py", MOST_FILES + 1)]
    if len(names) > MOST_FILES:
        raise ValueError(f"a workshop holds at most {MOST_FILES} Python files, the folder has more")
    return {name: read_inside(root, name) for name in names}


def keeps_tests() -> ToolGuard:
    """A guard: whoever repairs a program may not change what it is tested by."""

    def allows(tool: str, arguments: Mapping[str, Any]) -> str | None:
        name = str(arguments.get("path", "")).rpartition("/")[2].lower()
        return (
            "the tests may not be changed" if tool == "write_file" and fnmatch.fnmatch(name, TESTS) else None
        )

    return ToolGuard(allows=allows)


def executor_agent(name: str, how: str = "process", **options: Any) -> ChatAgent:
    """AutoGen's UserProxyAgent that executes code: answers a message with what its first Python block printed.

    ```python                        exitcode: 0 (execution succeeded)
    print(3 + 4)            ->       Code output: 7
    ```
    A message without a block ends the talk. The code runs confined, as in `workshop`.
    """
    check_choice("how", how, ("process", "counted"))

    def execute(told: list[dict[str, str]]) -> str:
        blocks = re.findall(r"```([^\n`]*)\n(.*?)```", told[-1]["content"], re.DOTALL)
        code = next((code for name, code in blocks if name.strip().lower() in PYTHON), None)
        if code is None:
            return "There is no code to run. TERMINATE"
        printed, error = printed_by(code, how)
        if error:
            return f"exitcode: 1 (execution failed)\nCode output: {printed}{error}"
        return f"exitcode: 0 (execution succeeded)\nCode output: {printed}"

    return ChatAgent(name, model=execute, **options)


def printed_by(code: str, how: str) -> tuple[str, str]:
    """(what a program printed, what went wrong)."""
    if how == "process":
        result = run_python(code)
        return result.stdout, result.error or ""
    try:
        room = Interpreter(code, limits=COUNTED)
    except SandboxError as error:
        return "", f"{type(error).__name__}: {error}"
    try:
        room.run()
    except SandboxError as error:
        return room.printed, f"{type(error).__name__}: {error}"
    return room.printed, ""
