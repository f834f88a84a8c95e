"""A question before the result: the same on every page until the reader writes a guess, and then a verdict."""

import importlib.util
import os
from types import SimpleNamespace

import pytest

from minillm.course import needs, predict, reveal
from minillm.course.page.needs import missing, names_of
from minillm.course.paths import checkout
from minillm.data import REAL_MODELS

OPTIONS = ["t and h", "e and a space"]


def test_a_question_without_a_guess():
    for blank in (..., None, "", "  "):
        card = predict("Which pair comes first?", blank, OPTIONS)
        assert repr(card) == (
            "Before you run on: Which pair comes first?\n- a: t and h\n- b: e and a space\n"
            "Your guess: none yet. Write 'a' or 'b' in place of the dots, and run this cell again."
        )
        assert card._repr_markdown_().split("\n") == [
            "> **Before you run on:** Which pair comes first?",
            ">",
            "> - **a**: t and h",
            "> - **b**: e and a space",
            ">",
            "> Your guess: none yet. Write 'a' or 'b' in place of the dots, and run this cell again.",
        ]


def test_a_guess_is_repeated():
    assert repr(predict("Which?", " B ", OPTIONS)).endswith("Your guess: b. Now run on.")
    assert repr(predict("How many?", 3)) == "Before you run on: How many?\nYour guess: 3. Now run on."
    assert "Write a value in place of the dots" in repr(predict("How many?", ...))


@pytest.mark.parametrize(
    ("guess", "answer", "within", "verdict"),
    [
        (..., "b", 0, "It is b. (You left no guess.) Why."),
        ("b", "b", 0, "Right, it is b. Why."),
        (" B", "b", 0, "Right, it is b. Why."),
        ("a", "b", 0, "You said a; it is b. Why."),
        (10, 12, 2, "Right, it is 12. Why."),
        (9, 12, 2, "You said 9; it is 12. Why."),
        ("12", 12, 0, "Right, it is 12. Why."),
        ("배", "배", 0, "Right, it is 배. Why."),
        (0.5, 1 / 3, 0.1, "You said 0.5; it is 0.333. Why."),
        (float("nan"), 1, 0, "You said nan; it is 1. Why."),
        (..., "<|end|>", 0, "It is <|end|>. (You left no guess.) Why."),
        (0, 1, 0, "You said 0; it is 1. Why."),
    ],
)
def test_the_verdict(guess, answer, within, verdict):
    assert repr(reveal(guess, answer, "Why.", within)) == verdict


def test_what_looks_like_html_is_shown_on_the_page():
    assert "**&lt;|end|&gt;**" in reveal(..., "<|end|>", "Why.")._repr_markdown_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: predict("Which?", "c", OPTIONS), "one of 'a', 'b', got 'c'"),
        (lambda: predict("Which?", "ab", OPTIONS), "one of 'a', 'b', got 'ab'"),
        (lambda: predict("Which?", 1, OPTIONS), "one of 'a', 'b', got 1"),
        (lambda: predict("Which?", ..., ["one"]), "two to six"),
        (lambda: predict("Which?", ..., list("abcdefg")), "two to six"),
        (lambda: predict("Which?", ..., "ab"), "list of str"),
        (lambda: predict(3, ...), "question must be a str"),
        (lambda: reveal(..., "a", " "), "because"),
        (lambda: reveal("a", ..., "Why."), "answer"),
        (lambda: reveal("a", "a", "Why.", -1), "within"),
        (lambda: needs(), "at least one"),
        (lambda: needs("no such data"), "name of what a cell needs"),
        (lambda: missing("klue_nli.dev"), "split of klue_nli must be one of 'train', 'validation'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put(path):
    path.parent.mkdir(parents=True)
    path.write_text("{}", encoding="utf-8")


@pytest.mark.parametrize("place", ["data", "cache"])
def test_a_model_is_needed_and_then_there(folder, place, capsys):
    assert needs("smollm2") is False
    out = capsys.readouterr().out
    assert out == "skipped: needs the model smollm2: `minillm fetch smollm2` brings it\n"
    model = REAL_MODELS["smollm2"]
    for name, (_, size) in model.files.items():
        put(folder / place / "models" / model.folder / name)
        os.truncate(folder / place / "models" / model.folder / name, size)  # sizes alone are looked at
    assert needs("smollm2") is True
    assert needs("smollm2", "e5") is False
    assert "model e5" in capsys.readouterr().out


def test_a_data_set_is_needed_and_then_there(folder):
    assert missing("klue_nli").startswith("needs the data set klue_nli: dataset_info('klue_nli')")
    put(folder / "data" / "klue" / "klue-nli-v1.1_dev.shared.json.gz")
    assert missing("klue_nli") == missing("klue_nli.validation") == ""
    assert missing("klue_nli.train").startswith("needs the data set klue_nli.train")


def test_the_names_in_tags():
    assert names_of(["prove", "needs-e5", "needs-klue_nli.train"]) == ["e5", "klue_nli.train"]


def test_nbval_leaves_optional_cells_out_with_a_reason(folder):
    """notebooks/conftest.py, on items as nbval collects them."""
    place = importlib.util.spec_from_file_location("hooks", checkout() / "notebooks" / "conftest.py")
    hooks = importlib.util.module_from_spec(place)
    place.loader.exec_module(hooks)
    put(folder / "data" / "text_en" / "names.txt")

    class Item:
        def __init__(self, count, *tags):
            cell = {"execution_count": count, "metadata": {"tags": list(tags)}}
            self.cell = type("Cell", (dict,), {"metadata": SimpleNamespace(get=cell["metadata"].get)})(cell)
            self.reasons = []

        def add_marker(self, marker):
            self.reasons.append(marker.kwargs["reason"])

    items = [
        Item(1),
        Item(2, "prove"),
        Item(3, "needs-names"),
        Item(4, "needs-e5"),
        Item(None, "needs-names"),
    ]
    hooks.pytest_collection_modifyitems([*items, SimpleNamespace()])  # the last one is an ordinary test
    assert [item.reasons for item in items] == [
        [],
        [],
        [],
        ["needs the model e5: `minillm fetch e5` brings it"],
        ["was not run where the lesson was written"],
    ]
