"""Pictures of mechanisms: nothing overlaps, text stays in its box, arrows end at boxes."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.text import Annotation

from minillm.course import Group, Node, figure_png, plot_flow, setup

BLOCK = (
    [
        Node("x", "x", 0, kind="data"), Node("norm", "RMSNorm", 1),
        Node("attention", "attention\n어텐션", 2, kind="learned"), Node("sum", "+", 3, kind="sum"),
        Node("y", "y", 4, kind="data"),
    ],
    [("x", "norm", "(B, T, C)"), ("norm", "attention"), ("attention", "sum"), ("x", "sum"), ("sum", "y", "(B, T, C)")],
    [Group(("norm", "attention", "sum"), "× 4")],
)  # fmt: skip
CACHE = (
    [
        Node("t", "new token\n새 토큰", 0, 1, "data"), Node("q", "q", 1, 0), Node("k", "k", 1, 1), Node("v", "v", 1, 2),
        Node("keys", "key cache\n키 캐시", 2, 1, "store"), Node("values", "value cache\n값 캐시", 2, 2, "store"),
        Node("weights", "softmax(q kᵀ / √D)", 3, 0.5), Node("out", "weighted sum\n가중합", 4, 1),
    ],
    [("t", "q", "(B, 1, C)"), ("t", "k"), ("t", "v"), ("k", "keys"), ("v", "values"), ("q", "weights", "(B, H, 1, D)"),
     ("keys", "weights", "(B, H, S, D)"), ("weights", "out", "(B, H, 1, S)"), ("values", "out", "(B, H, S, D)")],
    [],
)  # fmt: skip
TWO = (
    [
        Node("a", "source\n입력", 0), Node("b", "encoder", 1), Node("c", "memory\n인코더 출력", 3, 0, "data"),
        Node("d", "target", 0, 1), Node("e", "cross-attention\n크로스 어텐션", 2, 1), Node("f", "out", 4, 1),
    ],
    [("a", "b"), ("b", "c"), ("d", "e", "query"), ("c", "e", "key, value"), ("e", "f", "(B, T, V)")],
    [Group(("b",), "× N"), Group(("e",), "× N")],
)  # fmt: skip
PICTURES = pytest.mark.parametrize("picture", [BLOCK, CACHE, TWO], ids=["block", "cache", "two columns"])
DIRECTIONS = pytest.mark.parametrize("direction", ["up", "right"])


@pytest.fixture(autouse=True)
def styled():
    setup()
    yield
    plt.close("all")


def drawn(picture, direction):
    nodes, edges, groups = picture
    assert plot_flow(nodes, edges, groups, title="t", direction=direction) is None
    figure = plt.gcf()
    figure.canvas.draw()
    (ax,) = figure.axes
    window = {patch: patch.get_window_extent() for patch in ax.patches}
    boxes = [box for patch, box in window.items() if isinstance(patch, Circle) or (
        isinstance(patch, FancyBboxPatch) and patch.get_facecolor()[3] > 0)]  # fmt: skip
    return figure, ax, boxes


def overlap(one, two):
    return one.x0 < two.x1 - 1 and two.x0 < one.x1 - 1 and one.y0 < two.y1 - 1 and two.y0 < one.y1 - 1


@PICTURES
@DIRECTIONS
def test_no_box_overlaps_another_and_each_holds_its_text(picture, direction):
    _, ax, boxes = drawn(picture, direction)
    nodes = picture[0]
    assert len(boxes) == len(nodes)
    for one, two in itertools.combinations(boxes, 2):
        assert not overlap(one, two)
    for node in nodes:
        (text,) = (text for text in ax.texts if text.get_text() == node.text)
        extent = text.get_window_extent()
        assert any(
            box.x0 <= extent.x0
            and extent.x1 <= box.x1
            and box.y0 <= extent.y0 + 2
            and extent.y1 - 2 <= box.y1
            for box in boxes
        ), node.name


@PICTURES
@DIRECTIONS
def test_labels_cover_no_box_and_no_label(picture, direction):
    _, ax, boxes = drawn(picture, direction)
    texts = {node.text for node in picture[0]}
    labels = [
        text.get_window_extent() for text in ax.texts if text.get_text() and text.get_text() not in texts
    ]
    assert len(labels) == sum(len(edge) == 3 for edge in picture[1]) + len(picture[2])
    for label in labels:
        assert not any(overlap(label, box) for box in boxes)
    for one, two in itertools.combinations(labels, 2):
        assert not overlap(one, two)


@PICTURES
@DIRECTIONS
def test_everything_is_inside_the_picture(picture, direction):
    figure, ax, _ = drawn(picture, direction)
    width, height = figure.get_size_inches() * figure.dpi
    for artist in [*ax.patches, *(text for text in ax.texts if text.get_text()), ax.title]:
        extent = artist.get_window_extent()
        assert extent.x0 >= -1 and extent.y0 >= -1 and extent.x1 <= width + 1 and extent.y1 <= height + 1  # noqa: PT018


@PICTURES
@DIRECTIONS
def test_every_arrow_ends_on_the_edge_of_a_box(picture, direction):
    _, ax, boxes = drawn(picture, direction)
    arrows = [text for text in ax.texts if isinstance(text, Annotation)]
    assert len(arrows) == len(picture[1])
    for arrow in arrows:
        x, y = ax.transData.transform(arrow.xy)
        distances = [
            max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1) for box in boxes
        ]  # 0 on the edge, below inside
        assert min(map(abs, distances)) < 1.5


def test_a_skip_goes_past_the_boxes_in_between():
    _, ax, boxes = drawn(BLOCK, "up")
    right = max(box.x1 for box in boxes)
    ways = [patch.get_window_extent().x1 for patch in ax.patches if patch.get_facecolor()[3] == 0]
    assert any(x > right + 5 for x in ways)


def test_sizes_follow_the_scale_and_axes_can_be_handed_in():
    nodes, edges, _ = CACHE
    plot_flow(nodes, edges)
    small = plt.gcf().get_size_inches()
    plot_flow(nodes, edges, scale=2)
    assert np.all(plt.gcf().get_size_inches() > 1.5 * small)
    assert figure_png(plot_flow, nodes, edges).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("nodes", "edges", "groups", "said"),
    [
        ([], [], [], "nodes must be a list of Node"),
        (["x"], [], [], "nodes must be a list of Node"),
        ([Node("a", "a", 0), Node("a", "b", 1)], [], [], "two nodes have the same name"),
        ([Node("a", "a", 0), Node("b", "b", 0)], [], [], "row 0, column 0"),
        ([Node("a", "a", 0, kind="round")], [], [], "kind"),
        ([Node("a", 3, 0)], [], [], "text"),
        ([Node("a", "a", 0)], [("a", "b")], [], "no node is named 'b'"),
        ([Node("a", "a", 0)], [("a",)], [], "an edge is"),
        ([Node("a", "a", 0)], ["aa"], [], "an edge is"),
        ([Node("a", "a", 0)], None, [], "edges must be a list"),
        ([Node("a", "a", 0)], [], [Group(("b",))], "no node is named 'b'"),
        ([Node("a", "a", 0)], [], [Group(())], "at least one"),
        ([Node("a", "a", 0)], [], ["a"], "groups must be"),
    ],
)
def test_bad_descriptions_are_refused_before_anything_is_drawn(nodes, edges, groups, said):
    with pytest.raises(ValueError, match=said):
        plot_flow(nodes, edges, groups)
    assert not plt.get_fignums()


@pytest.mark.parametrize("options", [{"direction": "down"}, {"scale": 0}, {"ax": 3}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        plot_flow(*BLOCK, **options)
