"""What an answer that is graded cannot reach: the course's own text, its checkers, other files, the memory of Python.

    guard()                     this process, from now on: what no answer needs is a PermissionError
    hide_checkers(arguments)    in a child that only runs the answer: the checkers are gone

`guard` is an audit hook (PEP 578): Python asks it before it opens a file, starts a program or hands out a frame, by
whatever name the answer got there, and has no way to take a hook back. It raises PermissionError, an OSError: what
looks for a source to show a line of it (traceback, triton) goes on without.

Python is no prison. What pretends to be a library's code, or reads memory by an array that lies about its size, gets
by.
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import tempfile
from _thread import get_ident
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from minillm.course.classroom import checking
from minillm.course.classroom.forbidden import CHECKERS, GLOBAL, STANDARD, contents_of, names_in
from minillm.course.paths import LIBRARY, find_checkout

SOURCE = (".py", ".pyc", ".ipynb")
OURS = ("minillm", "kernels")
INSTALLED = ("site-packages", "dist-packages")
READS_SOURCE = ("triton", "numba")  # compilers: they read the function that they compile
SHOWS_FRAMES = ("inspect.py", "traceback.py")  # other modules of Python keep the frame that they ask for
FRAMES = {"tb_frame", "gi_frame", "cr_frame", "ag_frame"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LINES_OF_ANSWERS = ("<answer", "<set-up")
DATA = (
    bool, int, float, complex, str, bytes, bytearray, range, np.ndarray, np.generic, torch.Tensor, torch.dtype,
)  # fmt: skip

_on = False
_loaded: frozenset[str] = frozenset()


def get_ready() -> None:
    """Look up what `guard` needs to know, before the process forks.

    A child that reads the names of thousands of modules copies the pages they are on: 7 ms for each call of an answer.
    """
    global _loaded
    _loaded = frozenset(sys.modules)
    source_files()


def guard() -> None:
    """From now on, in this process and its children, an answer cannot

    - read a file of the course's source, a test or a notebook, nor import a module of ours a second time
    - write, rename or remove a file outside of the current folder and the system's folder for temporary files
    - start a program, load a C library, or list the objects and frames that Python holds
    """
    global _on
    if not _on:
        sys.addaudithook(_hook())
        _on = True


def _hook() -> Callable[[str, tuple], None]:
    """All that the hook uses is in its closure: names of this module could be replaced."""
    sources, loaded, busy = source_files(), _loaded or frozenset(sys.modules), set()
    stat, getframe, fsdecode, absolute, nowhere = (
        os.stat,
        sys._getframe,
        os.fsdecode,
        os.path.realpath,
        os.devnull,
    )
    importing, is_folder, separator = importlib._bootstrap._find_and_load.__code__, S_ISDIR, os.sep
    compilers = tuple(os.path.join(part, name, "") for part in INSTALLED for name in READS_SOURCE)
    rooms = tuple(os.path.join(absolute(one), "") for one in (os.getcwd(), tempfile.gettempdir()))
    trusted, ident, denied, frames = _trusted_roots(), get_ident, PermissionError, frozenset(FRAMES)

    def is_trusted(file: str) -> bool:
        return file.startswith(trusted) or any(part in file for part in INSTALLED)

    def is_standard(file: str) -> bool:
        return file.startswith(STANDARD) and not any(part in file for part in INSTALLED)

    def asker(frame: FrameType | None) -> str:
        """The file of the code outside the standard library that is behind a call; "" when there is none."""
        while frame is not None and is_standard(frame.f_code.co_filename):
            frame = frame.f_back
        return "" if frame is None else frame.f_code.co_filename

    def is_import(frame: FrameType | None) -> bool:
        """Whether Python is importing a module of ours for the first time, and no answer's code comes between."""
        while frame is not None and (is_standard(file := frame.f_code.co_filename) or is_trusted(file)):
            if frame.f_code is importing:
                name = frame.f_locals["name"]
                return name.split(".")[0] in OURS and name not in loaded
            frame = frame.f_back
        return False

    def text_of(path: Any) -> str:
        return str.__str__(fsdecode(path))  # not as a subclass says it

    def is_inside(path: Any) -> bool:
        return (absolute(text_of(path)) + separator).startswith(rooms) or text_of(path) == nowhere

    def opens(frame: FrameType, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):  # it is open already
            return
        try:
            found = stat(path)
        except (OSError, ValueError):
            found = None
        if (found and (found.st_dev, found.st_ino) in sources) or text_of(path).lower().endswith(".ipynb"):
            behind = asker(frame)
            if not any(one in behind for one in compilers) and not is_import(frame):
                name = text_of(path).replace("\\", "/").rpartition("/")[2]
                raise denied(f"an answer that is graded does not read {name}")
        elif (isinstance(flags, int) and flags & WRITES) or (found and is_folder(found.st_mode)):
            changes(frame, path)  # an open folder is a way to what is in it that no path shows

    def changes(frame: FrameType, *paths: Any) -> None:
        paths = tuple(path for path in paths if not isinstance(path, int))
        if not is_trusted(asker(frame)) and not all(map(is_inside, paths)):
            raise denied("an answer that is graded works in its current folder only")

    def refuses(frame: FrameType, *_: Any) -> None:
        if not is_trusted(asker(frame)):
            raise denied("an answer that is graded starts no programs and loads no libraries")

    def never(*_: Any) -> None:
        raise denied("an answer that is graded does not look at Python's memory")

    def shows(frame: FrameType, *_: Any) -> None:
        file = frame.f_code.co_filename
        silent = is_standard(file) and not file.endswith(SHOWS_FRAMES)
        if not silent and not is_trusted(asker(frame)):
            never()

    def reads(frame: FrameType, *_: Any) -> None:
        file = frame.f_code.co_filename
        if not is_standard(file) and not is_trusted(file):
            never()

    asks = {"open": opens, "sys._getframe": shows, "object.__getattr__": reads}
    asks |= dict.fromkeys(
        ("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
         "sqlite3.connect"), changes,
    )  # fmt: skip
    asks |= dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn", "ctypes.dlopen", "ctypes.dlsym",
         "ctypes.dlsym/handle", "ctypes.string_at", "ctypes.wstring_at", "ctypes.cdata", "ctypes.PyObj_FromPtr",
         "ctypes.call_function", "sys.settrace", "sys.setprofile", "sys.monitoring.register_callback",
         "gc.get_referents"), refuses,
    )  # fmt: skip
    asks |= dict.fromkeys(
        ("gc.get_objects", "gc.get_referrers", "sys._current_frames", "sys._current_exceptions"), never
    )

    def hook(event: str, arguments: tuple) -> None:
        ask = asks.get(event)
        if ask is None or (
            ask is reads and arguments[1] not in frames
        ):  # every look at a function's code comes by
            return
        if ident() in busy:  # what is asked here is not asked again
            return
        busy.add(ident())
        try:
            ask(getframe(1), *arguments)
        finally:
            busy.discard(ident())

    return hook


def _trusted_roots() -> tuple[str, ...]:
    root = LIBRARY.parent if find_checkout() is None else find_checkout()
    return str(root) + os.sep, "<set-up", "<test"


@lru_cache(maxsize=1)
def source_files() -> frozenset[tuple[int, int]]:
    """(device, inode) of each file of the course that holds code, solutions or tests: a link to one is the same."""
    root, found = find_checkout(), set()
    tops = [LIBRARY, LIBRARY.parent / "kernels"] if root is None else [root]
    for folder, inner, files in (one for top in tops for one in os.walk(top)):
        inner[:] = [
            name
            for name in inner
            if not name.startswith(".") and not (Path(folder) / name / "pyvenv.cfg").exists()
        ]
        for name in files:
            if name.endswith(SOURCE):
                with suppress(OSError):  # a link to nothing
                    there = os.stat(os.path.join(folder, name))
                    found.add((there.st_dev, there.st_ino))
    return frozenset(found)


# --- the checkers ---


def hide_checkers(arguments: Iterable[Any] = ()) -> None:
    """Take the checkers out of this process, which is a child that ends with the answer's call.

    They cannot be imported, and their modules are empty but for what the `arguments` of the call need: a function of
    the checker that is handed to the answer still works. An argument that is neither data nor a function may need
    anything, and leaves them as they are.
    """
    known = list(checking.checkers().values())
    rooms = {id(names): names for names in (one.__globals__ for one in known)}
    arguments = list(arguments)
    for names in rooms.values():
        needed = _needed(arguments, names)
        if needed is not None:
            for name in [one for one in names if not one.startswith("__") and one not in needed]:
                del names[name]
    checking._REGISTRY.clear()
    vars(sys.modules["minillm.course.classroom"]).pop(CHECKERS.rpartition(".")[2], None)
    sys.modules.update(dict.fromkeys({CHECKERS, *(one.__module__ for one in known)}))
    for course in (checking, sys.modules["minillm.course"]):
        if "check" in vars(course):
            course.check = passed
    for file in [one for one in linecache.cache if not one.startswith(LINES_OF_ANSWERS)]:
        del linecache.cache[file]  # hidden tests, and what tracebacks have read of the library


def passed(*_: Any) -> None:
    """What `check` is in an answer's own cells, where there is nothing to check with."""


def _needed(values: list[Any], names: dict[str, Any]) -> set[str] | None:
    """The names of a module that functions among `values` use, and those that these use; None if nobody can say."""
    needed: set[str] = set()
    seen: set[int] = set()
    queue = list(values)
    while queue:
        one = queue.pop()
        if one is None or isinstance(one, (*DATA, BuiltinFunctionType, ModuleType)) or id(one) in seen:
            continue
        if isinstance(one, type) and one.__module__ != names.get("__name__"):
            continue
        seen.add(id(one))
        if type(one) in (list, tuple, set, frozenset):
            queue += one
        elif type(one) is dict:
            queue += [*one, *one.values()]
        elif isinstance(one, FunctionType):
            queue += [
                *(one.__defaults__ or ()),
                *(one.__kwdefaults__ or {}).values(),
                *contents_of(one.__closure__ or ()),
            ]
            if one.__globals__ is names:
                used = {name for name in names_in(one.__code__, GLOBAL) if name in names}
                queue += [names[name] for name in used - needed]
                needed |= used
        else:
            return None
    return needed
