"""The search that leaves work out finds what adding up every posting finds: the same documents, the same last bit."""

import numpy as np
import pytest

from minillm.search import BM25, bm25_postings
from minillm.search import bm25_maxscore as fast
from minillm.search.bm25_best import LANES, SHORT_RESULT, highest_of_lanes, keep_highest, sort_key
from minillm.search.bm25_postings import count_words, search_simply, with_impacts
from tests.helpers import soak_count


def zipf(generator, size, vocabulary, power):
    """Word numbers: word r about 1 / r^power as often as word 0, as in a language."""
    share = np.cumsum(1 / np.arange(1, vocabulary + 1) ** power)
    return np.searchsorted(share / share[-1], generator.random(size)).astype(np.int32)


def made(generator, documents, words, vocabulary, power=1.0):
    """Postings of random documents; weights and norms are those of BM25, or any positive numbers."""
    lengths = generator.integers(0, 2 * words, documents)
    counts = count_words(zipf(generator, int(lengths.sum()), vocabulary, power), lengths, vocabulary)
    frequencies = np.diff(counts.starts)
    weights = np.log((documents - frequencies + 0.5) / (frequencies + 0.5) + 1)
    if generator.random() < 0.3:
        weights = generator.choice([1e-3, 0.5, 0.5, 40.0], vocabulary)
    return with_impacts(counts, weights, 1.2 * (0.25 + 0.75 * lengths / max(lengths.mean(), 1)))


def test_keys_order_like_score_then_document():
    scores = [np.inf, 3e38, 1.5, 1e-45]
    keys = [sort_key(np.float32(score), document) for score in scores for document in (0, 1, 2**32 - 1)]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == len(keys)


def test_the_highest_of_lanes():
    bits = np.random.default_rng(0).random(bm25_postings.BLOCK).astype(np.float32).view(np.int32)
    tops = np.empty(LANES, np.int32)
    highest_of_lanes(bits, np.empty(len(bits) // 2, np.int32), tops)
    assert tops.tolist() == bits.reshape(-1, LANES).max(axis=0).tolist()


def test_the_highest_are_kept_in_order():
    numbers = np.random.default_rng(0).integers(0, 50, 200).astype(np.float32)
    values, filled = np.empty(7, np.float32), 0
    for count, number in enumerate(numbers, start=1):
        filled = keep_highest(values, filled, 7, number)
        assert values[:filled].tolist() == sorted(numbers[:count].tolist(), reverse=True)[:7]


@pytest.mark.parametrize("small", [0, bm25_postings.SMALL])
@pytest.mark.parametrize("seed", range(soak_count(300)))
def test_equal_to_adding_up_everything(seed, small, monkeypatch):
    monkeypatch.setattr(bm25_postings, "SMALL", small)
    generator = np.random.default_rng(seed)
    size = int(generator.choice([1, 9, 64, 65, 500, 3000]))
    vocabulary = int(generator.choice([2, 30, 3000]))
    postings = made(
        generator, size, int(generator.choice([3, 30])), vocabulary, generator.choice([0.3, 1.0, 1.5])
    )
    seen = np.flatnonzero(postings.most > 0)
    if not len(seen):
        return
    for k in (1, 3, 10, 128):
        queries = [
            np.concatenate(
                [
                    zipf(generator, generator.integers(0, 6), len(seen), 1.0),
                    generator.integers(0, len(seen), generator.integers(0, 4)),
                ]
            )
            for _ in range(8)
        ]
        queries = [seen[query] for query in queries]
        starts = np.cumsum([0, *map(len, queries)])
        found, scores, lengths = fast.search_batch(np.concatenate(queries), starts, postings, size, k)
        for row, query in enumerate(queries):
            best, expected = search_simply(query, postings, size, k)
            assert found[row, : lengths[row]].tolist() == best.tolist()
            assert scores[row, : lengths[row]].tolist() == expected.tolist()
            assert (found[row, lengths[row] :] == -1).all()


def test_every_way_was_taken():
    """The corpus above the sizes of blocks and groups, asked so that each gate opens."""
    generator = np.random.default_rng(0)
    postings = made(generator, 20_000, 30, 20_000)
    lengths = np.diff(postings.starts)
    rare, common = np.flatnonzero((lengths > 20) & (lengths < 60)), np.argsort(-lengths)[:8]
    medium = np.flatnonzero((postings.column_of < 0) & (lengths > 500))
    assert len(rare) > 100
    assert len(medium) > 5
    assert (postings.column_of[common] >= 0).all()
    kinds = {
        "common": [common[:1], common[:3], common],
        "rare and common": [np.append(common[:4], rare[i]) for i in range(5)],
        "rare and medium": [np.append(medium[-3:], rare[i : i + 2]) for i in range(5)],
        "medium and common": [np.append(common[:2], medium[i : i + 3]) for i in range(5)],
        "a word twice": [np.array([common[0], rare[0], common[0], rare[0]])],
        "many words": [generator.permutation(len(lengths))[:300]],
    }
    for kind, queries in kinds.items():
        queries = [query[lengths[query] > 0] for query in queries]
        starts = np.cumsum([0, *map(len, queries)])
        found, scores, _ = fast.search_batch(np.concatenate(queries), starts, postings, 20_000, 10)
        for row, query in enumerate(queries):
            best, expected = search_simply(query, postings, 20_000, 10)
            assert found[row].tolist() == best.tolist(), kind
            assert scores[row].tolist() == expected.tolist(), kind


def test_long_results_equal_short_ones():
    generator = np.random.default_rng(0)
    corpus = [" ".join(generator.choice(list("abcdefgh"), 6)) for _ in range(500)]
    index = BM25().fit(corpus)
    (long,) = index.search(["a c g"], 400)
    for k in (1, 7, SHORT_RESULT):
        assert index.search(["a c g"], k)[0] == long[:k]
    scores = index.scores("a c g")
    order = np.lexsort((np.arange(500), -scores))
    assert [document for document, _ in long] == order[: len(long)].tolist()


def test_a_bound_is_never_below_its_score(monkeypatch):
    monkeypatch.setattr(bm25_postings, "SMALL", 0)
    generator = np.random.default_rng(1)
    postings = made(generator, 2000, 40, 300)
    assert len(postings.columns) > 3
    for word in np.flatnonzero(postings.column_of >= 0):
        row, part = postings.column_of[word], slice(*postings.starts[word : word + 2])
        bytes_of = postings.columns[row, postings.documents[part]].astype(np.float64)
        bounds = bytes_of * float(postings.units[row]) * (1 + 2.0**-22)
        assert (bounds >= postings.impacts[part]).all()
        assert (bounds - postings.impacts[part] <= 1.001 * postings.units[row]).all()
        assert (postings.columns[row] > 0).sum() == len(bytes_of)


def test_a_query_of_many_words_ends():
    index = BM25(tokenizer=str.split).fit(["a b c", "d e", "a"])
    assert len(index.search([" ".join("abcde" * 40_000)], 2)[0]) == 2
