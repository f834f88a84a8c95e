"""Filters: what Pinecone's documentation says of each operator, and the inverted index against one record at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.search.store.filters import matches, parse_filter
from minillm.search.store.inverted import MetadataIndex
from tests.helpers import soak_count
from tests.search.store.examples import filters, metadata

FILM = {"genre": ["comedy", "documentary"], "year": 2020, "rating": 7.5, "title": "Hana", "seen": True}


def found(filter, record=FILM):
    return matches(parse_filter(filter), record)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"genre": "comedy"}, True),
        ({"genre": {"$eq": "comedy"}}, True),
        ({"genre": {"$in": ["comedy", "action"]}}, True),
        ({"$and": [{"genre": "comedy"}, {"genre": "documentary"}]}, True),
        ({"$and": [{"genre": "comedy"}, {"genre": "drama"}]}, False),
        ({"genre": {"$ne": "comedy"}}, False),
        ({"genre": {"$nin": ["drama", "action"]}}, True),
        ({"year": {"$gte": 2020}}, True),
        ({"year": {"$gt": 2020}}, False),
        ({"year": {"$lte": 2020.0, "$gte": 2019}}, True),
        ({"year": {"$lt": 2020}}, False),
        ({"year": 2020, "title": "Hana"}, True),
        ({"year": 2020, "title": "Dul"}, False),
        ({"$or": [{"genre": "drama"}, {"year": {"$gte": 2020}}]}, True),
        ({"title": {"$exists": True}, "gross": {"$exists": False}}, True),
        ({}, True),
        # kinds are not mixed
        ({"year": "2020"}, False),
        ({"title": {"$gt": 0}}, False),
        ({"seen": 1}, False),
        ({"seen": True}, True),
        ({"seen": {"$gte": 0}}, False),
        ({"rating": {"$in": [7.5, "x"]}}, True),
        ({"genre": {"$in": []}}, False),
        ({"genre": {"$nin": []}}, True),
        ({"year": {"$ne": "2020"}}, True),
        # a field that is not there satisfies nothing but $exists: False
        ({"gross": {"$ne": 3}}, False),
        ({"gross": {"$nin": [3]}}, False),
        ({"gross": {"$lt": 3}}, False),
        ({"$or": [{"gross": {"$ne": 3}}, {"gross": {"$exists": False}}]}, True),
        ({"year": np.int64(2020)}, True),
    ],
)
def test_operators(filter, expected):
    assert found(filter) is expected
    index = MetadataIndex()
    index.put(7, FILM)
    assert index.select(parse_filter(filter)) == ({7} if expected else set())


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        (["year"], r"filter must be a dict like .* got \['year'\]"),
        ({"year": {"$near": 3}}, r"unknown filter operator '\$near', on field 'year' one of \$eq.*\$exists"),
        ({"year": {"gte": 3}}, r"unknown filter operator 'gte'"),
        ({"year": {3: 3}}, "unknown filter operator 3"),
        ({"$not": []}, r"unknown filter operator '\$not', where a field or one of \$and, \$or"),
        ({3: 3}, "filter must have str keys, got 3"),
        ({"year": {}}, "filter on 'year' must hold an operator"),
        ({"genre": ["comedy"]}, r"\$eq on 'genre' must be a text, a number or a bool, got \['comedy'\]"),
        ({"genre": None}, r"\$eq on 'genre' must be a text, a number or a bool, got None"),
        ({"year": {"$gt": "2020"}}, r"\$gt on 'year' must be a finite number, got '2020'"),
        ({"year": {"$gt": True}}, r"\$gt on 'year' must be a finite number, got True"),
        ({"year": {"$eq": float("nan")}}, r"\$eq on 'year' must be .* got nan"),
        ({"year": {"$in": 2020}}, r"\$in on 'year' must be a list of values, got 2020"),
        ({"year": {"$in": [[2020]]}}, r"\$in on 'year' must be a text, .* got \[2020\]"),
        ({"year": {"$exists": 1}}, r"\$exists on 'year' must be True or False, got 1"),
        ({"$and": {"year": 1}}, r"\$and must be a list of filters, got {'year': 1}"),
        ({"$or": []}, r"\$or must be a list of filters, got \[\]"),
        ({"year": 2020, "$or": [{"year": 2020}, {"x": {"$bad": 1}}]}, r"unknown filter operator '\$bad'"),
    ],
)
def test_a_filter_is_checked_whole_before_it_runs(filter, said):
    with pytest.raises(ValueError, match=said):
        parse_filter(filter)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: MetadataIndex().select({"year": 1}),
            "filter must be what parse_filter gives, got {'year': 1}",
        ),
        (lambda: MetadataIndex().put(0, None), "metadata must be a dict, got None"),
        (lambda: matches({"year": 1}, FILM), "filter must be what parse_filter gives, got {'year': 1}"),
        (lambda: matches(parse_filter({"year": 1}), None), "metadata must be a dict, got None"),
        (lambda: matches(parse_filter({"year": 1}), ["year"]), r"metadata must be a dict, got \['year'\]"),
    ],
)
def test_both_ways_to_ask_refuse_what_is_no_filter_and_no_metadata(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_filter_inside_itself_ends():
    filter = {}
    filter["$and"] = [filter]
    with pytest.raises(ValueError, match="more than 32 deep"):
        parse_filter(filter)


@settings(max_examples=soak_count(4000))
@given(
    st.lists(st.tuples(st.integers(0, 9), st.none() | metadata), max_size=25),
    st.lists(filters, min_size=1, max_size=5),
)
def test_the_inverted_index_answers_as_record_by_record(changes, asked):
    """Records come, change and go (None) before the filters are asked, and between them."""
    index, there = MetadataIndex(), {}
    for number, one in changes:
        if one is None:
            index.drop([number])
            there.pop(number, None)
        else:
            index.put(number, one)
            there[number] = one
        filter = parse_filter(asked[number % len(asked)])
        assert index.select(filter) == {name for name, record in there.items() if matches(filter, record)}
    for filter in map(parse_filter, asked):
        assert index.select(filter) == {name for name, record in there.items() if matches(filter, record)}
    index.drop(list(there))
    assert not index.having
    assert not index.values
