"""A reader's own copy of a lesson, to write in: study/02_1_name.ipynb, unsolved, or ..._solved.ipynb with solutions.

A copy is made once and then belongs to its reader. When the lesson changes, the two are merged cell by cell, with
the copy as it was handed out (kept in study/.originals/) as their common origin: the reader's answers, added cells
and edits stay, the lesson's changes arrive. Where both changed the same cell, or the lesson dropped one that the reader
changed, the reader's whole file is kept beside it under today's date.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, write_json
from minillm.course.classroom.submissions import exercise_of, writable
from minillm.course.lessons import notebooks

Notebook = dict[str, Any]
SOLVED = "_solved"


def open_copy(
    lesson: Path, folder: Path, solutions: bool = False, now: datetime | None = None
) -> tuple[Path, str]:
    """Make, or bring up to date, the copy of a lesson's notebook in `folder`: (its path, what was done in words).

    The words are "" when nothing had to be done. Only files in `folder` are written. `now` dates a kept copy.
    """
    new = solved_version(lesson) if solutions else student_version(lesson)
    path = folder / (f"{lesson.stem}{SOLVED}.ipynb" if solutions else lesson.name)
    original = folder / ".originals" / path.name
    if not path.exists():
        said = "made"
    else:
        try:
            mine = notebooks.read_notebook(path)
        except BadFileError:
            said = f"could not be read: it is kept as {_keep(path, now)}, and made anew"
        else:
            base = _original(original) or new
            if _texts(base) == _texts(new) and original.exists():
                return path, ""
            new, lost = merge(base, writable(mine), new)
            said = "the lesson changed: its new text is in, and so is what you wrote"
            if lost:
                said += (
                    f"; {', '.join(lost)} changed on both sides: your old file is kept as {_keep(path, now)}"
                )
    write_json(path, new)
    write_json(original, solved_version(lesson) if solutions else student_version(lesson))
    return path, said


def student_version(lesson: Path) -> Notebook:
    """The lesson without solutions and hidden tests; outputs stay, but for those of the exercises."""
    return _version(lesson, notebooks.student_source)


def solved_version(lesson: Path) -> Notebook:
    """The lesson as it is, exercises solved."""
    return _version(lesson, notebooks.source)


def _version(lesson: Path, text_of: Callable[[dict[str, Any]], str]) -> Notebook:
    notebook = copy.deepcopy(notebooks.read_notebook(lesson))
    exercises = {place for one in notebooks.find_exercises(notebook) for place in (one.answer, one.test)}
    for index in exercises:
        cell = notebook["cells"][index]
        text = text_of(cell)
        if text != notebooks.source(cell):
            cell |= {"outputs": [], "execution_count": None}
        cell["source"] = text
    return notebook


# --- merging ---


def merge(base: Notebook, mine: Notebook, new: Notebook) -> tuple[Notebook, list[str]]:
    """(the new lesson with the reader's work in it, what could not be merged, by name).

    `base` is the copy as it was handed out, `mine` what the reader made of it.
    """
    mine_of = _pairs(base, mine)  # places in base -> places in mine
    new_of = _pairs(base, new)
    base_of_new = {place: at for at, place in new_of.items()}
    lost: list[str] = []
    cells: list[dict[str, Any]] = []
    home: dict[int, int] = {}  # a place in mine -> the place in `cells` it ended at
    for place, cell in enumerate(new["cells"]):
        at = base_of_new.get(place)
        there = mine_of.get(at) if at is not None else None
        if there is not None:
            before, own = base["cells"][at], mine["cells"][there]
            home[there] = len(cells)
            if not _same(before, own):
                if _same(before, cell) or _same(own, cell) or exercise_of(cell)[1] == "answer":
                    cells.append(cell | _written(own) | _outputs(own))
                    continue
                lost.append(_name(cell, place))
            elif _same(before, cell):
                cells.append(cell | _outputs(own))
                continue
        cells.append(cell)
    added: dict[int, list[dict[str, Any]]] = {}
    last = -1
    from_base = {there: at for at, there in mine_of.items()}
    for there, own in enumerate(mine["cells"]):
        if there in home:
            last = home[there]
        elif there not in from_base:
            added.setdefault(last, []).append(own)
        elif not _same(
            base["cells"][from_base[there]], own
        ):  # the lesson has dropped a cell the reader changed
            lost.append(_name(own, there))
            added.setdefault(last, []).append(_free(own))
    merged = list(added.get(-1, []))
    for place, cell in enumerate(cells):
        merged += [cell, *added.get(place, [])]
    kernel = mine.get("metadata") if isinstance(mine.get("metadata"), dict) else {}
    return new | {"cells": _with_ids(merged), "metadata": new["metadata"] | kernel}, lost


def _pairs(one: Notebook, other: Notebook) -> dict[int, int]:
    """Which cell of `other` is which of `one`: by exercise, then by id, then by the same text in the same order."""
    pairs: dict[int, int] = {}
    for key in (_exercise_key, lambda cell: (cell["cell_type"], cell.get("id"))):
        places: dict[Any, list[int]] = {}
        for place, cell in enumerate(other["cells"]):
            places.setdefault(key(cell), []).append(place)
        taken = set(pairs.values())
        for at, cell in enumerate(one["cells"]):
            name = key(cell)
            free = [place for place in places.get(name, []) if place not in taken]
            if at not in pairs and name is not None and None not in name and free:
                pairs[at] = free[0]
                taken.add(free[0])
    left = [at for at in range(len(one["cells"])) if at not in pairs]
    free = [place for place in range(len(other["cells"])) if place not in set(pairs.values())]
    texts = [
        [_text(book["cells"][place]) for place in places] for book, places in ((one, left), (other, free))
    ]
    for block in difflib.SequenceMatcher(None, *texts, autojunk=False).get_matching_blocks():
        for step in range(block.size):
            pairs[left[block.a + step]] = free[block.b + step]
    return pairs


def _exercise_key(cell: dict[str, Any]) -> tuple[str, str] | None:
    name, part = exercise_of(cell)
    return (name, part) if part else None


def _text(cell: dict[str, Any]) -> tuple[str, str]:
    """A cell's kind and text, without the line ends of Windows and blanks at the end."""
    return cell["cell_type"], notebooks.source(cell).replace("\r\n", "\n").rstrip()


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return _text(one) == _text(other)


def _texts(notebook: Notebook) -> list[tuple[str, str]]:
    return [_text(cell) for cell in notebook["cells"]]


def _written(own: dict[str, Any]) -> dict[str, Any]:
    """What the reader wrote into a cell; a text may have pictures with it."""
    return {name: own[name] for name in ("source", "attachments") if name in own}


def _outputs(own: dict[str, Any]) -> dict[str, Any]:
    """What the reader's run of a cell left."""
    if own["cell_type"] != "code":
        return {}
    return {"outputs": own.get("outputs", []), "execution_count": own.get("execution_count")}


def _free(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell of an exercise that is no more, as one of the reader's own."""
    metadata = {name: value for name, value in cell.get("metadata", {}).items() if name != "nbgrader"}
    return cell | {"metadata": metadata}


def _name(cell: dict[str, Any], place: int) -> str:
    name, part = exercise_of(cell)
    return f"the {part} of {name}" if part else f"cell {place + 1}"


def _with_ids(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every cell with an id of its own, as nbformat 4.5 wants it; Colab and VS Code leave some without."""
    seen: set[str] = set()
    for number, cell in enumerate(cells):
        if not re.fullmatch(r"[\w-]{1,64}", cell.get("id", ""), re.ASCII) or cell["id"] in seen:
            digest = hashlib.sha256(f"{number} {_text(cell)}".encode("utf-8", "replace")).hexdigest()
            cells[number] = cell | {"id": digest[:8]}
        seen.add(cells[number]["id"])
    return cells


def _original(path: Path) -> Notebook | None:
    try:
        return notebooks.read_notebook(path)
    except BadFileError:
        return None


def _keep(path: Path, now: datetime | None) -> str:
    """Copy a file beside itself under the date; the name of the copy. Nothing is ever overwritten."""
    day = (now or datetime.now()).strftime("%Y-%m-%d_%H%M%S")
    for number in range(1000):
        kept = path.with_name(f"{path.stem}_{day}{f'_{number}' if number else ''}.ipynb")
        try:
            with open(kept, "xb") as file:
                file.write(path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            continue
        return kept.name
    raise ValueError(f"{path.parent} holds a thousand copies of {path.name} of this second")
