"""run_python: ordinary programs run, and what tries to get out, to stay, or to lie does not."""

import os
import pickle
import platform
import re
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minillm.sandbox import CannotConfine, Result, process, run_python
from minillm.sandbox.child import seccomp
from tests.sandbox import escapes


def _why_not():
    try:
        run_python("1")
    except CannotConfine as error:
        return str(error)
    return ""


WHY_NOT = _why_not()
confined = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    path = tmp_path_factory.mktemp("ours") / "canary"
    path.write_text("ours")
    path.chmod(0o666)
    return path


@pytest.fixture(scope="module")
def tried(canary):
    """What every attempt of escapes.py met."""
    names = {
        "CANARY": str(canary),
        "PARENT": os.getpid(),
        "PACKAGE": np.__file__,
        "SITE": str(Path(np.__file__).parents[1]),
    }
    before = os.stat(canary)
    os.environ["MINILLM_SECRET"] = "a key"
    try:
        result = run_python(escapes.program(names), seconds=30)
    finally:
        del os.environ["MINILLM_SECRET"]
    assert result.error is None
    after = os.stat(canary)
    assert canary.read_text() == "ours"
    for name in ("st_mode", "st_uid", "st_mtime_ns", "st_nlink", "st_ino"):
        assert getattr(before, name) == getattr(after, name), name
    assert os.listdir(canary.parent) == ["canary"]
    return result.value


@confined
@pytest.mark.parametrize("name", escapes.ATTEMPTS)
def test_no_attempt_gets_out(tried, name):
    how, met = tried[name]
    expected = escapes.ATTEMPTS[name][1]
    if isinstance(expected, tuple) and isinstance(expected[0], int):
        assert (how, tuple(met)) == ("gave", expected)
    elif isinstance(expected, (str, tuple)) and expected != "":
        assert how == "raised"
        assert met in ((expected,) if isinstance(expected, str) else expected)
    else:
        assert (how, met) == ("gave", expected)


def test_there_are_sixty_escapes_and_more():
    assert len(escapes.ATTEMPTS) + len(ENDS) >= 100


SLOW = "TimeoutError: it ran for more than 0.3 seconds"
STORED = "TooMuchStored: more than 1,000 files or 52,428,800 bytes"
DAMAGED = "Damaged: what came back is not one result"
DEEP = "TooMuchOutput: its value has lists that stand more than 100 deep in each other"
FORGE = (  # write a result of its own into the way back, the second pipe, and leave
    "import os\nfor n in range(3, 64):\n    try: pipe = os.readlink(f'/proc/self/fd/{{n}}')[:4] == 'pipe'\n"
    "    except OSError: continue\n"
    "    if pipe: os.write(n, b'{{\"value\": ' + {} + b', \"error\": null}}\\n'); os._exit(0)"
)
NO_DATA = "TypeError: the value of the last line is, or holds, a {}, which is no plain data"

# each in a process of its own: what it leaves behind, or how it ends. The last ones only in the long run.
ENDS = {
    "endless loop": ("while True: pass", SLOW),
    "print flood": ("while True: print('x' * 1000)", "TooMuchOutput: it printed more than 100,000 bytes"),
    "leave without a word": ("import os\nos._exit(0)", "Died: exit code 0"),
    "crash": ("import ctypes\nctypes.string_at(0)", "Died: signal SIGSEGV"),
    "forge a result": (
        "import os\nfor n in range(3, 64):\n    try: os.write(n, b'{}\\n')\n    except OSError: pass\n5",
        DAMAGED,
    ),
    "a lying object": (
        "class Liar:\n    def __eq__(self, other): return True\nLiar()",
        NO_DATA.format("Liar"),
    ),
    "close every way back": ("import os\nos.closerange(0, 64)\nwhile True: pass", SLOW),
    "many files": ("n = 0\nwhile True:\n    open(f'{n}', 'w').close()\n    n += 1", STORED),
    "a text subclass": (
        "class Liar(str):\n    def __eq__(self, other): return True\nLiar('a')",
        NO_DATA.format("Liar"),
    ),
    "a long value": ("'x' * 2_000_000", "TooMuchOutput: its value has more than 1,000,000 bytes as JSON"),
}
LATER = {
    "a flood on standard error": ("import os\nwhile True: os.write(2, b'x' * 65536)", SLOW),
    "a flood of single bytes": ("import os\nwhile True: os.write(1, b'x')", (SLOW, ENDS["print flood"][1])),
    "files with holes": (
        "import os\nfor n in range(9): os.truncate(os.open(f'{n}', os.O_RDWR | os.O_CREAT), 2 ** 22)\nwhile True: pass",
        None,
    ),
    "removed files that stay open": (
        "import os\nkept = []\nfor n in range(99):\n    kept.append(open('f', 'wb'))\n"
        "    kept[-1].write(b'x' * 2 ** 22), os.unlink('f')",
        re.compile("OSError|TooMuchStored|TimeoutError"),
    ),
    "a stack without end": (
        "import sys\nsys.setrecursionlimit(10 ** 8)\nf = lambda n: f(n + 1)\nf(0)",
        re.compile("Died|Error"),
    ),
    "sleep": ("import time\ntime.sleep(1000)", SLOW),
    "endless generator": ("sum(1 for _ in iter(int, 1))", SLOW),
    "catch everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        SLOW,
    ),
    "ignore signals": (
        "import signal\nfor n in (1, 2, 3, 14, 15, 24, 25): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
        SLOW,
    ),
    "one long call": ("10 ** 10 ** 8", (SLOW, "MemoryError: ")),
    "large files": ("n = 0\nwhile True:\n    open(f'{n}', 'wb').write(b'x' * 2 ** 21)\n    n += 1", STORED),
    "a folder nobody sees": ("import os\nos.mkdir('a', 0o300)\nos.mkdir('a/b')\nwhile True: pass", None),
    "deep folders": ("import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')", STORED),
    "files at the end of a path that is too long": (
        "import os\nfor i in range(30): os.mkdir('d' * 200), os.chdir('d' * 200)\nwhile True: pass",
        "TooMuchStored: a folder that nobody can look into",
    ),
    "a pickle": ("import pickle\npickle.dumps([])", NO_DATA.format("bytes")),
    "a pickle gadget": (
        "class G:\n    def __reduce__(self): return (print, ('x',))\n[G()]",
        NO_DATA.format("G"),
    ),
    "a dict subclass": (
        "class D(dict):\n    def items(self): return iter(int, 1)\nD(a=1)",
        NO_DATA.format("D"),
    ),
    "a number as a key": ("{1: 2}", NO_DATA.format("dict")),
    "deep lists": ("x = []\nfor i in range(10 ** 5): x = [x]\nx", re.compile("RecursionError")),
    "a list in itself": ("x = []\nx.append(x)\nx", re.compile("RecursionError")),
    "a number of many digits": ("10 ** 5000", re.compile("ValueError|Damaged")),
    "leave": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "an error that lies": (
        "class E(Exception):\n    def __str__(self): raise self\nraise E",
        "an exception whose text cannot be written",
    ),
    "an error that talks": ("raise ValueError('x' * 10 ** 6)", re.compile("^ValueError: x{1900,2000}$")),
    "no JSON": ("import json\njson.dumps = lambda *a, **k: 'x'\n5", DAMAGED),
    "no builtins": ("import builtins\nvars(builtins).clear()", re.compile("Died|Damaged|Error|cannot")),
    "at its end": ("import atexit\natexit.register(print, 'late')\n5", None),
    "a stopped process": (
        "import signal\nsignal.raise_signal(signal.SIGSTOP)",
        re.compile("PermissionError"),
    ),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(10 ** 6))", re.compile("MemoryError|Died")),
    "memory in the compiler": ("eval('(' * 10 ** 5)", re.compile("Error|Died")),
    "a syntax error": ("x = = 1", re.compile(r"^SyntaxError: invalid syntax \(line 1\)$")),
    "a zero byte": ("\0", re.compile("Error")),
    "half a surrogate": ("print('\\ud800')", re.compile("UnicodeEncodeError")),
    "an error that cannot be printed": ("raise ValueError('\\ud800')", "ValueError: \\ud800"),
    "200 lists in lists": ("x = []\nfor i in range(200): x = [x]\nx", DEEP),
    "lists in lists, forged": (FORGE.format("b'[' * 850 + b']' * 850"), DEEP),
    "wait for nobody": ("import select\nselect.select([], [], [])", SLOW),
    "a storm of alarms": (
        "import signal\nsignal.signal(14, lambda *a: None)\nsignal.setitimer(0, 1e-6, 1e-6)\nwhile True: pass",
        SLOW,
    ),
    "a result that blocks": (
        "import fcntl\nfor n in range(3, 64):\n    try: fcntl.fcntl(n, fcntl.F_SETFL, 0o4000)\n"
        "    except OSError: pass\n'x' * 900_000",
        None,
    ),
    "a flush that hangs": (
        "import sys, time\nclass W:\n    def flush(self): time.sleep(100)\nsys.stdout = W()\n4",
        SLOW,
    ),
    "a name that is no text": ("open(b'\\xff\\n*', 'w').close()", None),
}

# what these may still hand over, where they are quick enough
WHOLE = {"at its end": 5, "a result that blocks": "x" * 900_000}


@confined
@pytest.mark.parametrize("name", [*ENDS, *(pytest.param(name, marks=pytest.mark.soak) for name in LATER)])
def test_every_end_is_told_and_nothing_stays(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, expected = {**ENDS, **LATER}[name]
    slow = str(expected).startswith("TooMuch")  # it is ended by what it does, whenever that is
    result = run_python(code, seconds=20 if slow else 0.3)
    assert len(result.stdout) <= process.MOST_PRINTED
    assert "late" not in result.stdout
    if isinstance(expected, re.Pattern):
        assert expected.search(result.error)
    elif isinstance(expected, tuple):
        assert result.error in expected
    elif expected is not None:
        assert result.error == expected
    assert result.value in (None, WHOLE.get(name))  # a value arrives whole or not at all
    assert list(tmp_path.iterdir()) == []


@confined
def test_what_was_printed_before_the_end_is_there():
    assert run_python("print('here')\nwhile True: pass", seconds=0.3).stdout == "here\n"
    assert run_python("print('here')\nimport os\nos._exit(3)") == Result("here\n", None, "Died: exit code 3")


@confined
def test_the_way_here_is_not_told():
    code = "import sys\n[sys.argv, sys.orig_argv]"
    assert run_python(code).value == [["<program>"], ["<program>"]]


@confined
def test_the_kernels_clock_ends_a_program_that_ours_forgets(monkeypatch):
    monkeypatch.setattr(process, "seconds_left", lambda *args: 1.0)
    expected = "TimeoutError: it ran for more than 0.1 seconds"
    assert run_python("while True: pass", seconds=0.1).error == expected


@confined
def test_a_process_of_ours_that_holds_the_pipe_is_not_waited_for(monkeypatch):
    """A fork at the wrong moment, by another thread, copies the pipes: their end never comes."""
    kept = []

    class Forked(subprocess.Popen):
        def __init__(self, *args, **options):
            kept.append(os.dup(options["pass_fds"][0]))
            super().__init__(*args, **options)

    monkeypatch.setattr(process.subprocess, "Popen", Forked)
    began = time.monotonic()
    try:
        assert run_python("print(1)\n5", seconds=60) == Result("1\n", 5, None)
    finally:
        os.close(kept[0])
    assert time.monotonic() - began < 50  # it was 60 and more


@confined
def test_threads_run_side_by_side_and_share_nothing():
    code = "open('a', 'w').write('{0}')\nprint({0})\nopen('a').read()"
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: run_python(code.format(n), seconds=30), range(6)))
    assert found == [Result(f"{n}\n", str(n), None) for n in range(6)]


STARTS = {  # how the process that calls run_python was started
    "lower limits": "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2 ** 20, 2 ** 20))\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))",
    "no standard input": "import os\nos.close(0)",
    "SIGINT ignored, all signals held back": "import signal\nsignal.signal(2, signal.SIG_IGN)\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))",
    "children that nobody waits for": "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "another user": "import os\nif os.getuid() == 0:\n    os.setgroups([])\n    os.setresgid(65534, 65534, 65534)\n"
    "    os.setresuid(65534, 65534, 65534)",
}


@confined
def test_open_files_of_ours_are_not_there(tmp_path):
    """Also one that was marked as inheritable, and our standard input and error."""
    (tmp_path / "secret").write_text("a key")
    with (tmp_path / "secret").open() as file:
        os.set_inheritable(file.fileno(), True)
        code = (
            "import os\ndef read(n):\n    try: return os.pread(n, 99, 0).decode()\n    except OSError: return ''\n"
            "[read(n) for n in range(64) if read(n)]"
        )
        assert run_python(code) == Result("", [], None)


@confined
@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86_64")
@pytest.mark.parametrize("entry", ["cd80", "0f34"])
def test_system_calls_by_the_old_doors_end_the_process(entry):
    """`int 0x80` and `sysenter` have other numbers for calls (2 is fork): the filter looks at the processor's kind."""
    code = (
        "import ctypes, mmap\npage = mmap.mmap(-1, 4096, prot=7)\n"
        f"page.write(bytes.fromhex('b802000000' + {entry!r} + 'c3'))\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()"
    )
    refused = (
        "PermissionError: [Errno 13] Permission denied"  # a system without pages that are written and run
    )
    signals = ("Died: signal SIGSYS", "Died: signal SIGSEGV", "Died: signal SIGILL")
    assert run_python(code).error in (*signals, refused)


@confined
def test_it_ends_with_the_process_that_started_it(tmp_path):
    """Killed in the middle of a run, we leave no process behind: the kernel ends it (PR_SET_PDEATHSIG)."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("needs a kernel that lists children in /proc")
    code = "from minillm.sandbox import run_python\nrun_python('while True: pass', seconds=100)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # whoever is killed cannot clear up
    ours = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        deadline, child = time.monotonic() + 60, None
        while child is None and time.monotonic() < deadline:
            found = Path(f"/proc/{ours.pid}/task/{ours.pid}/children").read_text().split()
            if found and b"main.py" in Path(f"/proc/{found[0]}/cmdline").read_bytes():
                limits = Path(f"/proc/{found[0]}/limits").read_text()
                child = int(found[0]) if re.search(r"Max open files +24 ", limits) else None  # it is confined
            time.sleep(0.02)
        assert child is not None
        ours.kill()
        ours.wait(30)
        while time.monotonic() < deadline and Path(f"/proc/{child}/stat").exists():
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                break  # it has ended; whoever inherits it has not asked yet
            time.sleep(0.02)
        else:
            assert not Path(f"/proc/{child}").exists()
    finally:
        ours.kill()
        ours.wait(30)


def started(first, code="print(repr(run_python('print(1)\\n2')))"):
    """What a process prints that does `first` and then calls run_python; a refusal is printed, too."""
    program = (
        f"import tempfile\nfrom minillm.sandbox import run_python\n{first}\ntry:\n    {code}\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )


@confined
@pytest.mark.parametrize("how", STARTS)
def test_it_runs_however_we_were_started(how):
    able = started(STARTS[how], "import os, sys; print(os.access(sys.executable, os.X_OK))").stdout.strip()
    if able != "True":
        pytest.skip(f"another user may not start this Python, {sys.executable}")
    done = started(STARTS[how])
    assert done.stdout.strip() == repr(Result("1\n", 2, None)), done.stderr


# a kernel that refuses one call: (its number on x86_64, its first argument or -1, the error), what is named
REFUSING = {
    "no Landlock": ((444, -1, 38), "needs Landlock, in Linux since 5.13"),
    "Landlock switched off": ((444, -1, 95), "needs Landlock, in Linux since 5.13"),
    "a full stack of Landlock": ((446, -1, 7), "needs limits, capabilities or Landlock"),
    "no seccomp": ((157, 22, 22), "needs seccomp filters"),
    "capabilities that stay": ((126, -1, 1), "needs limits, capabilities or Landlock"),
}


@confined
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls of x86_64")
@pytest.mark.parametrize("what", REFUSING)
def test_a_kernel_that_refuses_is_named_and_nothing_runs(what):
    (number, first, error), match = REFUSING[what]
    lines = [(seccomp.LOAD, 0, 0, 0), (seccomp.EQUAL, 0, 1 if first < 0 else 3, number)]
    lines += [] if first < 0 else [(seccomp.LOAD, 0, 0, 16), (seccomp.EQUAL, 0, 1, first)]
    lines += [(seccomp.RETURN, 0, 0, 0x50000 | error), (seccomp.RETURN, 0, 0, seccomp.ALLOW)]
    refuse = (
        "import ctypes, struct\nfrom minillm.sandbox.child import seccomp\nseccomp.control(38, 1)\n"
        f"seccomp.program = lambda machine: {lines!r}\nseccomp.confine('x86_64')"
    )
    done = started(refuse)
    assert re.search(f"^CannotConfine run_python {match}.*; use evaluate", done.stdout), done
    assert "Result(" not in done.stdout


@confined
@pytest.mark.soak
def test_nothing_is_left_running():
    run_python("import time\ntime.sleep(1000)", seconds=0.2)
    mine = subprocess.run(
        ["ps", "-o", "args", "--ppid", str(os.getpid())], capture_output=True, text=True
    ).stdout
    assert "main.py" not in mine


@confined
def test_ordinary_programs_run():
    code = textwrap.dedent(
        """
        import collections, dataclasses, decimal, fractions, hashlib, json, math, random, re, statistics, zlib
        with open("notes.txt", "w") as file:
            file.write("한글")
        print(open("notes.txt").read(), 1)
        {"mean": statistics.mean([1, 2]), "list": [None, True, (1, 2.5)], "한": "글",
         "hash": hashlib.sha256(b"").hexdigest()[:4], "third": str(fractions.Fraction(1, 3))}
        """
    )
    value = {"mean": 1.5, "list": [None, True, [1, 2.5]], "한": "글", "hash": "e3b0", "third": "1/3"}
    assert run_python(code) == Result("한글 1\n", value, None)
    assert run_python("x = 1") == Result("", None, None)
    assert run_python("") == Result("", None, None)
    assert run_python("print('before')\n1 / 0") == Result(
        "before\n", None, "ZeroDivisionError: division by zero"
    )
    assert run_python("def f(x):\n    return x + 1\nf(1)").value == 2


@confined
def test_two_runs_share_nothing():
    run_python("open('kept', 'w').close()\nimport builtins\nbuiltins.kept = 1")
    assert run_python("import os, builtins\n[os.listdir('.'), hasattr(builtins, 'kept')]").value == [
        [],
        False,
    ]


@confined
def test_memory_is_what_was_asked_for():
    code = "len(bytearray(100 * 2 ** 20))"
    assert run_python(code, memory=64 * 2**20).error.startswith("MemoryError")
    assert run_python(code, memory=128 * 2**20).value == 100 * 2**20


@confined
@pytest.mark.soak
def test_time_is_what_was_asked_for():
    code = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass\n'done'"
    assert run_python(code, seconds=0.2).error.startswith("TimeoutError")
    assert run_python(code, seconds=60).value == "done"


@confined
def test_an_old_landlock_lets_no_file_be_cut(tmp_path):
    """ABI 1 and 2 (before Linux 6.2) do not know the right to cut a file: the filter of system calls refuses it."""
    kept, own = tmp_path / "kept", tmp_path / "own"
    kept.write_text("kept")
    own.mkdir()
    program = f"""
import os, sys
sys.path.insert(0, {str(process.CHILD)!r})
import landlock, seccomp
seccomp.control(38, 1)
landlock.confine({str(own)!r}, [{str(kept)!r}], [], 1)
seccomp.confine(os.uname().machine)
print(open({str(kept)!r}).read())
for flags in (os.O_TRUNC, os.O_TRUNC | os.O_WRONLY, os.O_TRUNC | os.O_RDWR):
    try:
        os.open({str(kept)!r}, os.O_RDONLY | flags)
    except PermissionError:
        print("no")
open({str(own / "mine")!r}, "w").write("written")
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["kept", "no", "no", "no"], done.stderr
    assert kept.read_text() == "kept"
    assert (own / "mine").read_text() == "written"


def decided(lines, machine, number, args=(0,) * 6):
    """What the filter decides on a call: a machine for its program, written from the kernel's description."""
    _, kind = seccomp.PROCESSORS[machine]
    data = struct.pack("=IIQ6Q", number, kind, 0, *args)
    place = accumulator = 0
    while True:
        what, so, other, operand = lines[place]
        place += 1
        if what == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif what == seccomp.AND:
            accumulator &= operand
        elif what == seccomp.RETURN:
            return operand
        else:
            yes = accumulator == operand if what == seccomp.EQUAL else accumulator >= operand
            place += so if yes else other


@pytest.mark.parametrize("machine", seccomp.PROCESSORS)
def test_the_filter_allows_its_list_and_nothing_else(machine):
    lines, column = seccomp.program(machine), seccomp.PROCESSORS[machine][0]
    allowed = {numbers[column] for numbers in seccomp.CALLS.values()} - {None}
    chosen = {numbers[column]: (place, values) for numbers, place, values in seccomp.CHOSEN.values()}
    opens = {
        numbers[column]: place for numbers, place in seccomp.OPENS.values() if numbers[column] is not None
    }
    for number in range(600):
        if number in opens:
            for flags, expected in (
                (0, True),
                (1, True),
                (2, True),
                (0o1001, True),
                (0o1000, False),
                (0o101000, False),
            ):
                args = [0] * 6
                args[opens[number]] = flags
                assert (decided(lines, machine, number, args) == seccomp.ALLOW) == expected
        elif number in chosen:
            place, values = chosen[number]
            for value in range(2000):
                args = [0] * 6
                args[place] = value
                assert (decided(lines, machine, number, args) == seccomp.ALLOW) == (value in values)
        else:
            assert (decided(lines, machine, number) == seccomp.ALLOW) == (number in allowed), number
    assert decided(lines, machine, seccomp.X32 + 1) == seccomp.DENY
    other = next(kind for name, (_, kind) in seccomp.PROCESSORS.items() if name != machine)
    assert seccomp.PROCESSORS[machine][1] != other
    dangerous = {numbers[column] for numbers in escapes.NUMBERS.values()}
    assert not dangerous & (allowed | chosen.keys() | opens.keys())


HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_the_kernels(machine):
    path = Path(HEADERS[machine])
    if not path.exists():
        pytest.skip(f"needs the kernel's headers, {path}")
    known = {
        name: int(n) for name, n in re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())
    }
    known.setdefault("newfstatat", known.get("fstatat"))
    column = seccomp.PROCESSORS[machine][0]
    ours = {name: numbers[column] for name, numbers in seccomp.CALLS.items()}
    ours |= {name: numbers[column] for name, (numbers, *_) in {**seccomp.CHOSEN, **seccomp.OPENS}.items()}
    ours |= {name: numbers[column] for name, numbers in escapes.NUMBERS.items()}
    assert ours == {name: None if number is None else known[name] for name, number in ours.items()}
    assert not {name for name, number in ours.items() if number is None} & known.keys()


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd13"])
def test_other_systems_are_refused_by_name(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(CannotConfine, match=f"Landlock and seccomp, this is {system}: use evaluate"):
        run_python("1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="starts a process of Linux")
def test_what_is_missing_is_named(monkeypatch, tmp_path):
    """A kernel that has less, played by a child that says so; and a Python that does not start."""
    for said, match in [
        ('print(\'{"cannot": "Landlock"}\')', "needs Landlock; use evaluate"),
        ("raise SystemExit(7)", r"could not start Python.*status 7"),
    ]:
        (tmp_path / "main.py").write_text(
            f"import os, sys\nsys.stdout = os.fdopen(int(sys.argv[1]), 'w')\n{said}\n"
        )
        monkeypatch.setattr(process, "CHILD", tmp_path)
        with pytest.raises(CannotConfine, match=match):
            run_python("1")
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(CannotConfine, match=r"sys\.executable"):
        run_python("1")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"code": 3}, "code must be a str"), ({"code": "x" * 1_000_001}, "1,000,001"),
        ({"code": "1", "seconds": 0}, "seconds"), ({"code": "1", "seconds": "5"}, "seconds"),
        ({"code": "1", "seconds": float("inf")}, "seconds"), ({"code": "1", "memory": 1}, "memory"),
        ({"code": "1", "memory": 1e9}, "memory"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_runs(wrong, match):
    with pytest.raises(ValueError, match=match):
        run_python(**wrong)


def test_only_data_is_read_back():
    assert process._json(b"[1]") == {}
    assert process._json(pickle.dumps({"value": 1, "error": None})) == {}
    assert process._json(b'{"value": ' + b"9" * 10_000 + b"}") == {}
    assert process._json(b"[" * 100_000) == {}
    began = time.process_time()
    process._json(b'{"value": ' + b"[" * 500_000 + b"]" * 499_000)
    assert time.process_time() - began < 5


@pytest.mark.skipif(
    os.mkdir not in os.supports_dir_fd, reason="needs folders by their number, as Linux has them"
)
def test_folders_of_any_depth_are_removed(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    name = "d" * 200
    for _ in range(40):  # no path of such a length can be named
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (folder / "closed").mkdir(0o000)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (folder / "link").symlink_to(kept)
    process._remove(str(folder))
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert os.listdir(kept) == ["file"]


def test_the_processor_is_one_of_two():
    assert seccomp.PROCESSORS.keys() == {"x86_64", "aarch64"}
    assert WHY_NOT or platform.machine() in seccomp.PROCESSORS
