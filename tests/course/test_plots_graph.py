"""Graphs and cells: what is drawn stands where the points say, and wrong numbers are refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minillm.course import plot_cells, plot_graph, setup

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]


@pytest.fixture(autouse=True)
def styled():
    setup()


def scattered(ax):
    """The places of each layer of dots."""
    return [np.asarray(one.get_offsets()).tolist() for one in ax.collections if len(one.get_offsets())]


def test_links_nodes_walk_and_query_stand_at_their_points():
    plot_graph(
        SQUARE, {0: [1], 1: [0, 2], 2: [1]}, path=[0, 1], marked=[2], query=(4, 5), names=True, title="t"
    )
    ax = plt.gca()
    lines = ax.collections[0].get_segments()
    assert [line.tolist() for line in lines] == [
        [[0, 0], [10, 0]], [[10, 0], [0, 0]], [[10, 0], [10, 10]], [[10, 10], [10, 0]]
    ]  # fmt: skip
    nodes, marked, walk, asked = scattered(ax)[-4:]
    assert nodes == [[0, 0], [10, 0], [10, 10]]  # node 3 is on no link and no key: not drawn
    assert marked == [[10, 10]]
    assert walk == [[0, 0], [10, 0]]
    assert asked == [[4, 5]]
    arrows = [text for text in ax.texts if not text.get_text()]
    assert [(text.xy[0], text.xyann[0]) for text in arrows] == [(10, 0)]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["0", "1", "2"]
    assert ax.get_title(loc="left") == "t"


def test_a_place_has_the_colour_of_its_nearest_centre():
    plot_cells(SQUARE, [(0, 5), (10, 5)], query=(1, 1), marked=[1], ax=plt.subplots()[1])
    ax = plt.gca()
    picture = np.asarray(ax.images[0].get_array())
    half = picture.shape[1] // 2
    assert len(np.unique(picture[:, : half - 1].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(picture[:, half + 1 :].reshape(-1, 3), axis=0)) == 1
    assert not np.array_equal(picture[0, 0], picture[0, -1])
    assert scattered(ax)[-2:] == [[[10, 0]], [[1, 1]]]


def test_cells_that_are_not_probed_fade():
    plot_cells(SQUARE, [(0, 5), (10, 5)], probed=[1])
    picture = np.asarray(plt.gca().images[0].get_array())
    assert picture[0, 0].min() > picture[0, -1].min()


def test_a_part_around_the_query():
    plot_cells(SQUARE, [(0, 5), (10, 5)], query=(5, 5), within=2)
    left, right = plt.gca().get_xlim()
    assert 2.5 < left < 3
    assert 7 < right < 7.5


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: plot_graph([(0, 0, 0)], {0: []}), "points must have two numbers a row"),
        (lambda: plot_graph(SQUARE, {0: [4]}), "nodes must be numbers from 0 to 3, got 4"),
        (lambda: plot_graph(SQUARE, {0: [1]}, path=[True]), "nodes must be numbers from 0 to 3"),
        (lambda: plot_graph(SQUARE, [[1]]), "links must be a dict"),
        (lambda: plot_graph(SQUARE, {0: [1]}, query=(1, 2, 3)), "query must have two numbers a row"),
        (lambda: plot_cells(SQUARE, [(0, 0)], probed=[1]), "nodes must be numbers from 0 to 0, got 1"),
        (lambda: plot_cells(SQUARE, [(0, float("nan"))]), "centres holds NaN"),
        (lambda: plot_cells(SQUARE, [(0, 0)], within=3), "there is no query"),
    ],
)
def test_what_it_refuses(call, says):
    with pytest.raises(ValueError, match=says):
        call()
