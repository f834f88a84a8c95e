"""Checkers of lesson 04_1, pre-training and supervised fine-tuning."""

import math
from fractions import Fraction

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)
from minillm.data import run_answer, small_tasks
from minillm.data.small_programs import PROBES, SCORING, inputs_of
from minillm.sandbox import Interpreter, SandboxError

OWN = "build it yourself"
ALIGNMENT = "minillm.training.alignment"
LABELLING = [f"{ALIGNMENT}.chat_examples.{name}" for name in (
    "answer_spans", "chat_example", "chat_examples", "truncated",
)]  # fmt: skip
PACKING = [f"{ALIGNMENT}.packing.{name}" for name in (
    "best_fit", "document_mask", "positions_within", "PackedSet.__init__",
)]  # fmt: skip


# --- the labels of a conversation ---


@exercise("04-1-a", points=4)
def labelled(answer):
    """The ids and labels of a conversation, cut to a length."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=60, turns=(1, 2, 3, 4, 6), learn=("every", "last"), keep=("start", "end"),
        room=("none", "long", "exact", "one less", "half", "two", "inside an answer"),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        marks = dict(zip(("user", "assistant", "end"), inputs.shuffled(range(3))))
        turns = [
            (("user", "assistant")[i % 2], inputs.integers(inputs.integer(1, 4), 3, 99))
            for i in range(case.turns)
        ]
        sizes = [1 + len(text) + (role == "assistant") for role, text in turns]
        room = {
            "none": None, "long": sum(sizes) + 5, "exact": sum(sizes), "one less": sum(sizes) - 1,
            "half": sum(sizes) // 2, "two": 2, "inside an answer": inside(sizes, case.keep),
        }[case.room]  # fmt: skip
        room = room if room is None else max(2, room)
        expected = by_hand(turns, marks, case.learn, room, case.keep)
        given, given_marks = [(role, list(text)) for role, text in turns], dict(marks)
        with forbid(OWN, *LABELLING, answer=answer):
            found = answer(given, given_marks, case.learn, room, case.keep)
        where = f"turns {turns}, marks {marks}, learn={case.learn!r}, max_length={room}, keep={case.keep!r}"
        if expected is None:
            assert plain(found) is None, f"{where}: no answer is left, expected None, got {shown(found)}"
        else:
            ids, labels = as_list(found, f"what example returns ({where})", 2)
            expect(ids, expected[0], hint=f"the ids ({where})")
            expect(labels, expected[1], hint=f"the labels ({where})")
        expect([[role, text] for role, text in given], [[role, text] for role, text in turns],
               hint=f"the turns must stay as they are ({where})")  # fmt: skip
        expect(given_marks, marks, hint=f"the marks must stay as they are ({where})")


def inside(sizes, keep):
    """A length that leaves two tokens of an answer at the cut: its mark and a token, or a token and its end."""
    return sizes[0] + 2 if keep == "start" else sum(sizes[2:]) + 2


def by_hand(turns, marks, learn, room, keep):
    """One row a token: (id, the number of the answer it belongs to or -1), cut, then labelled."""
    rows = []
    for number, (role, text) in enumerate(turns):
        rows.append((marks[role], -1))
        rows += [(token, number if role == "assistant" else -1) for token in text]
        if role == "assistant":
            rows.append((marks["end"], number))
    answers = [number for number, (role, _) in enumerate(turns) if role == "assistant"]
    wanted = set(answers if learn == "every" else answers[-1:])
    if room is not None and len(rows) > room:
        rows = rows[:room] if keep == "start" else rows[len(rows) - room :]
    labels = [token if place and number in wanted else -100 for place, (token, number) in enumerate(rows)]
    return ([token for token, _ in rows], labels) if set(labels) != {-100} else None


# --- side by side ---


@exercise("04-1-b", points=4)
def packed(answer):
    """Rows of several examples, none of which sees another."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    kinds = ("mixed", "full", "short", "twins", "falling", "several with room")
    for case in cases(most=36, count=(9, 0, 1, 2, 5, 8), room=(12, 3, 7, 12), kind=kinds):
        inputs = Inputs(case.seed)
        lengths = {
            "mixed": [inputs.integer(2, case.room) for _ in range(case.count)],
            "full": [case.room] * case.count,
            "short": [2] * case.count,
            "twins": [min(3, case.room)] * case.count,
            "falling": [max(2, case.room - i) for i in range(case.count)],
            "several with room": several_with_room(inputs, case.count, case.room),
        }[case.kind]
        examples = []
        for length in lengths:
            ids = inputs.integers(length, 0, 99)
            hidden = inputs.integer(0, length)
            examples.append((ids, [-100] * hidden + ids[hidden:]))
        if case.kind == "twins" and examples:  # equal examples are still strangers
            examples = [(list(examples[0][0]), list(examples[0][0])) for _ in examples]
        expected = side_by_side(examples, case.room)
        given = [(list(ids), list(labels)) for ids, labels in examples]
        with forbid(OWN, *PACKING, answer=answer):
            found = answer(given, case.room)
        where = f"room={case.room}, examples of {lengths} ids"
        rows = as_list(found, f"what packed returns ({where})", len(expected))
        for number, (row, right) in enumerate(zip(rows, expected)):
            assert isinstance(row, dict), f"row {number} must be a dict, got {shown(row)} ({where})"
            for name, value in right.items():
                assert name in row, f"row {number} lacks {name!r} ({where})"
                expect(row[name], value, hint=f"{name} of row {number} ({where})")
        expect(given, examples, hint=f"the examples must stay as they are ({where})")


def several_with_room(inputs, count, room):
    """Long ones, each with a row of its own that has some room left, then short ones that fit into several rows."""
    many = range(count - count // 4 - 1)
    long = [inputs.integer(room // 2 + 1, max(room // 2 + 1, room - 2)) for _ in many]
    return long + [2] * (count - len(long))


def side_by_side(examples, room):
    """First fit, then each row token by token: (number of its example or -1, place in it, id, label)."""
    bins = []
    for number, (ids, _) in enumerate(examples):
        for row in bins:
            if sum(len(examples[i][0]) for i in row) + len(ids) <= room:
                row.append(number)
                break
        else:
            bins.append([number])
    rows = []
    for row in bins:
        tokens = [
            (i, place, token, label if place else -100)
            for i in row
            for place, (token, label) in enumerate(zip(*examples[i]))
        ]
        tokens += [(-1, 0, 0, -100)] * (room - len(tokens))
        owner, positions, ids, labels = map(list, zip(*tokens))
        sees = [
            [s == t if owner[t] < 0 else owner[s] == owner[t] and s <= t for s in range(room)]
            for t in range(room)
        ]
        rows.append({"ids": ids, "labels": labels, "positions": positions, "sees": sees})
    return rows


# --- pass@k ---


NEARLY_SURE = (([(300, 30)], 40), ([(2000, 20), (1990, 40)], 300))  # a miss is rare, and counts


@exercise("04-1-c", points=3)
def pass_at(answer):
    """pass@k of a whole examination, without bias and for any n."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=45, problems=(1, 2, 6), n=(1, 4, 10, 300, 2000), k=("one", "two", "some", "all"),
        right=("none", "one", "few", "half", "most", "all", "mixed"), even=(True, False),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        sizes = [case.n if case.even else inputs.integer(case.n, case.n + 5) for _ in range(case.problems)]
        k = {"one": 1, "two": min(2, case.n), "some": inputs.integer(1, case.n), "all": case.n}[case.k]
        counts = [(n, correct(inputs, n, case.right)) for n in sizes]
        expected = float(sum(exactly(n, c, k) for n, c in counts) / len(counts))
        given = list(counts)
        with forbid(OWN, "minillm.evaluation.pass_at_k.pass_at_k", answer=answer):
            found = answer(given, k)
        expect(found, expected, 1e-9, f"counts {shown(counts)}, k={k}")
        expect(given, counts, hint="the list must stay as it is")
    for counts, k in NEARLY_SURE:
        with forbid(OWN, "minillm.evaluation.pass_at_k.pass_at_k", answer=answer):
            found = answer(list(counts), k)
        expect(found, float(sum(exactly(n, c, k) for n, c in counts) / len(counts)), 1e-9, f"{counts}, k={k}")
    for counts, k in (([(4, 2)], 5), ([(10, 3), (4, 4)], 5), ([(4, 4), (10, 3)], 5)):
        with forbid(OWN, "minillm.evaluation.pass_at_k.pass_at_k", answer=answer):
            try:
                found = answer(list(counts), k)
            except ValueError:
                continue
        raise AssertionError(
            f"counts {counts}, k={k}: a problem has fewer than k samples, expected a ValueError, got {shown(found)}"
        )


def correct(inputs, n, kind):
    kind = ("none", "one", "few", "half", "most", "all")[inputs.integer(0, 5)] if kind == "mixed" else kind
    return {"none": 0, "one": 1, "few": max(1, n // 10), "half": n // 2, "most": n - 1, "all": n}[kind]


def exactly(n, c, k):
    """1 - C(n - c, k) / C(n, k) in whole numbers."""
    return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))


# --- an answer that passes and is wrong ---


@exercise("04-1-d", points=4)
def passes(answer):
    """A program fitted to the inputs that it is run on, and what helps against it."""
    expect_parts(answer, "cheat", "remedy", "secret")
    cheat = answer["cheat"]
    assert callable(cheat), f"cheat must be a function, got {shown(cheat)}"
    tasks = [
        *small_tasks(4, "test", seed=41),
        *small_tasks(2, seed=7, lengths=(1,)),
        *small_tasks(2, "test", seed=3),
    ]
    for task in tasks:
        inputs = list(inputs_of(task))
        values = [task(x) for x in inputs]
        given = list(inputs), list(values)
        code = plain(cheat(*given), "what cheat returns")
        assert isinstance(code, str), f"cheat must return a text, got {shown(code)}"
        expect(list(given), [inputs, values], hint="the lists must stay as they are")
        fails_elsewhere(task, code, inputs)
    remedy = plain(answer["remedy"], "remedy")
    assert isinstance(remedy, str), f"remedy must be a letter, got {shown(remedy)}"
    letter = remedy.strip().lower()
    assert letter in {"a", "b", "c"}, f"remedy must be 'a', 'b' or 'c', got {shown(remedy)}"
    assert letter == "b", f"remedy: {letter!r} does not stop your own cheat; try it"
    secret = plain(answer["secret"], "secret")
    assert type(secret) is int, f"secret must be a whole number, got {shown(secret)}"
    assert secret == 6, (
        f"secret: a wrong program passes {secret} inputs with 0.3 to the power of {secret}; try around it"
    )


def fails_elsewhere(task, code, inputs):
    """It passes where it is looked at, and ends with a wrong whole number everywhere else."""
    outcome = run_answer(task, code)
    assert outcome.passed, (
        f"your program must pass on the inputs {inputs}: {outcome.why}; it is\n{code[:400]}"
    )
    program = Interpreter(code, limits=SCORING)
    name = program.tree.body[0].name
    for x in PROBES:
        if x in inputs:
            continue
        program = Interpreter(code, limits=SCORING)  # each input with the limits of a program of its own
        program.run()
        try:
            value = program.call(name, x)
        except SandboxError as error:
            raise AssertionError(f"on x = {x} your program must end with a whole number: {error}") from None
        assert type(value) is int, f"on x = {x} your program must give a whole number, got {shown(value)}"
        assert value != task(x), (
            f"on x = {x}, which is not looked at, your program must be wrong; it gives {value}, the right value of "
            f"{task.prompt!r}"
        )
