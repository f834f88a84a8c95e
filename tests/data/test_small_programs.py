"""Tasks with a true score: prompts, parts that share no function, right writers, a judge whose ceiling is known."""

import ast
import itertools
import random
import time

import pytest

from minillm.data import (
    STYLES,
    ProgramTask,
    Style,
    label_ceiling,
    preference_pairs,
    program_rows,
    program_texts,
    prove_held_out,
    run_answer,
    shared_shapes,
    small_tasks,
    write_program,
    written_pairs,
)
from minillm.data.program_styles import preference, random_style
from minillm.data.small_programs import (
    INPUTS,
    NUMBERS,
    OPERATIONS,
    OWN,
    PROBES,
    inputs_of,
    korean_step,
    part_of,
)
from minillm.evaluation import paired, readability
from tests.helpers import soak_count

# written by hand
PROMPTS = [
    ((("add", 3),), "en", 0, "Write a function of x: add 3."),
    ((("quotient", 4), ("smaller", 9)), "en", 1,
     "Take x, divide by 4 and round down, then take the smaller of it and 9. Write it as a Python function."),
    ((("add", 3), ("multiply", 4)), "ko", 0, "x에 3을 더한 뒤 4를 곱한 값을 반환하는 함수를 작성하세요."),
    ((("subtract", 2), ("remainder", 7), ("larger", 5)), "ko", 1,
     "x에서 2를 빼고 7로 나눈 나머지를 구한 뒤 그 값과 5 중 더 큰 값을 돌려주는 함수를 만들어 주세요."),
    ((("distance", 9), ("quotient", 3)), "ko", 2, "x와 9의 차이를 구한 뒤 3으로 나눈 몫을 구하는 파이썬 함수를 써 줘."),
    ((("quotient", 6), ("distance", 4)), "ko", 0,
     "x를 6으로 나눈 몫을 구한 뒤 그 값과 4의 차이를 반환하는 함수를 작성하세요."),
    ((("remainder", 8),), "ko", 0, "x를 8로 나눈 나머지를 반환하는 함수를 작성하세요."),
    ((("smaller", 2),), "ko", 1, "x와 2 중 더 작은 값을 돌려주는 함수를 만들어 주세요."),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "language", "form", "prompt"), PROMPTS)
def test_prompts_are_what_people_say(steps, language, form, prompt):
    assert ProgramTask(steps, language, form).prompt == prompt


def test_korean_comments():
    steps = [("add", 3), ("quotient", 7), ("larger", 2), ("distance", 6)]
    assert [korean_step(one) for one in steps] == [
        "3을 더하기", "7로 나눈 몫 구하기", "2와 비교해 더 큰 값 고르기", "6과의 차이 구하기",
    ]  # fmt: skip


def values(code, inputs):
    """What CPython makes of a program."""
    names = {}
    exec(code, names)
    (function,) = [value for name, value in names.items() if name != "__builtins__"]
    return [function(x) for x in inputs]


@pytest.mark.parametrize("style", STYLES)
def test_every_writer_is_right_by_python_itself(style):
    for task in small_tasks(soak_count(1200), seed=3):
        code = write_program(task, style)
        assert values(code, PROBES) == [task(x) for x in PROBES], code
        assert run_answer(task, code).passed
        if STYLES[style].comments:
            assert code.count("#") == len(task.steps)


def test_random_writers_are_right_and_differ():
    rng = random.Random(0)
    (task,) = small_tasks(1, lengths=(3,), seed=1)
    programs = {write_program(task, random_style(rng)) for _ in range(200)}
    assert len(programs) > 40
    for code in programs:
        assert values(code, INPUTS) == [task(x) for x in INPUTS]


def test_parts_share_no_function_and_the_shapes_they_share_are_counted():
    train, validation, test = (small_tasks(n, part, seed) for n, part, seed in
                               ((600, "train", 0), (100, "validation", 1), (150, "test", 2)))  # fmt: skip
    for one, other in itertools.combinations((train, validation, test), 2):
        of = [{tuple(task(x) for x in PROBES) for task in tasks} for tasks in (one, other)]
        assert not of[0] & of[1]
    held = prove_held_out([task.prompt for task in test], [task.prompt for task in train], what="prompt")
    assert held.items == 150
    share = shared_shapes(test, train)
    assert share == sum(task.shape in {one.shape for one in train} for task in test) / 150
    assert 0.5 < share < 1.0  # most shapes are met in training, with other numbers: said where it is used


def test_a_part_has_its_tenth_and_every_step_matters():
    steps = [((a, n), (b, m)) for a in OPERATIONS for n in NUMBERS for b in OPERATIONS for m in NUMBERS]
    parts = [part_of(one) for one in steps]
    kept = [part for part in parts if part is not None]
    assert 0.06 < kept.count("test") / len(kept) < 0.14
    assert 0.06 < kept.count("validation") / len(kept) < 0.14
    assert part_of((("larger", 3), ("larger", 2))) is None  # the second changes nothing
    assert part_of((("remainder", 2), ("larger", 5))) is None  # always 5
    assert part_of((("add", 2), ("add", 3))) == part_of((("add", 3), ("add", 2)))


def test_the_same_seed_gives_the_same_tasks_and_a_longer_list_begins_with_the_shorter():
    assert small_tasks(50, "train", 7) == small_tasks(80, "train", 7)[:50]
    assert small_tasks(50, "train", 7) != small_tasks(50, "train", 8)
    assert len(set(small_tasks(300, seed=4))) == 300
    assert {task.language for task in small_tasks(20, languages=("ko",))} == {"ko"}
    assert {len(task.steps) for task in small_tasks(40, lengths=(1, 3))} == {1, 3}


def test_six_inputs_tell_most_functions_apart():
    """The numbers that the module's docstring states, on all functions of two steps."""
    steps = list(itertools.product(OPERATIONS.values(), NUMBERS))
    functions, seen = set(), set()
    for (first, n), (second, m) in itertools.product(steps, repeat=2):
        functions.add(tuple(second(first(x, n), m) for x in PROBES))
        seen.add(tuple(second(first(x, n), m) for x in INPUTS))
    assert (len(seen), len(functions)) == (2792, 2920)


TASK = ProgramTask((("add", 3), ("multiply", 4)))
PAIR = [{"chosen": "a", "rejected": "b"}]
WRONG = {
    "def f(x):\n    return x + 3 * 4": "expected",
    "def f(x):\n    return (x + 3) * 4 if x < 88 else 0": "f(88) is 0, expected 364",
    "def f(x):\n    return (x + 3) * 4.0": "expected",
    "def f(x):\n    return str((x + 3) * 4)": "expected",
    "def f(x):\n    return [(x + 3) * 4]": "expected",
    "def f(x):\n    pass": "f(-25) is None, expected -88",
    "def f(x):\n    return x / 0": "ZeroDivisionError",
    "def f(x):\n    return y": "NameError",
    "def f(x):\n    return f(x)": "too deep",
    "def f(x):\n    while True:\n        pass": "steps",
    "def f(x):\n    return 10 ** 10 ** 10 + x": "bits",
    "def f(x):\n    return 'a' * 10 ** 10": "a text or list",
    "def f(x, y):\n    return (x + 3) * 4": "one function of one argument",
    "def f():\n    return 4": "one function of one argument",
    "x = 3": "one function of one argument",
    "def f(x):\n    return 1\ndef g(x):\n    return (x + 3) * 4": "one function",
    "import os\ndef f(x):\n    return (x + 3) * 4": "Import",
    "def f(x):\n    import os\n    return (x + 3) * 4": "Import",
    "class A:\n    pass": "ClassDef",
    "def f(x): return (x + 3": "no Python",
    "": "one function",
    "lambda x: (x + 3) * 4": "one function",
    "Here is your function:\n\ndef f(x):\n    return (x + 3) * 4": "no Python",
}


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_answer_fails_and_says_why(code):
    outcome = run_answer(TASK, code)
    assert not outcome.passed
    assert outcome.right < len(inputs_of(TASK))
    assert WRONG[code] in outcome.why


def test_a_right_answer_passes_however_it_is_written():
    for code in (
        "def f(x):\n    return (x + 3) * 4",
        "def solve(y: int) -> int:\n    '''doc'''\n    for _ in range(3):\n        y += 1\n    return y * 4",
        "def 함수(값):\n    return 4 * 값 + 12",
        "def f(x):\n    def g(y):\n        return y + 3\n    return g(x) * 4",
        "def f(x):\n    return sum([x + 3] * 4)",
    ):
        assert run_answer(TASK, code).passed, code
        assert run_answer(TASK, code).right == len(inputs_of(TASK)) == len(INPUTS) + OWN


def test_a_table_of_the_values_on_the_six_inputs_does_not_pass():
    """It is right on all that is known of the scoring, whatever the task."""
    for task in small_tasks(soak_count(600), seed=11):
        table = {x: task(x) for x in INPUTS}
        assert not run_answer(task, f"def f(x):\n    return {table}[x]").passed
        outcome = run_answer(task, f"def f(x):\n    return {table}.get(x, x)")
        assert outcome.passed == all(task(x) == x for x in inputs_of(task)[len(INPUTS) :])
        assert not set(inputs_of(task)[len(INPUTS) :]) & set(INPUTS)
        assert inputs_of(task) == inputs_of(ProgramTask(task.steps, "ko", 1))


def test_a_wrong_function_one_step_away_rarely_passes():
    """The share that the module's docstring states: another step, a step less, two in another order."""
    wrong = lucky = 0
    for task in small_tasks(40, "train", seed=9):
        steps, inputs = task.steps, inputs_of(task)
        near = [steps[:p] + steps[p + 1 :] for p in range(len(steps)) if len(steps) > 1]
        near += [
            (*steps[:p], (one, n), *steps[p + 1 :])
            for p in range(len(steps))
            for one in OPERATIONS
            for n in NUMBERS
        ]
        for other in map(ProgramTask, {*near, steps[::-1]}):
            if any(other(x) != task(x) for x in PROBES):
                wrong += 1
                lucky += all(other(x) == task(x) for x in inputs)
    assert wrong > 4000
    assert lucky / wrong < 0.01


def test_a_task_keeps_its_steps():
    steps = [("add", 3)]
    task = ProgramTask(steps)
    steps[0] = ("add", 4)
    assert (task(1), hash(task)) == (4, hash(ProgramTask((("add", 3),))))


def test_2000_programs_are_scored_in_two_seconds():
    tasks = small_tasks(2000, "train")
    rng = random.Random(0)
    programs = [write_program(task, random_style(rng)) for task in tasks]
    began = time.process_time()
    passed = sum(run_answer(task, code).passed for task, code in zip(tasks, programs))
    assert passed == 2000
    assert (
        time.process_time() - began < 6
    )  # 0.6 s of one core of an AMD EPYC; another processor may be slower


def test_rows_and_texts():
    rows = program_rows(small_tasks(100, "train"), seed=1)
    assert all([one["role"] for one in row["messages"]] == ["user", "assistant"] for row in rows)
    assert rows == program_rows(small_tasks(100, "train"), seed=1)
    texts = program_texts(400, seed=2)
    sheets = [text for text in texts if text.startswith("1. ")]
    assert 0.08 < len(sheets) / len(texts) < 0.22
    for text in set(texts) - set(sheets):
        ast.parse(text)
        assert text.startswith("# ")


def test_the_ceiling_is_how_often_one_who_knows_agrees():
    """By simulation: the judge's own draws on many pairs, against the formula of Bradley and Terry."""
    pairs = written_pairs(small_tasks(soak_count(8000), "train", 5), seed=5)
    rows = preference_pairs(pairs, readability, seed=6)
    assert {(row["chosen"], row["rejected"]) for row in rows} <= {
        pair for _, a, b in pairs for pair in ((a, b), (b, a))
    }
    agreed, ceiling = [], label_ceiling(rows, readability)
    for row in rows:
        difference = readability(row["chosen"]) - readability(row["rejected"])
        agreed.append(0.5 if difference == 0 else float(difference > 0))
    assert ceiling == pytest.approx(0.906, abs=0.02)
    low, high = paired(agreed, [ceiling] * len(agreed)).interval
    assert low <= 0.01
    assert high >= -0.01
    assert preference(0.5, 0.5) == 0.5
    assert preference(1.0, 0.0, 0.5) == pytest.approx(0.880797, abs=1e-6)  # sigmoid(2)
    assert preference(0.0, 1.0, 1e-6) == 0.0


def test_a_judge_without_noise_always_prefers_the_better():
    rows = preference_pairs(written_pairs(small_tasks(200, "train")), readability, noise=1e-9)
    assert all(readability(row["chosen"]) >= readability(row["rejected"]) for row in rows)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: small_tasks(-1), "n must be at least 0"), (lambda: small_tasks(1, "dev"), "part must be one of"),
        (lambda: small_tasks(1, languages="ko"), "languages must be a list"),
        (lambda: small_tasks(1, languages=["de"]), "each of languages must be one of 'en', 'ko', got 'de'"),
        (lambda: small_tasks(1, lengths=[4]), "each of lengths must be one of 1, 2, 3, got 4"),
        (lambda: small_tasks(1, lengths=[]), "lengths must be a list"),
        (lambda: small_tasks(500, "test", lengths=[1]), "n must be at most 384 for these"),
        (lambda: small_tasks(10**12), "n must be at most"),
        (lambda: small_tasks(200, "test", lengths=[1]), "at most about"),
        (lambda: ProgramTask((("add", 2.0),)), "2 to 9"), (lambda: ProgramTask((([], 2),)), "2 to 9"),
        (lambda: ProgramTask((("add", 1),)), "2 to 9"), (lambda: ProgramTask((("divide", 3),)), "steps must be"),
        (lambda: ProgramTask(()), "the number of steps"), (lambda: ProgramTask((("add", 3),), "de"), "language"),
        (lambda: ProgramTask((("add", 3),), form=9), "form"), (lambda: run_answer(TASK, None), "code must be a str"),
        (lambda: write_program(TASK, "fancy"), "style must be one of 'clear'"),
        (lambda: write_program(TASK, 3), "style must be a Style or one of"),
        (lambda: write_program(TASK, Style(indent=0)), "indent"),
        (lambda: shared_shapes([], [TASK]), "at least one task"),
        (lambda: program_rows([TASK], styles=[]), "at least one style"),
        (lambda: label_ceiling([], readability), "at least one pair"),
        (lambda: label_ceiling([{}], readability), "row 1 must have chosen and rejected"),
        (lambda: label_ceiling(PAIR, None), "score must be a function"),
        (lambda: label_ceiling(PAIR, lambda text: float("nan")), "a score must be a finite number"),
        (lambda: run_answer("add 3", "def f(x): return x"), "task must be a ProgramTask"),
        (lambda: shared_shapes([1], [2]), "task must be a ProgramTask"),
        (lambda: shared_shapes(None, []), "task must be a ProgramTask"),
        (lambda: preference_pairs([("a", 3, "b")], readability), "an answer must be a str"),
        (lambda: preference(0, 1, 0), "noise"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
