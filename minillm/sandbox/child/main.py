"""The life of a process that runs a stranger's program: read it, give up every right, run it, send data back.

    python -I -S main.py NUMBER       standard input: one JSON object; NUMBER: the open file for what comes back

Order matters: once the rights are gone, this file cannot open anything either. Nothing here protects itself from the
program, which may change all of this process. What holds it are the kernel (limits, Landlock, seccomp) and the process
that started this one, which believes nothing and reads no more than it asked for (process.py).
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import gc
import json
import math
import os
import resource
import struct
import sys
import types
from contextlib import suppress

with suppress(ImportError):
    import zlib  # noqa: F401  (a library outside Python's own folder: it is loaded now or never)

FILES_OPEN, LARGEST_FILE = 24, 4 * 2**20  # a removed file that is still open is seen by nobody
MOST_ERROR = 2000  # characters


def limit(seconds: float, memory: int) -> None:
    """What the kernel counts. A limit that is set cannot be raised: seccomp has no call for it."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])  # of the interpreter itself
    for name, most in {
        "RLIMIT_CPU": math.ceil(seconds) + 2,  # the clock of the parent ends it before
        "RLIMIT_AS": pages * resource.getpagesize() + memory,
        "RLIMIT_FSIZE": LARGEST_FILE,
        "RLIMIT_NOFILE": FILES_OPEN,
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }.items():
        resource.setrlimit(getattr(resource, name), (most, most))


def drop_capabilities() -> None:
    """Root's powers, if this is root: none is kept."""
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset is refused")


def python_files() -> tuple[list[str], list[str]]:
    """(what is read, folders that are listed): Python's own modules, without what was installed beside them."""
    read, listed = [], []
    for place in sys.path:
        if os.path.isdir(place):
            listed.append(place)
            names = set(os.listdir(place)) - {"site-packages", "dist-packages"}
            read += [os.path.join(place, name) for name in names]
        elif os.path.isfile(place):  # all modules in one zip file
            read.append(place)
    return read, listed


def own_modules() -> list[types.ModuleType]:
    """landlock.py and seccomp.py, which lie beside this file; no other import looks there."""
    found = []
    for name in ("landlock", "seccomp"):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        with open(path, encoding="utf-8") as file:
            code = compile(file.read(), path, "exec")
        found.append(types.ModuleType(name))
        exec(code, vars(found[-1]))
    return found


def confine(seconds: float, memory: int, parent: int) -> None:
    """Give up every right. RuntimeError, which says what is missing, where the kernel cannot take them."""
    landlock, seccomp = own_modules()
    machine = os.uname().machine
    if machine not in seccomp.PROCESSORS or struct.calcsize("P") != 8:
        raise RuntimeError(f"a processor of kind x86_64 or aarch64 (this is {machine})")
    try:
        abi = landlock.version()
    except OSError as error:
        raise RuntimeError(f"Landlock, in Linux since 5.13 and often switched on by hand ({error})") from None
    try:
        seccomp.control(1, 9)  # PR_SET_PDEATHSIG: this process ends with the one that started it
        if os.getppid() != parent:
            os._exit(1)
        limit(seconds, memory)
        drop_capabilities()
        seccomp.control(38, 1)  # PR_SET_NO_NEW_PRIVS
        landlock.confine(os.getcwd(), *python_files(), abi)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"limits, capabilities or Landlock ({error})") from None
    try:
        seccomp.confine(machine)
    except OSError as error:
        raise RuntimeError(f"seccomp filters ({error})") from None
    prove()


def prove() -> None:
    """RuntimeError where a right that should be gone is still there: an emulated kernel may say yes and do nothing."""
    for what, call in {
        "files": lambda: os.close(os.open("/", os.O_RDONLY)),
        "system calls": lambda: os.kill(os.getpid(), 0),
    }.items():
        with suppress(PermissionError):
            call()
            raise RuntimeError(f"a kernel that does what it says (it still allows {what})")


def run(code: str) -> dict[str, object]:
    """{"value", "error"}: the value of the last line if it is an expression, and what was raised."""
    names = {"__name__": "__main__", "__builtins__": builtins}
    value = error = None
    try:
        tree = ast.parse(code, "<program>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<program>", "exec"), names)
        if last is not None:
            value = plain(eval(compile(ast.Expression(last.value), "<program>", "eval"), names))
    except BaseException as caught:
        error = said(caught)
    return {"value": value, "error": error}


def plain(value: object) -> object:
    """The value if it is made of None, bools, numbers, texts, lists, tuples (as lists) and dicts with texts as keys."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return [plain(one) for one in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: plain(one) for key, one in value.items()}
    raise TypeError(
        f"the value of the last line is, or holds, a {type(value).__name__}, which is no plain data"
    )


def said(error: BaseException) -> str:
    try:
        where = f" (line {error.lineno})" if type(error) is SyntaxError else ""
        return f"{type(error).__name__}: {error.msg if where else error}{where}"[:MOST_ERROR]
    except BaseException:
        return "an exception whose text cannot be written"


def send(file: int, line: dict[str, object]) -> None:
    rest = json.dumps(line).encode() + b"\n"
    while rest:
        rest = rest[os.write(file, rest) :]


def main() -> None:
    result = int(sys.argv[1])
    request = json.loads(os.fdopen(0, "rb", closefd=False).read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.argv = ["<program>"]
    try:
        confine(request["seconds"], request["memory"], request["parent"])
    except RuntimeError as error:
        send(result, {"cannot": str(error)})
        os._exit(0)
    send(result, {"ready": True})
    found = run(request["code"])
    try:
        with suppress(BaseException):
            sys.stdout.flush()
        try:
            send(result, found)
        except (ValueError, MemoryError, RecursionError) as error:
            send(result, {"value": None, "error": said(error)})
    finally:
        gc.disable()
        os._exit(0)


if __name__ == "__main__":
    main()
