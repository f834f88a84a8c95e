"""Documents that come and go: the index is always the one that `fit` on the same texts would build."""

import copy
import gzip
import random
import threading

import numpy as np
import pytest

from minillm._files import BadFileError, load_arrays
from minillm.search import BM25
from tests.helpers import soak_count

ALPHABET = ["a", "b", "c", "dd", "e_f", "토큰", "🙂", "g", "h", "rare1", "rare2", "rare3"]


def state(index, queries):
    """All that an index can be asked."""
    return (
        index.ids,
        len(index),
        [index.scores(query).tolist() for query in queries],
        [index.search(queries, k) for k in (1, 3, 1000)],
        [index.document_frequency(word) for word in ALPHABET],
        sorted(index._documents.vocabulary) if index.ready() else None,
    )


def random_program(seed, tmp_path, steps):
    """Add, remove, search, save and load at random; after each step the index must equal a fresh one."""
    rng = random.Random(seed)
    variant, k1, b = (
        rng.choice(["lucene", "okapi"]),
        rng.choice([0.0, 0.9, 1.2, 3.0]),
        rng.choice([0.0, 0.75, 1.0]),
    )
    index, texts, next_id = BM25(k1, b, str.split, variant), {}, 0
    for _ in range(steps):
        step = rng.random()
        if step < 0.45:
            new = [" ".join(rng.choices(ALPHABET, k=rng.randint(0, 9))) for _ in range(rng.randint(0, 5))]
            if rng.random() < 0.5:
                ids = [rng.choice([f"name {next_id + n}", next_id + 3 * n]) for n in range(len(new))]
                next_id += 1000
                index.add(new, ids)
            else:
                before = len(index.ids)
                index.add(new)
                ids = index.ids[before:]
                assert not set(ids) & set(texts)
            texts.update(zip(ids, new, strict=True))
            next_id = max([next_id, *(one + 1 for one in ids if isinstance(one, int))])
        elif step < 0.75 and texts:
            gone = rng.sample(list(texts), rng.randint(1, len(texts)))
            index.remove(gone)
            for one in gone:
                del texts[one]
        elif step < 0.9:
            index = BM25.load(index.save(tmp_path / "index"), str.split)
        if rng.random() < 0.7:
            queries = [" ".join(rng.choices(ALPHABET, k=rng.randint(0, 4))) for _ in range(3)]
            if texts:
                fresh = BM25(k1, b, str.split, variant).fit(list(texts.values()), list(texts))
                assert state(index, queries) == state(fresh, queries)
                np.testing.assert_allclose(index.highest_scores(), fresh.highest_scores(), rtol=1e-6)
            else:
                assert index.search(queries, 3) == [[], [], []]


@pytest.mark.parametrize("seed", range(soak_count(400)))
def test_random_programs_equal_a_fresh_fit(seed, tmp_path):
    random_program(seed, tmp_path, steps=12)


@pytest.mark.soak
def test_long_random_programs_equal_a_fresh_fit(tmp_path):
    for seed in range(soak_count(2000)):
        random_program(10_000 + seed, tmp_path, steps=60)


def test_a_document_changes_the_weight_of_every_word():
    index = BM25().fit(["cat dog", "cat"])
    before = index.search(["cat"], 1)[0][0][1]
    index.add(["a bird that sings for a long time"])
    (best, score), *_ = index.search(["cat"], 2)[0]
    assert best == 1
    assert score > before  # rarer than before, and in a shorter document than most
    index.remove([2])
    assert index.search(["cat"], 1)[0][0][1] == before


def test_ids_of_removed_documents_are_not_given_again():
    index = BM25().fit(["a", "b", "c"])
    index.remove([2])
    index.add(["d"])
    assert index.ids == [0, 1, 3]
    index.add(["e"], [2])  # but may be asked for
    assert index.ids == [0, 1, 3, 2]
    index.remove(index.ids)
    index.add(["f"])
    assert index.ids == [4]


def test_words_of_removed_documents_are_forgotten():
    index = BM25().fit([f"word{number} common" for number in range(50)])
    index.remove(range(49))
    assert index.document_frequency("common") == 1
    assert len(index._documents.vocabulary) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.add("text"), "corpus must be a list of str, got 'text'"),
        (lambda i: i.add(["new words", None]), "got None at position 1"),
        (lambda i: i.add(["new", ["words", 3]]), "words must be str, got 3"),
        (lambda i: i.add(["new"], ["x"]), "ids must be new, got 'x' which is already there"),
        (lambda i: i.add(["new", "words"], ["z", "z"]), "ids must be different, got 'z' more than once"),
        (lambda i: i.add(["new"], ["z", "zz"]), "got 2 ids for 1 texts"),
        (lambda i: i.remove(["x", "z"]), "ids must be in the index, got 'z' which is not"),
        (lambda i: i.remove(["x", "x"]), "ids must be different, got 'x' more than once"),
        (lambda i: i.remove("x"), "ids must be a list of str or int, got 'x'"),
        (lambda i: i.remove(None), "ids must be a list of str or int, got None"),
        (lambda i: i.fit(["new", None]), "got None at position 1"),
    ],
)
def test_a_failed_change_leaves_the_index_alone(call, message):
    index = BM25().fit(["cat dog", "cat", "bird"], ["x", "y", 3])
    index.add(["fish"])
    before = state(index, ["cat", "new words", "fish bird"])
    with pytest.raises(ValueError, match=message):
        call(index)
    assert state(index, ["cat", "new words", "fish bird"]) == before
    assert "new" not in index._documents.vocabulary


def test_a_tokenizer_that_fails_half_way_leaves_the_index_alone():
    def words(text):
        if text == "bad":
            raise RuntimeError("no words today")
        return text.split()

    index = BM25(tokenizer=words).fit(["a b"])
    with pytest.raises(RuntimeError, match="no words today"):
        index.add(["c d", "bad"])
    assert index.ids == [0]
    index.add(["e"])
    assert index.ids == [0, 1]
    assert sorted(index._documents.vocabulary) == ["a", "b", "e"]


def test_a_loaded_index_lies_in_its_file_and_leaves_it_alone(tmp_path):
    path = BM25().fit(["a b", "b c", "c"]).save(tmp_path / "index")
    whole = path.read_bytes()
    index = BM25.load(path)
    base = index._documents.counts.documents
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview)  # of the mapped file: nothing was copied
    index.add(["d"])
    index.remove([0])
    assert index.search(["b d"], 5) == [[(3, pytest.approx(0.6, abs=0.6)), (1, pytest.approx(0.6, abs=0.6))]]
    assert path.read_bytes() == whole
    index.save(path)
    assert BM25.load(path).ids == [1, 2, 3]


def test_a_file_that_is_no_index_is_named(tmp_path):
    path = BM25().fit(["a b", "b c"]).save(tmp_path / "index")
    arrays, meta = load_arrays(path, "BM25 index")
    assert set(arrays) == {"starts", "documents", "times", "lengths", "impacts"}
    assert (meta["ids"], meta["next_id"], meta["tokenizer"]) == (None, 2, "standard")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadFileError, match=r"index.*do not fill the file"):
        BM25.load(path)
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(BadFileError, match="index"):
        BM25.load(path)


def test_threads_that_search_find_what_was_there_before_or_after():
    index = BM25(tokenizer=str.split).fit(["a b"] * 50)
    wrong, done = [], threading.Event()

    def ask():
        while not done.is_set():
            found = [one for one, _ in index.search(["a x"], 10)[0]]
            if found != list(range(10)):
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        index.add(["c d", f"new{len(index)}"])
        index.remove(index.ids[-2:])
    done.set()
    for thread in threads:
        thread.join(timeout=30)
    assert wrong == []
    assert index.ids == list(range(50))


def test_a_copy_is_an_index_of_its_own():
    index = BM25().fit(["감자 국", "된장 국"])
    copied = copy.deepcopy(index)
    copied.add(["미역 국"])
    assert (len(index), len(copied)) == (2, 3)
    assert index.search(["미역"]) == [[]]
    assert copied.search(["된장"]) == [
        [(1, pytest.approx(BM25().fit(["감자 국", "된장 국", "미역 국"]).scores("된장")[1]))]
    ]
