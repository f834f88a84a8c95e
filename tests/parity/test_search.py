"""Search against the libraries of the field: rank_bm25, bm25s, sentence-transformers, scikit-learn."""

import numpy as np
import pytest

from minillm.data import python_docs, split_passages
from minillm.search import (
    BM25,
    ExactIndex,
    decline_curve,
    search_words,
    train_encoder,
)

QUERIES = [
    "How do I close a file automatically even if my code crashes?",
    "difference between is and ==",
    "with with with statement",  # a word three times counts three times
    "the of a",  # words that nearly every passage has
    "__enter__ __exit__",
    "zebra",
    "어텐션은 무엇인가",
]
KOREAN = [
    "어텐션은 토큰을 서로 본다",
    "토큰은 글자의 묶음이다",
    "양자화는 가중치를 줄인다 토큰",
    "",
    "어텐션 어텐션",
]


@pytest.fixture(scope="module")
def passages():
    return split_passages(python_docs(), max_words=120)


def corpora(passages):
    return ([one.text for one in passages], KOREAN)


def test_okapi_equals_rank_bm25(passages):
    rank_bm25 = pytest.importorskip("rank_bm25", reason="held against rank_bm25")
    for corpus in corpora(passages):
        for k1, b in ((1.5, 0.75), (1.2, 0.0), (0.6, 0.9)):  # b = 1: the peer divides by the empty text's 0
            peer = rank_bm25.BM25Okapi([search_words(text) for text in corpus], k1=k1, b=b)
            ours = BM25(k1, b, search_words, variant="okapi").fit(corpus)
            for query in QUERIES:
                np.testing.assert_allclose(
                    ours.scores(query), peer.get_scores(search_words(query)), rtol=1e-5, atol=1e-5
                )


def test_lucene_equals_bm25s(passages):
    bm25s = pytest.importorskip("bm25s", reason="held against bm25s")
    for corpus in corpora(passages):
        for k1, b in ((1.2, 0.75), (1.5, 0.0), (0.6, 1.0)):
            peer = bm25s.BM25(k1=k1, b=b, method="lucene")
            peer.index([search_words(text) for text in corpus], show_progress=False)
            ours = BM25(k1, b, search_words).fit(corpus)
            for query in QUERIES:
                words = [word for word in search_words(query) if word in peer.vocab_dict]
                expected = peer.get_scores(words) if words else np.zeros(len(corpus))
                np.testing.assert_allclose(ours.scores(query), expected, rtol=1e-5, atol=1e-5)


def test_rankings_equal_bm25s(passages):
    bm25s = pytest.importorskip("bm25s", reason="held against bm25s")
    corpus = [one.text for one in passages]
    peer = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    peer.index([search_words(text) for text in corpus], show_progress=False)
    ours = BM25(tokenizer=search_words).fit(corpus)
    for query, ranking in zip(QUERIES[:5], ours.search(QUERIES[:5], 10), strict=True):
        documents, scores = peer.retrieve([search_words(query)], k=10, show_progress=False)
        found = [score for _, score in ranking]
        np.testing.assert_allclose(found, scores[0][: len(found)], rtol=1e-5)
        assert not scores[0][
            len(found) :
        ].any()  # the peer fills up with documents of score 0; ours leaves them out
        # Where scores differ by more than rounding, the order must be the same.
        clear = np.flatnonzero(np.abs(np.diff(found, append=0)) > 1e-4)
        for place in clear:
            assert {one for one, _ in ranking[: place + 1]} == set(documents[0][: place + 1].tolist())


def test_exact_neighbours_equal_sklearn():
    neighbors = pytest.importorskip("sklearn.neighbors", reason="held against scikit-learn")
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2000, 24)).astype(np.float32)
    queries = generator.normal(size=(50, 24)).astype(np.float32)
    for metric, theirs in (("l2", "sqeuclidean"), ("cosine", "cosine")):
        index = ExactIndex(24, metric)
        index.add(vectors)
        ids, distances = index.search(queries, 10)
        peer = neighbors.NearestNeighbors(n_neighbors=10, algorithm="brute", metric=theirs)
        expected, places = peer.fit(vectors.astype(np.float64)).kneighbors(queries.astype(np.float64))
        np.testing.assert_array_equal(ids, places)
        np.testing.assert_allclose(distances, expected, rtol=1e-6, atol=1e-7)


def test_sentence_transformers_opens_our_folder(passages, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="held against sentence-transformers")
    encoder = train_encoder(passages[:80], vocab_size=600, dim=24, steps=5, batch_size=16)
    peer = library.SentenceTransformer(str(encoder.save_pretrained(tmp_path / "encoder")), device="cpu")
    texts = [
        *(one.text for one in passages[80:120]),
        "WITH the With",
        "고양이는 잔다",
        "고양이는",  # decomposed
        "ＬＬＭ ﬁne ①",
        "👍🏽 e\u0301",
        "ΟΔΟΣ İstanbul",
        "def f(x):\n\treturn  x",
        " ",
    ]
    for ours, theirs in zip(
        [encoder.tokens(text) for text in texts], peer[0].tokenizer.encode_batch(texts), strict=True
    ):
        assert ours == theirs.ids
    np.testing.assert_allclose(encoder.encode(texts), peer.encode(texts), atol=1e-6)


def test_the_curve_of_declined_questions_is_a_roc_curve():
    metrics = pytest.importorskip("sklearn.metrics", reason="held against scikit-learn")
    generator = np.random.default_rng(0)
    good, bad = generator.beta(5, 3, 200), generator.beta(2, 5, 60)
    curve = decline_curve(good, bad)
    for point in curve:  # what is below the threshold is declined: of 1 - share, what is above 1 - threshold
        guess = np.concatenate([good, bad]) < point.threshold
        truth = np.arange(260) >= 200
        assert point.declined == pytest.approx(metrics.recall_score(truth, guess))
        assert point.wrongly == pytest.approx(1 - metrics.recall_score(~truth, ~guess))
    area = metrics.roc_auc_score(truth, -np.concatenate([good, bad]))
    assert metrics.auc([p.wrongly for p in curve], [p.declined for p in curve]) == pytest.approx(
        area, abs=0.01
    )
