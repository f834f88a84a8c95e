"""Encoders that commands open and keep: what an index encodes again, and what `serve --encoder` takes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minillm.commands.search import read_sources
from minillm.commands.serve import open_served
from minillm.course.tour.corpus import cut_passages
from minillm.data import Passage
from minillm.search import StaticEncoder
from minillm.search.index_store import update_index
from minillm.tokenizer import BPETokenizer

TOKENIZER = BPETokenizer.train(["and much more of the same every day"] * 3, 270)
NOTES = [f"# Head {word}\n\nText about {word} and much more of {word}.\n" for word in ("one", "two", "three")]
FOOD = [f"# Food {word}\n\nEat {word} every day, cooked or raw {word}.\n" for word in ("rice", "soup")]


def encoder_of(seed):
    table = np.random.default_rng(seed).standard_normal((TOKENIZER.vocab_size, 8))
    return StaticEncoder(TOKENIZER, table.astype(np.float32))


def test_an_update_says_what_it_needs_before_it_encodes(tmp_path):
    passages = [Passage(f"a#{n}", "a", "A", f"text {n}") for n in range(3)]
    unsaved = SimpleNamespace(dim=8, encode=lambda texts: pytest.fail("nothing is encoded"))
    for arguments, message in (
        ((str(tmp_path), passages, {}, unsaved), r"encoder must have save_pretrained\(folder\)"),
        (
            (tmp_path, "text", {}, encoder_of(0)),
            "passages must be a list of at least two Passages, got 'text'",
        ),
        ((tmp_path, passages[:1] * 2, {}, encoder_of(0)), "passage ids must differ, 'a#0' came twice"),
        ((None, passages, {}, encoder_of(0)), "folder must be a path, got None"),
    ):
        with pytest.raises(ValueError, match=message):
            update_index(*arguments)
    assert not list(tmp_path.iterdir())
    assert update_index(str(tmp_path), passages, {}, encoder_of(0)).encoded == 3


def test_only_texts_that_the_index_does_not_hold_are_encoded(tmp_path):
    """The seven runs of exercise 10-3-c."""
    folder = tmp_path / "text"
    folder.mkdir()
    notes, food, recipes = (folder / f"{name}.md" for name in ("notes", "food", "recipes"))

    def encoded(seed=0):
        documents, files, _ = read_sources([folder], tmp_path / "store")
        return update_index(
            tmp_path / "store", cut_passages(documents), files, encoder_of(seed), "ours"
        ).encoded

    notes.write_text("\n".join(NOTES), encoding="utf-8")
    food.write_text("\n".join(FOOD), encoding="utf-8")
    counts = [encoded()]
    food.rename(recipes)
    counts.append(encoded())
    moved = "\n".join([*NOTES[1:], NOTES[0]])
    notes.write_text(moved, encoding="utf-8")
    counts.append(encoded())
    notes.write_text(moved.replace("# Head two", "# Other words"), encoding="utf-8")
    counts.append(encoded())
    recipes.unlink()
    counts.append(encoded())
    recipes.write_text("\n".join(FOOD), encoding="utf-8")
    counts.append(encoded())
    counts.append(encoded(seed=9))
    assert counts == [5, 0, 0, 1, 0, 2, 5]


def test_serve_takes_the_folder_of_a_static_encoder(tmp_path):
    written = encoder_of(1)
    written.save_pretrained(tmp_path / "mine")
    settings = {}
    assert open_served(tmp_path / "mine", settings) == settings["encoder_name"] == "mine"
    np.testing.assert_array_equal(settings["encoder"].encode(["every day"]), written.encode(["every day"]))
    assert open_served(None, settings) is None
    with pytest.raises(ValueError, match="nothing"):
        open_served(Path(tmp_path / "nothing"), {})
