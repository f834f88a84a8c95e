"""What a verdict says: a page for the student, a few words beside the marks for the instructor.

The student reads what the checker said, and of a hidden test only that it exists. The instructor reads what is not an
ordinary wrong answer: loops, syntax errors, lost cells, and answers that want a second look.
"""

from __future__ import annotations

import re

from minillm.course.classroom.handed_out import HandedOut
from minillm.course.classroom.judge import Verdict

# An answer that names these may look at its caller or change it. Most do so for no bad reason: it is a hint, no mark.
MACHINERY = re.compile(
    r"_getframe|currentframe|inspect\.stack|f_back|f_locals|\bgc\.|\bctypes\b|__subclasses__|/proc/|os\.write\b|"
    r"os\._exit|\batexit\b|settrace|\bbuiltins\b|minillm\.course\.(?!check\b)|sys\.modules|__code__"
)
MISSING = Verdict(False, "missing", "its cells are not in your notebook")
UNTOUCHED = Verdict(False, "untouched", "not answered yet")
UNREADABLE = Verdict(False, "unreadable", "your file could not be read")
LOOK = ("sealed", "replaced")


def instructor_notes(verdicts: dict[str, Verdict], answers: dict[str, str]) -> list[str]:
    """What an instructor should know of a notebook, in a few words each."""
    notes = []
    if verdicts and all(one.step == "untouched" for one in verdicts.values()):
        return ["nothing answered"]
    if missing := [name for name, one in verdicts.items() if one.step == "missing"]:
        notes.append(f"missing cells of {', '.join(missing)}")
    for name, one in verdicts.items():
        if one.step == "time":
            notes.append(
                f"{name}: {one.why.replace('stopped', 'endless loop? stopped', 1).partition(':')[0]}"
            )
        elif one.step == "died" or one.why.startswith("syntax error"):
            notes.append(f"{name}: {one.why}")
        elif one.step == "plain" or one.step in LOOK:
            notes.append(f"{name}: no points, look at this answer: {one.why}")
        elif one.passed and (named := MACHINERY.search(answers.get(name, ""))):
            notes.append(f"{name}: passed, and mentions {named[0]}: look at this answer")
    return notes


def feedback_page(
    lesson: HandedOut, verdicts: dict[str, Verdict], scores: dict[str, float], notes: list[str]
) -> str:
    """A Markdown page for one student: each exercise with its points and what the checker said."""
    total, most = sum(scores.values()), sum(one.points for one in lesson.exercises)
    lines = [f"# Lesson {lesson.id}: {total:g} of {most} points", ""]
    lines += [f"- {note}" for note in notes] + ([""] if notes else [])
    for one in lesson.exercises:
        verdict = verdicts[one.id]
        mark = "✓" if verdict.passed else "✗"
        lines += [
            f"## {mark} {one.id} · {one.title}: {scores[one.id]:g} of {one.points}",
            "",
            _said(verdict),
            "",
        ]
    return "\n".join(lines)


def _said(verdict: Verdict) -> str:
    if verdict.passed:
        return "Passed the check and the hidden tests."
    if verdict.step == "hidden":
        return f"Passed the check that stands in the notebook, but not the hidden tests: {verdict.why}."
    if verdict.step in LOOK:
        return f"It passes in a notebook, but not with the tests apart from it ({verdict.why}): ask your instructor."
    return f"{verdict.why[:1].upper()}{verdict.why[1:]}"
