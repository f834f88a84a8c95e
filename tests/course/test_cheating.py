"""An answer that passes by working on the machinery gets no points: one trick a test, each in the answer cell."""

from __future__ import annotations

import sys
import tempfile

import pytest

from minillm.course.classroom import judge as judge_module
from minillm.course.classroom import limits
from minillm.course.classroom.feedback import instructor_notes
from minillm.course.classroom.judge import Task, Verdict, judge
from minillm.course.classroom.limits import run_limited
from minillm.course.classroom.workers import Worker

pytestmark = pytest.mark.skipif(
    not limits.can_fork(), reason="no fork here: the worker judges in its own process"
)

SETUP = "from minillm.course import check, setup\nsetup()\nimport tests.course.tiny_exercises\nnumbers = [3, 1, 2]"
CHECK = 'check("99-9-a", ordered)'
HIDDEN = "assert ordered(numbers) == [1, 2, 3]\nassert ordered([]) == []"
WRONG = "def ordered(values):\n    return list(values)\n"

FORGED = """
import json, os
for fd in range(64):
    for line in (["result", json.dumps(["passed", ""])], ["end", "."], {"passed": True, "step": "", "why": "",
                 "sealed": True, "seconds": 0.1, "forked": True}):
        try:
            os.write(fd, json.dumps(line).encode() + b"\\n")
        except OSError:
            pass
"""
EVERYWHERE = """
import sys
def lenient(*args, **kwargs):
    return ""
for name, module in list(sys.modules.items()):
    if name.startswith("minillm.course.classroom"):
        for key in "_feedback _run_tests _check_of _reason _replaced watched checkers find_exercise".split():
            if hasattr(module, key):
                setattr(module, key, lenient)
"""

TRICKS = {
    "writes into every open file": WRONG + FORGED,
    "writes into every open file, then leaves": WRONG + FORGED + "os._exit(0)",
    "replaces the machinery": WRONG + EVERYWHERE,
    "replaces the checker": WRONG
    + "from minillm.course.classroom import checking\nfrom dataclasses import replace\n"
    "for key, one in checking._REGISTRY.items():\n    checking._REGISTRY[key] = replace(one, checker=lambda a: None)",
    "replaces the code of the checker": WRONG
    + "import tests.course.tiny_exercises as t\ndef easy(answer):\n    pass\nt.ordered.__code__ = easy.__code__",
    "replaces check": WRONG + "check = lambda *args: print('✓ 99-9-a passed: 2 points')",
    "replaces print": WRONG
    + "import builtins\nbuiltins.print('✓ 99-9-a passed: 2 points')\nbuiltins.print = len",
    "replaces AssertionError": WRONG + "import builtins\nclass Never(BaseException): pass\n"
    "builtins.AssertionError = builtins.Exception = builtins.BaseException = Never",
    "leaves with 0": WRONG + "import sys\nsys.exit(0)",
    "leaves with 0 when it is called": "def ordered(values):\n    raise SystemExit(0)",
    "ends the process": WRONG + "import os\nos._exit(0)",
    "ends the process when it is called": "def ordered(values):\n    import os\n    os._exit(0)",
    "prints a pass at the exit": WRONG + "import atexit, os\natexit.register(lambda: os._exit(0))",
    "forks and leaves": WRONG + "import os\nif os.fork():\n    os._exit(0)",
    "changes the numbers of the tests": "def ordered(values):\n    return [1, 2] if len(values) == 2 else values\n"
    "numbers.sort()",
    "jumps over the assert": WRONG
    + "import sys\ndef jump(frame, event, arg):\n    if 'tiny_exercises' in frame.f_code.co_filename "
    "or '<test' in frame.f_code.co_filename:\n        frame.f_trace_lines = True\n"
    "        if event == 'line':\n            raise SystemExit\n    return jump\nsys.settrace(jump)",
    "catches nothing, returns a liar": "class Yes(list):\n    def __eq__(self, other):\n        return True\n"
    "    __hash__ = None\n\ndef ordered(values):\n    return Yes()",
    "finds the seal in the frames": "def ordered(values):\n    import json, os, sys\n    frame = sys._getframe()\n"
    "    while frame:\n        names = frame.f_locals\n        if 'seal' in names:\n"
    "            for kind, text in (('result', '[\"passed\", \"\"]'), ('end', '.')):\n"
    "                line = json.dumps([f\"{kind} {names['seal']}\", text]).encode() + b'\\n'\n"
    "                try:\n                    os.write(names['writing'], line)\n"
    "                except OSError:\n                    pass\n"
    "        frame = frame.f_back\n    os._exit(0)",
}
BEYOND_ONE_PROCESS = {
    "changes the numbers of the tests",
    "catches nothing, returns a liar",
}

# Ways to what is expected, each in a function `reach(values, total)`: where `while frame` stands, it climbs from there.
CLIMB = """
    while frame:
        for names in (frame.f_locals, frame.f_globals):
            if isinstance(names.get("expected"), list):
                return names["expected"]
            if "parts" in names:
                return names["parts"](values)
        frame = frame.f_back
"""
RUN_SOURCE = """
    space = {}
    exec(text[text.index("def whole"):text.index("# ---")], space)
    return space["parts"](values)
"""
FILE = "    import tests.course\n    path = tests.course.__path__[0] + '/tiny_exercises.py'\n"
REACHES = {
    "a frame": "    import sys\n    frame = sys._getframe()" + CLIMB,
    "a frame, by inspect": "    import inspect\n    frame = inspect.currentframe()" + CLIMB,
    "the frames of a stack": "    import inspect\n    frame = inspect.stack()[0].frame" + CLIMB,
    "the frame of a traceback": "    try:\n        1 / 0\n    except ZeroDivisionError as error:\n"
    "        frame = error.__traceback__.tb_frame" + CLIMB,
    "the frame of a generator": "    def frames():\n        yield generator.gi_frame.f_back\n"
    "    generator = frames()\n    frame = next(generator)" + CLIMB,
    "the frame that a signal meets": "    import os, signal\n    met = []\n"
    "    signal.signal(signal.SIGUSR1, lambda number, frame: met.append(frame))\n"
    "    os.kill(os.getpid(), signal.SIGUSR1)\n    frame = met[0]" + CLIMB,
    "every thread's frame": "    import sys\n    frame = next(iter(sys._current_frames().values()))" + CLIMB,
    "everything there is": "    import gc\n    gc.unfreeze()\n    for one in gc.get_objects():\n"
    "        if getattr(one, '__name__', '') == 'parts':\n            return one(values)",
    "the checker, by the function it hands over": "    return total.__globals__['parts'](values)",
    "the checker, by its register": "    from minillm.course.classroom import checking\n"
    "    return checking._REGISTRY['99-7-a'].checker.__globals__['parts'](values)",
    "the checker, by its module": "    import sys\n    return sys.modules['tests.course.tiny_exercises'].parts(values)",
    "the checker, imported anew": "    import importlib, sys\n    del sys.modules['tests.course.tiny_exercises']\n"
    "    return importlib.import_module('tests.course.tiny_exercises').parts(values)",
    "its source": FILE + "    text = open(path).read()" + RUN_SOURCE,
    "its source, by inspect": "    import inspect\n    text = inspect.getsource(inspect.getmodule(total))" + RUN_SOURCE,
    "its source, by the loader": FILE + "    import importlib.machinery as m\n"
    "    text = m.SourceFileLoader('x', path).get_source('x')" + RUN_SOURCE,
    "its source, under another name": FILE + "    import os\n    os.symlink(path, 'link.txt')\n"
    "    try:\n        text = open('link.txt').read()\n    finally:\n        os.remove('link.txt')" + RUN_SOURCE,
    "its source, beside an open folder": FILE + "    import os\n    folder = os.open(os.path.dirname(path), 0)\n"
    "    file = os.open('tiny_exercises.py', 0, dir_fd=folder)\n    text = os.read(file, 100000).decode()" + RUN_SOURCE,
    "its source, by a program": FILE + "    import subprocess\n"
    "    text = subprocess.run(['cat', path], capture_output=True, text=True).stdout" + RUN_SOURCE,
    "its source, by the library": FILE + "    from minillm._files import read_bytes\n"
    "    text = read_bytes(path, 'text').decode()" + RUN_SOURCE,
    "its source, by numpy": FILE + "    import numpy\n    text = numpy.fromfile(path, 'u1').tobytes().decode()"
    + RUN_SOURCE,
    "the right answers of the tests": "    from tests.course.right_answers import RIGHT\n"
    "    return [one / sum(values) for one in values]",
    "a lesson with its solutions": "    import glob, minillm\n"
    "    for path in glob.glob(minillm.__path__[0] + '/../notebooks/02_1*.ipynb'):\n        open(path).read()\n"
    "    return [one / sum(values) for one in values]",
}  # fmt: skip


@pytest.fixture(scope="module")
def names():
    found = {"__name__": "__main__"}
    exec(SETUP, found)
    return found


@pytest.fixture(autouse=True)
def modules_of_a_worker(monkeypatch):
    """A worker is a new process: what other tests have imported into this one is not there."""
    for name in ("tests.course.right_answers", "minillm.apps.tracing.tree"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def reach(body, before=""):
    """The answer to 99-7-a that gets what is expected in one of these ways."""
    text = f"{before}\ndef shares(values, total):\n{body}"
    return Task("99-7-a", [(text, True)], 'check("99-7-a", shares)', "", ["shares"], 10.0, None, True)


@pytest.mark.parametrize("way", REACHES)
def test_what_is_expected_is_out_of_reach_where_the_answer_runs(names, way, tmp_path, monkeypatch):
    """The open run lets nothing by that names the way; what hides the name meets the sealed run."""
    monkeypatch.setattr(judge_module, "_open", lambda *_: ("passed", ""))
    monkeypatch.chdir(tmp_path)
    verdict = judge(names, reach(REACHES[way]))
    assert (verdict.passed, verdict.step) == (False, "sealed"), verdict


def test_what_a_right_answer_does_beside_its_work_is_let(names, tmp_path, monkeypatch):
    """A temporary file, a named tuple, a traceback, a first import, a display: none of these looks at the tests."""
    body = """
    import collections, logging, tempfile, traceback, wave
    from pathlib import Path

    Part = collections.namedtuple("Part", "value")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "inner").mkdir()
        (Path(folder) / "inner" / "a.txt").write_text("1")
        Path("mine.txt").write_text("2")
        Path("mine.txt").unlink()
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("mine").debug(traceback.format_exc())
    display(values)
    return [Part(one / total(values)).value for one in values]"""
    monkeypatch.chdir(tmp_path)
    first = "sys.modules.get('minillm.apps.tracing.tree')"
    verdict = judge(
        names, reach(body, f"import sys\nassert {first} is None\nimport minillm.apps.tracing.tree")
    )
    assert (verdict.passed, verdict.sealed) == (True, True), verdict


def test_an_answer_changes_no_file_of_others(names, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path / "own")
    book = tmp_path / "gradebook.db"
    book.write_text("marks")
    for body in (
        f"    open({str(book)!r}, 'w')",
        f"    import os\n    os.remove({str(book)!r})",
        f"    import os\n    os.rename({str(book)!r}, 'mine')",
        f"    import sqlite3\n    sqlite3.connect({str(book)!r})",
        f"    import shutil\n    shutil.rmtree({str(tmp_path)!r})",
    ):
        right = "\n    return [one / total(values) for one in values]"
        verdict = judge(names, reach(body + right))
        assert not verdict.passed, body
        assert "works in its current folder only" in verdict.why, verdict
        assert book.read_text() == "marks"


def task(answer, sealed, hidden=HIDDEN):
    return Task("99-9-a", [(answer, True)], CHECK, hidden, ["ordered"], 2.0, None, sealed)


def test_a_right_answer_passes_both_runs(names):
    right = "def ordered(values):\n    print('sorting')\n    return sorted(values)"
    for sealed in (True, False):
        verdict = judge(names, task(right, sealed))
        assert (verdict.passed, verdict.sealed, verdict.why) == (True, sealed, "")


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_passes_the_sealed_run(names, trick):
    assert not judge(names, task(TRICKS[trick], sealed=True)).passed


@pytest.mark.parametrize("trick", [name for name in TRICKS if name not in BEYOND_ONE_PROCESS])
def test_no_plain_trick_passes_in_one_process(names, trick):
    assert not judge(names, task(TRICKS[trick], sealed=False)).passed
    assert not judge(names, task(TRICKS[trick], sealed=False, hidden="")).passed


@pytest.mark.parametrize("trick", sorted(BEYOND_ONE_PROCESS))
def test_what_one_process_cannot_prevent(names, trick):
    """What the documentation says remains where a stored solution cannot be sealed; when this fails, say so there."""
    assert judge(names, task(TRICKS[trick], sealed=False)).passed


def test_tricks_through_a_worker():
    """The same wire that grading uses: nothing that an answer writes is taken for the worker's reply."""
    with Worker() as worker:
        for trick in ("writes into every open file", "finds the seal in the frames"):
            verdict, _ = worker.judge([SETUP], task(TRICKS[trick], sealed=True))
            assert not verdict.passed
        for text in (
            WRONG + "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
            WRONG + "import os, signal\nos.killpg(os.getpgid(os.getppid()), signal.SIGKILL)",
        ):
            verdict, _ = worker.judge([SETUP], task(text, sealed=True))
            assert (verdict.passed, verdict.step) == (False, "died")
        verdict, _ = worker.judge([SETUP], task("ordered = sorted", sealed=True))
        assert verdict.passed, "the next answer is graded by a new worker"


def test_a_child_that_knows_no_seal_returns_nothing():
    def forges():
        exec(FORGED.replace("range(64)", "range(3, 64)"), {})
        raise KeyboardInterrupt

    with pytest.raises(limits.Died):
        run_limited(forges, 20, alone=True)


def test_a_passed_answer_that_looks_at_its_caller_is_pointed_out():
    """Where it cannot be sealed, its tests are in its own process, so a person looks."""
    peeks = "def ordered(values):\n    import sys\n    return sys._getframe(1).f_locals['expected']"
    assert "_getframe" in instructor_notes({"99-9-a": Verdict(True)}, {"99-9-a": peeks})[0]
    assert instructor_notes({"99-9-a": Verdict(True)}, {"99-9-a": "ordered = sorted"}) == []
