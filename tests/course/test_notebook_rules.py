"""Every lesson keeps the rules of minillm/course/lessons/rules.py, and every rule can fail."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from minillm._files import BadFileError, write_json
from minillm.course.lessons import notebooks, rules
from minillm.course.lessons.rules import PEERS, RULES, check_lesson, check_notebook, time_breaks
from minillm.course.paths import checkout
from tests.course.lessons import LESSONS, card, code, markdown, stdout, tiny_lesson
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


def add(*cells):
    """Cells before the closing one."""

    def apply(lesson):
        for cell in cells:
            insert(len(lesson["cells"]), cell)(lesson)

    return apply


def proof(text):
    """A cell tagged prove that says how many it tried."""
    return code(f"{text}\nprint('tried', 3)", stdout("tried 3"), tags=("prove",))


def optional(text):
    return code(f"if needs('names'):\n    {text}", stdout("1"), tags=("needs-names",))


def shown(lines, parameters, *more):
    """The output of show: a function of so many lines and parameters, and more functions of so many lines."""
    blocks = []
    for index, count in enumerate((lines, *more)):
        names = ", ".join(["self", *(f"p{i}" for i in range(parameters if index == 0 else 1))])
        body = [f"    x = {i}" for i in range(count - 1)]
        blocks.append("\n".join([f"`f{index}.py`\n\n```python\ndef f{index}({names}):", *body, "```"]))
    return card("\n\n".join(blocks))


BAD_PROOFS = [
    "assert all(x > 0 for x in found)",
    "assert all([x > 0 for x in found])",
    "assert all(found)",
    "assert not any(x > 0 for x in found)",
    "assert (found > 0).all()",
    "assert np.all(found > 0)",
    "for x in found:\n    assert x > 0",
    "for x, y in zip(found, other.values()):\n    torch.testing.assert_close(x, y)",
    "assert all(x > 0 for x in [])",
    "assert all(x > 0 for x in range(0))",
    "names = ['a']\nnames = found\nassert all(x for x in names)",
    "for names in [[], found]:\n    pass\nassert all(x for x in names)",
    "assert all(x > 0 for x in [*found])",
    "assert all(x == y for x, y in pairwise([1]))",
    "assert len(other) == 3 and all(x > 0 for x in found)",
]
GOOD_PROOFS = [
    "assert len(found) == 3\nassert all(x > 0 for x in found)",
    "assert all(x > 0 for x in found)\nprint(len(found), 'tried')",
    "assert found and all(x > 0 for x in [1, 2])",
    "assert found\nassert all(x > 0 for x in found)",
    "for x in range(3):\n    assert x > 0",
    "names = ['a', 'b']\nfor i, name in enumerate(names):\n    assert name",
    "table = {'a': 1}\nassert all(x > 0 for x in table.values())",
    "for x, y in zip(['a'], found, strict=True):\n    assert x == y",
    "for x, y in zip('qkv', (1, 2, 3)):\n    assert x != y",
    "assert (found > 0).all()\nprint(found.shape)",
    "assert (a - b).abs().max() < 1e-5",
    "assert any(x > 0 for x in found)",
    "for x in found:\n    y = x\nassert y",
    "for x in [*found, 1]:\n    assert x",
]


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
        change(2, metadata={"jupyter": {"source_hidden": True}}),
        change(4, metadata={"tags": ["prove"]}),
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
        change(-2, outputs=[]),
        change(-4, outputs=[]),
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
        insert(4, code("x = 1")),
        insert(4, code("print(1)", stdout("1"), tags=(notebooks.IGNORE,))),
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
        edit(-1, "## Glossary", "## Words"),
        edit(-1, "\n| vocabulary | 어휘 사전 | all tokens, each with its id |", ""),
        edit(-1, "## What to remember", "## End"),
    ],
    "next_lesson": [add(markdown("Next: lesson 01_2.")), add(markdown("Next: words,\nthen 99_9 again."))],
    "short_cells": [insert(2, code("\n".join(f"x{i} = {i}" for i in range(21)))), insert(2, code("  \n"))],
    "exercises": [
        edit(6, "2 points)", "3 points)"),
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
    "proofs": [
        insert(2, code("assert 1 < 2")),
        insert(2, code("torch.testing.assert_close(a, b)")),
        insert(2, code("print('checked 3')", stdout("checked 3"), tags=("prove",))),
        insert(2, code("assert x\nprint('it holds')", stdout("it holds"), tags=("prove",))),
        insert(2, code("assert 1 < 2", tags=("prove",))),
        lambda lesson: [
            insert(5, proof("assert x"))(lesson),
            insert(5, code("assert x\nprint(1)", stdout("1"), tags=("prove", notebooks.IGNORE)))(lesson),
        ],
    ],
    "truths": [
        insert(2, code("print('equal:', x)", stdout("equal: True"))),
        insert(2, code("print('equal:', x)", stdout("one\nTrue\nthree"))),
        insert(
            2, code("x", {"output_type": "execute_result", "data": {"text/plain": "False"}, "metadata": {}})
        ),
        insert(2, code("print(f'equal: {x}')", stdout("a=True."))),
        insert(2, code("print('all', all(x))", stdout("all 1"))),
        insert(2, code("print(f'equal: {a == b}!')", stdout("equal: ok!"))),
        insert(2, code("print('the same', True, 3)", stdout("the same 3"))),
        insert(2, code("print(not x, 3)", stdout("3"))),
        insert(2, code("print(x < 1 and y < 2, 3)", stdout("3"))),
        insert(2, code("torch.equal(a, b)", stdout("3"))),
        insert(2, proof("assert a\nprint('largest 0.1, fine:', a < 1)")),
    ],
    "empty_proofs": [insert(2, proof(text)) for text in BAD_PROOFS],
    "predictions": [
        lambda lesson: [without(-4)(lesson) for _ in range(3)],
        edit(-2, "second", "other"),
        lambda lesson: [
            edit(-4, "second", "first")(lesson),
            edit(-2, "second", "first")(lesson),
            without(-5)(lesson),
        ],
        without(-3),
        edit(-4, "second = ...", "second = 3"),
        edit(-4, "second)", "3)"),
        edit(-4, '\npredict("How many?", second)', ""),
        insert(2, code("third = ...\npredict('How many?', third)", card("> How many?"))),
    ],
    "shown_source": [
        insert(2, code("show(f)", shown(26, 1))),
        insert(2, code("show(f)", shown(3, 9))),
        insert(2, code("x = 1\nshow(f, g)", shown(3, 1, 26))),
        insert(2, code("show(f, g)", shown(13, 1, 13))),  # each fits, both at once do not
        insert(
            2, code("show(f, since=g)", card("`f`\n\n```diff\n" + "  same\n" * 13 + "+ new\n" * 13 + "```"))
        ),
        insert(
            2, code("show(f)", card("f\n\n```python\ndef f(a, b, c, *d, e, f, g, h, **i):\n    pass\n```"))
        ),
    ],
    "optional_parts": [
        add(optional("print(1)"), code("x = 1")),
        add(code("print(1)", stdout("1"), tags=("needs-names",))),
        add(code("if needs('names'):\n    print(1)\nx = 1", stdout("1"), tags=("needs-names",))),
        add(code("if needs('names'):\n    print(1)\nelse:\n    x = 1", stdout("1"), tags=("needs-names",))),
        add(code("if needs('names'):\n    print(1)", stdout("1"), tags=("needs-names", "needs-e5"))),
        add(code("if needs('nonsense'):\n    print(1)", stdout("1"), tags=("needs-nonsense",))),
        add(
            optional("x = 1\n    print(x)"),
            code("if needs('e5'):\n    print(x)", stdout("1"), tags=("needs-e5",)),
        ),
    ],
    "exercise_kinds": [
        edit(6, "build, 2", "2"),
        edit(6, "build, 2", "break, 2"),
        edit(9, "break, 1", "predict, 1"),
    ],
    "glossary": [
        edit(-1, "토큰", "낱말"),
        edit(-1, "each with its id", "with ids"),
        edit(-1, "| token |", "| tokens |"),
        edit(-1, "|---|---|---|\n", ""),
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


KEEPS = [
    *(proof(text) for text in GOOD_PROOFS),
    code("print('of 3 words:', 3)\nwords = 'a' if x == 1 else 'b'", stdout("of 3 words: 3")),
    code("print(mask)", stdout("[[True, False], [True, True]]")),
    code("print('yes' if x == 1 else 'no', x or False)", stdout("yes 1")),
    code("show(f)", shown(25, 8)),
    code("show(f, since=g)", card("`f`\n\n```diff\n" + "- gone\n" * 30 + "+ new\n```")),
    code("reveal(first, 0.1234, 'Why.')", card("> It is 0.123. Why.")),
]


@pytest.mark.parametrize("cell", KEEPS, ids=range(len(KEEPS)))
def test_a_lesson_with_such_a_cell_keeps_every_rule(cell):
    lesson = tiny_lesson()
    insert(2, cell)(lesson)
    assert check_notebook(lesson, NAME) == []


def test_optional_parts_close_a_lesson(monkeypatch):
    lesson = tiny_lesson()
    add(
        code("if needs('names'):\n    many = 1\n    print(many)", stdout("1"), tags=("needs-names",)),
        code(
            "if needs('names', 'e5'):\n    assert many == 1\n    print(1)",
            stdout("1"),
            tags=("needs-names", "needs-e5", "prove"),
        ),
        markdown("The end."),
    )(lesson)
    assert check_notebook(lesson, NAME) == []
    lesson["cells"][-3] |= {"outputs": [], "execution_count": None}  # not run where the lesson was written
    lesson["cells"][-2] |= {"outputs": [], "execution_count": None}
    assert check_notebook(lesson, NAME) == []


def test_times_are_held_to_a_minute_and_half_of_it_on_average(tmp_path):
    for lesson in ("01_1", "02_1"):
        write_json(tmp_path / "notebooks" / f"{lesson}_x.ipynb", {})
    assert time_breaks(tmp_path) == [
        f"{lesson}_x.ipynb: time: no seconds in tests/course/lesson_times.json: `author run {lesson}` writes them"
        for lesson in ("01_1", "02_1")
    ]

    def record(**seconds):
        write_json(
            tmp_path / rules.TIMES, {"machine": "m", "seconds": {k[1:]: v for k, v in seconds.items()}}
        )
        return time_breaks(tmp_path)

    assert record(_01_1=60, _02_1=0) == []
    assert record(_01_1=61, _02_1=0) == [
        "01_1_x.ipynb: time: runs 61 s, at most 60",
        "tests/course/lesson_times.json: time: lessons run 30 s on average, at most 30",
    ]


def test_the_lessons_of_this_checkout_take_no_longer_than_they_may():
    assert time_breaks(checkout()) == []


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
