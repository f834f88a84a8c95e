"""What was graded already: build/graded.json of a course folder.

A verdict is kept with a fingerprint of all that it depends on (handed_out.py), so that only what is new is run. Losing
the file costs time and nothing else: the marks stand in nbgrader's gradebook.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_json, write_json
from minillm.course.classroom.judge import Verdict


class Known:
    """Verdicts by student, lesson and exercise, the notes on each notebook, and how the stored solutions did."""

    def __init__(self, folder: Path):
        self.path = folder / "build" / "graded.json"
        self.students: dict[str, Any] = {}
        self.solutions: dict[str, Any] = {}
        with suppress(BadFileError, TypeError, KeyError, AttributeError, ValueError):  # as good as no file
            content = read_json(self.path)
            students = {
                name: {lesson: _notebook(one) for lesson, one in lessons.items()}
                for name, lessons in content["students"].items()
            }
            solutions = {name: _solution(one) for name, one in content["solutions"].items()}
            self.students, self.solutions = students, solutions

    def verdict(self, student: str, lesson: str, exercise: str, key: str | None = None) -> Verdict | None:
        """What is known; None when it was another answer (another `key`)."""
        entry = self.students.get(student, {}).get(lesson, {"verdicts": {}})["verdicts"].get(exercise)
        return Verdict(**entry["verdict"]) if entry and key in (None, entry["key"]) else None

    def keep(self, student: str, lesson: str, exercise: str, key: str, verdict: Verdict) -> None:
        """Note the verdict on an answer with the fingerprint `key`."""
        entry = self.students.setdefault(student, {}).setdefault(lesson, {"verdicts": {}, "notes": []})
        entry["verdicts"][exercise] = {"key": key, "verdict": asdict(verdict)}

    def notes(self, student: str, lesson: str) -> list[str]:
        """What was noted on a student's notebook of a lesson."""
        return self.students.get(student, {}).get(lesson, {"notes": []})["notes"]

    def save(self) -> None:
        """Write the file."""
        write_json(self.path, {"students": self.students, "solutions": self.solutions})


def _notebook(one: dict[str, Any]) -> dict[str, Any]:
    verdicts = {
        name: {"key": entry["key"], "verdict": asdict(Verdict(**entry["verdict"]))}
        for name, entry in one["verdicts"].items()
    }
    return {"verdicts": verdicts, "notes": [str(note) for note in one["notes"]]}


def _solution(one: dict[str, Any]) -> dict[str, Any]:
    numbers = {part: float(one[part]) for part in ("seconds", "limit")}
    return {"key": str(one["key"]), "sealed": bool(one["sealed"])} | numbers
