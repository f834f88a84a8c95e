"""`minillm study` and `assignment`: the lessons, for a reader and for a class."""

from __future__ import annotations

import sys
from argparse import Namespace

from minillm.commands._show import print_json


def study(options: Namespace) -> None:
    """Bring the copies in study/ up to date and run JupyterLab on them until it is closed."""
    from minillm.course.classroom.lab import lab_command, need_jupyterlab, run_lab
    from minillm.course.classroom.student_copy import open_copy
    from minillm.course.lessons.notebooks import lesson_path
    from minillm.course.paths import checkout

    need_jupyterlab()
    root = checkout()
    folder, lessons = root / "study", root / "notebooks"
    command = lab_command(root, options.ip, options.port, options.allow_root, not options.no_browser)
    paths = [lesson_path(options.lesson, lessons)] if options.lesson else sorted(lessons.glob("*.ipynb"))
    made = []
    for path in paths:
        mine, said = open_copy(path, folder, options.solutions)
        made.append(mine)
        if said:
            print(f"study/{mine.name}: {said}")
    raise SystemExit(run_lab(command, made[0] if options.lesson else folder, root))


def assignment_make(options: Namespace) -> None:
    """Write the student version of a lesson."""
    from minillm.course.classroom.assignments import make_assignment

    made = make_assignment(options.lesson, options.out)
    print_json(made) if options.json else print(made["message"])


def assignment_grade(options: Namespace) -> None:
    """Grade what is in submitted/."""
    from minillm.course.classroom.grading import grade_assignment

    def progress(done: int, every: int) -> None:
        print(f"\r{done} of {every} notebooks", end="" if done < every else "\n", file=sys.stderr, flush=True)

    graded = grade_assignment(
        options.folder, options.student, options.force, options.timeout, options.jobs,
        progress if sys.stderr.isatty() else None,
    )  # fmt: skip
    print_json(graded) if options.json else print(graded["message"])
