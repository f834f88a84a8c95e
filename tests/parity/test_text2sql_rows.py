"""The parts of queries are those of Spider's own parses; a split by groups is as large as scikit-learn's."""

from collections import Counter

import numpy as np
import pytest

from minillm.apps.text2sql.shapes import PARTS, query_parts
from minillm.data import load_dataset
from minillm.data.splits import grouped_rows
from tests.helpers import soak_count


def parts_of(parsed):
    """What stands in a parse of Spider's dev.json."""
    units = [parsed]
    for unit in units:
        units += [unit[word] for word in ("intersect", "union", "except") if unit[word]]
    found = {name for name, key in (("group", "groupBy"), ("having", "having"), ("order", "orderBy"))
             if any(unit[key] for unit in units)}  # fmt: skip
    found |= {"set"} if len(units) > 1 else set()
    found |= {"join"} if any(len(unit["from"]["table_units"]) > 1 for unit in units) else set()
    inner = [[unit["from"]["table_units"], unit["where"], unit["having"]] for unit in units]
    return found | ({"nested"} if any(map(holds_query, inner)) else set())


def holds_query(value):
    return isinstance(value, dict) or (isinstance(value, list) and any(map(holds_query, value)))


def test_parts_are_those_of_spiders_parses(real_data):
    real_data("text2sql/spider/dev.json.gz")
    seen = Counter()
    for row in load_dataset("spider", "validation"):
        expected = parts_of(row["sql"])
        assert query_parts(row["query"]) == expected, row["query"]
        seen.update(expected)
    assert set(seen) == set(PARTS)
    assert min(seen.values()) > 10


def test_a_grouped_split_has_as_many_groups_as_scikit_learns():
    splitter = pytest.importorskip("sklearn.model_selection").GroupShuffleSplit
    rng = np.random.default_rng(0)
    for seed in range(max(20, soak_count(200))):
        groups = rng.integers(0, rng.integers(3, 30), 100).tolist()
        size = float(rng.uniform(0.1, 0.6))
        train, test = grouped_rows(groups, size, seed=seed)
        theirs_train, theirs_test = next(
            splitter(1, test_size=size, random_state=seed).split(groups, groups=groups)
        )
        for ours, theirs in ((train, theirs_train), (test, theirs_test)):
            kept = {groups[row] for row in ours}
            assert len(kept) == len({groups[row] for row in theirs})
            assert ours == [row for row, group in enumerate(groups) if group in kept]
        assert not {groups[row] for row in train} & {groups[row] for row in test}
        assert sorted(train + test) == list(range(100))
        assert grouped_rows(groups, size, seed=seed) == (train, test)
    assert grouped_rows("aabbc", 1, 1, seed=3) != grouped_rows("aabbc", 1, 1, seed=4)
    assert grouped_rows((one for one in "aabb"), 0.5, seed=3) == grouped_rows(
        "aabb", 0.5, seed=3
    )  # read once
    for bad in (None, 5, [["a"], ["b"]]):
        with pytest.raises(ValueError, match="groups must list one name for each row"):
            grouped_rows(bad, 0.5)
    with pytest.raises(ValueError, match="1 rows cannot give"):
        grouped_rows("aaa", 0.5)
