"""Committed figures: a palette, the same picture, fewer bytes."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from minillm.course import plot_bars, plot_heatmap, setup
from minillm.course.lessons.pictures import fewer_colours, with_smaller_pictures


def figure() -> bytes:
    setup()
    plot_bars({"가": {"a": 1, "b": 2}, "나": {"a": 3, "b": 1}}, title="제목")
    written = io.BytesIO()
    plt.gcf().savefig(written, format="png")
    return written.getvalue()


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def test_a_figure_shrinks_and_looks_the_same():
    png = figure()
    small = fewer_colours(png)
    assert len(small) < len(png) / 2
    assert pixels(small).shape == pixels(png).shape
    assert np.abs(pixels(small) - pixels(png)).mean() < 1
    assert fewer_colours(png) == small
    assert len(fewer_colours(small)) <= len(small)


def test_rare_colours_keep_their_own_palette_entry():
    """A scale has hundreds of colours that are all rare: none may be drawn in one that the eye tells from it."""
    setup()
    table = np.clip(
        np.random.default_rng(0).normal(0.2, 0.3, (6, 6)), -0.4, 0.75
    )  # nothing stands at the bright end
    plot_heatmap(table, list("abcdef"), list("가나다라마바"), limits=(-0.4, 1), title="제목")
    written = io.BytesIO()
    plt.gcf().savefig(written, format="png")
    apart = np.abs(pixels(fewer_colours(written.getvalue())) - pixels(written.getvalue())).sum(axis=2)
    assert apart.max() < 90


def test_transparent_becomes_white():
    written = io.BytesIO()
    Image.new("RGBA", (300, 300), (255, 0, 0, 0)).save(written, "png")
    assert (pixels(fewer_colours(written.getvalue())) == 255).all()


def test_only_pictures_of_a_notebook_change():
    png = base64.b64encode(figure()).decode()
    text = {"output_type": "stream", "name": "stdout", "text": "one\n"}
    shown = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": png, "text/plain": "<Figure>"},
    }
    cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [dict(text), shown]}]
    with_smaller_pictures({"cells": cells})
    assert cells[1]["outputs"][0] == text
    assert shown["data"]["text/plain"] == "<Figure>"
    assert len(shown["data"]["image/png"]) < len(png) / 2
