"""`minillm study` and `assignment`: the lessons, for a reader and for a class."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace

from minillm.commands._show import print_json


def study(options: Namespace) -> None:
    """Run JupyterLab on the lessons until it is closed."""
    from minillm.course.paths import checkout

    notebooks = checkout() / "notebooks"
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        raise ImportError("JupyterLab is not installed: pip install -e '.[lab]', or `make study`") from None
    command = [sys.executable, "-m", "jupyterlab", str(notebooks)]
    if options.no_browser:
        command.append("--no-browser")
    raise SystemExit(subprocess.run(command).returncode)


def assignment_make(options: Namespace) -> None:
    """Write the student version of a lesson."""
    from minillm.course.classroom.assignments import make_assignment

    made = make_assignment(options.lesson, options.out)
    print_json(made) if options.json else print(made["message"])


def assignment_grade(options: Namespace) -> None:
    """Grade what is in submitted/."""
    from minillm.course.classroom.grading import grade_assignment

    graded = grade_assignment(options.folder, options.student, options.force, options.timeout, options.jobs)
    print_json(graded) if options.json else print(graded["message"])
