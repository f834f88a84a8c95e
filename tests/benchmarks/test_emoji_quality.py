"""The table of the emoji: what a line says, and that the baseline finds what its words and pixels give away."""

import numpy as np
import pytest

from minillm.data import Emoji
from tests.benchmarks import emoji_quality as table


def run(method, found, seed=0):
    """A recorded run; found: how many of 20 pictures are among the first five."""
    ranks = [0] * (found // 2) + [4] * (found - found // 2) + [5] * (20 - found)
    return {"method": method, "seed": seed, "seconds": 30.4, "ranks": dict.fromkeys(table.QUERIES, ranks)}


def test_a_line_holds_every_seed_and_what_it_is_held_against():
    runs = [run("nearest pixels", 4), run("CLIP", 12), run("CLIP", 8, seed=1)]
    lines = {line[0]: line[1:] for line in table.lines_of({(r["method"], r["seed"]): r for r in runs})}
    assert set(lines) == {f"{kind}, {name}" for kind in table.QUERIES for name in table.METHODS}
    assert all(len(line) + 1 == len(table.HEAD) for line in lines.values())
    ours, pixels = lines["caption, CLIP"], lines["caption, nearest pixels"]
    assert ours[1:3] == ["0.300<br>0.200", "0.600<br>0.400"]
    assert [cell.split(" [")[0] for cell in ours[3].split("<br>")] == ["8:0, +0.400", "4:0, +0.200"]
    assert pixels[1:4] == ["0.100", "0.200", ""]


def test_the_parts_share_nothing():
    taught, exam = table.parts_of(1071)
    assert len(exam) == 214
    assert sorted([*taught, *exam]) == list(range(1071))


def toy(n=40):
    """Squares of five colours, named by their colours."""
    rng, names = np.random.default_rng(0), ["red", "green", "blue", "black", "grey"]
    paints = np.array([[230, 20, 20], [20, 180, 20], [20, 20, 230], [0, 0, 0], [128, 128, 128]])
    kinds = np.arange(n) % 5
    images = np.full((n, 72, 72, 3), 255, np.uint8)
    for i, kind in enumerate(kinds):
        top, left = rng.integers(5, 15, 2)
        images[i, top : top + 50, left : left + 50] = paints[kind]
    captions = [f"{names[kind]} square {i}" for i, kind in enumerate(kinds)]
    words = [[names[kind], "square"] for kind in kinds]
    return Emoji(images, [""] * n, captions, captions, words, words)


def test_pixels_find_the_colour_that_the_words_name():
    emoji = toy()
    taught, exam = np.arange(25), np.arange(25, 40)  # of the exam three pictures have each colour
    found = table.by_pixels(emoji, taught, exam)
    assert set(found) == set(table.QUERIES)
    for ranks in found.values():
        assert max(ranks) < 3


def test_pictures_and_texts_of_training():
    emoji = toy()
    pairs, tokenizer = table.pairs_of(emoji, np.arange(6), seed=0, copies=2)
    assert pairs.images.shape == (12, 3, 32, 32)
    assert pairs.same.shape == (12, table.K)
    assert pairs.images.min() >= -1
    assert pairs.images.max() == pytest.approx(1)
    said = {
        tokenizer.decode(pairs.ids[i].tolist(), skip_special_tokens=True) for i in pairs.same[:2].flatten()
    }
    assert "red square 0" in said
    assert not any("green" in text for text in said)
