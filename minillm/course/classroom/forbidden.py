"""What an exercise forbids: its functions raise while the answer runs, and the library's own function is no answer.

    with forbid("write the softmax yourself", "torch.softmax", answer=answer):
        found = answer(scores)
    assert not copied_library(answer), "build it yourself"

A forked child, such as the one that an answer is graded in, inherits what is replaced here.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import itertools
import pkgutil
import re
import string
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from minillm.course.paths import LIBRARY

OURS = ("minillm", "kernels")
CHECKERS = "minillm.course.classroom.exercises"  # they work out what is expected
_MODULE = re.compile(r"[a-zA-Z_]+(\.\w+)*")
STANDARD = (string.__file__.rpartition("string")[0], "<frozen")  # where the standard library's code is
GLOBAL, IMPORT = ("LOAD_GLOBAL", "LOAD_NAME"), ("IMPORT_NAME",)
STUB = "the stub"
ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")
# Ways to code that bears no name in the answer: by a text, by a file, by a frame, by another function's insides.
# No list of forbidden names can hold what comes by them.
BY_TEXT = frozenset({"exec", "eval", "globals", "__import__", "__builtins__", "__loader__", "__spec__"})
BY_OBJECT = frozenset({
    "import_module", "resolve_name", "exec_module", "load_module", "spec_from_file_location", "run_path", "run_module",
    "get_source", "get_code", "getsource", "getsourcelines", "_getframe", "_current_frames", "currentframe", "tb_frame",
    "gi_frame", "f_back", "f_locals", "f_globals", "get_objects", "get_referrers", "__globals__", "__builtins__",
    "__subclasses__", "__closure__", "__code__",
})  # fmt: skip
GRAPH = {"grad_fn", "next_functions", "run_backward"}  # of autograd, where its functions are forbidden


@contextmanager
def forbid(rule: str, *names: str, answer: Any = None, packages: tuple[str, ...] = ()) -> Iterator[None]:
    """While the answer runs, each named function raises an AssertionError that says the rule.

    names: full names, "torch.softmax", "torch.Tensor.softmax", "builtins.sorted". A builtin is forbidden to the answer
    only, because the libraries need it. answer: the function that is checked, so that a copy of the forbidden
    function that its cell made before (`from torch import softmax`, a default argument, a closure) is found as well. A
    Python function of minillm raises wherever it is kept, in a dict or a partial, and whoever calls it: work out what
    you expect before. The checkers' modules, which know what is expected, cannot be imported meanwhile by any name.
    packages: "sklearn" is out of reach as a whole, by import or in sys.modules, with its private modules; for packages
    that nothing else needs meanwhile.
    With torch.autograd.grad the graph itself is forbidden: grad_fn, next_functions, run_backward.
    A call that the answer hides (`try ... except`) is reported when the block ends. Raises ValueError for a name that
    does not exist or that Python cannot replace (methods of list, str and other built-in types).
    """
    used: list[str] = []
    undo: list[Callable[[], None]] = []
    functions, named = _functions_of(answer), [(name, *_owner(name)) for name in names]
    if "torch.autograd.grad" in names and (walked := GRAPH & _written(functions)):
        raise AssertionError(_forbidden(rule, min(walked)))
    if packages and (found := packages_of(answer, *packages)):
        raise AssertionError(_forbidden(rule, found, "uses"))
    exported = _exported({id(inspect.getattr_static(owner, last)) for _, owner, last in named})
    undo += [_hide_checkers(), _hide(*packages)]
    try:
        for name, owner, last in named:
            original = inspect.getattr_static(owner, last)
            stub = _stub(rule, name, getattr(owner, last), used, everywhere=owner is not builtins)
            undo.append(_replace(owner, last, stub))
            undo += [_replace(one, key, stub) for one, key in exported.get(id(original), ())]
            undo += _replace_copies(functions, original, stub)
            undo += _replace_code(original, stub)
        yield
    finally:
        for one in reversed(undo):
            one()
    if used:
        raise AssertionError(_forbidden(rule, used[0]))


def _forbidden(rule: str, name: str, does: str = "called") -> str:
    return f"the exercise says: {rule}; your answer {does} {name.removeprefix('builtins.')}"


def _owner(name: str) -> tuple[Any, str]:
    path, _, last = name.rpartition(".")
    try:
        owner = pkgutil.resolve_name(path)
        getattr(owner, last)
    except (ValueError, ImportError, AttributeError):
        raise ValueError(f"forbid takes full names such as 'torch.softmax', got {name!r}") from None
    return owner, last


def _stub(rule: str, name: str, original: Any, used: list[str], everywhere: bool) -> Callable:
    original = None if everywhere else original  # the stub's closure is in the answer's reach

    def stub(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_code.co_filename
        if not everywhere and ("site-packages" in caller or caller.startswith((str(LIBRARY), *STANDARD))):
            return original(*args, **kwargs)
        used.append(name)
        raise AssertionError(_forbidden(rule, name))

    return stub


def _exported(wanted: set[int]) -> dict[int, list[tuple[ModuleType, str]]]:
    """Where packages of the library hand something on, as minillm.nn does minillm.nn.attention.attention, by its id."""
    found: dict[int, list[tuple[ModuleType, str]]] = {}
    # names alone first: there are thousands, and a checker asks again for every one of its cases
    for name in [one for one in list(sys.modules) if one.startswith(OURS)]:
        one = sys.modules[name]
        if _is_ours_name(name) and hasattr(one, "__path__"):
            for key, value in vars(one).items():
                if id(value) in wanted:
                    found.setdefault(id(value), []).append((one, key))
    return found


def _hide(*packages: str) -> Callable[[], None]:
    """Take packages with all their modules out of sys.modules: an import of one raises ImportError."""
    there = [one for one in list(sys.modules) if one.startswith(packages)] if packages else []
    names = {
        *packages,
        *(one for one in there if one.startswith(tuple(f"{package}." for package in packages))),
    }
    hidden = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # None: Python raises, and does not read the file anew

    def undo() -> None:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)

    return undo


def _hide_checkers() -> Callable[[], None]:
    """Take the modules of all checkers out of sys.modules and their package."""
    room = sys.modules[CHECKERS.rpartition(".")[0]]
    last = CHECKERS.rpartition(".")[2]
    package, back = vars(room).pop(last, None), _hide(CHECKERS)

    def undo() -> None:
        back()
        if package is not None:
            setattr(room, last, package)

    return undo


def _replace(owner: Any, name: str, stub: Any) -> Callable[[], None]:
    own = name in vars(owner)  # torch.Tensor.softmax is inherited: it is not there to be put back
    original = vars(owner).get(name)
    try:
        setattr(owner, name, stub)
    except TypeError:
        raise ValueError(f"forbid cannot replace {name} of {owner!r}, a built-in type") from None
    return lambda: setattr(owner, name, original) if own else delattr(owner, name)


def _replace_copies(functions: list[FunctionType], original: Any, stub: Any) -> list[Callable[[], None]]:
    """Put the stub wherever the answer's functions hold the original: in globals, defaults and closures."""
    undo: list[Callable[[], None]] = []
    for function in functions:
        names = function.__globals__
        for name in [name for name, value in names.items() if value is original]:
            names[name] = stub
            undo.append(lambda names=names, name=name: names.__setitem__(name, original))
        if any(value is original for value in function.__defaults__ or ()):
            before = function.__defaults__
            function.__defaults__ = tuple(stub if value is original else value for value in before)
            undo.append(lambda function=function, before=before: setattr(function, "__defaults__", before))
        named = function.__kwdefaults__ or {}
        for name in [name for name, value in named.items() if value is original]:
            named[name] = stub
            undo.append(lambda named=named, name=name: named.__setitem__(name, original))
        for cell in function.__closure__ or ():
            if any(value is original for value in contents_of([cell])):
                cell.cell_contents = stub
                undo.append(lambda cell=cell: setattr(cell, "cell_contents", original))
    return undo


def _replace_code(original: Any, stub: Any) -> list[Callable[[], None]]:
    """Let the library's own function call the stub, wherever else it is kept: in a dict, a list, another module."""
    undo: list[Callable[[], None]] = []
    function = getattr(original, "__func__", original)  # of a static or a class method
    while isinstance(function, FunctionType) and _is_ours(function):
        before = function.__code__
        consts = tuple(stub if value == STUB else value for value in _pass_on.__code__.co_consts)
        function.__code__ = _pass_on.__code__.replace(co_consts=consts, co_freevars=before.co_freevars)
        undo.append(lambda function=function, before=before: setattr(function, "__code__", before))
        function = getattr(function, "__wrapped__", None)
    return undo


def _pass_on(*args: Any, **kwargs: Any) -> Any:
    """Runs with the globals of the function that it stands for, so the stub is one of its constants."""
    stub: Any = "the stub"
    return stub(*args, **kwargs)


def _functions_of(answer: Any) -> list[FunctionType]:
    """The function that an answer is, those it names in its own cells, and the methods of a class."""
    found: list[FunctionType] = []
    queue = [answer]
    while queue:
        one = queue.pop()
        one = getattr(one, "__func__", getattr(one, "func", one))  # a bound method, a partial
        if isinstance(one, type):
            queue += [value for value in vars(one).values() if isinstance(value, FunctionType)]
        if not isinstance(one, FunctionType) or one in found or len(found) > 100:
            continue
        found.append(one)
        queue += [
            value
            for value in _held(one)
            if isinstance(value, (FunctionType, type)) and not _is_ours(value) and not _is_installed(value)
        ]
    return found


def _held(function: FunctionType) -> list[Any]:
    """What a function can reach by a name: globals it uses, defaults, what its closure holds."""
    used = sorted(names_in(function.__code__, GLOBAL))
    named = [function.__globals__[name] for name in used if name in function.__globals__]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*named, *defaults, *contents_of(function.__closure__ or ())]


def contents_of(cells: Any) -> list[Any]:
    """What is in the cells of a closure; a cell may be empty still."""
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return found


@lru_cache(maxsize=1000)  # a checker asks again for every one of its cases
def names_in(code: CodeType, operations: tuple[str, ...]) -> frozenset[str]:
    """The names that a function's code, inner functions included, uses in such operations."""
    own = frozenset(one.argval for one in dis.get_instructions(code) if one.opname in operations)
    return own.union(*(names_in(one, operations) for one in code.co_consts if isinstance(one, CodeType)))


def _is_installed(value: Any) -> bool:
    """Whether a function or class comes from Python itself or an installed package, not from a cell."""
    file = getattr(sys.modules.get(getattr(value, "__module__", "")), "__file__", None) or ""
    return "site-packages" in file or file.startswith(STANDARD) or value.__module__ == "builtins"


def _is_ours(value: Any) -> bool:
    """Whether something is the library's own, a checker's reference among it.

    The rest of course/ is not: what lessons call is no answer to an exercise.
    """
    return _is_ours_name(
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
    )


def _is_ours_name(name: str) -> bool:
    if name.startswith("minillm.course"):
        return name.startswith(CHECKERS)
    return name.split(".")[0] in OURS


def copied_library(answer: Any, allowed: tuple[str, ...] = ()) -> str:
    """The full name of the library's function that an answer is, wraps or calls; "" when there is none.

    It reads the answer's code: names of its cell, defaults, closures, and imports inside the function. allowed: the
    last parts of names that the exercise gives (`allowed=("count_pairs",)`). An answer that gets at code without its
    name uses what it uses for that: exec, importlib.import_module, sys.modules, inspect.getsource, __globals__. What is
    called in other ways is for `forbid`.
    """
    for one in (answer, getattr(answer, "__func__", None), getattr(answer, "func", None), type(answer)):
        if one is not None and _is_ours(one) and _full_name(one).split(".")[-1] not in allowed:
            return _full_name(one)
    for function in _functions_of(answer):
        attributes = names_in(function.__code__, ATTRIBUTE)
        found = [name for value in _held(function) for name in _ours_in(value, attributes)]
        found += sorted(name for name in names_in(function.__code__, IMPORT) if _is_ours_name(name))
        found += _ways_to_code(function)
        for name in found:
            if name.split(".")[-1] not in allowed:
                return name
    return ""


def _ways_to_code(function: FunctionType) -> list[str]:
    """What a function uses to get at code that it does not name."""
    own = {name for name in function.__globals__ if not name.startswith("__")}
    found = sorted(BY_TEXT & names_in(function.__code__, GLOBAL) - own)
    held = [getattr(value, "__name__", "") for value in _held(function) if _is_standard(value)]
    found += [name for name in held if name in BY_TEXT | BY_OBJECT]
    imported = "builtins" in names_in(function.__code__, IMPORT) or any(
        one is builtins for one in _held(function)
    )
    ways = BY_OBJECT | BY_TEXT if imported else BY_OBJECT  # elsewhere .eval() is torch's
    found += sorted(ways & _written([function]))
    return [*found, *(["sys.modules"] if _asks_for_modules(function.__code__) else [])]


def _is_standard(value: Any) -> bool:
    """Whether a function is Python's own, under whatever name a cell keeps it: `run = exec`."""
    if not callable(value) or isinstance(value, type):
        return False
    module = getattr(value, "__module__", None) or ""
    return isinstance(module, str) and module.split(".")[0] in sys.stdlib_module_names


def _asks_for_modules(code: CodeType) -> bool:
    steps = list(dis.get_instructions(code))
    asked = any(
        one.argval == "sys" and two.argval == "modules" and two.opname in ATTRIBUTE
        for one, two in itertools.pairwise(steps)
    )
    return asked or any(_asks_for_modules(one) for one in code.co_consts if isinstance(one, CodeType))


def _written(functions: list[FunctionType]) -> set[str]:
    """The attributes that functions read, and the texts that they hold, which `getattr` may be given."""
    read = [names_in(function.__code__, ATTRIBUTE) for function in functions]
    return set().union(*read) | {one for one in _constants(functions) if isinstance(one, str)}


def constants_of(answer: Any) -> list[Any]:
    """The constants that an answer's functions hold, inner functions included: 2, 1e-6, 1j, "sum"."""
    return _constants(_functions_of(answer))


def _constants(functions: list[FunctionType]) -> list[Any]:
    found, queue = [], [function.__code__ for function in functions]
    while queue:
        consts = queue.pop().co_consts
        queue += [one for one in consts if isinstance(one, CodeType)]
        found += [one for one in consts if not isinstance(one, CodeType)]
    return found


def packages_of(answer: Any, *packages: str) -> str:
    """The first of the packages ("torch", "numpy") that an answer names in its code, holds or imports; "" for none.

    For exercises in plain Python: a list of forbidden functions is never whole. A name that stands in the code as a
    text, `sys.modules["torch"]`, counts as well; a package that is reached in another way is for `forbid`.
    """
    for function in _functions_of(answer):
        held = [_name_of_package(value) for value in _held(function)]
        texts = [one for one in _constants([function]) if isinstance(one, str) and _MODULE.fullmatch(one)]
        names = [*held, *names_in(function.__code__, IMPORT), *texts]
        used = {name.split(".")[0] for name in names}
        for package in packages:
            if package in used:
                return package
    return ""


def _name_of_package(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    return getattr(value, "__module__", None) or type(value).__module__


def _ours_in(value: Any, attributes: frozenset[str]) -> list[str]:
    if isinstance(value, ModuleType) and _is_ours(value):
        used = sorted(name for name in attributes if callable(getattr(value, name, None)))
        return [f"{value.__name__}.{name}" for name in used] or [value.__name__]
    return [_full_name(value)] if callable(value) and (_is_ours(value) or _is_ours(type(value))) else []


def _full_name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
