"""The book of marks: nbgrader's gradebook.db holds the scores, students.csv says who is in the class.

A mark that an instructor sets by hand in nbgrader's formgrader counts before ours, and stays.
"""

from __future__ import annotations

import csv
import io
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_bytes
from minillm.course.classroom.submissions import NO_STUDENT, STUDENT, student_name

TITLES = {"student", "students", "student_id", "id", "name", "이름", "학생", "학번"}


def class_list(folder: Path) -> list[str]:
    """The students of `folder`/students.csv, one a line, in its first column; [] without such a file.

    Excel's own encodings are read, too, and its other separators, ";" and tab. BadFileError for a file that is no text,
    or a name that cannot be used.
    """
    path = folder / "students.csv"
    if not path.exists():
        return []
    data = read_bytes(path, "class list")
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # what Excel calls Unicode text
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp949"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise BadFileError(f"class list {str(path)!r} is no text: save it as CSV UTF-8")
    first = text.partition("\n")[0]
    comma = next((one for one in ",;\t" if one in first), ",")
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=comma))
    names = [student_name(row[0]) for row in rows if row and row[0].strip()]
    if names and names[0].lower() in TITLES:
        names = names[1:]
    for name in names:
        if not STUDENT.fullmatch(name):
            raise BadFileError(f"class list {str(path)!r}: {name!r} is {NO_STUDENT}")
    return list(dict.fromkeys(names))


def record_scores(
    folder: Path, scores: dict[tuple[str, str], dict[str, float]], students: Iterable[str]
) -> None:
    """Write the scores of (student, lesson) by exercise into the gradebook, and every student's name."""
    from nbgrader.api import Grade

    with warnings.catch_warnings(), _open(folder) as book:
        warnings.simplefilter("ignore")  # SQLAlchemy on nbgrader's way of adding a submission
        for student in students:
            book.update_or_create_student(student)
        for (student, lesson), marks in scores.items():
            submission = book.update_or_create_submission(lesson, student)
            for notebook in submission.notebooks:
                there = {grade.cell_id: grade for grade in notebook.grades}
                for cell in notebook.notebook.grade_cells:
                    exercise = cell.name.removesuffix("-test")
                    if exercise in marks:
                        grade = there.get(cell.id) or Grade(cell_id=cell.id, notebook=notebook)
                        grade.auto_score, grade.needs_manual_grade = float(marks[exercise]), False
        book.db.commit()


def read_scores(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """The scores of every (student, lesson) that was graded, by exercise; an instructor's own marks count first."""
    from nbgrader.api import Grade

    found: dict[tuple[str, str], dict[str, float]] = {}
    with _open(folder) as book:
        for grade in book.db.query(Grade).all():
            key = grade.student.id, grade.assignment.name
            score = float(grade.score)
            found.setdefault(key, {})[grade.name.removesuffix("-test")] = (
                int(score) if score == int(score) else score
            )
    return found


def known_students(folder: Path) -> list[str]:
    """The students the gradebook knows: ours, and those that `nbgrader db student add` made."""
    with _open(folder) as book:
        return [student.id for student in book.students]


def _open(folder: Path) -> Any:
    from nbgrader.api import Gradebook

    return Gradebook(f"sqlite:///{folder / 'gradebook.db'}")


def marks_csv(rows: list[dict[str, Any]], exercises: list[str]) -> bytes:
    """The table as a file that Excel opens with Korean names in it, and without running a formula that a name is."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["student", *exercises, "total", "of", "note"])
    writer.writeheader()
    writer.writerows([{name: _harmless(value) for name, value in row.items()} for row in rows])
    return buffer.getvalue().encode("utf-8-sig")  # the mark at its beginning is what Excel needs


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


def marks_table(rows: list[dict[str, Any]], exercises: list[str]) -> str:
    """The table as text."""
    columns = ["student", *exercises, "total", "of"]
    cells = [columns] + [
        ["-" if row[column] == "" else str(row[column]) for column in columns] for row in rows
    ]
    widths = [max(_width(row[index]) for row in cells) for index in range(len(columns))]
    remarks = ["", *(row["note"] for row in rows)]
    lines = []
    for row, remark in zip(cells, remarks):
        blanks = [" " * (width - _width(text)) for text, width in zip(row, widths)]
        first, *rest = zip(row, blanks)
        line = "  ".join(["".join(first), *(blank + text for text, blank in rest)])
        lines.append(f"{line}  {remark}" if remark else line)
    return "\n".join(lines)


def _width(text: str) -> int:
    """Columns on a terminal: a Hangul syllable takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
