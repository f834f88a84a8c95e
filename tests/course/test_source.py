"""show() displays what is in the file, and only files of this repository."""

import ast
import functools
import inspect
import json
from pathlib import Path

import pytest

import minillm
from minillm import _checks, _files
from minillm.course import show
from minillm.course.classroom.checking import ExerciseError
from minillm.course.lessons.notebooks import ExerciseCells
from minillm.course.tour.stages import train_tokenizer

ROOT = Path(minillm.__file__).parents[1]


def code_of(shown) -> str:
    return shown._repr_markdown_().split("```python\n")[1].rsplit("\n```", 1)[0]


def test_a_function_as_it_is_written_with_its_path():
    shown = show(_checks.check_text)
    assert code_of(shown) == inspect.getsource(_checks.check_text).rstrip("\n")
    assert shown._repr_markdown_().startswith("`minillm/_checks.py`\n\n```python\ndef check_text(")
    assert repr(shown) == "source of minillm._checks.check_text (minillm/_checks.py)"
    assert str(shown).startswith("# minillm/_checks.py\ndef check_text(")


def test_classes_methods_properties_and_modules():
    assert code_of(show(ExerciseError)).startswith("class ExerciseError(AssertionError):")
    assert (
        code_of(show(ExerciseCells.answer)) == "@property\ndef answer(self) -> int:\n    return self.task + 1"
    )
    assert code_of(show(_checks)) == (ROOT / "minillm" / "_checks.py").read_text(encoding="utf-8").rstrip(
        "\n"
    )
    assert repr(show(_checks)) == "source of minillm._checks (minillm/_checks.py)"
    bound = ExerciseError("x")._render_traceback_
    assert code_of(show(bound)).startswith("def _render_traceback_(self)")


def test_wrapped_functions_are_shown_as_written():
    assert code_of(show(functools.partial(_checks.check_int, "n"))).startswith("def check_int(")
    assert code_of(show(functools.lru_cache(_checks.check_int))).startswith("def check_int(")
    assert code_of(show(train_tokenizer)).startswith('@stage("tokenizer", ')


def test_compiled_functions_are_shown_as_written():
    numba = pytest.importorskip("numba")
    assert code_of(show(numba.njit(_checks.check_int))).startswith("def check_int(")


@pytest.mark.parametrize("interpreted", [True, False])
def test_triton_kernels_are_shown_as_written(interpreted, monkeypatch):
    triton = pytest.importorskip("triton")
    monkeypatch.setattr(triton.knobs.runtime, "interpret", interpreted)
    assert code_of(show(triton.jit(_checks.check_int))).startswith("def check_int(")


def test_several_at_once():
    text = show(_checks.check_int, _files.read_json)._repr_markdown_()
    assert text.count("```python") == 2
    assert text.index("_checks.py") < text.index("_files.py")


def test_without_docstrings_the_code_is_the_same():
    for thing in (_checks.check_text, _checks, _files, ExerciseError):
        short = ast.parse(code_of(show(thing, doc=False)))
        full = ast.parse(code_of(show(thing)))
        for node in ast.walk(full):
            body = getattr(node, "body", None)
            if (
                isinstance(body, list)
                and len(body) > 1
                and isinstance(getattr(body[0], "value", None), ast.Constant)
            ):
                del body[0]
        assert ast.dump(short) == ast.dump(full)


def test_code_with_a_fence_in_it_gets_a_longer_one():
    import minillm.course.page.source as module

    assert show(module)._repr_markdown_().startswith("`minillm/course/page/source.py`\n\n````python\n")


@pytest.mark.parametrize(
    "bad", [None, 3, "minillm", len, json.loads, json, ExerciseError("x"), pytest, int, lambda: 0]
)
def test_anything_else_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="show"):
        show(bad)


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        show()
