"""Python modules as text: every line of code is there, every name is a heading, no comment is one."""

import ast
import importlib
import inspect
from itertools import pairwise
from pathlib import Path

import pytest

from minillm.data import read_documents, split_passages, split_sections
from minillm.data.python_modules import module_text

SOURCE = '''"""Shapes."""

# no heading
import math

UNIT = """
# text in a text
```
"""


class Circle:
    """A round thing."""

    sides = 0

    @property
    def area(self):
        """Pi r squared."""
        # a comment
        return math.pi


def twice(x): "doubles"; return 2 * x


if UNIT:
    def late():
        """Inside an if."""
'''


def test_each_name_is_a_heading_over_its_docstring_and_code():
    sections = {section.title: section.text for section in split_sections(module_text(SOURCE, "pkg.shapes"))}
    assert list(sections) == ["pkg.shapes", "pkg.shapes.Circle", "pkg.shapes.Circle.area", "pkg.shapes.twice"]
    assert sections["pkg.shapes"].startswith("Shapes.\n\n````python\n# no heading\nimport math\n")
    assert "def late():" in sections["pkg.shapes"]
    assert sections["pkg.shapes.Circle"] == "A round thing.\n\n```python\nclass Circle:\n\n    sides = 0\n```"
    assert sections["pkg.shapes.Circle.area"] == (
        "Pi r squared.\n\n```python\n    @property\n    def area(self):\n        # a comment\n"
        "        return math.pi\n```"
    )
    assert 'def twice(x): "doubles"; return 2 * x' in sections["pkg.shapes.twice"]


@pytest.mark.parametrize(
    "name", ["textwrap", "json.decoder", "fractions", "dataclasses", "statistics", "shlex"]
)
def test_real_modules_lose_no_line_and_have_a_heading_for_each_function(name):
    source = Path(importlib.import_module(name).__file__).read_text(encoding="utf-8")
    text = module_text(source, name)
    docstrings = "\n".join(
        ast.get_source_segment(source, node.body[0])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and ast.get_docstring(node)
    )
    lost = [
        line for line in source.splitlines() if line.rstrip() not in text and line.strip() not in docstrings
    ]
    assert lost == []
    module = importlib.import_module(name)
    functions = {
        one.__qualname__
        for holder in (module, *(value for value in vars(module).values() if inspect.isclass(value)))
        for one in vars(holder).values()
        if inspect.isfunction(one) and one.__code__.co_filename == module.__file__
    }
    lines = text.split("\n")
    headings = {line for line, below in pairwise(lines) if line and below == "=" * len(line)}
    in_blocks = {  # of an `if` or a `try`: they stay with the code around them
        node.name
        for block in ast.walk(ast.parse(source))
        if isinstance(block, (ast.If, ast.Try))
        for node in block.body + block.orelse
        if hasattr(node, "name")
    }
    wanted = {f"{name}.{one}" for one in functions if not {*one.split(".")} & {*in_blocks, "<locals>"}}
    assert wanted
    assert wanted <= headings


def test_a_module_that_does_not_parse_is_one_fence_and_an_empty_one_is_nothing():
    text = module_text("print 'old'\n# Chapter\n", "old")
    assert [section.title for section in split_sections(text)] == ["old"]
    assert "print 'old'\n# Chapter" in text
    assert module_text("\n \n", "empty") == ""


def test_a_mixed_folder_is_read_and_environments_are_left_out(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text('"""The package."""\n', encoding="utf-8")
    (tmp_path / "pkg" / "shapes.py").write_bytes(SOURCE.replace("\n", "\r\n").encode())
    (tmp_path / "pkg" / "empty.py").write_text("")
    (tmp_path / "notes.md").write_text("# 메모\n\n본문", encoding="utf-8")
    (tmp_path / "env" / "lib").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "env" / "lib" / "other.py").write_text("x = 1\n")
    documents = read_documents(tmp_path)
    assert [(document.id, document.title) for document in documents] == [
        ("notes.md", "메모"),
        ("pkg/__init__.py", "pkg"),
        ("pkg/shapes.py", "pkg.shapes"),
    ]
    titles = {passage.title for passage in split_passages(documents)}
    assert titles == {
        "메모",
        "pkg",
        "pkg.shapes",
        "pkg.shapes.Circle",
        "pkg.shapes.Circle.area",
        "pkg.shapes.twice",
    }
    (document,) = read_documents(tmp_path / "pkg" / "shapes.py")
    assert document.text == module_text(SOURCE, "shapes")
