"""The Gantt chart shows each stay as a bar, and refuses what names no request."""

import matplotlib.pyplot as plt
import pytest

from minillm.course import plot_slots, setup


@pytest.fixture(autouse=True)
def styled():
    setup()


def bars(ax):
    return [(bar.get_x(), bar.get_x() + bar.get_width(), round(bar.get_y() + 0.42)) for bar in ax.patches]


def test_a_bar_is_a_stay_and_its_hatched_end_a_text_that_is_done():
    slots = [[0, 1, -1], [0, 1, -1], [0, 2, -1], [-1, 2, 3]]
    plot_slots(slots, ended=[1, 1, 3, 3], title="t")
    ax = plt.gca()
    assert bars(ax) == [(0, 2, 0), (2, 3, 0), (0, 2, 1), (2, 4, 1), (3, 4, 2)]
    assert [bar.get_hatch() for bar in ax.patches] == [None, "/////", None, None, None]
    assert {text.get_text() for text in ax.texts} == {"0", "1", "2", "3"}
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 4), (2.5, -0.5))


def test_without_ends_nothing_is_hatched_and_axes_may_be_given():
    ax = plt.subplots()[1]
    plot_slots([[0], [0], [1]], ax=ax)
    assert bars(ax) == [(0, 2, 0), (2, 3, 0)]
    assert not any(bar.get_hatch() for bar in ax.patches)


def test_a_request_may_come_back():
    plot_slots([[0], [-1], [0]], ended=[2])
    assert bars(plt.gca()) == [(0, 1, 0), (2, 3, 0)]


def test_names_stand_on_the_bars_and_their_first_letter_is_the_colour():
    plot_slots([[0, 1], [2, 0], [3, 2]], names=["F0", "F1", "B0", "B1"])
    ax = plt.gca()
    assert [text.get_text() for text in ax.texts] == ["F0", "B0", "B1", "F1", "F0", "B0"]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[3] == colours[4] != colours[1] == colours[2] == colours[5]
    with pytest.raises(ValueError, match="slots name request 2, and names has 2"):
        plot_slots([[2]], names=["F0", "F1"])


@pytest.mark.parametrize(
    ("slots", "ended", "says"),
    [
        ([[0.5]], None, "slots must hold the numbers of requests"),
        ([[-2]], None, "slots must hold the numbers of requests"),
        ([[0, 2]], [1, 1], "slots name request 2, and ended has 2"),
        ([0, 1], None, "slots must be non-empty with 2"),
        ([["a"]], None, "slots must be numbers"),
    ],
)
def test_what_it_refuses(slots, ended, says):
    with pytest.raises(ValueError, match=says):
        plot_slots(slots, ended)
