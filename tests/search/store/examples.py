"""Records and filters of every shape, for tests that compare one way of answering with another."""

from hypothesis import strategies as st

FIELDS = ("lang", "year", "tags", "draft", "a.b", "한 글")
TEXTS = ("ko", "en", "1", "True", "")
NUMBERS = (0, 1, 1.0, -1, 2.5, 2020, 2**40)

texts, numbers, bools = st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans()
scalars = texts | numbers | bools
metadata = st.dictionaries(st.sampled_from(FIELDS), scalars | st.lists(texts, max_size=3), max_size=4)

_operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), scalars),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3)),
    st.tuples(st.just("$exists"), bools),
)
_conditions = st.dictionaries(
    st.sampled_from(FIELDS), scalars | st.lists(_operators, min_size=1, max_size=2).map(dict), max_size=2
)
filters = st.recursive(
    _conditions,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), max_size=2
    ),
    max_leaves=6,
)
