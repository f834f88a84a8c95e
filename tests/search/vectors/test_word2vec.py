import gzip

import numpy as np
import pytest

from minillm._files import BadFileError, save_arrays
from minillm.data import capital_sentences
from minillm.search import Word2Vec, WordVectors
from minillm.search.vectors import word2vec
from tests.helpers import cuts
from tests.search.vectors.capitals import analogies_right

SMALL = {"dim": 4, "min_count": 1, "sample": 0}
TEXT = [["a", "b", "c"], ["a", "c"], [], ["b", "a", "c", "a"]] * 5


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("mode", ["cbow", "skipgram"])
def test_capitals_are_found_by_analogy(mode, language):
    epochs = 40 if mode == "cbow" else 20
    model = Word2Vec(mode, dim=32, min_count=1, sample=0, epochs=epochs, alpha=0.05)
    assert analogies_right(model.fit(capital_sentences(language)).most_similar, language) >= 0.95


@pytest.mark.soak
@pytest.mark.parametrize(("language", "least", "most"), [("en", 0.01, 0.1), ("ko", -0.03, 0.03)])
def test_what_lesson_10_1_says_of_subsampling_holds_on_twelve_seeds(language, least, most):
    """In English the commonest words are dropped and most trainings gain; in Korean next to nothing changes."""
    text = capital_sentences(language, times=10)

    def right(sample, seed):
        model = Word2Vec("skipgram", dim=32, min_count=1, sample=sample, epochs=20, alpha=0.05, seed=seed)
        return analogies_right(model.fit(text).most_similar, language)

    gains = np.array([right(0.01, seed) - right(0, seed) for seed in range(12)])
    assert least < gains.mean() < most
    assert ((gains > 0).sum() >= 7) == (language == "en")


def test_without_training_analogies_are_wrong():
    model = Word2Vec(dim=32, min_count=1, alpha=0, min_alpha=0).fit(capital_sentences("en"))
    assert analogies_right(model.most_similar, "en") < 0.1


def test_the_seed_decides_everything():
    one, same, other = (Word2Vec(seed=seed, **SMALL).fit(TEXT) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.vectors, same.vectors)
    np.testing.assert_array_equal(one.outputs, same.outputs)
    assert np.abs(one.vectors - other.vectors).max() > 0.1
    from_generator = Word2Vec(seed=3, **SMALL).fit(iter(map(tuple, TEXT)))
    np.testing.assert_array_equal(one.vectors, from_generator.vectors)


def test_calls_of_compiled_code_change_nothing(monkeypatch):
    whole = Word2Vec("skipgram", **SMALL).fit(TEXT)
    monkeypatch.setattr(
        word2vec, "WORDS_A_CALL", 4
    )  # less than two sentences; one of them alone is longer than none
    parts = Word2Vec("skipgram", **SMALL).fit(TEXT)
    np.testing.assert_allclose(parts.vectors, whole.vectors, atol=1e-6)  # the rate rounds differently
    assert parts.words == whole.words


def test_words_are_numbered_by_how_often_they_occur():
    corpus = word2vec.number_words([["x", "rare", "b"], ["b", "x", "b"], ["rare2"]], min_count=2)
    assert corpus.vocabulary == ["b", "x"]
    np.testing.assert_array_equal(corpus.counts, [3, 2])
    np.testing.assert_array_equal(corpus.words, [1, 0, 0, 1, 0])
    np.testing.assert_array_equal(corpus.starts, [0, 2, 5, 5])
    model = Word2Vec(dim=3, min_count=2, epochs=1).fit([["x", "rare", "b"], ["b", "x", "b"]])
    assert "rare" not in model
    assert "b" in model
    assert len(model) == 2


def test_a_failed_fit_leaves_the_old_model(monkeypatch):
    model = Word2Vec(**SMALL).fit(TEXT)
    before, words = model.vectors.copy(), model.words
    for wrong in ("text", ["text"], [["a"], [["b"]]], [["a", 5]], [], [[]], 3):
        with pytest.raises(ValueError, match=r"sentence|word"):
            model.fit(wrong)
    monkeypatch.setattr(word2vec, "train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model.fit([["z", "y"]])
    assert model.words == words
    np.testing.assert_array_equal(model.vectors, before)


@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
def test_an_overflow_is_named():
    with pytest.raises(ValueError, match="the vectors overflow at alpha=1e\\+30: choose a smaller one"):
        Word2Vec("skipgram", alpha=1e30, epochs=20, **SMALL).fit(TEXT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Word2Vec("sg"), "mode must be one of 'cbow', 'skipgram', got 'sg'"),
        (lambda: Word2Vec(dim=0), "dim must be between 1 and 65536, got 0"),
        (lambda: Word2Vec(window=0), "window must be between 1 and 10000, got 0"),
        (lambda: Word2Vec(negative=0), "negative must be between 1 and 10000, got 0"),
        (lambda: Word2Vec(min_count=0), "min_count must be at least 1, got 0"),
        (lambda: Word2Vec(sample=-1), "sample must be at least 0, got -1"),
        (lambda: Word2Vec(epochs=1.5), "epochs must be an integer, got 1.5"),
        (lambda: Word2Vec(alpha=float("nan")), "alpha must be a finite number, got nan"),
        (lambda: Word2Vec(alpha=0.01, min_alpha=0.02), "min_alpha must be between 0 and 0.01, got 0.02"),
        (lambda: Word2Vec(ns_exponent="a"), "ns_exponent must be a finite number, got 'a'"),
        (lambda: Word2Vec(cbow_mean=1), "cbow_mean must be True or False, got 1"),
        (lambda: Word2Vec(seed=-1), "seed must be at least 0, got -1"),
        (lambda: Word2Vec().fit("the cat sat"), "sentences must be lists of words, got 'the cat sat'"),
        (lambda: Word2Vec().fit([["the"], "cat"]), "sentence 1 must be a list of words, got 'cat'"),
        (
            lambda: Word2Vec().fit([["the", ["cat"]]]),
            r"sentence 0 must be a list of words, got \['the', \['cat'\]\]",
        ),
        (lambda: Word2Vec().fit([["the", 5]]), "a word must be a str, got 5"),
        (
            lambda: Word2Vec().fit([["the"] * 4]),
            r"a word 5 times \(min_count\), the commonest occurs 4 times",
        ),
        (lambda: Word2Vec().fit([]), "the commonest occurs 0 times"),
        (lambda: Word2Vec().save("x"), r"this Word2Vec has no words: call fit\(sentences\) first"),
        (lambda: Word2Vec().vector("a"), "word must be one of the 0 words of the vocabulary, got 'a'"),
    ],
)
def test_what_cannot_be_meant_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_saved_model_comes_back_whole(tmp_path):
    model = Word2Vec("skipgram", seed=2, window=3, **SMALL).fit(TEXT)
    loaded = Word2Vec.load(model.save(tmp_path / "model"))
    for name in ("vectors", "outputs", "counts"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    assert loaded.words == model.words
    assert (loaded.mode, loaded.window, loaded.seed) == ("skipgram", 3, 2)
    assert loaded.most_similar("a") == model.most_similar("a")
    np.testing.assert_array_equal(loaded.fit(TEXT).vectors, model.vectors)  # options came along


def test_a_damaged_model_is_refused_by_name(tmp_path):
    path = Word2Vec(**SMALL).fit(TEXT).save(tmp_path / "model")
    data = path.read_bytes()
    for length in cuts(data):
        path.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"word2vec model file .*model' is refused"):
            Word2Vec.load(path)
    for at in range(8, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(BadFileError, match="word2vec model"):
            Word2Vec.load(path)


@pytest.mark.parametrize(
    "change",
    [{"words": ["a", "b"]}, {"words": ["a", "a", "c"]}, {"options": {"dim": 5}}, {"options": {"x": 1}}, None],
)
def test_a_model_whose_parts_do_not_fit_is_refused(tmp_path, change):
    model = Word2Vec(**SMALL).fit(TEXT)
    arrays = {"vectors": model.vectors, "outputs": model.outputs, "counts": model.counts}
    meta = {"words": model.words, "options": {"dim": 4}} | change if change else None
    with pytest.raises(BadFileError, match=r"word2vec model .* is refused"):
        Word2Vec.load(save_arrays(tmp_path / "model", word2vec.KIND, arrays, meta))


# --- words by their vectors ---------------------------------------------------------------------------------------

UNIT = WordVectors(
    ["king", "man", "woman", "queen", "none"],
    np.array([[3, 3, 0], [1, 0, 0], [0, 0, 2], [0, 3, 3], [0, 0, 0]], np.float32),
)


def test_similarity_is_the_cosine():
    assert UNIT.similarity("man", "man") == pytest.approx(1)
    assert UNIT.similarity("man", "woman") == 0
    assert UNIT.similarity("king", "queen") == pytest.approx(0.5)
    assert UNIT.similarity("none", "king") == 0


def test_king_minus_man_plus_woman():
    """Unit vectors: (1, 1, 0) / sqrt 2 - (1, 0, 0) + (0, 0, 1), by hand."""
    aim = np.array([np.sqrt(0.5) - 1, np.sqrt(0.5), 1])
    cosine = (aim[1] + aim[2]) / np.sqrt(2) / np.linalg.norm(aim)
    (first, score), (last, nothing) = UNIT.most_similar(positive=["king", "woman"], negative=["man"])
    assert first == "queen"
    assert score == pytest.approx(cosine)
    assert (last, nothing) == ("none", 0)


def test_neighbours_leave_the_asked_out_and_end_where_words_end():
    assert [word for word, _ in UNIT.most_similar("king", k=2)] == ["man", "queen"]
    assert len(UNIT.most_similar("king", k=100)) == 4
    assert UNIT.most_similar(negative="king", k=1)[0][0] in ("woman", "none")


def test_a_vector_handed_out_is_a_copy():
    UNIT.vector("man")[:] = 9
    np.testing.assert_array_equal(UNIT.vector("man"), [1, 0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNIT.vector("prince"), "word must be one of the 5 words of the vocabulary, got 'prince'"),
        (lambda: UNIT.similarity("king", 3), "b must be a str, got 3"),
        (lambda: UNIT.most_similar(), "most_similar needs at least one word, in positive or in negative"),
        (lambda: UNIT.most_similar(3), "positive must be a word or a list of words, got 3"),
        (
            lambda: UNIT.most_similar("king", ["x"]),
            "negative must be one of the 5 words of the vocabulary, got 'x'",
        ),
        (lambda: UNIT.most_similar("king", k=0), "k must be at least 1, got 0"),
        (lambda: WordVectors(["a"], np.ones((2, 2))), "one a vector: got 1 for 2 vectors"),
        (lambda: WordVectors(["a", "a"], np.ones((2, 2))), "words must be different"),
        (lambda: WordVectors(["a"], np.ones(2)), r"vectors must be numbers of shape \(N, 1\)"),
        (lambda: WordVectors(["a"], np.full((1, 2), np.nan)), "vectors must be finite in float32"),
    ],
)
def test_questions_that_cannot_be_meant_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_text_format_keeps_every_number(tmp_path):
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(5, 7)) * 10.0 ** rng.integers(-30, 30, (5, 7))).astype(np.float32)
    saved = WordVectors(["a", "단어", "x.y", "한국", "#"], vectors)
    path = saved.save_word2vec_format(tmp_path / "words.txt")
    assert path.read_text("utf-8").splitlines()[0] == "5 7"
    loaded = WordVectors.load_word2vec_format(path)
    assert loaded.words == saved.words
    np.testing.assert_array_equal(loaded.vectors, vectors)
    for word in ("two words", "", "tab\t", "line\n"):
        with pytest.raises(ValueError, match="no word with spaces in it, got"):
            WordVectors([word], np.ones((1, 2))).save_word2vec_format(tmp_path / "other.txt")
    assert not (tmp_path / "other.txt").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be the numbers of words and of dimensions, got ''"),
        ("word 1 2\n", "line 1 must be the numbers"),
        ("0 3\n", "line 1 must be the numbers"),
        ("2 2\na 1 2\n", "it promises 2 words and has 1"),
        ("1 2\na 1\n", "line 2 must be a word and 2 finite numbers, got 'a 1'"),
        ("2 2\na 1 2\nb 1 x\n", "line 3 must be a word and 2 finite numbers, got 'b 1 x'"),
        ("1 2\na 1 nan\n", "line 2 must be a word and 2 finite numbers"),
        ("1 1\na 1e300\n", "line 2 must be a word and 1 finite numbers"),
        ("2 1\na 1\na 2\n", "words must be different"),
        ("1 1\na 1\nb 2\n", "it promises 1 words, and a line follows them: 'b 2"),
        ("2 1\na 1\n\nb 2\n", "it promises 2 words and has 1"),
        (b"1 1\n\xff\xfe 1\n", "it is not UTF-8"),
        (b"1 1\n" + b"a" * (1 << 22), "a line has more than 4,194,304 bytes"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_wrong_text_file_is_refused_by_its_line(tmp_path, text, message):
    path = tmp_path / "words.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadFileError, match=f"words.txt' is refused: {message}"):
        WordVectors.load_word2vec_format(path)


def test_of_a_large_file_only_the_first_words_are_read(tmp_path):
    """What stands behind them may be wrong: it was not looked at."""
    path = tmp_path / "words.vec"
    path.write_text("3 2\n하나 1 2 \n둘 3 4\nthree ? ?\n", "utf-8")
    loaded = WordVectors.load_word2vec_format(path, limit=2)
    assert loaded.words == ["하나", "둘"]
    np.testing.assert_array_equal(loaded.vectors, [[1, 2], [3, 4]])
    with pytest.raises(BadFileError, match="line 4 must be"):
        WordVectors.load_word2vec_format(path, limit=9)
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        WordVectors.load_word2vec_format(path, limit=0)


def test_a_packed_file_is_unpacked_as_it_is_read(tmp_path):
    path = tmp_path / "words.vec.gz"
    path.write_bytes(gzip.compress("2 2\n하나 1 2\n둘 3 4\n".encode()))
    assert WordVectors.load_word2vec_format(path).words == ["하나", "둘"]
    whole = path.read_bytes()
    for data in (whole[:-9], b"2 2\n", whole[:14] + b"\xff" * 6 + whole[20:]):
        path.write_bytes(data)
        with pytest.raises(BadFileError, match=r"words.vec.gz' (cannot be read|is refused): "):
            WordVectors.load_word2vec_format(path)
