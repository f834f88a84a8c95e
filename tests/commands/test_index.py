"""`minillm index PATH ...`: files of every kind, Ctrl-C in the middle, and files that change, come and go."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from minillm._files import load_arrays
from minillm.cli import main
from minillm.data import korean_documents, python_docs
from minillm.search import PassageIndex, SentenceEncoder
from tests.search.test_sentence_encoder import tiny, tokenizer

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
QUESTIONS = ["the cat sleeps", "고양이", "what does with do", "강아지 the dog runs", "function 7"]

# A run that says, once its fifth part is written, that it may be stopped, and waits for that.
WAITS = """
import signal, sys, time
from pathlib import Path
from minillm.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # `nohup make test &` starts with it ignored
from minillm.search.kept_vectors import KeptVectors

write, parts = KeptVectors._write, []

def write_and_wait(self, keys, vectors):
    write(self, keys, vectors)
    parts.append(len(keys))
    if len(parts) == 5:
        Path(sys.argv[1]).write_text(str(sum(parts)))
        time.sleep(120)

KeptVectors._write = write_and_wait
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def encoder_folder(tokenizer, tmp_path_factory):
    encoder = SentenceEncoder(tiny(), tokenizer, prompts={"query": "query: ", "passage": "passage: "})
    return encoder.save_pretrained(tmp_path_factory.mktemp("encoder") / "tiny")


def write_files(root, count=300):
    """Text, Markdown, Python, notebooks and lines of JSON, half of the prose Korean."""
    draw = random.Random(0)
    english = [part for one in python_docs() for part in one.text.split("\n\n") if len(part.split()) > 20]
    korean = [one.text for one in korean_documents(200, seed=3)]

    def prose():
        return draw.choice(english) if draw.random() < 0.5 else draw.choice(korean)

    for number in range(count):
        folder = root / f"part{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        kind = ("txt", "md", "py", "ipynb", "jsonl")[number % 5]
        if kind == "txt":
            text = "\n\n".join(prose() for _ in range(3))
        elif kind == "md":
            text = "\n\n".join(f"# 제목 {number}.{i}\n\n{prose()}" for i in range(3))
        elif kind == "py":
            text = f'def function_{number}(cats):\n    """The function {number} counts cats."""\n    return {number}\n'
        elif kind == "ipynb":
            cells = [
                {"cell_type": "markdown", "source": [f"# Notebook {number}\n", "\n", prose()]},
                {
                    "cell_type": "code",
                    "source": f"dogs_{number} = {number}",
                    "outputs": [{"text": "not read"}],
                },
            ]
            text = json.dumps({"nbformat": 4, "cells": cells})
        else:
            rows = [{"id": i, "title": f"행 {number}", "text": prose()} for i in range(3)]
            text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"f{number}.{kind}").write_text(text, encoding="utf-8")


def run(capsys, *arguments):
    assert main(list(map(str, arguments))) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def stored(folder):
    return load_arrays(folder / "dense" / "vectors.safetensors", "exact index")[0]["vectors"]


def assert_same_index(folder, fresh, rounding=2e-6):
    one, other = PassageIndex.load(folder), PassageIndex.load(fresh)
    assert list(one.passages.values()) == list(other.passages.values())
    np.testing.assert_allclose(stored(folder), stored(fresh), atol=rounding)
    assert one.rankings(QUESTIONS, 5, "bm25") == other.rankings(QUESTIONS, 5, "bm25")


def test_an_index_goes_on_after_ctrl_c_and_takes_up_what_changed(tmp_path, encoder_folder, capsys):
    texts, store = tmp_path / "texts", tmp_path / "store"
    write_files(texts)
    command = ["index", str(texts), "--out", str(store), "--encoder", str(encoder_folder), "--threads", "1"]
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(ready), *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )  # fmt: skip
    try:
        until = time.monotonic() + 100
        while (
            not (ready.exists() and ready.read_text()) and time.monotonic() < until and process.poll() is None
        ):
            time.sleep(0.02)
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    if os.name == "posix":
        assert process.returncode == 130
        assert "stopped; every file that was written is whole" in err
    finished = int(ready.read_text())
    assert not (store / "passages.json").exists()
    assert len(list((store / ".vectors").glob("*.vectors"))) == 5

    done, _ = run(capsys, *command, "--json")
    assert done["documents"] == 300 + 2 * 60  # of sixty files with three lines of JSON each
    assert (done["added"], done["same"], done["refused"]) == (300, 0, {})
    assert done["kept"] + done["encoded"] == done["passages"]
    assert finished <= done["kept"] < done["passages"]
    assert not {one.name for one in store.iterdir()} & {".vectors", ".new"}
    fresh, _ = run(capsys, *command[:3], tmp_path / "fresh", *command[4:], "--json")
    assert fresh["kept"] < finished  # equal passages alone
    assert fresh["choice"] == done["choice"]
    assert_same_index(store, tmp_path / "fresh")

    again, _ = run(capsys, *command, "--json")
    assert (again["same"], again["encoded"], again["building_seconds"]) == (300, 0, 0)

    (texts / "part0" / "f0.txt").write_text("A changed text. 바뀐 글이다. The cat runs.", encoding="utf-8")
    (texts / "part1" / "new.md").write_text(
        "# New\n\nA dog that came later. 새로 온 강아지.", encoding="utf-8"
    )
    (texts / "part2" / "f2.py").unlink()
    (texts / "part4" / "f11.md").rename(texts / "moved.md")  # another name, the same headings and text
    update, _ = run(capsys, *command, "--json")
    assert {name: update[name] for name in ("added", "changed", "removed", "same", "encoded")} == {
        "added": 2, "changed": 1, "removed": 2, "same": 297, "encoded": 2,
    }  # fmt: skip
    assert update["choice"] == done["choice"]  # graded before, and next to nothing changed
    run(capsys, *command[:3], tmp_path / "fresh2", *command[4:], "--json")
    assert_same_index(store, tmp_path / "fresh2")


def test_what_cannot_be_read_is_named_and_the_rest_is_indexed(tmp_path, encoder_folder, capsys):
    texts, store = tmp_path / "texts", tmp_path / "store"
    write_files(texts, 20)
    bad = {
        "binary.txt": b"a\0b", "cp949.md": "한국어".encode("cp949"), "utf16.txt": "한국어".encode("utf-16"),
        "old.ipynb": b'{"worksheets": []}', "cut.ipynb": b'{"cells": [', "rows.jsonl": b'{"text": "a"}\n{"title": "b"}',
    }  # fmt: skip
    for name, content in bad.items():
        (texts / name).write_bytes(content)
    (texts / "picture.png").write_bytes(b"\x89PNG\0")
    (texts / "Makefile").write_text("all:")
    command = ["index", texts, "--out", store, "--encoder", encoder_folder]
    done, err = run(capsys, *command, "--json")
    assert done["refused"].keys() == bad.keys()
    assert done["others"] == {".png": 1, "": 1}
    assert done["added"] == 20
    for name, why in {
        "binary.txt": "binary file", "cp949.md": "CP949", "utf16.txt": "UTF-16", "old.ipynb": "no list of cells",
        "cut.ipynb": "no JSON", "rows.jsonl": "line 2: expected an object with a text under 'text'",
    }.items():  # fmt: skip
        assert any(name in line and why in line for line in err.splitlines()), (name, err)
    assert main(list(map(str, command))) == 0
    out, _ = capsys.readouterr()
    assert "files: 20 as before; vectors: " in out
    assert "left out: 6 that could not be read (named above)" in out
    assert "of other kinds, passed over: 2 (1 without an ending, 1 .png)" in out


def test_several_paths_and_the_index_among_them(tmp_path, encoder_folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("notes", "other"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.txt").write_text(f"The cat of {place}.", encoding="utf-8")
    (tmp_path / "one.txt").write_text("A dog alone.", encoding="utf-8")
    command = [
        "index",
        "notes",
        "one.txt",
        "other",
        "notes/a.txt",
        "--out",
        "store",
        "--encoder",
        encoder_folder,
    ]
    done, _ = run(capsys, *command, "--json")
    assert (done["documents"], done["passages"]) == (3, 3)
    rows, _ = run(capsys, "search", "store", "cat", "-k", 5, "--mode", "bm25", "--json")
    assert {row["id"] for row in rows} == {"notes/a.txt#0", "other/a.txt#0"}
    assert run(capsys, "search", "cat", "--index", "store", "-k", 5, "--mode", "bm25", "--json")[0] == rows
    assert run(capsys, "search", "--mode", "dense", "store", "cat", "-k", 1, "--json")[0]
    assert (
        run(capsys, "ask", "store", "what of the dog alone", "--mode", "bm25", "--json")[0]["id"]
        == "one.txt#0"
    )
    # a text file that stands in the index is none of the user's
    (tmp_path / "store" / "mine.txt").write_text("words", encoding="utf-8")
    assert (
        run(capsys, "index", ".", "--out", "store", "--encoder", encoder_folder, "--json")[0]["documents"]
        == 3
    )
    (tmp_path / "deep" / "notes").mkdir(parents=True)
    (tmp_path / "deep" / "notes" / "a.txt").write_text("x", encoding="utf-8")
    assert main(["index", "notes", "deep/notes", "--out", "store"]) == 1
    assert "two files would be called 'notes/a.txt'" in capsys.readouterr().err


def test_another_encoder_makes_every_vector_anew_and_a_damaged_index_is_mended(
    tmp_path, encoder_folder, tokenizer, capsys
):
    texts, store = tmp_path / "texts", tmp_path / "store"
    write_files(texts, 20)
    other = SentenceEncoder(tiny(seed=5), tokenizer).save_pretrained(tmp_path / "other")
    first, _ = run(capsys, "index", texts, "--out", store, "--encoder", encoder_folder, "--json")
    second, _ = run(capsys, "index", texts, "--out", store, "--encoder", other, "--json")
    assert second["encoded"] == first["encoded"] > 10
    data = (store / "passages.json").read_bytes()
    (store / "passages.json").write_bytes(data[: len(data) // 2])
    third, _ = run(capsys, "index", texts, "--out", store, "--encoder", other, "--json")
    assert (third["encoded"], third["same"]) == (second["encoded"], 20)
    assert len(PassageIndex.load(store)) == third["passages"]


def test_without_an_encoder_the_index_is_the_one_of_a_fresh_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minillm.course.tour.settings.TourSettings.__init__.__defaults__", _fewer_steps())
    texts = tmp_path / "texts"
    write_files(texts, 20)
    first, _ = run(capsys, "index", "--data", texts, "--out", tmp_path / "store", "--json")
    assert (first["added"], first["encoded"]) == (20, first["passages"])
    (texts / "part0" / "f0.txt").write_text("A changed text.", encoding="utf-8")
    second, _ = run(capsys, "index", texts, "--out", tmp_path / "store", "--json")
    assert (second["changed"], second["same"]) == (1, 19)
    run(capsys, "index", texts, "--out", tmp_path / "fresh", "--json")
    assert_same_index(tmp_path / "store", tmp_path / "fresh", 0)


def _fewer_steps():
    from minillm.course.tour.settings import TourSettings

    defaults = TourSettings.__init__.__defaults__
    return tuple(3 if value == 400 else value for value in defaults)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "i"], "no file or folder at 'nowhere'"),
        (
            [".", "--out", "i", "--encoder", "nofolder"],
            "--encoder must be e5, minilm, a folder or owner/name",
        ),
        (
            ["empty", "--out", "i"],
            r"holds no text file (.txt, .md, .markdown, .rst, .py, .ipynb, .jsonl, .csv, .pdf)",
        ),
    ],
)
def test_a_mistake_is_said_before_the_work(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["index", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "i").exists()


def test_an_index_is_named_once(tmp_path, capsys):
    assert main(["search", "store", "cat", "--index", "other"]) == 1
    assert "name the index once: store and --index other came" in capsys.readouterr().err
