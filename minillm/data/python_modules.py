"""A Python module as text to read and to search: each name as a heading, its docstring, and its code in a fence.

    pkg.shapes                  the module: docstring, then what stands outside of classes and functions
    pkg.shapes.Circle           a class: docstring, then its body without its methods
    pkg.shapes.Circle.area      a function or method: docstring, then all of its code, inner functions too

Headings make passages that say where they come from, and in a fence a "# comment" is no heading. Read by `ast`: the
module is not imported, so nothing of it runs.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def parse_module(source: str | bytes) -> ast.Module:
    """The syntax tree of a module, in silence. SyntaxError or ValueError for text that is no Python of this version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes such as "\d" warn while they are parsed
        return ast.parse(source)


def module_text(source: str, name: str) -> str:
    """The text of a module called `name`; one that this Python cannot parse is one fence. "" for an empty module."""
    if not source.strip():
        return ""
    try:
        tree = parse_module(source)
    except (SyntaxError, ValueError, RecursionError):
        return "\n\n".join([heading(name, "*"), code_fence(source.splitlines())]) + "\n"
    # ast counts lines as Python does, at \n alone once line ends are unified; str.splitlines cuts at form feeds too
    return "\n\n\n".join(_sections(tree, name, source.split("\n"))) + "\n"


def docstring_sections(node: ast.AST, name: str) -> Iterator[str]:
    """`name` underlined over its docstring, then the same for every class and function inside."""
    if isinstance(node, (ast.Module, *DEFINITIONS)):
        docstring = _docstring(node)
        if docstring:
            yield f"{heading(name, _mark(node))}\n\n{docstring}"
    for child, path in _inside(node, name):
        yield from docstring_sections(child, path)


def heading(name: str, mark: str) -> str:
    """The name over a line of marks, as reStructuredText has it: `pathlib` over `*******`."""
    return f"{name}\n{mark * max(3, len(name))}"


def _sections(node: ast.Module | Definition, name: str, lines: Sequence[str]) -> Iterator[str]:
    inside = (
        [] if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else list(_definitions(node, name))
    )
    elsewhere = [child for child, _ in inside]
    if ast.get_docstring(node, clean=False) is not None and _stands_alone(node):
        elsewhere.append(node.body[0])
    first, last = (1, len(lines)) if isinstance(node, ast.Module) else (_first_line(node), node.end_lineno)
    taken = {number for one in elsewhere for number in range(_first_line(one), one.end_lineno + 1)}
    code = code_fence([lines[number - 1] for number in range(first, last + 1) if number not in taken])
    parts = [part for part in (_docstring(node), code) if part]
    if parts:
        yield "\n\n".join([heading(name, _mark(node)), *parts])
    for child, path in inside:
        yield from _sections(child, path, lines)


def _inside(node: ast.AST, name: str) -> Iterator[tuple[ast.AST, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            yield child, f"{name}.{child.name}"
        elif isinstance(child, (ast.If, ast.Try, ast.With)):
            yield child, name


def _definitions(node: ast.AST, name: str) -> Iterator[tuple[Definition, str]]:
    """The classes and functions right inside a node; those of an `if` stay with the code around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            yield child, f"{name}.{child.name}"


def _stands_alone(node: ast.Module | Definition) -> bool:
    """Whether the docstring shares no line with other code, as in `def f(): "adds"` and `"adds"; x = 1`."""
    docstring, *rest = node.body
    after_header = isinstance(node, ast.Module) or docstring.lineno > node.lineno
    return after_header and not any(one.lineno == docstring.end_lineno for one in rest)


def _first_line(node: ast.AST) -> int:
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])


def _docstring(node: ast.Module | Definition) -> str:
    return (ast.get_docstring(node) or "").strip()


def _mark(node: ast.AST) -> str:
    return "*" if isinstance(node, ast.Module) else "="


def code_fence(lines: Sequence[str]) -> str:
    """The lines in a code fence that none of them closes, runs of blank ones as one; "" if all are blank."""
    code = re.sub(r"\n\s*\n(\s*\n)+", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}python\n{code}\n{mark}" if code else ""
