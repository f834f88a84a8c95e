"""Find lessons that show source which has changed since, without running them: `author stale [--mend]`.

A cell that ends in `show(...)` needs only the lesson's imports, so it is worked out anew in a second and held against
the output that the notebook has. Mended, the notebook gets today's source as its output and keeps everything else;
whether the prose around it is still true is for the author to read.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from minillm._files import write_whole
from minillm.course.lessons import notebooks
from minillm.course.page.source import Source


def stale_cells(notebook: dict[str, Any]) -> tuple[dict[int, dict[str, str]], list[int]]:
    """Index of a cell -> its output of today, where the stored one differs; and the cells that only a run can tell.

    The second are those whose `show` names what the lesson makes itself. The lesson's imports are really done.
    """
    names: dict[str, Any] = {}
    found: dict[int, dict[str, str]] = {}
    unknown = []
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        try:
            body = ast.parse(notebooks.source(cell)).body
        except SyntaxError:  # a magic of Jupyter
            continue
        for imported in (one for one in body if isinstance(one, (ast.Import, ast.ImportFrom))):
            exec(compile(ast.Module([imported], []), "<imports of a lesson>", "exec"), names)
        if not (body and _is_show(body[-1])):
            continue
        try:
            shown = eval(compile(ast.Expression(body[-1].value), "<show of a lesson>", "eval"), names)
        except NameError:
            unknown.append(index)
            continue
        if isinstance(shown, Source) and (today := _output(shown)) != _stored(cell):
            found[index] = today
    return found, unknown


def mend(path: Path) -> list[int]:
    """Write today's source into the cells that show an older one; their numbers, from 1."""
    import nbformat

    notebook = notebooks.read_notebook(path)
    found, _ = stale_cells(notebook)
    for index, today in found.items():
        cell = notebook["cells"][index]
        result = {
            "output_type": "execute_result",
            "metadata": {},
            "execution_count": cell["execution_count"],
            "data": {kind: text.splitlines(keepends=True) for kind, text in today.items()},
        }
        others = [one for one in cell["outputs"] if one["output_type"] != "execute_result"]
        cell["outputs"] = [*others, result]
    if found:
        document = nbformat.from_dict(notebook)
        write_whole(path, nbformat.writes(document, indent=1, ensure_ascii=False) + "\n")
    return [index + 1 for index in found]


def _is_show(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "show"


def _output(shown: Source) -> dict[str, str]:
    return {"text/markdown": shown._repr_markdown_(), "text/plain": repr(shown)}


def _stored(cell: dict[str, Any]) -> dict[str, str]:
    results = [one["data"] for one in cell["outputs"] if one["output_type"] == "execute_result"]
    return {kind: "".join(text) for kind, text in results[-1].items()} if results else {}
