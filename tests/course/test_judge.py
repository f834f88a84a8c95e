"""The judge on real lessons: stored solutions pass sealed, right answers pass, plausible wrong ones do not."""

from __future__ import annotations

import pytest

from minillm.course.classroom.handed_out import find_handed_out, names_bound
from minillm.course.classroom.judge import Task, judge
from minillm.course.classroom.limits import can_fork
from minillm.course.classroom.workers import Worker
from minillm.course.lessons.ids import lesson_of_file
from tests.course.lessons import LESSONS, wrong_answers
from tests.course.right_answers import RIGHT
from tests.helpers import ROOT, soak_count

# What cannot be sealed: an answer that is a class, that moves the weights of a model or whose use of one is watched,
# whose kernels' launches are counted, or that is handed functions
OPEN = {
    "03-4-b", "05-2-b", "05-3-a", "05-3-d", "06-3-a", "07-1-b", "07-1-d", "08-1b-a", "08-2b-a", "08-3-b", "11-3-c",
    "13-3b-b", "16-3-a",
}  # fmt: skip
QUICK = next(path for path in LESSONS if path.name.startswith("02_1_"))


def handed_out(path, folder):
    lesson = lesson_of_file(path.name)
    (folder / "source" / lesson).mkdir(parents=True)
    (folder / "source" / lesson / path.name).write_bytes(path.read_bytes())
    return find_handed_out(folder)[lesson]


@pytest.mark.parametrize(
    ("path", "most"),
    [(QUICK, 1), *(pytest.param(path, None, marks=pytest.mark.soak) for path in LESSONS)],
    ids=lambda value: getattr(value, "stem", str(value)),
)
@pytest.mark.timeout(900)
def test_a_lesson_is_judged_as_its_own_check_judges(path, most, tmp_path):
    """`most`: that many right and wrong answers of an exercise, None for all."""
    if most is None and soak_count(100) < 100:
        pytest.skip("a lesson takes a minute: only in `make soak`")
    lesson = handed_out(path, tmp_path)
    wrong = wrong_answers(lesson.id)
    with Worker() as worker:

        def verdict(one, text, sealed):
            cells = [(text, True)]
            task = Task(one.id, cells, one.check, one.hidden, one.provided, 60.0, 2 * 2**30, sealed)
            return worker.judge(lesson.setup, task)[0]

        for one in lesson.exercises:
            sealed = can_fork() and one.id not in OPEN
            found = verdict(one, one.solution, sealed)
            assert (found.passed, found.sealed, found.why) == (True, sealed, ""), one.id
            if can_fork() and not sealed:
                assert not verdict(one, one.solution, True).passed, (
                    f"{one.id} can be sealed: take it off the list"
                )
            for way, text in list(RIGHT.get(one.id, {}).items())[:most]:
                assert verdict(one, text, sealed).passed, f"{one.id}, {way}: {verdict(one, text, sealed)}"
            assert not verdict(one, one.stub, sealed).passed
            for mistake, text in list(wrong[one.id].items())[:most]:
                found = verdict(one, text, sealed)
                assert not found.passed, f"{one.id}: {mistake}"
                assert found.step in ("answer", "check", "hidden"), f"{one.id}, {mistake}: {found}"


def test_readme_says_how_many_are_sealed():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(RIGHT) >= OPEN  # every exercise has right answers: test_exercises.py
    assert f"for {len(RIGHT) - len(OPEN)} of the {len(RIGHT)} exercises" in text


def test_names_bound():
    text = "import math\na = b = 1\nc, (d, e) = x\ndef f():\n    inner = 1\nclass G:\n    field = 1\n"
    assert names_bound(text + "for i in range(3):\n    j = i\nn += 1\nobject.attribute = 2\n") == [
        *"abcde", "f", "G", "i", "j", "n",
    ]  # fmt: skip


SETUP = "from minillm.course import check\nimport tests.course.tiny_exercises\nnumbers = [3, 1, 2]"


def names():
    found = {"__name__": "__main__"}
    exec(SETUP, found)
    return found


def say(answer, check='check("99-9-a", ordered)', hidden="", provided=("ordered",), sealed=False):
    return judge(names(), Task("99-9-a", [(answer, True)], check, hidden, list(provided), 10.0, None, sealed))


def test_the_reason_helps_the_student_and_gives_no_hidden_test_away():
    assert say("def ordered(values):\n    return (").why.startswith("syntax error in line 2")
    assert "line 2 of the answer" in say("def ordered(values):\n    return values.upper()").why
    lacks = say("def ordered(values):\n    return np.sort(values)")
    assert "NameError: name 'np' is not defined" in lacks.why
    assert "of the lesson's cells only the set-up is run" in lacks.why
    assert say("sorting = sorted").why == "the answer cell does not define ordered"
    assert say("ordered = list").why == "the values should come back in order"
    secret = "assert ordered([7, 5]) == [5, 7], 'seven and five'"
    fitted = say("def ordered(values):\n    return [1, 2]", hidden=secret)
    assert (fitted.step, fitted.why) == ("hidden", "the answer differs on another input")
    crashes = say("def ordered(values):\n    return [1, {2: 2}[min(values) * 2]]", hidden=secret)
    assert (crashes.step, crashes.why) == (
        "hidden",
        "the answer stopped with KeyError (line 2 of the answer) on another input",
    )


@pytest.mark.skipif(not can_fork(), reason="sealed runs need a fork")
def test_a_sealed_answer_may_change_its_arguments_raise_and_be_a_value():
    test = "values = [2, 1]\nassert ordered(values) is None\nassert values == [1, 2]"
    assert say("def ordered(values):\n    values.sort()", test, sealed=True).passed
    test = (
        "try:\n    ordered(3)\nexcept ValueError as error:\n    found = str(error)\nassert found == 'no list'"
    )
    raises = "def ordered(values):\n    raise ValueError('no list')"
    assert say(raises, test, sealed=True).passed
    assert say("ordered = {'a': (1, 2.5, None)}", "assert ordered['a'][1] == 2.5", sealed=True).passed
    assert not say("ordered = {'a': (1, 2.5, None)}", "assert ordered['a'][1] == 2", sealed=True).passed


def test_a_cell_is_run_as_in_a_notebook():
    """Type hints are values and not texts, `display` and `check` are there, and magics do nothing."""
    text = "from functools import singledispatch\n%matplotlib inline\n@singledispatch\ndef ordered(values):\n    ...\n"
    text += "@ordered.register\ndef _(values: list):\n    return sorted(values)\n"
    text += "assert _.__annotations__ == {'values': list}\ndisplay(ordered([2, 1]))\ncheck('99-9-a', ordered)\nordered?"
    for sealed in (False, True):
        assert say(text, sealed=sealed).passed, say(text, sealed=sealed)


@pytest.mark.skipif(not can_fork(), reason="sealed runs need a fork")
def test_what_only_passes_in_its_own_process_gets_no_points():
    counts = "calls = []\ndef ordered(values):\n    calls.append(1)\n    return len(calls)"
    found = say(counts, "assert ordered(0) == 1\nassert ordered(0) == 2", sealed=True)
    assert (found.passed, found.step) == (False, "sealed")
    keeps = "class Kept(list):\n    pass\nclass Odd:\n    pass\ndef ordered(values):\n    return Odd()"
    found = say(keeps, "assert ordered(0)", sealed=True)
    assert (found.passed, found.step) == (False, "sealed")
    assert "the answer gave a Odd" in found.why


@pytest.mark.skipif(not can_fork(), reason="no memory limit without a fork")
def test_an_answer_that_takes_all_memory_gets_an_error():
    greedy = "def ordered(values):\n    return bytearray(2**33)"
    task = Task("99-9-a", [(greedy, True)], 'check("99-9-a", ordered)', "", ["ordered"], 30.0, 2**30, False)
    assert "MemoryError" in judge(names(), task).why
