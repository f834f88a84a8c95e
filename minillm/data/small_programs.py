"""A task with a true score: an instruction, in English or Korean, asks for a Python function of one to three steps.

    "Write a function of x: add 3, then multiply by 4."        x에 3을 더한 뒤 4를 곱한 값을 반환하는 함수를 작성하세요.
    def solve(x):
        result = x + 3
        return result * 4

Eight operations, numbers 2 to 9. Whether an answer is right is found out by running it, in the interpreter of
minillm.sandbox, on eight inputs; nobody's opinion is asked. What it looks like is another question (program_styles.py).

Held out by construction: which part a task belongs to depends on the values of its function alone. So no function of
"test" stands in "train", in whatever words or steps, whatever the seeds are. What may stand there is its shape, the
same operations with other numbers: `shared_shapes` says how often. Every step matters: without it the values differ.

Six inputs are the same for all tasks and do not tell all functions apart: 2,920 functions of two steps have 2,792
different rows of values. Two more are each task's own, so that a table of six values does not pass. A wrong function,
one step away from the right one, still passes by luck, 4 of 1,000 times.
Book: 4.1 코딩 테스트 통과하기. Left out: loops, lists, more than one argument.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from minillm._checks import check_choice, check_int, check_text, describe, is_listing
from minillm.data.particles import with_particle
from minillm.sandbox import Interpreter, Limits, SandboxError

PARTS = ("all", "train", "validation", "test")
LANGUAGES = ("en", "ko")
NUMBERS = range(2, 10)
LENGTHS = {1: 0.1, 2: 0.4, 3: 0.5}  # steps: how often
INPUTS = (-25, -6, 6, 8, 37, 88)  # an answer is run on these; chosen so that they tell most functions apart
OWN = 2  # further inputs of each task
PROBES = range(-30, 91)  # two functions that agree on these count as one
SCORING = Limits(steps=2_700, cells=20_000, length=1_000, bits=256, depth=60)
MOST_TRIES = 20_000

# operation: the function
OPERATIONS = {
    "add": lambda x, n: x + n,
    "subtract": lambda x, n: x - n,
    "multiply": lambda x, n: x * n,
    "quotient": lambda x, n: x // n,
    "remainder": lambda x, n: x % n,
    "larger": lambda x, n: max(x, n),
    "smaller": lambda x, n: min(x, n),
    "distance": lambda x, n: abs(x - n),
}
_ENGLISH = {
    "add": "add {n}", "subtract": "subtract {n}", "multiply": "multiply by {n}",
    "quotient": "divide by {n} and round down", "remainder": "take the remainder of dividing by {n}",
    "larger": "take the larger of it and {n}", "smaller": "take the smaller of it and {n}",
    "distance": "take the distance to {n}",
}  # fmt: skip
_ENGLISH_FORMS = (
    "Write a function of x: {steps}.",
    "Take x, {steps}. Write it as a Python function.",
    "I need a function. It gets x. Then: {steps}.",
)
# operation: (what x is called before it, the words on the number, in the middle, before the last step, as the last one)
_KOREAN = {
    "add": ("에", "을/를", "더하고", "더한 뒤", "더한 값"),
    "subtract": ("에서", "을/를", "빼고", "뺀 뒤", "뺀 값"),
    "multiply": ("에", "을/를", "곱하고", "곱한 뒤", "곱한 값"),
    "quotient": ("을/를", "으로/로", "나눈 몫을 구하고", "나눈 몫을 구한 뒤", "나눈 몫"),
    "remainder": ("을/를", "으로/로", "나눈 나머지를 구하고", "나눈 나머지를 구한 뒤", "나눈 나머지"),
    "larger": ("과/와", "", "중 더 큰 값을 고르고", "중 더 큰 값을 고른 뒤", "중 더 큰 값"),
    "smaller": ("과/와", "", "중 더 작은 값을 고르고", "중 더 작은 값을 고른 뒤", "중 더 작은 값"),
    "distance": ("과/와", "의", "차이를 구하고", "차이를 구한 뒤", "차이"),
}
_KOREAN_COMMENTS = {
    "add": ("을/를", " 더하기"), "subtract": ("을/를", " 빼기"), "multiply": ("을/를", " 곱하기"),
    "quotient": ("으로/로", " 나눈 몫 구하기"), "remainder": ("으로/로", " 나눈 나머지 구하기"),
    "larger": ("과/와", " 비교해 더 큰 값 고르기"), "smaller": ("과/와", " 비교해 더 작은 값 고르기"),
    "distance": ("과/와", "의 차이 구하기"),
}  # fmt: skip
_COMPARES = ("larger", "smaller", "distance")  # these say what is compared: x, or the value so far
_KOREAN_FORMS = (
    "반환하는 함수를 작성하세요.",
    "돌려주는 함수를 만들어 주세요.",
    "구하는 파이썬 함수를 써 줘.",
)
FORMS = len(_KOREAN_FORMS)
Step = tuple[str, int]


@dataclass(frozen=True)
class ProgramTask:
    """One instruction. steps: (operation, number), carried out one after the other."""

    steps: tuple[Step, ...]
    language: str = "en"
    form: int = 0  # which of the sentences

    def __post_init__(self) -> None:
        if not is_listing(self.steps) or not all(
            isinstance(one, tuple)
            and len(one) == 2
            and isinstance(one[0], str)
            and one[0] in OPERATIONS
            and type(one[1]) is int
            and one[1] in NUMBERS
            for one in self.steps
        ):
            raise ValueError(f"steps must be (operation, 2 to 9) each, got {describe(self.steps)}")
        check_int("the number of steps", len(self.steps), 1, max(LENGTHS))
        object.__setattr__(self, "steps", tuple(self.steps))  # a list could change later
        check_choice("language", self.language, LANGUAGES)
        check_int("form", self.form, 0, FORMS - 1)

    def __call__(self, x: int) -> int:
        """The right value for x."""
        for operation, number in self.steps:
            x = OPERATIONS[operation](x, number)
        return x

    @property
    def prompt(self) -> str:
        """The instruction."""
        if self.language == "ko":
            return _korean_prompt(self.steps, self.form)
        return _ENGLISH_FORMS[self.form].format(steps=", then ".join(map(english_step, self.steps)))

    @property
    def shape(self) -> tuple[str, ...]:
        """The operations without their numbers."""
        return tuple(operation for operation, _ in self.steps)


def english_step(step: Step) -> str:
    """("add", 3) -> "add 3" """
    return _ENGLISH[step[0]].format(n=step[1])


def korean_step(step: Step) -> str:
    """("add", 3) -> "3을 더하기"; ("larger", 3) -> "3과 비교해 더 큰 값 고르기": a comment's words."""
    operation, number = step
    particle, words = _KOREAN_COMMENTS[operation]
    return with_particle(str(number), particle) + words


def _korean_prompt(steps: Sequence[Step], form: int) -> str:
    parts = []
    for place, (operation, number) in enumerate(steps):
        before, on_number, *endings = _KOREAN[operation]
        left = len(steps) - 1 - place
        if place == 0:
            parts.append(with_particle("x", before) if "/" in before else f"x{before}")
        elif operation in _COMPARES:
            parts.append(with_particle("그 값", before))
        counted = with_particle(str(number), on_number) if "/" in on_number else f"{number}{on_number}"
        parts += [counted, endings[2 if left == 0 else 1 if left == 1 else 0]]
    words = " ".join(parts)
    return f"{with_particle(words, '을/를')} {_KOREAN_FORMS[form]}"


@lru_cache(maxsize=65536)
def part_of(steps: tuple[Step, ...]) -> str | None:
    """ "train", "validation" or "test", by the values of the function; None where a step changes nothing."""
    values = _values(steps)
    shorter = [steps[:place] + steps[place + 1 :] for place in range(len(steps))]
    if len(set(values)) == 1 or any(_values(one) == values for one in shorter):
        return None
    tenth = zlib.crc32(repr(values).encode()) % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"


def _values(steps: Iterable[Step]) -> tuple[int, ...]:
    values = list(PROBES)
    for operation, number in steps:
        work = OPERATIONS[operation]
        values = [work(x, number) for x in values]
    return tuple(values)


def small_tasks(
    n: int,
    part: str = "all",
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    lengths: Collection[int] = (1, 2, 3),
) -> list[ProgramTask]:
    """`n` different instructions of a part; a longer list begins with the shorter one of the same seed.

    lengths: how many steps a task may have; two and three are drawn more often than one (LENGTHS). Raises ValueError
    for another part, language or length, and where there are not so many tasks.
    """
    check_int("n", n, 0)
    check_choice("part", part, PARTS)
    for name, values, choices in (("languages", languages, LANGUAGES), ("lengths", lengths, tuple(LENGTHS))):
        if not is_listing(values) or not list(values):
            raise ValueError(
                f"{name} must be a list of {', '.join(map(str, choices))}, got {describe(values)}"
            )
        for value in values:
            check_choice(f"each of {name}", value, choices)
    most = (
        FORMS * len(set(languages)) * sum((len(OPERATIONS) * len(NUMBERS)) ** size for size in set(lengths))
    )
    if n > most:
        raise ValueError(f"n must be at most {most:,} for these lengths and languages, got {n:,}")
    rng = random.Random(check_int("seed", seed, 0))
    sizes, tongues = sorted(lengths), list(languages)
    found: dict[ProgramTask, None] = {}
    tries = 0
    while len(found) < n:
        size = rng.choices(sizes, [LENGTHS[one] for one in sizes])[0]
        steps = tuple((_one(rng, list(OPERATIONS)), _one(rng, NUMBERS)) for _ in range(size))
        task = ProgramTask(steps, _one(rng, tongues), _one(rng, range(FORMS)))
        home, tries = part_of(steps), tries + 1
        if home is not None and part in ("all", home) and task not in found:
            found[task], tries = None, 0
        if tries > MOST_TRIES:
            raise ValueError(
                f"n must be at most about {len(found):,} for these lengths and this part, got {n:,}"
            )
    return list(found)


def _one(rng: random.Random, values: Sequence) -> object:
    return values[int(rng.random() * len(values))]


def shared_shapes(tasks: Iterable[ProgramTask], known: Iterable[ProgramTask]) -> float:
    """The share of `tasks`, 0..1, whose operations stand in the same order in a task of `known`, numbers aside."""
    tasks, known = (list(one) if is_listing(one) else [one] for one in (tasks, known))
    for task in (*tasks, *known):
        check_task(task)
    shapes = {task.shape for task in known}
    if not tasks:
        raise ValueError("tasks must hold at least one task, got none")
    return sum(task.shape in shapes for task in tasks) / len(tasks)


# --- is it right? ---


@dataclass(frozen=True)
class Outcome:
    """What running an answer gave: on how many of its inputs the value was right, and the first thing that was not."""

    right: int
    why: str | None

    @property
    def passed(self) -> bool:
        return self.why is None


@lru_cache(maxsize=65536)
def inputs_of(task: ProgramTask) -> tuple[int, ...]:
    """What an answer is run on: INPUTS, and two of the task's own, which its values choose."""
    others = [x for x in PROBES if x not in INPUTS]
    number = zlib.crc32(repr(_values(task.steps)).encode())
    return (*INPUTS, *(others[number // len(others) ** place % len(others)] for place in range(OWN)))


def run_answer(task: ProgramTask, code: str) -> Outcome:
    """Run an answer, one function of one argument, on `inputs_of(task)`. Whatever it does, an Outcome comes back.

    Its values must be whole numbers: 3.0 and True are wrong. ValueError where `code` is no text or `task` no task.
    """
    check_text("code", code), check_task(task)
    try:
        program = Interpreter(code, limits=SCORING)
        name = _only_function(program)
        program.run()
    except SandboxError as error:
        return Outcome(0, str(error))
    right, why = 0, None
    for x in inputs_of(task):
        try:
            value = program.call(name, x)
        except SandboxError as error:
            return Outcome(right, why or str(error))
        if type(value) is int and value == task(x):
            right += 1
        else:
            why = why or f"{name}({x}) is {describe(value)}, expected {task(x)}"
    return Outcome(right, why)


def check_task(task: object) -> None:
    """ValueError for what is no ProgramTask."""
    if not isinstance(task, ProgramTask):
        raise ValueError(f"task must be a ProgramTask, got {describe(task)}")


def _only_function(program: Interpreter) -> str:
    body = program.tree.body
    if len(body) != 1 or not hasattr(body[0], "args") or len(body[0].args.args) != 1:
        raise SandboxError("an answer is one function of one argument, and nothing else")
    return body[0].name
