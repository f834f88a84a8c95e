"""A reader's copies: unsolved, kept, merged with a changed lesson, and nothing of theirs is ever lost."""

from __future__ import annotations

import copy
import random
from datetime import datetime

import pytest

from minillm._files import write_json
from minillm.course.classroom.student_copy import open_copy
from minillm.course.lessons import notebooks
from tests.course.lessons import LESSONS, code, markdown, tiny_lesson

nbformat = pytest.importorskip("nbformat", reason="nbformat checks notebooks; the lab extra brings it")
ORDERED, COUNT = 7, 10  # the two answer cells of the tiny lesson
NOW = datetime(2026, 3, 1, 9, 30)


@pytest.fixture
def place(tmp_path):
    lesson = write_json(tmp_path / "notebooks" / "99_9_tiny.ipynb", tiny_lesson())
    return lesson, tmp_path / "study"


def edit(path, change):
    """Read a notebook, change its cells, write it back: a reader in JupyterLab, or an author."""
    notebook = notebooks.read_notebook(path)
    change(notebook["cells"])
    write_json(path, notebook)


def texts(path):
    return [notebooks.source(cell) for cell in notebooks.read_notebook(path)["cells"]]


def writes(index, text):
    return lambda cells: cells[index].update(source=text)


MINE = "def ordered(values):\n    return sorted(values)  # 내 답"


def test_a_copy_is_unsolved_and_keeps_the_outputs(place):
    lesson, folder = place
    before = lesson.read_bytes()
    path, said = open_copy(lesson, folder)
    assert (path, said) == (folder / "99_9_tiny.ipynb", "made")
    whole = path.read_text(encoding="utf-8")
    assert "HIDDEN" not in whole
    assert "SOLUTION" not in whole
    assert "raise NotImplementedError()" in whole
    cells = notebooks.read_notebook(path)["cells"]
    assert cells[2]["outputs"][0]["text"] == "four 4\n"
    assert cells[ORDERED + 1]["outputs"] == []
    assert lesson.read_bytes() == before
    nbformat.validate(nbformat.read(path, as_version=4))


def test_solutions_are_a_copy_too(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder, solutions=True)
    assert path.name == "99_9_tiny_solved.ipynb"
    assert texts(path) == texts(lesson)


def test_opening_again_changes_nothing(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    edit(path, writes(ORDERED, MINE))
    mine = path.read_bytes()
    assert open_copy(lesson, folder) == (path, "")
    assert path.read_bytes() == mine


def test_a_changed_lesson_comes_in_and_the_answers_stay(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)

    def study(cells):
        cells[ORDERED].update(
            source=MINE, outputs=[{"output_type": "stream", "name": "stdout", "text": "ran\n"}]
        )
        cells.insert(ORDERED + 1, code("ordered([5, 4])  # mine"))
        cells.insert(1, markdown("내 메모"))
        cells[3].update(source="print('four', 2 + 2)  # I see")

    def improve(cells):
        cells[0]["source"] += "\n\nA new sentence."
        cells[ORDERED - 1]["source"] += " In ascending order."
        cells.insert(6, markdown("### A new cell"))

    edit(path, study)
    edit(lesson, improve)
    path, said = open_copy(lesson, folder, now=NOW)
    assert said == "the lesson changed: its new text is in, and so is what you wrote"
    merged = texts(path)
    assert merged[0].endswith("A new sentence.")
    assert merged[1] == "내 메모"
    assert merged[3] == "print('four', 2 + 2)  # I see"
    at = merged.index(MINE)
    assert merged[at - 1].endswith("In ascending order.")
    assert merged[at + 1] == "ordered([5, 4])  # mine"
    assert "### A new cell" in merged
    assert notebooks.read_notebook(path)["cells"][at]["outputs"][0]["text"] == "ran\n"
    assert not list(folder.glob("*2026*"))
    nbformat.validate(nbformat.read(path, as_version=4))
    assert open_copy(lesson, folder)[1] == ""


def test_where_both_changed_a_cell_the_old_file_is_kept(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    edit(path, writes(2, "print('five')  # mine"))
    mine = path.read_bytes()
    edit(lesson, writes(2, "print('six')"))
    path, said = open_copy(lesson, folder, now=NOW)
    assert "cell 3 changed on both sides: your old file is kept as 99_9_tiny_2026-03-01_093000.ipynb" in said
    assert (folder / "99_9_tiny_2026-03-01_093000.ipynb").read_bytes() == mine
    assert texts(path)[2] == "print('six')"


def test_an_exercise_that_is_no_more_keeps_its_answer(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    edit(path, writes(ORDERED, MINE))
    edit(lesson, lambda cells: cells.__delitem__(slice(ORDERED - 1, ORDERED + 2)))
    path, said = open_copy(lesson, folder, now=NOW)
    assert "the answer of 99-9-a" in said
    assert MINE in texts(path)
    assert len(list(folder.glob("*2026*"))) == 1


def test_a_damaged_copy_is_kept_and_made_anew(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    for number in range(2):
        path.write_text(f"half a file {number}")
        assert "could not be read" in open_copy(lesson, folder, now=NOW)[1]
    kept = {one.read_text() for one in folder.glob("*2026*")}
    assert kept == {"half a file 0", "half a file 1"}, "one of the same second is not overwritten"


def test_half_an_emoji_in_a_copy_stops_no_merge(place):
    """What an editor leaves of one is no character, and could be written into no file."""
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    edit(path, writes(ORDERED, f"# HALF\n{MINE}"))
    path.write_bytes(path.read_bytes().replace(b"HALF", rb"\ud83d"))
    edit(lesson, writes(0, "# Another title"))
    open_copy(lesson, folder)
    assert notebooks.source(notebooks.read_notebook(path)["cells"][ORDERED]) == f"# ?\n{MINE}"


def test_a_copy_whose_original_was_deleted_is_kept(place):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    edit(path, writes(ORDERED, MINE))
    (folder / ".originals" / path.name).unlink()
    edit(lesson, writes(0, "# Another title"))
    open_copy(lesson, folder, now=NOW)
    everything = "".join(one.read_text(encoding="utf-8") for one in folder.glob("*.ipynb"))
    assert "내 답" in everything


def colab(notebook):
    """As Google Colab saves it: no ids, format 4.0, metadata of its own, text in lines."""
    notebook["nbformat_minor"] = 0
    notebook["metadata"]["colab"] = {"provenance": []}
    for number, cell in enumerate(notebook["cells"]):
        cell.pop("id", None)
        cell["metadata"]["id"] = f"colab{number}"
        cell["source"] = cell["source"].splitlines(keepends=True)


def vs_code(notebook):
    """As some editors leave it: other ids, Windows line ends."""
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"W{number}sZmlsZQ=="
        cell["source"] = cell["source"].replace("\n", "\r\n")


@pytest.mark.parametrize("editor", [colab, vs_code])
def test_other_editors_change_ids_and_line_ends_and_the_merge_still_finds_the_cells(place, editor):
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    edit(path, writes(ORDERED, MINE))
    notebook = notebooks.read_notebook(path)
    editor(notebook)
    write_json(path, notebook)
    edit(lesson, writes(2, "print('six')"))
    path, said = open_copy(lesson, folder, now=NOW)
    assert "both sides" not in said
    merged = texts(path)
    assert len(merged) == len(texts(lesson))
    assert merged[2] == "print('six')"
    assert merged[ORDERED].replace("\r\n", "\n") == MINE
    nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("seed", range(30))
def test_whatever_reader_and_author_do_nothing_of_the_readers_is_lost(place, seed):
    """Random edits on both sides: each text the reader wrote stands in the merged file or in the kept one."""
    lesson, folder = place
    path, _ = open_copy(lesson, folder)
    dice = random.Random(seed)
    wrote = []

    def study(cells):
        for number in range(6):
            text = f"mine {number} {dice.random()}"
            wrote.append(text)
            index = dice.randrange(len(cells))
            if dice.random() < 0.5:
                cells.insert(index, dice.choice([code, markdown])(text))
            elif not any(text in notebooks.source(cells[index]) for text in wrote):
                cells[index]["source"] = text
            else:
                wrote.pop()

    def improve(cells):
        for number in range(6):
            index = dice.randrange(len(cells))
            kind = dice.random()
            if kind < 0.3 and notebooks.source(cells[index]).startswith("print"):
                del cells[index]
            elif kind < 0.6:
                cells.insert(2, markdown(f"new {number} {dice.random()}"))
            elif cells[index]["cell_type"] == "markdown":
                cells[index]["source"] += f" {number}"

    edit(path, study)
    edit(lesson, improve)
    open_copy(lesson, folder, now=NOW)
    everything = [text for file in folder.glob("*.ipynb") for text in texts(file)]
    assert [text for text in wrote if text not in everything] == []
    nbformat.validate(nbformat.read(path, as_version=4))
    assert open_copy(lesson, folder)[1] == ""


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_lesson_has_a_copy_without_solutions(path, tmp_path):
    mine, _ = open_copy(path, tmp_path)
    whole = mine.read_text(encoding="utf-8")
    assert "### BEGIN" not in whole
    lesson = copy.deepcopy(notebooks.read_notebook(path))
    for one in notebooks.find_exercises(lesson):
        solution = notebooks.source(lesson["cells"][one.answer])
        assert texts(mine)[one.answer] == notebooks.student_source(lesson["cells"][one.answer]) != solution
    nbformat.validate(nbformat.read(mine, as_version=4))
