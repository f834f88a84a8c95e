"""Figures show the numbers they were given, in every form a lesson passes them, and refuse what is not a number."""

import base64
import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from minillm.course import (
    figure_png,
    plot_attention,
    plot_bars,
    plot_heatmap,
    plot_lines,
    plot_loss,
    plot_pictures,
    plot_points,
    plot_tokens,
    png_data_uri,
    setup,
)
from minillm.course.page.style import PALETTE

TOKENS = ["나는", "고양이를", "봤다"]


@pytest.fixture(autouse=True)
def styled():
    setup()


def axes():
    return plt.gcf().axes


def test_lines_draw_every_series_with_its_own_x():
    assert (
        plot_lines({"a": [3, 2, 1], "b": ([10, 20], torch.tensor([1.0, 2.0]))}, x=[1, 2, 3], title="t")
        is None
    )
    first, second = axes()[0].lines
    assert first.get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    assert second.get_xydata().tolist() == [[10, 1], [20, 2]]
    assert [text.get_text() for text in axes()[0].get_legend().texts] == ["a", "b"]
    assert (first.get_color(), second.get_color()) == PALETTE[:2]


def test_one_line_has_no_legend_and_scales_are_set():
    plot_lines({"loss": np.arange(1, 100)}, xscale="log", yscale="log")
    assert axes()[0].get_legend() is None
    assert (axes()[0].get_xscale(), axes()[0].get_yscale()) == ("log", "log")
    assert axes()[0].lines[0].get_marker() == "None"


def test_loss_puts_each_curve_at_its_steps():
    plot_loss([{"step": 1, "train_loss": 3.0}, {"step": 2, "train_loss": 2.0, "eval_loss": 2.5}])
    train, held_out = axes()[0].lines
    assert train.get_xydata().tolist() == [[1, 3], [2, 2]]
    assert held_out.get_xydata().tolist() == [[2, 2.5]]


def test_bars_plain_and_in_groups_carry_their_values():
    plot_bars({"fp32": 14.5, "int8": 3.6})
    assert [bar.get_height() for bar in axes()[0].patches] == [14.5, 3.6]
    assert [text.get_text() for text in axes()[0].texts] == ["14.50", "3.60"]
    plt.close()
    plot_bars({"hit@1": {"BM25": 0.5, "dense": 0.4}, "hit@5": {"BM25": 0.7, "dense": 0.8}})
    assert [bar.get_height() for bar in axes()[0].patches] == [0.5, 0.7, 0.4, 0.8]
    assert [text.get_text() for text in axes()[0].get_legend().texts] == ["BM25", "dense"]
    plt.close()
    plot_bars({"a": 1200, "b": 3}, horizontal=True)
    assert [bar.get_width() for bar in axes()[0].patches] == [1200, 3]
    assert [text.get_text() for text in axes()[0].texts] == ["1,200", "3"]


def test_heatmaps_name_rows_and_columns_and_leave_masked_cells_blank():
    matrix = np.array([[1.0, np.nan], [0.25, 0.75]])
    plot_heatmap(matrix, ["가", "나"], ["x y", "$z$"])
    ax = axes()[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["가", "나"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x·y", r"\$z\$"]
    assert [text.get_text() for text in ax.texts] == ["1.00", "0.25", "0.75"]
    np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), matrix)


def test_attention_one_map_a_head_on_one_scale():
    weights = torch.softmax(torch.arange(36.0).reshape(4, 3, 3), -1).requires_grad_()
    plot_attention(weights, TOKENS, title="heads")
    maps = [ax for ax in axes() if ax.images]
    assert len(maps) == 4
    assert {tuple(ax.images[0].get_clim()) for ax in maps} == {(0.0, 1.0)}
    np.testing.assert_allclose(maps[2].images[0].get_array(), weights[2].detach(), rtol=1e-6)
    plt.close()
    plot_attention(weights[0, :2].bfloat16(), TOKENS[:2], TOKENS)
    assert [label.get_text() for label in axes()[0].get_xticklabels()] == TOKENS


def test_points_by_group():
    plot_points(np.eye(2), labels=["왕", "여왕"], groups=["m", "f"])
    assert [text.get_text() for text in axes()[0].texts] == ["왕", "여왕"]
    assert [scatter.get_offsets().tolist() for scatter in axes()[0].collections] == [[[1, 0]], [[0, 1]]]
    plot_points(np.eye(3)[:, :2], groups=np.array([0, 1, 0]))
    assert [len(scatter.get_offsets()) for scatter in plt.gca().collections] == [2, 1]


def test_pictures_stand_in_lines():
    batch = np.random.default_rng(0).random((3, 3, 4, 4))
    plot_pictures([batch, batch], names=["a", "b"], titles=["x", "y", "z"])
    assert len(plt.gcf().axes) == 6
    assert plt.gcf().axes[3].get_ylabel() == "b"
    plot_pictures(torch.from_numpy(batch))  # one line
    shown = [ax.images[0].get_array() for ax in plt.gcf().axes]
    assert np.array_equal(np.stack(shown), batch.transpose(0, 2, 3, 1))


def test_tokens_show_every_piece_and_the_count():
    plot_tokens({"en": ["The", " cat"], "ko": ["고양이", "\n", "\x00", "가"], "code": ["$x$"]})
    texts = [text.get_text() for text in axes()[0].texts]
    assert texts == ["The", "·cat", "2", "고양이", "↵", "□", "가", "4", r"\$x\$", "1"]
    plt.gcf().canvas.draw()  # "$x$" must not be read as mathematics, nor fail


def test_a_png_for_a_report_without_pyplot_or_side_effects():
    before = dict(mpl.rcParams)
    png = figure_png(plot_lines, {"손실": [3, 1]}, title="학습", size=(3, 2))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    assert plt.imread(io.BytesIO(png)).shape == (200, 300, 4)
    assert png == figure_png(plot_lines, {"손실": [3, 1]}, title="학습", size=(3, 2)), (
        "the same picture twice"
    )
    uri = png_data_uri(png)
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == png


@pytest.mark.parametrize(
    "call",
    [
        lambda: plot_lines({}),
        lambda: plot_lines(None),
        lambda: plot_lines([1, 2]),
        lambda: plot_lines({"a": []}),
        lambda: plot_lines({"a": ["x"]}),
        lambda: plot_lines({"a": [1, float("nan")]}),
        lambda: plot_lines({"a": [1, 2]}, x=[1]),
        lambda: plot_lines({"a": [1, 2]}, yscale="symlog"),
        lambda: plot_loss([]),
        lambda: plot_loss({"step": 1}),
        lambda: plot_loss([{"step": 1}]),
        lambda: plot_loss([{"train_loss": 1.0}]),
        lambda: plot_bars({"a": {"x": 1}, "b": {"y": 1}}),
        lambda: plot_bars({"a": "1,2"}),
        lambda: plot_heatmap([1, 2]),
        lambda: plot_heatmap([[1, 2]], rows=["a", "b"]),
        lambda: plot_heatmap([[1, 2]], columns="ab"),
        lambda: plot_attention(np.ones((2, 2, 2, 2)), ["a", "b"]),
        lambda: plot_attention(np.ones((2, 2)), ["a"]),
        lambda: plot_attention(np.ones((2, 2)), None),
        lambda: plot_points(np.ones((2, 3))),
        lambda: plot_points(np.ones((2, 2)), labels=["a"]),
        lambda: plot_pictures(np.ones((3, 4, 4))),
        lambda: plot_pictures([np.ones((2, 3, 4, 4)), np.ones((1, 3, 4, 4))]),
        lambda: plot_tokens({"a": "text"}),
        lambda: plot_tokens({"a": []}),
        lambda: plot_tokens({"a": [1]}),
        lambda: png_data_uri(b"GIF89a"),
        lambda: png_data_uri("text"),
    ],
)
def test_bad_input_is_refused_and_leaves_no_figure_behind(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()
    assert plt.get_fignums() == [], "a refused plot must not show an empty figure"
