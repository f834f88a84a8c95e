"""The random tests of the rooms, for as long as one likes."""

import random

import numpy as np
import pytest

from minillm.search import BM25, ExactIndex
from minillm.search.bm25 import bm25_plain
from minillm.search.exact import METRICS, distances_plain
from minillm.tokenizer import BPETokenizer
from tests.benchmarks.bench_bpe_train import python_reference
from tests.benchmarks.bench_tokenizer_fuzz import lost
from tests.helpers import soak_count

pytestmark = pytest.mark.soak


def test_no_random_string_is_lost_by_the_tokenizer():
    tokenizer = BPETokenizer.train(python_reference(), 2048)
    assert lost(tokenizer, soak_count(1_000_000), seed=1) == 0


def test_the_exact_index_equals_the_formula_at_random_magnitudes():
    generator = np.random.default_rng(0)
    for _ in range(soak_count(10_000)):
        count, dim = generator.integers(1, 60), int(generator.integers(1, 12))
        exponents = generator.integers(-149, 120, size=2) if generator.random() < 0.5 else [0, 0]
        vectors, queries = (
            np.ldexp(generator.integers(-9, 10, size=(rows, dim)).astype(np.float64), exponent)
            for rows, exponent in ((count, exponents[0]), (3, exponents[1]))
        )
        metric = METRICS[generator.integers(3)]
        index = ExactIndex(dim, metric)
        index.add(vectors)
        k = int(generator.integers(1, count + 1))
        found, _ = index.search(queries, k)
        for query, ids in zip(queries, found, strict=True):
            exact = distances_plain(query, vectors, metric)
            expected = np.sort(exact)[:k]
            np.testing.assert_allclose(
                exact[ids], expected, rtol=1e-12, atol=1e-12 if metric == "cosine" else 0
            )


def test_bm25_equals_the_formula_on_random_words():
    rng = random.Random(0)
    for _ in range(soak_count(10_000)):
        alphabet = [str(number) for number in range(rng.randint(1, 30))]
        corpus = [rng.choices(alphabet, k=rng.randint(1, 12)) for _ in range(rng.randint(1, 30))]
        query = rng.choices(alphabet, k=rng.randint(0, 6))
        k1, b, variant = rng.choice([0.0, 0.9, 1.2, 3.0]), rng.random(), rng.choice(["lucene", "okapi"])
        index = BM25(k1, b, str.split, variant).fit([" ".join(words) for words in corpus])
        plain = bm25_plain(corpus, query, k1, b, variant)
        np.testing.assert_allclose(index.scores(" ".join(query)), plain, rtol=5e-6, atol=5e-6)
