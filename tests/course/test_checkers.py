"""What checkers share: each trick an answer can try fails, each right style passes, each message says what came."""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import math
import pkgutil
import random
import sys

import numpy as np
import pytest
import torch

from minillm import nn
from minillm.course import ExerciseError, check
from minillm.course.classroom.checkers import (
    DERIVATIVES,
    Inputs,
    as_floats,
    as_list,
    cases,
    constants_of,
    copied_library,
    difference,
    expect,
    forbid,
    packages_of,
    plain,
    same,
    shown,
)
from minillm.course.classroom.exercises import lesson_02_8
from minillm.nn import attention
from minillm.nn import attention as renamed_attention
from minillm.tokenizer import bpe_plain
from minillm.tokenizer.bpe_plain import merge_pair


class LyingList(list):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __len__(self):
        return 3

    def __iter__(self):
        return iter([1, 2, 3])

    def __getitem__(self, index):
        return index + 1


class LyingDict(dict):
    def __eq__(self, other):
        return True

    def items(self):
        return {"a": 1}.items()

    def __getitem__(self, key):
        return 1


class LyingFloat(float):
    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0.0

    def __rsub__(self, other):
        return 0.0

    def __add__(self, other):
        return 1.0

    def __abs__(self):
        return 0.0

    def __float__(self):
        return 1.0


class LyingInt(int):
    def __eq__(self, other):
        return True

    def __index__(self):
        return 1

    def __add__(self, other):
        return 1


class LyingText(str):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return hash("right")

    def __str__(self):
        return "right"

    def __iter__(self):
        return iter("right")


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return [1.0, 2.0, 3.0] if "tolist" in str(function) else True


class LyingArray(np.ndarray):
    def tolist(self):
        return [1, 2, 3]

    def __array_finalize__(self, base):
        pass


class Anything:
    """Says of itself that it is a list, that it is equal to all, and that it has three items."""

    __class__ = list

    def __eq__(self, other):
        return True

    def __len__(self):
        return 3

    def __iter__(self):
        return iter([1, 2, 3])

    def tolist(self):
        return [1, 2, 3]


LIARS = [
    (LyingList([9]), [1, 2, 3]),
    (LyingList(), [1, 2, 3]),
    ([LyingList([9])], [[1, 2, 3]]),
    (LyingDict(a=9), {"a": 1}),
    (LyingFloat(9), 1.0),
    ([LyingFloat("nan")], [1.0]),
    (LyingInt(9), 1),
    (LyingText("wrong"), "right"),
    ({LyingText("wrong")}, {"right"}),
    (torch.tensor([9.0]).as_subclass(LyingTensor), [1.0, 2.0, 3.0]),
    (np.array([9]).view(LyingArray), [1, 2, 3]),
    (Anything(), [1, 2, 3]),
    ([Anything()], [[1, 2, 3]]),
    (float("nan"), 1.0),
    ([math.inf], [1.0]),
    (True, 1),
    (1, True),
    (0, None),
    ("1", 1),
    ([1, 2], [1, 2, 3]),
    ([1, 2, 3, 4], [1, 2, 3]),
    ([[1, 2], [3]], [[1, 2], [3, 4]]),
    ({"a": 1, "b": 2}, {"a": 1}),
    ({}, {"a": 1}),
    ([1], {"a": 1}),
    (1 + 2e-6, 1.0),
    (10**400, 1.0),
]


@pytest.mark.parametrize(("found", "expected"), LIARS, ids=range(len(LIARS)))
def test_a_wrong_value_fails_whatever_it_says_of_itself(found, expected):
    assert not same(found, expected, 1e-6)
    with pytest.raises(AssertionError, match=r"^look: "):
        expect(found, expected, 1e-6, "look")


ALIKE = [
    ([1, 2, 3], (1, 2, 3)),
    (np.array([1, 2, 3]), [1, 2, 3]),
    (torch.tensor([[1.0, 2.0]]), [[1, 2]]),
    (torch.ones(2, requires_grad=True), [1, 1]),
    ([torch.tensor(1.0), np.float32(2)], [1, 2]),
    ((x for x in [1, 2]), range(1, 3)),
    (map(str, [1, 2]), ["1", "2"]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": (1, 2)}, {"a": [1, 2]}),
    ({(1, 2)}, {(1, 2)}),
    (frozenset("ab"), {"a", "b"}),
    (3.0, 3),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (float("nan"), math.nan),
    (math.inf, math.inf),
    (1 + 5e-7, 1.0),
    (1e6 + 0.5, 1e6),
    (b"a", b"a"),
    (1j, 1j),
    (None, None),
    ([], ()),
    (LyingList([1, 2, 3]), [1, 2, 3]),
]


@pytest.mark.parametrize(("found", "expected"), ALIKE, ids=range(len(ALIKE)))
def test_every_right_style_passes(found, expected):
    expect(found, expected, 1e-6)


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        ([[1.0, 0.5]], [[1.0, 0.25]], "expected 0.25 at [0][1], got 0.5"),
        ([1, 2], [1, 2, 3], "expected 3 items, got 2: [1, 2]"),
        ({"a": 1}, {"b": 1}, "the dict lacks the key 'b'; it has ['a']"),
        ({"a": 1, "b": 1}, {"a": 1}, "the dict should not have the key 'b'; it has ['a', 'b']"),
        ({"a": [1]}, {"a": [2]}, "expected 2 at ['a'][0], got 1"),
        (None, [1], "expected [1], got None"),
        (1 / 3, 1.0, "expected 1, got 0.3333"),
        (len, 1.0, "the answer is a builtin_function_or_method; give a list, an array, a number or a text"),
    ],
)
def test_the_message_says_what_came_and_where(found, expected, message):
    assert difference(found, expected) == message


def test_what_cannot_be_read_is_refused_in_words():
    endless = iter(int, 1)
    nested = []
    nested.append(nested)
    for value, message in (
        ((x for x in endless), "goes on after 1,000,000 items"),
        (nested, "nested deeper than 20"),
        ([0] * 1_000_001, "1,000,001 items"),
        (np.array([object()]), "an array of object"),
        (torch.empty(1).expand(2_000_000), "2,000,000 numbers"),
    ):
        with pytest.raises(AssertionError, match=message):
            plain(value)
    assert shown(list(range(1000))).endswith("...")
    assert len(shown("x" * 1000)) == 200


def test_lists_and_floats():
    assert as_list((1, 2)) == [1, 2]
    assert as_floats(np.array([1, 2])) == [1.0, 2.0]
    assert [type(one) for one in as_floats([1, 2.5])] == [float, float]
    for call, message in (
        (lambda: as_list(3, "the scores"), "the scores must be a list, got 3 .int."),
        (lambda: as_list("ab"), "must be a list, got 'ab'"),
        (lambda: as_list([1, 2], length=3), "must have 3 items, got 2"),
        (lambda: as_floats([1, "2"]), "finite numbers, got '2' at place 1"),
        (lambda: as_floats([math.nan]), "finite numbers, got nan"),
        (lambda: as_floats([True]), "finite numbers, got True"),
    ):
        with pytest.raises(AssertionError, match=message):
            call()


# --- forbidden functions ---

softmax = torch.softmax  # as `from torch import softmax` in a student's cell


def by_module(x):
    return torch.softmax(x, -1)


def by_name(x):
    return softmax(x, -1)


def by_default(x, f=torch.softmax):
    return f(x, -1)


def by_keyword_default(x, *, f=torch.softmax):
    return f(x, -1)


def by_closure():
    f = torch.softmax
    return lambda x: f(x, -1)


def by_helper(x):
    return by_name(x)


def by_method(x):
    return x.softmax(-1)


def by_import(x):
    return importlib.import_module("torch").softmax(x, -1)


def hidden(x):
    try:
        return torch.softmax(x, -1)
    except AssertionError:
        return x


class WithMethod:
    def run(self, x):
        return by_name(x)


def by_hand(x):
    return (x - x.max()).exp() / (x - x.max()).exp().sum()


@pytest.mark.parametrize(
    "answer",
    [
        by_module,
        by_name,
        by_default,
        by_keyword_default,
        by_closure(),
        by_helper,
        by_method,
        by_import,
        hidden,
        WithMethod().run,
        functools.partial(by_name),
    ],
)
def test_a_forbidden_function_is_found_however_it_is_reached(answer):
    before = torch.softmax, softmax, by_default.__defaults__, by_keyword_default.__kwdefaults__["f"]
    said = r"the exercise says: write it yourself; your answer called torch\.(Tensor\.)?softmax"
    forbidden = forbid("write it yourself", "torch.softmax", "torch.Tensor.softmax", answer=answer)
    with pytest.raises(AssertionError, match=said), forbidden:
        answer(torch.ones(3))
    now = torch.softmax, softmax, by_default.__defaults__, by_keyword_default.__kwdefaults__["f"]
    assert now == before
    assert "softmax" not in vars(torch.Tensor)
    assert by_closure()(torch.zeros(2)).tolist() == by_method(torch.zeros(2)).tolist() == [0.5, 0.5]


def test_a_library_function_is_forbidden_under_each_name_it_has():
    q = torch.ones(1, 1, 2, 2)
    ways = [lambda: renamed_attention(q, q, q), lambda: nn.attention(q, q, q), lambda: imported_inside(q)]
    for way in ways:
        with pytest.raises(AssertionError, match="by hand"), forbid("by hand", ATTENTION, answer=way):
            way()
    assert [way().shape for way in ways] == [q.shape] * 3


KEPT = {"attention": nn.attention}


def test_a_library_function_is_forbidden_wherever_it_is_kept():
    """In a dict, a list in a list, a partial of a partial, under a decorator: no name leads there."""
    q = torch.ones(1, 1, 2, 2)
    inner = functools.partial(functools.partial(KEPT["attention"], q), q)
    ways = [
        lambda: KEPT["attention"](q, q, q),
        lambda: next(iter([one] for one in KEPT.values()))[0](q, q, q),
        lambda: inner(q),
        lambda: next(map(KEPT["attention"], [q], [q], [q])),
    ]
    for way in ways:
        with pytest.raises(AssertionError, match="by hand"), forbid("by hand", ATTENTION, answer=way):
            way()
    said = pytest.raises(AssertionError, match="by hand; your answer called minillm")
    with said, forbid("by hand", ATTENTION, "minillm.nn.attention"), contextlib.suppress(AssertionError):
        ways[0]()
    assert [way().shape for way in ways] == [q.shape] * 4


def test_a_kept_static_method_and_a_decorated_function_are_forbidden_and_come_back():
    for name in ("minillm.search.WordVectors.load_word2vec_format", "minillm.inference.generate.generate"):
        kept = [pkgutil.resolve_name(name)]
        with pytest.raises(AssertionError, match="by hand"), forbid("by hand", name):
            kept[0]("nowhere")
        with pytest.raises((TypeError, ValueError)):
            kept[0]("nowhere")


WHERE = "minillm.course.classroom.exercises.lesson_08_1"


@pytest.mark.parametrize(
    "reach",
    [
        lambda: importlib.import_module(WHERE),
        lambda: importlib.import_module(".lesson_08_1", "minillm.course.classroom.exercises"),
        lambda: __import__(WHERE, fromlist=["schedule"]).schedule,
        lambda: sys.modules[WHERE].schedule,
        lambda: pkgutil.resolve_name(f"{WHERE}:schedule"),
        lambda: importlib.import_module("minillm.course.classroom").exercises.lesson_08_1.schedule,
    ],
)
def test_a_checker_is_out_of_reach_while_an_answer_runs(reach):
    checker = importlib.import_module(WHERE)
    refused = pytest.raises((ImportError, AttributeError))
    with forbid("by hand", "torch.softmax"), forbid("by hand, too", "torch.sigmoid"), refused:
        reach()
    assert sys.modules[WHERE] is checker is importlib.import_module(WHERE)
    reach()


ATTENTION = "minillm.nn.attention.attention"


def imported_inside(q):
    from minillm.nn import attention as mine

    return mine(q, q, q)


def test_what_is_not_forbidden_still_works():
    with forbid("write it yourself", "torch.softmax", "builtins.sorted", answer=by_hand):
        found = by_hand(torch.zeros(2))
        assert Inputs(0).shuffled([1]) == [1]  # the library itself may call sorted
        random.sample(range(10), 3)
    expect(found, [0.5, 0.5])


def test_builtins_are_forbidden_to_the_answer():
    def answer(values):
        return sorted(values)

    forbidden = forbid("sort by hand", "builtins.sorted", answer=answer)
    with pytest.raises(AssertionError, match="sort by hand; your answer called sorted"), forbidden:
        answer([2, 1])
    assert builtins.sorted([2, 1]) == [1, 2]


def test_the_answer_s_own_error_comes_through():
    with pytest.raises(ValueError, match=r"domain|positive"), forbid("no softmax", "torch.softmax"):
        math.log(0) / 0
    assert torch.softmax is softmax


@pytest.mark.parametrize("name", ["softmax", "torch.nothing", "nowhere.f", "builtins.list.sort", "torch."])
def test_a_name_that_cannot_be_forbidden_is_a_mistake_of_the_author(name):
    with pytest.raises(ValueError, match="forbid"), forbid("rule", "torch.softmax", name):
        pass
    assert torch.softmax is softmax


# --- the library's own function ---


def calls_it(*args):
    return merge_pair(*args)


def calls_it_by_module(*args):
    return bpe_plain.merge_pair(*args)


def imports_it(*args):
    from minillm.tokenizer.bpe_plain import merge_pair as mine

    return mine(*args)


def calls_a_helper(*args):
    return (lambda: calls_it(*args))()


def asks_the_checker(*args):
    return lesson_02_8._expected(*args)


def only_an_attribute(x):
    return x.attention.split(x.merge_pair)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (merge_pair, "minillm.tokenizer.bpe_plain.merge_pair"),
        (functools.partial(merge_pair, []), "minillm.tokenizer.bpe_plain.merge_pair"),
        (calls_it, "minillm.tokenizer.bpe_plain.merge_pair"),
        (calls_it_by_module, "minillm.tokenizer.bpe_plain.merge_pair"),
        (imports_it, "minillm.tokenizer.bpe_plain"),
        (asks_the_checker, "minillm.course.classroom.exercises.lesson_02_8._expected"),
        (calls_a_helper, "minillm.tokenizer.bpe_plain.merge_pair"),
        (lambda *args: merge_pair(*args), "minillm.tokenizer.bpe_plain.merge_pair"),
        (lambda q: renamed_attention(q, q, q), "minillm.nn.attention.attention"),
        (lambda q, f=attention: f(q, q, q), "minillm.nn.attention.attention"),
        (only_an_attribute, ""),
        (by_hand, ""),
        (sorted, ""),
        (3, ""),
        (None, ""),
    ],
)
def test_the_library_s_own_function_is_no_answer(answer, name):
    assert copied_library(answer) == name
    assert (
        copied_library(answer, allowed=("merge_pair", "describe", "attention", "bpe_plain", "_expected"))
        == ""
    )


kept_exec, kept_import = exec, importlib.import_module


def by_exec(text):
    space = {}
    exec(text, space)
    return space["f"]


def by_kept_exec(text):
    return kept_exec(text)


def by_kept_import(name):
    return kept_import(name)


def by_modules(name):
    import sys

    return [sys.modules[one] for one in [name]]


def by_frame():
    return sys._getframe(1).f_locals


def by_traceback(error):
    name = "tb_frame"
    return getattr(error.__traceback__, name)


def by_globals(given):
    return (lambda: given.__globals__)()


def by_builtins(text):
    import builtins

    return builtins.eval(text)


def nothing_special(model, kind):
    """It may use exec and eval as words."""
    first = sys.maxsize, sys.version_info
    return (
        model.eval(),
        list(model.modules()),
        getattr(model, kind),
        vars(model),
        first,
        {"modules": 1}["modules"],
    )


@pytest.mark.parametrize(
    ("answer", "way"),
    [
        (by_exec, "exec"),
        (by_kept_exec, "exec"),
        (by_kept_import, "import_module"),
        (by_import, "import_module"),
        (by_modules, "sys.modules"),
        (by_frame, "_getframe"),
        (by_traceback, "tb_frame"),
        (by_globals, "__globals__"),
        (by_builtins, "eval"),
        (nothing_special, ""),
    ],
)
def test_code_that_is_reached_without_its_name_is_no_answer(answer, way):
    assert copied_library(answer) == way
    assert copied_library(answer, allowed=("exec",)) == ("" if way == "exec" else way)


def test_a_package_is_forbidden_with_its_private_modules():
    names = ("json.decoder", "json")
    before = {name: sys.modules.get(name) for name in names}

    def hides(first="".join):
        return importlib.import_module(first(["js", "on.decoder"]))

    def again(first="".join):
        sys.modules.pop(first(["js", "on.decoder"]))
        return hides()

    def names_it():
        import json.decoder

        return json.decoder

    for answer, said in ((hides, ImportError), (again, ImportError), (names_it, AssertionError)):
        with pytest.raises(said), forbid("by hand", answer=answer, packages=("json",)):
            answer()
        assert {name: sys.modules.get(name) for name in names} == before
    with forbid("by hand", answer=by_hand, packages=("json", "no_such_package")):
        by_hand(torch.ones(2))
    assert "no_such_package" not in sys.modules
    assert hides() is before["json.decoder"]


def test_a_forbidden_function_does_not_hold_the_one_it_stands_for():
    with forbid("by hand", "torch.softmax"):
        held = [cell.cell_contents for cell in torch.softmax.__closure__]
    assert softmax not in held


def test_a_package_that_an_answer_uses_is_found_however_it_is_named():
    names = {}
    exec(
        """import math, torch
import numpy as np
from torch import special
TABLE = torch.zeros(2)
def plain(x): return math.exp(x)
def named(x): return torch.special.expit(x)
def short(x): return [np.sqrt(one) for one in x]
def part(x): return special.expit(x)
def held(x): return TABLE[0]
def default(x, root=np.sqrt): return root(x)
def helped(x): return short(x)
def inner(x):
    import numpy.linalg
    return numpy.linalg.norm(x)
def text(x): return __import__("sys").modules["tor" + "ch"].exp(x)
def part_of_a_text(x): return getattr(__import__("importlib"), "import_module")("numpy.linalg").norm(x)
def words(x): return "no torch, no numpy"
""",
        names,
    )
    found = {name: packages_of(names[name], "torch", "numpy") for name in names if callable(names[name])}
    assert found == {
        "plain": "", "named": "torch", "short": "numpy", "part": "torch", "held": "torch", "default": "numpy",
        "helped": "numpy", "inner": "numpy", "text": "torch", "part_of_a_text": "numpy", "words": "",
    }  # fmt: skip
    assert packages_of(names["named"], "numpy") == packages_of(print, "torch") == ""


def test_where_autograd_is_forbidden_its_graph_is_too():
    def by_node(x):
        return (x.requires_grad_() * 2).grad_fn(torch.ones(3))

    def by_text(x):
        name = "grad_fn"
        return getattr(x * 2, name)

    def by_engine(x):
        return torch._C._ImperativeEngine().run_backward((x,), None, False, False, (x,), False)

    rule = "by hand"
    for answer in (by_node, by_text, by_engine):
        with (
            pytest.raises(AssertionError, match=r"by hand; your answer called (grad_fn|run_backward)"),
            forbid(rule, *DERIVATIVES, answer=answer),
        ):
            answer(torch.ones(3))
        with forbid(rule, "torch.softmax", answer=answer):
            pass  # an exercise without derivatives does not care


def test_constants_of_an_answer_and_of_the_functions_it_names():
    def inner(x):
        return x + 2.5

    def answer(x):
        return [inner(one * 3j) for one in x] + ["seven"]

    assert {2.5, 3j, "seven"} <= set(constants_of(answer))
    assert constants_of(print) == constants_of(7) == []


# --- inputs ---


def test_inputs_repeat_and_keep_their_bounds():
    first, again, other = Inputs(3), Inputs(3), Inputs(4)
    drawn = [
        (one.integers(200, -2, 2), one.floats(3), one.text(20), one.matrix(2, 3)) for one in (first, again)
    ]
    assert drawn[0] == drawn[1]
    assert set(drawn[0][0]) == {-2, -1, 0, 1, 2}
    assert all(-1 <= number <= 1 for number in drawn[0][1])
    assert len(drawn[0][2]) == 20
    assert [len(row) for row in drawn[0][3]] == [3, 3]
    assert torch.equal(first.tensor(2, 3), again.tensor(2, 3))
    assert [tuple(one.shape) for one in first.tensors((2,), (1, 2))] == [(2,), (1, 2)]
    assert not torch.equal(first.tensor(5), other.tensor(5))
    assert sorted(first.shuffled(range(9))) == list(range(9))
    # The same on every machine and Python: random.Random(3).random() has not changed since Python 2.3.
    assert Inputs(3).floats(1, 0, 1) == [random.Random(3).random()]


def test_cases_vary_every_parameter():
    four = list(cases(heads=(1, 2), causal=(False, True)))
    assert [(one.heads, one.causal) for one in four] == [(1, False), (1, True), (2, False), (2, True)]
    assert [one.seed for one in four] == [0, 1, 2, 3]
    assert str(four[1]) == "heads=1, causal=True"
    few = list(cases(most=5, a=range(5), b=range(4), c=range(3)))
    assert len(few) == 5
    assert {one.a for one in few} == set(range(5))
    assert {one.b for one in few} == set(range(4))
    assert {one.c for one in few} == set(range(3))
    assert [str(one) for one in few] == [
        str(one) for one in cases(most=5, a=range(5), b=range(4), c=range(3))
    ]
    with pytest.raises(ValueError, match="most must be at least 5"):
        list(cases(most=4, a=range(5)))


# --- the example lesson's checkers, with all of it together ---


def right(tokens, pair):
    merged = []
    for token in tokens:
        if merged and merged[-1] == pair[0] and token == pair[1]:
            merged[-1] = pair[0] + pair[1]
        else:
            merged.append(token)
    return merged


def changes_its_input(tokens, pair):
    tokens[:] = right(tokens, pair)
    return tokens


def lies(tokens, pair):
    return LyingList(tokens)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (merge_pair, r"your answer uses minillm\.tokenizer\.bpe_plain\.merge_pair"),
        (calls_it, "build the merge yourself"),
        (lambda *args: getattr(bpe_plain, "merge_" + "pair")(*args), "build the merge yourself"),
        (lambda tokens, pair: tokens, r"merging \(b'a', b'.'\) in \[.*expected"),
        (changes_its_input, "the list that you are given must stay as it is"),
        (lies, "expected"),
        (lambda tokens, pair: None, r"expected \[\], got None"),
    ],
)
def test_the_example_refuses_each_trick(answer, message):
    with pytest.raises(ExerciseError, match=message):
        check("99-8-a", answer)


def test_the_example_takes_right_answers_of_any_style(capsys):
    check("99-8-a", right)
    check("99-8-a", lambda tokens, pair: tuple(right(tokens, pair)))
    check("99-8-a", lambda tokens, pair: (one for one in right(tokens, pair)))
    check("99-8-b", "abcdefghijklmnopqrst")
    assert capsys.readouterr().out.count("passed") == 4
    for wrong, message in ((3, "a text, got 3"), ("short", "at least 20"), ("ab" * 10, "it takes 10")):
        with pytest.raises(ExerciseError, match=message):
            check("99-8-b", wrong)
