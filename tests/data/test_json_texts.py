"""Notebooks and lines of JSON as text, and what in them is refused."""

import json

import pytest

from minillm._files import BadFileError
from minillm.data import read_documents
from minillm.data.json_texts import jsonl_documents, notebook_text
from minillm.data.text_files import read_files


def notebook(*cells):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)})


def test_a_notebook_is_its_markdown_and_its_code_without_outputs():
    source = notebook(
        {"cell_type": "markdown", "source": ["# 제목\n", "\n", "글"]},
        {"cell_type": "code", "source": "x = 1\n\n\n\n# no heading", "outputs": [{"text": "printed"}]},
        {"cell_type": "code", "source": ""},
        {"cell_type": "raw", "source": "raw\r\ntext"},
        {"cell_type": "code", "source": ["print('''\n", "```\n", "''')"]},
    )
    assert notebook_text(source) == (
        "# 제목\n\n글\n\n```python\nx = 1\n\n# no heading\n```\n\nraw\ntext\n\n````python\nprint('''\n```\n''')\n````"
    )


def test_a_notebook_that_nbformat_wrote_is_read_the_same(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="the library that writes notebooks: the lab extra")
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# A\n\nwords"), v4.new_code_cell("a = 1\nb = 2")]
    path = tmp_path / "a.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    (document,) = read_documents(path)
    assert (document.id, document.title) == ("a.ipynb", "A")
    assert document.text == "# A\n\nwords\n\n```python\na = 1\nb = 2\n```"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "no list of cells"),
        ('{"worksheets": []}', "no list of cells"),
        ('{"cells": [3]}', "no list of cells"),
        (notebook({"cell_type": "code", "source": 3}), "source of its cell 1 is 3"),
        (notebook({"cell_type": "markdown", "source": ["a", None]}), "source of its cell 1"),
        (notebook({"cell_type": "markdown", "source": "\ud800"}), "half a surrogate pair"),
    ],
)
def test_what_is_no_notebook_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        notebook_text(source)


def test_lines_of_json_are_documents_with_and_without_id_and_title():
    lines = (
        '{"text": "하나", "title": "제목", "id": "a"}', "", '{"text": "two\\r\\nlines"}',
        '{"text": "x", "_id": 7, "more": []}', '{"text": " "}',
    )  # fmt: skip
    source = "\n".join(lines)
    found = [(one.id, one.title, one.text) for one in jsonl_documents(source, "f.jsonl")]
    assert found == [("f.jsonl:a", "제목", "하나"), ("f.jsonl:3", "", "two\nlines"), ("f.jsonl:7", "", "x")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: it is no JSON"),
        ("[1]", "line 2: expected an object with a text"),
        ('{"title": "b"}', "line 2: expected an object with a text"),
        ('{"text": 3}', "line 2: expected"),
        ('{"text": "b", "title": 3}', "line 2: its title must be a text"),
        ('{"text": "b", "id": 1.5}', "line 2: its id must be"),
        ('{"text": "b", "id": true}', "line 2: its id must be"),
        ('{"text": "b", "id": "a"}', "line 2: its id 'a' came before"),
        ('{"text": "\\ud800"}', "half a surrogate pair"),
    ],
)
def test_a_line_that_will_not_do_is_named(line, message):
    with pytest.raises(ValueError, match=message):
        jsonl_documents('{"text": "a", "id": "a"}\n' + line, "f.jsonl")


def test_read_files_names_what_it_could_not_read(tmp_path):
    for name, content in {"a.txt": "글", "b.jsonl": '{"text": "b"}', "c.jsonl": "x", "d.odt": "1,2"}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    reading = read_files([tmp_path])
    assert [file.name for file in reading.files] == ["a.txt", "b.jsonl"]
    assert [one.id for one in reading.documents] == ["a.txt", "b.jsonl:1"]
    assert list(reading.refused) == ["c.jsonl"]
    assert reading.others == {".odt": 1}
    assert reading.files[0].size == 3
    assert [one.id for one in read_documents(tmp_path)] == ["a.txt"]  # as before: what trains a model is text
    for path in ("a.txt", "b.jsonl"):
        (tmp_path / path).unlink()
    with pytest.raises(BadFileError, match=r"c\.jsonl.*line 1: it is no JSON"):
        read_files([tmp_path])
