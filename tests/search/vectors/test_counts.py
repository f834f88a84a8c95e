"""One-hot, bag of words and TF-IDF by hand-made examples; tests/parity/test_vectors.py holds them to scikit-learn."""

import numpy as np
import pytest

from minillm.search import BagOfWords, OneHot, SparseRows, TfIdf, search_words
from minillm.search.vectors import sparse_rows
from minillm.search.vectors.bag_of_words import ngrams

TEXTS = ["The cat sat: the mat", "", "A dog sat!"]


def test_one_hot_of_words():
    encoder = OneHot().fit(["school", "study", "workout", "study"])
    rows = encoder.transform(["study", "school"])
    np.testing.assert_array_equal(rows.toarray(), np.array([[0, 1, 0], [1, 0, 0]], np.float32))
    assert encoder.inverse_transform(rows) == ["study", "school"]
    with pytest.raises(ValueError, match="must have been seen by fit, got 'sleep'"):
        encoder.transform(["study", "sleep"])
    with pytest.raises(ValueError, match="must have been seen by fit, got 'sleep'"):
        encoder.transform(word for word in ["study", "sleep"])  # read once
    ignoring = OneHot(unknown="ignore").fit(["study"])
    assert ignoring.inverse_transform(ignoring.transform(["sleep", "study"])) == [None, "study"]


def test_any_two_words_of_one_hot_are_equally_far_apart():
    rows = OneHot().fit(list("abcd")).transform(list("abcd"))
    np.testing.assert_array_equal(rows.dot(rows), np.eye(4))


def test_bag_of_words_counts():
    bag = BagOfWords()
    rows = bag.fit_transform(TEXTS)
    assert bag.words == ["cat", "dog", "mat", "sat", "the"]  # "A" has one letter
    np.testing.assert_array_equal(rows.toarray(), [[1, 0, 1, 1, 2], [0] * 5, [0, 1, 0, 1, 0]])
    assert rows.shape == (3, 5)
    assert rows.nnz == 6
    np.testing.assert_array_equal(bag.transform(["the bird, the dog"]).toarray(), [[0, 1, 0, 0, 2]])


def test_the_order_of_words_is_lost_and_pairs_bring_some_back():
    texts = ["the dog bit the man", "the man bit the dog"]
    one, other = BagOfWords().fit_transform(texts).toarray()
    np.testing.assert_array_equal(one, other)
    one, other = BagOfWords(ngram_range=(1, 2)).fit_transform(texts).toarray()
    assert (one != other).sum() == 2  # "dog bit" and "man bit"
    assert ngrams(["a", "b", "c"], 1, 2) == ["a", "b", "c", "a b", "b c"]


def test_tokenizers_are_those_of_bm25():
    texts = ["토큰을 읽는다", "토큰은 짧다"]
    assert "토큰" in BagOfWords("korean").fit(texts).words
    assert "토큰" not in BagOfWords().fit(texts).words
    assert BagOfWords("english").fit(["What are the layers?"]).words == ["layer"]
    assert BagOfWords(search_words).fit(texts).words == BagOfWords("korean").fit(texts).words


def test_tf_idf_is_the_formula():
    weights = TfIdf(norm=None).fit_transform(TEXTS).toarray()
    every, half = np.log(4 / 2) + 1, np.log(4 / 3) + 1  # 3 texts; "cat" is in one, "sat" in two
    np.testing.assert_allclose(weights[0], [every, 0, every, half, 2 * every], rtol=1e-6)
    unit = TfIdf().fit_transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit.toarray(), axis=1), [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(unit.dot(unit), unit.toarray() @ unit.toarray().T, atol=1e-6)
    np.testing.assert_allclose(unit.dot(unit.toarray()), unit.dot(unit), atol=1e-7)


def test_counts_times_weights_are_not_cut_to_whole_numbers():
    counts, weights = BagOfWords().fit_transform(TEXTS), TfIdf().fit_transform(TEXTS)
    full = counts.toarray() @ weights.toarray().T
    assert full.max() % 1 > 0.1
    for other in (weights, weights.toarray()):
        np.testing.assert_allclose(counts.dot(other), full, rtol=1e-6)
    assert counts.dot(counts).dtype == np.int64
    with pytest.raises(ValueError, match="other must be SparseRows or an array of numbers"):
        counts.dot(np.full((1, 5), "word"))


def test_without_idf_a_word_may_be_in_no_text():
    rows = TfIdf(vocabulary=["cat", "zebra"], use_idf=False, smooth_idf=False).fit_transform(["cat cat"])
    np.testing.assert_array_equal(rows.toarray(), [[1, 0]])


def test_a_failed_fit_leaves_the_old_words():
    tfidf = TfIdf().fit(TEXTS)
    before = tfidf.transform(TEXTS).toarray()
    for wrong in ([], ["a", 3], ["? !"]):
        with pytest.raises(ValueError, match="texts must hold"):
            tfidf.fit(wrong)
    np.testing.assert_array_equal(tfidf.transform(TEXTS).toarray(), before)
    given = TfIdf(vocabulary=["cat", "zebra"], smooth_idf=False)
    with pytest.raises(ValueError, match="'zebra' is in none"):
        given.fit(TEXTS)
    with pytest.raises(ValueError, match=r"call fit\(texts\) first"):
        given.transform(TEXTS)


def test_a_matrix_too_large_to_fill_is_named(monkeypatch):
    rows = BagOfWords().fit_transform(TEXTS)
    monkeypatch.setattr(sparse_rows, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match=r"full matrix of shape \(3, 5\) would take"):
        rows.toarray()
    assert rows.row(2)[0].tolist() == [1, 3]
    with pytest.raises(ValueError, match="number must be between 0 and 2, got 3"):
        rows.row(3)
    with pytest.raises(ValueError, match="other must have rows of 5 columns, got 4"):
        rows.dot(np.ones((1, 4)))


def test_no_rows_and_no_columns_filled():
    bag = BagOfWords().fit(TEXTS)
    assert bag.transform([]).toarray().shape == (0, 5)
    empty = bag.transform(["?", ""])
    np.testing.assert_array_equal(empty.dot(empty), np.zeros((2, 2)))
    assert isinstance(empty, SparseRows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BagOfWords(tokenizer="french"), "tokenizer must be one of 'standard', 'english', 'korean'"),
        (lambda: BagOfWords(tokenizer=3), "tokenizer must be a function from str to list"),
        (lambda: BagOfWords(tokenizer=tuple).fit(["ab"]), "tokenizer must return a list of str, got"),
        (lambda: BagOfWords(ngram_range=2), "ngram_range must be two integers, got 2"),
        (lambda: BagOfWords(ngram_range=(2, 1)), "second of ngram_range must be at least 2, got 1"),
        (lambda: BagOfWords(min_df=0), "min_df must be at least 1, got 0"),
        (lambda: BagOfWords(max_df=1.5), "max_df must be between 0 and 1, got 1.5"),
        (
            lambda: BagOfWords(min_df=3, max_df=1).fit(TEXTS),
            "max_df allows at most 1 texts a word, min_df asks for 3",
        ),
        (lambda: BagOfWords(min_df=3).fit(TEXTS), "of 5 none is left by min_df and max_df"),
        (lambda: BagOfWords(vocabulary=[]), r"vocabulary must list words, at least one, got \[\]"),
        (lambda: BagOfWords(vocabulary="cat"), "vocabulary must list words, at least one, got 'cat'"),
        (lambda: BagOfWords(vocabulary=["a", "a"]), "different words, got 'a' more than once"),
        (lambda: BagOfWords(vocabulary={"a": 0, "b": 2}), "the columns 0 to 1, each once"),
        (lambda: BagOfWords(max_features=0), "max_features must be at least 1"),
        (lambda: BagOfWords(binary=1), "binary must be True or False, got 1"),
        (lambda: BagOfWords().fit("one text"), "texts must be a list of str, got 'one text'"),
        (lambda: BagOfWords().transform(["a"]), r"this BagOfWords has no words: call fit\(texts\) first"),
        (lambda: TfIdf(norm="l3"), "norm must be one of 'l2', 'l1', None, got 'l3'"),
        (lambda: TfIdf(smooth_idf=None), "smooth_idf must be True or False, got None"),
        (lambda: OneHot(unknown="drop"), "unknown must be one of 'error', 'ignore', got 'drop'"),
        (lambda: OneHot().fit([]), "words must hold at least one word, got none"),
        (lambda: OneHot().transform(["a"]), r"this OneHot has no words: call fit\(words\) first"),
        (lambda: OneHot().fit(["a"]).inverse_transform([[1]]), "rows must be SparseRows of 1 columns"),
    ],
)
def test_what_cannot_be_meant_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
