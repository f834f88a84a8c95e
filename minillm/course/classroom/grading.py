"""Grade a class: every answer of every notebook, several at a time, and nothing twice.

    course folder/students.csv      the class, one name a line (optional)
                  submitted/        <student>/02_1/*.ipynb, or <student>/*.ipynb, or <student>.ipynb
                  marks.csv         the table; nbgrader's gradebook.db holds the same scores
                  feedback/         <student>/02_1.md
                  build/            graded.json, what is known already; submitted/, the notebooks as nbgrader wants them

An exercise gives all its points or none. What is run is the exercise alone: the set-up cells, the answer, the tests of
the instructor's copy. So an endless loop costs one exercise, and a changed test or number of points in a notebook
changes nothing. Verdicts are kept by a fingerprint of all that they depend on; only what is new is run.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from minillm._checks import check_int, check_number, check_text
from minillm._files import write_whole
from minillm.course.classroom import feedback, gradebook, staging
from minillm.course.classroom.assignments import GradingError, course_folder, need_nbgrader
from minillm.course.classroom.handed_out import GradedExercise, HandedOut, find_handed_out
from minillm.course.classroom.judge import Task
from minillm.course.classroom.known import Known
from minillm.course.classroom.submissions import (
    Submission,
    answers_of,
    definitions_for,
    find_submissions,
    student_name,
)
from minillm.course.classroom.workers import Worker

LEAST_SECONDS = (
    10.0  # an answer has this long, or SLOWER times what the stored solution took, if that is more
)
SLOWER = 20
MEMORY = 2 * 2**30  # bytes that an answer may ask for


def grade_assignment(
    folder: str | Path,
    student: str | None = None,
    force: bool = False,
    timeout: float | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Grade what is in `folder`/submitted that was not graded yet, or changed since.

    With `student` only that one's; `force` grades again what is known. `timeout` is the seconds one exercise may take
    (None: the exercise's own limit, and less where the stored solution is quick), `jobs` the workers (None: one a
    core, four at most). `progress(done, all)` is called after each notebook.

    Returns rows (one a student: student, points by exercise id, total, of, note; "" for what was not handed in), csv
    (the path of marks.csv), graded (how many exercises were run) and message (the table). Raises ValueError when
    `folder` was not made by make_assignment, nothing was handed in or there is no such student, GradingError when a
    stored solution does not pass its own tests here, ImportError when nbgrader is not installed.
    """
    timeout = None if timeout is None else check_number("timeout", timeout, 1)
    jobs = min(os.cpu_count() or 1, 4) if jobs is None else check_int("jobs", jobs, 1, 64)
    folder = course_folder(folder)
    lessons = find_handed_out(folder)
    need_nbgrader()
    wanted = None if student is None else student_name(check_text("student", student))
    there, loose = find_submissions(folder / "submitted", {name: one.path for name, one in lessons.items()})
    listed = gradebook.class_list(folder)
    if not loose:
        raise ValueError(
            f"nothing to grade in {folder / 'submitted'}: put <student>/<lesson>/<name>.ipynb there"
        )
    if wanted is not None and wanted not in loose:
        near = get_close_matches(wanted, loose, 3, 0.4) or sorted(loose)[:5]
        raise ValueError(f"no student {wanted!r} handed anything in; there are {', '.join(near)}")
    chosen = {key: one for key, one in there.items() if wanted in (None, key[0])}
    known = Known(folder)
    try:
        ran = _run(chosen, lessons, known, force, timeout, jobs, progress)
    finally:
        known.save()  # what was judged before an error, or Ctrl-C, is not judged again
    _write(folder, chosen, lessons, known, listed)
    rows = _rows(folder, lessons, there, loose, known, [*listed, *loose])
    path = folder / "marks.csv"
    exercises = [one.id for lesson in lessons.values() for one in lesson.exercises]
    write_whole(path, gradebook.marks_csv(rows, exercises))
    table = gradebook.marks_table(rows, exercises)
    message = f"{table}\n\n{ran} exercises run; written to {path} and {folder / 'feedback'}"
    return {"rows": rows, "csv": str(path), "graded": ran, "message": message}


# --- running ---


def _run(
    chosen: dict[tuple[str, str], Submission],
    lessons: dict[str, HandedOut],
    known: Known,
    force: bool,
    timeout: float | None,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Bring `known` up to date with `chosen`; how many answers were run."""
    open_tasks: list[tuple[Submission, list[tuple[GradedExercise, str, list]]]] = []
    for one in chosen.values():
        if tasks := list(_unknown(one, lessons[one.lesson], known, force, timeout)):
            open_tasks.append((one, tasks))
    solved = {(one.lesson, exercise.id): exercise for one, tasks in open_tasks for exercise, _, _ in tasks}
    done = itertools.count(1)

    def grade(worker: Worker, item: tuple[Submission, list]) -> None:
        _grade(worker, lessons, *item, known, timeout)
        if progress is not None:
            progress(next(done), len(open_tasks))

    with _Workers(jobs) as workers:
        workers.each(
            lambda worker, item: _solve(worker, lessons[item[0][0]], item[1], known), list(solved.items())
        )
        workers.each(grade, open_tasks)
    return sum(len(tasks) for _, tasks in open_tasks)


def _unknown(
    one: Submission, lesson: HandedOut, known: Known, force: bool, timeout: float | None
) -> Iterator[tuple[GradedExercise, str, list]]:
    """(exercise, key, cells) of the answers that must be run. What needs no run is noted in `known` at once."""
    answers = _answers(one, lesson)
    for exercise in lesson.exercises:
        cells = answers.get(exercise.id, [])
        key = lesson.key(exercise, cells, timeout)
        if one.notebook is None:
            known.keep(one.student, one.lesson, exercise.id, key, feedback.UNREADABLE)
        elif not cells:
            known.keep(one.student, one.lesson, exercise.id, key, feedback.MISSING)
        elif [text.strip() for text, own in cells if own] == [exercise.stub.strip()] and len(cells) == 1:
            known.keep(one.student, one.lesson, exercise.id, key, feedback.UNTOUCHED)
        elif force or known.verdict(one.student, one.lesson, exercise.id, key) is None:
            yield exercise, key, cells


def _answers(one: Submission, lesson: HandedOut) -> dict[str, list[tuple[str, bool]]]:
    """The cells of each answer, with what the student defined for it elsewhere; none of a file that is no notebook."""
    if one.notebook is None:
        return {}
    found = answers_of(one.notebook, [each.id for each in lesson.exercises])
    stubs = {each.id: each.stub.strip() for each in lesson.exercises}
    return {
        key: definitions_for(key, cells, one.notebook, lesson.cells, lesson.names) + cells
        if [text.strip() for text, _ in cells] not in ([], [stubs[key]])
        else cells
        for key, cells in found.items()
    }


def _solve(worker: Worker, lesson: HandedOut, one: GradedExercise, known: Known) -> None:
    """How the stored solution does: whether it can be sealed, and how long it takes. GradingError if it fails."""
    key = lesson.key(one, one.solution, None)
    if known.solutions.get(one.id, {}).get("key") == key:
        return
    for sealed in (True, False):
        verdict, _ = worker.judge(lesson.setup, _task(one, [(one.solution, True)], 0.0, sealed))
        if verdict.passed:
            entry = {"sealed": verdict.sealed, "seconds": verdict.seconds, "limit": verdict.limit}
            known.solutions[one.id] = {"key": key} | entry
            return
    raise GradingError(
        f"the stored solution of {one.id} does not pass its own tests here ({verdict.step}: {verdict.why}); nothing "
        "was graded. `minillm doctor` says what this machine lacks"
    )


def _grade(
    worker: Worker,
    lessons: dict[str, HandedOut],
    submission: Submission,
    tasks: list[tuple[GradedExercise, str, list]],
    known: Known,
    timeout: float | None,
) -> None:
    """Judge one student's answers, one after the other."""
    used = False
    for one, key, cells in tasks:
        solution = known.solutions[one.id]
        seconds = timeout or min(solution["limit"], max(LEAST_SECONDS, SLOWER * solution["seconds"]))
        task = _task(one, cells, seconds, solution["sealed"])
        verdict, fresh = worker.judge(lessons[submission.lesson].setup, task)
        known.keep(submission.student, submission.lesson, one.id, key, verdict)
        used = used or not fresh
    if used:  # the answers ran in the worker itself: the next student gets a new one
        worker.close()


def _task(one: GradedExercise, cells: list[tuple[str, bool]], seconds: float, sealed: bool) -> Task:
    return Task(one.id, cells, one.check, one.hidden, one.provided, seconds, MEMORY, sealed)


class _Workers:
    """As many workers as jobs, each with a thread of ours that waits for it."""

    def __init__(self, jobs: int):
        self._jobs, self._workers, self._free = jobs, [], threading.local()

    def __enter__(self) -> _Workers:
        self._pool = ThreadPoolExecutor(self._jobs)
        return self

    def each(self, work: Any, items: list[Any]) -> None:
        """Call work(worker, item) for every item; the first error is raised."""

        def one(item: Any) -> None:
            if not hasattr(self._free, "worker"):
                self._free.worker = Worker()
                self._workers.append(self._free.worker)
            work(self._free.worker, item)

        list(self._pool.map(one, items))

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()


# --- writing ---


def _write(
    folder: Path,
    chosen: dict[tuple[str, str], Submission],
    lessons: dict[str, HandedOut],
    known: Known,
    listed: list[str],
) -> None:
    """Notes, the gradebook, the feedback pages, and the notebooks as nbgrader wants them."""
    scores = {}
    for (student, name), one in chosen.items():
        lesson = lessons[name]
        verdicts = {each.id: known.verdict(student, name, each.id) for each in lesson.exercises}
        scores[student, name] = {
            each.id: each.points if verdicts[each.id].passed else 0 for each in lesson.exercises
        }
        answers = {key: "\n".join(text for text, _ in cells) for key, cells in _answers(one, lesson).items()}
        said = feedback.instructor_notes(verdicts, answers) if one.notebook is not None else []
        known.students[student][name]["notes"] = [*one.notes, *said]
        page = feedback.feedback_page(lesson, verdicts, scores[student, name], one.notes)
        write_whole(folder / "feedback" / student / f"{name}.md", page)
        staging.stage(folder, one, lesson.path.name)
    gradebook.record_scores(folder, scores, sorted({*listed, *(student for student, _ in chosen)}))
    known.save()


def _rows(
    folder: Path,
    lessons: dict[str, HandedOut],
    there: dict[tuple[str, str], Submission],
    loose: dict[str, list[str]],
    known: Known,
    students: list[str],
) -> list[dict[str, Any]]:
    """One row a student: of the class list, of the gradebook, and whoever handed something in."""
    scores = gradebook.read_scores(folder)
    rows = []
    for student in sorted({*students, *gradebook.known_students(folder)}):
        row: dict[str, Any] = {"student": student}
        notes = list(loose.get(student, []))
        graded = 0
        for name, lesson in lessons.items():
            marks = scores.get((student, name))
            graded += marks is not None
            row |= {one.id: "" if marks is None else marks.get(one.id, 0) for one in lesson.exercises}
            if marks is not None:
                notes += known.notes(student, name)
                notes += [] if (student, name) in there else [f"{name} is no longer in submitted/"]
            elif not notes or len(lessons) > 1:  # a file that is none of the lesson's has its note already
                state = "not graded yet" if (student, name) in there else "not submitted"
                notes.append(state if len(lessons) == 1 else f"{name} {state}")
        most = sum(one.points for lesson in lessons.values() for one in lesson.exercises)
        total = (
            sum(value for name, value in row.items() if name != "student" and value != "") if graded else ""
        )
        rows.append(row | {"total": total, "of": most, "note": "; ".join(notes)})
    return rows
