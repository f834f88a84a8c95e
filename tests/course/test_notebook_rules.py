"""Every lesson keeps the rules of minillm/course/lessons/rules.py, and every rule can fail."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from minillm._files import BadFileError, write_json
from minillm.course.lessons import notebooks
from minillm.course.lessons.rules import PEERS, RULES, check_lesson, check_notebook
from tests.course.lessons import LESSONS, code, markdown, stdout, tiny_lesson
from tests.helpers import cuts, pyproject

NAME = Path("99_9_tiny.ipynb")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_keeps_every_rule(path):
    assert check_lesson(path) == []


def test_the_tiny_lesson_keeps_every_rule():
    assert check_notebook(tiny_lesson(), NAME) == []


def change(position, **changes):
    def apply(lesson):
        lesson["cells"][position] |= changes

    return apply


def insert(position, cell):
    """A cell in between, with the execution counts still from one run."""

    def apply(lesson):
        lesson["cells"].insert(position, cell)
        for count, one in enumerate(notebooks.code_cells(lesson), 1):
            one["execution_count"] = count

    return apply


def without(position):
    def apply(lesson):
        del lesson["cells"][position]
        for count, one in enumerate(notebooks.code_cells(lesson), 1):
            one["execution_count"] = count

    return apply


def edit(position, old, new):
    def apply(lesson):
        cell = lesson["cells"][position]
        assert old in cell["source"]
        cell["source"] = cell["source"].replace(old, new)

    return apply


COPY = '''def check_text(name, value):
    """Another docstring."""
    whole = 1
    digest = hashlib.sha256(header.encode("utf-8"))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()'''.replace("    whole = 1\n", "")

BREAKS = {
    "file_size": [lambda lesson: insert(2, markdown("x" * 400_000))(lesson)],
    "kernel": [
        lambda lesson: lesson["metadata"]["kernelspec"].update(name="conda-env"),
        lambda lesson: lesson["metadata"].update(widgets={}),
        lambda lesson: lesson.update(metadata={}),
    ],
    "cell_ids": [
        change(2, id=""),
        change(2, id="two words"),
        lambda lesson: change(2, id=lesson["cells"][1]["id"])(lesson),
    ],
    "cell_metadata": [
        change(2, metadata={"execution": {"iopub.execute_input": "2024-01-01T00:00:00Z"}}),
        change(2, metadata={"tags": ["raises-exception"]}),
        change(2, metadata={"tags": ["nbval-skip"]}),
        change(2, metadata={"collapsed": False}),
    ],
    "one_run": [
        change(2, execution_count=None),
        change(2, execution_count=7),
        edit(2, "print", "%time print"),
    ],
    "outputs_present": [
        change(2, outputs=[]),
        insert(2, code("2 + 2")),
        insert(2, code("x = 1\nx")),
        insert(2, code("show(setup)")),
        insert(2, code("plot_lines({'a': [1]})")),
        insert(2, code("course.plot_lines({'a': [1]})\nx = 1")),
    ],
    "clean_outputs": [
        change(2, outputs=[stdout("UserWarning", "stderr")]),
        change(2, outputs=[{"output_type": "error", "ename": "E", "evalue": "bad", "traceback": []}]),
        change(
            2,
            outputs=[
                {
                    "output_type": "display_data",
                    "data": {"application/vnd.jupyter.widget-view+json": "{}"},
                    "metadata": {},
                }
            ],
        ),
    ],
    "one_machine": [
        change(2, outputs=[stdout("<object at 0x7f3a2b1c9d30>")]),
        change(2, outputs=[stdout("saved in /home/kim/model")]),
        change(2, outputs=[stdout("saved in /tmp/x")]),
        change(2, outputs=[stdout(r"C:\Users\kim")]),
        edit(2, "'four'", "'/Users/kim/x'"),
        insert(2, markdown("Open `/root/notes`.")),
    ],
    "few_decimals": [change(2, outputs=[stdout("loss 2.71828")]), change(2, outputs=[stdout("-0.12345")])],
    "claims": [
        change(4, metadata={"tags": [notebooks.IGNORE]}),
        edit(4, "assert 0.1 < 0.2\n", ""),
        without(4),
    ],
    "opening": [
        edit(0, "# A tiny", "## A tiny"),
        edit(0, "1장 LLM 지도", "Chapter 1"),
        edit(0, "5 minutes", "some time"),
        edit(1, "\n\nsetup()", ""),
        edit(1, "setup()", "setup(seed=3)"),
        edit(1, "from minillm.course import", "from minillm.course.page.session import"),
    ],
    "closing": [
        edit(12, "## Glossary", "## Words"),
        edit(12, "정렬", "sort"),
        edit(12, "## What to remember", "## End"),
    ],
    "short_cells": [insert(2, code("\n".join(f"x{i} = {i}" for i in range(25)))), insert(2, code("  \n"))],
    "exercises": [
        edit(6, "(2 points)", "(3 points)"),
        edit(6, " · Sort", ": Sort"),
        edit(6, "99-9-a", "99-9-c"),
        edit(7, "### END SOLUTION", ""),
        edit(8, "### BEGIN HIDDEN TESTS\n", ""),
        edit(8, 'check("99-9-a", ordered)', "assert ordered([1]) == [1]"),
        edit(8, 'check("99-9-a"', 'check("99-9-b"'),
        insert(7, markdown("A remark in between.")),
        change(7, metadata={}),
        change(8, metadata={}),
        change(2, metadata={"nbgrader": {"grade": True}}),
        lambda lesson: [without(9)(lesson) for _ in range(3)],
    ],
    "imports": [
        insert(2, code("import transformers")),
        insert(2, code("def f():\n    from sklearn.metrics import ndcg_score\n    return ndcg_score")),
    ],
    "one_copy": [
        insert(2, code(COPY)),
        insert(2, code("class A:\n" + COPY.replace("def", "    def").replace("\n    ", "\n        "))),
    ],
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name, damages in BREAKS.items() for damage in damages],
    ids=[f"{name}-{index}" for name, damages in BREAKS.items() for index in range(len(damages))],
)
def test_each_rule_can_fail_and_only_that_rule(name, damage, tmp_path):
    lesson = tiny_lesson()
    damage(lesson)
    path = tmp_path / NAME
    write_json(path, lesson)
    assert {found.split(":")[0] for found in check_lesson(path)} == {name}


def test_every_rule_is_tried_here():
    assert set(BREAKS) | {"file_name"} == set(RULES)


def test_the_libraries_a_lesson_leaves_alone_are_those_the_library_leaves_alone():
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    (held,) = [one for one in contracts if one["name"].startswith("the library never imports")]
    assert set(held["forbidden_modules"]) == PEERS


@pytest.mark.parametrize(
    "name", ["tiny.ipynb", "9_9_tiny.ipynb", "99_9_Tiny.ipynb", "99_9.ipynb", "99_9_a b.ipynb"]
)
def test_a_lesson_has_a_lesson_s_name(name):
    breaks = check_notebook(tiny_lesson(), Path(name))
    assert any(found.startswith("file_name:") for found in breaks)


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.org/home/page",
        "notebooks/tmp/x and ./home/x",
        "1/2 and a/b",
        "0xff is 255, 0x10FFFF the last code point",
        "0.123 and 12.5 and 1.2.3.45678",
        "3.11.7",
    ],
)
def test_harmless_text_breaks_no_rule(text):
    lesson = tiny_lesson()
    change(2, outputs=[stdout(text)])(lesson)
    assert check_notebook(lesson, NAME) == []


def test_source_as_a_list_of_lines_is_the_same_lesson():
    lesson = tiny_lesson()
    listed = copy.deepcopy(lesson)
    for cell in listed["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    assert check_notebook(listed, NAME) == []
    assert notebooks.find_exercises(listed) == notebooks.find_exercises(lesson)


def test_a_notebook_cut_anywhere_is_refused_by_name(tmp_path):
    path = write_json(tmp_path / NAME, tiny_lesson())
    whole = path.read_bytes()
    for length in cuts(whole):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match=r"99_9_tiny\.ipynb"):
            check_lesson(path)
    for content in (b"[]", b"{}", b'{"cells": 3}', b'{"cells": [1]}', b'{"cells": [{}]}', b"null"):
        path.write_bytes(content)
        with pytest.raises(BadFileError, match=r"99_9_tiny\.ipynb"):
            check_lesson(path)
    with pytest.raises(BadFileError, match="missing"):
        check_lesson(tmp_path / "missing.ipynb")
