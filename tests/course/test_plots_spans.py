"""A trace as a picture."""

import random

import matplotlib.pyplot as plt
import pytest

from minillm.apps.tracing import self_times, trace_tree
from minillm.apps.tracing.tree import walk
from minillm.course import plot_spans, setup
from minillm.course.page.plots_spans import own_stretches
from tests.apps.tracing.test_pages import span


@pytest.fixture(autouse=True)
def figures():
    setup()
    yield
    plt.close("all")


def test_bars_lie_where_the_spans_do():
    records = [
        span(1, 10, 110, name="답"),
        span(2, 30, 60, 1, name="search"),
        span(3, 60, 90, 1, status="error"),
    ]
    plot_spans(records, title="one request")
    ax = plt.gcf().axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["답", "   search", "   s3"]
    drawn = [
        [(round(path.vertices[:, 0].min()), round(path.vertices[:, 0].max())) for path in one.get_paths()]
        for one in ax.collections
    ]
    assert drawn == [[(0, 100)], [(0, 20), (80, 100)], [(20, 50)], [(20, 50)], [(50, 80)], [(50, 80)]]
    assert ax.get_xlabel() == "milliseconds"


def test_the_dark_parts_are_the_own_time():
    rng = random.Random(0)
    for _ in range(50):
        records = [span(1, 10, 110)]
        records += [
            span(n, start, start + rng.randrange(60), 1)
            for n, start in enumerate(rng.choices(range(110), k=4), 2)
        ]
        roots = trace_tree(records)
        own = self_times(roots)
        for _, node in walk(roots):
            stretches = sum(length for _, length in own_stretches(node, 0))
            assert stretches == pytest.approx(1000 * own[node.record.span_id])


def test_what_it_refuses():
    for records in ([], [span(n, 0, 1) for n in range(61)]):
        with pytest.raises(ValueError, match="1 to 60 spans"):
            plot_spans(records)
