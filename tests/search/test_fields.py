"""Keyword search over fields: the weighted sum of one BM25 a field."""

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.search import BM25, FieldSearch

TITLES = ["the with statement", "the try statement", "loops"]
TEXTS = ["it enters a context manager", "with and without an exception", "for and while, with else"]


def test_a_score_is_the_weighted_sum_of_the_fields():
    index = FieldSearch({"text": 1.0, "title": 0.5}).fit({"text": TEXTS, "title": TITLES}, ["w", "t", "l"])
    for query in ("with", "the context", "nothing of it"):
        expected = BM25().fit(TEXTS).scores(query) + 0.5 * BM25().fit(TITLES).scores(query)
        np.testing.assert_allclose(index.scores(query), expected, rtol=1e-6)
        found = index.search([query], 3)[0]
        np.testing.assert_allclose(
            [score for _, score in found], np.sort(expected[expected > 0])[::-1], rtol=1e-6
        )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, "weights must be a dict"),
        ({}, "weights must be a dict"),
        ({1: 1.0}, "weights must be a dict"),
        ({"text": -1}, "must be between 0 and 1"),
        ({"text": 1e39}, "must be between 0 and 1"),
        ({"text": float("nan")}, "finite number"),
    ],
)
def test_bad_weights_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        FieldSearch(weights)


def test_a_failed_fit_leaves_the_index_alone():
    index = FieldSearch({"text": 1.0, "title": 0.5}).fit({"text": TEXTS, "title": TITLES}, ["w", "t", "l"])
    before = index.search(["with"], 3)
    for fields in (
        {"text": [], "title": []},
        {"text": TEXTS, "title": [None] * 3},
        {"text": TEXTS, "title": ["a"]},
    ):
        with pytest.raises(ValueError, match=r"at least one text|must hold str|one text a document"):
            index.fit(fields)
        assert index.search(["with"], 3) == before


def test_a_weight_of_any_allowed_size_gives_numbers():
    index = FieldSearch({"text": 1e9, "title": 0}).fit({"text": TEXTS, "title": TITLES})
    assert np.isfinite(index.scores("with the statement")).all()


def test_a_field_read_as_a_whole_counts_by_the_share_that_is_named():
    titles = ["the with statement", "with statement context managers", ""]
    parts = {"text": TEXTS, "title": titles}
    plain = FieldSearch({"text": 0.0, "title": 1.0}).fit(parts)
    whole = FieldSearch({"text": 0.0, "title": 1.0}, whole=["title"]).fit(parts)
    everything = [plain.scores(title)[place] for place, title in enumerate(titles)]
    for query in ("with", "how does the with statement work", "managers"):
        found = plain.scores(query)
        expected = [score * score / most if most else 0 for score, most in zip(found, everything)]
        np.testing.assert_allclose(whole.scores(query), expected, rtol=1e-5)
    # the second title says more than was asked
    assert np.argmax(whole.scores("the with statement")) == 0
    # a word said twice is no more than the whole
    np.testing.assert_allclose(
        whole.scores("the the with with statement statement")[0], 2 * everything[0], rtol=1e-5
    )


def test_fields_read_as_a_whole_are_saved_and_checked(tmp_path):
    index = FieldSearch({"text": 1.0, "title": 1.0}, whole={"title"}).fit({"text": TEXTS, "title": TITLES})
    again = FieldSearch.load(index.save(tmp_path / "index"), index.weights, whole={"title"})
    np.testing.assert_array_equal(again.scores("with statement"), index.scores("with statement"))
    for whole in ("title", ["body"], 3):
        with pytest.raises(ValueError, match="whole must list fields among"):
            FieldSearch({"text": 1.0, "title": 1.0}, whole=whole)


def test_the_best_of_many_documents_stand_in_order():
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(list("abcdefgh"), 5)) for _ in range(1500)]
    index = FieldSearch({"text": 1.0, "title": 0.5}, str.split, ["title"]).fit(
        {"text": texts, "title": [text[:3] for text in texts]}
    )
    for query in ("a", "b c", "a d h g", "unknown"):
        scores = index.scores(query)
        order = [place for place in np.argsort(-scores, kind="stable").tolist() if scores[place] > 0]
        for k in (1, 10, 128, 129, 2000):  # equal scores are many: they stand in corpus order
            (ranking,) = index.search([query], k)
            assert [place for place, _ in ranking] == order[:k]
            assert [score for _, score in ranking] == scores[order[:k]].tolist()


def test_nothing_is_found_before_fit():
    index = FieldSearch({"text": 1.0, "title": 0.5}, whole=["title"])
    assert index.search(["with"]) == [[]]
    assert index.scores("with").shape == (0,)


def test_fields_of_different_documents_are_refused(tmp_path):
    weights = {"text": 1.0, "title": 0.5}
    folder = FieldSearch(weights).fit({"text": TEXTS, "title": TITLES}).save(tmp_path / "index")
    for texts, ids in ((TEXTS[:2], None), (TEXTS, [0, 1, 7]), (TEXTS, [0, 2, 1])):
        BM25().fit(texts, ids).save(folder / "text.bm25")
        with pytest.raises(BadFileError, match="its fields 'text' and 'title' do not belong together"):
            FieldSearch.load(folder, weights)
    (folder / "text.bm25").unlink()
    with pytest.raises(BadFileError, match=r"text\.bm25"):
        FieldSearch.load(folder, weights)
