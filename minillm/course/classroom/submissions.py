"""What students handed in: found, decoded, named, and taken apart into the answers that can be graded.

Students rename files and kernels, delete cells, change tests, and save from Colab, VS Code and Windows. Nothing in a
file may stop the grading of the others: what cannot be read, or belongs to no lesson, becomes a note beside its
student's name.
"""

from __future__ import annotations

import ast
import builtins
import dis
import json
import re
import unicodedata
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_bytes
from minillm.course.classroom.forbidden import GLOBAL, names_in
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import lesson_of_exercise, lesson_of_file

STUDENT = re.compile(r"[^./\\+*?\[\]][^/\\+*?\[\]]*")  # nbgrader puts the name into paths and patterns
NO_STUDENT = "not graded: a student's name has no leading dot and none of / \\ + * ? [ ]"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
IGNORED = {".ds_store", "thumbs.db", "desktop.ini", "timestamp.txt"}  # of systems, and nbgrader's own


@dataclass
class Submission:
    """One student's notebook of one lesson. `notebook` is None when the file could not be read."""

    student: str
    lesson: str
    path: Path
    notebook: dict[str, Any] | None
    notes: list[str] = field(default_factory=list)


def find_submissions(
    submitted: Path, lessons: dict[str, Path]
) -> tuple[dict[tuple[str, str], Submission], dict[str, list[str]]]:
    """(submissions by (student, lesson), notes by student on what belongs to none). Every student who handed
    anything in has an entry in the notes."""
    found: dict[tuple[str, str], Submission] = {}
    notes: dict[str, list[str]] = {}
    for path in sorted(submitted.glob("**/*"), key=lambda path: _order(path, submitted, lessons)):
        parts = path.relative_to(submitted).parts
        if not path.is_file() or path.name.lower() in IGNORED or any(part.startswith(".") for part in parts):
            continue
        student = student_name(parts[0] if len(parts) > 1 else path.stem)
        said = notes.setdefault(student, [])
        if not STUDENT.fullmatch(student):
            said.append(NO_STUDENT)
            continue
        one = _read(path, parts, student, lessons)
        if isinstance(one, str):
            said.append(one)
        elif (first := found.get((student, one.lesson))) is None:
            found[student, one.lesson] = one
        elif one.notebook is not None and first.notebook is None:
            found[student, one.lesson] = one
            one.notes.append(f"{file_name(first.path.name)} was left out: {'; '.join(first.notes)}")
        else:
            first.notes.append(f"more than one file of {one.lesson}: {file_name(path.name)} was left out")
    return found, notes


def student_name(text: str) -> str:
    """A student's name, written in one way: macOS takes 김 apart into its letters."""
    return unicodedata.normalize("NFC", file_name(text)).strip()


def file_name(text: str) -> str:
    """A file's name as text: one that is no UTF-8 is in the Korean Windows code, as an archive made there leaves it."""
    if whole_text(text) != text:
        with suppress(UnicodeError):
            return text.encode("utf-8", "surrogateescape").decode("cp949")
    return whole_text(text)


def _order(path: Path, submitted: Path, lessons: dict[str, Path]) -> tuple:
    """Of several files of a student, the one with the right name comes first, then the one that was changed last."""
    right = path.name in {one.name for one in lessons.values()}
    with suppress(OSError):
        return path.relative_to(submitted).parts[0], not right, -path.stat().st_mtime, str(path)
    return path.relative_to(submitted).parts[0], not right, 0.0, str(path)


def _read(path: Path, parts: tuple[str, ...], student: str, lessons: dict[str, Path]) -> Submission | str:
    """A submission, or the note on a file that is none."""
    named = parts[1] if len(parts) > 2 and parts[1] in lessons else lesson_of_file(path.name)
    named = named if named in lessons else next(iter(lessons)) if len(lessons) == 1 else None
    notes, name = [], file_name(path.name)
    try:
        notebook, encoding = read_any_notebook(path)
    except BadFileError as error:
        why = f"{name} {error}"
        loose = len(parts) == 1 and ".ipynb" not in path.name.lower()  # an archive, a list: of no one student
        return why if named is None or loose else Submission(student, named, path, None, [why])
    lesson = lesson_of_notebook(notebook, lessons) or (
        named if _is_of(notebook, path, parts, named) else None
    )
    if lesson is None:
        return f"{name} belongs to no lesson that was handed out"
    if encoding:
        notes.append(f"{name} was saved as {encoding}, not as UTF-8; it was read as that")
    if path.name != lessons[lesson].name and len(parts) > 1:
        notes.append(f"wrong file name {name}: taken as {lessons[lesson].name} by its content")
    return Submission(student, lesson, path, notebook, notes)


def _is_of(notebook: dict[str, Any], path: Path, parts: tuple[str, ...], named: str | None) -> bool:
    """Whether a notebook without any exercise cell counts as handed in for the lesson that its place names."""
    return named is not None and (named in parts[1:-1] or lesson_of_file(path.name) == named)


def read_any_notebook(path: Path) -> tuple[dict[str, Any], str]:
    """(notebook, encoding): the encoding is "" for UTF-8, else what it had to be read as. BadFileError says what the
    file is instead; its message continues a sentence that begins with the file's name."""
    data = read_bytes(path, "notebook")
    if not data.strip():
        raise BadFileError("is empty")
    text, said = _decoded(data)
    try:
        notebook = json.loads(text)
        if SURROGATE.search(text):
            notebook = writable(notebook)
    except (ValueError, RecursionError) as error:
        cut = text.lstrip().startswith("{")
        raise BadFileError(
            f"cannot be read: it is cut or damaged ({error})" if cut else "is not a notebook"
        ) from None
    if isinstance(notebook, dict) and "worksheets" in notebook:
        raise BadFileError("cannot be read: it is a notebook of the old format 3")
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BadFileError("is not a notebook: it has no list of cells")
    if wrong := [number for number, cell in enumerate(notebook["cells"], 1) if not notebooks.is_cell(cell)]:
        raise BadFileError(f"cannot be read: cell {wrong[0]} is damaged")
    return notebook, said


def whole_text(text: str) -> str:
    """A str as UTF-8 can hold it: half of a surrogate pair, which an editor leaves of an emoji, becomes "?"."""
    return text.encode("utf-8", "replace").decode()


def writable(notebook: Any) -> Any:
    """A notebook without half an emoji in it: JSON has a way to write one, and no file of ours can hold it."""
    return json.loads(whole_text(json.dumps(notebook, ensure_ascii=False)))


def _decoded(data: bytes) -> tuple[str, str]:
    """(text, what it was saved as; "" for UTF-8)."""
    utf16 = [("utf-16", "UTF-16")] if data[:2] in (b"\xff\xfe", b"\xfe\xff") else []
    for encoding, said in (("utf-8-sig", ""), *utf16, ("cp949", "CP949 (the Korean Windows code)")):
        with suppress(UnicodeDecodeError):
            return data.decode(encoding), said
    raise BadFileError("is not a notebook: it is no text")


def lesson_of_notebook(notebook: dict[str, Any], lessons: dict[str, Path]) -> str | None:
    """The lesson whose exercises a notebook holds; None when it holds none that was handed out."""
    for cell in notebook["cells"]:
        name, part = exercise_of(cell)
        if part:
            with suppress(ValueError):
                if (lesson := lesson_of_exercise(name)) in lessons:
                    return lesson
    return None


def grade_id(cell: dict[str, Any]) -> str:
    """The name nbgrader knows an exercise's cell by, such as 02-1-a or 02-1-a-test; "" for other cells."""
    return str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""))


def exercise_of(cell: dict[str, Any]) -> tuple[str, str]:
    """(exercise, part) of a cell: part is task, answer, test, or "" for a cell of no exercise.

    By nbgrader's metadata; by its text where an editor threw the metadata away.
    """
    text = notebooks.source(cell)
    if cell["cell_type"] == "markdown":
        heading = notebooks.HEADING.match(text)
        return (heading["id"], "task") if heading else ("", "")
    if name := grade_id(cell):
        return (name.removesuffix("-test"), "test") if name.endswith("-test") else (name, "answer")
    called = re.search(r"^check\(\s*[\"']([^\"']+)[\"']\s*,", text, re.MULTILINE)
    return (called[1], "test") if called else ("", "")


def as_python(text: str) -> ast.Module:
    """A cell's code, parsed without what IPython alone understands: %magic and !shell lines, `name?`.

    Raises SyntaxError about the text as it is.
    """
    try:
        return ast.parse(text)
    except SyntaxError:
        plain = re.sub(r"^(\s*)(%%\w.*|[%!]\w.*|.*\?)$", r"\1pass", text, flags=re.MULTILINE)
        if plain == text:
            raise
        with suppress(SyntaxError):
            return ast.parse(plain)
        raise


def answers_of(notebook: dict[str, Any], exercises: list[str]) -> dict[str, list[tuple[str, bool]]]:
    """The code that answers each exercise, cell by cell: (text, whether an error in it counts).

    That is the answer cell, and what the student wrote in cells of their own between the exercise's text and its test;
    an error in those does not count while there is an answer cell. No cells: the student deleted them.
    """
    found: dict[str, list[tuple[str, bool]]] = {name: [] for name in exercises}
    here = ""  # the exercise whose text, or answer, was the last to come by
    for cell in notebook["cells"]:
        name, part = exercise_of(cell)
        text = notebooks.source(cell).replace("\r\n", "\n")
        if part in ("task", "test"):
            here = name if part == "task" else ""
        elif part == "answer":
            here = name
            if name in found:
                found[name].append((text, True))
        elif here in found and cell["cell_type"] == "code" and text.strip():
            found[here].append((text, False))
        elif cell["cell_type"] == "markdown" and re.match(r"##? ", text):
            here = ""  # the next section of the lesson
    return {
        name: cells if any(own for _, own in cells) else [(text, True) for text, _ in cells]
        for name, cells in found.items()
    }


def definitions_for(
    exercise: str,
    cells: list[tuple[str, bool]],
    notebook: dict[str, Any],
    lesson: Container[str],
    known: Container[str],
) -> list[tuple[str, bool]]:
    """What an answer uses and the student defined elsewhere in the notebook, to be run before it: imports, functions,
    classes and assignments, each a cell (text, False).

    A helper that two exercises share, or the student's own imports at the top, are right in a notebook. Only cells with
    a text of the student's own are searched, not the lesson's: `lesson` holds their texts. `known`: the names that the
    set-up binds. Of several definitions it is the last one before the answer, else the first one after it.
    """
    used, bound = names_used_and_bound([text for text, _ in cells])
    if not (lacking := {name for name in used - bound if name not in known and not hasattr(builtins, name)}):
        return []
    place = next(
        (at for at, cell in enumerate(notebook["cells"]) if exercise_of(cell) == (exercise, "answer")), -1
    )
    own = {text for text, _ in cells}
    found: dict[str, tuple[int, int, ast.stmt]] = {}
    for at, cell in enumerate(notebook["cells"]):
        text = notebooks.source(cell).replace("\r\n", "\n")
        if (
            cell["cell_type"] != "code"
            or exercise_of(cell)[1] == "test"
            or text in own
            or text.strip() in lesson
        ):
            continue
        for number, statement in enumerate(_statements(text)):
            for name in names_used_and_bound([ast.unparse(statement)])[1]:
                if at < place or name not in found:
                    found[name] = (at, number, statement)
    chosen: dict[tuple[int, int], ast.stmt] = {}
    missing = [name for name in lacking if name in found]
    while missing:
        at, number, statement = found[missing.pop()]
        if (at, number) not in chosen:
            chosen[at, number] = statement
            more = names_used_and_bound([ast.unparse(statement)])[0]
            missing += [name for name in more if name in found and name not in known]
    return [(ast.unparse(chosen[key]), False) for key in sorted(chosen)]


def _statements(text: str) -> list[ast.stmt]:
    with suppress(SyntaxError, ValueError, RecursionError):
        kinds = (
            ast.FunctionDef,
            ast.AsyncFunctionDef,
            ast.ClassDef,
            ast.Import,
            ast.ImportFrom,
            ast.Assign,
            ast.AnnAssign,
        )
        return [one for one in as_python(text).body if isinstance(one, kinds)]
    return []


def names_used_and_bound(texts: list[str]) -> tuple[set[str], set[str]]:
    """(names of the module that texts use, names that they bind); nothing of a text that is no Python."""
    used: set[str] = set()
    bound: set[str] = set()
    for text in texts:
        with suppress(SyntaxError, ValueError, RecursionError):
            code = compile(as_python(text), "<cell>", "exec", dont_inherit=True)
            used |= names_in(code, GLOBAL)
            bound |= {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_NAME"}
    return used, bound
