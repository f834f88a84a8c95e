"""The table of RAG: what a line says, and that every method answers and is marked, on a model that only repeats."""

import pytest

from minillm.apps.rag import VectorStoreIndex
from minillm.data import fact_documents, facts
from minillm.inference import ScriptedChat
from minillm.search import HashedWords
from tests.benchmarks import rag_quality as table


def run(method, right, seed=0, found=True):
    """A recorded run; right: how many of 40."""
    scores = [1] * right + [0] * (40 - right)
    seen = [int(found)] * 40
    return {
        "method": method,
        "seed": seed,
        "right": scores,
        "first": seen,
        "among": seen,
        "seconds": 9.6,
        "texts": [],
    }


def test_a_line_says_what_it_is_held_against():
    runs = [
        run(table.NOTHING, 2, found=False),
        run(table.FOUND, 30),
        run(table.GIVEN, 36),
        run(table.KOREAN, 33),
    ]
    lines = {line[0]: line[1:] for line in table.lines_of({(one["method"], 0): one for one in runs})}
    assert lines[table.NOTHING][0] == "40"
    assert lines[table.NOTHING][1].startswith("0.050 [0.000, 0.1")
    assert lines[table.NOTHING][2:] == ["", "", "10"]
    assert lines[table.FOUND][3].startswith("28, 0; +0.700 [")
    assert lines[table.FOUND][3].endswith(f"against {table.NOTHING}")
    assert lines[table.GIVEN][3].startswith("6, 0; +0.150")
    assert lines[table.KOREAN][2:4] == ["1.000, 1.000", ""]
    assert {*table.AGAINST, *table.AGAINST.values()} <= set(table.METHODS)


@pytest.fixture
def small(monkeypatch):
    """Eight facts, words in place of e5, and a model that repeats the prompt."""

    class Echo(ScriptedChat):
        def chat(self, messages, params=None, **options):
            self.replies.append(messages[-1]["content"])
            return super().chat(messages, params, **options)

    def indexed(seed, language):
        some = facts(8, seed, language)
        return some, VectorStoreIndex.from_documents(fact_documents(some), HashedWords())

    monkeypatch.setattr(table, "indexed", indexed)
    monkeypatch.setattr(table, "model", lambda: Echo([]))


@pytest.mark.parametrize("method", table.METHODS)
def test_every_method_is_marked_by_what_it_saw(small, method):
    """A model that repeats its passages is right where the fact stood in them, and only there."""
    row = table.METHODS[method](0)
    assert len(row["right"]) == 8
    if method == table.NOTHING:
        assert row["right"] == row["among"] == [0] * 8
    elif method in (table.FOUND, table.ONE, table.GIVEN, table.RULED):
        assert row["right"] == row["among"]
        assert sum(row["among"]) >= 6
        if method in (table.GIVEN, table.RULED):
            assert row["first"] == [1] * 8
    else:
        assert all(among >= right for among, right in zip(row["among"], row["right"]))
