"""Our verdicts are those of Spider's evaluators (spider.json, by record_spider.py); kappa is scikit-learn's."""

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest

from minillm.apps.text2sql import SQLProcess, SQLSandbox, exact_match_sql, execution_match, orders, same_rows
from minillm.apps.text2sql.judge import agreement
from minillm.data import load_dataset
from tests.helpers import soak_count
from tests.parity import record_spider as spider

RECORDED = json.loads(Path(__file__).with_name("spider.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def golds(real_data):
    real_data("text2sql/spider/dev.json.gz")
    return spider.golds()


@pytest.fixture(scope="module")
def schemas(golds):
    found = {}
    for row in load_dataset("spider", "tables"):
        columns = {table: [] for table in row["table_names_original"]}
        for place, column in row["column_names_original"]:
            if place >= 0:
                columns[row["table_names_original"][place]].append(column)
        found[row["db_id"]] = columns
    return found


def test_random_tables():
    """Columns and rows in another order, doubled, gone, NULL: 400 pairs, 174 of them equal."""
    ours = [
        same_rows(second, first, ordered)
        for first, second, ordered in map(spider.random_tables, range(spider.PAIRS))
    ]
    theirs = [verdict == "1" for verdict in RECORDED["random_tables"]]
    assert ours == theirs
    assert 100 < sum(ours) < 300


def test_every_pair_of_its_queries_finds_the_same_or_not(golds):
    compared = 0
    for db, (path, queries, _) in golds.items():
        found = spider.rows_of(path, queries)
        pairs = list(itertools.permutations(range(len(queries)), 2))
        same = [[i, j] for i, j in pairs if same_rows(found[i], found[j], orders(queries[j]))]
        assert same == RECORDED["spider"][db]["same_rows"]
        compared += len(pairs)
    assert compared > 12_000


def test_every_result_disturbed_is_the_same_or_not(golds):
    """One query is judged otherwise: its ORDER BY stands in a query within, and says nothing of the rows."""
    other = []
    for db, (path, queries, _) in golds.items():
        found = spider.rows_of(path, queries)
        for how in spider.HOW:
            rng = random.Random(0)
            for query, rows, theirs in zip(queries, found, RECORDED["spider"][db]["changed"][how]):
                ours = same_rows(spider.disturbed(rows, rng, how), rows, orders(query))
                if ours != (theirs == "1"):
                    other.append((how, query))
    assert len(other) == 1
    assert other[0][0] == "rows"
    assert "order by" in other[0][1].lower()
    assert not orders(other[0][1])


def test_every_query_is_right_in_the_sandbox_as_it_is(golds):
    rng = random.Random(0)
    asked = [(path, query) for path, queries, _ in golds.values() for query in queries]
    with SQLProcess() as process:
        boxes = {path: SQLSandbox(path, process=process) for path, _, _ in golds.values()}
        for path, query in rng.sample(asked, min(len(asked), soak_count(len(asked) * 4))):
            assert execution_match(boxes[path], query, query), query


def test_every_pair_of_its_queries_has_the_same_form_or_not(golds, schemas):
    """Clause by clause, without values and DISTINCT; every query has its own form in any spelling of its letters."""
    rng, compared = random.Random(0), 0
    for db, (_, queries, _) in golds.items():
        pairs = list(itertools.permutations(range(len(queries)), 2))
        known = [tuple(pair) for pair in RECORDED["spider"][db]["same_form"]]
        some = {*known, *rng.sample(pairs, min(len(pairs), soak_count(6000)))}
        same = {(i, j) for i, j in some if exact_match_sql(queries[i], queries[j], schemas[db], masked=True)}
        assert same == set(known)
        compared += len(some)
        assert all(exact_match_sql(query.upper(), query, schemas[db], masked=True) for query in queries)
    assert compared > 2000


def test_kappa_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = rng.integers(2, 60)
        truth = rng.random(n) < rng.random()
        said = np.where(rng.random(n) < 0.7, truth, rng.random(n) < 0.5)
        if len({*truth, *said}) == 2:
            assert agreement(said, truth).kappa == pytest.approx(metrics.cohen_kappa_score(said, truth))
