"""Ticks and names: they never run into each other, logarithmic axes have plain numbers, every axis says what it is."""

import itertools

import matplotlib.pyplot as plt
import pytest

from minillm.course import plot_bars, plot_lines, plot_roofline, setup
from minillm.course.page.figures import plain_number


@pytest.fixture(autouse=True)
def styled():
    setup()
    yield
    plt.close("all")


def drawn():
    plt.gcf().canvas.draw()
    return plt.gcf().axes[0]


def words(axis):
    """The labels in sight, as (text, extent)."""
    low, high = sorted(axis.get_view_interval())
    return [
        (label.get_text(), label.get_window_extent())
        for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels())
        if label.get_text() and low <= place <= high
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["vocabulary: English", "vocabulary: Korean", "vocabulary: both"],
        ["multi-head attention", "그룹 쿼리 어텐션", "one key and value head for all", "none"],
        ["a", "b"],
        ["an_unbreakable_name_of_forty_characters_x", "another_unbreakable_name_just_as_long_y", "c", "d"],
    ],
)
def test_names_under_bars_do_not_touch(names):
    plot_bars({name: {"English": 1.0, "한국어": 2.0} for name in names}, title="t", ylabel="tokens")
    ax = drawn()
    labels = [label for label in ax.get_xticklabels() if label.get_text()]
    assert [" ".join(label.get_text().split()) for label in labels] == names
    if labels[0].get_rotation() == 0:
        for (_, one), (_, two) in itertools.pairwise(words(ax.xaxis)):
            assert one.x1 < two.x0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"]),
        ([64, 128, 256, 512, 900], ["64", "128", "256", "512", "900"]),
        ([1000, 10_000, 100_000], ["1,000", "10,000", "100,000"]),
    ],
)
def test_a_logarithmic_x_axis_has_its_data_as_ticks(values, expected):
    plot_lines({"a": values, "b": values}, x=values, xscale="log")
    assert [text for text, _ in words(drawn().xaxis)] == expected


@pytest.mark.parametrize(
    "values", [[14, 77], [0.2, 900], [3, 5], [1e-9, 1e9], [0.001, 0.5], list(range(1, 200))]
)
def test_labels_of_logarithmic_axes_are_plain_and_apart(values):
    plot_lines({"a": values, "b": values}, x=list(values), xscale="log", yscale="log")
    ax = drawn()
    for axis, across in ((ax.xaxis, True), (ax.yaxis, False)):
        labels = words(axis)
        assert len(labels) >= 2
        if max(values) < 1e6:
            assert all("$" not in text for text, _ in labels)
        for (_, one), (_, two) in itertools.pairwise(labels):
            assert (one.x1 < two.x0) if across else (one.y1 < two.y0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (20, "20"),
        (0.01, "0.01"),
        (2.5, "2.5"),
        (1000, "1,000"),
        (1e6, "$10^{6}$"),
        (2e-5, r"$2\times10^{-5}$"),
    ],
)
def test_numbers_are_plain_up_to_a_million(value, text):
    assert plain_number(value) == text


def test_one_line_without_a_label_is_named_beside_its_axis():
    plot_lines({"speed-up": [1, 2]})
    assert drawn().get_ylabel() == "speed-up"
    plot_lines({"speed-up": [1, 2]}, ylabel="times")
    assert drawn().get_ylabel() == "times"


ROOF = {"norm": 0.1, "norm, fused": 0.6, "matrix": 1000.0, "flash attention": 4000.0}


def test_computations_lie_on_the_roof():
    plot_roofline(ROOF, 800e12, 4e12, ["norm", "norm", "matrix", "attention"], [("norm", "norm, fused")])
    ax = drawn()
    placed = {tuple(point) for dots in ax.collections for point in dots.get_offsets().tolist()}
    assert placed == {(0.1, 0.4), (0.6, 2.4), (1000.0, 800.0), (4000.0, 800.0)}
    named = [text for text in ax.texts if text.get_text()]
    assert {text.get_text() for text in named} == set(ROOF)
    for one, two in itertools.combinations([text.get_window_extent() for text in named], 2):
        assert not one.overlaps(two)
    assert ax.get_xlabel() and ax.get_ylabel()  # noqa: PT018


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({}, 1e12, 1e12), "intensity"), (({"a": 0.0}, 1e12, 1e12), "above 0"), (({"a": 1.0}, 0, 1e12), "peak"),
        (({"a": 1.0}, 1e12, None), "bandwidth"), (({"a": 1.0}, 1e12, 1e12, ["x", "y"]), "groups"),
        (({"a": 1.0}, 1e12, 1e12, None, [("a", "b")]), "moves"),
    ],
)  # fmt: skip
def test_bad_rooflines_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        plot_roofline(*arguments)
