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
from minillm.course.page import source
from minillm.course.page.core import core_of
from minillm.course.tour.stages import train_tokenizer
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.heads import CausalHead, OneHead

ROOT = Path(minillm.__file__).parents[1]
LINK = "[`minillm/course/page/source.py`](../minillm/course/page/source.py)"


def code_of(shown) -> str:
    return shown._repr_markdown_().split("```python\n")[1].rsplit("\n```", 1)[0]


def test_a_function_as_it_is_written_with_its_path():
    shown = show(_checks.check_text)
    assert code_of(shown) == inspect.getsource(_checks.check_text).rstrip("\n")
    assert shown._repr_markdown_().startswith(
        "[`minillm/_checks.py`](../minillm/_checks.py)\n\n```python\ndef check_text("
    )
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


OLD = '''
def mean(values, weights=None):
    """The mean."""
    return sum(values) / len(values)
'''

NEW = '''
@cached
def mean(values, weights=None, n=1):
    """The mean, weighted.

    Raises ValueError for an empty list.
    """
    # an empty list has no mean
    if not values:
        raise ValueError("no values")
    assert n > 0, "n"
    n = check_int("n", n)
    values, weights = check_list("values", values), check_list("weights", weights)
    self.check_all(values), check_flag("n", n)
    for value in values:
        # every one
        check_number("value", value)

    # the weights: all 1 unless given
    if weights is None:
        weights = [1] * len(values)
    elif len(weights) != len(values):
        raise ValueError("as many weights as values")
    if (total := sum(weights)) == 0:
        raise ValueError("no weight")
    if n == 1:
        kind = "mean"
    else:
        raise ValueError("n")
    scale = check_number("scale", n)  # a new name: this line does something
    return sum(v * w for v, w in zip(values, weights)) / total
'''

CORE = """@cached
def mean(values, weights=None, n=1):
    # the weights: all 1 unless given
    if weights is None:
        weights = [1] * len(values)
    if (total := sum(weights)) == 0:
        raise ValueError("no weight")
    if n == 1:
        kind = "mean"
    scale = check_number("scale", n)  # a new name: this line does something
    return sum(v * w for v, w in zip(values, weights)) / total"""


def test_the_core_is_the_code_without_docstring_and_checks():
    assert core_of(NEW) == CORE


@pytest.mark.parametrize(
    ("code", "core"),
    [
        ('def f():\n    """Only this."""', "def f():\n    ..."),
        ("def f(x):\n    assert x; y = x\n    return y", None),
        (
            "def f(x):\n    if x:\n        check(x)\n        return 1",
            "def f(x):\n    if x:\n        return 1",
        ),
        (
            "def f(x):\n    try:\n        check(x)\n    except OSError:\n        return 1",
            "def f(x):\n    try:\n        ...\n    except OSError:\n        return 1",
        ),
        ("def f(x):\n    if not x:\n        raise E\n    else:\n        y = 1", None),
        ("def f(x):\n    raise NotImplementedError", None),
        ("def f(x):\n    y = check(x)\n    return recheck(y)", None),
        (
            "async def f(x):\n    async with x:\n        assert x\n        await x",
            "async def f(x):\n    async with x:\n        await x",
        ),
        ("class A:\n    b = 1\n\n    def _check_b(self):\n        return self.b", "class A:\n    b = 1"),
    ],
)
def test_corners_of_the_core(code, core):
    assert core_of(code) == (code if core is None else core)


def test_the_core_of_every_file_parses_and_is_made_of_its_own_lines_in_order():
    files = sorted([*ROOT.glob("minillm/**/*.py"), *ROOT.glob("kernels/**/*.py")])
    assert len(files) > 100
    for file in files:
        code = file.read_text(encoding="utf-8")
        core = core_of(code)
        ast.parse(core)
        rest = iter(code.split("\n"))
        assert all(line in rest for line in core.split("\n") if line.strip() != "..."), file


def test_the_core_of_a_forward_pass_holds_the_idea_and_fits_on_the_page():
    core = code_of(show(MultiHeadAttention.forward, core=True))
    assert "self._check" not in core
    assert "q = self._split(self.q_proj(x), self.heads)  # (B, H, T, D)" in core
    assert core.endswith("return self.o_proj(y.transpose(1, 2).flatten(2))")
    assert len(core.split("\n")) <= 25


def test_a_class_with_some_of_its_members():
    code = code_of(show(ExerciseCells, methods=("points", "answer")))
    assert code == (
        "@dataclass(frozen=True)\nclass ExerciseCells:\n    ...\n\n    points: int\n    ...\n\n"
        "    @property\n    def answer(self) -> int:\n        return self.task + 1\n\n    ..."
    )
    with pytest.raises(ValueError, match=r"has no nothing; it has id, title, points"):
        show(ExerciseCells, methods=("nothing",))
    with pytest.raises(ValueError, match="methods are for a class"):
        show(_checks.check_text, methods=("x",))


def test_one_statement_of_a_function():
    shown = show(MultiHeadAttention.forward, core=True, part="if self.position")
    heading = "[`minillm/nn/attention.py`](../minillm/nn/attention.py), in `forward`\n"
    assert shown._repr_markdown_().startswith(heading)
    assert code_of(shown) == (
        "if self.position is not None or isinstance(positions, Position):\n"
        "    place = self._place(x, positions, cache)\n"
        "    (q, k), bias = place.turn(q, k), place.bias()"
    )
    several = show(MultiHeadAttention._keys_values, part=("k = self", "v = self"))
    assert [line.split(" = ")[0] for line in code_of(several).split("\n")] == ["k", "v"]
    for part, message in (
        ("y = ", r"'y = ' begins 'y = cache\.attend"),
        ("nothing", "'nothing' begins nothing"),
        (("k, v =", "q = self"), "of the same block"),
        (("q = self", "place ="), "of the same block"),
    ):
        with pytest.raises(ValueError, match=message):
            show(MultiHeadAttention.forward, part=part)


def test_what_is_new_since_the_teaching_one():
    assert list(source._diff_lines(core_of(OLD).split("\n"), CORE.split("\n")))[:4] == [
        "- def mean(values, weights=None):",
        "-     return sum(values) / len(values)",
        "+ @cached",
        "+ def mean(values, weights=None, n=1):",
    ]
    old = ["a", "b", "c", "d", "e", "f"]
    assert list(source._diff_lines(old, [*old[:5], "x"])) == ["  ...", "  d", "  e", "- f", "+ x"]
    assert list(source._diff_lines(old, ["x", *old])) == ["+ x", "  a", "  b", "  ..."]
    assert list(source._diff_lines(old, old)) == ["  ..."]

    text = show(CausalHead, since=OneHead)._repr_markdown_()
    where = "[`minillm/nn/heads.py`](../minillm/nn/heads.py)"
    assert text.startswith(f"{where}: what is new since `OneHead` in {where}\n\n```diff\n- class OneHead")
    assert "+ class CausalHead(OneHead):" in text


def test_one_object_at_a_time_where_it_must_be():
    for options in ({"since": OneHead}, {"methods": ("forward",)}, {"part": "return"}):
        with pytest.raises(ValueError, match="one object at a time"):
            show(CausalHead, OneHead, **options)


def test_code_with_a_fence_in_it_gets_a_longer_one():
    assert show(source)._repr_markdown_().startswith(LINK + "\n\n````python\n")


@pytest.mark.parametrize(
    "bad", [None, 3, "minillm", len, json.loads, json, ExerciseError("x"), pytest, int, lambda: 0]
)
def test_anything_else_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="show"):
        show(bad)


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        show()
